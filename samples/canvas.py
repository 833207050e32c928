"""Paint shapes with soft edges onto an image, in units that move, grow and turn with what is drawn.

Points are (x, y), x to the right and y down; curves and outlines are arrays (n, 2).
`draw_face.py` paints with it.
"""

import functools

import cv2
import numpy as np

FIXED_POINT_BITS = 4  # OpenCV draws at 1/16 of a pixel with these
ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


class Canvas:
    """A BGR uint8 image (height, width, 3), changed in place, that is painted on in units of its own.

    Args:
        image: The image.
        centre: (x, y) in pixels of `image` that the point (0, 0) falls on.
        unit: Length of the unit in those pixels.
        roll: Clockwise turn in degrees about `centre`.
    """

    def __init__(self, image, centre, unit, roll):
        self.image, self.unit = image, unit
        cosine, sine = np.cos(np.radians(roll)), np.sin(np.radians(roll))
        self.turn = np.float64([[cosine, sine], [-sine, cosine]]) * unit
        self.centre = np.float64(centre)

    def pixels(self, points):
        """`points` (n, 2) in units as (n, 2) float64 pixels."""
        return np.asarray(points, np.float64) @ self.turn + self.centre

    def mask(self, points):
        """A uint8 mask (height, width) of the polygon `points`, 255 inside."""
        mask = np.zeros(self.image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed(self.pixels(points))], 255, cv2.LINE_AA, FIXED_POINT_BITS)
        return mask

    def fill(self, points, colour, opacity=1.0, softness=0.0, within=None):
        """Fill a polygon (n, 2).

        Args:
            points: Its corners.
            colour: BGR, 0 to 255; what lies above counts as 255.
            opacity: 0 leaves the image as it is, 1 covers it.
            softness: Sigma in units of the blur of the shape's edge.
            within: A mask from `mask` that clips the shape, or None.
        """
        if opacity >= 1 and softness == 0 and within is None:
            outline = [_fixed(self.pixels(points))]
            cv2.fillPoly(self.image, outline, np.float64(colour).tolist(), cv2.LINE_AA, FIXED_POINT_BITS)
        else:
            self._blend([points], None, colour, opacity, softness, within)

    def line(self, curves, width, colour, opacity=1.0, softness=0.0, within=None):
        """Draw an open curve (n, 2) or a list of them, `width` units wide; the rest is as in `fill`."""
        curves = curves if isinstance(curves, list) else [curves]
        self._blend(curves, width, colour, opacity, softness, within)

    def _blend(self, shapes, width, colour, opacity, softness, within):
        """Blend one colour over the image where the shapes are, filled for a `width` of None."""
        if not shapes or opacity <= 0:
            return
        shapes, sigma = [self.pixels(shape) for shape in shapes], softness * self.unit
        pixels, reach = np.vstack(shapes), 3 * sigma + 2 + (width or 0) * self.unit
        left, top = (int(max(value - reach, 0)) for value in pixels.min(axis=0))
        right, bottom = (
            int(min(value + reach + 1, side))
            for value, side in zip(pixels.max(axis=0), self.image.shape[1::-1], strict=True)
        )
        if right <= left or bottom <= top:
            return
        step = max(1, int(sigma / 2))  # a blurred mask needs no more than two samples to a sigma
        mask = np.zeros((-(-(bottom - top) // step), -(-(right - left) // step)), np.uint8)
        fixed = [_fixed((shape - (left, top)) / step) for shape in shapes]
        if width is None:
            cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, FIXED_POINT_BITS)
        else:
            thickness = max(1, round(width * self.unit / step))
            cv2.polylines(mask, fixed, False, 255, thickness, cv2.LINE_AA, FIXED_POINT_BITS)
        if sigma > 0:
            mask = cv2.GaussianBlur(mask, (0, 0), sigma / step)
        if step > 1:
            mask = cv2.resize(mask, None, fx=step, fy=step)[: bottom - top, : right - left]
        if within is not None:
            mask = cv2.multiply(mask, within[top:bottom, left:right], scale=1 / 255)
        region = self.image[top:bottom, left:right]
        paint = np.empty_like(region)
        cv2.rectangle(paint, (0, 0), paint.shape[1::-1], np.float64(colour).tolist(), -1)
        weight = mask.astype(np.float32) * np.float32(opacity / 255)
        region[:] = cv2.blendLinear(paint, np.ascontiguousarray(region), weight, 1 - weight)


def _fixed(pixels):
    return np.rint(pixels * 2**FIXED_POINT_BITS).astype(np.int32)


@functools.cache
def _catmull_rom(steps):
    """Weights (steps, 4) of the point before a stretch, its two ends and the point after."""
    t = np.linspace(0, 1, steps, endpoint=False)
    start, end = 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3
    return np.stack([-t + 2 * t**2 - t**3, start, end, t**3 - t**2], axis=1) / 2


def smooth(points, closed=False, steps=6):
    """A Catmull-Rom curve through `points` (n, 2): (m, 2) float64, `steps` to each stretch."""
    points = np.asarray(points, np.float64)
    ends = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    around = np.concatenate([ends[0], points, ends[1]])
    quads = np.stack([around[:-3], around[1:-2], around[2:-1], around[3:]], axis=1)  # (stretches, 4, 2)
    curve = (_catmull_rom(steps) @ quads).reshape(-1, 2)
    return curve if closed else np.vstack([curve, points[-1:]])


def ellipse(x, y, width, height, turn=0.0):
    """The outline (32, 2) of an ellipse with half axes `width` and `height`, turned by `turn` degrees."""
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return CIRCLE * (width, height) @ np.float64([[cosine, sine], [-sine, cosine]]) + (x, y)


def mirror(points, side):
    """`points` (n, 2) of the right half for `side` 1, their mirror image for -1."""
    return np.asarray(points, np.float64) * (side, 1)


def both(points):
    """The curve `points` (n, 2) and its mirror image, as a list of two."""
    return [mirror(points, 1), mirror(points, -1)]


def resample(curve, count):
    """`curve` (n, 2) at `count` places evenly spread over its points."""
    places, known = np.linspace(0, 1, count), np.linspace(0, 1, len(curve))
    return np.stack([np.interp(places, known, curve[:, axis]) for axis in (0, 1)], axis=1)


def strands(outer, inner, count, rng):
    """`count` pieces of curves that run between `outer` and `inner`, both (n, 2): a list of arrays (m, 2)."""
    pieces = []
    for share in rng.uniform(0.04, 0.96, count):
        start, length = rng.uniform(0, 0.6) * len(outer), rng.uniform(0.2, 0.6) * len(outer)
        pieces.append((outer * (1 - share) + inner * share)[int(start) : int(start + length) + 2])
    return pieces
