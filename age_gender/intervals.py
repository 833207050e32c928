"""How sure a prediction is: age intervals by conformal prediction, and probabilities of gender that mean what they say.

Both are fitted on faces that trained nothing (a checkpoint's validation part) and stored in the checkpoint. What they
promise holds for faces like those, on average over all of them, not for each age or group: evaluate.py measures that.
"""

import math
from typing import NamedTuple

import numpy as np

from age_gender.labels import MALE, MAX_AGE, NUM_AGES, UNKNOWN

LEVEL = 0.9  # the share of faces whose age their interval is to hold
UNSURE_BELOW = 0.75  # of the likelier gender's probability: where more than one answer in four would be wrong
PRIOR = 0.5  # of a temperature's logarithm: it is 0.4 to 2.7 before any face is seen, 19 times of 20
EDGES = np.arange(NUM_AGES + 1) - 0.5  # the age 30 is 29.5 to 30.5


class Calibration(NamedTuple):
    """What turns a network's outputs into intervals and calibrated probabilities.

    Attributes:
        level: the share of faces whose age the interval is to hold.
        widen: years by which the network's own interval is moved outward at both ends; negative moves inward; None
            where too few faces had an age.
        temperature: divides the log odds of gender; 1 changes nothing.
        ages, genders: the number of faces that each was fitted on.
    """

    level: float = LEVEL
    widen: float | None = None
    temperature: float = 1.0
    ages: int = 0
    genders: int = 0


def fit(
    p_age: np.ndarray, p_male: np.ndarray, age: np.ndarray, gender: np.ndarray, level: float = LEVEL
) -> Calibration:
    """Fits both on faces that trained nothing.

    Args:
        p_age: (n, 101) distributions over the ages 0..100.
        p_male: (n,) probabilities as the network gives them.
        age, gender: (n,) true labels, -1 unknown.
        level: the share of faces whose age their interval is to hold.
    """
    aged, gendered = age != UNKNOWN, gender != UNKNOWN
    return Calibration(
        level,
        conformal_widening(p_age[aged], age[aged], level),
        fit_temperature(p_male[gendered], gender[gendered]),
        int(aged.sum()),
        int(gendered.sum()),
    )


def conformal_widening(p_age: np.ndarray, age: np.ndarray, level: float = LEVEL) -> float | None:
    """How far to widen a network's own intervals so that a share `level` of new faces' ages lies within.

    Conformalized quantile regression (Romano, Patterson, Candes, arXiv:1905.03222, section 3, theorem 1) with the
    quantiles of the predicted distribution. Of new faces drawn as these were, a share of `level` or more lies within,
    at most 1 / (n + 1) more (ages are whole years: ties add to that), on average over such draws, whatever the
    network.

    Args:
        p_age: (n, 101) distributions.
        age: (n,) true ages in years.
        level: in 0..1 exclusive.

    Returns:
        Years, or None where n is too small for the level: 9 faces is the least for 0.9.
    """
    rank = math.ceil((len(age) + 1) * level - 1e-9)
    if rank > len(age):
        return None
    low, high = _own_interval(p_age, level)
    return float(np.sort(np.maximum(low - age, age - high))[rank - 1])


def age_interval(p_age: np.ndarray, calibration: Calibration) -> tuple[np.ndarray, np.ndarray] | None:
    """The first and the last whole year of each face's interval: (n, 101) -> (n,), (n,) int64; None without one.

    An interval that is narrower than a year, or that the calibration turned over, is the year in its middle.
    """
    if calibration.widen is None:
        return None
    low, high = _own_interval(p_age, calibration.level)
    middle = np.floor((low + high) / 2 + 0.5)
    first = np.minimum(np.ceil(low - calibration.widen), middle)
    last = np.maximum(np.floor(high + calibration.widen), middle)
    return tuple(np.clip(end, 0, MAX_AGE).astype(np.int64) for end in (first, last))


def _own_interval(p_age: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    return age_quantile(p_age, (1 - level) / 2), age_quantile(p_age, (1 + level) / 2)


def age_quantile(p_age: np.ndarray, share: float) -> np.ndarray:
    """The age below which a share of each distribution lies, every year spread evenly: (n, 101) -> (n,) years."""
    below = np.cumsum(p_age, axis=1, dtype=np.float64)
    wanted = share * below[:, -1:]  # rows sum to 1 but for rounding
    year = np.minimum((below < wanted).sum(axis=1, keepdims=True), MAX_AGE)
    mass = np.take_along_axis(p_age, year, 1).astype(np.float64)
    before = np.take_along_axis(below, year, 1) - mass
    part = np.divide(wanted - before, mass, out=np.zeros_like(mass), where=mass > 0)
    ages: np.ndarray = EDGES[year] + np.clip(part, 0, 1)
    return ages[:, 0]


def fit_temperature(p_male: np.ndarray, gender: np.ndarray) -> float:
    """The temperature under which the probabilities of gender are likeliest (Guo et al., arXiv:1706.04599, 4.2).

    Its logarithm is taken to be normal about 0 with a deviation of PRIOR, so that a few faces, all of them right,
    promise no certainty; a few hundred outweigh that.

    Args:
        p_male: (n,) probabilities.
        gender: (n,) true genders, none unknown.

    Returns:
        The temperature, 0.05 to 20; 1 without faces.
    """
    from scipy.optimize import minimize_scalar

    if not len(gender):
        return 1.0
    odds = np.where(gender == MALE, 1, -1) * _log_odds(p_male)  # of the right answer

    def loss(log_temperature: float) -> float:
        unlikeliness = np.logaddexp(0, -odds * math.exp(-log_temperature)).sum()
        return float(unlikeliness + (log_temperature / PRIOR) ** 2 / 2)

    bounds = (math.log(0.05), math.log(20))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def tempered(p_male: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities with their log odds divided by the temperature: (n,) -> (n,) float64. One half stays one half."""
    odds: np.ndarray = np.exp(-_log_odds(p_male) / temperature)
    return 1 / (1 + odds)


def unsure(p_male: np.ndarray, below: float = UNSURE_BELOW) -> np.ndarray:
    """Whether the likelier gender's probability is below a threshold: (n,) -> (n,) bool."""
    likelier: np.ndarray = np.maximum(p_male, 1 - p_male)
    return likelier < below


def _log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(np.asarray(p, np.float64), 1e-7, 1 - 1e-7)
    odds: np.ndarray = np.log(p) - np.log1p(-p)
    return odds
