"""Face detectors behind one contract: a picture in, a list of detections out, [] for no face.

A detector is made by a factory without arguments, since one instance serves one thread.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Detection(NamedTuple):
    """One face: box x1, y1, x2, y2 in pixels (x2, y2 exclusive; it may reach beyond the picture) and its score."""

    box: tuple[float, float, float, float]
    score: float


Detect = Callable[[np.ndarray], list[Detection]]  # (height, width, 3) uint8 BGR -> faces, the surest first


def _dlib() -> Detect:
    from detectors.dlib_hog import load

    return load()


DETECTORS: dict[str, Callable[[], Detect]] = {"dlib": _dlib}
DEFAULT_DETECTOR = "dlib"
