"""dlib's frontal face detector: HOG and a linear classifier (King, "Max-margin object detection", arXiv:1502.00046)."""

import cv2
import dlib
import numpy as np

from age_gender.detectors import Detect, Detection, shrunk

UPSAMPLE = 1  # doublings of the picture; its smallest face is then about 40 pixels wide
LONGEST_SIDE = 1280  # pixels: a larger picture is searched at this size, and its faces are at least 1/32 of it


def load() -> Detect:
    """A detector for use in one thread. It computes without holding Python's lock."""
    detector = dlib.get_frontal_face_detector()

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
