"""What the labels mean: ages, the gender order, expected age, and age scales.

Every other file takes these meanings from here, so that no two can disagree.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_AGE = 100
NUM_AGES = MAX_AGE + 1  # one class a year, 0..100

FEMALE, MALE = 0, 1  # IMDB-WIKI's order, whatever a dataset's own order is
GENDERS = ("F", "M")
NUM_GENDERS = len(GENDERS)

UNKNOWN = -1  # a missing label of any kind: it trains nothing and is scored nowhere

DECADES = tuple((low, low + 9) for low in range(0, MAX_AGE - 10, 10)) + ((MAX_AGE - 10, MAX_AGE),)


def expected_age(probabilities: np.ndarray, centres: np.ndarray | None = None) -> np.ndarray:
    """Expected age in years under distributions over the ages 0..100, or over groups with these centres, (k,) years:
    (..., k) -> (...) float.

    The expectation of the softmax outputs beats their maximum (Rothe et al., "DEX: Deep EXpectation of apparent
    age from a single image", ICCV workshops 2015, section 3.3).

    Raises:
        ValueError: if the last axis does not have k entries.
    """
    centres = np.arange(NUM_AGES, dtype=np.float64) if centres is None else centres
    if probabilities.shape[-1] != len(centres):
        raise ValueError(
            f"an age distribution has {len(centres)} entries here, one for each class; "
            f"received an array of shape {probabilities.shape}"
        )
    expected: np.ndarray = probabilities @ centres
    return expected


def likelier_gender(p_male: np.ndarray) -> np.ndarray:
    """The gender that is said at each probability of male, MALE from one half on: (n,) -> (n,) int64."""
    return np.where(np.asarray(p_male) >= 0.5, MALE, FEMALE)


def decade_of(ages: np.ndarray) -> np.ndarray:
    """Index into DECADES of each age: (n,) in years -> (n,) int64. Age 100 belongs to the last one."""
    return np.minimum(np.asarray(ages, np.int64) // 10, len(DECADES) - 1)


# -------------------------------------------------------------------------------------------------- age scales


class AgeScale(NamedTuple):
    """The classes of an age head: groups of years, closed intervals in ascending order, none overlapping another.

    Attributes:
        name: how it is asked for.
        groups: (name, first year, last year) of each.
        exact: whether a label that is an interval counts only where it is one of the groups, as Adience's authors
            score; else it counts where one group holds all of it.
    """

    name: str
    groups: tuple[tuple[str, int, int], ...]
    exact: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The groups' names."""
        return tuple(name for name, _, _ in self.groups)

    @property
    def centres(self) -> np.ndarray:
        """The middle of each group, (k,) float64, years."""
        return np.array([(low + high) / 2 for _, low, high in self.groups])

    def folds_onto(self, onto: "AgeScale") -> np.ndarray:
        """Which group of a coarser scale each group lies in, (k, m) of 0 and 1; a row of zeros lies in a gap.

        Raises:
            ValueError: if a group of this scale lies on both sides of an end of one of the coarser scale's.
        """
        place = np.zeros((len(self.groups), len(onto.groups)))
        for index, (name, low, high) in enumerate(self.groups):
            for other, (wider, start, end) in enumerate(onto.groups):
                if low >= start and high <= end:
                    place[index, other] = 1
                elif low <= end and high >= start:
                    raise ValueError(
                        f"the scale {self.name} cannot be folded onto {onto.name}: "
                        f"its group {name} is partly in {wider}"
                    )
        return place

    def group_of(self, age: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> np.ndarray:
        """The group that each label belongs to.

        Args:
            age: (n,) years, -1 unknown.
            low, high: (n,) years, the ends of labels that are intervals, -1 for those that are not; None where the
                dataset has none.

        Returns:
            (n,) int64 index, -1 where the age is unknown or in no group.
        """
        age = np.asarray(age, np.int64)
        first, last = age, age
        if low is not None and high is not None:
            interval = np.asarray(low) != UNKNOWN
            # Where a dataset has groups, an age in years is none of them.
            single = np.full_like(age, UNKNOWN) if self.exact else age
            first, last = np.where(interval, low, single), np.where(interval, high, single)
        found = np.full(len(age), UNKNOWN, np.int64)
        for index, (_, start, end) in enumerate(self.groups):
            whole = self.exact and low is not None
            inside = (first == start) & (last == end) if whole else (first >= start) & (last <= end)
            found[inside & (first != UNKNOWN)] = index
        return found


YEARS = AgeScale("years", tuple((str(year), year, year) for year in range(NUM_AGES)))


def _scale(name: str, text: str, exact: bool = False) -> AgeScale:
    """A scale from its groups, as `age_scale` takes them; raises ValueError."""
    groups: list[tuple[str, int, int]] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(?:(.*\S)\s*:)?\s*(\d{1,3})\s*-\s*(\d{1,3})\s*", part)
        if not match:
            raise ValueError(
                f"'{text}' is no age scale: take {', '.join(AGE_SCALES)}, or groups of years such as 0-12,13-17,18-100"
            )
        low, high = int(match[2]), int(match[3])
        groups.append((match[1] or f"{low}-{high}", low, high))
    check_groups(groups)
    return AgeScale(name, tuple(groups), exact)


def check_groups(groups: Sequence[tuple[str, int, int]]) -> None:
    """Raises ValueError if names, first and last years are not those of an `AgeScale`."""
    before = -1
    for name, low, high in groups:
        if type(low) is not int or type(high) is not int or not before < low <= high <= MAX_AGE:
            raise ValueError(f"the age group {name} must ascend within 0..{MAX_AGE} and follow the one before it")
        before = high
    if len(groups) < 2 or len({name for name, _, _ in groups}) < len(groups):
        raise ValueError(f"an age scale has two groups or more, each with a name of its own; received {len(groups)}")


AGE_SCALES = {
    scale.name: scale
    for scale in (
        YEARS,
        # Eidinger, Enbar, Hassner: "Age and gender estimation of unfiltered faces", IEEE TIFS 9(12), 2014, table II.
        _scale("adience", "0-2,4-6,8-12,15-20,25-32,38-43,48-53,60-100", exact=True),
        _scale("nine_groups", "0-4,5-10,11-15,16-21,22-28,29-39,40-50,51-60,61-100"),
        _scale("adult_child", "under 18:0-17,adult:18-100"),
        _scale("child_adolescent_adult", "child:0-12,adolescent:13-17,adult:18-100"),
    )
}


def age_scale(text: str) -> AgeScale:
    """The scale that a user means: a name in AGE_SCALES, or groups, "0-12,13-17,18-100" or "minor:0-17,adult:18-100".

    Raises:
        ValueError: if it is neither.
    """
    return AGE_SCALES.get(text) or _scale(text, text)


def fold_ages(probabilities: np.ndarray, scale: AgeScale, onto: AgeScale) -> tuple[np.ndarray, np.ndarray]:
    """Distributions over one scale's groups, (n, k), as distributions over those of a coarser scale, or of the same,
    which changes nothing.

    Returns:
        (n, m) float, renormalised; and (n,) float64, the probability that fell into gaps. A row all of which fell
        there is uniform.

    Raises:
        ValueError: as `AgeScale.folds_onto` does.
    """
    if scale == onto:
        return probabilities, np.zeros(len(probabilities))
    folded = np.asarray(probabilities, np.float64) @ scale.folds_onto(onto)
    kept = folded.sum(axis=-1, keepdims=True)
    nothing = kept <= 0
    folded = np.where(nothing, 1 / len(onto.groups), folded / np.where(nothing, 1, kept))
    return folded, np.clip(1 - kept[..., 0], 0, 1)
