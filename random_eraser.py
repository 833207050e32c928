"""Random erasing: Zhong et al., "Random erasing data augmentation", arXiv:1708.04896.

Drawing and applying are apart: rectangles are drawn for a whole batch from an explicit generator, and applied to it.
"""

import numpy as np

PROBABILITY = 0.5  # p of the paper's Algorithm 1
AREA = (0.02, 0.4)  # s_l, s_h: share of the image
ASPECT = (0.3, 1 / 0.3)  # r_1, r_2: height over width


def draw_rectangles(
    rng: np.random.Generator,
    count: int,
    height: int,
    width: int,
    probability: float = PROBABILITY,
    area: tuple[float, float] = AREA,
    aspect: tuple[float, float] = ASPECT,
) -> np.ndarray:
    """Draws one rectangle for each of `count` images.

    The paper draws area, aspect and corner, and starts over when the rectangle does not fit. Large rectangles fit
    seldom, so that loop erases 0.14 of an image on average where the settings say 0.21. Here the area is uniform as
    stated, the aspect uniform among those that fit that area, and the corner uniform among those that fit both.

    Args:
        rng: source of all randomness.
        count: number of images.
        height, width: of the images, in pixels.
        probability: that an image is erased at all.
        area: least and greatest share of the image that is erased; at most 1.
        aspect: least and greatest ratio of the rectangle's height to its width.

    Returns:
        (count, 4) int64: top, bottom, left, right in pixels, bottom and right exclusive; an image that is not erased
        has an empty rectangle (top = bottom).

    Raises:
        ValueError: if no rectangle of the greatest area fits the image at any of the aspects.
    """
    size = rng.uniform(*area, count) * height * width
    lowest = np.maximum(aspect[0], size / width**2)  # narrower in height than this is wider than the image
    highest = np.minimum(aspect[1], height**2 / size)
    if area[1] * height * width > min(aspect[1] * width**2, height**2 / aspect[0]) or area[1] > 1:
        raise ValueError(
            f"no rectangle of area {area[1]:g} and aspect {aspect[0]:g}..{aspect[1]:g} fits {height} x {width} pixels"
        )
    ratio = rng.uniform(lowest, highest)
    # Rounding at random keeps the expected area.
    tall = np.clip(np.floor(np.sqrt(size * ratio) + rng.random(count)), 1, height).astype(np.int64)
    wide = np.clip(np.floor(np.sqrt(size / ratio) + rng.random(count)), 1, width).astype(np.int64)
    top = rng.integers(0, height - tall + 1)
    left = rng.integers(0, width - wide + 1)
    bottom = np.where(rng.random(count) < probability, top + tall, top)
    return np.stack([top, bottom, left, left + wide], axis=1)


def erase_in_place(images: np.ndarray, rectangles: np.ndarray, rng: np.random.Generator) -> None:
    """Fills each image's rectangle with uniform noise, a value of its own for each pixel and channel (RE-R).

    Args:
        images: (n, height, width, channels) uint8, changed in place.
        rectangles: (n, 4) as draw_rectangles returns them.
        rng: source of the noise.
    """
    channels = images.shape[3]
    for image, (top, bottom, left, right) in zip(images, rectangles.tolist(), strict=True):
        if bottom > top:
            shape = (bottom - top, right - left, channels)
            noise = np.frombuffer(rng.bytes(shape[0] * shape[1] * channels), np.uint8)
            image[top:bottom, left:right] = noise.reshape(shape)
