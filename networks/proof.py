"""The proof that an exported file says what Keras says: the same faces through both, and how far apart they may be."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from age_gender.description import TRAINING, Description
from age_gender.detectors import DETECTORS, detector_for
from age_gender.faces import crop_face, read_image
from age_gender.intervals import Calibration, age_interval, tempered
from age_gender.labels import MALE, UNKNOWN, YEARS, expected_age, likelier_gender
from age_gender.runtimes import Run
from age_gender.sources import find_images
from networks.split import past_of
from utils import Database, ImageStack, labels_of

RANGE_FACES = 256  # that int8's ranges are measured on
BATCH = 32
WARM_UP, RUNS = 5, 40  # of one face, for the latency


class Limits(NamedTuple):
    """How far a file may be from Keras; None where it does not matter."""

    age: float | None = None  # greatest difference of an expected age, years
    p_male: float | None = None  # greatest difference of a probability of male
    interval: int | None = None  # greatest difference of an interval's end, years
    mean_age: float | None = None  # mean difference of the expected ages, years
    mae: float | None = None  # by how much the mean absolute error may be worse, years
    accuracy: float | None = None  # by how much the share of right genders may be worse


LIMITS = {
    "float32": Limits(age=0.01, p_male=0.001, interval=1),
    "float16": Limits(mean_age=0.05, mae=0.02, accuracy=0.005),
    "int8": Limits(mean_age=1.0, mae=0.2, accuracy=0.01),
}


class Faces(NamedTuple):
    """What the proof is made with."""

    image: np.ndarray  # (n, size, size, 3) uint8 BGR
    age: np.ndarray  # (n,) labels, -1 unknown
    gender: np.ndarray
    ranging: np.ndarray | None  # (m, size, size, 3) uint8 BGR, other faces, for int8's ranges; None: there are none
    words: str  # which they are


def drawn_faces(count: int, size: int, seed: int) -> Faces:
    """Patterns instead of faces, without labels: soft patches of colour with some noise, no two alike."""
    rng = np.random.default_rng(seed)
    patches = rng.uniform(0, 255, (count, 6, 6, 3))
    soft = np.stack([cv2.resize(patch, (size, size), interpolation=cv2.INTER_CUBIC) for patch in patches])
    drawn = np.clip(soft + rng.normal(0, 8, soft.shape), 0, 255).astype(np.uint8)
    unknown = np.full(count, UNKNOWN)
    words = f"{count} drawn patterns; with a database, --input, errors and genders are compared too"
    return Faces(drawn, unknown, unknown, None, words)


def held_out_faces(databases: list[Database], description: Description, count: int, seed: int) -> Faces:
    """Faces that trained nothing, as far as can be told: those kept for a test, else those that chose the model, else
    those of databases that it was not trained on, `count` at most; and others for int8's ranges, training faces first.
    """
    past = past_of(databases, description)
    pools = (
        (np.flatnonzero(past.test & ~past.trained), "that were kept for a test"),
        (np.flatnonzero(past.chose & ~past.trained), "that chose the checkpoint"),
        (np.flatnonzero(~past.trained), "that may have trained it" if past.untold else ""),
    )
    everything = np.arange(len(past.side))
    pool, kind = next(((rows, kind) for rows, kind in pools if len(rows)), (everything, "that trained it"))
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(pool, min(count, len(pool)), replace=False))
    training = np.flatnonzero(past.side == TRAINING)
    rest = np.setdiff1d(training if len(training) else everything, rows)
    others = np.sort(rng.choice(rest, min(RANGE_FACES, len(rest)), replace=False))
    images = ImageStack(databases, description.image_size)
    where = ", ".join(str(database.source) for database in databases)
    words = f"{len(rows)} of {len(pool):,} faces {kind}".rstrip() + f" in {where}"
    return Faces(images[rows], *labels_of(databases, rows), images[others] if len(others) else None, words)


def photographed_faces(folder: Path, description: Description, count: int) -> Faces:
    """The faces in a folder's photos, cut as the model's own were, without labels; every second is for int8's ranges.

    Raises:
        FileNotFoundError: if there is no such folder, or no photo in it.
        ValueError: if fewer than two faces are found.
    """
    detect = DETECTORS[detector_for(description.detector)]()
    faces = []
    for path in find_images(folder).images:
        image = read_image(path)
        for face in [] if image is None else detect(image):
            eyes = face.landmarks[:2] if description.align and face.landmarks is not None else None
            faces.append(crop_face(image, face.box, description.margin, description.image_size, eyes))
    if len(faces) < 2:
        raise ValueError(f"{folder}: {len(faces)} faces were found in its photos, and two or more are needed")
    compared, ranging = np.stack(faces[::2])[:count], np.stack(faces[1::2])[:RANGE_FACES]
    unknown = np.full(len(compared), UNKNOWN)
    words = f"{len(compared)} of {len(faces)} faces in the photos of {folder}; with a database, --input, errors too"
    return Faces(compared, unknown, unknown, ranging, words)


def reference(predict: Callable, description: Description) -> Run:
    """What a model says by Keras and NumPy alone, under the names that an exported file uses."""
    calibration = description.calibration or Calibration()

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        """As networks.export.answers says it."""
        gender, age = predict(images)
        p_male = tempered(gender[:, MALE], calibration.temperature)
        said = {"pred_gender": np.stack([1 - p_male, p_male], axis=1), "pred_age": age}
        said["expected_age"] = expected_age(age, description.age_scale.centres)
        if description.age_scale == YEARS and (interval := age_interval(age, calibration)):
            said["age_low"], said["age_high"] = interval
        return said

    return run


class Measured(NamedTuple):
    """What a model says of the faces, how long it takes for one, and how large its files are."""

    said: dict[str, np.ndarray]
    milliseconds: float
    megabytes: float


def measure(run: Run, images: np.ndarray, path: Path) -> Measured:
    """Runs a model on all faces, in batches, and on one face many times."""
    batches = [run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    said = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    seconds = []
    for _ in range(WARM_UP + RUNS):
        started = time.perf_counter()
        run(images[:1])
        seconds.append(time.perf_counter() - started)
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
    else:
        files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    size = sum(file.stat().st_size for file in files)
    return Measured(said, 1000 * float(np.median(seconds[WARM_UP:])), size / 1e6)


def differences(said: dict[str, np.ndarray], wanted: dict[str, np.ndarray], faces: Faces) -> dict[str, float]:
    """How far a file's answers are from Keras's: the fields of Limits, and `same`, the share of equal intervals.

    Raises:
        ValueError: if an output is missing or has another shape.
    """
    for name, values in wanted.items():
        if name not in said or said[name].shape != values.shape:
            raise ValueError(f"the exported model's {name} is not there, or not of the shape {values.shape}")
    age = np.abs(said["expected_age"] - wanted["expected_age"])
    male = np.abs(said["pred_gender"] - wanted["pred_gender"])
    found = {"age": age.max(), "mean_age": age.mean(), "p_male": male.max()}
    if "age_low" in wanted:
        ends = np.stack([np.abs(said[name] - wanted[name]) for name in ("age_low", "age_high")])
        found |= {"interval": ends.max(), "same": np.mean(ends.max(axis=0) == 0)}
    now, before = scores(said, faces), scores(wanted, faces)
    return found | {"mae": now[0] - before[0], "accuracy": before[1] - now[1]}


def scores(said: dict[str, np.ndarray], faces: Faces) -> tuple[float, float]:
    """Mean absolute error in years and share of right genders; NaN where no label is known."""
    aged, gendered = faces.age != UNKNOWN, faces.gender != UNKNOWN
    error = np.abs(said["expected_age"] - faces.age)[aged]
    right = (likelier_gender(said["pred_gender"][:, MALE]) == faces.gender)[gendered]
    return float(error.mean()) if len(error) else np.nan, float(right.mean()) if len(right) else np.nan


def too_far(found: dict[str, float], limits: Limits) -> list[str]:
    """What exceeds its limit, in words; a value that is no number exceeds it, but where there are no labels."""
    over = []
    for name, limit in limits._asdict().items():
        value = found.get(name)
        unknown = value is None or (np.isnan(value) and name in ("mae", "accuracy"))
        if limit is not None and not unknown and not value <= limit + 1e-9:
            over.append(f"{name} {value:.4g}, and {limit:g} is allowed")
    return over
