"""What is kept of predictions: rows for CSV and JSON, annotated pictures, a film."""

import csv
import json
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from age_gender.files import guarded, replacing
from age_gender.predictor import Face, Result
from age_gender.sources import TABLE, Camera, Video

WRITABLE = (".bmp", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

COLUMNS = (
    *("input", "frame", "face", "status", "x1", "y1", "x2", "y2", "score", "age", "gender", "p_male"),
    *("age_low", "age_high", "unsure"),
    *("age_group", "p_age_group", "p_between_groups"),  # with age groups alone
)


def rows_of(result: Result) -> list[dict[str, Any]]:
    """A row for each face, or one that says why there is none; a value that does not exist is None."""
    base = {**dict.fromkeys(COLUMNS), "input": result.frame.name, "frame": result.frame.number}
    if not result.faces:
        return [{**base, "status": "unreadable" if result.image is None else "no_face"}]
    return [
        {
            **base,
            "face": number,
            "status": "ok",
            **dict(zip(("x1", "y1", "x2", "y2"), (round(value, 1) for value in face.box), strict=True)),
            "score": round(face.score, 4),
            "age": round(face.age, 2),
            "gender": face.gender,
            "p_male": round(face.p_male, 4),
            "unsure": int(face.unsure),
            **dict(zip(("age_low", "age_high"), face.interval or (None, None), strict=True)),
            **_groups_of(face),
        }
        for number, face in enumerate(result.faces)
    ]


def _groups_of(face: Face) -> dict[str, Any]:
    """The columns that only a face with an age group has."""
    if face.group is None or face.p_group is None or face.p_between is None:
        return {}
    return {
        "age_group": face.group,
        "p_age_group": round(face.p_group, 4),
        "p_between_groups": round(face.p_between, 4),
    }


def write_csv(file: IO[str], rows: Iterable[dict[str, Any]]) -> None:
    """Writes rows as `rows_of` gives them, as they come, below a header; a name is never a formula."""
    table = csv.DictWriter(file, COLUMNS)
    table.writeheader()
    for row in rows:
        table.writerow({**row, "input": guarded(row["input"])})


class Output:
    """Writes annotated pictures or a film as they come, and the tables of predictions at the end.

    Args:
        folder: where they go.
        source: of the frames; a Video or a Camera makes a film, anything else pictures.
    """

    def __init__(self, folder: Path, source: Any):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, Any]] = []
        self._pictures: set[Path] = set()
        self._film: cv2.VideoWriter | None = None
        self._unfinished = ExitStack()
        if isinstance(source, Video | Camera):
            self._open_film(source)

    def _open_film(self, source: Video | Camera) -> None:
        name = source.path.stem if isinstance(source, Video) else re.sub(r"[^\w.-]+", "_", source.name)
        self._film_file, self._film_frames = self.folder / f"{name}.mp4", 0
        self._film_new = self._unfinished.enter_context(replacing(self._film_file))
        code = cv2.VideoWriter.fourcc(*"mp4v")
        for digits in (3, 2, 1, 0):  # the format holds a rate as a fraction of numbers of 16 bits
            rate = round(source.frames_per_second, digits)
            self._film = cv2.VideoWriter(str(self._film_new), code, rate, source.size)
            if self._film.isOpened():
                return
        raise ValueError(f"OpenCV cannot write {self._film_file}")

    def add(self, result: Result, annotated: np.ndarray | None) -> None:
        """Takes a result and its annotated picture (None if unreadable)."""
        self.rows.extend(rows_of(result))
        if annotated is None:
            return
        if self._film:
            self._film.write(annotated)
            self._film_frames += 1
        else:
            self._write_picture(result.frame.name, annotated)

    def _write_picture(self, name: str, picture: np.ndarray) -> None:
        path = self.folder / name
        if path.suffix.lower() not in WRITABLE:
            path = path.with_name(path.name + ".png")
        stem, number = path.stem, 1
        while path in self._pictures:  # a.ppm and a.ppm.png are two pictures
            number += 1
            path = path.with_name(f"{stem} ({number}){path.suffix}")
        self._pictures.add(path)
        good, encoded = cv2.imencode(path.suffix, picture)
        if not good:
            raise ValueError(f"OpenCV cannot write {path}")
        with replacing(path) as temporary:
            temporary.write_bytes(encoded.tobytes())

    def close(self) -> None:
        """Writes the tables, and completes the film.

        Raises:
            OSError: if the film lacks frames, as on a full disk; what was there before stays.
        """
        with (
            replacing(self.folder / TABLE) as path,
            open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            write_csv(file, self.rows)
        with replacing(self.folder / "predictions.json") as path:
            text = json.dumps(self.rows, indent=1, ensure_ascii=False)
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        with self._unfinished:
            if self._film:
                self._film.release()
                found = max(0, int(cv2.VideoCapture(str(self._film_new)).get(cv2.CAP_PROP_FRAME_COUNT)))
                if found < self._film_frames:
                    raise OSError(
                        f"{self._film_file} was not written: {found} of its {self._film_frames} frames are in it; "
                        "is the disk full?"
                    )
