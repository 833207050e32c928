"""What of a dataset is fit to train on: the classic suite's filters, in its order."""

from collections.abc import Hashable, Iterable

import numpy as np

from age_gender.labels import UNKNOWN
from readers.records import Records

SECOND_FACE_SCORE = 0.0  # a second face above this score makes the label doubtful, as in the classic suite
SMALLEST = 2  # pixels of a side of a face box
MIN_SCORE = 1.0  # of the face, the classic suite's


def clean(
    records: Records,
    min_score: float,
    min_age: int,
    max_age: int,
    excluded: set[str],
    both: bool = True,
    boxes: bool = True,
) -> tuple[np.ndarray, dict[str, int]]:
    """The classic suite's cleaning, in its order; a record counts for the first reason that drops it.

    Args:
        records: of one dataset.
        min_score: least face score, where the dataset has scores.
        min_age, max_age: bounds of the age in years; an interval must lie within them as a whole.
        excluded: paths, or file names without folders.
        both: whether a record needs age and gender; otherwise one of them is enough.
        boxes: whether a record needs its face box, where the dataset has boxes.

    Returns:
        kept: (k,) int64 rows of the records, in their order.
        dropped: reason -> how many.
    """
    usable = np.ones(len(records), bool)
    dropped = {reason: len(names) for reason, names in records.skipped.items()}

    def drop(reason: str, wrong: np.ndarray) -> None:
        nonlocal usable
        dropped[reason] = int(np.sum(usable & wrong))
        usable = usable & ~wrong

    if records.face_score is not None:
        drop(f"face score below {min_score:g}", ~(records.face_score >= min_score))  # NaN is no score
    if records.second_face_score is not None:
        drop("second face", records.second_face_score > SECOND_FACE_SCORE)  # NaN, no second face, is not above
    low, high = records.age_interval()
    outside = (low < min_age) | (high > max_age)
    if both:
        drop(f"age outside {min_age}..{max_age}", outside)
        drop("gender unknown", records.gender == UNKNOWN)
    else:
        drop(f"age outside {min_age}..{max_age}", outside & (low != UNKNOWN))
        drop("neither age nor gender known", (low == UNKNOWN) & (records.gender == UNKNOWN))
    if records.box is not None:
        if boxes:
            drop("no face box", ~np.isfinite(records.box).all(axis=1))
        sides = records.box[:, 2:] - records.box[:, :2]
        drop("face box of less than 2 pixels", (np.abs(sides) < SMALLEST).any(axis=1))  # such as shares of the photo
    conflicting, again = repeated(records, usable)
    if conflicting.any() or again.any():
        drop("photo listed twice, labels conflict", conflicting)
        drop("photo listed twice", again)
    if excluded:
        bare = excluded.difference(records.path, *records.skipped.values())  # what is a path means that photo alone
        drop("excluded", np.array([p in excluded or p.rsplit("/", 1)[-1] in bare for p in records.path], bool))
    return np.flatnonzero(usable), dropped


def in_lines(records: Records, dropped: dict[str, int], kept: int) -> list[tuple[str, int]]:
    """What cleaning does, as lines of a table: all records, how many are dropped for each reason, and what is kept."""
    return [("records", records.total), *((f"- {reason}", count) for reason, count in dropped.items()), ("kept", kept)]


def repeated(records: Records, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which records are of a photo and a box that another record has too: (n,) bool each.

    Returns:
        conflicting: those whose labels exclude each other, all of them, since any may be wrong.
        again: of the others, all but the first that is usable, (n,) bool.
    """
    conflicting, again = np.zeros((2, len(records)), bool)
    if len(set(records.path)) == len(records):
        return conflicting, again
    low, high = records.age_interval()
    for rows in rows_alike((path, str(records.face_box(row))) for row, path in enumerate(records.path)):
        if len(rows) > 1:
            ends = conflict(low[rows], high[rows]), conflict(records.gender[rows], records.gender[rows])
            conflicting[rows] = any(ends)
            again[[row for row in rows if usable[row]][1:]] = not any(ends)
    return conflicting, again


def rows_alike(keys: Iterable[Hashable]) -> list[list[int]]:
    """The rows of each key, in the order in which the keys come first; a row whose key is None is in no group."""
    rows_of = {}
    for row, key in enumerate(keys):
        if key is not None:
            rows_of.setdefault(key, []).append(row)
    return list(rows_of.values())


def conflict(low: np.ndarray, high: np.ndarray) -> bool:
    """Whether known labels, from low to high each, exclude each other."""
    known = low != UNKNOWN
    return bool(known.any() and low[known].max() > high[known].min())
