"""Intervals and calibrated probabilities against closed forms and against simulated faces."""

import math

import numpy as np
import pytest
from scipy.stats import beta, binom

from age_gender.intervals import (
    Calibration,
    age_interval,
    age_quantile,
    tempered,
    unsure,
)
from age_gender.labels import NUM_AGES
from evaluation.calibration import (
    LEAST_IN_BAND,
    banded_widening,
    calibration_in_words,
    conformal_widening,
    fit,
    fit_temperature,
)


def spread(low: int, high: int) -> np.ndarray:
    """(1, 101): the years low..high, each as likely."""
    p = np.zeros((1, NUM_AGES))
    p[0, low : high + 1] = 1 / (high - low + 1)
    return p


def faces(count: int, rng, sharpness: float = 1.0):
    """True ages, and what a network says that knows them to a few years: normal distributions, more or less sharp."""
    true = rng.integers(15, 86, count)
    sd = rng.uniform(2, 9, count)
    centre = true + sd * rng.standard_normal(count)
    years = np.arange(NUM_AGES)
    p = np.exp(-(((years - centre[:, None]) / (sd[:, None] / sharpness)) ** 2) / 2)
    return p / p.sum(1, keepdims=True), true


@pytest.mark.parametrize("share, years", [(0.05, 20.0), (0.5, 24.5), (0.95, 29.0), (1.0, 29.5), (0.0, 19.5)])
def test_quantiles_of_ten_equal_years(share, years):
    # 20..29 reach from 19.5 to 29.5, a tenth each
    assert age_quantile(spread(20, 29), share)[0] == pytest.approx(years if share else -0.5)


def test_a_quantile_has_its_share_of_the_distribution_below_it():
    p, _ = faces(200, np.random.default_rng(0))
    for share in (0.05, 0.3, 0.8):
        found = age_quantile(p.astype(np.float32), share)
        below = [
            np.interp(at, np.arange(NUM_AGES + 1) - 0.5, np.r_[0, np.cumsum(row)])
            for at, row in zip(found, p, strict=True)
        ]
        np.testing.assert_allclose(below, share, atol=1e-5)


def test_certainty_of_one_year_is_that_year():
    for year in (0, 40, 100):
        interval = age_interval(spread(year, year), Calibration(widen=0.0))
        assert [int(end[0]) for end in interval] == [year, year]


def test_the_interval_is_moved_outward_and_stays_on_the_scale():
    p = spread(20, 29)  # its own: 20.0 to 29.0
    ends = {w: tuple(int(end[0]) for end in age_interval(p, Calibration(widen=w))) for w in (0.0, 2.4, -2.4, 80.0)}
    assert ends == {0.0: (20, 29), 2.4: (18, 31), -2.4: (23, 26), 80.0: (0, 100)}
    for years, middle in (((20, 29), 25), ((20, 22), 21), ((1, 1), 1), ((0, 0), 0), ((100, 100), 100)):
        first, last = age_interval(spread(*years), Calibration(widen=-30.0))
        assert (first[0], last[0]) == (middle, middle)  # never empty, and in the middle (24.5 is rounded upward)


def test_the_widening_is_the_score_of_the_right_rank():
    p = np.repeat(spread(50, 50), 19, 0)  # its own interval: 49.55 to 50.45
    ages = 50 + np.arange(19)  # beyond it by -0.45, 0.55, 1.55, ...
    # ceil(20 * 0.9) = 18: the 18th smallest
    assert conformal_widening(p, ages) == pytest.approx(17 - 0.45)
    assert conformal_widening(p, ages, 0.5) == pytest.approx(9 - 0.25)  # at one half its own is 49.75 to 50.25
    assert conformal_widening(p[:8], ages[:8]) is None
    assert conformal_widening(p[:9], ages[:9]) == pytest.approx(8 - 0.45)


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_whatever_the_network_nine_of_ten_ages_lie_within(sharpness):
    rng = np.random.default_rng(1)
    p, true = faces(1000, rng, sharpness)
    calibration = fit(p, np.full(1000, 0.5), true, np.zeros(1000, int))
    p, true = faces(20_000, rng, sharpness)
    first, last = age_interval(p, calibration)
    covered = ((true >= first) & (true <= last)).mean()
    # the coverage after n faces is beta distributed (Vovk 2012), here widened by the 20,000 it is measured on
    low, high = beta.ppf([0.0005, 0.9995], 901, 100)
    assert low - 0.007 < covered < high + 0.007
    assert (calibration.widen > 1) == (sharpness > 1)  # a network that is too sure is widened


def test_nine_of_ten_ages_lie_within_in_every_band_of_the_age_that_is_said():
    rng = np.random.default_rng(5)

    def draw(count):
        """A network that is too sure of the old alone."""
        p, true = faces(count, rng)
        old = np.where(true > 50, 4.0, 1.0)[:, None]
        p = p**old
        return p / p.sum(1, keepdims=True), true

    p, true = draw(4000)
    calibration = fit(p, np.full(4000, 0.5), true, np.zeros(4000, int))
    p, true = draw(20_000)
    said = p @ np.arange(NUM_AGES)
    first, last = age_interval(p, calibration)
    inside = (true >= first) & (true <= last)
    first, last = age_interval(p, calibration._replace(bands=()))
    inside_by_one = (true >= first) & (true <= last)
    bands = [(said >= low) & (said < low + 10) for low in range(20, 80, 10)]
    assert all(0.86 < inside[band].mean() < 0.94 for band in bands)
    assert max(inside_by_one[band].mean() for band in bands) > 0.95  # with one width for all, not so
    assert min(inside_by_one[band].mean() for band in bands) < 0.85


def test_bands_begin_where_there_are_faces_enough():
    p, age = (
        np.repeat(np.eye(NUM_AGES)[[5, 15, 30, 42, 90]], [60, 20, 40, 10, 60], 0),
        np.repeat([6, 15, 33], [60, 20, 110]),
    )
    assert [first for first, _ in banded_widening(p, age)] == [0, 10, 40]  # 10 to 39 have 60 faces together
    assert [first for first, _ in banded_widening(p[:-30], age[:-30])] == [0, 10]  # too few are left above
    assert banded_widening(p[: LEAST_IN_BAND + 30], age[: LEAST_IN_BAND + 30]) == () == banded_widening(p[:0], age[:0])
    widen = dict(banded_widening(p, age))
    assert widen[0] == pytest.approx(1 - 0.45)
    calibration = Calibration(widen=50.0, bands=tuple(widen.items()))
    ends = [[int(end[row]) for end in age_interval(p, calibration)] for row in (0, 60)]
    assert ends == [[4, 6], [12, 18]]  # the own interval 4.55 to 5.45 and 14.55 to 15.45, widened by 0.55 and 2.55


def test_over_many_draws_the_coverage_is_the_level():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(600):
        p, true = faces(40, rng, 2.0)
        first, last = age_interval(p[:1], Calibration(widen=conformal_widening(p[1:], true[1:], 0.8), level=0.8))
        hits += first[0] <= true[0] <= last[0]
    low, high = binom.ppf([0.001, 0.999], 600, 0.8)
    assert low <= hits <= high


def test_a_temperature_is_found_again():
    rng = np.random.default_rng(3)
    odds = rng.normal(0, 3, 40_000)
    gender = (rng.random(40_000) < 1 / (1 + np.exp(-odds))).astype(int)
    for temperature in (0.5, 1.0, 2.5):
        said = 1 / (1 + np.exp(-odds * temperature))
        assert fit_temperature(said, gender) == pytest.approx(temperature, rel=0.05)


def test_tempering_by_hand():
    p = np.array([0.9, 0.5, 0.2])
    np.testing.assert_allclose(tempered(p, 1.0), p)
    np.testing.assert_allclose(tempered(p, 2.0), [3 / 4, 0.5, 1 / 3])  # odds 9, 1, 1/4 -> 3, 1, 1/2
    np.testing.assert_allclose(tempered(p, 0.5), [81 / 82, 0.5, 1 / 17])
    assert np.all(np.isfinite(tempered(np.array([0.0, 1.0]), 0.05)))


def test_a_few_faces_that_are_all_right_promise_no_certainty():
    few = np.array([0.9, 0.9, 0.1, 0.1]), np.array([1, 1, 0, 0])
    assert 0.7 < fit_temperature(*few) < 1
    assert fit_temperature(*(np.tile(part, 500) for part in few)) < 0.3  # a thousand and more may


def test_labels_that_are_unknown_calibrate_nothing():
    rng = np.random.default_rng(4)
    p, true = faces(200, rng)
    p_male, gender = rng.random(200), rng.integers(0, 2, 200)
    known = fit(p[:150], p_male[50:], true[:150], gender[50:])
    hidden = fit(p, p_male, np.where(np.arange(200) < 150, true, -1), np.where(np.arange(200) >= 50, gender, -1))
    assert hidden == known and (hidden.ages, hidden.genders) == (150, 150)
    nothing = fit(p, p_male, np.full(200, -1), np.full(200, -1))
    assert nothing == Calibration() and age_interval(p, nothing) is None


def test_unsure_is_what_lies_near_one_half():
    assert unsure(np.array([0.1, 0.3, 0.5, 0.74, 0.75, 0.25])).tolist() == [False, True, True, True, False, False]
    assert math.isclose(Calibration().level, 0.9)


def test_why_there_are_no_intervals_is_said():
    few, none, some = (calibration_in_words(Calibration(widen=widen, ages=ages, genders=6))
                       for widen, ages in ((None, 6), (None, 0), (1.5, 9)))  # fmt: skip
    assert few.startswith("no age intervals (too few faces with an age in years, 6); gender at")
    assert none.startswith("no age intervals (no ages in years); ")
    assert some.startswith("90% age intervals, ") and "(on 9 faces)" in some
