"""What is kept of predictions: rows for CSV and JSON, annotated pictures, a film."""

import csv
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from age_gender.cli import one_line
from age_gender.faces import heic_remedy
from age_gender.files import UNFINISHED, guarded, replacing
from age_gender.machine import native_stderr_kept
from age_gender.predictor import Face, Result
from age_gender.sources import TABLE, Camera, Video, complaints, film_name, is_table, open_capture, quiet
from age_gender.tracks import COLUMNS as SUMMARY_COLUMNS
from age_gender.tracks import Tracked

PREDICTIONS, SUMMARY = "predictions.json", "summary.csv"  # the table as JSON; people, where they are tracked
TABLES = (TABLE, PREDICTIONS, SUMMARY)
SLOWEST, FASTEST = 0.01, 60_000.0  # frames per second of a film
UNSTEADY = 60.0  # frames per second, at most, of a film whose frames do not come at the rate that its source says
STANDING = 3600  # frames for which a picture stands still at most: a minute of those
WRITABLE = (".bmp", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

COLUMNS = (
    *("input", "frame", "face", "status", "x1", "y1", "x2", "y2", "score", "age", "gender", "p_male"),
    *("age_low", "age_high", "unsure"),
    *("age_group", "p_age_group", "p_between_groups"),  # with age groups alone
)
OF_VIDEO = ("seconds",)  # columns after these, of videos and cameras
OF_TRACKS = ("track", "track_age", "track_gender", "track_p_male")  # and after those, where faces are tracked


def rows_of(result: Result) -> list[dict[str, Any]]:
    """A row for each face, or one that says why there is none; a value that does not exist is None."""
    base = {**dict.fromkeys(COLUMNS), "input": result.frame.name, "frame": result.frame.number}
    if result.frame.seconds is not None:
        base["seconds"] = round(result.frame.seconds, 3)
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
            "age_group": face.group,
            "p_age_group": None if face.p_group is None else round(face.p_group, 4),
            "p_between_groups": None if face.p_between is None else round(face.p_between, 4),
        }
        for number, face in enumerate(result.faces)
    ]


def _guarded(row: dict[str, Any]) -> dict[str, Any]:
    """A row in which no text is a formula: neither a file's name nor a group's, which its model says."""
    return {name: guarded(value) for name, value in row.items()}


def _of_track(one: Tracked | None) -> dict[str, Any]:
    """The columns of a face that is tracked; empty until it is."""
    if one is None:
        return dict.fromkeys(OF_TRACKS)
    face = one.face
    return dict(zip(OF_TRACKS, (one.number, round(face.age, 2), face.gender, round(face.p_male, 4)), strict=True))


def in_words(result: Result) -> str:
    """'27 F (21-36); 31 M (25-38)', or why there is none."""
    if result.image is None:
        return f"unreadable{heic_remedy(result.frame.name)}"
    return "; ".join(label(face) for face in result.faces) or "no face"


def label(face: Face) -> str:
    """'27 F (21-36)', without an interval '27 F', of age groups 'adult F (97%)'; '27 unsure' where the gender is."""
    age = face.group or f"{face.age:.0f}"
    more = f"{face.p_group:.0%}" if face.group else "-".join(map(str, face.interval or ()))
    return f"{age} {'unsure' if face.unsure else face.gender}{f' ({more})' * bool(more)}"


def naming_damaged(found: Generator[Result], folder: Path, say: Callable[[str], object]) -> Iterator[Result]:
    """Passes the results of images in a folder on, and says at the end which are damaged but were read, with the words
    of their decoders, which name no file."""
    doubted = {}
    with native_stderr_kept() as known:
        try:
            with closing(found):  # no thread decodes any more when the damaged are asked about
                for result in found:
                    if result.doubted:
                        doubted[result.frame.name] = result.image is not None
                    yield result
        finally:
            damaged = complaints(folder, doubted)
            known.update(line for lines in damaged.values() for line in lines)
            for name in filter(doubted.get, damaged):
                say(one_line(f"{name} is damaged but was read: {'; '.join(damaged[name])}"))


def write_csv(file: IO[str], rows: Iterable[dict[str, Any]]) -> None:
    """Writes rows as `rows_of` gives them, as they come, below a header; a name is never a formula."""
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow(_guarded(row))


def file_of(name: str) -> str:
    """The name of an annotated picture, by its input's."""
    return name if Path(name).suffix.lower() in WRITABLE else f"{name}.png"


def film_of(source: Video | Camera) -> str:
    """The name of an annotated film."""
    name = source.path.stem if isinstance(source, Video) else re.sub(r"[^\w.-]+", "_", source.name)
    return f"{name}.mp4"


def refuse_to_replace(folder: Path | None, names: list[str]) -> None:
    """Refuses a folder in which results of these names would replace what no earlier run has written."""
    if not folder or any(map(is_table, (folder / TABLE, *folder.glob(f"{UNFINISHED}*.csv")))):  # or of a killed run
        return
    if taken := next((name for name in (*TABLES, *names) if (folder / name).exists()), None):
        raise ValueError(f"{folder / taken} is there, and is no result: name another folder with --output_dir")


class Output:
    """Writes annotated pictures, or of a Video or a Camera a film, and the tables of predictions into a folder, as they
    come: nothing is kept in memory. `tracked`: whether `add` is told who is tracked."""

    def __init__(self, folder: Path, source: Any, tracked: bool = False):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._pictures: set[Path] = set()
        self._source = source if isinstance(source, Video | Camera) else None
        if self._source:
            film_name(folder)  # refused before the first frame
        self._film: cv2.VideoWriter | None = None
        self._film_frames, self._film_due = 0, 0.0  # how many are written, and would be by the frames' own times
        self._held: tuple[np.ndarray, float] | None = None  # the film's next picture, which stands until another's time
        self._unfinished = ExitStack()  # the film
        self._tables = ExitStack()
        self._rows = 0
        more = (*OF_VIDEO, *(OF_TRACKS if tracked else ())) if self._source else ()
        table = self._table(TABLE, errors="surrogateescape", newline="")
        self._csv = csv.DictWriter(table, (*COLUMNS, *more))
        self._csv.writeheader()
        table.flush()  # so that the next run knows it, should this one be killed
        self._json = self._table(PREDICTIONS, errors="backslashreplace")

    def _table(self, name: str, **how: str) -> IO[str]:
        path = self._tables.enter_context(replacing(self.folder / name))
        return self._tables.enter_context(open(path, "w", encoding="utf-8", **how))  # type: ignore[call-overload]

    def _open_film(self, source: Video | Camera, size: tuple[int, int], step: float) -> None:
        """Begins the film, of width and height `size`, whose first frames are `step` seconds apart; 0: of any rate."""
        self._film_file = self.folder / film_of(source)
        self._film_new = self._unfinished.enter_context(replacing(self._film_file))
        code = cv2.VideoWriter.fourcc(*"mp4v")
        rate = source.frames_per_second
        if step > 0 and not 0.9 < step * rate < 1.1:
            rate = min(max(rate, 1 / step), UNSTEADY)
        for digits in (3, 2, 1, 0):  # the format holds a rate as a fraction of numbers of 16 bits
            self._film_rate = round(min(max(rate, SLOWEST), FASTEST), digits)
            self._film = cv2.VideoWriter(film_name(self._film_new), code, self._film_rate, size)
            if self._film.isOpened():
                return

    def _write_held(self, step: float) -> None:
        """Writes the picture that is held: once, or as often as it has to stand for `step` seconds."""
        assert self._source and self._held
        picture = self._held[0]
        if self._film is None:
            self._open_film(self._source, (picture.shape[1], picture.shape[0]), step)
        assert self._film
        self._film_due += min(max(step * self._film_rate, 0), STANDING)
        times = max(1, round(self._film_due) - self._film_frames)
        with quiet():  # `close` says it, of all frames at once
            for _ in range(times):
                self._film.write(picture)
        self._film_frames += times

    def add(self, result: Result, annotated: np.ndarray | None, tracked: list[Tracked | None] | None = None) -> None:
        """Takes a result, its annotated picture (None if unreadable), and who is tracked, one for each face."""
        rows = rows_of(result)
        if tracked is not None:
            rows = [row | _of_track(one) for row, one in zip(rows, tracked or [None], strict=True)]
        for row in rows:
            self._csv.writerow(_guarded(row))
            text = json.dumps(row, indent=1, ensure_ascii=False).replace("\n", "\n ")
            self._json.write(f"{',' if self._rows else '['}\n {text}")
            self._rows += 1
        if annotated is None:
            return
        if self._source:
            mean_rate = isinstance(self._source, Video) and self._source.lists_frames
            seconds = 0.0 if mean_rate else result.frame.seconds or 0.0
            if self._held:
                self._write_held(seconds - self._held[1])
            self._held = annotated, seconds
        else:
            self._write_picture(result.frame.name, annotated)

    def _write_picture(self, name: str, picture: np.ndarray) -> None:
        path = self.folder / file_of(name)
        stem, number = path.stem, 1
        while path in self._pictures:  # a.ppm and a.ppm.png are two pictures
            number += 1
            path = path.with_name(f"{stem} ({number}){path.suffix}")
        self._pictures.add(path)
        good, encoded = cv2.imencode(path.suffix, picture)
        if not good and path.suffix == ".png":
            raise ValueError(f"OpenCV cannot write {path}")
        if not good:  # it is higher or wider than its format allows
            return self._write_picture(f"{name}.png", picture)
        with replacing(path) as temporary:
            temporary.write_bytes(encoded.tobytes())

    def close(self, people: list[dict[str, Any]] | None = None) -> None:
        """Completes the tables, summary.csv among them where there are people, the rows of Tracker.summary; and the
        film. Raises OSError if the film lacks frames, as on a full disk; what was there before stays."""
        with self._tables:
            self._json.write("\n]" if self._rows else "[]")
            if people is not None:
                table = csv.DictWriter(self._table(SUMMARY, newline=""), SUMMARY_COLUMNS)
                table.writeheader()
                table.writerows(people)
        with self._unfinished:
            if self._held:
                self._write_held(0)
            if self._film:
                with quiet():
                    self._film.release()
                found = max(0, int(open_capture(film_name(self._film_new)).get(cv2.CAP_PROP_FRAME_COUNT)))
                if found < self._film_frames:
                    raise OSError(
                        f"{self._film_file} was not written: {found} of its {self._film_frames} frames are in it; "
                        "is the disk full, or can this OpenCV write no mp4?"
                    )
