"""Which faces are scored: those that a training kept out, a dataset's own parts, a protocol's, or listed ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender.cli import counted
from age_gender.description import ON_NO_SIDE, Description
from age_gender.files import read_names
from age_gender.labels import UNKNOWN
from networks.benchmark import folder_of, folders_in, sides_in, splits_in
from networks.split import Past, past_of, remade
from utils import Database, paths_of

APPA_REAL = {"appa_real": "real age", "appa_real_apparent": "apparent age"}  # database -> whose age
ADIENCE_FOLDS = 5
PROTOCOLS = {
    "appa_real": "APPA-REAL's valid and test parts, against real and apparent ages (one database of each)",
    "adience": "Adience's five folds: five checkpoints, each trained with another --fold, and its own age groups",
    "parts": "every part that the databases' own authors made",
}


class FaceSet(NamedTuple):
    """Faces that are scored together.

    Attributes:
        name: short, for tables and folders.
        rows: (k,) int64, ascending; row numbers go on from one database to the next.
        says: which they are, in words, and what speaks against believing the scores.
        chose: (k,) bool, which of them chose the checkpoint and calibrated it.
        by_name: whether another checkpoint's set is the same only if its name is; else where its faces are.
        own: whether it is what the checkpoint's own training held out, whatever the databases are called.
    """

    name: str
    rows: np.ndarray
    says: str
    chose: np.ndarray
    by_name: bool = True
    own: bool = False


def kept_out(databases: list[Database], description: Description, part: str = "auto") -> list[FaceSet]:
    """The faces that a checkpoint's training kept out, and every face of databases that it was not trained on.

    Args:
        databases: the training's databases come from among them all or not at all; together they make one set, each
            other one makes a set of its own.
        description: of the checkpoint.
        part: of the training's databases: "test", "validation", "auto" (the test part, else the validation part), or
            "all".

    Raises:
        ValueError: if these parts cannot be told, or there is no such part.
    """
    past, known = past_of(databases, description), description.split.get("databases", [])
    own = [number for number, database in enumerate(databases) if database.fingerprint() in known]
    lacking = past.untold and len(own) < len(known)  # else its own parts are known, whatever an earlier training had
    if part in ("test", "validation") and not own or own and part != "all" and lacking:
        raise ValueError(
            "the faces held out can be told only with all the databases of the training: "
            f"{', '.join(map(str, description.inputs)) or 'unknown'}; --part all scores every face"
        )
    sets = []
    if own and part == "all":
        sets.append(_face_set("all", np.flatnonzero(past.own), databases, description, past))
    elif own:
        sets.append(_part(part, databases, description, past))
    for number, database in enumerate(databases):
        if number not in own:
            name = database.source.stem.removesuffix("_db")
            sets.append(_face_set(name, _rows(databases, number), databases, description, past))
    return [each._replace(by_name=False) for each in _distinct(sets)]


def published(protocol: str, databases: list[Database], description: Description) -> list[FaceSet]:
    """The faces of a protocol in PROTOCOLS.

    Raises:
        ValueError: if the databases do not have them, or the checkpoint is not one for it.
    """
    if protocol == "adience":
        if any(database.db != "adience" for database in databases) or adience_fold(description) is None:
            raise ValueError("--protocol adience takes checkpoints that were trained on Adience with --fold 0 to 4")
        return [kept_out(databases, description, "test")[0]._replace(name="own fold", by_name=True)]
    wanted = ("valid", "test") if protocol == "appa_real" else None
    past, sets = past_of(databases, description), []
    for number, database in enumerate(databases):
        if protocol == "appa_real" and database.db not in APPA_REAL:
            raise ValueError(f"--protocol appa_real takes its databases; {database.source} is of {database.db}")
        for index, name in enumerate(database.part_names if database.part is not None else ()):
            rows = _rows(databases, number)[database.part == index]
            if len(rows) and name in (wanted or (name,)):
                whose = APPA_REAL[database.db] if wanted else database.source.stem.removesuffix("_db")
                sets.append(_face_set(f"{name}, {whose}", rows, databases, description, past))
    if not sets:
        raise ValueError(f"--protocol {protocol}: no database has parts{' named valid or test' * bool(wanted)}")
    if wanted and (missing := set(APPA_REAL) - {database.db for database in databases}):
        note = f" (without {' and '.join(APPA_REAL[name] for name in sorted(missing))}: its database was not given)"
        sets = [each._replace(says=each.says + note) for each in sets]
    return list(_distinct(sets))


def adience_fold(checkpoint: Description) -> int | None:
    """The fold of its authors that a checkpoint kept out; None of another split, such as of --folds."""
    return None if checkpoint.split.get("folds") else checkpoint.split.get("fold")


def check_folds(checkpoints: list[Description]) -> None:
    """Refuses checkpoints that are not those of Adience's five folds, once each."""
    folds = list(map(adience_fold, checkpoints))
    if None in folds or sorted(folds) != list(range(ADIENCE_FOLDS)):
        received = ", ".join("none" if fold is None else str(fold) for fold in folds)
        raise ValueError(
            "--protocol adience takes five checkpoints, trained with --fold 0, 1, 2, 3 and 4; received folds "
            f"{received}"
        )


def listed(paths: list[Path], databases: list[Database], description: Description) -> list[FaceSet]:
    """The faces that lists name, a set for each list: paths below the dataset's folder, or bare file names.

    Of a file of the Facial Age Estimation Benchmark each split's test part is a set; of one without splits, all it has.

    Raises:
        ValueError: if a list cannot be read or names no face, or the databases do not say where their faces come from.
    """
    names = paths_of(databases, "--split_file")
    short = [name.rsplit("/", 1)[-1] for name in names]
    past, sets, known = past_of(databases, description), [], {*names, *short}
    for path in paths:
        if path.suffix.lower() == ".json":
            sets += _of_benchmark(path, names, databases, description, past)
            continue
        wanted = read_names(path, known.__contains__)
        rows = np.array([row for row, each in enumerate(zip(names, short, strict=True)) if wanted & set(each)], int)
        if not len(rows):
            raise ValueError(f"--split_file {path}: none of its {len(wanted):,} names is in the databases")
        missing = len(wanted - known)
        note = f" that {path} names" + f" ({missing:,} of its {len(wanted):,} names are in no database)" * bool(missing)
        sets.append(_face_set(path.stem, rows, databases, description, past, note))
    return list(_distinct(sets))


def _of_benchmark(
    path: Path, names: list[str], databases: list[Database], description: Description, past: Past
) -> Iterator[FaceSet]:
    """The test part of each split of a benchmark's file; all faces that it has, where it has no splits."""
    every, splits = [*names, *folders_in(path)], splits_in(path)  # its own photos too, to count what is not here
    chosen = [(f"{path.stem} split {number}", sides_in(every, path, number) == 2) for number in range(splits)]
    for name, mask in chosen or [(path.stem, folder_of(every, path) != UNKNOWN)]:
        rows, wanted = np.flatnonzero(mask[: len(names)]), int(mask[len(names) :].sum())
        if not len(rows):
            raise ValueError(f"--split_file {path}: the databases have no face of {name}, only such as {names[0]}")
        missing = wanted - len({names[row] for row in rows})
        note = f" that {path} has for its test" + f" ({missing:,} of its {wanted:,} are in no database)" * (missing > 0)
        yield _face_set(name, rows, databases, description, past, note)


def _distinct(sets: list[FaceSet]) -> Iterator[FaceSet]:
    """The same sets, each with a name of its own."""
    names = []
    for each in sets:
        count = names.count(each.name)
        names.append(each.name)
        yield each._replace(name=f"{each.name} ({count + 1})") if count else each


def _rows(databases: list[Database], number: int) -> np.ndarray:
    """All rows of one of the databases."""
    start = sum(map(len, databases[:number]))
    return np.arange(start, start + len(databases[number]))


def _part(part: str, databases: list[Database], description: Description, past: Past) -> FaceSet:
    """The test or the validation part of a training."""
    validation, test = np.flatnonzero(past.chose), np.flatnonzero(past.test)
    count = int(np.sum(past.side != ON_NO_SIDE))
    if part == "test" and not len(test):
        raise ValueError(
            "the checkpoint was trained without a test part (train.py --test_split, --fold, --split part); "
            "--part validation scores the faces that chose it"
        )
    if part == "test" or (part == "auto" and len(test)):
        name, rows, words = "test", test, f"the {counted(len(test))} of {count:,} that were kept for a test"
    else:
        flatter = "they chose the checkpoint, so the scores flatter a little"
        words = f"the {counted(len(validation))} held out of {count:,} ({flatter})"
        name, rows = "validation", validation
    if not len(rows):
        raise ValueError("none of the databases named has faces that were held out; --part all scores every face")
    seen = int(past.trained[rows].sum())
    if seen:
        words += f", {counted(seen, 'training face')} of an earlier training among them: the scores flatter"
    elif past.untold:
        words += ", perhaps training faces of an earlier training among them, which cannot be told"
    words += _of_people_it_saw(rows, databases, description)
    return FaceSet(name, rows, words, past.chose[rows], own=True)


def _face_set(
    name: str, rows: np.ndarray, databases: list[Database], description: Description, past: Past, note=""
) -> FaceSet:
    """A set that says 'all 30 faces', and what the checkpoint has seen of them."""
    words = f"{'all ' * (not note and 1 < len(rows) == len(past.trained))}{counted(len(rows))}{note}"
    seen, chose = int(past.trained[rows].sum()), past.chose[rows]
    if chose.any():
        words += f", {counted(chose.sum())} that chose the checkpoint among them"
    if seen:
        words += f", {counted(seen, 'training face')} among them: the scores flatter"
    elif past.untold:
        words += ", perhaps training faces among them, which cannot be told without all databases of the training"
    return FaceSet(name, rows, words + _of_people_it_saw(rows, databases, description), chose)


def _of_people_it_saw(rows: np.ndarray, databases: list[Database], description: Description) -> str:
    """What to add of faces that are in another database of a dataset than the one that trained the checkpoint."""
    owners = np.searchsorted(np.cumsum(list(map(len, databases))), rows, side="right")
    if any(remade(databases[number], description) for number in np.unique(owners)):
        return ", training faces perhaps among them: another database of the same people trained it"
    return ""
