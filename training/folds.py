"""`train.py --fold all`: one training for each fold, each in a folder of its own."""

import re
from pathlib import Path

from networks.benchmark import splits_in
from networks.checkpoints import best_of, inspect, is_exported
from readers.parts import with_all_parts
from training.arguments import files_first
from training.data import newest_database
from training.options import PUBLISHED
from training.resume import RESUME_FILE
from utils import open_database

ALL = "all"


def every_fold(parser, argv: list[str]) -> list[tuple[Path, list[str]]] | None:
    """The folder and the arguments of each fold's training; None where not all folds are asked for.

    With --resume the folds that are finished are left out.

    Raises:
        FileNotFoundError, ValueError: if there are no folds, or it cannot be told.
    """
    argv = files_first(parser, argv)
    args = parser.parse_args(argv)
    if args.fold != ALL:
        return None
    top, found = args.output_dir / (args.run or ""), []
    for name, paths in (("weight_file", [args.weights]), ("teacher", args.teacher or [])):
        folders = [Path(path) for path in paths if path and path not in PUBLISHED and Path(path).is_dir()]
        if any(top.resolve().is_relative_to(each.resolve()) and not is_exported(each) for each in folders):
            parser.error(f"--fold all: --{name} must name a file: the newest run of a folder would be the fold before")
    inputs = args.input or with_all_parts(newest_database())
    numbers = range(args.folds) if isinstance(args.folds, int) else _folds_of(args.folds, inputs)
    asked = args.resume and [_said(args.folds), [open_database(path).fingerprint() for path in inputs]]
    for number in numbers:
        name = f"fold_{number}"
        where = ["--output_dir", str(top), "--run", name] if args.run else ["--output_dir", str(top / name)]
        best = best_of(top / name) if args.resume and not (top / name / RESUME_FILE).exists() else None
        if best and (done := inspect(best)).calibration:  # which comes last of all
            if done.split and [_said(done.split.get("folds")), done.split.get("databases")] != asked:
                parser.error(f"{top / name} has a fold of other databases or another --folds; take another folder")
            print(f"{top / name} is finished")
            continue
        found.append((top / name, [*argv, "--fold", str(number), *where]))
    return found


def _said(folds: int | Path | str | None) -> str | None:
    """How many folds, or the name of the file that has them, wherever it lies."""
    return folds and Path(str(folds)).name


def _folds_of(file: Path | None, databases: list[Path]) -> list[int]:
    """The numbers of the folds that a benchmark's file, or the databases' own authors, made."""
    if file:
        if not (splits := splits_in(file)):
            raise ValueError(f"{file} has no splits to train on: it is for tests alone")
        return list(range(splits))
    parts = {name for path in databases for name in open_database(path).part_names}
    if numbers := sorted(int(found[1]) for name in parts if (found := re.fullmatch(r"fold_(\d+)", name))):
        return numbers
    raise ValueError("--fold all: no database has folds of its own; --folds 5 makes five, whole people at a time")
