"""Face detectors behind one contract: a picture in, a list of detections out, [] for no face.

A detector is made by a factory without arguments, since one instance serves one thread.

Boxes mean the same whoever found them: each is dlib's, a square from the brows to the chin. YuNet and MTCNN draw
theirs differently, and less steadily than they place the eyes, nose and mouth, so their square is drawn around these:
`square_around`, with a factor for each that was measured (benchmarks/calibration.py) and stands in its module.
"""

import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

import numpy as np


class Detection(NamedTuple):
    """One face.

    Attributes:
        box: x1, y1, x2, y2 in pixels; x2, y2 exclusive; it may reach beyond the picture.
        score: the detector's own: 0..1 of mtcnn and yunet, a distance from the decision, 0 or more, of dlib.
        landmarks: (5, 2) float64, x and y in pixels of the right eye, the left eye, the nose, the right and the left
            corner of the mouth, right and left as the person has them: in an upright face the right eye is at the
            picture's left. None where the detector gives none.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray | None = None


Detect = Callable[[np.ndarray], list[Detection]]  # (height, width, 3) uint8 BGR -> faces, the surest first


def shrunk(image: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """A picture whose longer side has at most `longest` pixels, and the factor that it was shrunk by, at most 1."""
    import cv2  # here, since --help needs the detectors' names alone

    scale = min(1.0, longest / max(image.shape[:2]))
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return image, scale


def square_around(landmarks: np.ndarray, factor: float) -> tuple[float, float, float, float]:
    """dlib's box of a face, from its five landmarks.

    On photos the centre of dlib's box is the mean of the landmarks, and its side is proportional to their spread, the
    root of their mean squared distance from that mean, which does not change with the head's tilt. `factor` is the
    side for a spread of 1. (5, 2), as in `Detection` -> x1, y1, x2, y2 in pixels.
    """
    x, y = centre = landmarks.mean(axis=0)
    half = factor / 2 * np.sqrt(np.square(landmarks - centre).sum(axis=1).mean())
    return float(x - half), float(y - half), float(x + half), float(y + half)


def detections(scores: np.ndarray, landmarks: np.ndarray, factor: float, shape: tuple[int, ...]) -> list[Detection]:
    """What a detector returns by its (n,) scores and (n, 5, 2) landmarks, the surest first; faces that no crop can show
    in a picture of this shape, height and width first, are left out. `factor`: see `square_around`."""
    from age_gender.faces import box_problem  # here, since it loads OpenCV, and --help needs the detectors' names alone

    found = [
        Detection(square_around(points, factor), float(score), points)
        for score, points in zip(scores, np.asarray(landmarks, np.float64), strict=True)
    ]
    found = [face for face in found if not box_problem(face.box, *shape[1::-1])]
    return sorted(found, key=lambda face: -face.score)


def largest(found: list[Detection], shape: tuple[int, ...]) -> Detection | None:
    """The face of the largest box; None if there is no face."""
    return max(found, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]), default=None)


def central(found: list[Detection], shape: tuple[int, ...]) -> Detection | None:
    """The face nearest to the centre of a picture of this shape, height and width first; None if there is no face."""
    centre = np.array(shape[1::-1]) / 2
    return min(found, key=lambda face: np.linalg.norm(_centre(face.box) - centre), default=None)


def face_at(found: list[Detection], box: list[float]) -> Detection | None:
    """The face that a known box x1, y1, x2, y2 means: of those whose centre is in it the one that overlaps it most.

    Other boxes may reach to the hair or beside the ears, so that no particular overlap is asked for.
    """
    x1, y1, x2, y2 = box
    inside = [face for face in found if np.all((x1, y1) <= _centre(face.box)) and np.all(_centre(face.box) <= (x2, y2))]
    return max(inside, key=lambda face: overlap(face.box, box), default=None)


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union, 0..1, of two boxes x1, y1, x2, y2."""
    across = min(box[2], other[2]) - max(box[0], other[0])
    down = min(box[3], other[3]) - max(box[1], other[1])
    common = max(across, 0) * max(down, 0)
    return common / (sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (box, other)) - common)


def found_by(detector: str, align: bool) -> str:
    """How faces were found, in words for messages: 'the dataset itself', 'dlib', 'yunet with level eyes'."""
    return ("the dataset itself" if detector == NO_DETECTOR else detector) + (" with level eyes" if align else "")


def _centre(box: Sequence[float]) -> np.ndarray:
    return np.array([box[0] + box[2], box[1] + box[3]]) / 2


def _from(module: str) -> Callable[[], Detect]:
    """The factory in a module of this folder, which is imported when a detector is made: it has packages of its own."""
    return lambda: import_module(f"{__name__}.{module}").load()


def _none() -> Detect:
    """For pictures that are cut to a face already: the whole picture, whatever it shows."""

    def detect(image: np.ndarray) -> list[Detection]:
        height, width = image.shape[:2]
        return [Detection((0.0, 0.0, float(width), float(height)), 1.0)]

    return detect


# Databases and checkpoints say "none" too, where their faces came cropped; what found those is not known.
NO_DETECTOR = "none"
DETECTORS: dict[str, Callable[[], Detect]] = {
    **{"dlib": _from("dlib_hog"), "mtcnn": _from("mtcnn_cascade"), "yunet": _from("yunet")},
    NO_DETECTOR: _none,
}
DEFAULT_DETECTOR = "dlib"
WITH_LANDMARKS = ("mtcnn", "yunet")
CHOICES = {"largest": largest, "central": central}


def detector_for(trained_with: str) -> str:
    """The detector that finds faces for a model: that of its training's faces, or dlib where they came cropped."""
    return trained_with if trained_with in DETECTORS and trained_with != NO_DETECTOR else DEFAULT_DETECTOR


def in_any_thread(name: str) -> Detect:
    """A detector of DETECTORS for use in any thread: each has its own, and the first is made at once.

    Raises:
        FileNotFoundError, ValueError: if it cannot be used here.
    """

    class Own(threading.local):  # each thread that comes to it runs __init__
        def __init__(self) -> None:
            self.detect = DETECTORS[name]()

    own = Own()
    return lambda image: own.detect(image)
