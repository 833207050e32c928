"""Fits what turns a network's outputs into age intervals and calibrated genders, on faces that trained nothing."""

import math

import numpy as np

from age_gender.intervals import LEVEL, Calibration, band_of, log_odds, own_interval
from age_gender.labels import MALE, MAX_AGE, UNKNOWN, YEARS
from age_gender.runtimes import Model
from networks.checkpoints import store_calibration

BANDS = range(0, MAX_AGE, 10)  # first ages of the bands of expected ages within which intervals are fitted
LEAST_IN_BAND = 50  # faces: of fewer, a band goes together with its neighbour
PRIOR = 0.5  # of a temperature's logarithm: it is 0.4 to 2.7 before any face is seen, 19 times of 20


def calibrate(model: Model, answers: list[np.ndarray], age: np.ndarray, gender: np.ndarray) -> Calibration:
    """Fits a checkpoint's calibration on faces that trained nothing, and stores it in the file.

    Args:
        model: a checkpoint of this suite.
        answers: to these faces, as `networks.predict_rows` gives them: genders (n, 2), ages (n, k).
        age, gender: (n,) their true labels, -1 unknown.
    """
    p_gender, p_age = answers
    if model.description.age_scale != YEARS:  # intervals are of years
        age = np.full_like(age, UNKNOWN)
    calibration = fit(p_age, p_gender[:, MALE], age, gender)
    store_calibration(model.path, calibration)
    return calibration


def calibration_in_words(calibration: Calibration) -> str:
    """For a log."""
    few = f"too few faces with an age in years, {calibration.ages:,}"
    ages = f"no age intervals ({few if calibration.ages else 'no ages in years'})"
    if calibration.widen is not None:
        years = sorted(widen for _, widen in calibration.bands) or [calibration.widen]
        by = " to ".join(f"{widen:+.2f}" for widen in dict.fromkeys([years[0], years[-1]]))
        ages = f"{calibration.level:.0%} age intervals, the network's own widened by {by} years"
        ages += f" (on {calibration.ages:,} faces)"
    return f"{ages}; gender at temperature {calibration.temperature:.2f} (on {calibration.genders:,} faces)"


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
        banded_widening(p_age[aged], age[aged], level),
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
    low, high = own_interval(p_age, level)
    return float(np.sort(np.maximum(low - age, age - high))[rank - 1])


def banded_widening(p_age: np.ndarray, age: np.ndarray, level: float = LEVEL) -> tuple[tuple[float, float], ...]:
    """`conformal_widening` within bands of the expected age, which every new face has too, unlike its true age.

    Mondrian conformal prediction (Vovk, Gammerman, Shafer, "Algorithmic learning in a random world", 2005, section
    4.5): the level then holds within each band, not only on average over all. Returns (first age, years) of each band;
    () where the faces are too few for two bands.
    """
    counts = np.bincount(band_of(p_age, np.array(BANDS)), minlength=len(BANDS)) if len(age) else np.zeros(len(BANDS))
    starts, below = [BANDS[0]], 0
    for start, count in zip(BANDS[1:], counts[:-1], strict=True):
        below += count
        if below >= LEAST_IN_BAND:
            starts.append(start)
            below = 0
    if below + counts[-1] < LEAST_IN_BAND:
        starts.pop()
    if len(starts) < 2:
        return ()
    band = band_of(p_age, np.array(starts))
    years = [conformal_widening(p_age[band == index], age[band == index], level) for index in range(len(starts))]
    return () if None in years else tuple(zip(map(float, starts), years, strict=True))


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
    odds = np.where(gender == MALE, 1, -1) * log_odds(p_male)  # of the right answer

    def loss(log_temperature: float) -> float:
        unlikeliness = np.logaddexp(0, -odds * math.exp(-log_temperature)).sum()
        return float(unlikeliness + (log_temperature / PRIOR) ** 2 / 2)

    bounds = (math.log(0.05), math.log(20))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))
