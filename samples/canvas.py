"""Paint shapes with soft edges onto an image, in units that move, grow and turn with what is drawn.

Points are (x, y), x to the right and y down; curves and outlines are arrays (n, 2).
`draw_face.py` paints with it.
"""

import cv2
import numpy as np

FIXED_POINT_BITS = 4  # OpenCV draws at 1/16 of a pixel with these
ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
STEPS = np.linspace(0, 1, 6, endpoint=False)  # of a smooth curve, in each stretch


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
        self.turn, self.centre = np.float64([[cosine, sine], [-sine, cosine]]) * unit, np.float64(centre)

    def pixels(self, points):
        """`points` (n, 2) in units as (n, 2) float64 pixels."""
        return np.asarray(points, np.float64) @ self.turn + self.centre

    def mask(self, points):
        """A uint8 mask (height, width) of the polygon `points`, 255 inside."""
        mask = np.zeros(self.image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed(self.pixels(points))], 255, cv2.LINE_AA, FIXED_POINT_BITS)
        return mask

    def paint(self, shapes, colour, opacity=1.0, softness=0.0, within=None, width=None):
        """Fill a polygon (n, 2) or a list of them; or draw them as open curves.

        Args:
            shapes: The polygons, or the curves.
            colour: BGR, 0 to 255; what lies above counts as 255.
            opacity: 0 leaves the image as it is, 1 covers it.
            softness: Sigma in units of the blur of the shapes' edges.
            within: A mask from `mask` that clips the shapes, or None.
            width: Of the curves, in units; None fills.
        """
        shapes = [self.pixels(shape) for shape in (shapes if isinstance(shapes, list) else [shapes])]
        if not shapes or opacity <= 0:
            return
        sigma, pixels, ends = softness * self.unit, np.vstack(shapes), self.image.shape[1::-1]
        reach = 3 * sigma + 2 + (width or 0) * self.unit
        left, top = np.clip(pixels.min(axis=0) - reach, 0, ends).astype(int)
        right, bottom = np.clip(pixels.max(axis=0) + reach + 1, 0, ends).astype(int)
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


def smooth(*points, closed=False):
    """A Catmull-Rom curve through some points: (m, 2) float64."""
    points = np.float64(points)
    before, after = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    around = np.concatenate([before, points, after])
    quads = np.stack([around[:-3], around[1:-2], around[2:-1], around[3:]], axis=1)  # (stretches, 4, 2)
    t = STEPS
    weights = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    curve = (np.stack(weights, axis=1) / 2 @ quads).reshape(-1, 2)
    return curve if closed else np.vstack([curve, points[-1:]])


def ellipse(x, y, width, height, turn=0.0):
    """The outline (32, 2) of an ellipse with half axes `width` and `height`, turned by `turn` degrees."""
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return CIRCLE * (width, height) @ np.float64([[cosine, sine], [-sine, cosine]]) + (x, y)


def both(points):
    """The curve `points` (n, 2) and its mirror image, as a list of two."""
    points = np.float64(points)
    return [points, points * (-1, 1)]


def mirrored(half):
    """The right half of an outline, from top to bottom, and its mirror image back up: (2 n, 2)."""
    half = np.float64(half)
    return np.vstack([half, half[::-1] * (-1, 1)])
