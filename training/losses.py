"""The losses of the age head, by name."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from age_gender.labels import YEARS, AgeScale
from training.options import SOFT_LOSSES

MEAN_WEIGHT, VARIANCE_WEIGHT = 0.2, 0.05  # lambda 1 and 2 of the mean-variance loss, as its paper sets them


def age_loss(name: str, sigma: float, error_weight: float, scale: AgeScale = YEARS) -> Callable:
    """The loss of the age head, by its name in `train.py --age_loss`.

    cross_entropy: of the classes (of 101 years: Rothe et al., DEX, ICCV workshops 2015).
    ldl: Kullback-Leibler divergence from a normal distribution around the true age (deep label distribution learning,
        Gao et al., arXiv:1611.01731, section 3): years near the truth are nearly right.
    dldl_v2: that, and the absolute error of the expected age, which is what counts in the end (Gao et al., "Age
        estimation using expectation of label distribution learning", IJCAI 2018, section 3).
    mean_variance: cross-entropy, half the squared error of the expected age, and the variance of the distribution,
        which is to be narrow (Pan et al., "Mean-variance loss for deep age estimation from a face", CVPR 2018,
        section 3).
    coral: cross-entropies of all the questions "older than this class?", added up, for the ordinal head (Cao,
        Mirjalili, Raschka, arXiv:1901.07884, section 3.3, with equal importance).

    Args:
        name: one of these five.
        sigma: standard deviation of the normal distribution, in years.
        error_weight: weight of the absolute error in years, beside the divergence; dldl_v2 alone has it.
        scale: the classes; distances between them are those of their centres.

    Returns:
        A loss for Keras: (b, k) labels, one-hot or mixtures of such, and (b, k) distributions -> (b,).

    Raises:
        ValueError: for another name.
    """
    if name == "cross_entropy":
        return keras.losses.categorical_crossentropy
    if name in SOFT_LOSSES:
        return _distribution_loss(sigma, error_weight if name == "dldl_v2" else 0.0, scale)
    if name == "mean_variance":
        return _mean_variance_loss(scale)
    if name == "coral":
        return _coral_loss(len(scale.groups))
    raise ValueError(f"there is no age loss '{name}'")


def _distribution_loss(sigma: float, error_weight: float, scale: AgeScale) -> Callable:
    years = scale.centres
    around = np.exp(-0.5 * ((years[:, None] - years) / sigma) ** 2)
    around = (around / around.sum(axis=1, keepdims=True)).astype(np.float32)  # row: the target for one true age

    def loss(y_true, y_pred):
        divergence = keras.losses.kl_divergence(ops.matmul(y_true, around), y_pred)
        error = ops.abs(expected_age(y_true, years) - expected_age(y_pred, years))
        return divergence + error_weight * error

    return loss


def _mean_variance_loss(scale: AgeScale) -> Callable:
    years = scale.centres

    def loss(y_true, y_pred):
        mean = expected_age(y_pred, years)
        squared_error = (mean - expected_age(y_true, years)) ** 2 / 2
        variance = ops.sum(y_pred * (ops.cast(years, "float32") - mean[:, None]) ** 2, axis=1)
        cross_entropy = keras.losses.categorical_crossentropy(y_true, y_pred)
        return cross_entropy + MEAN_WEIGHT * squared_error + VARIANCE_WEIGHT * variance

    return loss


def _coral_loss(classes: int) -> Callable:
    above = np.tri(classes, classes - 1, -1, dtype=np.float32)  # column k: the classes above class k
    least = keras.config.epsilon()

    def loss(y_true, y_pred):
        # Both sides are sums of probabilities, for 1 - sum would lose the small ones.
        log_above, log_below = (ops.log(ops.maximum(ops.matmul(y_pred, side), least)) for side in (above, 1 - above))
        return -ops.sum(ops.matmul(y_true, above) * log_above + ops.matmul(y_true, 1 - above) * log_below, axis=1)

    return loss


def expected_age(distributions, centres: np.ndarray):
    """(b, k) distributions -> (b,) expected ages in years, as tensors; centres: (k,) years."""
    return ops.matmul(ops.cast(distributions, "float32"), ops.cast(centres[:, None], "float32"))[:, 0]
