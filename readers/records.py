"""The one table that every reader returns, and what readers share."""

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from age_gender.files import digest, files_below, is_hidden, read_cells, why_absent
from age_gender.labels import UNKNOWN


@dataclass
class Records:
    """One row for each photo of a dataset, before any cleaning.

    Attributes:
        path: n file names relative to the dataset's folder, with forward slashes.
        age: (n,) int64, years, uncleaned: any integer may occur; -1 may also mean unknown.
        gender: (n,) int64, labels.FEMALE, labels.MALE or labels.UNKNOWN.
        label_low, label_high, age_std, race, race_names, part, part_names: as in `utils.Database`.
        face_score: (n,) float64, the detector's score as the dataset publishes it; None if it has none.
        second_face_score: (n,) float64, NaN where there is no second face; None if the dataset has none.
        subject: (n,) int64, a number for each person, or for what else must not stand on two sides of a split, -1
            unknown; None if the dataset does not know.
        box: (n, 4) float64, x1, y1, x2, y2 of the face in pixels of its photo, NaN unknown; None where the photos are
            cut to the face already.
        skipped: reason -> names of the files or rows that were left out because they could not be understood.
    """

    path: list[str]
    age: np.ndarray
    gender: np.ndarray
    label_low: np.ndarray | None = None
    label_high: np.ndarray | None = None
    age_std: np.ndarray | None = None
    face_score: np.ndarray | None = None
    second_face_score: np.ndarray | None = None
    subject: np.ndarray | None = None
    race: np.ndarray | None = None
    race_names: tuple[str, ...] = ()
    part: np.ndarray | None = None
    part_names: tuple[str, ...] = ()
    box: np.ndarray | None = None
    skipped: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, rows: list[tuple], columns: tuple[str, ...], skipped: dict[str, list[str]], without=(), **more
    ) -> "Records":
        """Records made of rows, one at least, of a cell for each column; the columns in `without` are then left out."""
        cells = dict(zip(columns, zip(*rows, strict=True), strict=True))
        path = list(cells.pop("path"))
        kinds = {name: np.float64 if name in ("age_std", "box") else np.int64 for name in cells if name not in without}
        arrays = {name: np.array(cells[name], kind) for name, kind in kinds.items()}
        return cls(path, **arrays, **more, skipped={reason: names for reason, names in skipped.items() if names})

    def __len__(self) -> int:
        return len(self.path)

    @property
    def total(self) -> int:
        """How many records the dataset has, those among them that were left out at once."""
        return len(self) + sum(map(len, self.skipped.values()))

    def face_box(self, row: int) -> list[float] | None:
        """x1, y1, x2, y2 of a record's face; None where the photos are cut to it already."""
        return None if self.box is None else self.box[row].tolist()

    def age_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest year that each label means, (n,) int64 each, -1 where no age is known."""
        if self.label_low is None:
            return self.age, self.age
        exact = self.age != UNKNOWN
        return np.where(exact, self.age, self.label_low), np.where(exact, self.age, self.label_high)

    def take(self, rows: np.ndarray) -> "Records":
        """The records of some rows, (k,) int64, in their order."""
        columns = {item.name: getattr(self, item.name) for item in fields(self)}
        taken = {name: column[rows] for name, column in columns.items() if isinstance(column, np.ndarray)}
        return replace(self, path=[self.path[row] for row in rows], **taken)

    def fingerprint(self) -> str:
        """Short hex digest of the records and all their labels."""
        content = hashlib.sha256(
            "\0".join([*self.path, *self.race_names, *self.part_names]).encode("utf-8", "surrogatepass")
        )
        for item in fields(self):
            if isinstance(column := getattr(self, item.name), np.ndarray):
                content.update(item.name.encode() + np.ascontiguousarray(column).tobytes())
        return content.hexdigest()[:16]


def require(found: bool, path: Path, named: str) -> None:
    """Raises FileNotFoundError unless what a reader needs was found at a path; says what --data_dir must name."""
    if not found:
        raise FileNotFoundError(f"{path} {why_absent(path)}: --data_dir must name {named}")


def visible_files(folder: Path) -> tuple[list[str], list[str]]:
    """What `files_below` finds, and apart from it what is hidden."""
    visible, hidden = [], []
    for path in files_below(folder):
        (hidden if is_hidden(path) else visible).append(path)
    return visible, hidden


def person_number(name: str) -> int:
    """A number for a person known by name: the same in every table, and for no two names in practice."""
    return digest(name.encode("utf-8", "surrogatepass")) & (2**63 - 1)


def within(path: str) -> bool:
    """Whether a path, relative to a dataset's folder, stays in it: a label file may name anything."""
    if os.name == "nt":  # where a colon names a drive, or a stream
        path = path.replace("\\", "/").replace(":", "/../")
    return bool(path) and not path.startswith(("/", "\\")) and ":" not in path[:2] and ".." not in path.split("/")


def table_rows(
    path: Path, wanted: tuple[str, ...], skipped: dict[str, list[str]], delimiter: str = ""
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table with a header line: the number of its line, and its cells by column.

    A missing cell is "". A row with more cells than the header is skipped, and put down as `Records` does: which cell
    belongs to which column cannot be told.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no text, lacks one of the columns that are wanted, or has two of its name.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    rows = read_cells(path, delimiter)
    _, names = next(rows, (0, []))
    if missing := [name for name in wanted if name not in names]:
        raise ValueError(f"{path} lacks the column {', '.join(missing)}; it has {', '.join(names) or 'none'}")
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise ValueError(f"{path} has {names.count(twice[0])} columns named '{twice[0]}'; rename all but one")
    for line, cells in rows:
        if any(cells[len(names) :]):
            skipped.setdefault("more cells than the header", []).append(f"{path.name}, line {line}")
        else:
            yield line, dict(zip_longest(names, cells[: len(names)], fillvalue=""))


def real_number(text: str) -> float | None:
    """The number that some text is; None if it is none, as 4_6 is none, an age group, which Python reads as 46."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def whole_number(text: str, lowest: int = 0, highest: int = 999) -> int | None:
    """The integer that some text is, 3 for "3" and "3.0"; None if it is none or is out of bounds."""
    number = real_number(text)
    return int(number) if number is not None and number.is_integer() and lowest <= number <= highest else None


def whole_years(age: float) -> int:
    """An age in years, rounded, halves up."""
    return math.floor(age + 0.5)


def box_over_landmarks(points: np.ndarray) -> np.ndarray:
    """The face box that the usual 68 landmarks stand for: as wide as they are, and a square above the chin.

    They reach from ear to ear and from the brows to the chin; a detector's box has some forehead too. (k, 2) x and y
    in pixels -> (4,) x1, y1, x2, y2.
    """
    left, right, bottom = points[:, 0].min(), points[:, 0].max(), points[:, 1].max()
    top = min(points[:, 1].min(), bottom - (right - left))
    return np.array([left, top, right, bottom], np.float64)


def box_of_landmarks(texts: list[str]) -> np.ndarray:
    """`box_over_landmarks` of x and y of 68 landmarks, as texts; NaN if they are something else."""
    try:
        return box_over_landmarks(np.array(texts, np.float64).reshape(68, 2))
    except ValueError:
        return np.full(4, np.nan)
