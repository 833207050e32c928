"""Ages and genders of the faces in pictures, from one model.

from age_gender import Predictor

predict = Predictor()  # the model that comes with the package, or an exported file
for face in predict("photo.jpg"):
    print(face.box, face.age, face.interval, face.gender, face.p_male)
"""

import io
import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from age_gender.description import MOST_MARGIN, Description
from age_gender.detectors import DETECTORS, NO_DETECTOR, WITH_LANDMARKS, Detection, detector_for, in_any_thread
from age_gender.faces import Picture, crop_face, picture_of
from age_gender.intervals import UNSURE_BELOW, UNSURE_WITHIN, Calibration, age_interval, tempered, unsure
from age_gender.labels import GENDERS, MALE, YEARS, AgeScale, expected_age, fold_ages, likelier_gender
from age_gender.labels import age_scale as scale_named
from age_gender.machine import available_cores, done_ahead, native_stderr_size
from age_gender.runtimes import SHIPPED, Model, open_model
from age_gender.sources import Frame

BATCH = 64  # faces predicted at once, of many pictures


class Face(NamedTuple):
    """A face and what the model says of it.

    Attributes:
        box: x1, y1, x2, y2 in pixels; it may reach beyond the picture.
        score: the detector's.
        age: expected age in years.
        gender: "F" or "M", the likelier one.
        p_male: probability of male, 0..1; calibrated where the model knows how.
        unsure: whether the likelier gender's probability is below the predictor's `unsure_below`.
        interval: first and last year of the age's interval, which is to hold nine of ten ages (intervals.py); None
            where the model has no calibration or ages are in groups.
        group: name of the likeliest age group; None where ages are in years.
        p_group: its probability, 0..1; None where ages are in years.
        p_between: probability of the ages that are in no group; None where ages are in years.
    """

    box: tuple[float, float, float, float]
    score: float
    age: float
    gender: str
    p_male: float
    unsure: bool = False
    interval: tuple[int, int] | None = None
    group: str | None = None
    p_group: float | None = None
    p_between: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The face in the types of JSON; what does not exist is None.

        >>> face = Face((10.0, 20.0, 50.0, 60.0), 0.9, 31.4, "F", 0.03, interval=(25, 39))
        >>> face.to_dict()["box"], face.to_dict()["interval"], face.to_dict()["group"]
        ([10.0, 20.0, 50.0, 60.0], [25, 39], None)
        """
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}


class Result(NamedTuple):
    """A frame, its picture ((h, w, 3) uint8 BGR, None if unreadable) and its faces, the surest first.
    `doubted`: it may be damaged, since native code wrote to stderr, kept in a file, while it was read."""

    frame: Frame
    image: np.ndarray | None
    faces: list[Face]
    doubted: bool = False


class Predictor:
    """Finds faces, crops them as the model was trained, and predicts all of a picture's faces in one call.

    >>> predict = Predictor(detector="none")
    >>> [face] = predict(np.full((90, 90, 3), 127, np.uint8))  # nobody, but it is taken for a face
    >>> face.gender in ("F", "M") and 0 <= face.age <= 100
    True

    Args:
        model: an exported file (ONNX, LiteRT, OpenVINO), or a Model, such as networks.open_model makes of a checkpoint;
            None takes the model that comes with the package.
        detector: a name in detectors.DETECTORS, where "none" takes each whole picture for a face; None takes the one
            the training's faces were found with, or dlib where they came cropped.
        margin: around the box, as a share of its size, 0 to 3; None takes the training's. A picture that is the face
            was cut with its margin already.
        age_scale: what the faces' groups are of, no finer than the model's own: an AgeScale, or its text as
            `labels.age_scale` takes it; None takes the model's.
        unsure_below: probability of the likelier gender, 0.5 to 1, under which a face is called unsure.

    Attributes:
        description: what the model says of itself.
        detector, margin: those in use.
        align: whether faces are turned until their eyes are level: those of the training were, and there are landmarks.
        age_scale: what the faces' groups are of.
        device: what computes.

    Raises:
        FileNotFoundError, ValueError: if the model, the detector or another argument cannot be used.
    """

    def __init__(
        self,
        model: Model | Path | str | None = None,
        detector: str | None = None,
        margin: float | None = None,
        age_scale: AgeScale | str | None = None,
        unsure_below: float = UNSURE_BELOW,
    ):
        path = os.path.abspath(model) if isinstance(model, str | os.PathLike) else model
        self._arguments = path, detector, margin, age_scale, unsure_below
        self._model = _model_of(model)
        self.description: Description = self._model.description
        self.device = self._model.device
        self.margin = self.description.margin if margin is None else _within("margin", margin, 0, MOST_MARGIN)
        self.age_scale = self.description.age_scale if age_scale is None else _scale_of(age_scale)
        self.description.refuse_scale(self.age_scale)
        self.unsure_below = _within("unsure_below", unsure_below, *UNSURE_WITHIN)
        self._calibration = self.description.calibration or Calibration()
        self.detector = detector_for(self.description.detector) if detector is None else detector
        if not isinstance(self.detector, str) or self.detector not in DETECTORS:
            raise ValueError(f"'{self.detector}' is no detector; there are {', '.join(DETECTORS)}")
        self.align = self.description.align and self.detector in WITH_LANDMARKS
        self._detect = in_any_thread(self.detector)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is made anew, from the file of its model."""
        return type(self), self._arguments

    def __call__(self, picture: Picture) -> list[Face]:
        """The faces of one picture, the surest first; [] for none.

        Args:
            picture: a path, the bytes of an image file, a PIL image, or a uint8 array: (h, w) grey, (h, w, 3) BGR or
                (h, w, 4) BGRA.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no picture.
        """
        return self._judge(*self._find(picture_of(picture)))

    def many(self, pictures: Iterable[Picture]) -> list[list[Face]]:
        """The faces of many pictures, in their order: read and searched on all cores, predicted in batches.

        Raises:
            FileNotFoundError, ValueError: at the first picture that cannot be read; ValueError for a single picture.
        """
        if _is_one_picture(pictures) or not isinstance(pictures, Iterable):
            raise ValueError(
                f"many takes a list of pictures; received {type(pictures).__name__}: give a list, or call the "
                "predictor itself for one"
            )
        found: list[tuple[list[Detection], np.ndarray]] = []
        results: list[list[Face]] = []

        def judge() -> None:
            together = [one for each, _ in found for one in each]
            faces = iter(self._judge(together, np.concatenate([crops for _, crops in found])))
            results.extend([next(faces) for _ in each] for each, _ in found)
            found.clear()

        for each in self._ahead(pictures, lambda picture: self._find(picture_of(picture))):
            found.append(each)
            if sum(len(crops) for _, crops in found) >= BATCH:
                judge()
        if found:
            judge()
        return results

    def predict(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ages and genders of faces that are cut already.

        Args:
            crops: (n, size, size, 3) uint8 BGR, size as the description says, cut by `faces.crop_face`.

        Returns:
            Expected ages in years, (n,), and probabilities of male, (n,).

        Raises:
            ValueError: for other shapes or types.
        """
        size = self.description.image_size
        wanted = (size, size, 3)
        if not isinstance(crops, np.ndarray) or crops.shape[1:] != wanted or crops.dtype != np.uint8:
            came = f"{crops.shape} {crops.dtype}" if isinstance(crops, np.ndarray) else type(crops).__name__
            raise ValueError(f"faces are (n, {size}, {size}, 3) uint8 BGR; received {came}")
        if not len(crops):
            return np.empty(0), np.empty(0)
        gender, age = self._model(crops)
        return self._age_and_male(gender, age)

    def _age_and_male(self, gender: np.ndarray, age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p_male = tempered(gender[:, MALE], self._calibration.temperature)
        return expected_age(age, self.description.age_scale.centres), p_male

    def stream(self, frames: Iterable[Frame], ahead: int | None = None) -> Generator[Result]:
        """Results in the order of the frames, which are read and searched ahead while others are predicted.

        Args:
            frames: any source of sources.py.
            ahead: frames that may be under way at once; None takes two for each core. A camera's delay is shortest
                with 1.
        """
        for frame, image, doubted, seen in self._ahead(frames, self._read_and_find, ahead):
            yield Result(frame, image, self._judge(*seen) if seen else [], doubted)

    def _ahead(self, items: Iterable[Any], work: Any, ahead: int | None = None) -> Iterator[Any]:
        """What `work` makes of each item, in order, done ahead in threads."""
        ahead = ahead or 2 * available_cores()
        return done_ahead(work, items, min(ahead, available_cores()), ahead)

    def _read_and_find(self, frame: Frame) -> tuple[Any, ...]:
        said = native_stderr_size()
        image = frame.read()
        doubted = native_stderr_size() != said
        return frame, image, doubted, None if image is None else self._find(image)

    def _find(self, image: np.ndarray) -> tuple[list[Detection], np.ndarray]:
        found = self._detect(image)
        size = self.description.image_size
        margin = 0 if self.detector == NO_DETECTOR else self.margin
        crops = []
        for face in found:
            eyes = face.landmarks[:2] if self.align and face.landmarks is not None else None
            crops.append(crop_face(image, face.box, margin, size, eyes))
        return found, np.array(crops, np.uint8).reshape(-1, size, size, 3)

    def _judge(self, found: list[Detection], crops: np.ndarray) -> list[Face]:
        if not found:
            return []
        p_gender, p_age = self._model(crops)
        ages, p_male = self._age_and_male(p_gender, p_age)
        faces = [
            Face(detection.box, detection.score, float(years), GENDERS[gender], float(p), bool(doubtful))
            for detection, years, p, gender, doubtful in zip(
                found, ages, p_male, likelier_gender(p_male), unsure(p_male, self.unsure_below), strict=True
            )
        ]
        if self.age_scale == YEARS:
            if (interval := age_interval(p_age, self._calibration)) is None:
                return faces
            ends = zip(*(end.tolist() for end in interval), strict=True)
            return [face._replace(interval=pair) for face, pair in zip(faces, ends, strict=True)]
        p_groups, p_between = fold_ages(p_age, self.description.age_scale, self.age_scale)
        return [
            face._replace(group=self.age_scale.names[p.argmax()], p_group=float(p.max()), p_between=float(between))
            for face, p, between in zip(faces, p_groups, p_between, strict=True)
        ]


def _model_of(model: Model | Path | str | None) -> Model:
    if isinstance(model, Model):
        return model
    if not isinstance(model, str | os.PathLike | None):
        raise ValueError(f"a model is the path of an exported file, or a Model; received {model!r}")
    return open_model(SHIPPED if model is None else Path(model))


def _scale_of(scale: AgeScale | str) -> AgeScale:
    if not isinstance(scale, AgeScale | str):
        raise ValueError(f"an age scale is an AgeScale, or its text as labels.age_scale takes it; received {scale!r}")
    return scale_named(scale) if isinstance(scale, str) else scale


def _is_one_picture(pictures: Any) -> bool:
    """Whether what could be gone through, as letters, bytes or rows, is a picture."""
    if isinstance(pictures, np.ndarray):
        return pictures.ndim == 3 and pictures.shape[2] in (1, 3, 4)  # (n, h, w) are grey ones
    return isinstance(pictures, str | bytes | bytearray | memoryview | os.PathLike | io.IOBase)


def _within(name: str, value: Any, low: float, high: float) -> float:
    if not (isinstance(value, int | float | np.integer | np.floating) and low <= value <= high):  # which a NaN is not
        raise ValueError(f"{name} is a number from {low:g} to {high:g}; received {value!r}")
    return float(value)
