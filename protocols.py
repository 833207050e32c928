"""Which faces are scored: those that a training kept out, a dataset's own parts, a protocol's, or listed ones."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils import Database, kindred, read_names, read_paths, split_again

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
        calibrated_on: whether they are the faces that the checkpoint's intervals were fitted on.
    """

    name: str
    rows: np.ndarray
    says: str
    calibrated_on: bool = False


def kept_out(databases: list[Database], checkpoint, part: str = "auto") -> list[FaceSet]:
    """The faces that a checkpoint's training kept out, and every face of databases that it was not trained on.

    Args:
        databases: the training's databases come from among them all or not at all; together they make one set, each
            other one makes a set of its own.
        checkpoint: models.Checkpoint.
        part: of the training's databases: "test", "validation", "auto" (the test part, else the validation part), or
            "all".

    Raises:
        ValueError: if these parts cannot be told, or there is no such part.
    """
    known = checkpoint.split.get("databases", [])
    given = [database.fingerprint() for database in databases]
    own = [number for number, fingerprint in enumerate(given) if fingerprint in known]
    if part in ("test", "validation") and not own or own and part != "all" and not _all_there(known, given):
        raise ValueError(
            "the faces held out can be told only with all the databases of the training, in their order: "
            f"{', '.join(checkpoint.training.get('arguments', {}).get('input', [])) or 'unknown'}; "
            "--part all scores every face"
        )
    sets = []
    if own and part == "all":
        sets.append(FaceSet("all", np.concatenate([_rows(databases, number) for number in own]), ""))
    elif own:
        sets.append(_part(databases, checkpoint.split, part))
    names = [database.source.stem.removesuffix("_db") for database in databases]
    sets += [
        FaceSet(names[number], _rows(databases, number), "") for number in range(len(databases)) if number not in own
    ]
    return [each if each.says else each._replace(says=_in_words(each.rows, databases, checkpoint)) for each in sets]


def published(protocol: str, databases: list[Database], checkpoint) -> list[FaceSet]:
    """The faces of a protocol in PROTOCOLS.

    Raises:
        ValueError: if the databases do not have them, or the checkpoint is not one for it.
    """
    if protocol == "adience":
        if any(database.db != "adience" for database in databases) or checkpoint.split.get("fold") is None:
            raise ValueError("--protocol adience takes checkpoints that were trained on Adience with --fold 0 to 4")
        (test,) = kept_out(databases, checkpoint, "test")
        return [test._replace(name="own fold")]
    wanted = ("valid", "test") if protocol == "appa_real" else None
    sets = []
    for number, database in enumerate(databases):
        if protocol == "appa_real" and database.db not in APPA_REAL:
            raise ValueError(f"--protocol appa_real takes its databases; {database.source} is of {database.db}")
        for index, name in enumerate(database.part_names if database.part is not None else ()):
            rows = _rows(databases, number)[database.part == index]
            if len(rows) and name in (wanted or (name,)):
                whose = APPA_REAL[database.db] if wanted else database.source.stem.removesuffix("_db")
                sets.append(FaceSet(f"{name}, {whose}", rows, _in_words(rows, databases, checkpoint)))
    if not sets:
        raise ValueError(f"--protocol {protocol}: no database has parts{' named valid or test' * bool(wanted)}")
    return sets


def check_folds(checkpoints: list) -> None:
    """Refuses checkpoints that are not those of Adience's five folds, once each."""
    folds = sorted(checkpoint.split.get("fold", -1) for checkpoint in checkpoints)
    if folds != list(range(ADIENCE_FOLDS)):
        raise ValueError(
            "--protocol adience takes five checkpoints, trained with --fold 0, 1, 2, 3 and 4; received folds "
            f"{', '.join(map(str, folds))}"
        )


def listed(paths: list[Path], databases: list[Database], checkpoint) -> list[FaceSet]:
    """The faces that lists name, a set for each list: paths below the dataset's folder, or bare file names.

    Raises:
        ValueError: if a list cannot be read or names no face, or the databases do not say where their faces come from.
    """
    names = [name for database in databases for name in read_paths(database.source)]
    if len(names) < sum(map(len, databases)):
        raise ValueError("the databases do not say which photos their faces come from: --split_file needs that")
    short = [name.rsplit("/", 1)[-1] for name in names]
    sets = []
    for path in paths:
        wanted = read_names(path)
        rows = np.array(
            [row for row, (name, end) in enumerate(zip(names, short, strict=True)) if {name, end} & wanted], int
        )
        if not len(rows):
            raise ValueError(f"--split_file {path}: none of its {len(wanted):,} names is in the databases")
        missing = len(wanted - set(names) - set(short))
        note = f" that {path} names" + f" ({missing:,} of its {len(wanted):,} names are in no database)" * bool(missing)
        sets.append(FaceSet(path.stem, rows, _in_words(rows, databases, checkpoint, note)))
    return sets


def _rows(databases: list[Database], number: int) -> np.ndarray:
    """All rows of one of the databases."""
    start = sum(map(len, databases[:number]))
    return np.arange(start, start + len(databases[number]))


def _all_there(known: list[str], given: list[str]) -> bool:
    """Whether all databases of a training are among the given ones."""
    return bool(known) and set(known) <= set(given)


def _sides(databases: list[Database], how: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training, validation and test rows of a recorded split, all of whose databases are among the given ones."""
    given = [database.fingerprint() for database in databases]
    order = [given.index(fingerprint) for fingerprint in how["databases"]]
    sides = split_again([databases[number] for number in order], how)
    place = np.concatenate([_rows(databases, number) for number in order])
    return tuple(np.sort(place[rows]) for rows in sides)


def _part(databases: list[Database], how: dict, part: str) -> FaceSet:
    """The test or the validation part of a training."""
    training, validation, test = _sides(databases, how)
    count = len(training) + len(validation) + len(test)
    if part == "test" and not len(test):
        raise ValueError(
            "the checkpoint was trained without a test part (train.py --test_split, --fold, --split part); "
            "--part validation scores the faces that chose it"
        )
    if part == "test" or (part == "auto" and len(test)):
        return FaceSet("test", test, f"the {len(test):,} faces of {count:,} that were kept for a test")
    flatter = "they chose the checkpoint, so the scores flatter a little"
    return FaceSet("validation", validation, f"the {len(validation):,} faces held out of {count:,} ({flatter})", True)


def _in_words(rows: np.ndarray, databases: list[Database], checkpoint, note: str = "") -> str:
    """'all 30 faces', and what the checkpoint has seen of them."""
    count = sum(map(len, databases))
    words = f"{'all ' * (not note and len(rows) == count)}{len(rows):,} faces{note}"
    given = [database.fingerprint() for database in databases]
    trained, untold = np.zeros(count, bool), False
    for how in splits_of(checkpoint):
        known = how.get("databases", [])
        if _all_there(known, given):
            trained[_sides(databases, how)[0]] = True
        else:
            untold = untold or bool(set(known) & set(given))
    seen = int(trained[rows].sum())
    if seen:
        return f"{words}, {seen:,} training faces among them: the scores flatter"
    if untold:
        return f"{words}, perhaps training faces among them, which cannot be told without all databases of the training"
    concerned = [databases[number] for number in _owners(rows, databases)]
    if not checkpoint.split.get("databases") or not set(given) & set(checkpoint.split["databases"]):
        if any(kindred(name, database.db) for name in datasets_of(checkpoint) for database in concerned):
            return f"{words} of a dataset that it was trained on: training faces may be among them"
    return words


def _owners(rows: np.ndarray, databases: list[Database]) -> list[int]:
    """The numbers of the databases that some rows are of."""
    ends = np.cumsum(list(map(len, databases)))
    return np.unique(np.searchsorted(ends, rows, side="right")).tolist()


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
