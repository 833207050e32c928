"""The splits of the Facial Age Estimation Benchmark (Paplham and Franc, CVPR 2024, arXiv:2307.04570), from its JSONs.

Each file is a list of entries; of an entry `img_path`, the photo, and `folder`, a number, are read. Which folders make
which splits is not in the files: it is in the README beside them, and in the authors' benchmarks/*.yaml.
"""

import json
from pathlib import Path

import numpy as np

from age_gender.files import plain_path, reading, why_absent
from age_gender.labels import UNKNOWN

TESTS = {  # number of folders -> those of the test part of each split; as many before them validate
    3: ((2,),),
    5: ((4,), (3,), (2,), (1,), (0,)),
    10: ((8, 9), (0, 1), (2, 3), (3, 4), (4, 5)),
}
MOST_FOLDERS = 1 << 20


def splits_in(path: Path) -> int:
    """How many splits a file's folders make; 0 where it is for tests alone, as FG-NET's with a folder for each person.
    Raises as `folders_in` does."""
    return len(TESTS.get(folder_count(path), ()))


def folder_count(path: Path) -> int:
    """How many folders a file has. Raises as `folders_in` does."""
    return max(folders_in(path).values()) + 1


def folders_in(path: Path) -> dict[str, int]:
    """The folder of each photo that a file names.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no such file.
    """
    with reading(path, f"{path} is no database of the Facial Age Estimation Benchmark"):
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there")
        if not path.is_file():
            raise ValueError(f"{path} {why_absent(path)}")
        found: dict[str, int] = {}
        for entry in json.loads(path.read_text(encoding="utf-8-sig")):
            name, folder = plain_path(str(entry["img_path"])), entry["folder"]
            if type(folder) is not int or not 0 <= folder < MOST_FOLDERS:
                raise ValueError(f"{name} is in folder {folder!r}; folders are numbers from 0")
            if found.setdefault(name, folder) != folder:
                raise ValueError(f"{name} is in two folders, {found[name]} and {folder}")
        if not found:
            raise ValueError("it has no entries with img_path and folder")
        return found


def folder_of(names: list[str], path: Path) -> np.ndarray:
    """The folder of each of some photos, (n,) int64, -1 where the file has it not.

    Args:
        names: paths below a dataset's folder; the file's paths end in them. What two of them end in is neither.
        path: the file.
    """
    tails: dict[str, int] = {"": UNKNOWN}
    for entry, folder in folders_in(path).items():
        parts = entry.split("/")
        for tail in ("/".join(parts[start:]) for start in range(len(parts))):
            tails[tail] = folder if tails.setdefault(tail, folder) == folder else UNKNOWN
    return np.array([tails.get(name, UNKNOWN) for name in names], np.int64)


def sides_in(names: list[str], path: Path, split: int) -> np.ndarray:
    """Where each of some photos stands in a split: (n,) int64, 0 training, 1 validation, 2 test, -1 in none of them.

    Raises:
        ValueError: if there is no such split, or the file has none of the photos.
    """
    tests = TESTS.get(folders := folder_count(path), ())
    if split >= len(tests):
        raise ValueError(f"{path} has {f'splits 0 to {len(tests) - 1}' if tests else 'no splits, for tests alone'}")
    folder = folder_of(names, path)
    if np.all(folder == UNKNOWN):
        raise ValueError(f"{path} has none of the photos of the databases, such as {next(iter(names), 'none')}")
    test = np.array(tests[split])
    side = np.where(np.isin(folder, test), 2, np.where(np.isin(folder, (test - len(test)) % folders), 1, 0))
    return np.where(folder == UNKNOWN, UNKNOWN, side)
