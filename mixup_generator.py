"""Batches for training, each a pure function of (seed, epoch, index): moved, mirrored, mixed and partly erased faces.

mixup: Zhang et al., "mixup: Beyond empirical risk minimization", arXiv:1710.09412, equation 1; partners come from
the same batch, as the end of its section 2 suggests. Random erasing: see random_eraser.py.
"""

from typing import NamedTuple

import cv2
import keras
import numpy as np

from age_gender.labels import NUM_AGES, NUM_GENDERS, UNKNOWN
from random_eraser import draw_rectangles, erase_in_place


class Augmentation(NamedTuple):
    """How training images are changed; the defaults change nothing."""

    mixup_alpha: float = 0.0  # of the Beta distribution that mixing shares come from; 0 mixes nothing
    shift: float = 0.0  # greatest shift in each direction as a share of the image; what moves in repeats the edge
    flip: float = 0.0  # probability of a horizontal mirror image
    erase: float = 0.0  # probability of random erasing
    rotate: float = 0.0  # greatest rotation either way, in degrees
    scale: float = 0.0  # greatest enlargement or reduction, as a share: 0.1 scales by 1/1.1 to 1.1
    light: float = 0.0  # greatest change of contrast as a share, and of brightness as half that share of 255
    grey: float = 0.0  # probability of losing all colour
    whole: float = 0.0  # probability of no rotation, no scaling and a shift by whole pixels, which keep every detail
    cubic: float = 0.0  # probability of resampling what is rotated or scaled bicubically, not bilinearly, which blurs
    coarse: float = 0.0  # probability of having been smaller: shrunk up to COARSEST times and enlarged again
    jpeg: float = 0.0  # probability of having been saved as a JPEG of a quality from WORST_JPEG on


COARSEST = 4.0
WORST_JPEG = 20  # of 100
NO_AUGMENTATION = Augmentation()


class Labels(NamedTuple):
    """What is known of n faces, and how soft their labels are made."""

    gender: np.ndarray  # (n,) integers, -1 unknown
    age: np.ndarray  # (n,) integers, years 0..100 or the index of an age group, -1 unknown
    num_ages: int = NUM_AGES  # classes of the age head
    # (n,) years: where it is above 0, the age label is no single year but a normal distribution of this standard
    # deviation around it; None means single years.
    age_width: np.ndarray | None = None
    # (n, 2) genders and (n, num_ages) ages, float32 distributions, what an earlier network says; a row of zeros where
    # it says nothing.
    teacher: tuple[np.ndarray, np.ndarray] | None = None
    teacher_weight: float = 0.5  # share of the teacher in a known label; in place of an unknown one it stands alone


class MixupGenerator(keras.utils.PyDataset):
    """Batches of faces with their labels and weights, for `fit(..., shuffle=False)` and `evaluate`.

    A batch is (image, (gender, age), (gender_weight, age_weight)): (b, h, w, 3) uint8 BGR; (b, 2) and (b, num_ages)
    float32 distributions; (b,) float32 each. A face without a label has a row of zeros and weight 0 there; a mixed
    face counts for a head only where both partners have its label. The last batch may be smaller.
    """

    def __init__(
        self,
        image: np.ndarray,
        labels: Labels,
        rows: np.ndarray | None = None,
        batch_size: int = 32,
        augmentation: Augmentation = NO_AUGMENTATION,
        shuffle: bool = True,
        seed: int = 0,
    ):
        """
        Args:
            image: (n, h, w, 3) uint8, BGR; anything that takes an array of row numbers, such as a mapped file.
            labels: of these n faces.
            rows: the rows to draw from; None means all.
            batch_size: faces in a batch.
            augmentation: how the images are changed.
            shuffle: whether each epoch has an order of its own.
            seed: of the order and of every random change.

        Raises:
            ValueError: if there is nothing to draw from, or lengths differ.
        """
        super().__init__(workers=1, use_multiprocessing=False)
        if not len(image) == len(labels.gender) == len(labels.age):
            raise ValueError(
                "image, gender and age must be equally long; "
                f"received {len(image)}, {len(labels.gender)} and {len(labels.age)}"
            )
        self.rows = np.arange(len(image)) if rows is None else np.asarray(rows)
        if not len(self.rows):
            raise ValueError("there are no rows to make batches of")
        self.image = image
        self.labels = labels._replace(gender=np.asarray(labels.gender), age=np.asarray(labels.age))
        self.batch_size, self.augmentation, self.shuffle, self.seed = batch_size, augmentation, shuffle, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose batches come next; a callback's `on_epoch_begin` calls it."""
        self.epoch = epoch
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.rows)) if self.shuffle else slice(None)
        self.order = self.rows[order]

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int):
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        images = np.ascontiguousarray(self.image[rows])
        labels = self.labels
        gender, gender_weight = one_hot(labels.gender[rows], NUM_GENDERS)
        age, age_weight = one_hot(labels.age[rows], labels.num_ages)
        if labels.age_width is not None:
            widen(age, labels.age[rows], labels.age_width[rows])
        if labels.teacher is not None:
            soften(gender, gender_weight, labels.teacher[0][rows], labels.teacher_weight)
            soften(age, age_weight, labels.teacher[1][rows], labels.teacher_weight)
        augmentation = self.augmentation
        if augmentation == NO_AUGMENTATION:
            return images, (gender, age), (gender_weight, age_weight)
        # From 1: NumPy gives (seed, epoch, 0) the stream of (seed, epoch), which is the order's.
        rng = np.random.default_rng((self.seed, self.epoch, index + 1))
        if augmentation.rotate or augmentation.scale:
            images = turn_and_scale(images, augmentation, rng)
        else:
            images = shift_and_flip(images, augmentation.shift, augmentation.flip, rng)
        if augmentation.coarse or augmentation.jpeg:
            degrade(images, augmentation, rng)
        if augmentation.light or augmentation.grey:
            change_colours(images, augmentation.light, augmentation.grey, rng)
        if augmentation.mixup_alpha:
            share = rng.beta(augmentation.mixup_alpha, augmentation.mixup_alpha, len(rows))
            partner = rng.permutation(len(rows))
            images = mix_images(images, partner, share)
            gender, gender_weight = mix_labels(gender, gender_weight, partner, share)
            age, age_weight = mix_labels(age, age_weight, partner, share)
        if augmentation.erase:
            height, width = images.shape[1:3]
            erase_in_place(images, draw_rectangles(rng, len(rows), height, width, augmentation.erase), rng)
        return images, (gender, age), (gender_weight, age_weight)


def one_hot(labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) integers -> (n, classes) float32 and (n,) float32 weights; an unknown label is a row of zeros, weight 0."""
    weight = (labels != UNKNOWN).astype(np.float32)
    rows = np.zeros((len(labels), classes), np.float32)
    rows[np.arange(len(labels)), np.maximum(labels, 0)] = weight
    return rows, weight


def widen(rows: np.ndarray, ages: np.ndarray, width: np.ndarray) -> None:
    """Makes labels normal distributions over the years, in place, where the width is above 0 and the age is known.

    Args:
        rows: (n, 101) float32, one-hot.
        ages: (n,) years, -1 unknown.
        width: (n,) standard deviations in years.
    """
    wide = (width > 0) & (ages != UNKNOWN)
    away = np.arange(NUM_AGES) - ages[wide, None]
    normal = np.exp(-0.5 * (away / width[wide, None]) ** 2)
    rows[wide] = normal / normal.sum(axis=1, keepdims=True)


def soften(labels: np.ndarray, weight: np.ndarray, teacher: np.ndarray, share: float) -> None:
    """Puts a share of a teacher's distributions into the known labels, and all of it in place of unknown ones.

    Where labels are noisy, a mixture with what a network has learned from all of them is nearer the truth than either
    (Li et al., "Learning from noisy labels with distillation", arXiv:1703.02391).

    Args:
        labels: (n, classes) float32 distributions, a row of zeros where unknown; changed.
        weight: (n,) float32, 0 where the label is unknown; changed to 1 where the teacher says it.
        teacher: (n, classes) float32 distributions; a row of zeros says nothing.
        share: of the teacher, 0..1.
    """
    says = teacher.any(axis=1)
    part = np.where(weight > 0, share, 1)[:, None] * says[:, None]
    labels += part * (teacher - labels)
    weight[says] = 1


def shift_and_flip(images: np.ndarray, shift: float, flip: float, rng: np.random.Generator) -> np.ndarray:
    """Moves each image by whole pixels, up to `shift` of its size each way, and mirrors it with probability `flip`:
    (n, h, w, 3) uint8 -> a new array; what moves in repeats the edge."""
    count, height, width = images.shape[:3]
    reach_y, reach_x = int(shift * height), int(shift * width)
    tops = rng.integers(0, 2 * reach_y + 1, count).tolist()
    lefts = rng.integers(0, 2 * reach_x + 1, count).tolist()
    mirrored = (rng.random(count) < flip).tolist()
    moved = np.empty_like(images)
    for image, target, top, left, mirror in zip(images, moved, tops, lefts, mirrored, strict=True):
        wider = cv2.copyMakeBorder(image, reach_y, reach_y, reach_x, reach_x, cv2.BORDER_REPLICATE)
        window = wider[top : top + height, left : left + width]
        if mirror:
            cv2.flip(window, 1, dst=target)
        else:
            target[...] = window
    return moved


def turn_and_scale(images: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Rotates, scales, shifts and mirrors each image in one resampling, so that it blurs once at most, as `rotate`,
    `scale`, `shift`, `flip`, `whole` and `cubic` say: (n, h, w, 3) uint8 -> a new array; what moves in repeats the
    edge."""
    count, height, width = images.shape[:3]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    angle = np.deg2rad(rng.uniform(-augmentation.rotate, augmentation.rotate, count))
    zoom = (1 + augmentation.scale) ** rng.uniform(-1, 1, count)
    shift = rng.uniform(-augmentation.shift, augmentation.shift, (count, 2)) * (width, height)
    mirror = np.where(rng.random(count) < augmentation.flip, -1.0, 1.0)
    if augmentation.whole:
        whole = rng.random(count) < augmentation.whole
        angle[whole], zoom[whole], shift[whole] = 0.0, 1.0, np.rint(shift[whole])
    cubic = rng.random(count) < augmentation.cubic if augmentation.cubic else np.zeros(count, bool)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    matrix = turn * zoom[:, None, None] * np.stack([mirror, np.ones(count)], axis=1)[:, None, :]
    offset = centre + shift - matrix @ centre
    moved = np.empty_like(images)
    flags = np.where(cubic, cv2.INTER_CUBIC, cv2.INTER_LINEAR).tolist()
    for image, target, transform, flag in zip(images, moved, np.dstack([matrix, offset]), flags, strict=True):
        cv2.warpAffine(image, transform, (width, height), dst=target, flags=flag, borderMode=cv2.BORDER_REPLICATE)
    return moved


def degrade(images: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> None:
    """Takes detail from some images, as small faces and much compressed photos lack it, as `coarse` and `jpeg` say:
    (n, h, w, 3) uint8 BGR, changed in place."""
    count, height, width = images.shape[:3]
    coarse = (rng.random(count) < augmentation.coarse).tolist()
    factor = COARSEST ** rng.random(count)
    saved = (rng.random(count) < augmentation.jpeg).tolist()
    quality = rng.integers(WORST_JPEG, 95, count).tolist()
    for number, image in enumerate(images):
        if coarse[number]:
            size = max(1, round(width / factor[number])), max(1, round(height / factor[number]))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            cv2.resize(small, (width, height), dst=image, interpolation=cv2.INTER_LINEAR)
        if saved[number]:
            _, content = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality[number]))
            image[...] = cv2.imdecode(content, cv2.IMREAD_COLOR)


def change_colours(images: np.ndarray, light: float, grey: float, rng: np.random.Generator) -> None:
    """Changes contrast and brightness of each image, and takes the colour of some, in place.

    Contrast c and brightness b map a value v to c (v - 128) + 128 + 255 b, cut off at 0 and 255; c comes from
    1 - light to 1 + light, b from -light / 2 to light / 2. A grey image has the luma of ITU-R BT.601 thrice. Images
    are (n, h, w, 3) uint8 BGR.
    """
    count = len(images)
    contrast = 1 + rng.uniform(-light, light, count)
    brightness = 255 * rng.uniform(-light / 2, light / 2, count)
    values = np.arange(256) - 128
    tables = contrast[:, None] * values + 128 + brightness[:, None]
    tables = np.clip(np.rint(tables), 0, 255).astype(np.uint8)
    colourless = (rng.random(count) < grey).tolist()
    for image, table, without in zip(images, tables, colourless, strict=True):
        cv2.LUT(image, table, dst=image)
        if without:
            image[...] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]


def mix_images(images: np.ndarray, partner: np.ndarray, share: np.ndarray) -> np.ndarray:
    """share * image + (1 - share) * its partner, rounded to uint8: (n, h, w, 3), (n,), (n,) -> (n, h, w, 3)."""
    mixed = np.empty_like(images)
    for target, image, other, part in zip(mixed, images, partner.tolist(), share.tolist(), strict=True):
        cv2.addWeighted(image, part, images[other], 1 - part, 0, dst=target)
    return mixed


def mix_labels(labels: np.ndarray, weight: np.ndarray, partner: np.ndarray, share: np.ndarray):
    """The same mixture of (n, classes) distributions; weight 0, and a row of zeros, where either label is unknown."""
    both = weight * weight[partner]
    part = share.astype(np.float32)[:, None]
    return (part * labels + (1 - part) * labels[partner]) * both[:, None], both
