"""Random erasing: the distribution that is drawn, and exactly the rectangle that is filled."""

import numpy as np
import pytest
from conftest import noise
from scipy.stats import kstest

from random_eraser import draw_rectangles, erase_in_place


class SetDraws:
    """Stands for a generator: returns what was set, call by call, and keeps the bounds it was asked for."""

    def __init__(self, uniform=(), random=(), integers=()):
        self.values = {"uniform": list(uniform), "random": list(random), "integers": list(integers)}
        self.bounds = []

    def _next(self, kind, *bounds):
        self.bounds.append((kind, *bounds))
        return np.asarray(self.values[kind].pop(0))

    def uniform(self, low, high, count=None):
        return self._next("uniform", low, high)

    def integers(self, low, high):
        return self._next("integers", low, high)

    def random(self, count):
        return self._next("random")


def shares(rectangles, height, width):
    top, bottom, left, right = rectangles.T
    return (bottom - top) * (right - left) / (height * width)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 32), (96, 64), (48, 96)])
def test_the_erased_area_is_021_of_the_image_on_average_as_the_settings_say(height, width):
    drawn = draw_rectangles(np.random.default_rng(0), 20_000, height, width, probability=1.0)
    # A uniform variable over 0.02..0.4 has mean 0.21 and deviation 0.11: the mean of 20,000 is within 0.003.
    assert shares(drawn, height, width).mean() == pytest.approx(0.21, abs=0.003)


def test_the_erased_area_is_uniform():
    drawn = draw_rectangles(np.random.default_rng(1), 20_000, 256, 256, probability=1.0)
    assert kstest(shares(drawn, 256, 256), "uniform", args=(0.02, 0.38)).statistic < 0.015


def test_the_aspect_is_uniform_where_every_aspect_fits():
    top, bottom, left, right = draw_rectangles(
        np.random.default_rng(2), 20_000, 1000, 1000, probability=1.0, area=(0.02, 0.1)
    ).T
    ratio = (bottom - top) / (right - left)
    assert kstest(ratio, "uniform", args=(0.3, 1 / 0.3 - 0.3)).statistic < 0.015
    assert 0.29 < ratio.min() < 0.31 and 3.25 < ratio.max() < 3.4


def test_every_rectangle_lies_inside_the_image_within_the_aspect_limits():
    top, bottom, left, right = draw_rectangles(np.random.default_rng(3), 20_000, 48, 64, probability=1.0).T
    assert top.min() == 0 and left.min() == 0 and bottom.max() == 48 and right.max() == 64
    assert np.all(bottom > top) and np.all(right > left)
    tall, wide = bottom - top, right - left
    assert np.all((tall + 1) / (wide - 1).clip(0.5) > 0.3) and np.all((tall - 1) / (wide + 1) < 1 / 0.3)


def test_corners_are_uniform_among_those_that_fit():
    top, bottom, left, right = draw_rectangles(np.random.default_rng(4), 20_000, 512, 512, probability=1.0).T
    for start, room in ((top, 512 - (bottom - top)), (left, 512 - (right - left))):
        roomy = room > 100  # so that whole pixels are fine enough
        assert kstest((start / (room + 1))[roomy], "uniform").statistic < 0.015
        assert np.all(start <= room) and np.any(start[~roomy] == room[~roomy])


@pytest.mark.parametrize(
    ("probability", "low", "high"), [(0.0, 0, 0), (1.0, 1, 1), (0.5, 0.48, 0.52), (0.1, 0.08, 0.12)]
)
def test_the_probability_decides_how_many_are_erased(probability, low, high):
    drawn = draw_rectangles(np.random.default_rng(5), 10_000, 64, 64, probability)
    assert low <= np.mean(drawn[:, 1] > drawn[:, 0]) <= high


def test_hand_set_draws_give_the_rectangle_by_hand():
    # Areas of 0.4 and 0.04 of 100 x 100 pixels: 4000 and 400. An area of 4000 fits aspects 0.4 to 2.5 only.
    rng = SetDraws(
        uniform=[[0.4, 0.04], [2.5, 1.0]],
        random=[[0.0, 0.0], [0.0, 0.0], [0.2, 0.9]],
        integers=[[0, 80], [60, 7]],
    )
    rectangles = draw_rectangles(rng, 2, 100, 100, probability=0.5)
    # 4000 at aspect 2.5 is 100 x 40; 400 at aspect 1 is 20 x 20, but its last draw says: do not erase.
    assert rectangles.tolist() == [[0, 100, 60, 100], [80, 80, 7, 27]]
    assert rng.bounds[0] == ("uniform", 0.02, 0.4)
    np.testing.assert_allclose(rng.bounds[1][1], [0.4, 0.3])
    np.testing.assert_allclose(rng.bounds[1][2], [2.5, 1 / 0.3])
    corners = [(low, high.tolist()) for kind, low, high in (b for b in rng.bounds if b[0] == "integers")]
    assert corners == [(0, [1, 81]), (0, [61, 81])]


def test_the_same_generator_draws_the_same():
    first, again = (draw_rectangles(np.random.default_rng(6), 50, 64, 64) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, draw_rectangles(np.random.default_rng(7), 50, 64, 64))


def test_exactly_the_rectangle_is_filled_with_noise():
    images = np.full((3, 60, 80, 3), 200, np.uint8)
    rectangles = np.array([[10, 50, 20, 70], [5, 5, 0, 30], [0, 60, 0, 80]])
    erased = images.copy()
    erase_in_place(erased, rectangles, np.random.default_rng(0))
    inside = erased[0, 10:50, 20:70]
    outside = np.ones((60, 80), bool)
    outside[10:50, 20:70] = False
    assert np.all(erased[0][outside] == 200)
    assert np.array_equal(erased[1], images[1])
    for filled in (inside, erased[2]):
        assert kstest(filled.ravel() / 256, "uniform").statistic < 0.03
        # A value of its own for each pixel and channel: neighbours and channels do not go together.
        flat = filled.reshape(-1, 3).astype(float)
        assert np.abs(np.corrcoef(flat.T) - np.eye(3)).max() < 0.1
        assert abs(np.corrcoef(flat[:-1, 0], flat[1:, 0])[0, 1]) < 0.1


def test_the_same_generator_fills_the_same_and_the_rectangles_stay_what_they_were():
    rectangles = np.array([[0, 16, 0, 16], [2, 9, 3, 5], [4, 4, 0, 9], [0, 1, 15, 16]])
    kept = rectangles.copy()
    one, again, other = (noise(4, 16) for _ in range(3))
    for images, seed in ((one, 1), (again, 1), (other, 2)):
        erase_in_place(images, rectangles, np.random.default_rng(seed))
    assert np.array_equal(one, again) and not np.array_equal(one, noise(4, 16)) and not np.array_equal(one, other)
    assert np.array_equal(rectangles, kept)


@pytest.mark.parametrize(
    ("height", "width", "area", "aspect"),
    [
        (64, 64, (0.02, 1.1), (0.3, 1 / 0.3)),
        (64, 64, (0.5, 0.9), (2.0, 3.0)),  # a rectangle twice as high as wide holds half of a square at most
        (64, 64, (0.5, 0.9), (0.2, 0.5)),
        (10, 200, (0.02, 0.4), (0.3, 1 / 0.3)),
    ],
)
def test_settings_that_no_rectangle_can_meet_are_refused(height, width, area, aspect):
    message = f"no rectangle of area {area[1]:g} and aspect .* fits {height} x {width} pixels"
    with pytest.raises(ValueError, match=message):
        draw_rectangles(np.random.default_rng(0), 4, height, width, area=area, aspect=aspect)


def test_the_greatest_area_that_fits_is_not_refused():
    drawn = draw_rectangles(np.random.default_rng(0), 200, 64, 64, 1.0, area=(1.0, 1.0))
    assert np.all(drawn == [0, 64, 0, 64])
    drawn = draw_rectangles(np.random.default_rng(0), 200, 64, 64, 1.0, area=(0.5, 0.5), aspect=(2.0, 3.0))
    assert np.all(drawn[:, :2] == [0, 64]) and np.all(drawn[:, 3] - drawn[:, 2] == 32)
