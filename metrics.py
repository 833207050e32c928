"""How good predictions are: errors in years, shares of hits, their bootstrap intervals, and the trivial answer."""

import math
from typing import NamedTuple

import numpy as np

from labels import MALE, NUM_GENDERS, UNKNOWN, YEARS, AgeScale

CS_YEARS = 5  # CS@5: the share of faces whose age is hit within 5 years (cumulative score)
RESAMPLES = 1000
CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A statistic, its bootstrap interval (NaN for fewer than two faces), and what the trivial answer reaches."""

    value: float
    low: float
    high: float
    trivial: float


class Scores(NamedTuple):
    """The scores of some faces: age_mae in years, cs5 and gender_accuracy as shares; n faces in all."""

    age_mae: Estimate
    cs5: Estimate
    gender_accuracy: Estimate
    n: int


class GroupScores(NamedTuple):
    """The scores of some faces on a scale of age groups, as shares: the right group (exact), the right one or a
    neighbour of it (one_off), the right gender; n faces in all (Eidinger et al., IEEE TIFS 2014, section VI)."""

    exact: Estimate
    one_off: Estimate
    gender_accuracy: Estimate
    n: int


def trivial_answers(age: np.ndarray, gender: np.ndarray, scale: AgeScale = YEARS) -> dict[str, int]:
    """The answers that use no picture: median age in years, or commonest age group (index), and commoner gender.

    Unknown labels, -1, are left out.
    """
    ages, genders = age[age != UNKNOWN], gender[gender != UNKNOWN]
    middle = np.median(ages) if scale == YEARS and len(ages) else np.bincount(ages, minlength=1).argmax()
    return {
        "age": int(middle),
        "gender": int(np.bincount(genders, minlength=NUM_GENDERS).argmax()) if len(genders) else MALE,
    }


def score(
    age: np.ndarray,
    gender: np.ndarray,
    expected_age: np.ndarray,
    p_male: np.ndarray,
    trivial: dict[str, int],
    seed: int = 0,
) -> Scores:
    """Scores predictions against labels; a face without a label does not count for that label's scores.

    Args:
        age, gender: (n,) true labels, -1 unknown.
        expected_age: (n,) years.
        p_male: (n,) probability of male.
        trivial: the answers that use no picture, 'age' in years and 'gender'.
        seed: of the bootstrap.

    Returns:
        The scores; NaN where no face has the label.
    """
    known = age != UNKNOWN
    error = np.abs(expected_age - age)[known]
    trivial_error = np.abs(trivial["age"] - age)[known]
    return Scores(
        age_mae=_estimate(error, trivial_error, seed),
        cs5=_estimate(error <= CS_YEARS, trivial_error <= CS_YEARS, seed),
        gender_accuracy=_gender_accuracy(gender, p_male, trivial, seed),
        n=len(age),
    )


def score_groups(
    group: np.ndarray,
    gender: np.ndarray,
    said: np.ndarray,
    p_male: np.ndarray,
    trivial: dict[str, int],
    seed: int = 0,
) -> GroupScores:
    """Scores predicted age groups; as `score`, with indices of groups for ages.

    Args:
        group, gender: (n,) true labels, -1 unknown.
        said: (n,) predicted groups.
        p_male: (n,) probability of male.
        trivial: the answers that use no picture, 'age' as a group and 'gender'.
        seed: of the bootstrap.
    """
    known = group != UNKNOWN
    away, trivial_away = np.abs(said - group)[known], np.abs(trivial["age"] - group)[known]
    return GroupScores(
        exact=_estimate(away == 0, trivial_away == 0, seed),
        one_off=_estimate(away <= 1, trivial_away <= 1, seed),
        gender_accuracy=_gender_accuracy(gender, p_male, trivial, seed),
        n=len(group),
    )


def _gender_accuracy(gender: np.ndarray, p_male: np.ndarray, trivial: dict[str, int], seed: int) -> Estimate:
    known = gender != UNKNOWN
    hit = ((p_male >= 0.5) == (gender == MALE))[known]
    return _estimate(hit, (gender == trivial["gender"])[known], seed)


def _estimate(values: np.ndarray, trivial_values: np.ndarray, seed: int) -> Estimate:
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan, math.nan)
    low, high = mean_interval(values, seed)
    return Estimate(float(np.mean(values)), low, high, float(np.mean(trivial_values)))


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron and Tibshirani 1993, chapter 13): (n,) -> low, high."""
    from scipy.stats import bootstrap

    if len(values) < 2:
        return math.nan, math.nan
    batch = max(1, 4_000_000 // len(values))  # bounds the memory of the resamples
    interval = bootstrap(
        (np.asarray(values, np.float64),),
        np.mean,
        n_resamples=RESAMPLES,
        batch=batch,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
