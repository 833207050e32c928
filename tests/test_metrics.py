"""Scores against closed forms; intervals and tests against SciPy and against plain bootstrap loops."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as oracle
from scipy import stats

from evaluation import metrics
from evaluation.metrics import (
    MOST_YEARS,
    RESAMPLES,
    Outcomes,
    age_sums,
    area_under_roc,
    compare,
    gender_sums,
    group_sums,
    interval_sums,
    reliability,
    resamples,
    roc_curve,
    score,
    trivial_answers,
    wilson,
)

TRIVIAL = {"age": 30, "gender": 1}


def outcomes(age, gender, expected_age, p_male, **more):
    age, gender, expected_age, p_male = (np.asarray(each) for each in (age, gender, expected_age, p_male))
    return Outcomes(
        {**age_sums(age, expected_age), **gender_sums(gender, p_male, **more)}, gender, p_male.astype(float)
    )


def scored(age, gender, expected_age, p_male, trivial=TRIVIAL, seed=0):
    answers = outcomes(age, gender, [trivial["age"]] * len(age), [float(trivial["gender"])] * len(age))
    return score(outcomes(age, gender, expected_age, p_male), answers, seed)


def drawn(count: int, seed: int = 0):
    """Labels and predictions of faces; ages and genders of some are unknown."""
    rng = np.random.default_rng(seed)
    age, gender = rng.integers(0, 101, count), rng.integers(0, 2, count)
    expected = np.clip(age + rng.normal(1, 8, count), 0, 100)
    p_male = np.clip(0.5 + (gender - 0.5) * rng.normal(0.6, 0.5, count), 0, 1)
    age[rng.random(count) < 0.1], gender[rng.random(count) < 0.1] = -1, -1
    return age, gender, expected, p_male


def mean_interval(numbers, seed=0):
    """The interval that the errors of some faces have."""
    known = np.ones(len(numbers), bool)
    outcomes = Outcomes({"aged": known, "age_mae": np.asarray(numbers, float)}, np.full(len(numbers), -1))
    return tuple(score(outcomes, outcomes, seed)["age_mae"][1:3])


def test_scores_by_hand():
    result = scored([20, 30, 40, 50], [0, 0, 1, 1], [21.0, 33.0, 45.0, 40.0], [0.1, 0.7, 0.9, 0.6])
    values = {name: estimate.value for name, estimate in result.estimates.items()}
    assert values["age_mae"] == pytest.approx((1 + 3 + 5 + 10) / 4) and result.n == 4
    assert values["age_rmse"] == pytest.approx(math.sqrt((1 + 9 + 25 + 100) / 4))
    assert values["age_bias"] == pytest.approx((1 + 3 + 5 - 10) / 4)
    assert [values[f"cs{k}"] for k in (0, 1, 2, 3, 4, 5, 9, 10, 20)] == [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1]
    assert values["gender_accuracy"] == 0.75
    assert values["gender_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)  # F: 1 of 1 found of 2; M: 2 of 3 called of 2
    assert values["gender_auc"] == pytest.approx(3 / 4)  # of the four pairs, 0.6 against 0.7 is wrong
    assert result["age_mae"].trivial == pytest.approx((10 + 0 + 10 + 20) / 4)
    assert result["cs5"].trivial == 0.25 and result["gender_accuracy"].trivial == 0.5
    assert result["gender_auc"].trivial == 0.5 and result["gender_f1"].trivial == pytest.approx(1 / 3)


def test_an_error_of_exactly_five_years_is_a_hit():
    assert scored([30] * 4, [0] * 4, [25.0, 35.0, 24.999, 35.001], [0.0] * 4)["cs5"].value == 0.5


def test_a_probability_of_one_half_is_male():
    assert scored([1, 1, 1], [1, 1, 0], [1.0] * 3, [0.5, 0.5, 0.4999])["gender_accuracy"].value == 1.0


def test_groups_by_hand():
    group, said = np.array([0, 1, 2, 3, -1]), np.array([0, 2, 0, 2, 1])
    gender = np.zeros(5, int)
    found = score(Outcomes(group_sums(group, said), gender), Outcomes(group_sums(group, np.zeros(5, int)), gender))
    assert found["exact"].value == 0.25 and found["one_off"].value == 0.75
    assert found["exact"].trivial == 0.25 and found["one_off"].trivial == 0.5


def test_intervals_and_doubts_by_hand():
    age, gender = np.array([20, 30, -1, 50]), np.array([0, 1, 1, -1])
    sums = {**age_sums(age, age.astype(float)), **interval_sums(age, age - 2, np.array([25, 29, 40, 50]))}
    sums |= gender_sums(gender, np.array([0.1, 0.7, 0.4, 0.5]), unsure_below=0.75)
    found = metrics.values(Outcomes(sums, gender))
    assert found["interval_coverage"] == pytest.approx(2 / 3)  # 18-25 and 48-50 hold theirs, 28-29 does not
    assert found["interval_width"] == pytest.approx((7 + 1 + 2) / 3)
    assert found["gender_unsure"] == pytest.approx(2 / 3) and found["gender_accuracy_sure"] == 1.0


def test_unknown_labels_are_left_out_of_their_own_scores_alone():
    result = scored([-1, 30, 40], [0, -1, 1], [99.0, 31.0, 43.0], [0.9, 0.9, 0.9])
    assert result["age_mae"].value == pytest.approx(2) and result["age_mae"].trivial == pytest.approx(5)
    assert result["gender_accuracy"].value == 0.5 and result["gender_accuracy"].trivial == 0.5
    assert result.n == 3


def test_without_any_label_a_score_is_nan():
    result = scored([-1, -1], [1, 0], [10.0, 20.0], [0.9, 0.1])
    assert all(math.isnan(value) for name in ("age_mae", "cs5", "age_rmse") for value in result[name])
    assert result["gender_accuracy"].value == 1.0
    assert math.isnan(scored([1, 2], [-1, -1], [1.0, 2.0], [0.9, 0.1])["gender_auc"].value)


def test_one_face_has_a_score_and_no_interval():
    result = scored([30], [1], [33.0], [0.2])
    assert result["age_mae"].value == 3 and math.isnan(result["age_mae"].low) and math.isnan(result["age_mae"].high)
    assert result["gender_accuracy"].value == 0.0
    assert all(map(math.isnan, mean_interval(np.array([4.0]))))
    one_of_many = scored([30, -1, -1], [-1, 1, 0], [33.0, 1.0, 1.0], [0.2, 0.7, 0.4])
    assert one_of_many["age_mae"].value == 3 and math.isnan(one_of_many["age_mae"].low) and one_of_many.aged == 1
    assert one_of_many["gender_accuracy"].low == pytest.approx(stats.binomtest(2, 2).proportion_ci(0.95, "wilson").low)


def test_of_one_gender_alone_there_is_no_f1():
    for p_male in ([0.9, 0.8, 0.7], [0.9, 0.8, 0.1]):
        assert math.isnan(scored([1] * 3, [1] * 3, [1.0] * 3, p_male)["gender_f1"].value)


def test_the_trivial_gender_is_compared_with_the_true_one():
    for gender, expected in ((1, 0.75), (0, 0.25)):
        result = scored([1] * 4, [1, 1, 1, 0], [1.0] * 4, [0.0] * 4, {"age": 1, "gender": gender})
        assert result["gender_accuracy"].trivial == expected


# ------------------------------------------------------------------------------------- against SciPy


def auc(gender, p_male):
    """The share of pairs of a man and a woman in which he has the higher probability, by ranks."""
    male = gender == 1
    return (stats.rankdata(p_male)[male].mean() - (male.sum() + 1) / 2) / (~male).sum()


STATISTICS = {  # of true ages and genders, expected ages and probabilities of male, all known
    "age_mae": lambda a, g, e, p: np.mean(np.abs(e - a)),
    "age_rmse": lambda a, g, e, p: np.sqrt(np.mean((e - a) ** 2)),
    "age_bias": lambda a, g, e, p: np.mean(e - a),
    "cs5": lambda a, g, e, p: np.mean(np.abs(e - a) <= 5),
    "gender_accuracy": lambda a, g, e, p: np.mean(g == (p >= 0.5)),
    "gender_f1": lambda a, g, e, p: np.mean(
        [2 * np.sum((g == s) & ((p >= 0.5) == s)) / (np.sum(g == s) + np.sum((p >= 0.5) == s)) for s in (0, 1)]
    ),
    "gender_auc": lambda a, g, e, p: auc(g, p),
}
SKLEARNS = {  # which take too long for the resamples
    "gender_accuracy": lambda a, g, e, p: oracle.accuracy_score(g, p >= 0.5),
    "gender_f1": lambda a, g, e, p: oracle.f1_score(g, p >= 0.5, average="macro"),
    "gender_auc": lambda a, g, e, p: oracle.roc_auc_score(g, p),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_values_and_intervals_are_those_of_scipy(name):
    age, gender, expected, p_male = drawn(150, 5)
    p_male = np.round(p_male, 2)  # with ties
    known = (age != -1) & (gender != -1)
    sample = tuple(each[known] for each in (age, gender, expected, p_male))
    result = scored(*sample)[name]
    value = STATISTICS[name](*sample)
    assert result.value == pytest.approx(value)
    assert value == pytest.approx(SKLEARNS.get(name, STATISTICS[name])(*sample))
    found = stats.bootstrap(
        sample, STATISTICS[name], paired=True, vectorized=False, n_resamples=600, method="percentile", rng=0
    ).confidence_interval
    width = found.high - found.low
    np.testing.assert_allclose((result.low, result.high), found, atol=0.12 * width)


def test_the_paired_test_is_that_of_scipy():
    """On the mean absolute error, whose paired t-test is exact enough at this size; and on genders, exact McNemar's."""
    rng = np.random.default_rng(6)
    age, gender, expected, p_male = drawn(600, 7)
    for worse in (0.0, 0.25, 0.5):
        other = expected + rng.normal(0, 4, 600) + worse * np.sign(expected - age)
        noisy = np.clip(p_male + rng.normal(0, 0.25, 600), 0, 1)
        found = compare(outcomes(age, gender, expected, p_male), outcomes(age, gender, other, noisy))
        known = age != -1
        mine, others = (np.abs(each - age)[known] for each in (expected, other))
        t = stats.ttest_rel(mine, others)
        assert found["age_mae"].value == pytest.approx(np.mean(mine - others))
        assert found["age_mae"].p == pytest.approx(max(t.pvalue, 2 / RESAMPLES), abs=0.04)
        np.testing.assert_allclose(found["age_mae"][1:3], t.confidence_interval(0.95), atol=0.04)
        known = gender != -1
        mine, others = (((each >= 0.5) == (gender == 1))[known] for each in (p_male, noisy))
        lost, won = np.sum(mine & ~others), np.sum(~mine & others)
        exact = stats.binomtest(lost, lost + won).pvalue
        assert found["gender_accuracy"].value == pytest.approx((lost - won) / known.sum())
        assert found["gender_accuracy"].p == pytest.approx(max(exact, 2 / RESAMPLES), abs=0.06)


@pytest.mark.parametrize("worse", [0.1, 0.2, 0.35])
def test_the_p_value_is_two_sided_as_that_of_swapped_pairs_is(worse):
    """Of 20,000 random swaps of the two models, face by face, how many part them as far as they are, to either side."""
    rng = np.random.default_rng(12)
    one = rng.exponential(6, 300)
    away = rng.normal(worse, 3, 300)
    one, other = (Outcomes({"aged": np.ones(300), "age_mae": each}, np.full(300, -1)) for each in (one, one + away))
    found = compare(other, one)["age_mae"]
    swapped = (rng.choice([-1, 1], (20_000, len(away))) @ away) / len(away)
    p = np.mean(np.abs(swapped) >= abs(away.mean()))
    assert 0.02 < p < 0.7  # where half of it would be seen
    assert found.p == pytest.approx(p, rel=0.25, abs=0.01)


def test_shares_near_their_ends_have_wilsons_interval():
    n = 40
    for hits in (0, 1, 4, 36, 39, 40):
        gender = np.ones(n, int)
        p_male = np.where(np.arange(n) < hits, 0.9, 0.1)
        found = scored([30] * n, gender, [30.0] * n, p_male)["gender_accuracy"]
        z = stats.norm.ppf(0.975)
        middle, reach = (hits + z**2 / 2) / (n + z**2), z / (n + z**2) * math.sqrt(hits * (n - hits) / n + z**2 / 4)
        assert found.value == hits / n
        np.testing.assert_allclose(found[1:3], (max(middle - reach, 0), min(middle + reach, 1)), atol=1e-9)
    hit = scored([30] * n, [1] * n, [30.0] * n, [0.9] * n)
    for name in ("cs5", "cs0", "gender_accuracy", "gender_unsure", "gender_accuracy_sure"):
        assert hit[name].high - hit[name].low == pytest.approx(0.0876, abs=1e-4), name  # not (100.0-100.0)
    assert hit["age_mae"][1:3] == (0, 0)
    for few, enough in ((4, 5), (36, 35)):  # hits of 40, with 4 misses or 5
        assert wilson(few / n, n) and not wilson(enough / n, n)


def test_pairs_say_more_than_two_intervals_do():
    age, gender, expected, p_male = drawn(400, 8)
    mine = outcomes(age, gender, expected, p_male)
    worse = outcomes(age, gender, np.where(expected > age, expected + 0.3, expected - 0.3), p_male)
    result = compare(worse, mine)
    assert result["age_mae"].value == pytest.approx(0.3) and result["age_mae"].p < 0.01
    assert result["age_mae"].high - result["age_mae"].low < 0.05
    assert result["gender_auc"].value == 0 and result["gender_auc"].p == 1


def test_a_model_against_itself_is_no_different():
    mine = outcomes(*drawn(100, 9))
    assert all(tuple(found) == (0.0, 0.0, 0.0, 1.0) for found in compare(mine, mine).values())


def test_under_no_difference_one_test_in_twenty_is_below_a_twentieth():
    rng = np.random.default_rng(10)
    below = 0
    for trial in range(200):
        one, other = (
            Outcomes({"aged": np.ones(80, bool), "age_mae": np.abs(rng.normal(0, 6, 80))}, np.full(80, -1))
            for _ in range(2)
        )
        found = compare(one, other, seed=trial)
        below += found["age_mae"].p < 0.05
    low, high = stats.binom.ppf([0.0005, 0.9995], 200, 0.06)
    assert low <= below <= high


def test_each_face_is_drawn_once_on_average_and_all_are_drawn():
    counts = np.concatenate(list(resamples(5_000, 0)))
    assert counts.shape == (RESAMPLES, 5_000) and np.all(counts.sum(axis=1) == 5_000)
    assert np.mean(counts == 0) == pytest.approx(math.exp(-1), abs=0.001)
    assert counts.mean(axis=0).std() == pytest.approx(1 / math.sqrt(RESAMPLES), rel=0.1)


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
    assert metrics.CONFIDENCE == 0.95


def test_resamples_without_a_gender_are_left_out():
    result = scored([1] * 4, [1, 0, 0, 0], [1.0] * 4, [0.25, 0.1, 0.2, 0.3])["gender_auc"]
    assert tuple(result[:3]) == (pytest.approx(2 / 3), 0.0, 1.0)


@pytest.mark.parametrize("name", ["gender_f1", "gender_auc"])
def test_four_faces_that_are_all_right_leave_doubt(name):
    result = scored([1] * 4, [1, 1, 0, 0], [1.0] * 4, [0.9, 0.8, 0.2, 0.3])[name]
    assert result.value == 1.0 and math.isnan(result.low) and math.isnan(result.high)  # not 100.0 (100.0-100.0)


# ------------------------------------------------------------------------------------- curves


def test_roc_by_hand():
    gender, p_male = np.array([1, 0, 1, 0, -1]), np.array([0.9, 0.6, 0.6, 0.1, 0.99])
    women, men = roc_curve(gender, p_male)
    np.testing.assert_allclose(women, [0, 0, 0.5, 1])  # the tie is one step
    np.testing.assert_allclose(men, [0, 0.5, 1, 1])
    assert np.trapezoid(men, women) == pytest.approx(area_under_roc(gender, p_male)[0]) == pytest.approx(0.875)


def test_the_roc_is_that_of_scikit_learn():
    _, gender, _, p_male = drawn(300, 14)
    p_male = np.round(p_male, 1)  # with ties
    women, men = roc_curve(gender, p_male)
    known = gender != -1
    expected = oracle.roc_curve(gender[known], p_male[known], drop_intermediate=False)[:2]
    np.testing.assert_allclose((women, men), expected)
    assert area_under_roc(gender, p_male)[0] == pytest.approx(oracle.roc_auc_score(gender[known], p_male[known]))


def test_the_area_in_a_resample_is_that_of_the_repeated_faces():
    age, gender, _, p_male = drawn(60, 11)
    p_male = np.round(p_male, 1)
    for counts in next(resamples(60, 0))[:5].astype(int):
        rows = np.repeat(np.arange(60), counts)
        found = area_under_roc(gender, p_male, counts[None].astype(float))
        assert found[0] == pytest.approx(area_under_roc(gender[rows], p_male[rows])[0])


def test_reliability_by_hand():
    p_male = np.array([0.07, 0.95, 0.97, 1.0, 0.5])
    found = reliability(np.array([0, 1, 0, 1, -1]), p_male, bins=10)
    assert found.count.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert found.said[9] == pytest.approx(0.97333, abs=1e-5) and found.true[9] == pytest.approx(2 / 3)
    assert found.error == pytest.approx(0.25 * 0.07 + 0.75 * (0.973333 - 2 / 3), abs=1e-5)
    assert math.isnan(reliability(np.array([-1]), np.array([0.5])).error)


def test_the_curve_ends_where_it_says():
    assert f"cs{MOST_YEARS}" in age_sums(np.array([1]), np.array([1.0])) and MOST_YEARS == 20


def test_trivial_answers_are_the_median_age_and_the_commoner_gender():
    assert trivial_answers(np.array([10, 20, 90, -1]), np.array([0, 0, 1, -1])) == {"age": 20, "gender": 0}
    assert trivial_answers(np.array([-1, 40, -1]), np.array([1, -1, -1])) == {"age": 40, "gender": 1}
    assert trivial_answers(np.array([-1]), np.array([-1])) == {"age": 0, "gender": 1}


# ------------------------------------------------------------------------------------------------ fairness


def test_a_gap_at_equal_ages_is_what_remains_when_ages_are_weighed_alike():
    from evaluation.fairness import gaps

    # Errors depend on the age alone: 2 years at 25, 8 at 65. Group b is older, so it looks worse, and is not.
    age = np.array([25] * 90 + [65] * 10 + [25] * 10 + [65] * 40)
    error = np.where(age == 25, 2.0, 8.0)
    a = np.arange(150) < 100
    gender = np.arange(150) % 2
    members = [("a", a), ("b", ~a)]

    def found(error, axes, p_male=gender):
        sums = age_sums(age, age + error) | gender_sums(gender, p_male)
        return {gap.statistic: gap for gap in gaps(Outcomes(sums, gender), age, axes)}

    said = found(error, [("group", members)])
    assert said["age_mae"].value == pytest.approx(0) and said["age_mae"].decades == 2 and said["age_mae"].n == 150
    assert said["age_mae"].best_value == pytest.approx(4)  # of both ages, two thirds and one
    assert said["gender_accuracy"].value == 0
    said = found(error + ~a, [("group", members)])["age_mae"]  # and a year more for b
    assert (said.worst, said.best, said.value) == ("b", "a", pytest.approx(1)) and said.low <= 1 <= said.high
    wrong = np.where(~a & (age == 25), 1 - gender, gender).astype(float)  # b's young are all taken for the other
    said = found(error, [("group", members)], wrong)["gender_accuracy"]
    assert (said.worst, said.worst_value, said.best_value) == ("b", pytest.approx(1 / 3), 1)
    assert found(error, [("group", members[:1])]) == {}  # nothing to compare with
    lone = [("a", a), ("b", ~a & (age == 65))]  # only the decade that both have counts
    assert found(error, [("group", lone)])["age_mae"].decades == 1


def test_a_gap_of_few_faces_is_told_without_warnings():
    from evaluation.fairness import FEW, gaps

    age, a = np.full(2 * FEW, 25), np.arange(2 * FEW) < FEW
    sums = age_sums(age, age + np.where(a, 1.0, 3.0)) | gender_sums(a.astype(int), a.astype(float))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a resample can lack all faces of a group
        [gap] = [
            each
            for each in gaps(Outcomes(sums, a.astype(int)), age, [("group", [("a", a), ("b", ~a)])])
            if each.statistic == "age_mae"
        ]
    assert gap.value == pytest.approx(2) and gap.low == pytest.approx(2) and gap.high == pytest.approx(2)


def test_a_small_group_takes_no_decade_from_the_larger_ones():
    from evaluation.fairness import gaps

    age = np.array([25, 65] * 50 + [25, 65] * 50 + [15, 35, 45, 55, 75])
    group = np.array([0] * 100 + [1] * 100 + [2] * 5)
    sums = age_sums(age, age + np.where(group == 1, 3.0, 1.0))
    found = gaps(
        Outcomes(sums, np.full(205, -1)), age, [("race", [(name, group == n) for n, name in enumerate("abc")])]
    )
    [gap] = [each for each in found if each.statistic == "age_mae"]
    assert (gap.worst, gap.best, gap.n, gap.decades) == ("b", "a", 200, 2) and gap.value == pytest.approx(2)


def test_of_groups_that_are_told_alike_none_is_called_worse():
    from evaluation.fairness import gaps
    from evaluation.tables import gap_in_words

    gender = np.arange(40) % 2
    outcomes = Outcomes(gender_sums(gender, gender.astype(float)), gender)
    [gap] = gaps(outcomes, np.full(40, 25), [("gender", [("F", gender == 0), ("M", gender == 1)])])
    assert gap_in_words(gap) == "by gender at equal ages (1 decade, 40 faces): gender of each 100.0%"


def test_a_start_that_has_no_age_to_be_judged_by_is_judged_by_gender_alone():
    from evaluation.gains import worth_in_words

    gender, unknown = np.arange(40) % 2, np.full(40, -1)
    outcomes = Outcomes(age_sums(unknown, np.full(40, 30.0)) | gender_sums(gender, gender.astype(float)), gender)
    assert worth_in_words(outcomes, 0).startswith("gender 100.0%")


def test_without_ages_a_gap_is_not_weighed():
    from evaluation.fairness import gaps

    gender, unknown = np.array([0] * 20 + [1] * 20), np.full(40, -1)
    p_male = np.array([0.9] * 5 + [0.1] * 15 + [0.9] * 20)
    outcomes = Outcomes(age_sums(unknown, np.full(40, 30.0)) | gender_sums(gender, p_male), gender)
    (gap,) = gaps(outcomes, unknown, [("gender", [("F", gender == 0), ("M", gender == 1)])])
    assert (gap.worst, gap.best, gap.decades, gap.n) == ("F", "M", 0, 40)
    assert gap.value == pytest.approx(0.25) and gap.low < 0.25 < gap.high
