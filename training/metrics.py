"""What each epoch reports beside the losses: errors in years, and whether every face gets the same answer."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from age_gender.labels import MALE, YEARS, AgeScale
from training.losses import expected_age

LOSS_OF_EACH = "loss_of_each"


class AgeError(keras.metrics.MeanMetricWrapper):
    """Mean absolute error of the expected age, in years; labels may be mixtures."""

    def __init__(self, name: str, centres: np.ndarray = YEARS.centres):
        super().__init__(lambda true, said: ops.abs(expected_age(true, centres) - expected_age(said, centres)), name)


class OneOff(keras.metrics.MeanMetricWrapper):
    """Share of faces whose likeliest age group is the true one or a neighbour of it (Eidinger et al. 2014)."""

    def __init__(self, name: str):
        super().__init__(lambda true, said: ops.abs(ops.argmax(true, axis=-1) - ops.argmax(said, axis=-1)) <= 1, name)


class AgeSpread(keras.metrics.Metric):
    """Standard deviation of the expected ages over all faces, in years: near 0, every face gets the same age."""

    def __init__(self, name: str, centres: np.ndarray = YEARS.centres):
        super().__init__(name=name)
        self.centres = centres
        self.count, self.total, self.squares = (
            self.add_weight(name=f"{name}_{part}", initializer="zeros") for part in ("count", "total", "squares")
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        ages = expected_age(y_pred, self.centres) - 50  # about the middle, where squares lose the fewest digits
        self.count.assign_add(ops.cast(ops.shape(ages)[0], "float32"))
        self.total.assign_add(ops.sum(ages))
        self.squares.assign_add(ops.sum(ages**2))

    def result(self):
        count = ops.maximum(self.count, 1.0)
        return ops.sqrt(ops.maximum(self.squares / count - (self.total / count) ** 2, 0.0))


class MaleShare(keras.metrics.Mean):
    """Share of all faces that are taken for male: at 0 or 1, every face gets the same gender."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(ops.cast(ops.argmax(y_pred, axis=-1) == MALE, "float32"))


class LossOfEach(keras.metrics.Mean):
    """Mean loss of all faces, of which those without a label add 0. Keras's own mean is of the batches, where it does
    not know their size beforehand (TensorFlow): each face of a smaller last batch would count for more."""

    def __init__(self, loss: Callable):
        super().__init__(name=LOSS_OF_EACH)
        self.loss = loss

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(self.loss(y_true, y_pred) * (1.0 if sample_weight is None else sample_weight))


def weighted_metrics(scale: AgeScale = YEARS) -> list[list]:
    """The metrics of the gender and of the age head; faces without a label do not count."""
    age = [AgeError("mae", scale.centres), AgeSpread("spread", scale.centres)]
    if scale != YEARS:
        age += [keras.metrics.CategoricalAccuracy(name="accuracy"), OneOff(name="one_off")]
    return [[keras.metrics.CategoricalAccuracy(name="accuracy"), MaleShare(name="male_share")], age]
