"""YuNet by OpenCV's FaceDetectorYN (Wu et al., "YuNet: a tiny millisecond-level face detector", 2023).

Its model is a file that `python download.py yunet` puts into data/ (https://doi.org/10.1007/s11633-023-1423-y).
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from age_gender.detectors import Detect, Detection, detections, shrunk
from age_gender.files import LFS_POINTER
from age_gender.machine import silent_opencv

FILE, SIZE = "face_detection_yunet_2023mar.onnx", 232_589  # bytes
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
FOLDERS = (Path("data"), Path(__file__).resolve().parents[2] / "data")  # where it is looked for, in this order

LEAST_SCORE = 0.8  # below it, it takes dogs for people
OVERLAP = 0.3  # intersection over union from which two boxes are one face
CANDIDATES = 5000

# It finds faces of some 20 to 450 pixels. So a larger picture is searched at LONGEST_SIDE pixels, and once more at
# FEW_PIXELS for faces that fill at least LARGE of its longest side, and for those alone: it errs more often there.
LONGEST_SIDE = 1280
FEW_PIXELS = 320
LARGE = 0.25
LEAST_SIDE = 64  # pixels: smaller pictures get a black border, since below 33 OpenCV 4 gives faces that are nowhere
# dlib's side over the landmarks' spread: median of 780 faces of UTKFace in pictures of random size. On 779 others the
# box so drawn has dlib's side +0.2% (median; standard deviation 8.4%), its centre is -0.3% of it (3.5%) to the right
# and 0.3% (4.3%) below.
FACTOR = 3.82


def load() -> Detect:
    """A detector for use in one thread. It computes without holding Python's lock.

    Raises:
        FileNotFoundError: if the model was not fetched.
        ValueError: if the file is another one.
    """
    network = _network(read_model())

    def search(image: np.ndarray, longest: int) -> np.ndarray:
        """(n, 15) float32: box x, y, width, height, five landmarks x, y, score; in the image's own pixels."""
        import cv2

        image, scale = shrunk(image, longest)
        below, right = (max(0, LEAST_SIDE - side) for side in image.shape[:2])
        if below or right:
            image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)
        network.setInputSize(image.shape[1::-1])
        faces: np.ndarray | None = network.detect(image)[1]
        if faces is None:
            return np.empty((0, 15), np.float32)
        faces[:, :14] /= scale
        return faces

    def detect(image: np.ndarray) -> list[Detection]:
        faces, longest = search(image, LONGEST_SIDE), max(image.shape[:2])
        if longest > FEW_PIXELS:
            large = search(image, FEW_PIXELS)
            faces = np.concatenate([faces, large[large[:, 3] >= LARGE * longest]])
            faces = faces[distinct(faces)]
        return detections(faces[:, 14], faces[:, 4:14].reshape(-1, 5, 2), FACTOR, image.shape)

    return detect


def read_model() -> np.ndarray:
    """The bytes of the model file, (SIZE,) uint8. Raises as `load` does."""
    path = next((folder / FILE for folder in FOLDERS if (folder / FILE).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{FOLDERS[0] / FILE}, the model of the detector yunet, is not there; python download.py yunet fetches it"
        )
    content = path.read_bytes()
    again = "python download.py yunet --overwrite fetches it again"
    if content.startswith(LFS_POINTER):
        raise ValueError(f"{path} is a Git LFS pointer of {len(content)} bytes, not the model; {again}")
    if len(content) != SIZE:
        raise ValueError(f"{path} has {len(content):,} bytes, the model of the detector yunet {SIZE:,}; {again}")
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"{path} is damaged or another file: its sha256 is not the model's; {again}")
    return np.frombuffer(content, np.uint8)


def _network(model: np.ndarray) -> Any:
    """OpenCV's detector; OpenCV 5 warns that it ignores a setting which nobody made."""
    import cv2

    with silent_opencv():
        none = np.empty(0, np.uint8)
        return cv2.FaceDetectorYN.create("onnx", model, none, (320, 320), LEAST_SCORE, OVERLAP, CANDIDATES)


def distinct(faces: np.ndarray) -> list[int]:
    """The rows of (n, 15) faces, the surest first, without those that cover half of a surer one or are half in it."""
    x1, y1, width, height = faces[:, :4].T
    x2, y2, area = x1 + width, y1 + height, width * height
    kept: list[int] = []
    for row in np.argsort(-faces[:, 14], kind="stable"):
        across = np.minimum(x2[row], x2[kept]) - np.maximum(x1[row], x1[kept])
        down = np.minimum(y2[row], y2[kept]) - np.maximum(y1[row], y1[kept])
        common = np.maximum(across, 0) * np.maximum(down, 0)
        if not np.any(common > 0.5 * np.minimum(area[row], area[kept])):
            kept.append(int(row))
    return kept
