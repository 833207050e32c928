"""The one table that every reader returns."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Records:
    """One row for each photo of a dataset, before any cleaning.

    Attributes:
        path: n file names relative to the dataset's folder, with forward slashes.
        age: (n,) int64, years, uncleaned: any integer may occur; -1 may also mean unknown.
        gender: (n,) int64, labels.FEMALE, labels.MALE or labels.UNKNOWN.
        face_score: (n,) float64, the detector's score as the dataset publishes it; None if it has none.
        second_face_score: (n,) float64, NaN where there is no second face; None if the dataset has none.
        subject: (n,) int64, a number for each person, -1 unknown; None if the dataset does not know.
        race: (n,) int64 index into race_names, -1 unknown; None if the dataset does not say.
        race_names: the names of the races, in the dataset's own order.
        skipped: reason -> names of the files that were left out because they could not be understood.
    """

    path: list[str]
    age: np.ndarray
    gender: np.ndarray
    face_score: np.ndarray | None = None
    second_face_score: np.ndarray | None = None
    subject: np.ndarray | None = None
    race: np.ndarray | None = None
    race_names: tuple[str, ...] = ()
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.path)
