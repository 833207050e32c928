"""Scores against closed forms, their intervals against a plain bootstrap loop."""

import math

import numpy as np
import pytest

import metrics
from metrics import mean_interval, score, trivial_answers

TRIVIAL = {"age": 30, "gender": 1}


def scored(age, gender, expected_age, p_male, trivial=TRIVIAL, seed=0):
    return score(*(np.asarray(values) for values in (age, gender, expected_age, p_male)), trivial, seed)


def test_scores_by_hand():
    result = scored([20, 30, 40, 50], [0, 0, 1, 1], [21.0, 33.0, 45.0, 40.0], [0.1, 0.7, 0.9, 0.6])
    assert result.age_mae.value == pytest.approx((1 + 3 + 5 + 10) / 4)
    assert result.cs5.value == 0.75 and result.gender_accuracy.value == 0.75 and result.n == 4
    assert result.age_mae.trivial == pytest.approx((10 + 0 + 10 + 20) / 4)
    assert result.cs5.trivial == 0.25 and result.gender_accuracy.trivial == 0.5


def test_an_error_of_exactly_five_years_is_a_hit():
    assert scored([30, 30, 30, 30], [0] * 4, [25.0, 35.0, 24.999, 35.001], [0.0] * 4).cs5.value == 0.5


def test_a_probability_of_one_half_is_male():
    result = scored([1, 1, 1], [1, 1, 0], [1.0] * 3, [0.5, 0.5, 0.4999])
    assert result.gender_accuracy.value == 1.0


def test_unknown_labels_are_left_out_of_their_own_scores_alone():
    result = scored([-1, 30, 40], [0, -1, 1], [99.0, 31.0, 43.0], [0.9, 0.9, 0.9])
    assert result.age_mae.value == pytest.approx(2) and result.age_mae.trivial == pytest.approx(5)
    assert result.gender_accuracy.value == 0.5 and result.gender_accuracy.trivial == 0.5
    assert result.n == 3


def test_without_any_label_a_score_is_nan():
    result = scored([-1, -1], [1, 0], [10.0, 20.0], [0.9, 0.1])
    assert all(math.isnan(value) for value in (*result.age_mae, *result.cs5))
    assert result.gender_accuracy.value == 1.0


def test_one_face_has_a_score_and_no_interval():
    result = scored([30], [1], [33.0], [0.2])
    assert result.age_mae.value == 3 and math.isnan(result.age_mae.low) and math.isnan(result.age_mae.high)
    assert result.gender_accuracy.value == 0.0
    assert all(map(math.isnan, mean_interval(np.array([4.0]))))


def test_the_trivial_gender_is_compared_with_the_true_one():
    for gender, expected in ((1, 0.75), (0, 0.25)):
        result = scored([1] * 4, [1, 1, 1, 0], [1.0] * 4, [0.0] * 4, {"age": 1, "gender": gender})
        assert result.gender_accuracy.trivial == expected


@pytest.mark.parametrize("kind", ["errors", "hits"])
def test_the_interval_is_that_of_a_plain_bootstrap_loop(kind):
    rng = np.random.default_rng(1)
    values = rng.exponential(5, 60) if kind == "errors" else rng.random(60) < 0.8
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(20_000)]
    expected = np.quantile(means, [0.025, 0.975])
    width = expected[1] - expected[0]
    np.testing.assert_allclose(mean_interval(values), expected, atol=0.08 * width)


def test_the_interval_of_many_is_the_normal_one():
    values = np.random.default_rng(2).normal(10, 3, 20_000)
    reach = 1.96 * values.std() / math.sqrt(len(values))
    low, high = mean_interval(values)
    assert low == pytest.approx(values.mean() - reach, abs=0.15 * reach)
    assert high == pytest.approx(values.mean() + reach, abs=0.15 * reach)


def test_equal_values_leave_no_doubt():
    assert mean_interval(np.full(9, 2.5)) == (2.5, 2.5)
    assert mean_interval(np.ones(9, bool)) == (1.0, 1.0)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).normal(0, 1, 50)
    assert mean_interval(values, 4) == mean_interval(values, 4) != mean_interval(values, 5)
    assert all(type(bound) is float for bound in mean_interval(values))


def test_the_memory_of_the_resamples_does_not_change_them(monkeypatch):
    values = np.random.default_rng(3).normal(0, 1, 50_000)  # 80 resamples at a time
    intervals = mean_interval(values)
    reach = 1.96 * values.std() / math.sqrt(len(values))
    np.testing.assert_allclose(intervals, [values.mean() - reach, values.mean() + reach], atol=0.2 * reach)
    assert metrics.CONFIDENCE == 0.95


def test_trivial_answers_are_the_median_age_and_the_commoner_gender():
    assert trivial_answers(np.array([10, 20, 90, -1]), np.array([0, 0, 1, -1])) == {"age": 20, "gender": 0}
    assert trivial_answers(np.array([-1, 40, -1]), np.array([1, -1, -1])) == {"age": 40, "gender": 1}
    assert trivial_answers(np.array([-1]), np.array([-1])) == {"age": 0, "gender": 1}
