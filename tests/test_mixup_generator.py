"""Batches as a pure function of (seed, epoch, index), and each augmentation against hand-set draws."""

import numpy as np
import pytest
from conftest import make_database, noise
from scipy.stats import beta, kstest

from mixup_generator import (
    NO_AUGMENTATION,
    Augmentation,
    Labels,
    MixupGenerator,
    change_colours,
    mix_images,
    mix_labels,
    one_hot,
    shift_and_flip,
    turn_and_scale,
)
from training.augmentations import AUGMENTATIONS
from utils import ImageStack

MIXUP_ALONE = NO_AUGMENTATION._replace(mixup_alpha=0.2)
CLASSIC, STRONG, GENTLE = (Augmentation(**AUGMENTATIONS[name]) for name in ("classic", "strong", "gentle"))
MOVED = Augmentation(shift=0.2, flip=0.5)
ONE_BY_ONE = [
    NO_AUGMENTATION._replace(**{name: value})
    for name, value in STRONG._replace(shift=CLASSIC.shift)._asdict().items()  # its own is no whole pixel here
    if value
]


def generator(count=23, size=16, **arguments):
    """A generator over images whose age is their number, so that a batch tells which rows it holds."""
    rng = np.random.default_rng(4)
    labels = {"gender": rng.integers(0, 2, count), "age": np.arange(count)}
    labels |= {name: arguments.pop(name) for name in Labels._fields if name in arguments}
    return MixupGenerator(
        **{"image": noise(count, size), "labels": Labels(**labels), "batch_size": 8, "seed": 3, **arguments}
    )


def equal(first, second) -> bool:
    """Whether two batches are the same to the last bit."""
    flat = [[images, *labels, *weights] for images, labels, weights in (first, second)]
    return all(np.array_equal(one, other) for one, other in zip(*flat, strict=True))


def rows_of(batch) -> list[int]:
    return batch[1][1].argmax(axis=1).tolist()


# ------------------------------------------------------------------------------------------- order and purity


@pytest.mark.parametrize("augmentation", [NO_AUGMENTATION, *ONE_BY_ONE, CLASSIC, STRONG, GENTLE])
def test_a_batch_depends_on_seed_epoch_and_index_alone(augmentation):
    batches, other = generator(augmentation=augmentation), generator(augmentation=augmentation)
    batches.set_epoch(2)
    forwards = [batches[index] for index in range(3)]
    other.set_epoch(7)
    other[1]
    other.set_epoch(2)
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    backwards = [other[index] for index in (2, 1, 0, 2)]
    for index, batch in zip((2, 1, 0, 2), backwards, strict=True):
        assert equal(batch, forwards[index])


@pytest.mark.parametrize("augmentation", [*ONE_BY_ONE, CLASSIC, STRONG])
def test_epochs_seeds_and_batches_are_augmented_differently(augmentation):
    same = {"image": np.repeat(noise(1, 16), 64, axis=0), "gender": np.zeros(64, int), "age": np.arange(64)}
    arguments = {**same, "augmentation": augmentation, "batch_size": 32, "shuffle": False}
    first, other_seed = generator(**arguments, seed=0), generator(**arguments, seed=1)
    batches = [first[0], first[1], other_seed[0]]
    first.set_epoch(1)
    batches.append(first[0])
    if augmentation.mixup_alpha:  # all images are the same; their labels are not
        contents = [batch[1][1].tobytes() for batch in batches if batch is not batches[1]]
        assert len(set(contents)) == 3
    else:
        assert len({batch[0].tobytes() for batch in batches}) == 4


def test_no_batch_has_the_random_numbers_that_the_order_has():
    """NumPy gives (seed, epoch, 0) the stream of (seed, epoch): what is drawn for a batch would follow its order."""
    batches = generator(augmentation=MOVED)
    batches.set_epoch(4)
    assert np.random.default_rng((3, 4, 0)).random() == np.random.default_rng((3, 4)).random()
    for index in range(len(batches)):
        images = batches.image[batches.order[8 * index : 8 * index + 8]]
        same = shift_and_flip(images, MOVED.shift, MOVED.flip, np.random.default_rng((3, 4)))
        assert not np.array_equal(batches[index][0], same)
        own = shift_and_flip(images, MOVED.shift, MOVED.flip, np.random.default_rng((3, 4, index + 1)))
        assert np.array_equal(batches[index][0], own)


def test_every_row_comes_once_an_epoch_in_another_order_each():
    batches = generator()
    orders = []
    for epoch in range(4):
        batches.set_epoch(epoch)
        orders.append([row for index in range(len(batches)) for row in rows_of(batches[index])])
        assert sorted(orders[-1]) == list(range(23))
    assert len(set(map(tuple, orders))) == 4


def test_the_last_batch_may_be_smaller():
    batches = generator()
    assert len(batches) == 3
    assert [len(batches[index][0]) for index in range(3)] == [8, 8, 7]
    assert len(generator(count=24)) == 3 and len(generator(count=25)) == 4 and len(generator(count=1)) == 1


def test_only_the_rows_given_are_drawn_and_without_shuffling_in_their_order():
    rows = np.array([20, 3, 5, 3, 11, 0, 1, 2, 9])
    batches = generator(rows=rows, shuffle=False)
    for epoch in (0, 5):
        batches.set_epoch(epoch)
        assert rows_of(batches[0]) + rows_of(batches[1]) == rows.tolist()
    shuffled = generator(rows=rows)
    assert sorted(rows_of(shuffled[0]) + rows_of(shuffled[1])) == sorted(rows)


def test_without_augmentation_a_batch_is_the_plain_images_and_one_hot_labels():
    batches = generator(shuffle=False)
    images, (gender, age), (gender_weight, age_weight) = batches[1]
    assert images.dtype == np.uint8 and np.array_equal(images, batches.image[8:16])
    assert np.array_equal(gender, np.eye(2)[batches.labels.gender[8:16]])
    assert np.array_equal(age, np.eye(101)[8:16])
    assert np.array_equal(gender_weight, np.ones(8)) and np.array_equal(age_weight, np.ones(8))
    assert {array.dtype for array in (gender, age, gender_weight, age_weight)} == {np.dtype(np.float32)}


def test_an_augmentation_of_zeros_changes_nothing():
    plain = generator()
    silent = generator(augmentation=Augmentation(shift=0.01))
    resampled = generator(augmentation=NO_AUGMENTATION._replace(rotate=1e-9, scale=1e-9, light=1e-9, grey=1e-9))
    for index in range(3):  # a shift of less than a pixel is none, yet the augmenting path is taken
        assert equal(plain[index], silent[index])
        assert equal(plain[index], resampled[index])


@pytest.mark.parametrize("augmentation", [CLASSIC._replace(erase=1.0), STRONG._replace(erase=1.0, grey=1.0)])
def test_the_source_is_never_changed(augmentation):
    batches = generator(augmentation=augmentation)
    batches.image.setflags(write=False)
    before = batches.image.copy(), batches.labels.gender.copy(), batches.labels.age.copy()
    for epoch in range(3):
        batches.set_epoch(epoch)
        for index in range(len(batches)):
            images, *_ = batches[index]
            images[...] = 0  # a batch belongs to its caller
    for array, kept in zip((batches.image, batches.labels.gender, batches.labels.age), before, strict=True):
        assert np.array_equal(array, kept)


def test_a_batch_without_augmentation_is_a_copy_too():
    batches = generator(shuffle=False)
    batches[0][0][...] = 0
    assert np.array_equal(batches.image, noise(23, 16))


def test_what_cannot_be_batched_is_refused():
    with pytest.raises(ValueError, match="must be equally long; received 23, 4 and 23"):
        generator(gender=np.zeros(4, int))
    with pytest.raises(ValueError, match="there are no rows to make batches of"):
        generator(rows=[])
    with pytest.raises(ValueError, match="there are no rows"):
        generator(count=0)


def test_the_images_of_several_databases_are_batched_one_after_the_other():
    databases = [make_database(5, 16, seed) for seed in (0, 1)]
    ages = np.concatenate([database.age for database in databases])
    batches = generator(image=ImageStack(databases), age=ages, gender=ages % 2, shuffle=False)
    assert np.array_equal(batches[0][0], [*databases[0].image, *databases[1].image[:3]])
    assert np.array_equal(batches[1][0], databases[1].image[3:])


# ---------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("augmentation", [STRONG._replace(mixup_alpha=0.0), *ONE_BY_ONE[1:]])
def test_nothing_but_mixup_changes_the_labels(augmentation):
    plain, moved = generator(), generator(augmentation=augmentation)
    for index in range(3):
        assert equal((plain[index][0], *moved[index][1:]), plain[index])


def test_a_label_with_a_width_is_a_normal_distribution_around_it():
    age = np.array([30, -1, 40, 50, 0])
    width = np.array([2.0, 3.0, 0.0, 5.0, 4.0])
    batches = generator(5, age=age, age_width=width, shuffle=False)
    _, (_, rows), (_, weights) = batches[0]
    years = np.arange(101)
    for row, around, wide in ((0, 30, 2), (3, 50, 5)):
        expected = np.exp(-0.5 * ((years - around) / wide) ** 2)
        np.testing.assert_allclose(rows[row], expected / expected.sum(), atol=1e-7)
        assert rows[row] @ years == pytest.approx(around, abs=1e-4)
        assert np.sqrt(rows[row] @ (years - around) ** 2) == pytest.approx(wide, rel=1e-3)
    assert rows.dtype == np.float32 and rows.sum(axis=1).tolist() == pytest.approx([1, 0, 1, 1, 1])
    assert rows[2].argmax() == 40 and rows[2].max() == 1 and weights.tolist() == [1, 0, 1, 1, 1]
    again = generator(5, age=age, age_width=np.zeros(5), shuffle=False)
    assert equal(again[0], generator(5, age=age, shuffle=False)[0])


def test_a_teacher_is_mixed_into_known_labels_and_stands_for_unknown_ones():
    age, gender = np.array([30, -1, 40, 50]), np.array([0, 1, -1, 1])
    rng = np.random.default_rng(0)
    teacher = tuple(rng.dirichlet(np.ones(classes), 4).astype(np.float32) for classes in (2, 101))
    teacher[0][3] = 0  # of this gender it says nothing
    soft = {"teacher": teacher, "teacher_weight": 0.25, "shuffle": False}
    _, (genders, ages), (gender_weight, age_weight) = generator(4, age=age, gender=gender, **soft)[0]
    for row in (0, 2, 3):
        expected = 0.25 * teacher[1][row] + 0.75 * (np.arange(101) == age[row])
        np.testing.assert_allclose(ages[row], expected, atol=1e-6)
    for row in (0, 1):
        expected = 0.25 * teacher[0][row] + 0.75 * (np.arange(2) == gender[row])
        np.testing.assert_allclose(genders[row], expected, atol=1e-6)
    np.testing.assert_array_equal(ages[1], teacher[1][1])
    np.testing.assert_array_equal(genders[2:], [teacher[0][2], [0, 1]])
    assert gender_weight.tolist() == age_weight.tolist() == [1, 1, 1, 1]
    teacher[0][2] = 0
    _, (genders, _), (gender_weight, _) = generator(4, age=age, gender=gender, **soft)[0]
    assert not genders[2].any() and gender_weight.tolist() == [1, 1, 0, 1]
    assert ages.dtype == genders.dtype == np.float32


def test_coarse_and_compressed_faces_keep_their_size_and_lose_detail():
    faces = noise(30, 32, 4)
    for name in ("coarse", "jpeg"):
        batch = MixupGenerator(faces, Labels(np.zeros(30, int), np.full(30, 5)), batch_size=30, shuffle=False,
                               augmentation=NO_AUGMENTATION._replace(**{name: 0.5}))[0][0]  # fmt: skip
        changed = [not np.array_equal(one, other) for one, other in zip(batch, faces, strict=True)]
        assert batch.shape == faces.shape and 5 < sum(changed) < 25
        worn = batch[changed].astype(int)
        assert np.abs(np.diff(worn, axis=2)).mean() < np.abs(np.diff(faces.astype(int), axis=2)).mean()


def test_a_teacher_goes_with_its_face_when_faces_are_drawn_in_another_order():
    teacher = tuple(np.eye(40, classes, dtype=np.float32) for classes in (2, 101))
    age = np.full(40, 100)
    for index in range(2):
        batches = generator(40, age=age, teacher=teacher, batch_size=20)
        _, (_, ages), _ = batches[index]
        assert ages[:, :40].argmax(axis=1).tolist() == batches.order[20 * index : 20 * (index + 1)].tolist()


def test_an_unknown_label_is_a_row_of_zeros_with_weight_zero():
    rows, weight = one_hot(np.array([2, -1, 0]), 4)
    assert rows.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert weight.tolist() == [1, 0, 1]
    assert rows.dtype == weight.dtype == np.float32


def test_each_head_has_weights_of_its_own():
    batches = generator(count=4, age=np.array([5, -1, 7, -1]), gender=np.array([-1, 1, 0, -1]), shuffle=False)
    _, (gender, age), (gender_weight, age_weight) = batches[0]
    assert gender_weight.tolist() == [0, 1, 1, 0] and age_weight.tolist() == [1, 0, 1, 0]
    assert gender.sum(axis=1).tolist() == [0, 1, 1, 0] and age.sum(axis=1).tolist() == [1, 0, 1, 0]


# ----------------------------------------------------------------------------------------------------- mixup


def test_images_are_mixed_by_their_shares():
    images = noise(4)
    partner, share = np.array([1, 0, 3, 3]), np.array([0.25, 1.0, 0.0, 0.7])
    mixed = mix_images(images, partner, share)
    part = share[:, None, None, None]
    exact = part * images + (1 - part) * images[partner]
    assert mixed.dtype == np.uint8 and np.abs(mixed - exact).max() <= 0.5 + 1e-6
    assert np.array_equal(mixed[1], images[1]) and np.array_equal(mixed[2:], np.stack([images[3], images[3]]))
    assert np.array_equal(images, noise(4))


def test_labels_are_mixed_by_the_same_shares():
    labels, weight = one_hot(np.array([0, 2, 1]), 3)
    mixed, both = mix_labels(labels, weight, np.array([1, 2, 2]), np.array([0.25, 0.5, 0.9]))
    np.testing.assert_allclose(mixed, [[0.25, 0, 0.75], [0, 0.5, 0.5], [0, 1, 0]])
    assert both.tolist() == [1, 1, 1] and mixed.dtype == both.dtype == np.float32


def test_a_mixture_counts_only_where_both_labels_are_known():
    labels, weight = one_hot(np.array([0, -1, 1, -1]), 2)
    mixed, both = mix_labels(labels, weight, np.array([2, 0, 1, 3]), np.full(4, 0.5))
    assert both.tolist() == [1, 0, 0, 0]
    assert mixed.tolist() == [[0.5, 0.5], [0, 0], [0, 0], [0, 0]]


def test_one_draw_of_share_and_partner_serves_image_gender_and_age():
    ages = np.arange(0, 100, 4)
    image = np.broadcast_to((ages * 2).astype(np.uint8)[:, None, None, None], (25, 8, 8, 3))
    batches = generator(image=image, age=ages, gender=(ages >= 48).astype(int), augmentation=MIXUP_ALONE, batch_size=25)
    images, (gender, age), (gender_weight, age_weight) = batches[0]
    expected = age @ np.arange(101)
    assert np.all(images == images[:, :1, :1, :1])  # nothing but mixing happened
    np.testing.assert_allclose(images[:, 0, 0, 0], 2 * expected, atol=0.51)
    np.testing.assert_allclose(age.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(gender[:, 1], age[:, 48:].sum(axis=1), atol=1e-6)
    assert np.all(gender_weight == 1) and np.all(age_weight == 1)
    mixtures = (age > 0).sum(axis=1)
    assert mixtures.max() == 2 and (mixtures == 2).sum() > 10


def test_the_shares_come_from_the_beta_distribution():
    own = np.arange(5000) % 2
    batches = generator(
        count=5000,
        size=1,
        age=np.zeros(5000, int),
        gender=own,
        batch_size=5000,
        shuffle=False,
        augmentation=NO_AUGMENTATION._replace(mixup_alpha=0.4),
    )
    _, (gender, _), _ = batches[0]
    share = gender[np.arange(5000), own][(gender > 0).all(axis=1)]  # where the partner has the other gender
    assert len(share) > 2000
    assert kstest(share, beta(0.4, 0.4).cdf).statistic < 0.04


# --------------------------------------------------------------------------------------------- shift and flip


class SetDraws:
    """Stands for a generator: the shifts down, the shifts right, and the draws that decide on a mirror image."""

    def __init__(self, tops, lefts, mirror):
        self.offsets, self.mirror, self.asked = [np.array(tops), np.array(lefts)], np.array(mirror), []

    def integers(self, low, high, count):
        self.asked.append((low, high, count))
        return self.offsets.pop(0)

    def random(self, count):
        return self.mirror


def test_hand_set_shifts_and_flips_repeat_the_edge():
    images = np.arange(3 * 10 * 20 * 3, dtype=np.uint32).astype(np.uint8).reshape(3, 10, 20, 3)
    draws = SetDraws(tops=[2, 0, 4], lefts=[4, 8, 0], mirror=[0.9, 0.9, 0.1])  # 2 down and 4 across: in the middle
    moved = shift_and_flip(images, shift=0.2, flip=0.5, rng=draws)
    wide = np.pad(images, ((0, 0), (2, 2), (4, 4), (0, 0)), mode="edge")
    assert draws.asked == [(0, 5, 3), (0, 9, 3)]
    assert np.array_equal(moved[0], images[0])
    assert np.array_equal(moved[1], wide[1, 0:10, 8:28])
    assert np.array_equal(moved[1][2:, :16], images[1][:8, 4:]) and np.all(moved[1][:, 16:] == moved[1][:, 15:16])
    assert np.array_equal(moved[2], wide[2, 4:14, 0:20][:, ::-1])


def test_nothing_is_moved_without_shift_and_flip_and_all_is_mirrored_with_flip_one():
    images, rng = noise(20, 16), np.random.default_rng(0)
    still = shift_and_flip(images, 0.0, 0.0, rng)
    assert np.array_equal(still, images) and not np.shares_memory(still, images)
    assert np.array_equal(shift_and_flip(images, 0.0, 1.0, rng), images[:, :, ::-1])
    half = shift_and_flip(np.repeat(images[:1], 2000, axis=0), 0.0, 0.5, rng)
    assert 0.45 < np.mean([np.array_equal(image, images[0]) for image in half]) < 0.55


def test_shifts_reach_every_offset_and_no_further():
    image = noise(1, 20)
    wide = np.pad(image[0], ((2, 2), (2, 2), (0, 0)), mode="edge")
    windows = {wide[y : y + 20, x : x + 20].tobytes() for y in range(5) for x in range(5)}
    moved = shift_and_flip(np.repeat(image, 1000, axis=0), 0.1, 0.0, np.random.default_rng(0))
    assert len(windows) == 25 and {one.tobytes() for one in moved} == windows


# ------------------------------------------------------------------------------------------ rotation and scale


class SetAmounts:
    """Stands for a generator: gives the amounts one after the other, and one draw of chances."""

    def __init__(self, *amounts, chances):
        self.amounts, self.chances, self.asked = list(map(np.array, amounts)), np.array(chances), []

    def uniform(self, low, high, size):
        self.asked.append((low, high, size))
        return self.amounts.pop(0)

    def random(self, count):
        return self.chances


def turned(image, angle=0.0, exponent=0.0, shift=(0.0, 0.0), mirror=False, scale=0.5):
    """One image, turned by the amounts given."""
    draws = SetAmounts([angle], [exponent], [shift], chances=[0.2 if mirror else 0.7])
    return turn_and_scale(image[None], Augmentation(rotate=180.0, scale=scale, flip=0.5), draws)[0]


def drawn_pattern(x, y):
    """(h, w, 3) uint8: waves that have no symmetry, at any places x and y."""
    waves = [np.sin(0.11 * x + 0.3), np.cos(0.13 * y), np.sin(0.07 * x + 0.09 * y)]
    return np.rint(128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


PLACES = np.meshgrid(np.arange(60.0), np.arange(40.0))  # x, y of an image of 40 x 60


def test_nothing_is_turned_without_angle_scale_shift_and_mirror():
    images = noise(20, 16)
    still = turn_and_scale(images, NO_AUGMENTATION, np.random.default_rng(0))
    assert np.array_equal(still, images) and not np.shares_memory(still, images)
    mirrored = turn_and_scale(images, NO_AUGMENTATION._replace(flip=1.0), np.random.default_rng(0))
    assert np.array_equal(mirrored, images[:, :, ::-1]) and np.array_equal(images, noise(20, 16))


@pytest.mark.parametrize(("angle", "quarters"), [(90, -1), (-90, 1), (180, 2)])
@pytest.mark.parametrize("size", [16, 17])
def test_quarter_turns_are_exact_and_go_both_ways(angle, quarters, size):
    (image,) = noise(1, size)
    assert np.array_equal(turned(image, angle), np.rot90(image, quarters))  # 90 is clockwise
    assert np.array_equal(turned(image, angle, mirror=True), np.rot90(image[:, ::-1], quarters))  # mirrored first


@pytest.mark.parametrize(("angle", "exponent"), [(0, 0), (20, 0), (-35, 0), (0, 1), (0, -1), (0, 0.5), (12, -0.4)])
@pytest.mark.parametrize(("shift", "mirror"), [((0.0, 0.0), False), ((0.1, -0.05), False), ((-0.2, 0.1), True)])
def test_a_pattern_is_found_where_rotation_scale_shift_and_mirror_put_it(angle, exponent, shift, mirror):
    image = drawn_pattern(*PLACES)
    x = PLACES[0] - 29.5 - 60 * shift[0]  # from each place of the result back to the pattern
    y = PLACES[1] - 19.5 - 40 * shift[1]
    back, zoom = -np.deg2rad(angle), 1.5**exponent
    x, y = (x * np.cos(back) - y * np.sin(back)) / zoom, (x * np.sin(back) + y * np.cos(back)) / zoom
    x, y = (-x if mirror else x) + 29.5, y + 19.5
    expected = drawn_pattern(np.clip(x, 0, 59), np.clip(y, 0, 39))  # what moves in repeats the edge
    moved = turned(image, angle, exponent, shift, mirror)
    assert np.abs(moved.astype(int) - expected).max() <= 2
    assert np.array_equal(image, drawn_pattern(*PLACES))


def test_whole_pixels_move_exactly_and_repeat_the_edge():
    (image,) = noise(1, 20)
    wide = np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="edge")
    assert np.array_equal(turned(image, shift=(0.1, -0.15)), wide[6:26, 1:21])  # 2 to the right, 3 up


def test_rotation_scale_and_shift_are_drawn_from_the_ranges_that_are_stated():
    draws = SetAmounts([0, 0], [0, 0], [[0, 0], [0, 0]], chances=[0.7, 0.7])
    turn_and_scale(noise(2), Augmentation(rotate=10.0, scale=0.12, shift=0.06), draws)
    assert draws.asked == [(-10.0, 10.0, 2), (-1, 1, 2), (-0.06, 0.06, (2, 2))]
    rng = np.random.default_rng(0)
    disc = (np.hypot(PLACES[0] - 29.5, PLACES[1] - 19.5) < 12)[None, :, :, None] * np.full(3, 200, np.uint8)
    moved = turn_and_scale(np.repeat(disc, 500, axis=0), NO_AUGMENTATION._replace(scale=0.25), rng)
    zoom = np.sqrt(moved.sum(axis=(1, 2, 3)) / disc.sum())
    assert 0.79 < zoom.min() < 0.82 and 1.23 < zoom.max() < 1.26
    assert np.median(np.log(zoom)) == pytest.approx(0, abs=0.03)


def test_whole_keeps_its_share_of_the_faces_as_sharp_as_they_were():
    (image,) = noise(1, 20)
    wide = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")  # 0.06 of 20 is 1 pixel and a bit
    windows = {wide[y : y + 20, x : x + 20].tobytes() for y in range(3) for x in range(3)}
    for whole, flip, least, most in ((1.0, 0.0, 1000, 1000), (0.5, 0.0, 440, 560), (0.5, 0.5, 180, 320), (0, 0, 0, 0)):
        augmentation = GENTLE._replace(whole=whole, flip=flip)
        moved = turn_and_scale(np.repeat(image[None], 1000, axis=0), augmentation, np.random.default_rng(0))
        sharp = [one.tobytes() for one in moved if one.tobytes() in windows]
        assert least <= len(sharp) <= most
        assert not whole or len(set(sharp)) == 9


def test_cubic_is_its_share_of_the_resampled_faces_and_keeps_more_detail():
    image = noise(1, 32)
    detail = {}
    for cubic in (0.0, 0.5, 1.0):
        augmentation = GENTLE._replace(whole=0.0, cubic=cubic, flip=0.0)
        moved = turn_and_scale(np.repeat(image, 400, axis=0), augmentation, np.random.default_rng(0))
        detail[cubic] = moved[:, 4:-4, 4:-4].astype(float).std(axis=(1, 2, 3))
    assert np.all(detail[1.0] > detail[0.0])  # face by face: the draws of the movements are the same
    bicubic = np.isclose(detail[0.5], detail[1.0])
    assert 0.42 < bicubic.mean() < 0.58 and np.allclose(detail[0.5][~bicubic], detail[0.0][~bicubic])


def test_the_draws_of_strong_are_not_changed_by_the_choices_it_does_not_make():
    """A training that was stopped, or is repeated, gets the same faces in every version."""
    rng = np.random.default_rng(0)
    turn_and_scale(noise(5), STRONG, rng)
    same = np.random.default_rng(0)
    for _ in range(5 + 5 + 10 + 5):  # angles, zooms, shifts, mirror images
        same.random()
    assert rng.random() == same.random()


@pytest.mark.parametrize("flip", [0.0, 0.3, 1.0])
def test_the_share_of_mirrored_faces_is_the_one_asked_for(flip):
    images = np.repeat(noise(1), 2000, axis=0)
    moved = turn_and_scale(images, NO_AUGMENTATION._replace(flip=flip, rotate=1e-9), np.random.default_rng(0))
    mirrored = (moved == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert np.array_equal(moved[~mirrored], images[~mirrored])
    assert mirrored.mean() == pytest.approx(flip, abs=0.04 * (0 < flip < 1))


# ------------------------------------------------------------------------------------------------------ colours


def test_contrast_and_brightness_by_hand():
    values = [0, 10, 100, 128, 200, 254]
    images = np.repeat(np.array(values, np.uint8)[None, None, :, None], 3, axis=0).repeat(3, axis=3)
    draws = SetAmounts([0.5, -0.5, 0.0], [0.2, -0.2, 0.0], chances=[0.9] * 3)
    change_colours(images, 0.5, 0.1, draws)
    assert draws.asked == [(-0.5, 0.5, 3), (-0.25, 0.25, 3)]
    # 1.5 (v - 128) + 128 + 51 and 0.5 (v - 128) + 128 - 51, cut off at 0 and 255
    expected = [[0, 2, 137, 179, 255, 255], [13, 18, 63, 77, 113, 140], values]
    assert np.array_equal(images, np.array(expected)[:, None, :, None].repeat(3, axis=3))


def test_a_grey_image_has_the_luma_thrice():
    images, kept = noise(10, 16), noise(10, 16)
    change_colours(images, 0.0, 1.0, np.random.default_rng(0))
    assert np.array_equal(images, images[..., :1].repeat(3, axis=3))
    assert np.abs(images[..., 0] - kept @ [0.114, 0.587, 0.299]).max() < 0.51


@pytest.mark.parametrize("grey", [0.0, 0.1, 0.6])
def test_the_share_of_grey_faces_is_the_one_asked_for_and_the_others_keep_their_colour(grey):
    images, kept = noise(3000), noise(3000)
    change_colours(images, 0.0, grey, np.random.default_rng(0))
    colourless = (images == images[..., :1]).all(axis=(1, 2, 3))
    assert colourless.mean() == pytest.approx(grey, abs=0.02 * bool(grey))
    assert np.array_equal(images[~colourless], kept[~colourless])


# ---------------------------------------------------------------------------------------------- all of them


def test_the_whole_augmentation_erases_after_it_mixes():
    # Grey images of one value: whatever is mixed or moved stays that grey, so that only erasing can change it.
    grey = np.full((40, 32, 32, 3), 90, np.uint8)
    batches = generator(
        image=grey,
        age=np.zeros(40, int),
        gender=np.zeros(40, int),
        augmentation=CLASSIC._replace(erase=1.0),
        batch_size=40,
    )
    changed = (batches[0][0] != 90).any(axis=3)
    for mask in changed:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.95 and 0.01 < mask.mean() < 0.45  # one rectangle, not two mixed ones
