"""How long does it take to open a database and read one batch of it, and how much memory?

    python benchmarks/open_database.py
    python benchmarks/open_database.py --gigabytes 100

utils.open_database on a database as large as WIKI's, and on one of many gigabytes (a sparse file: the disk need not
hold it, and its images never come from there). Peers: scipy.io.loadmat, and utils.open_database itself, on the small
one's content as a MATLAB 5 file. The physical limit is reading the bytes of one batch, row by row, with os.pread.
Each repetition is a fresh process, once with the file in the page cache and once without; imports are not counted.
Memory is what the process has more after than before: all of it, and the part that is no mapped file, which the
system cannot take back.
"""

import argparse
import os
from pathlib import Path

import common  # makes the suite's modules importable
import numpy as np
import scipy.io

from age_gender import cli
from utils import open_database

GIGABYTE = 1e9
MATLAB5_LIMIT = 4 * 2**30  # bytes of one array


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "open_database.py")
    parser.add_argument("--faces", type=cli.number(int, 64), default=38138, metavar="N", help="in the small database")
    parser.add_argument(
        "--gigabytes", type=cli.number(float, 0.001), default=20.0, metavar="GB", help="of the large one"
    )
    parser.add_argument("--image_size", type=cli.number(int, 32), default=64, metavar="PIXELS", help="of the faces")
    parser.add_argument("--batch_size", type=cli.number(int, 1), default=32, metavar="N", help="faces in a batch")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="gets a temporary folder with the databases")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Write the databases, measure each in processes of their own, report."""
    args = common.parse(build_parser(), argv, {"faces": 1024, "gigabytes": 1.0, "repeats": 2})
    with common.work_folder(args.folder) as folder:
        cases = write_databases(folder, args)
        figures = {(name, cached): [] for name in cases for cached in (True, False)}
        for repetition in range(-1, args.repeats):  # the first one warms up
            for name, cached in figures:
                found = in_fresh_process(*cases[name], cached, args)
                if repetition >= 0:
                    figures[name, cached].append(found)
        rows = [
            {
                "what": name,
                "file_mb": cases[name][1].stat().st_size / common.MEGABYTE,
                "in_page_cache": cached,
                **common.spreads(runs),
            }
            for (name, cached), runs in figures.items()
        ]
    in_cache = ["no", "yes"].__getitem__
    columns = {
        "": ("what", ""),
        "file MB": ("file_mb", ",.0f"),
        "in cache": ("in_page_cache", in_cache),
        "ms": ("milliseconds", ",.2f"),
        "MB gained": ("resident_mb", ",.1f"),
        "of it private": ("private_mb", ",.1f"),
    }
    common.show(rows, columns)
    common.report("open_database", args, rows)


def write_databases(folder: Path, args: argparse.Namespace) -> dict[str, tuple[str, Path]]:
    """Writes the files; name of the case -> (how it is read, file)."""
    face_bytes = args.image_size**2 * 3
    small, large, matlab5 = folder / "small.mat", folder / "large.mat", folder / "matlab5.mat"
    common.write_noise(small, args.faces, args.image_size)
    common.write_noise(large, int(args.gigabytes * GIGABYTE / face_bytes), args.image_size, sparse=True)
    cases = {
        "open_database": ("suite", small),
        "open_database, large": ("suite", large),
        "limit: the batch's bytes": ("bytes", small),
        "limit: the batch's bytes, large": ("bytes", large),
    }
    if args.faces * face_bytes < MATLAB5_LIMIT:
        database = open_database(small)
        columns = {"age": database.age[None], "gender": database.gender[None]}  # (1, n), as the original suite wrote
        scipy.io.savemat(matlab5, {"image": np.asarray(database.image), **columns})
        cases["scipy.io.loadmat, MATLAB 5"] = ("loadmat", matlab5)
        cases["open_database, MATLAB 5"] = ("suite", matlab5)
    return cases


def in_fresh_process(how: str, path: Path, cached: bool, args: argparse.Namespace) -> dict:
    """Measures in a process of its own, with the file in the page cache or dropped from it."""
    if not cached:
        common.drop_from_cache(path)
    given = measure, how, path, args.image_size, args.batch_size
    if cached:
        common.in_fresh_process(*given)  # brings into the cache what it needs
    return common.in_fresh_process(*given)


def measure(how: str, path: Path, image_size: int, batch_size: int) -> dict[str, float]:
    """Opens a file and reads a batch of random rows; returns milliseconds and the memory gained in MB."""
    face_bytes = image_size**2 * 3
    read = {"suite": with_suite, "loadmat": with_loadmat, "bytes": lambda *given: with_pread(*given, face_bytes)}[how]
    # The same rows each time: they are what the run before brought into the cache. All files have so many.
    rows = np.random.default_rng(0).integers(0, os.path.getsize(path) // face_bytes // 2, batch_size)
    resident, private = common.memory_mb("VmRSS"), common.memory_mb("RssAnon")
    kept = []
    seconds = common.seconds_of(lambda: kept.append(read(path, rows)))
    return {
        "milliseconds": seconds * 1e3,
        "resident_mb": common.memory_mb("VmRSS") - resident,
        "private_mb": common.memory_mb("RssAnon") - private,
    }


def with_suite(path: Path, rows):
    """The suite's way; returns what stays in use."""
    database = open_database(path)
    return database, database.image[rows]


def with_loadmat(path: Path, rows):
    """The classic way: all of the file is read."""
    content = scipy.io.loadmat(path)
    return content, content["image"][rows]


def with_pread(path: Path, rows, length: int):
    """The bytes alone, from where such rows lie in the file, more or less."""
    file = os.open(path, os.O_RDONLY)
    try:
        return [os.pread(file, length, int(row) * length) for row in rows]
    finally:
        os.close(file)


if __name__ == "__main__":
    cli.run(main)
