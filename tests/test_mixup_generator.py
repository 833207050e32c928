"""Batches as a pure function of (seed, epoch, index), and each augmentation against hand-set draws."""

import numpy as np
import pytest
from conftest import noise
from scipy.stats import beta, kstest

from mixup_generator import (
    NO_AUGMENTATION,
    Augmentation,
    MixupGenerator,
    mix_images,
    mix_labels,
    one_hot,
    shift_and_flip,
)

MIXUP_ALONE = NO_AUGMENTATION._replace(mixup_alpha=0.2)
ONE_BY_ONE = [NO_AUGMENTATION._replace(**{name: value}) for name, value in Augmentation()._asdict().items()]


def generator(count=23, size=16, **arguments):
    """A generator over images whose age is their number, so that a batch tells which rows it holds."""
    rng = np.random.default_rng(4)
    return MixupGenerator(
        **{
            "image": noise(count, size),
            "gender": rng.integers(0, 2, count),
            "age": np.arange(count),
            "batch_size": 8,
            "seed": 3,
            **arguments,
        }
    )


def equal(first, second) -> bool:
    """Whether two batches are the same to the last bit."""
    flat = [[images, *labels, *weights] for images, labels, weights in (first, second)]
    return all(np.array_equal(one, other) for one, other in zip(*flat, strict=True))


def rows_of(batch) -> list[int]:
    return batch[1][1].argmax(axis=1).tolist()


# ------------------------------------------------------------------------------------------- order and purity


@pytest.mark.parametrize("augmentation", [NO_AUGMENTATION, *ONE_BY_ONE, Augmentation()])
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


@pytest.mark.parametrize("augmentation", [*ONE_BY_ONE, Augmentation()])
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
    assert np.array_equal(gender, np.eye(2)[batches.gender[8:16]])
    assert np.array_equal(age, np.eye(101)[8:16])
    assert np.array_equal(gender_weight, np.ones(8)) and np.array_equal(age_weight, np.ones(8))
    assert {array.dtype for array in (gender, age, gender_weight, age_weight)} == {np.dtype(np.float32)}


def test_an_augmentation_of_zeros_changes_nothing():
    plain = generator()
    silent = generator(augmentation=Augmentation(mixup_alpha=0.0, shift=0.01, flip=0.0, erase=0.0))
    for index in range(3):  # a shift of less than a pixel is none, yet the augmenting path is taken
        assert equal(plain[index], silent[index])


def test_the_source_is_never_changed():
    batches = generator(augmentation=Augmentation(erase=1.0))
    batches.image.setflags(write=False)
    before = batches.image.copy(), batches.gender.copy(), batches.age.copy()
    for epoch in range(3):
        batches.set_epoch(epoch)
        for index in range(len(batches)):
            images, *_ = batches[index]
            images[...] = 0  # a batch belongs to its caller
    for array, kept in zip((batches.image, batches.gender, batches.age), before, strict=True):
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


# ---------------------------------------------------------------------------------------------------- labels


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


def test_the_whole_augmentation_erases_after_it_mixes():
    # Grey images of one value: whatever is mixed or moved stays that grey, so that only erasing can change it.
    grey = np.full((40, 32, 32, 3), 90, np.uint8)
    batches = generator(
        image=grey, age=np.zeros(40, int), gender=np.zeros(40, int), augmentation=Augmentation(erase=1.0), batch_size=40
    )
    changed = (batches[0][0] != 90).any(axis=3)
    for mask in changed:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.95 and 0.01 < mask.mean() < 0.45  # one rectangle, not two mixed ones
