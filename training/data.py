"""The faces of a run: opened, labelled on the age scale, split, and made into batches."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from age_gender.files import newest
from age_gender.labels import UNKNOWN, AgeScale
from networks import backend
from networks.applications import require_size
from networks.split import kindred, split
from readers.parts import require_parts
from training.augmentations import AUGMENTATIONS
from training.options import Options
from utils import Database, ImageStack, check_faces, open_database

Teacher = tuple[np.ndarray, np.ndarray]  # (n, 2) and (n, k) float32 distributions, zeros where it was not asked


@dataclass(frozen=True)
class Data:
    """The faces of a run, n of them: what they are and which rows train, validate and test."""

    databases: list[Database]  # where they come from, one after the other
    image: ImageStack | np.ndarray  # takes arrays of rows, (m, size, size, 3) uint8 BGR
    age: np.ndarray  # (n,) class on the run's age scale, -1 unknown
    gender: np.ndarray  # (n,) 0 female, 1 male, -1 unknown
    training: np.ndarray  # sorted rows, as validation and test
    validation: np.ndarray
    test: np.ndarray
    age_std: np.ndarray  # (n,) years, how far opinions on the age spread, NaN unknown

    @property
    def database(self) -> Database:
        """The largest of the databases: its image size, margin and detector are the model's."""
        return max(self.databases, key=len)

    def validation_faces(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows, the age classes and the genders of the validation faces, -1 unknown."""
        return self.validation, self.age[self.validation], self.gender[self.validation]

    def validation_labels(self) -> tuple[np.ndarray, np.ndarray]:
        """The known age classes and the known genders of the validation faces."""
        _, ages, genders = self.validation_faces()
        return ages[ages != UNKNOWN], genders[genders != UNKNOWN]


def newest_database() -> Path:
    """The .mat file in data/ that was written last."""
    found = newest(Path("data").glob("*.mat"))
    if found is None:
        raise FileNotFoundError("there is no database in data/: make one with create_db.py, or name one with --input")
    return found


def load_data(options: Options) -> Data:
    """Opens the databases and splits their faces.

    Raises:
        FileNotFoundError: if a database is not there, or another part of the dataset that one is a part of.
        ValueError: if one is no database, their sizes differ or do not suit the network, or they cannot be split.
    """
    require_parts(options.input)
    databases = [open_database(path) for path in options.input]
    image = ImageStack(databases)
    require_size(options.model, image.shape[1])
    for one, other in combinations(sorted({database.db for database in databases}), 2):
        if kindred(one, other):
            print(f"{one} and {other} have the same people, who may stand on both sides of the split")
    scale = options.age_scale
    age = np.concatenate([scale.group_of(each.age, each.label_low, each.label_high) for each in databases])
    _say_what_is_in_no_group(databases, age, scale)
    age_std = np.concatenate([each.column("age_std", np.nan) for each in databases])
    if options.age_spread and not np.any(age_std > 0):
        raise ValueError("--age_spread: no database knows how far the opinions on an age spread (APPA-REAL's does)")
    check_faces(databases)
    gender = np.concatenate([each.gender for each in databases])
    return Data(databases, image, age, gender, *_sides(databases, options), age_std)


def _sides(databases: list[Database], options: Options) -> tuple[np.ndarray, ...]:
    """The rows that train, validate and test; of several processes the first splits, and hands its split on."""
    backend.agree("databases", repr([each.fingerprint() for each in databases]))
    side = np.full(sum(map(len, databases)), -1, np.int8)
    if backend.team().leads:
        by_part = options.split == "part"
        how = options.validation_split, options.seed, options.test_split, by_part, options.fold, options.folds
        for number, rows in enumerate(split(databases, *how)):
            side[rows] = number
    side = backend.from_leader(side)
    return tuple(np.flatnonzero(side == number) for number in range(3))


def _say_what_is_in_no_group(databases: list[Database], groups: np.ndarray, scale: AgeScale) -> None:
    """Counts the faces whose age label trains nothing, since it is in no group of the scale."""
    labelled = [(each.age != UNKNOWN) | (each.column("label_low", UNKNOWN) != UNKNOWN) for each in databases]
    left_out = int(np.sum(np.concatenate(labelled) & (groups == UNKNOWN)))
    if left_out:
        print(
            f"{left_out:,} of {len(groups):,} faces have an age label that belongs to no class of {scale.name}: they "
            "train and validate genders alone"
        )


def split_of(data: Data, options: Options) -> dict[str, object]:
    """How a run's faces are split, as its checkpoints say it."""
    return {
        "validation_split": options.validation_split,
        "test_split": options.test_split,
        "parts": options.split == "part",
        "fold": options.fold,
        "folds": options.plain()["folds"],
        "seed": options.seed,
        "image_size": data.database.image_size,
        "databases": [database.fingerprint() for database in data.databases],
        "datasets": sorted({database.db for database in data.databases}),
    }


def refuse(data: Data, options: Options, stopped: dict) -> None:
    """Refuses what the faces do not allow, before anything slow happens.

    Raises:
        ValueError: if the databases are not those of the stopped run, or no validation face has the label that the
            checkpoint is to be chosen by.
    """
    if stopped and stopped["split"] != split_of(data, options):
        raise ValueError("the databases are not those that the stopped run was trained on; --restart discards it")
    for head, known in zip(("val_pred_age", "val_pred_gender"), data.validation_labels(), strict=True):
        if options.monitor.startswith(head) and not len(known):
            raise ValueError(
                f"--monitor {options.monitor}: no validation face has that label; --monitor val_loss uses what there is"
            )


def make_batches(data: Data, options: Options, teacher: Teacher | None = None):
    """The training batches, augmented if so asked, and the validation batches, always plain."""
    from mixup_generator import NO_AUGMENTATION, Augmentation, Labels, MixupGenerator

    width = None
    if options.age_spread:  # the loss adds the variance of --age_sigma, so that the sum is the label's own
        width = np.sqrt(np.maximum(np.nan_to_num(data.age_std) ** 2 - options.age_sigma**2, 0))
    plain = Labels(data.gender, data.age, len(options.age_scale.groups))
    soft = plain._replace(age_width=width, teacher=teacher, teacher_weight=options.teacher_weight)
    augmentation = Augmentation(**AUGMENTATIONS[options.aug] | {"mixup_alpha": options.mixup_alpha})
    size, seed = options.batch_size, options.seed
    return (
        MixupGenerator(data.image, soft, data.training, size, augmentation, shuffle=True, seed=seed),
        MixupGenerator(data.image, plain, data.validation, size, NO_AUGMENTATION, shuffle=False, seed=seed),
    )
