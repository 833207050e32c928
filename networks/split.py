"""Who trains, who validates, who is kept for a test: computed once a run, stored in its checkpoints, read from then on.

`split` computes it, `sides_of` is what a checkpoint stores of it, a byte for each face, and `past_of` reads from a
checkpoint what it has seen of some databases, whatever their order and whichever of them are there.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender.description import EARLIER, ON_NO_SIDE, TEST, TRAINING, VALIDATION, Description
from age_gender.files import digest
from age_gender.labels import UNKNOWN
from networks.benchmark import sides_in
from utils import Database, paths_of

SIDES = {"train": 0, "training": 0, "valid": 1, "val": 1, "validation": 1, "test": 2}  # part name -> side of the split
OWN_TABLES = {"csv", "folders"}  # readers whose name says nothing of whose faces these are
TEST_SEED = 2016  # of the test part, whatever the seed of the run


class Past(NamedTuple):
    """What a model has seen of some databases, n rows in all."""

    side: np.ndarray  # (n,) uint8: TRAINING, VALIDATION or TEST in its own training, else ON_NO_SIDE
    earlier: np.ndarray  # (n,) bool, whether a training that it went on from, or a teacher of it, trained on the face
    own: np.ndarray  # (n,) bool, whether the face is in a database of its own training
    # Whether more of the faces may have trained it: it was written by version 0.5.0 or before, or came from such a
    # model, and not all databases of that training are there.
    untold: bool

    @property
    def trained(self) -> np.ndarray:
        """(n,) bool, whether the face trained the model or one that it came from."""
        return (self.side == TRAINING) | self.earlier

    @property
    def chose(self) -> np.ndarray:
        """(n,) bool, whether the face chose and calibrated the model."""
        return self.side == VALIDATION

    @property
    def test(self) -> np.ndarray:
        """(n,) bool, whether the face was kept for a test."""
        return self.side == TEST


def past_of(databases: list[Database], description: Description) -> Past:
    """What a model, and those that it went on from or learned from, have seen of some databases, in any order."""
    prints = [database.fingerprint() for database in databases]
    known = description.split.get("databases", [])
    sides, untold = description.sides, bool(description.training.get("untold"))
    if not sides:
        sides, untold = _sides_by_recipe(databases, prints, description)
    found, own = [], []
    for name, count in zip(prints, map(len, databases), strict=True):
        found.append(sides[name] if len(sides.get(name, ())) == count else np.full(count, ON_NO_SIDE, np.uint8))
        own.append(np.full(count, name in known))
    marks = np.concatenate(found)
    return Past(marks & ~np.uint8(EARLIER), (marks & EARLIER) > 0, np.concatenate(own), untold)


def sides_of(
    databases: list[Database], rows: tuple[np.ndarray, np.ndarray, np.ndarray], earlier: Iterable[Description] = ()
) -> tuple[dict[str, np.ndarray], bool]:
    """What a run's checkpoints store of its split.

    Args:
        databases: of the run.
        rows: of training, validation and test, as `split` gives them.
        earlier: the models that the run goes on from, or learns from.

    Returns:
        sides: see `Description.sides`; of the databases of earlier trainings too.
        untold: whether it cannot be told which faces trained one of the earlier models.
    """
    marks = np.full(sum(map(len, databases)), ON_NO_SIDE, np.uint8)
    for side, chosen in zip((TRAINING, VALIDATION, TEST), rows, strict=True):
        marks[chosen] = side
    untold, others = False, {}
    for description in earlier:
        past = past_of(databases, description)
        marks[past.trained] |= EARLIER
        untold |= past.untold
        for name, sides in description.sides.items():
            seen = (sides & ~np.uint8(EARLIER) == TRAINING) | (sides & EARLIER > 0)
            others[name] = others.get(name, ON_NO_SIDE) | np.where(seen, EARLIER, 0).astype(np.uint8) | ON_NO_SIDE
    ends = np.cumsum([len(database) for database in databases])[:-1]
    own = zip((database.fingerprint() for database in databases), np.split(marks, ends), strict=True)
    return others | dict(own), untold


def _sides_by_recipe(
    databases: list[Database], prints: list[str], description: Description
) -> tuple[dict[str, np.ndarray], bool]:
    """The sides of a checkpoint of version 0.5.0 or before, which has only what `split` was asked; and whether those
    of one of its trainings cannot be told, since not all its databases are there."""
    marks = {name: np.full(len(each), ON_NO_SIDE, np.uint8) for name, each in zip(prints, databases, strict=True)}
    untold = False
    for how in splits_of(description):
        known = how.get("databases", [])
        if not known or not set(known) <= set(prints):
            untold |= bool(set(known) & set(prints))
            continue
        there = [databases[prints.index(name)] for name in known]
        more = {name: how[name] for name in ("test_split", "parts", "fold") if name in how}
        rows = split(there, how["validation_split"], how["seed"], **more)
        sides, _ = sides_of(there, rows)
        for name, found in sides.items():
            if how is description.split:
                marks[name] = found | (marks[name] & EARLIER)
            else:
                marks[name] |= np.where(found == TRAINING, EARLIER, 0).astype(np.uint8)
    return marks, untold


def splits_of(description: Description) -> list[dict]:
    """How the faces of all trainings were split that a model went through or learned from, its own first."""
    splits, waiting = [description.split], [description.training]
    while waiting:
        training = waiting.pop()
        earlier = [*training.get("teachers", []), *([training["start"]] if training.get("start") else [])]
        splits += [each["split"] for each in earlier]
        waiting += earlier
    return splits


def remade(database: Database, description: Description) -> bool:
    """Whether a training that a model went through had another database of the same people, so that no mark says which
    faces of this one trained it."""
    mark = database.fingerprint()
    return any(
        mark not in how.get("databases", []) and any(kindred(name, database.db) for name in _datasets(how, description))
        for how in splits_of(description)
    )


def datasets_of(description: Description) -> set[str]:
    """The names of the datasets that a model was trained on, as far as it says."""
    return {name for how in splits_of(description) for name in _datasets(how, description)}


def _datasets(how: dict, description: Description) -> list[str]:
    """The names of the datasets of one training; where the model's own says none, those of its files."""
    unsaid = [path.stem.removesuffix("_db") for path in description.inputs] if how is description.split else []
    return how.get("datasets", unsaid)


def kindred(name: str, other: str) -> bool:
    """Whether two datasets have the same people, as utkface and utkface_wild do; of tables of one's own, csv and
    folders, the names do not tell."""
    return name not in OWN_TABLES and (name.startswith(other) or other.startswith(name))


def split(
    databases: list[Database],
    validation_split: float,
    seed: int,
    test_split: float = 0.0,
    parts: bool = False,
    fold: int | None = None,
    folds: int | Path | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits the rows of some databases, taken one after the other, into training, validation and test.

    Nobody stands on two sides: faces of one person (a subject of one dataset) stay together, and so do
    byte-identical photos. Who is not known stands alone. The split depends on the seed and the labels alone; the test
    part does not even depend on the seed, so that runs with other seeds are compared on the same faces.

    The datasets' own parts are taken as they were published, even if they tear people apart. What is in no part is
    split as above; a face that belongs together with one of a part stands on no side.

    Args:
        databases: one or more.
        validation_split: the share of rows to hold out for choosing the checkpoint, in 0..1 exclusive.
        seed: any non-negative integer.
        test_split: the share of rows that nothing in the training sees, in 0..1.
        parts: whether rows of a part named train, valid or test (see SIDES) stand where it says.
        fold: the number of the fold, a part named fold_0, fold_1, ..., that is the test part; None means none.
        folds: where the folds are not the datasets' own, how many to make, the same whatever the seed; or a file of
            `benchmark`, whose splits they are, and what it does not have stands on no side.

    Returns:
        training, validation and test: sorted (k,) int64 rows; row numbers go on from one database to the next.

    Raises:
        ValueError: if training or validation would be empty, or test although it is asked for; if parts or a fold are
            asked for and no database has them.
    """
    groups = _groups(databases)
    side, unlisted = _sides(databases, groups, parts, fold, folds)
    if (parts or fold is not None) and np.all(side == UNKNOWN):
        wanted = "train, valid or test" if parts else f"fold_{fold}"
        found = ", ".join(sorted({name for database in databases for name in database.part_names})) or "none"
        raise ValueError(f"no database has parts named {wanted}; their parts: {found}")
    if not np.any(side == 1):  # then the training part gives some of its own for validation
        side[side == 0] = UNKNOWN
    sizes = np.bincount(groups)
    free = np.ones(len(sizes), bool)  # groups that stand on no side yet
    free[groups[(side != UNKNOWN) | unlisted]] = False
    count = int(sizes[free].sum())
    test = np.flatnonzero((side == 2) | _take(test_split * count, TEST_SEED, groups, sizes, free))
    validation = np.flatnonzero((side == 1) | _take(validation_split * count, seed, groups, sizes, free))
    training = np.flatnonzero((side == 0) | free[groups])
    if not len(training) or not len(validation) or (test_split and not len(test)):
        placed = f" (shares of the {count:,} faces that no part or fold places)" * (count < len(groups))
        raise ValueError(
            f"{len(groups)} faces of {len(sizes)} people cannot be split into training and validation at a share of "
            f"{validation_split:g}{f' and test at {test_split:g}' * bool(test_split)}{placed}; give more faces or "
            "another share"
        )
    return training, validation, test


def _sides(
    databases: list[Database], groups: np.ndarray, parts: bool, fold: int | None, folds: int | Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) int64: 0 training, 1 validation, 2 test where a row stands by its part or fold, else -1; and (n,) bool:
    which rows are to stand nowhere, since the file of the folds has them not."""
    if isinstance(folds, Path):
        side = sides_in(paths_of(databases, "a list of folds"), folds, fold or 0)
        return side, side == UNKNOWN
    if folds:
        side = np.where(_fold_of(groups, folds) == fold, 2, UNKNOWN)
    else:
        side = np.concatenate([_published_side(database, parts, fold) for database in databases])
    return side, np.zeros(len(groups), bool)


def _take(wanted: float, seed: int, groups: np.ndarray, sizes: np.ndarray, free: np.ndarray) -> np.ndarray:
    """(n,) bool: the rows of free groups, in random order until so many rows are reached; these are free no more."""
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[free[order]]
    reached = np.cumsum(sizes[order])
    taken = int(np.searchsorted(reached, wanted, side="right"))
    # One that would pass the share by more than it falls short stays out.
    if taken < len(order) and reached[taken] - wanted < wanted - (reached[taken - 1] if taken else 0):
        taken += 1
    chosen = np.zeros(len(sizes), bool)
    chosen[order[:taken]] = True
    free[chosen] = False
    return chosen[groups]


def _fold_of(groups: np.ndarray, folds: int) -> np.ndarray:
    """(n,) int64: which of some folds each row is in, whole groups in random order, folds of nearly equal size."""
    sizes = np.bincount(groups)
    order = np.random.default_rng(TEST_SEED).permutation(len(sizes))
    middle = np.cumsum(sizes[order]) - (sizes[order] + 1) / 2
    fold = np.empty(len(sizes), np.int64)
    fold[order] = middle * folds // len(groups)
    if len(np.unique(fold)) < folds:
        raise ValueError(f"{len(sizes):,} people, some with many more faces than others, do not make {folds} folds")
    return fold[groups]


def _published_side(database: Database, parts: bool, fold: int | None) -> np.ndarray:
    """(n,) int64: 0 training, 1 validation, 2 test where the dataset's own parts say so, else -1."""
    side = np.full(len(database), UNKNOWN)
    if database.part is not None:
        for number, name in enumerate(database.part_names):
            if parts and name.lower() in SIDES:
                side[database.part == number] = SIDES[name.lower()]
            if fold is not None and name == f"fold_{fold}":
                side[database.part == number] = 2
    return side


def _groups(databases: list[Database]) -> np.ndarray:
    """(n,) int64: the same number for rows that must stay on one side, numbered by their first rows.

    Rows are tied by their digests, and by their subjects: a subject is (db, subject), one person in all databases of a
    dataset. Five million rows take some seconds.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    digests = np.concatenate([_digests(database) for database in databases])
    names = sorted({database.db for database in databases})
    dataset = np.repeat([names.index(database.db) for database in databases], list(map(len, databases)))
    subject = np.concatenate([each.column("subject", UNKNOWN) for each in databases])
    known = np.flatnonzero(subject != UNKNOWN)
    people = known[np.lexsort((subject[known], dataset[known]))]
    ties = np.hstack([_tied(np.argsort(digests, kind="stable"), digests), _tied(people, subject, dataset)])
    graph = coo_array((np.ones(ties.shape[1], bool), tuple(ties)), shape=(len(digests), len(digests)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _tied(rows: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """Of rows sorted by keys, those next to each other that share theirs: (2, k)."""
    pairs = np.stack([rows[:-1], rows[1:]])
    return pairs[:, np.all([key[pairs[0]] == key[pairs[1]] for key in keys], axis=0)]


def _digests(database: Database) -> np.ndarray:
    if database.digest is not None:
        return database.digest
    return np.array([digest(image.tobytes()) for image in database.image], np.int64)
