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
from labels import (
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

CHECKPOINTS = Path("checkpoints")
SAMPLES = 40  # faces in the grid
HEADINGS = {  # of each score: its heading, its factor, its digits
    "age_mae": ("age MAE (years)", 1, 2),
    "cs5": ("CS@5 (%)", 100, 1),
    "exact": ("age group (%)", 100, 1),
    "one_off": ("one-off (%)", 100, 1),
    "gender_accuracy": ("gender (%)", 100, 1),
}
LEAST_FACES = 20  # of a group that can be called the worst: of fewer, the error says little


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "evaluate.py [--weight_file FILE] [--input FILE ...] [--output_dir DIR] [options]")
    parser.add_argument(
        "--weight_file",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="checkpoint of this suite or of the original one, or a folder: its newest (default: checkpoints); of "
        "several, such as those of five folds, each is scored on its own faces, with mean and deviation",
    )
    parser.add_argument(
        "--age_scale",
        type=cli.checked(age_scale),
        metavar="SCALE",
        help=f"fold ages onto groups and score these: {', '.join(AGE_SCALES)}, or groups of years such as "
        "0-12,13-17,18-100 (default: what the checkpoint was trained on)",
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
    """Score each checkpoint, and where there are several, their mean and deviation."""
    args = build_parser().parse_args(argv)
    from models import choose, inspect

    weight_files = [choose(path, CHECKPOINTS) for path in args.weight_file or [None]]
    if len(weight_files) == 1:
        evaluate(args, weight_files[0], args.output_dir)
        return
    if not args.age_scale and len({inspect(path).age_scale for path in weight_files}) > 1:
        raise ValueError("these checkpoints have other age scales: --age_scale names one that all can be folded onto")
    scores = []
    for number, weight_file in enumerate(weight_files, 1):
        scores.append(evaluate(args, weight_file, args.output_dir / str(number)))
        print()
    text = table_of_several(weight_files, scores)
    write_several(args.output_dir, weight_files, scores, text)
    print(
        f"{text}\n\neach on its own faces; deviation: of the sample. Folders 1 to {len(scores)} in {args.output_dir}/"
    )


def evaluate(args: argparse.Namespace, weight_file: Path, folder: Path):
    """Predict, score, write and report for one checkpoint; its scores over all faces."""
    from models import inspect

    checkpoint = inspect(weight_file)
    own = checkpoint.age_scale
    scale = args.age_scale or own
    fold_ages(np.zeros((1, len(own.groups))), own, scale)  # refuses a scale that does not fit before all the work
    databases = open_databases(args.input, checkpoint)
    rows, part = choose_rows(databases, checkpoint, args.part)
    faces, p_age = predict(weight_file, databases, rows)
    if scale != YEARS:
        add_groups(faces, p_age, databases, rows, own, scale)
    trivial, trivial_from = trivial_of(checkpoint, faces, scale)

    overall, groups = score_all(faces, trivial, scale, args.seed)
    text = f"{table(overall, groups)}\n\n{worst_groups(groups)}"
    origin = {
        "faces": part,
        "weight_file": str(weight_file),
        "input": [str(database.source) for database in databases],
        "age_scale": scale.name,
        "trivial": {**trivial, "from": trivial_from},
    }
    named = faces if scale == YEARS else with_names(faces, scale)
    write_tables(folder, {**metrics_of(overall, groups), **origin}, text, named)
    write_plots(folder, args.seed, databases, rows, faces, p_age, scale, overall, groups)
    print(f"{weight_file} on {', '.join(origin['input'])}: {part}")
    if scale != YEARS:
        say_what_is_in_no_group(faces, scale)
    answer = f"{scale.names[trivial['age']]}, {GENDERS[trivial['gender']]}"
    print(f"trivial answer: {answer} for every face ({trivial_from})\n")
    print(text)
    print(f"\nintervals: 95%, bootstrap over faces. Table, metrics.json, predictions.csv and plots in {folder}/")
    return overall


def add_groups(faces, p_age: np.ndarray, databases: list, rows: np.ndarray, own: AgeScale, scale: AgeScale) -> None:
    """Adds the true and the predicted age group of each face, their indices, and the probability between the groups."""
    true = [scale.group_of(database.age, database.age_low, database.age_high) for database in databases]
    folded, between = fold_ages(p_age, own, scale)
    faces["group"], faces["said"] = np.concatenate(true)[rows], folded.argmax(axis=1)
    faces["p_said"], faces["p_between"] = folded.max(axis=1), between


def with_names(faces, scale: AgeScale):
    """The table with the groups' names for their indices, "" for none, as predictions.csv has them."""
    names = np.array([*scale.names, ""], object)  # -1, none, takes the last
    return faces.assign(group=names[faces["group"]], said=names[faces["said"]])


def say_what_is_in_no_group(faces, scale: AgeScale) -> None:
    """Counts the faces whose age is in no group, and what of the predictions fell between groups."""
    outside = int((faces["group"] == UNKNOWN).sum())
    if outside:
        print(f"{outside:,} of {len(faces):,} faces have no age, or one in no group of {scale.name}: not scored by age")
    if faces.p_between.max() > 1e-6:  # rounding apart
        print(f"ages folded onto {scale.name}; {faces.p_between.mean():.1%} of the probability fell between its groups")


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
    from utils import kindred, split_again

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
    _, validation, test = split_again(databases, checkpoint.split)
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
    """A table with a row for each face, labels and predictions, and the age distributions, (n, k)."""
    import pandas as pd

    import backend
    import models
    from utils import ImageStack, read_paths

    print(f"computing on {backend.start()}", flush=True)
    model, checkpoint = models.load(weight_file)
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
            "expected_age": expected_age(p_age, checkpoint.age_scale.centres),
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


def trivial_of(checkpoint, faces, scale: AgeScale) -> tuple[dict[str, int], str]:
    """The training faces' median age, or commonest group, and commoner gender; of the faces scored, where the
    checkpoint does not know."""
    from metrics import trivial_answers

    age = "median age" if scale == YEARS else "commonest group"
    if checkpoint.trivial and checkpoint.age_scale == scale:
        return checkpoint.trivial, f"{age} and commoner gender of the training faces"
    column = faces.age if scale == YEARS else faces["group"]
    trivial = trivial_answers(column.to_numpy(), faces.gender.to_numpy(), scale)
    known = "knows those of another age scale" if checkpoint.trivial else "does not know its own"
    return trivial, f"{age} and commoner gender of these very faces: the checkpoint {known}"


def score_all(faces, trivial: dict[str, int], scale: AgeScale, seed: int):
    """Scores of all faces, and of each group of faces: (axis, name, scores), axes age, gender and race."""
    from metrics import score, score_groups

    def scores_of(chosen):
        gender, p_male = chosen.gender.to_numpy(), chosen.p_male.to_numpy()
        if scale == YEARS:
            return score(chosen.age.to_numpy(), gender, chosen.expected_age.to_numpy(), p_male, trivial, seed)
        return score_groups(chosen["group"].to_numpy(), gender, chosen.said.to_numpy(), p_male, trivial, seed)

    if scale == YEARS:
        bands = np.where(faces.age == UNKNOWN, UNKNOWN, decade_of(faces.age))
        names = [f"{low}-{high}" for low, high in DECADES]
    else:
        bands, names = faces["group"].to_numpy(), scale.names
    axes = [
        ("age", [(name, bands == index) for index, name in enumerate(names)]),
        ("gender", [(name, (faces.gender == index).to_numpy()) for index, name in enumerate(GENDERS)]),
        ("race", [(name, (faces.race == name).to_numpy()) for name in sorted(faces.race.dropna().unique())]),
    ]
    groups = [(axis, name, scores_of(faces[mask])) for axis, members in axes for name, mask in members if mask.any()]
    return scores_of(faces), groups


def estimates_of(scores) -> dict[str, object]:
    """The estimates among some scores, by name."""
    return {name: value for name, value in scores._asdict().items() if name != "n"}


def table(overall, groups) -> str:
    """The scores as text: value, interval and what the trivial answer reaches."""
    from tabulate import tabulate

    def cells(name, estimate):
        _, factor, digits = HEADINGS[name]
        if math.isnan(estimate.value):
            return "-", "-"
        low, high = (f"{end * factor:.{digits}f}" for end in (estimate.low, estimate.high))
        interval = "" if math.isnan(estimate.low) else f" ({low}-{high})"
        trivial = f"{estimate.trivial:.2f}" if factor == 1 else f"{estimate.trivial:.1%}"
        return f"{estimate.value * factor:.{digits}f}{interval}", trivial

    def row(name, scores):
        return (name, scores.n, *(cell for item in estimates_of(scores).items() for cell in cells(*item)))

    rows = [row("all", overall), *(row(f"{axis} {name}", scores) for axis, name, scores in groups)]
    headings = [text for name in estimates_of(overall) for text in (HEADINGS[name][0], "trivial")]
    return tabulate(rows, ("faces", "n", *headings), stralign="right", colalign=("left",), disable_numparse=True)


def table_of_several(weight_files: list[Path], scores: list) -> str:
    """One row a checkpoint, and their mean and standard deviation, as five-fold protocols report them."""
    from tabulate import tabulate

    names = list(estimates_of(scores[0]))
    values = np.array([[getattr(each, name).value * HEADINGS[name][1] for name in names] for each in scores])
    digits = [HEADINGS[name][2] for name in names]

    def cells(numbers):
        return [f"{number:.{places}f}" for number, places in zip(numbers, digits, strict=True)]

    rows = [
        *((path, each.n, *cells(row)) for path, each, row in zip(weight_files, scores, values, strict=True)),
        ("mean", "", *cells(values.mean(axis=0))),
        ("standard deviation", "", *cells(values.std(axis=0, ddof=1))),
    ]
    headings = ("checkpoint", "n", *(HEADINGS[name][0] for name in names))
    return tabulate(rows, headings, stralign="right", colalign=("left",), disable_numparse=True)


def write_several(folder: Path, weight_files: list[Path], scores: list, text: str) -> None:
    """table.txt and metrics.json of several checkpoints."""
    from utils import replacing

    means = {name: np.array([getattr(each, name).value for each in scores]) for name in estimates_of(scores[0])}
    said = {
        "checkpoints": [
            {"weight_file": str(path), **metrics_of(each, [])} for path, each in zip(weight_files, scores, strict=True)
        ],
        "mean": {name: plain_number(values.mean()) for name, values in means.items()},
        "standard_deviation": {name: plain_number(values.std(ddof=1)) for name, values in means.items()},
    }
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps(said, indent=1), encoding="utf-8")
    with replacing(folder / "table.txt") as path:
        path.write_text(text + "\n", encoding="utf-8")


def plain_number(value: float) -> float | None:
    """A number as JSON takes it: None for NaN."""
    return None if math.isnan(value) else float(value)


def worst_groups(groups) -> str:
    """The group of each axis that is served worst by age, and how far the best one is from it: one line an axis."""
    lines = []
    for axis in dict.fromkeys(axis for axis, *_ in groups):
        results = {
            name: next(iter(estimates_of(scores).values()))  # the age's foremost
            for of, name, scores in groups
            if of == axis and scores.n >= LEAST_FACES
        }
        results = {name: estimate for name, estimate in results.items() if not math.isnan(estimate.value)}
        if len(results) < 2:
            continue
        years = any(hasattr(scores, "age_mae") for of, _, scores in groups if of == axis)
        worst, best = (choose(results, key=lambda name: results[name].value) for choose in (max, min))
        if not years:
            worst, best = best, worst
        if results[worst].value == results[best].value:
            continue
        value, low, high, _ = results[worst]
        away = abs(value - results[best].value)
        if years:
            lines.append(
                f"worst by {axis}: {worst}, {value:.2f} years ({low:.2f}-{high:.2f}), {away:.2f} more than {best}"
            )
        else:
            lines.append(
                f"worst by {axis}: {worst}, {value:.1%} ({low:.1%}-{high:.1%}) in the right age group, "
                f"{100 * away:.1f} points less than {best}"
            )
    return "\n".join(lines)


def metrics_of(overall, groups) -> dict[str, object]:
    """The scores as JSON takes them: what does not exist is None."""

    def plain(scores):
        estimates = {name: each._asdict() for name, each in estimates_of(scores).items()}
        return {
            "n": scores.n,
            **{
                name: {key: plain_number(number) for key, number in values.items()}
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


def write_plots(folder: Path, seed: int, databases, rows, faces, p_age, scale: AgeScale, overall, groups) -> None:
    """The figures: of ages in years five, of age groups three."""
    import plots
    from utils import ImageStack

    age, gender, p_male = (faces[name].to_numpy() for name in ("age", "gender", "p_male"))
    gendered = gender != UNKNOWN
    said = (p_male >= 0.5).astype(int)
    if scale == YEARS:
        aged = age != UNKNOWN
        true_ages = [str(year) if year != UNKNOWN else "?" for year in age]
        said_ages = [f"{year:.0f}" for year in faces.expected_age]
    else:
        group, said_group = faces["group"].to_numpy(), faces.said.to_numpy()
        aged = group != UNKNOWN
        true_ages = [scale.names[index] if index != UNKNOWN else "?" for index in group]
        said_ages = [scale.names[index] for index in said_group]
    if aged.any() and scale == YEARS:
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
    elif aged.any():
        plots.save_confusion(
            group[aged], said_group[aged], scale.names, "age group", folder / "age_group_confusion.png"
        )
    if gendered.any():
        plots.save_confusion(gender[gendered], said[gendered], GENDERS, "gender", folder / "gender_confusion.png")
    shown = np.sort(np.random.default_rng(seed).permutation(len(rows))[:SAMPLES])
    plots.save_samples(
        ImageStack(databases)[rows[shown]],
        [f"{true_ages[row]}, {GENDERS[gender[row]] if gendered[row] else '?'}" for row in shown],
        [f"{said_ages[row]}, {GENDERS[said[row]]}" for row in shown],
        (gendered & (said != gender))[shown],
        folder / "samples.png",
    )


if __name__ == "__main__":
    cli.run(main)
