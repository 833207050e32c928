"""The augmentation that was usual with Keras 2, image by image in NumPy and SciPy: the peer of batches.py.

Two batches are mixed in floating point (arXiv:1710.09412); then each image is shifted by scipy.ndimage, channel by
channel with linear interpolation and the edge repeated, perhaps mirrored, and perhaps erased (arXiv:1708.04896) by
drawing rectangles until one fits. The erased rectangle gets a single value, which is the cheapest way to fill it.
"""

import numpy as np
from scipy import ndimage

ALPHA, SHIFT, FLIP = 0.2, 0.1, 0.5
ERASE, AREA, ASPECT = 0.5, (0.02, 0.4), (0.3, 1 / 0.3)


class ClassicBatches:
    """Batches of (b, h, w, 3) float64 and two (b, classes) label arrays.

    Args:
        images: (n, h, w, 3) uint8.
        genders, ages: (n, 2) and (n, 101) distributions.
        batch_size: images in a batch, of which each is mixed from two.
    """

    def __init__(self, images: np.ndarray, genders: np.ndarray, ages: np.ndarray, batch_size: int):
        self.images, self.labels, self.batch_size = images, (genders, ages), batch_size
        self.rng = np.random.default_rng(0)
        self.order = self.rng.permutation(len(images))

    def __call__(self, index: int):
        """Batch `index` of an epoch, which takes two batches' rows."""
        start = 2 * self.batch_size * (index % (len(self.order) // (2 * self.batch_size)))
        first, second = np.split(self.order[start : start + 2 * self.batch_size], 2)
        share = self.rng.beta(ALPHA, ALPHA, self.batch_size)
        part = share.reshape(-1, 1, 1, 1)
        images = self.images[first] * part + self.images[second] * (1 - part)
        for number in range(self.batch_size):
            images[number] = self._erase(self._shift_and_flip(images[number]))
        part = share.reshape(-1, 1)
        return images, tuple(label[first] * part + label[second] * (1 - part) for label in self.labels)

    def _shift_and_flip(self, image: np.ndarray) -> np.ndarray:
        height, width, _ = image.shape
        offset = self.rng.uniform(-SHIFT, SHIFT, 2) * (height, width)
        channels = [
            ndimage.affine_transform(channel, np.eye(2), offset, order=1, mode="nearest")
            for channel in np.moveaxis(image, -1, 0)
        ]
        image = np.stack(channels, axis=-1)
        return image[:, ::-1] if self.rng.random() < FLIP else image

    def _erase(self, image: np.ndarray) -> np.ndarray:
        if self.rng.random() > ERASE:
            return image
        height, width, _ = image.shape
        while True:
            size = self.rng.uniform(*AREA) * height * width
            ratio = self.rng.uniform(*ASPECT)
            wide, tall = int(np.sqrt(size / ratio)), int(np.sqrt(size * ratio))
            left, top = self.rng.integers(0, width), self.rng.integers(0, height)
            if left + wide <= width and top + tall <= height:
                break
        image[top : top + tall, left : left + wide] = self.rng.uniform(0, 255)
        return image
