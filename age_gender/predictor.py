"""Ages and genders of the faces in a picture, from one checkpoint, for this suite's demo and for other programs.

from age_gender.predictor import Predictor
predictor = Predictor()  # the model that comes with the suite, or a checkpoint's path
faces = predictor(cv2.imread("photo.jpg"))  # [Face(box, score, age, gender, p_male), ...]
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender.detectors import DEFAULT_DETECTOR, DETECTORS, NO_DETECTOR, WITH_LANDMARKS, Detection, in_any_thread
from age_gender.faces import crop_face
from age_gender.intervals import UNSURE_BELOW, Calibration, age_interval, tempered, unsure
from age_gender.labels import GENDERS, MALE, YEARS, AgeScale, expected_age, fold_ages
from age_gender.sources import Frame
from networks.backend import available_cores


class Face(NamedTuple):
    """A face and what the network says of it.

    Attributes:
        box: x1, y1, x2, y2 in pixels.
        score: the detector's.
        age: expected age in years.
        gender: "F" or "M", the likelier one.
        p_male: probability of male, 0..1; calibrated where the checkpoint knows how.
        unsure: whether the likelier gender's probability is below the predictor's `unsure_below`.
        interval: first and last year of the age's interval, which nine of ten ages lie within (uncertainty.py); None
            where the checkpoint has no calibration or ages are in groups.
        group: name of the likeliest age group; "" where ages are in years.
        p_group: its probability, 0..1; NaN where ages are in years.
        p_between: probability of the ages that are in no group; NaN where ages are in years.
    """

    box: tuple[float, float, float, float]
    score: float
    age: float
    gender: str
    p_male: float
    unsure: bool = False
    interval: tuple[int, int] | None = None
    group: str = ""
    p_group: float = math.nan
    p_between: float = math.nan


class Result(NamedTuple):
    """A frame, its picture ((h, w, 3) uint8 BGR, None if unreadable) and its faces, the surest first."""

    frame: Frame
    image: np.ndarray | None
    faces: list[Face]


def _open(path: Path) -> tuple:
    """What a checkpoint or an exported model says of itself, its function (backend.Predict), and what computes."""
    from networks import models

    if models.is_exported(path):
        from age_gender.runtimes import open_exported

        exported = open_exported(path)
        return exported.checkpoint, exported.predict, exported.device
    from networks import backend

    device = backend.start()
    model, checkpoint = models.load(path)
    return checkpoint, backend.compiled_predict(model), device


class Predictor:
    """Finds faces, crops them as the network was trained, and predicts all of a picture's faces in one call.

    Args:
        weight_file: a checkpoint, or what export.py made of one; None takes the model that comes with the suite.
        detector: a name in detectors.DETECTORS, where "none" takes each whole picture for a face; None takes the one
            the checkpoint's faces were found with, or dlib where they came cropped.
        margin: around the box, as a share of its size; None takes the checkpoint's. A picture that is the face was cut
            with its margin already.
        age_scale: what the faces' groups are of, no finer than the checkpoint's own; None takes the checkpoint's.
        unsure_below: probability of the likelier gender under which a face is called unsure.

    Attributes:
        checkpoint: what the file says of itself.
        detector, margin: those in use.
        align: whether faces are turned until their eyes are level: those of the training were, and there are landmarks.
        age_scale: what the faces' groups are of.
        device: what computes.

    Raises:
        FileNotFoundError, ValueError: if the checkpoint or the detector cannot be used.
    """

    def __init__(
        self,
        weight_file: Path | None = None,
        detector: str | None = None,
        margin: float | None = None,
        age_scale: AgeScale | None = None,
        unsure_below: float = UNSURE_BELOW,
    ):
        from networks import models

        self.checkpoint, self._predict, self.device = _open(weight_file or models.SHIPPED)
        self.margin = self.checkpoint.margin if margin is None else margin
        self.age_scale = age_scale or self.checkpoint.age_scale
        own = self.checkpoint.age_scale
        fold_ages(np.zeros((1, len(own.groups))), own, self.age_scale)  # refuses a scale that does not fit at once
        self.unsure_below = unsure_below
        self._calibration = self.checkpoint.calibration or Calibration()
        trained_with = self.checkpoint.detector
        known = trained_with in DETECTORS and trained_with != NO_DETECTOR  # which here means that they came cropped
        self.detector = detector or (trained_with if known else DEFAULT_DETECTOR)
        self.align = self.checkpoint.align and self.detector in WITH_LANDMARKS
        self._detect = in_any_thread(self.detector)

    def __call__(self, image: np.ndarray) -> list[Face]:
        """The faces of one picture, (h, w, 3) uint8 BGR."""
        return self._judge(*self._find(image))

    def predict(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected ages in years, (n,), and probabilities of male, (n,), of faces (n, size, size, 3) uint8 BGR."""
        gender, age = self._predict(crops)
        return self._age_and_male(gender, age)

    def _age_and_male(self, gender: np.ndarray, age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p_male = tempered(gender[:, MALE], self._calibration.temperature)
        return expected_age(age, self.checkpoint.age_scale.centres), p_male

    def stream(self, frames: Iterable[Frame], ahead: int | None = None) -> Iterator[Result]:
        """Results in the order of the frames, which are read and searched ahead while others are predicted.

        Args:
            frames: any source of sources.py.
            ahead: frames that may be under way at once; None takes two for each core. A camera's delay is shortest
                with 1.
        """
        ahead = ahead or 2 * available_cores()
        waiting = deque()
        pool = ThreadPoolExecutor(min(ahead, available_cores()))
        try:
            for frame in frames:
                waiting.append((frame, pool.submit(self._read_and_find, frame)))
                if len(waiting) > ahead:
                    yield self._result(*waiting.popleft())
            while waiting:
                yield self._result(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _result(self, frame: Frame, future) -> Result:
        image, found, crops = future.result()
        return Result(frame, image, self._judge(found, crops))

    def _read_and_find(self, frame: Frame) -> tuple[np.ndarray | None, list[Detection], np.ndarray]:
        image = frame.read()
        return (image, *self._find(image)) if image is not None else (None, [], np.empty(0))

    def _find(self, image: np.ndarray) -> tuple[list[Detection], np.ndarray]:
        found = self._detect(image)
        size = self.checkpoint.image_size
        margin = 0 if self.detector == NO_DETECTOR else self.margin
        crops = [crop_face(image, face.box, margin, size, face.landmarks[:2] if self.align else None) for face in found]
        return found, np.stack(crops) if crops else np.empty((0, size, size, 3), np.uint8)

    def _judge(self, found: list[Detection], crops: np.ndarray) -> list[Face]:
        if not found:
            return []
        gender, age = self._predict(crops)
        ages, p_male = self._age_and_male(gender, age)
        faces = [
            Face(detection.box, detection.score, float(age), GENDERS[int(p >= 0.5)], float(p), bool(doubtful))
            for detection, age, p, doubtful in zip(found, ages, p_male, unsure(p_male, self.unsure_below), strict=True)
        ]
        if self.age_scale == YEARS:
            if (interval := age_interval(age, self._calibration)) is None:
                return faces
            ends = zip(*(end.tolist() for end in interval), strict=True)
            return [face._replace(interval=pair) for face, pair in zip(faces, ends, strict=True)]
        p_groups, p_between = fold_ages(age, self.checkpoint.age_scale, self.age_scale)
        return [
            face._replace(group=self.age_scale.names[p.argmax()], p_group=float(p.max()), p_between=float(between))
            for face, p, between in zip(faces, p_groups, p_between, strict=True)
        ]
