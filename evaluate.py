"""Scores checkpoints on face databases: tables, a report in HTML, JSON and CSV, and plots.

    python evaluate.py                                                    # newest run in checkpoints/
    python evaluate.py --weight_file weights.hdf5 --input data/utkface_db.mat --output_dir evaluation_output/utkface
    python evaluate.py --weight_file old.hdf5 new.hdf5 --input data/utkface_db.mat data/appa_real_db.mat
    python evaluate.py --protocol appa_real --input data/appa_real_db.mat data/appa_real_apparent_db.mat
    python evaluate.py --split_file published_test.txt --input data/utkface_db.mat
    python evaluate.py --calibrate                                        # fits the checkpoint's age intervals anew

On databases that a checkpoint was trained on, only the faces kept out of its training are scored: its test part, or
where it has none (train.py --test_split) the faces that chose it. Of other databases every face is scored, each
database apart. Of several checkpoints, each is compared with the first on the faces that both are scored on. Before
there is any run, it is the model that comes with the suite that is scored.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from age_gender import cli
from age_gender.intervals import LEVEL, UNSURE_BELOW
from age_gender.labels import (
    AGE_SCALES,
    DECADES,
    GENDERS,
    MALE,
    UNKNOWN,
    YEARS,
    AgeScale,
    age_scale,
    decade_of,
    expected_age,
    fold_ages,
)
from evaluation.protocols import PROTOCOLS


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(
        __doc__, "evaluate.py [--weight_file FILE ...] [--input FILE ...] [--output_dir DIR] [options]"
    )
    parser.add_argument(
        "--weight_file",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="checkpoints of this suite or of the original one, or folders: their newest (default: checkpoints)",
    )
    parser.add_argument(
        "--age_scale",
        type=cli.checked(age_scale),
        metavar="SCALE",
        help=f"fold ages onto groups and score these: {', '.join(AGE_SCALES)}, or groups of years such as "
        "0-12,13-17,18-100 (default: what the checkpoint was trained on)",
    )
    parser.add_argument(
        "--unsure_below",
        type=cli.number(float, 0.5, 1),
        default=UNSURE_BELOW,
        metavar="P",
        help="count genders as unsure where the likelier one has a smaller probability, as demo.py does",
    )
    faces = parser.add_argument_group("faces")
    faces.add_argument(
        "--input",
        "-i",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="databases (default: those the checkpoint was trained on)",
    )
    faces.add_argument(
        "--part",
        choices=("auto", "test", "validation", "all"),
        help="of the databases of the training; auto: the test part, else the validation part (default: auto)",
    )
    faces.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="faces of a published protocol: " + "; ".join(f"{name}: {says}" for name, says in PROTOCOLS.items()),
    )
    faces.add_argument(
        "--split_file",
        type=Path,
        nargs="+",
        metavar="LIST",
        help="score the faces that a list names, one a line (of a CSV, the first column): paths below the dataset's "
        "folder or bare file names",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="first fit age intervals that hold nine of ten ages, and the gender's temperature, on the checkpoint's "
        "validation part and store them in the checkpoint, as train.py does at its end",
    )
    parser.add_argument(
        "--output_dir", type=Path, default=Path("evaluation_output"), metavar="DIR", help="folder for the results"
    )
    parser.add_argument("--seed", type=cli.number(int, 0), default=0, metavar="N", help="of the bootstrap and the grid")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Score every checkpoint on every set of faces, and compare."""
    parser = build_parser()
    args = parser.parse_args(argv)
    chosen = [f"--{name}" for name in ("part", "protocol", "split_file") if getattr(args, name)]
    if len(chosen) > 1:
        parser.error(f"{' and '.join(chosen)} each say which faces to score: choose one")
    from evaluation.protocols import check_folds
    from evaluation.reports import compared, report_on
    from networks.checkpoints import SHIPPED, choose, inspect

    weight_files = list(dict.fromkeys(choose(path) for path in args.weight_file or [None]))
    args.input = args.input and list(dict.fromkeys(args.input))  # what is named twice is taken once
    checkpoints = [inspect(path) for path in weight_files]
    if args.protocol == "adience":
        check_folds(checkpoints)
        args.age_scale = args.age_scale or AGE_SCALES["adience"]
    if not args.age_scale and len({checkpoint.age_scale for checkpoint in checkpoints}) > 1:
        raise ValueError("these checkpoints have other age scales: --age_scale names one that all can be folded onto")
    if args.calibrate and weight_files == [SHIPPED] and not args.weight_file:
        raise ValueError("there is no training in checkpoints/: name the checkpoint to calibrate with --weight_file")
    if args.output_dir.exists() and not args.output_dir.is_dir():
        raise ValueError(f"{args.output_dir} is a file; --output_dir names a folder")
    evaluations = []
    for weight_file, checkpoint in zip(weight_files, checkpoints, strict=True):
        evaluations += evaluate(args, weight_file, checkpoint)
    report_on(evaluations, compared(evaluations, args.seed), args.output_dir, args.seed)


def evaluate(args: argparse.Namespace, weight_file: Path, checkpoint) -> list:
    """Predict and score one checkpoint on each set of faces."""
    from utils import ImageStack

    own = checkpoint.age_scale
    scale = args.age_scale or own
    own.folds_onto(scale)  # refuses a scale that does not fit before all the work
    databases = open_databases(args.input, checkpoint)
    images = ImageStack(databases, checkpoint.image_size)
    sets = choose_faces(args, databases, checkpoint)
    if args.calibrate:
        calibration = calibrate(weight_file, checkpoint, databases, images)
        checkpoint = replace(checkpoint, calibration=calibration)
    rows = np.unique(np.concatenate([each.rows for each in sets]))
    predicted = predict(weight_file, databases, images, rows)
    return [
        evaluation_of(
            args, weight_file, checkpoint, databases, images, each, *predicted_of(each, rows, predicted), scale
        )
        for each in sets
    ]


def choose_faces(args: argparse.Namespace, databases: list, checkpoint) -> list:
    """The sets of faces to score, see protocols.FaceSet."""
    from evaluation.protocols import kept_out, listed, published

    if args.protocol:
        return published(args.protocol, databases, checkpoint)
    if args.split_file:
        return listed(args.split_file, databases, checkpoint)
    return kept_out(databases, checkpoint, args.part or "auto")


def calibrate(weight_file: Path, checkpoint, databases: list, images):
    """Fits intervals and temperature on the validation part, and stores them in the checkpoint."""
    from age_gender.description import ORIGIN_OURS
    from evaluation import calibration
    from evaluation.protocols import kept_out
    from utils import labels_of

    if checkpoint.origin != ORIGIN_OURS:
        raise ValueError(
            f"{weight_file} was written by {checkpoint.origin}: --calibrate is for checkpoints of this suite"
        )
    rows = kept_out(databases, checkpoint, "validation")[0].rows
    found = calibration.calibrate(weight_file, images, rows, *labels_of(databases, rows))
    print(f"{weight_file}: {calibration.calibration_in_words(found)}", flush=True)
    return found


def open_databases(paths: list[Path] | None, checkpoint) -> list:
    """The databases to score on; by default those of the training."""
    from age_gender.detectors import found_by
    from utils import open_database

    if not paths:
        paths = checkpoint.inputs
        if not paths:
            raise ValueError("the checkpoint does not say what it was trained on: name databases with --input")
    databases = [open_database(path) for path in paths]
    for database in databases:
        if database.margin != checkpoint.margin:
            print(
                f"warning: the crops of {database.source} have a margin of {database.margin:g}, "
                f"the network was trained at {checkpoint.margin:g}"
            )
        if (database.detector, database.align) != (checkpoint.detector, checkpoint.align):
            print(
                f"warning: the faces of {database.source} were found by {found_by(database.detector, database.align)}, "
                f"those of the training by {found_by(checkpoint.detector, checkpoint.align)}"
            )
        if database.image_size != checkpoint.image_size:
            print(
                f"the faces of {database.source} are resized from {database.image_size} "
                f"to {checkpoint.image_size} pixels"
            )
    return databases


def predict(weight_file: Path, databases: list, images, rows: np.ndarray):
    """A table with a row for each face, its labels and the network's own predictions, and the distributions, (n, k)."""
    import pandas as pd

    from networks import open_model, predict_rows
    from utils import labels_of, read_paths

    model = open_model(weight_file)
    print(f"{weight_file}: {len(rows):,} faces, computing on {model.device}", flush=True)
    p_gender, p_age = predict_rows(model, images, rows)
    checkpoint = model.description
    age, gender = labels_of(databases, rows)
    paths = [path for database in databases for path in read_paths(database.source) or [""] * len(database)]
    names = np.concatenate([[database.db] * len(database) for database in databases])
    races = np.concatenate([race_names(database) for database in databases])
    faces = pd.DataFrame(
        {
            "db": names[rows],
            "path": np.array(paths, object)[rows],
            "age": age,
            "gender": gender,
            "race": races[rows],
            "expected_age": expected_age(p_age, checkpoint.age_scale.centres),
            "p_male": p_gender[:, MALE].astype(float),
        }
    )
    if not len(faces) == len(rows) == len(p_age) == len(p_gender):
        raise RuntimeError(f"{len(p_age)} of {len(rows)} faces were predicted")
    return faces, p_age


def predicted_of(chosen, rows: np.ndarray, predicted: tuple):
    """What was predicted for one set of faces, of what was predicted for all."""
    faces, p_age = predicted
    place = np.searchsorted(rows, chosen.rows)
    return faces.iloc[place].reset_index(drop=True), p_age[place]


def race_names(database) -> np.ndarray:
    """(n,) object: each face's race by name, None where unknown."""
    if database.race is None:
        return np.full(len(database), None, object)
    return np.array([*database.race_names, None], object)[database.race]  # -1, unknown, takes the last


def evaluation_of(args, weight_file: Path, checkpoint, databases, images, chosen, faces, p_age, scale: AgeScale):
    """The scores of one checkpoint on one set of faces, with all that a report shows."""
    from evaluation.metrics import score
    from evaluation.reports import Evaluation

    notes = calibrated(faces, p_age, checkpoint, chosen.chose, args.seed, intervals=scale == YEARS)
    if scale != YEARS:
        notes += add_groups(faces, p_age, databases, chosen.rows, checkpoint.age_scale, scale)
    trivial, trivial_from = trivial_of(checkpoint, faces, scale)
    name = f"{scale.names[trivial['age']]}, {GENDERS[trivial['gender']]}"
    notes.append(f"trivial answer: {name} for every face ({trivial_from})")
    outcomes = outcomes_of(faces, scale, args.unsure_below)
    answers = trivial_outcomes(faces, scale, trivial)
    axes = axes_of(faces, scale)
    counts = [sum(int(mask.sum()) for _, mask in members) for _, members in axes]
    if any(count > len(faces) for count in counts):
        raise RuntimeError("a face stands in two groups of one axis")
    return Evaluation(
        weight_file=str(weight_file),
        epoch=checkpoint.training.get("epoch"),
        input=[str(database.source) for database in databases],
        name=chosen.name,
        by_name=chosen.by_name,
        says=chosen.says,
        notes=notes,
        faces=faces,
        p_age=p_age,
        rows=chosen.rows,
        identity=identities(databases, chosen.rows),
        images=images,
        level=checkpoint.calibration.level if checkpoint.calibration else LEVEL,
        scale=scale,
        unsure_below=args.unsure_below,
        trivial={**trivial, "from": trivial_from},
        outcomes=outcomes,
        overall=score(outcomes, answers, args.seed),
        groups=[
            (axis, name, score(outcomes.of(mask), answers.of(mask), args.seed))
            for axis, members in axes
            for name, mask in members
            if mask.any()
        ],
    )


def identities(databases: list, rows: np.ndarray) -> np.ndarray:
    """(n,) strings: the same for the same face of the same database, whatever stands before it."""
    starts = np.cumsum([0, *map(len, databases)])
    prints = [database.fingerprint() for database in databases]
    owners = np.searchsorted(starts, rows, side="right") - 1
    return np.array([f"{prints[owner]} {row - starts[owner]}" for owner, row in zip(owners, rows, strict=True)])


def calibrated(faces, p_age: np.ndarray, checkpoint, own: np.ndarray, seed: int, intervals: bool = True) -> list[str]:
    """Adds age intervals and calibrated genders (in place of the network's own, which are kept beside); says how.

    Of the faces that the checkpoint was calibrated on, each half gets the calibration of the other half: on its own it
    would look better than it is.

    Args:
        faces: the table, changed.
        p_age: (n, k) distributions.
        checkpoint: has the calibration.
        own: (n,) bool, the faces that it was fitted on.
        seed: of the halves.
        intervals: whether there are to be age intervals, which are of years.
    """
    from age_gender.intervals import age_interval, tempered
    from evaluation.calibration import fit

    if checkpoint.calibration is None:
        return ["no age intervals: the checkpoint has no calibration yet, see --calibrate"]
    age, gender, p_male = (faces[name].to_numpy().copy() for name in ("age", "gender", "p_male"))
    if not intervals:
        age[:] = UNKNOWN  # then none is fitted either
    parts, notes = [(np.flatnonzero(~own), checkpoint.calibration)], []
    if own.any():
        halves = np.array_split(np.random.default_rng(seed).permutation(np.flatnonzero(own)), 2)
        pairs = halves, halves[::-1]
        parts += [(half, fit(p_age[other], p_male[other], age[other], gender[other])) for half, other in pairs]
        which = "these faces" if own.all() else f"the {own.sum():,} faces that calibrated the checkpoint"
        notes = [f"each half of {which} is judged by the calibration of the other half"]
    parts = [(rows, calibration) for rows, calibration in parts if len(rows)]
    faces["p_male_network"] = p_male
    for rows, calibration in parts:
        faces.loc[rows, "p_male"] = tempered(p_male[rows], calibration.temperature)
    if not intervals:
        return notes
    ends = [age_interval(p_age[rows], calibration) for rows, calibration in parts]
    if any(each is None for each in ends):
        return [*notes, "no age intervals: too few faces with an age calibrated the checkpoint"]
    for (rows, _), (first, last) in zip(parts, ends, strict=True):
        faces.loc[rows, "age_low"], faces.loc[rows, "age_high"] = first, last
    return notes


def add_groups(
    faces, p_age: np.ndarray, databases: list, rows: np.ndarray, own: AgeScale, scale: AgeScale
) -> list[str]:
    """Adds the true and the predicted age group of each face, their indices, and the probability between the groups;
    says what is in no group."""
    true = [scale.group_of(database.age, database.label_low, database.label_high) for database in databases]
    folded, between = fold_ages(p_age, own, scale)
    faces["group"], faces["said"] = np.concatenate(true)[rows], folded.argmax(axis=1)
    faces["p_said"], faces["p_between"] = folded.max(axis=1), between
    notes = []
    if outside := int((faces["group"] == UNKNOWN).sum()):
        notes.append(
            f"{outside:,} of {len(faces):,} faces have no age, or one in no group of {scale.name}: not scored by age"
        )
    if between.max() > 1e-6:  # rounding apart
        notes.append(f"ages folded onto {scale.name}; {between.mean():.1%} of the probability fell between its groups")
    return notes


def trivial_of(checkpoint, faces, scale: AgeScale) -> tuple[dict[str, int], str]:
    """The training faces' median age, or commonest group, and commoner gender; of the faces scored, where the
    checkpoint does not know."""
    from evaluation.metrics import trivial_answers

    age = "median age" if scale == YEARS else "commonest group"
    if checkpoint.trivial and checkpoint.age_scale == scale:
        return checkpoint.trivial, f"{age} and commoner gender of the training faces"
    column = faces.age if scale == YEARS else faces["group"]
    trivial = trivial_answers(column.to_numpy(), faces.gender.to_numpy(), scale)
    known = "knows those of another age scale" if checkpoint.trivial else "does not know its own"
    return trivial, f"{age} and commoner gender of these very faces: the checkpoint {known}"


def outcomes_of(faces, scale: AgeScale, unsure_below: float):
    """What the predictions came to, face by face."""
    from evaluation.metrics import Outcomes, age_sums, gender_sums, group_sums, interval_sums

    age, gender, p_male = (faces[name].to_numpy() for name in ("age", "gender", "p_male"))
    if scale == YEARS:
        sums = age_sums(age, faces.expected_age.to_numpy())
    else:
        sums = group_sums(faces["group"].to_numpy(), faces.said.to_numpy())
    if "age_low" in faces:
        sums |= interval_sums(age, faces.age_low.to_numpy(), faces.age_high.to_numpy())
    return Outcomes({**sums, **gender_sums(gender, p_male, unsure_below)}, gender, p_male)


def trivial_outcomes(faces, scale: AgeScale, trivial: dict[str, int]):
    """What one answer for every face comes to."""
    from evaluation.metrics import Outcomes, age_sums, gender_sums, group_sums

    gender, p_male = faces.gender.to_numpy(), np.full(len(faces), float(trivial["gender"]))
    answer = np.full(len(faces), trivial["age"])
    sums = age_sums(faces.age.to_numpy(), answer) if scale == YEARS else group_sums(faces["group"].to_numpy(), answer)
    return Outcomes({**sums, **gender_sums(gender, p_male)}, gender, p_male)


def axes_of(faces, scale: AgeScale) -> list[tuple[str, list[tuple[str, np.ndarray]]]]:
    """Groups of the faces, (name, mask) each, by age, gender, race and all of these, and by database if several."""
    if scale == YEARS:
        bands = np.where(faces.age == UNKNOWN, UNKNOWN, decade_of(faces.age))
        names = [f"{low}-{high}" for low, high in DECADES]
    else:
        bands, names = faces["group"].to_numpy(), scale.names
    ages = [(name, bands == index) for index, name in enumerate(names)]
    genders = [(name, (faces.gender == index).to_numpy()) for index, name in enumerate(GENDERS)]
    races = [(name, (faces.race == name).to_numpy()) for name in sorted(faces.race.dropna().unique())]
    both = [(f"{age} {gender}", mask & other) for age, mask in ages for gender, other in genders]
    crossed = [(f"{name} {race}", mask & other) for name, mask in both for race, other in races]
    datasets = [(name, (faces.db == name).to_numpy()) for name in sorted(faces.db.unique())]
    return [
        *([("database", datasets)] if len(datasets) > 1 else []),
        ("age", ages),
        ("gender", genders),
        ("race", races),
        ("age, gender and race", crossed) if races else ("age and gender", both),
    ]


if __name__ == "__main__":
    cli.run(main)
