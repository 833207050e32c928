# PYTHON_ARGCOMPLETE_OK
"""Scores checkpoints and exported files on face databases: tables, a report in HTML, JSON and CSV, and plots.

    python evaluate.py                                                    # newest run in checkpoints/
    python evaluate.py --weight_file weights.hdf5 --input data/utkface_db.mat --output_dir evaluation_output/utkface
    python evaluate.py --weight_file old.hdf5 new.hdf5 --input data/utkface_db.mat data/appa_real_db.mat
    python evaluate.py --protocol appa_real --input data/appa_real_db.mat data/appa_real_apparent_db.mat
    python evaluate.py --split_file published_test.txt --input data/utkface_db.mat
    python evaluate.py --weight_file model.onnx --input data/utkface_db.mat           # what export.py wrote
    python evaluate.py --compare checkpoints/*                            # one table of runs, best first
    python evaluate.py --calibrate                                        # fits the checkpoint's age intervals anew

On databases that a checkpoint was trained on, only the faces kept out of its training are scored: its test part, or
where it has none (train.py --test_split) the faces that chose it. Of other databases every face is scored, each
database apart. Of several checkpoints, each is compared with the first on the faces that both are scored on. Before
there is any run, it is the model that comes with the suite that is scored.
"""

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from age_gender import cli
from age_gender.description import ORIGIN_OURS
from age_gender.files import alone, real
from age_gender.intervals import UNSURE_BELOW, UNSURE_WITHIN
from age_gender.labels import AGE_SCALES
from evaluation import calibration
from evaluation.protocols import PROTOCOLS, check_folds, kept_out, listed, published
from networks import checkpoints, description_of, open_model, predict_rows
from readers.parts import require_parts
from utils import ImageStack, check_faces, labels_of, open_database


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(
        __doc__, "evaluate.py [--weight_file FILE ...] [--input FILE ...] [--output_dir DIR] [options]"
    )
    parser.add_argument(
        "--weight_file",
        **cli.PATHS,
        metavar="FILE",
        help="checkpoints of this suite or of the original one, exported files, or folders: their newest checkpoint "
        "(default: checkpoints)",
    )
    parser.add_argument(
        "--compare",
        **cli.PATHS,
        metavar="RUN",
        help="print one table of runs instead, best first: their folders, or checkpoints; what is no run is passed "
        "over, and so is one whose databases are not here, if there is no --input",
    )
    cli.add_trust(parser)
    cli.add_age_scale(parser, "fold ages onto groups and score these")
    parser.add_argument(
        "--unsure_below",
        **cli.numeric("P", float, *UNSURE_WITHIN, default=UNSURE_BELOW),
        help="count genders as unsure where the likelier one has a smaller probability, as demo.py does",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="first fit age intervals that hold nine of ten ages, and the gender's temperature, on the checkpoint's "
        "validation part and store them in the checkpoint, as train.py does at its end",
    )
    parser.add_argument("--output_dir", **cli.FOLDER, default=Path("evaluation_output"), help="folder for the results")
    parser.add_argument(
        "--seed", **cli.numeric("N", int, 0, default=0), help="random seed of the bootstrap and of the sample of faces"
    )
    faces = parser.add_argument_group("faces")
    cli.add_databases(faces, "databases (default: those the checkpoint was trained on)")
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
        **cli.PATHS,
        metavar="LIST",
        help="score the faces that a list names, one a line (of a CSV, the first column): paths below the dataset's "
        "folder or bare file names; or the test parts of a .json of the Facial Age Estimation Benchmark",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parse, refuse, score."""
    parser = build_parser()
    args = parser.parse_args(argv)
    chosen = [f"--{name}" for name in ("part", "protocol", "split_file") if getattr(args, name)]
    if len(chosen) > 1:
        parser.error(f"{' and '.join(chosen)} each say which faces to score: choose one")
    if args.compare and (args.weight_file or args.calibrate):
        parser.error("--compare names the runs and changes none: leave out --weight_file and --calibrate")
    descriptions = describe(args)
    with alone(args.output_dir / "evaluate", what=args.output_dir):
        score(args, descriptions, shlex.join(["evaluate.py", *(sys.argv[1:] if argv is None else argv)]))


def score(args: argparse.Namespace, descriptions: dict, command: str) -> None:
    """Score every model on every set of faces, compare, report; the page names the command."""
    from evaluation.comparisons import compared
    from evaluation.reports import report_on, report_runs
    from evaluation.runs import best_first

    scale = scale_of(args, list(descriptions.values()))
    evaluations, opened = [], {}
    for weight_file, description in descriptions.items():
        evaluations += evaluate(args, weight_file, description, scale or description.age_scale, opened)
    if args.compare:
        evaluations = best_first(evaluations)
        report_runs(evaluations, compared(evaluations, args.seed), args.output_dir)
        cli.result(output_dir=args.output_dir)
        return
    report_on(evaluations, compared(evaluations, args.seed), args.output_dir, args.seed, command)
    cli.result(output_dir=args.output_dir, metrics=args.output_dir / "metrics.json")


def describe(args: argparse.Namespace) -> dict:
    """What each model says of itself, by its file.

    Raises:
        ValueError: if one cannot be read, or what is asked for cannot be.
    """
    from evaluation.reports import refuse_foreign
    from evaluation.runs import runs_among

    if args.compare:
        args.weight_file, others = runs_among(args.compare)
        if not args.weight_file:
            raise ValueError(f"--compare: there is no run among {', '.join(map(str, args.compare[:5]))}")
        if others:
            print(f"passed over, no runs: {', '.join(map(str, others))}")
    files = list(dict.fromkeys(checkpoints.choose(path) for path in args.weight_file or [None]))
    if args.calibrate and for_want_of_a_run(args, files[0]):
        raise ValueError("there is no training in checkpoints/: name the checkpoint to calibrate with --weight_file")
    if args.output_dir.exists() and not args.output_dir.is_dir():
        raise ValueError(f"{args.output_dir} is a file; --output_dir names a folder")
    refuse_foreign(args.output_dir)
    for path in filter(checkpoints.is_exported, files):
        if args.calibrate:
            raise ValueError(f"{path} is an exported file: --calibrate takes the checkpoint that it was made from")
    descriptions = with_databases(args, files)
    if args.protocol == "adience":
        check_folds(list(descriptions.values()))
    return descriptions


def for_want_of_a_run(args: argparse.Namespace, path: Path) -> bool:
    """Whether it is the model that comes with the suite, taken because nothing is named and there is no run."""
    return not args.weight_file and real(path) == checkpoints.SHIPPED


def with_databases(args: argparse.Namespace, files: list[Path]) -> dict:
    """What each model says of itself, by its file. Those of --compare that have nothing to be scored on, neither
    --input nor the databases of their training, are passed over.

    Raises:
        ValueError: if another one has nothing, or none of --compare has.
    """
    descriptions = {}
    for path in files:
        knows = args.input or not checkpoints.is_exported(path)
        description = description_of(path, args.trust) if knows else None
        if args.input or not (lack := lack_of_databases(description)):
            descriptions[path] = description
        elif args.compare:
            print(cli.one_line(f"passed over, its databases are not here: {path} (--input names some)"))
        else:
            taken = for_want_of_a_run(args, path)
            model = f"there is no run in checkpoints/, so {path} was taken, which" if taken else path
            raise ValueError(f"{model} {lack}: name databases with --input")
    if not descriptions:
        raise ValueError("--compare: none of these runs has its databases here: name some with --input")
    return descriptions


def lack_of_databases(description) -> str:
    """Why a model cannot be scored on its training's databases, in words that follow its name; "" where it can.
    `description` None is of an exported file."""
    if description is None:
        return "is an exported file, which does not know its training"
    if not description.inputs:
        return "does not say what it was trained on"
    gone = [str(path) for path in description.inputs if not path.exists()]
    return f"was trained on databases that are not here ({', '.join(gone)})" if gone else ""


def scale_of(args: argparse.Namespace, descriptions: list):
    """The age scale on which all models are scored; None: each on its own, which is that of all."""
    scale = args.age_scale or (AGE_SCALES["adience"] if args.protocol == "adience" else None)
    if not scale and len({description.age_scale for description in descriptions}) > 1:
        raise ValueError("these checkpoints have other age scales: --age_scale names one that all can be folded onto")
    for description in descriptions:
        description.refuse_scale(scale or description.age_scale)
    return scale


def evaluate(args: argparse.Namespace, weight_file: Path, description, scale, opened: dict) -> list:
    """Score one model on each set of faces; `opened` are the databases that earlier ones were scored on, by path."""
    from evaluation.scoring import Scoring

    databases = open_databases(args.input, description, opened)
    images = ImageStack(databases, description.image_size)
    sets = choose_faces(args, databases, description)
    if args.calibrate:
        description = replace(description, calibration=calibrate(weight_file, description, databases, images))
    scoring = Scoring(weight_file, description, databases, images, scale, args.unsure_below, args.seed, args.trust)
    return scoring.evaluations(sets)


def open_databases(paths: list[Path] | None, description, opened: dict) -> list:
    """The databases to score on, each once; by default those of the training. What is opened is checked, and kept."""
    paths = list(dict.fromkeys(paths or description.inputs))
    require_parts(paths)
    for path in paths:
        if path not in opened:
            opened[path] = open_database(path)
            check_faces([opened[path]])
    databases = [opened[path] for path in paths]
    for database in databases:
        for difference in description.differs_from(database.margin, database.detector, database.align):
            print(f"warning: the faces of {database.source} were {difference}")
        if database.image_size != description.image_size:
            print(
                f"the faces of {database.source} are resized from {database.image_size} "
                f"to {description.image_size} pixels"
            )
    return databases


def choose_faces(args: argparse.Namespace, databases: list, description) -> list:
    """The sets of faces to score, see protocols.FaceSet."""
    if args.protocol:
        return published(args.protocol, databases, description)
    if args.split_file:
        return listed(args.split_file, databases, description)
    return kept_out(databases, description, args.part or "auto")


def calibrate(weight_file: Path, description, databases: list, images):
    """Fits intervals and temperature on the validation part, and stores them in the checkpoint."""
    if description.origin != ORIGIN_OURS:
        raise ValueError(
            f"{weight_file} was written by {description.origin}: --calibrate is for checkpoints of this suite"
        )
    rows = kept_out(databases, description, "validation")[0].rows
    if missing := set(description.split.get("databases", ())) - {each.fingerprint() for each in databases}:
        raise ValueError(
            f"--calibrate takes all databases of the training, whose validation faces it asks; {len(missing)} of them "
            "are not given: leave --input out, or name them too"
        )
    model = open_model(weight_file)
    found = calibration.calibrate(model, predict_rows(model, images, rows), *labels_of(databases, rows))
    print(f"{weight_file}: {calibration.calibration_in_words(found)}", flush=True)
    return found


if __name__ == "__main__":
    cli.run(main)
