"""MTCNN, three small networks one after the other (Zhang et al., arXiv:1604.02878), from the package mtcnn.

The package holds the published weights and needs TensorFlow; it is used as it is: pip install "mtcnn>=1,<2".
"""

import os
import sys

import cv2
import numpy as np

from age_gender.detectors import Detect, Detection, detections, shrunk
from age_gender.machine import held_back_stderr

LONGEST_SIDE = 1280  # pixels: a larger picture is searched at this size, and its faces are at least 1/64 of it
# dlib's side over the landmarks' spread: median of 775 faces of UTKFace in pictures of random size. On 774 others the
# box so drawn has dlib's side +0.5% (median; standard deviation 7.8%), its centre is 0.1% of it (3.2%) to the right and
# 0.9% (4.2%) below.
FACTOR = 3.68


def load() -> Detect:
    """A detector for use in one thread, on the CPU: its many small steps gain nothing from a GPU.

    Raises:
        ValueError: if the package is not installed, or Keras computes by something else than TensorFlow.
    """
    keras = sys.modules.get("keras")  # which the package brings
    computes = keras.backend.backend() if keras else os.environ.get("KERAS_BACKEND", "tensorflow")
    if computes != "tensorflow":
        raise ValueError(
            f"the detector mtcnn needs TensorFlow, and KERAS_BACKEND is {computes}; "
            "choose dlib or yunet, or leave KERAS_BACKEND unset"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only; the user's own setting wins
    try:
        with held_back_stderr():
            from mtcnn import MTCNN
    except ImportError as error:
        raise ValueError(
            f'the detector mtcnn needs a package that is not installed ({error}): pip install "mtcnn>=1,<2", '
            "or choose dlib or yunet"
        ) from None
    network = MTCNN(device="CPU:0")

    def detect(image: np.ndarray) -> list[Detection]:
        shape = image.shape
        image, scale = shrunk(image, LONGEST_SIDE)
        # As numbers, since the dictionaries that it returns otherwise round landmarks to whole pixels.
        rows = network.detect_faces(
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB), fit_to_image=False, output_type="numpy", box_format="xyxy"
        )
        rows = np.asarray(rows, np.float64).reshape(-1, 16)  # image, box (4), score, the landmarks' x (5) and y (5)
        return detections(rows[:, 5], np.stack([rows[:, 6:11], rows[:, 11:]], axis=2) / scale, FACTOR, shape)

    return detect
