"""dlib's frontal face detector: HOG and a linear classifier (King, "Max-margin object detection", arXiv:1502.00046)."""

import hashlib
import os
import pickle
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np

from age_gender.detectors import Detect, Detection, shrunk
from age_gender.files import replacing

UPSAMPLE = 1  # doublings of the picture; its smallest face is then about 40 pixels wide
LONGEST_SIDE = 1280  # pixels: a larger picture is searched at this size, and its faces are at least 1/32 of it


def load() -> Detect:
    """A detector for use in one thread. It computes without holding Python's lock."""
    detector = pickle.loads(_packed())

    def detect(image: np.ndarray) -> list[Detection]:
        image, scale = shrunk(image, LONGEST_SIDE)
        boxes, scores, _ = detector.run(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), UPSAMPLE)
        # dlib's right and bottom edges belong to the box.
        return [
            Detection(
                (box.left() / scale, box.top() / scale, (box.right() + 1) / scale, (box.bottom() + 1) / scale), score
            )
            for box, score in zip(boxes, scores, strict=True)
        ]

    return detect


@cache
def _packed() -> bytes:
    """dlib's detector as bytes of this process: dlib takes most of a second to unfold one, and each thread needs its
    own. It is kept for the next process, where that can be done."""
    if detector := _kept():
        return pickle.dumps(detector)
    detector = dlib.get_frontal_face_detector()
    with suppress(OSError, RuntimeError):  # nothing can be written there, or there is no home
        folder = _folder()
        with replacing(folder / "new.svm") as path:
            detector.save(str(path))
            name = f"{dlib.__version__}-{hashlib.sha256(path.read_bytes()).hexdigest()}.svm"
        (folder / "new.svm").replace(folder / name)
    return pickle.dumps(detector)


def _kept() -> Any:
    """What was kept of this version of dlib; None where nothing is, or where it has changed since."""
    with suppress(OSError, RuntimeError):  # it cannot be read, or there is no home
        for path in sorted(_folder().glob(f"{dlib.__version__}-*.svm")):
            if path.stem.endswith(hashlib.sha256(path.read_bytes()).hexdigest()):
                return dlib.fhog_object_detector(str(path))
    return None


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "age_gender"
