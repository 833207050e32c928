"""How sure a prediction is: age intervals by conformal prediction, and probabilities of gender that mean what they say.

Both are fitted on faces that trained nothing (a checkpoint's validation part, see evaluation/calibration.py) and stored
in the checkpoint. What they promise holds for faces like those, on average over all that are said to be of an age, not
for each true age or group: evaluate.py measures that.
"""

from typing import NamedTuple

import numpy as np

from age_gender.labels import MAX_AGE, NUM_AGES, expected_age

LEVEL = 0.9  # the share of faces whose age their interval is to hold
UNSURE_BELOW = 0.75  # of the likelier gender's probability: where more than one answer in four would be wrong
UNSURE_WITHIN = (0.5, 1)  # what may be asked for in place of it: the likelier gender has one half or more
LEAST = 1e-7  # no gender is less probable
EDGES = np.arange(NUM_AGES + 1) - 0.5  # the age 30 is 29.5 to 30.5


class Calibration(NamedTuple):
    """What turns a network's outputs into intervals and calibrated probabilities."""

    level: float = LEVEL  # the share of faces whose age the interval is to hold
    # Years by which the network's own interval is moved outward at both ends; negative moves inward; None where too few
    # faces had an age.
    widen: float | None = None
    temperature: float = 1.0  # divides the log odds of gender; 1 changes nothing
    ages: int = 0  # the number of faces that `widen` was fitted on
    genders: int = 0  # and the temperature
    # (first age, years), ascending: how far to move instead where the expected age is this one or above, up to the next
    # band; () moves all by `widen`.
    bands: tuple[tuple[float, float], ...] = ()


def age_interval(p_age: np.ndarray, calibration: Calibration) -> tuple[np.ndarray, np.ndarray] | None:
    """The first and the last whole year of each face's interval: (n, 101) -> (n,), (n,) int64; None without one.

    An interval that is narrower than a year, or that the calibration turned over, is the year in its middle.
    """
    if calibration.widen is None:
        return None
    low, high = own_interval(p_age, calibration.level)
    middle = np.floor((low + high) / 2 + 0.5)
    widen = widening(p_age, calibration)
    first = np.minimum(np.ceil(low - widen), middle)
    last = np.maximum(np.floor(high + widen), middle)
    return tuple(np.clip(end, 0, MAX_AGE).astype(np.int64) for end in (first, last))


def widening(p_age: np.ndarray, calibration: Calibration) -> np.ndarray | float | None:
    """The years by which each face's own interval is moved: those of its band, (n,), or one number for all."""
    if not calibration.bands:
        return calibration.widen
    starts, years = (np.array(column, np.float64) for column in zip(*calibration.bands, strict=True))
    found: np.ndarray = years[band_of(p_age, starts)]
    return found


def band_of(p_age: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The band of each face's expected age, by the bands' first ages: (n, 101), (b,) -> (n,) index."""
    return np.maximum(np.searchsorted(starts, expected_age(p_age), side="right") - 1, 0)


def own_interval(p_age: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends between which the middle `level` of each distribution lies: (n, 101) -> (n,), (n,) years."""
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


def tempered(p_male: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities with their log odds divided by the temperature: (n,) -> (n,) float64. One half stays one half."""
    odds: np.ndarray = np.exp(-log_odds(p_male) / temperature)
    return 1 / (1 + odds)


def unsure(p_male: np.ndarray, below: float = UNSURE_BELOW) -> np.ndarray:
    """Whether the likelier gender's probability is below a threshold: (n,) -> (n,) bool."""
    likelier: np.ndarray = np.maximum(p_male, 1 - p_male)
    return likelier < below


def log_odds(p: np.ndarray) -> np.ndarray:
    """The logarithm of p / (1 - p), finite for certainties too: (n,) -> (n,) float64."""
    p = np.clip(np.asarray(p, np.float64), LEAST, 1 - LEAST)
    odds: np.ndarray = np.log(p) - np.log1p(-p)
    return odds
