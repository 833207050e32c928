"""Joins databases of several datasets into the one that the shipped model learns from, and writes a teacher's answers.

    python samples/teach.py --network faceres-deep.json --utkface data/utkface_128_db.mat data/utkface_dlib_db.mat \
        --input data/aaf_db.mat data/fiw_db.mat --output data/people_db.mat

A fifth of each dataset's people is the part `test` of what it writes, a fiftieth the part `valid`; of UTKFace it is the
split of the model's earlier trainings. The teacher is a frozen network for faces (docs/reproduce_model.md says which)
under five small heads. Each learns from four fifths of the training people, ages, intervals of ages and genders, as far
as they are known, and answers for the others; for `valid` and `test` the five are averaged. The answers stand beside
the database, as people_db.answers.h5, for train.py --teacher.

With --dlib the heads see dlib's features too, and know more (docs/EXPERIMENTS.md). The shipped model's did not.

A quarter of an hour on two cores for 85,000 faces, nearly all of it the network's; what it says is kept as
NAME.features.npz.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the suite's modules lie above this folder

import numpy as np
from tqdm import tqdm

from age_gender import cli
from age_gender.description import TEST, TRAINING, VALIDATION
from age_gender.files import digest, reading, replacing
from age_gender.labels import MALE, NUM_AGES, UNKNOWN, expected_age
from face_res import face_res, read_tensors
from networks import backend
from networks.dlib_resnet import dlib_resnet, load_dlib
from networks.split import split
from utils import open_database, read_paths, writing_database

PARTS = ("train", "valid", "test")
FOLDS = 5
IMAGE_SIZE = 128  # pixels, of the databases
AGES = slice(1025, 1125)  # where the features have FaceRes's ages
BATCH = 64
YEARS = np.arange(NUM_AGES)
AGE_SIGMA = 2.5  # years, of the soft labels
OWN_SHARE = 0.3  # of an answer to a face of a known age interval, what is left of the answer outside of it


class Faces(NamedTuple):
    """A dataset's faces: their database, where each stands, and the fold of the heads that it does not train."""

    name: str
    database: object
    side: np.ndarray
    fold: np.ndarray
    low: np.ndarray
    high: np.ndarray


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "teach.py --network FILE --utkface FILE FILE --input FILE ... [options]")
    parser.add_argument("--network", **cli.FILE, required=True, help="FaceRes, faceres-deep.json")
    parser.add_argument("--dlib", **cli.FILE, help="dlib's face recognition network, to see with it too")
    text = "databases of UTKFace, as it comes and as the detector cuts it"
    parser.add_argument("--utkface", **cli.FILE, nargs=2, required=True, help=text)
    parser.add_argument("--input", **cli.FILE, nargs="+", required=True, help="databases of the others")
    parser.add_argument("--output", **cli.FILE, default=Path("data/people_db.mat"), help="the database")
    parser.add_argument("--epochs", **cli.numeric("N", int, 1, default=20), help="of the heads' training")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Split, ask the network, train the heads, report, write."""
    args = build_parser().parse_args(argv)
    backend.start()
    own, cut = (open_database(path) for path in args.utkface)
    places = {path: row for row, path in enumerate(read_paths(own.source))}
    if unknown := next((path for path in read_paths(cut.source) if path not in places), None):
        raise ValueError(f"{cut.source} has a photo that {own.source} has not: {unknown}")
    rows = np.array([places[path] for path in read_paths(cut.source)])
    sets = [utkface(own), *map(people, map(open_database, args.input))]
    network = frozen(args.network, args.dlib)
    answers = cross_fitted(sets, [features(network, faces.database) for faces in sets], args.epochs)
    report(sets, answers)
    again = Faces("utkface, cut by the detector", cut, *(column[rows] for column in sets[0][2:]))
    # Of UTKFace cut again, the training faces alone: the others stand in the part of the faces as they came.
    again = again._replace(side=np.where(again.side == TRAINING, TRAINING, UNKNOWN))
    write(args.output, [*sets, again], [*answers, tuple(each[rows] for each in answers[0])])


def number_of(text: str) -> int:
    """A number that is the same on every machine, and as good as random."""
    return digest(text.encode()) % 2**64


def people(database) -> Faces:
    """A dataset's faces, split by person; who is not known stands alone."""
    name = database.source.stem.removesuffix("_db")
    alone = np.arange(len(database))
    subjects = database.subject
    subjects = alone if subjects is None else np.where(subjects == UNKNOWN, -2 - alone, subjects)
    numbers = [number_of(f"{name}{subject}") for subject in subjects]
    last = np.array([number % 50 for number in numbers])
    side = np.where(last % 5 == 0, TEST, np.where(last == 1, VALIDATION, TRAINING))
    return Faces(name, database, side, np.array([number // 50 % FOLDS for number in numbers]), *intervals(database))


def utkface(database) -> Faces:
    """UTKFace's faces, split as in the model's earlier trainings: --test_split 0.08 --validation_split 0.03."""
    side = np.zeros(len(database), np.int64)
    for number, rows in enumerate(split([database], 0.03, 0, 0.08)):
        side[rows] = number
    fold = np.array([number_of(path) % FOLDS for path in read_paths(database.source)])
    return Faces("utkface", database, side, fold, *intervals(database))


def kept_apart(database) -> np.ndarray:
    """The rows of a dataset's database that no training has seen."""
    faces = (utkface if database.db == "utkface" else people)(database)
    return np.flatnonzero(faces.side == TEST)


def intervals(database) -> tuple[np.ndarray, np.ndarray]:
    """First and last year of each face's age, the same where it is known to the year, -1 unknown: (n,), (n,)."""
    ends = (database.column(name, UNKNOWN) for name in ("label_low", "label_high"))
    return tuple(np.where(database.age == UNKNOWN, end, database.age) for end in ends)


# ----------------------------------------------------------------------------------------------------- the network


def frozen(faceres: Path, dlib: Path | None):
    """What the heads see with: (n, 128, 128, 3) uint8 BGR -> FaceRes's features (n, 1024), log odds of male (n, 1) and
    ages (n, 100), and with dlib's network also its features (n, 256)."""
    import keras

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    image = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), dtype="uint8")
    with reading(faceres, f"{faceres} is not FaceRes as TensorFlow.js has it"):
        outputs = face_res(read_tensors(faceres))(image)
    if dlib:
        known = dlib_resnet(IMAGE_SIZE)
        load_dlib(known, dlib)
        outputs = [*outputs, keras.Model(known.input, known.get_layer("pool").output)(image)]
    keras.mixed_precision.set_global_policy("float32")
    return keras.Model(image, outputs)


def features(network, database) -> np.ndarray:
    """What the network says of each face and of its mirror image, on average: (n, all its outputs') float32."""
    kept = database.source.with_suffix(".features.npz")
    if not kept.is_file():
        with replacing(kept) as new, open(new, "wb") as file:
            np.savez(file, features=ask(network, database), database=database.fingerprint())
    with reading(kept, f"{kept} is damaged: remove it"), np.load(kept) as file:
        found, seen = file["features"].astype(np.float32), str(file["database"])
    columns = sum(output.shape[1] for output in network.outputs)
    if seen != database.fingerprint() or found.shape != (len(database), columns):
        raise ValueError(f"{kept} is of another {database.source}, or of another network: remove it")
    found[:, AGES] = np.sqrt(found[:, AGES])
    return found


def ask(network, database) -> np.ndarray:
    """As `features`, float16."""
    predict, found = backend.compiled_predict(network), []
    for start in tqdm(range(0, len(database), BATCH), desc=database.source.stem, unit="batch", disable=None):
        images = np.asarray(database.image[start : start + BATCH])
        both = [np.concatenate(predict(faces), axis=1) for faces in (images, images[:, :, ::-1])]
        found.append((sum(both) / 2).astype(np.float16))
    return np.concatenate(found)


# ------------------------------------------------------------------------------------------------------- the heads


def cross_fitted(sets: list[Faces], seen: list[np.ndarray], epochs: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Genders (n, 2) and ages (n, 101) of each set's faces, by heads that did not train on them."""
    import keras

    side, fold, low, high = (np.concatenate([faces[place] for faces in sets]) for place in (2, 3, 4, 5))
    gender = np.concatenate([faces.database.gender for faces in sets])
    seen = np.concatenate(seen)
    trains = side == TRAINING
    seen = (seen - seen[trains].mean(axis=0)) / (seen[trains].std(axis=0) + 1e-3)
    targets = age_targets(low, high)
    genders = np.eye(2, dtype=np.float32)[np.maximum(gender, 0)]
    known = (gender != UNKNOWN).astype(np.float32)
    p_gender, p_age = np.zeros((len(seen), 2)), np.zeros((len(seen), NUM_AGES))
    for number in range(FOLDS):
        keras.utils.set_random_seed(number)
        rows = np.flatnonzero(trains & (fold != number))
        head = small_head(seen.shape[1], epochs * len(rows) // 256)
        weights = known[rows], np.ones(len(rows), np.float32)
        labels = genders[rows], targets[rows]
        head.fit(seen[rows], labels, epochs=epochs, batch_size=256, verbose=0, sample_weight=weights)
        for judged, share in ((trains & (fold == number), 1.0), (~trains, 1 / FOLDS)):
            said = head.predict(seen[judged], batch_size=4096, verbose=0)
            p_gender[judged] += share * said[0]
            p_age[judged] += share * said[1]
        print(f"head {number + 1} of {FOLDS}: trained on {len(rows):,} faces", flush=True)
    ends = np.cumsum([len(faces.side) for faces in sets])[:-1]
    return list(zip(np.split(p_gender, ends), np.split(p_age, ends), strict=True))


def age_targets(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """What the age loss takes, (n, 205): a soft label, the years of an interval, whether either is known, the age."""
    exact, wide = (low == high) & (low != UNKNOWN), low != high
    soft = np.exp(-0.5 * ((YEARS - low[:, None]) / AGE_SIGMA) ** 2)
    soft /= soft.sum(axis=1, keepdims=True)
    inside = (low[:, None] <= YEARS) & (high[:, None] >= YEARS)
    columns = soft * exact[:, None], inside * wide[:, None], exact, wide, np.maximum(low, 0)
    return np.column_stack(columns).astype(np.float32)


def age_loss(target, said):
    """Cross-entropy and a fifth of the error in years where the age is known; the mass outside where an interval is."""
    from keras import ops

    soft, inside = target[:, :NUM_AGES], target[:, NUM_AGES : 2 * NUM_AGES]
    exact, wide, age = (target[:, 2 * NUM_AGES + place] for place in range(3))
    said = ops.clip(said, 1e-7, 1.0)
    error = ops.abs(ops.sum(said * ops.cast(YEARS, "float32"), axis=1) - age)
    entropy = -ops.sum(soft * ops.log(said), axis=1)
    return exact * (entropy + 0.2 * error) - wide * ops.log(ops.sum(inside * said, axis=1) + 1e-6)


def small_head(inputs: int, steps: int):
    """One hidden layer of 384 under two softmax heads."""
    import keras
    from keras import layers

    given = keras.Input((inputs,))
    hidden = layers.Dense(384, "relu")(layers.Dropout(0.2)(given))
    hidden = layers.Dropout(0.5)(hidden)
    outputs = [layers.Dense(classes, "softmax", name=name)(hidden) for classes, name in ((2, "g"), (NUM_AGES, "a"))]
    model = keras.Model(given, outputs)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-3),
        loss=["categorical_crossentropy", age_loss],
        loss_weights=[2.0, 1.0],
    )
    return model


# ------------------------------------------------------------------------------------------------------ the result


def report(sets: list[Faces], answers: list) -> None:
    """Prints how far the answers are from the labels, by dataset and part."""
    for faces, (gender, age) in zip(sets, answers, strict=True):
        truth = faces.database
        for number, part in enumerate(PARTS):
            rows = faces.side == number
            aged, gendered = rows & (truth.age != UNKNOWN), rows & (truth.gender != UNKNOWN)
            error = np.abs(expected_age(age[aged]) - truth.age[aged]).mean() if aged.any() else np.nan
            right = ((gender[gendered, MALE] >= 0.5) == truth.gender[gendered]).mean() if gendered.any() else np.nan
            print(f"{faces.name} {part}: {rows.sum():,} faces, age error {error:.2f} years, gender {right:.1%}")


def write(output: Path, sets: list[Faces], answers: list) -> None:
    """Writes the database and the answers."""
    from training.teachers import write_answers

    chosen = [np.flatnonzero(faces.side != UNKNOWN) for faces in sets]
    size, margin = sets[1].database.image_size, sets[1].database.margin

    def column(of) -> np.ndarray:
        return np.concatenate([np.asarray(of(faces))[rows] for faces, rows in zip(sets, chosen, strict=True)])

    with writing_database(output, sum(map(len, chosen)), size) as writer:
        for faces, rows in zip(sets, chosen, strict=True):
            for start in range(0, len(rows), 512):
                writer.append(np.asarray(faces.database.image[rows[start : start + 512]]))
        low, high = column(lambda faces: faces.low), column(lambda faces: faces.high)
        columns = {
            "age": column(lambda faces: faces.database.age),
            "gender": column(lambda faces: faces.database.gender),
            "part": column(lambda faces: faces.side),
            "age_low": np.where(low == high, UNKNOWN, low),
            "age_high": np.where(low == high, UNKNOWN, high),
        }
        scalars = {"img_size": size, "margin": margin, "align": 0.0}
        writer.finish(columns, scalars, {"db": "people", "detector": "dlib", "part_names": PARTS})
    genders = np.concatenate([gender[rows] for (gender, _), rows in zip(answers, chosen, strict=True)])
    ages = [inward(faces, age)[rows] for faces, (_, age), rows in zip(sets, answers, chosen, strict=True)]
    written = open_database(output)
    beside = output.with_suffix(".answers.h5")
    write_answers(beside, {written.fingerprint(): (genders, np.concatenate(ages))})
    print(f"{output}: {len(written):,} faces; {beside}: the answers")


def inward(faces: Faces, age: np.ndarray) -> np.ndarray:
    """The answers, most of whose mass lies within a face's age interval where that is known; rows sum to 1."""
    inside = (faces.low[:, None] <= YEARS) & (faces.high[:, None] >= YEARS)
    within = age * inside
    within = np.where(within.sum(axis=1, keepdims=True) > 1e-3, within, inside)
    wide = (faces.low != faces.high)[:, None]
    within = within / np.where(wide, within.sum(axis=1, keepdims=True), 1)
    mixed = np.where(wide, (1 - OWN_SHARE) * within + OWN_SHARE * age, age)
    return mixed / mixed.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    cli.run(main)
