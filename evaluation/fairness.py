"""How differently groups of people are served at equal ages: women and men, and the groups that a dataset tells apart.

Groups differ in age, and ages differ in how hard they are. So each group's faces are weighed until all groups have one
distribution over the decades, that of all faces (direct standardisation, Rothman, Greenland, Lash, "Modern
epidemiology", 3rd edition, chapter 3).
"""

from typing import NamedTuple

import numpy as np

from age_gender.labels import DECADES, UNKNOWN, decade_of
from evaluation.metrics import FEW, Outcomes, percentiles, resamples

# Statistic -> the sum of faces that it is a mean over, the sum of what they add, and 1 where more is worse.
STATISTICS = {"age_mae": ("aged", "age_mae", 1), "gender_accuracy": ("gendered", "right", -1)}


class Gap(NamedTuple):
    """What lies between the group that is served worst and the one that is served best, at equal ages."""

    axis: str  # what the groups are of
    statistic: str  # "age_mae" in years, or "gender_accuracy", a share
    worst: str
    best: str
    worst_value: float
    best_value: float
    value: float  # how much the worst one is worse
    low: float  # the ends of the 95% interval of that, between these two groups
    high: float
    decades: int  # of age in which each group has faces enough; others are left out. 0: ages are unknown, none weighed
    n: int  # faces of all groups in these


def gaps(outcomes: Outcomes, age: np.ndarray, axes: list[tuple[str, list[tuple[str, np.ndarray]]]], seed: int = 0):
    """The gaps by each axis in each statistic, where two groups or more can be compared.

    Args:
        outcomes: of n predictions in years.
        age: (n,) true ages, -1 unknown.
        axes: (axis, [(group, mask)]) with (n,) masks.
        seed: of the bootstrap.
    """
    found = []
    for axis, members in axes:
        for statistic, (counted, *_) in STATISTICS.items():
            if counted in outcomes.sums and (gap := _gap(outcomes, age, axis, members, statistic, seed)):
                found.append(gap)
    return found


def _gap(outcomes: Outcomes, age: np.ndarray, axis: str, members: list, statistic: str, seed: int) -> Gap | None:
    counted, adds, worse = STATISTICS[statistic]
    known = outcomes.sums[counted].astype(bool)
    aged = known & (age != UNKNOWN)
    weighed = bool(aged.any())
    known = aged if weighed else known
    decade = decade_of(np.maximum(age, 0)) if weighed else np.zeros(len(age), np.int64)
    bands = len(DECADES) if weighed else 1
    members = [(name, mask & known) for name, mask in members if (mask & known).sum() >= FEW]
    if len(members) < 2:
        return None
    counts = np.array([np.bincount(decade[mask], minlength=bands) for _, mask in members])
    kept, common = [], np.ones(bands, bool)  # the largest groups first, so that a small one takes no decade from them
    for place in np.argsort(-counts.sum(axis=1), kind="stable").tolist():
        if (both := common & (counts[place] >= FEW)).any():
            kept, common = [*kept, place], both
    if len(kept) < 2:
        return None
    members, enough = [members[place] for place in sorted(kept)], np.flatnonzero(common)
    inside = np.any([mask for _, mask in members], axis=0) & np.isin(decade, enough)
    weight = np.bincount(decade[inside], minlength=bands)[enough]
    cells = [mask & (decade == band) for _, mask in members for band in enough]
    belongs = np.stack(cells, axis=1).astype(float)  # (n, groups x decades)
    added = outcomes.sums[adds].astype(float)[:, None] * belongs

    def standardised(times: np.ndarray) -> np.ndarray:
        """(r, n) how often each face counts -> (r, groups)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (times @ added) / (times @ belongs)
            means = means.reshape(len(times), len(members), len(enough))
            there = np.isfinite(means) * weight  # a resample may lack a decade of a group, or all of them
            return np.asarray((np.nan_to_num(means) * there).sum(axis=2) / there.sum(axis=2))

    values = standardised(np.ones((1, len(age))))[0]
    best, *_, worst = np.argsort(worse * values, kind="stable").tolist()
    drawn = np.concatenate([worse * standardised(times)[:, [best, worst]] for times in resamples(len(age), seed)])
    return Gap(
        axis,
        statistic,
        members[worst][0],
        members[best][0],
        float(values[worst]),
        float(values[best]),
        float(abs(values[worst] - values[best])),
        *percentiles(drawn[:, 1] - drawn[:, 0]),
        len(enough) if weighed else 0,
        int(inside.sum()),
    )
