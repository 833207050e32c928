"""What does it cost to open a database that is not in memory, and to train from it?

    python benchmarks/open_database.py
    python benchmarks/open_database.py --faces 1000000 --folder /some/disk

Batches of random faces, as training takes them, of a database whose pages are dropped from memory before each
repetition: through the memory map, and as utils.Database.faces reads them. What comes from the disk is what Linux
counts for the process (/proc/self/io, read_bytes). Then the batches of an epoch as train.py makes them with --aug, in
threads: from memory, and from the disk. The last column is the time that each batch waits for the disk, as a share of
a network's step of --step_ms milliseconds, if one thread makes the batches; several threads wait side by side.
Opening the database is timed too, and what memory that takes. Each repetition is a fresh process.
"""

import argparse
import time
from pathlib import Path

import common  # makes the suite's modules importable
import numpy as np

from age_gender import cli
from utils import ImageStack, open_database

MAP, READ = "memory map", "Database.faces"
MEMORY, DISK = "batches from memory", "batches from the disk"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "open_database.py", repeats=3)
    parser.add_argument("--faces", **cli.numeric("N", int, 2048, default=100_000), help="in the database")
    parser.add_argument("--image_size", **cli.numeric("PIXELS", int, 32, default=64), help="of the faces")
    parser.add_argument("--batch_size", **cli.numeric("N", int, 1, default=32), help="faces in a batch")
    parser.add_argument("--batches", **cli.numeric("N", int, 1, default=300), help="in each repetition")
    parser.add_argument("--step_ms", **cli.numeric("MS", float, 0.01, default=100.0), help="of a network's step")
    parser.add_argument("--folder", **cli.FOLDER, help="gets a temporary folder with the database")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Write the database, measure in processes of their own, report."""
    args = common.parse(build_parser(), argv, {"faces": 8192, "batches": 20, "repeats": 1})
    figures = {way: [] for way in (MAP, READ, MEMORY, DISK)}
    with common.work_folder(args.folder) as folder:
        path = folder / "faces.mat"
        common.write_noise(path, args.faces, args.image_size)
        for way in common.in_turns(figures, args.repeats):
            common.drop_from_cache(path)
            figures[way].append(common.in_fresh_process(measure, way, path, args.batch_size, args.batches))
    rows = [{"what": way, **common.spreads(runs)} for way, runs in figures.items()]
    waited = rows[3]["milliseconds_per_batch"]["median"] - rows[2]["milliseconds_per_batch"]["median"]
    rows[3]["share_of_a_step"] = waited / args.step_ms
    columns = {
        "": ("what", ""),
        "ms to open": ("milliseconds_to_open", ",.1f"),
        "MB to open": ("opened_mb", ",.1f"),
        "faces/s": ("faces_per_second", ",.0f"),
        "bytes read for each": ("read_for_each_byte", ".2f"),
        "ms a batch": ("milliseconds_per_batch", ".2f"),
        f"of a step of {args.step_ms:g} ms": ("share_of_a_step", ".1%"),
    }
    common.show(rows, columns)
    common.report("open_database", args, rows)


def measure(way: str, path: Path, size: int, count: int) -> dict[str, float]:
    """Time and memory to open; faces a second, bytes from the disk for each asked for, milliseconds a batch, of so many
    batches of so many faces, made in one of the four ways."""
    memory, started = common.memory_mb("RssAnon"), time.perf_counter()
    database = open_database(path)
    opened = {
        "milliseconds_to_open": (time.perf_counter() - started) * 1e3,
        "opened_mb": common.memory_mb("RssAnon") - memory,
    }
    rows = np.random.default_rng(0).permutation(len(database))[: size * count].reshape(-1, size)
    if way in (MEMORY, DISK):
        make, asked = batches(database, way, size), range(len(rows))
    else:
        make, asked = database.image.__getitem__ if way == MAP else database.faces, rows
    before = from_disk()
    seconds = common.seconds_of(lambda: list(map(make, asked)))
    return {
        **opened,
        "faces_per_second": rows.size / seconds,
        "read_for_each_byte": (from_disk() - before) / (rows.size * database.image[:1].nbytes),
        "milliseconds_per_batch": seconds * 1e3 / len(rows),
    }


def batches(database, way: str, size: int):
    """Makes a batch by its index, as train.py --aug does."""
    images = ImageStack([database])
    if way == MEMORY:
        images = images[np.arange(len(images))]
        common.drop_from_cache(database.source)
    return common.training_batches(images, database.gender, database.age, size).__getitem__


def from_disk() -> int:
    """Bytes that this process has had read from a disk (Linux)."""
    lines = dict(line.split(": ") for line in common.lines_of("/proc/self/io"))
    return int(lines["read_bytes"])


if __name__ == "__main__":
    cli.run(main)
