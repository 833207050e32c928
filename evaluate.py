"""Scores a checkpoint on face databases: a table, metrics.json, predictions.csv and plots.

    python evaluate.py                                                    # newest run in checkpoints/
    python evaluate.py --weight_file weights.hdf5 --input data/utkface_db.mat --output_dir evaluation/utkface

On a database that the checkpoint was trained on, only the faces kept out of its training are scored: its test part, or
where it has none (train.py --test_split) the faces that chose it. Before there is any run, it is the model that comes
with the suite that is scored.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

import cli
from labels import DECADES, GENDERS, MALE, UNKNOWN, decade_of, expected_age

CHECKPOINTS = Path("checkpoints")
SAMPLES = 40  # faces in the grid
LEAST_FACES = 20  # of a group that can be called the worst: of fewer, the error says little


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "evaluate.py [--weight_file FILE] [--input FILE ...] [--output_dir DIR] [options]")
    parser.add_argument(
        "--weight_file",
        type=Path,
        metavar="FILE",
        help="checkpoint of this suite or of the original one, or a folder: its newest (default: checkpoints)",
    )
    parser.add_argument(
        "--input",
        "-i",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="databases (default: those the checkpoint was trained on)",
    )
    parser.add_argument(
        "--part",
        choices=("auto", "test", "validation", "all"),
        default="auto",
        help="faces to score; auto: the test part of the checkpoint's training, else its validation part, where it was "
        "trained on these databases, else all",
    )
    parser.add_argument(
        "--output_dir", type=Path, default=Path("evaluation"), metavar="DIR", help="folder for the results"
    )
    parser.add_argument("--seed", type=cli.number(int, 0), default=0, metavar="N", help="of the bootstrap and the grid")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Load, predict, score, write, report."""
    args = build_parser().parse_args(argv)
    from models import choose, inspect

    weight_file = choose(args.weight_file, CHECKPOINTS)
    checkpoint = inspect(weight_file)
    databases = open_databases(args.input, checkpoint)
    rows, part = choose_rows(databases, checkpoint, args.part)
    faces, p_age = predict(weight_file, databases, rows)
    trivial, trivial_from = trivial_of(checkpoint, faces)

    overall, groups = score_groups(faces, trivial, args.seed)
    text = f"{table(overall, groups)}\n\n{worst_groups(groups)}"
    origin = {
        "faces": part,
        "weight_file": str(weight_file),
        "input": [str(database.source) for database in databases],
        "trivial": {**trivial, "from": trivial_from},
    }
    write_tables(args.output_dir, {**metrics_of(overall, groups), **origin}, text, faces)
    write_plots(args, databases, rows, faces, p_age, overall, groups)
    print(f"{weight_file} on {', '.join(origin['input'])}: {part}")
    print(f"trivial answer: {trivial['age']}, {GENDERS[trivial['gender']]} for every face ({trivial_from})\n")
    print(text)
    print(
        f"\nintervals: 95%, bootstrap over faces. Table, metrics.json, predictions.csv and plots in {args.output_dir}/"
    )


def open_databases(paths: list[Path] | None, checkpoint) -> list:
    """The databases to score on; by default those of the training."""
    from detectors import found_by
    from utils import open_database

    if not paths:
        paths = checkpoint.training.get("arguments", {}).get("input", [])
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


def choose_rows(databases: list, checkpoint, part: str) -> tuple[np.ndarray, str]:
    """The rows to score, numbered through all databases, and which they are in words."""
    from utils import kindred, split

    known = checkpoint.split.get("databases", [])
    given = [database.fingerprint() for database in databases]
    seen = set(known) & set(given)
    ever = {fingerprint for how in splits_of(checkpoint) for fingerprint in how.get("databases", [])} & set(given)
    count = sum(map(len, databases))
    if part == "all" or (part == "auto" and not seen):
        warning = ""
        if ever:
            warning = ", training faces among them: the scores flatter"
        elif any(kindred(name, database.db) for name in datasets_of(checkpoint) for database in databases):
            warning = " of a dataset that it was trained on: training faces may be among them"
        return np.arange(count), f"all {count:,} faces{warning}"
    if given != known:
        raise ValueError(
            "the faces held out can be told only with all the databases of the training, in their order: "
            f"{', '.join(checkpoint.training.get('arguments', {}).get('input', [])) or 'unknown'}; "
            "--part all scores every face"
        )
    how = checkpoint.split
    more = {name: how[name] for name in ("test_split", "parts", "fold") if name in how}
    _, validation, test = split(databases, how["validation_split"], how["seed"], **more)
    if part == "test" and not len(test):
        raise ValueError(
            "the checkpoint was trained without a test part (train.py --test_split, --fold, --split part); "
            "--part validation scores the faces that chose it"
        )
    if part == "test" or (part == "auto" and len(test)):
        return test, f"the {len(test):,} faces of {count:,} that were kept for a test"
    flatter = "they chose the checkpoint, so the scores flatter a little"
    return validation, f"the {len(validation):,} faces held out of {count:,} ({flatter})"


def splits_of(checkpoint) -> list[dict]:
    """The splits of all trainings that a checkpoint went through or learned from; train.py --weights and --teacher."""
    splits, waiting = [checkpoint.split], [checkpoint.training]
    while waiting:
        training = waiting.pop()
        earlier = [*training.get("teachers", []), *([training["start"]] if training.get("start") else [])]
        splits += [each["split"] for each in earlier]
        waiting += earlier
    return splits


def datasets_of(checkpoint) -> set[str]:
    """The names of the datasets that a checkpoint was trained on, as far as it says."""
    inputs = checkpoint.training.get("arguments", {}).get("input", [])
    unsaid = [Path(path).stem.removesuffix("_db") for path in inputs]
    return {name for how in splits_of(checkpoint) for name in how.get("datasets", unsaid)}


def predict(weight_file: Path, databases: list, rows: np.ndarray):
    """A table with a row for each face, labels and predictions, and the age distributions, (n, 101)."""
    import pandas as pd

    import backend
    import models
    from utils import ImageStack, read_paths

    print(f"computing on {backend.start()}", flush=True)
    model, _ = models.load(weight_file)
    p_gender, p_age = models.predict_rows(model, ImageStack(databases), rows)
    columns = {
        name: np.concatenate([getattr(database, name) for database in databases])[rows] for name in ("age", "gender")
    }
    paths = [path for database in databases for path in read_paths(database.source) or [""] * len(database)]
    names = np.concatenate([[database.db] * len(database) for database in databases])
    races = np.concatenate([race_names(database) for database in databases])
    faces = pd.DataFrame(
        {
            "db": names[rows],
            "path": np.array(paths, object)[rows],
            **columns,
            "race": races[rows],
            "expected_age": expected_age(p_age),
            "p_male": p_gender[:, MALE].astype(float),
        }
    )
    if len(faces) != len(rows):
        raise RuntimeError(f"{len(faces)} of {len(rows)} faces were predicted")
    return faces, p_age


def race_names(database) -> np.ndarray:
    """(n,) object: each face's race by name, None where unknown."""
    if database.race is None:
        return np.full(len(database), None, object)
    return np.array([*database.race_names, None], object)[database.race]  # -1, unknown, takes the last


def trivial_of(checkpoint, faces) -> tuple[dict[str, int], str]:
    """The training faces' median age and commoner gender; of the faces scored, where the checkpoint does not know."""
    if checkpoint.trivial:
        return checkpoint.trivial, "median age and commoner gender of the training faces"
    from metrics import trivial_answers

    trivial = trivial_answers(faces.age.to_numpy(), faces.gender.to_numpy())
    return trivial, "median age and commoner gender of these very faces: the checkpoint does not know its own"


def score_groups(faces, trivial: dict[str, int], seed: int):
    """Scores of all faces, and of each group: (axis, name, scores), axes decade, gender and race."""
    from metrics import score

    def scores_of(chosen):
        return score(
            chosen.age.to_numpy(),
            chosen.gender.to_numpy(),
            chosen.expected_age.to_numpy(),
            chosen.p_male.to_numpy(),
            trivial,
            seed,
        )

    decade = decade_of(faces.age).astype(int)
    decade[faces.age.to_numpy() == UNKNOWN] = UNKNOWN
    axes = [
        ("age", [(f"{low}-{high}", decade == index) for index, (low, high) in enumerate(DECADES)]),
        ("gender", [(name, (faces.gender == index).to_numpy()) for index, name in enumerate(GENDERS)]),
        ("race", [(name, (faces.race == name).to_numpy()) for name in sorted(faces.race.dropna().unique())]),
    ]
    groups = [(axis, name, scores_of(faces[mask])) for axis, members in axes for name, mask in members if mask.any()]
    return scores_of(faces), groups


def table(overall, groups) -> str:
    """The scores as text: value, interval and, for all faces together, the trivial answer."""
    from tabulate import tabulate

    def cell(estimate, scale, digits):
        if math.isnan(estimate.value):
            return "-"
        interval = (
            ""
            if math.isnan(estimate.low)
            else f" ({estimate.low * scale:.{digits}f}-{estimate.high * scale:.{digits}f})"
        )
        return f"{estimate.value * scale:.{digits}f}{interval}"

    def row(name, scores):
        return (
            name,
            scores.n,
            cell(scores.age_mae, 1, 2),
            f"{scores.age_mae.trivial:.2f}",
            cell(scores.cs5, 100, 1),
            f"{scores.cs5.trivial:.1%}",
            cell(scores.gender_accuracy, 100, 1),
            f"{scores.gender_accuracy.trivial:.1%}",
        )

    rows = [row("all", overall), *(row(f"{axis} {name}", scores) for axis, name, scores in groups)]
    headers = ("faces", "n", "age MAE (years)", "trivial", "CS@5 (%)", "trivial", "gender (%)", "trivial")
    return tabulate(rows, headers, stralign="right", colalign=("left",), disable_numparse=True)


def worst_groups(groups) -> str:
    """The group of each axis with the largest age error, and how far the best one is from it: one line an axis."""
    lines = []
    for axis in dict.fromkeys(axis for axis, *_ in groups):
        errors = {
            name: scores.age_mae
            for of, name, scores in groups
            if of == axis and scores.n >= LEAST_FACES and not math.isnan(scores.age_mae.value)
        }
        if len(errors) > 1:
            worst, best = (choose(errors, key=lambda name: errors[name].value) for choose in (max, min))
            value, low, high, _ = errors[worst]
            lines.append(
                f"worst by {axis}: {worst}, {value:.2f} years ({low:.2f}-{high:.2f}), "
                f"{value - errors[best].value:.2f} more than {best}"
            )
    return "\n".join(lines)


def metrics_of(overall, groups) -> dict[str, object]:
    """The scores as JSON takes them: what does not exist is None."""

    def plain(scores):
        estimates = {name: estimate._asdict() for name, estimate in scores._asdict().items() if name != "n"}
        return {
            "n": scores.n,
            **{
                name: {key: None if math.isnan(number) else number for key, number in values.items()}
                for name, values in estimates.items()
            },
        }

    return {**plain(overall), "groups": [{"by": axis, "name": name, **plain(scores)} for axis, name, scores in groups]}


def write_tables(folder: Path, metrics: dict[str, object], text: str, faces) -> None:
    """metrics.json, table.txt and predictions.csv."""
    from utils import replacing

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    with replacing(folder / "table.txt") as path:
        path.write_text(text + "\n", encoding="utf-8")
    with replacing(folder / "predictions.csv") as path:
        faces.to_csv(path, index=False, float_format="%.4f", errors="backslashreplace")


def write_plots(args, databases, rows, faces, p_age, overall, groups) -> None:
    """The five figures."""
    import plots
    from utils import ImageStack

    folder = args.output_dir
    age, gender, p_male = (faces[name].to_numpy() for name in ("age", "gender", "p_male"))
    aged, gendered = age != UNKNOWN, gender != UNKNOWN
    said = (p_male >= 0.5).astype(int)
    if aged.any():
        plots.save_true_against_expected(
            age[aged], faces.expected_age.to_numpy()[aged], gender[aged], folder / "true_against_expected.png"
        )
        bands = [
            {"name": name, "n": scores.n, "age_mae": scores.age_mae._asdict()}
            for axis, name, scores in groups
            if axis == "age"
        ]
        plots.save_error_by_decade(bands, overall.age_mae.value, folder / "error_by_decade.png")
        plots.save_mean_distributions(age[aged], p_age[aged], folder / "mean_distributions.png")
    if gendered.any():
        plots.save_gender_confusion(gender[gendered], said[gendered], folder / "gender_confusion.png")
    shown = np.sort(np.random.default_rng(args.seed).permutation(len(rows))[:SAMPLES])
    plots.save_samples(
        ImageStack(databases)[rows[shown]],
        age[shown],
        gender[shown],
        faces.expected_age.to_numpy()[shown],
        said[shown],
        folder / "samples.png",
    )


if __name__ == "__main__":
    cli.run(main)
