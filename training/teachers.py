"""Teachers: models whose answers to the training faces are mixed into the labels, and files of such answers.

A file of answers is HDF5: for each database a group named by its fingerprint, with `gender` (n, 2) and `age` (n, 101),
distributions; a row of zeros says nothing. It holds what `--teacher` could not ask for: answers by models that never
saw the face they judge, or that do not open here.
"""

from pathlib import Path

import h5py
import numpy as np

from age_gender.files import reading, replacing
from age_gender.hdf5 import refuse_what_lies_elsewhere
from age_gender.labels import NUM_AGES, NUM_GENDERS, YEARS, fold_ages
from networks import backend, open_model, predict_rows
from training.data import Data, Teacher
from training.options import Options
from training.starting import say_if_it_saw
from utils import Database, ImageStack

ANSWERS_SUFFIX = ".answers.h5"


def ask_teachers(data: Data, options: Options) -> Teacher | None:
    """What the --teacher checkpoints say of the training faces on average: (n, 2) and (n, k), zeros elsewhere. Of
    several processes the first asks, and hands the answers on."""
    if not options.teacher:
        return None
    scale, rows = options.age_scale, data.training
    gender = np.zeros((len(data.image), NUM_GENDERS), np.float32)
    age = np.zeros((len(data.image), len(scale.groups)), np.float32)
    for path in options.teacher if backend.team().leads else ():
        print(f"{path} teaches", flush=True)
        if holds_answers(path):
            genders, ages = (said[rows] for said in read_answers(path, data.databases))
            own = YEARS
        else:
            model = open_model(path)
            own = model.description.age_scale
            say_if_it_saw(model.description, data)
            genders, ages = predict_rows(model, ImageStack(data.databases, model.description.image_size), rows)
        ages = fold_ages(ages, own, scale)[0] * ages.any(axis=1, keepdims=True)  # a row of zeros still says nothing
        for mean, said in ((gender, genders), (age, ages)):
            mean[rows] += said
    for mean in (gender, age):
        total = mean.sum(axis=1, keepdims=True)
        mean /= np.where(total > 0, total, 1)
    return backend.from_leader(gender), backend.from_leader(age)


def holds_answers(path: Path) -> bool:
    """Whether a file is one of answers, by how its name ends."""
    return path.name.endswith(ANSWERS_SUFFIX)


def write_answers(path: Path, answers: dict[str, Teacher]) -> None:
    """Writes answers, by the fingerprint of the database whose faces they are of: (n, 2) and (n, 101) each."""
    with replacing(path) as new, h5py.File(new, "w") as file:
        for fingerprint, (gender, age) in answers.items():
            file.create_dataset(f"{fingerprint}/gender", data=gender.astype(np.float16))
            file.create_dataset(f"{fingerprint}/age", data=age.astype(np.float16), compression="gzip")


def read_answers(path: Path, databases: list[Database]) -> Teacher:
    """The answers to the faces of some databases, one after the other; rows sum to 1, or to 0 where nothing is said.

    Raises:
        ValueError: if the file is damaged, or does not hold answers to these databases.
    """
    found = []
    with reading(path, f"{path} cannot be read as a file of answers"), h5py.File(path, "r") as file:
        refuse_what_lies_elsewhere(path, file)
        for database in databases:
            group = file.get(database.fingerprint())
            if group is None:
                raise ValueError(f"{path} has no answers to the faces of {database.source}")
            shapes = group["gender"].shape, group["age"].shape
            if shapes != ((len(database), NUM_GENDERS), (len(database), NUM_AGES)):
                raise ValueError(f"{path}: its answers to {database.source} are {shapes}, for {len(database)} faces")
            found.append([group[name][()].astype(np.float32) for name in ("gender", "age")])
    genders, ages = (np.concatenate(each) for each in zip(*found, strict=True))
    for rows in (genders, ages):
        total = rows.sum(axis=1, keepdims=True)
        if not np.all((np.abs(total - 1) < 0.02) | (total == 0)) or rows.min() < 0:
            raise ValueError(f"{path} cannot be read as a file of answers: its rows are no distributions")
        rows /= np.where(total > 0, total, 1)
    return genders, ages
