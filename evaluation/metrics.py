"""How good predictions are: errors in years, shares of hits, their bootstrap intervals, and the trivial answer.

Nearly every statistic is a function of sums over faces (of errors, of hits), so each face is one row of what it adds to
these sums, and the bootstrap is a product of matrices: the counts of the faces in each resample with those rows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from age_gender.intervals import unsure
from age_gender.labels import MALE, NUM_GENDERS, UNKNOWN, YEARS, AgeScale, likelier_gender

CS_YEARS = 5  # CS@5: the share of faces whose age is hit within 5 years (cumulative score)
MOST_YEARS = 20  # the last of the curve CS@0, CS@1, ...
RESAMPLES = 1000
CONFIDENCE = 0.95
FEW = 5  # hits or misses: with fewer, resamples say too little; with none, nothing
AT_ONCE = 4_000_000  # faces of resamples that are summed at once: bounds the memory
DRAWN_AT_ONCE = 200_000  # of these, as many as a processor's cache holds


class Estimate(NamedTuple):
    """A statistic, its interval (NaN for fewer than two faces), and what the trivial answer reaches."""

    value: float
    low: float
    high: float
    trivial: float


class Difference(NamedTuple):
    """A statistic of one model less that of another on the same faces, its interval, and the two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Scores:
    """The scores of n faces, `aged` of which have an age or an age group: statistic -> estimate, see `statistics`."""

    n: int
    aged: int
    estimates: dict[str, Estimate]

    def __getitem__(self, name: str) -> Estimate:  # scores["age_mae"]
        return self.estimates[name]


class Outcomes(NamedTuple):
    """What some predictions came to, face by face."""

    sums: dict[str, np.ndarray]  # name -> (n,), what each face adds to a sum, see the functions below
    gender: np.ndarray  # (n,) true genders, -1 unknown
    p_male: np.ndarray | None = None  # (n,) predicted probabilities, for the area under ROC; None leaves it out

    def of(self, chosen: np.ndarray, all_of_it: bool = False) -> "Outcomes":
        """Those of some of the faces (a mask, or rows); the area under ROC and the curve of CS@k only if asked for."""
        wanted = [name for name in self.sums if all_of_it or not name.startswith("cs") or name == f"cs{CS_YEARS}"]
        p_male = self.p_male[chosen] if all_of_it and self.p_male is not None else None
        return Outcomes({name: self.sums[name][chosen] for name in wanted}, self.gender[chosen], p_male)


# ------------------------------------------------------------------------------------- what each face adds


def age_sums(age: np.ndarray, expected_age: np.ndarray) -> dict[str, np.ndarray]:
    """Of errors in years, (n,) true (-1 unknown) and expected ages."""
    known = age != UNKNOWN
    error = np.where(known, expected_age - age, 0.0)
    away = np.abs(error)
    within = {f"cs{years}": known & (away <= years) for years in range(MOST_YEARS + 1)}
    return {"aged": known, "age_mae": away, "age_rmse": error**2, "age_bias": error, **within}


def group_sums(group: np.ndarray, said: np.ndarray) -> dict[str, np.ndarray]:
    """Of hits on a scale of age groups, (n,) true (-1 unknown) and predicted indices: the right group, and the right
    one or a neighbour of it (Eidinger et al., IEEE TIFS 2014, section VI)."""
    known = group != UNKNOWN
    away = np.abs(said - group)
    return {"aged": known, "exact": known & (away == 0), "one_off": known & (away <= 1)}


def gender_sums(gender: np.ndarray, p_male: np.ndarray, unsure_below: float = 0.5) -> dict[str, np.ndarray]:
    """Of hits, (n,) true genders (-1 unknown) and probabilities; one half is male. A face is unsure where the likelier
    gender has a smaller probability than `unsure_below`."""
    known, male, says = gender != UNKNOWN, gender == MALE, likelier_gender(p_male) == MALE
    right = known & (says == male)
    sure = known & ~unsure(p_male, unsure_below)
    return {
        **{"gendered": known, "right": right, "male": male, "says_male": known & says, "right_male": right & male},
        **{"sure": sure, "right_sure": right & sure},
    }


def interval_sums(age: np.ndarray, first: np.ndarray, last: np.ndarray) -> dict[str, np.ndarray]:
    """Of age intervals, (n,) true ages (-1 unknown) and the ends, whole years."""
    known = age != UNKNOWN
    inside = known & (age >= first) & (age <= last)
    return {"interval_coverage": inside, "interval_width": np.where(known, last - first, 0)}


def statistics(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the sums say, each of any shape.

    Returns:
        age_mae, age_rmse, age_bias (expected less true) and interval_width in years; as shares cs0, cs1, ..., exact,
        one_off, interval_coverage, gender_accuracy, gender_f1 (the mean of both genders' F1), gender_unsure, and
        gender_accuracy_sure, of the others. Those whose sums are not there are left out; NaN where no face has the
        label, F1 also where none has the one gender.
    """
    found = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, total in sums.items():
            if name.startswith(("age_", "cs", "interval_")) or name in ("exact", "one_off"):
                mean = total / sums["aged"]
                found[name] = np.sqrt(mean) if name == "age_rmse" else mean
        if "gendered" in sums:
            n, right, male, says = (sums[name] for name in ("gendered", "right", "male", "says_male"))
            both = sums["right_male"]
            found["gender_accuracy"] = right / n
            found["gender_unsure"] = 1 - sums["sure"] / n
            found["gender_accuracy_sure"] = sums["right_sure"] / sums["sure"]
            f1 = (2 * both / (male + says) + 2 * (right - both) / (2 * n - male - says)) / 2
            found["gender_f1"] = np.where((male > 0) & (male < n), f1, np.nan)
    return found


def area_under_roc(gender: np.ndarray, p_male: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """The probability that a man's face is rated more male than a woman's, ties counting half (Hanley and McNeil 1982).

    Args:
        gender: (n,) true genders, -1 unknown.
        p_male: (n,) predicted probabilities.
        counts: (r, n) how often each face is in each of r resamples; None is once each.

    Returns:
        (r,) float64; NaN where one of the genders is missing.
    """
    counts = np.ones((1, len(gender))) if counts is None else counts
    known = np.flatnonzero(gender != UNKNOWN)
    order = known[np.argsort(p_male[known], kind="stable")]
    if not len(order):
        return np.full(len(counts), math.nan)
    counts, male = counts[:, order], gender[order] == MALE
    males, females = counts * male, counts * ~male
    starts = np.flatnonzero(np.r_[True, np.diff(p_male[order]) > 0])  # of faces with one probability
    if len(starts) < len(order):
        males, females = (np.add.reduceat(each, starts, axis=1) for each in (males, females))
    below = np.cumsum(females, axis=1) - females / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return (males * below).sum(axis=1) / (males.sum(axis=1) * females.sum(axis=1))


# ------------------------------------------------------------------------------------- intervals and tests


def resamples(n: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n faces is in each bootstrap resample, RESAMPLES in all: (some, n) float64 arrays."""
    rng = np.random.default_rng(seed)
    some, few = max(1, AT_ONCE // n), max(1, DRAWN_AT_ONCE // n)
    for start in range(0, RESAMPLES, some):
        counts = np.empty((min(some, RESAMPLES - start), n))
        for block in np.split(counts, range(few, len(counts), few)):
            drawn = rng.integers(0, n, block.shape) + np.arange(len(block))[:, None] * n
            block[:] = np.bincount(drawn.ravel(), minlength=block.size).reshape(block.shape)
        yield counts


def bootstrap(several: list[Outcomes], seed: int) -> list[dict[str, np.ndarray]]:
    """The statistics of each of some models in the same resamples of the same faces: name -> (RESAMPLES,)."""
    rows = [np.column_stack(list(outcomes.sums.values())).astype(float) for outcomes in several]
    parts = [[] for _ in several]
    for counts in resamples(len(several[0].gender), seed):
        for outcomes, added, found in zip(several, rows, parts, strict=True):
            sums = dict(zip(outcomes.sums, (counts @ added).T, strict=True))
            found.append(statistics(sums))
            if outcomes.p_male is not None:
                found[-1]["gender_auc"] = area_under_roc(outcomes.gender, outcomes.p_male, counts)
    return [{name: np.concatenate([part[name] for part in found]) for name in found[0]} for found in parts]


def values(outcomes: Outcomes) -> dict[str, float]:
    """The statistics themselves."""
    found = statistics({name: np.sum(added, dtype=float) for name, added in outcomes.sums.items()})
    if outcomes.p_male is not None:
        found["gender_auc"] = area_under_roc(outcomes.gender, outcomes.p_male)[0]
    return {name: float(value) for name, value in found.items()}


def score(outcomes: Outcomes, trivial: Outcomes | None = None, seed: int = 0) -> Scores:
    """Scores predictions; a face without a label does not count for that label's scores.

    Args:
        outcomes: of the predictions.
        trivial: of the answers that use no picture, on the same faces; None leaves them out.
        seed: of the bootstrap.

    Returns:
        Each statistic with its percentile interval (Efron and Tibshirani 1993, chapter 13); shares of which fewer than
        FEW faces are hits, or misses, with Wilson's (JASA 1927); NaN where no face has the label, and the interval of
        the gender's F1 and area under ROC also where all resamples agree.
    """
    found, easy = values(outcomes), values(trivial) if trivial else {}
    n = len(outcomes.gender)
    drawn = bootstrap([outcomes], seed)[0] if n > 1 else {}
    labelled = {label: int(np.sum(outcomes.sums.get(label, 0))) for label in ("aged", "gendered")}
    estimates = {}
    for name, value in found.items():
        enough = labelled["gendered" if name.startswith("gender") else "aged"] > 1
        ends = percentiles(drawn[name]) if enough else (math.nan, math.nan)
        if enough and (count := _counted_by(name)):
            ends = wilson(value, int(outcomes.sums[count].sum())) or ends
        if name.startswith("gender") and ends[0] == ends[1]:  # F1 or the area, of all faces right: no resample differs
            ends = math.nan, math.nan
        estimates[name] = Estimate(value, *ends, easy.get(name, math.nan))
    return Scores(n, labelled["aged"], estimates)


def compare(outcomes: Outcomes, other: Outcomes, seed: int = 0) -> dict[str, Difference]:
    """The statistics of one model less those of another on the same faces, by the paired bootstrap.

    The p-value is twice the share of resamples in which the difference has the other sign, at least 2 in RESAMPLES + 1
    (Davison and Hinkley, "Bootstrap methods and their application", 1997, chapter 4, count such shares so).
    """
    mine, others = values(outcomes), values(other)
    drawn, drawn_others = bootstrap([outcomes, other], seed)
    found = {}
    for name in mine:
        if name not in others:
            continue
        differences = drawn[name] - drawn_others[name]
        differences = differences[np.isfinite(differences)]
        if len(differences) < RESAMPLES / 2:
            continue
        side = min(np.sum(differences <= 0), np.sum(differences >= 0))
        p = min(1.0, 2 * (side + 1) / (len(differences) + 1))
        found[name] = Difference(mine[name] - others[name], *percentiles(differences), float(p))
    return found


def percentiles(drawn: np.ndarray) -> tuple[float, float]:
    """The ends of a percentile interval; resamples in which a statistic does not exist are left out."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _counted_by(name: str) -> str | None:
    """The sum that a share is of; None of a statistic that is no share of faces."""
    if name.startswith("cs") or name in ("exact", "one_off", "interval_coverage"):
        return "aged"
    return {"gender_accuracy": "gendered", "gender_unsure": "gendered", "gender_accuracy_sure": "sure"}.get(name)


def wilson(share: float, n: int) -> tuple[float, float] | None:
    """Wilson's interval of a share of n faces; None where FEW of them and more are hits and as many misses."""
    from scipy.stats import binomtest

    hits = round(share * n) if n else 0
    if not n or FEW <= hits <= n - FEW:
        return None
    interval = binomtest(hits, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


# ------------------------------------------------------------------------------------- without a picture


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


# ------------------------------------------------------------------------------------- probabilities of gender


class Reliability(NamedTuple):
    """Faces by what was said of them: of each bin the mean probability of male, the share of men, and how many."""

    said: np.ndarray
    true: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error (Naeini et al., AAAI 2015), a share."""
        filled = self.count > 0
        away = np.abs(self.said - self.true)[filled]
        return float(np.average(away, weights=self.count[filled])) if filled.any() else math.nan


def reliability(gender: np.ndarray, p_male: np.ndarray, bins: int = 10) -> Reliability:
    """How often faces that are called male with some probability are: (n,) genders (-1 unknown) and probabilities."""
    known = gender != UNKNOWN
    male, said = gender[known] == MALE, p_male[known]
    place = np.minimum((said * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(np.bincount(place, said, bins) / count, np.bincount(place, male, bins) / count, count)


def roc_curve(gender: np.ndarray, p_male: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of women and of men that are called male at each threshold, both rising from 0 to 1."""
    known = gender != UNKNOWN
    order = np.argsort(-p_male[known], kind="stable")
    male, said = (gender[known] == MALE)[order], p_male[known][order]
    last = np.flatnonzero(np.r_[np.diff(said) < 0, len(said) > 0])  # of faces with one probability
    with np.errstate(invalid="ignore"):
        return tuple(np.r_[0, np.cumsum(called)[last]] / max(called.sum(), 1) for called in (~male, male))
