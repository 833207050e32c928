"""How do time and memory of create_db.py and of an epoch's batches grow with the faces?

    python benchmarks/scale.py
    python benchmarks/scale.py --rows 38138 --photo 200 --image_size 224 --repeats 3

Gives a few hundred pictures of noise as many names as there are rows, and a table; then runs create_db.py on them, and
then opens the database, splits it, and makes all batches of an epoch with --aug on one thread: what a training needs
beside its network, which costs the same for each face however many there are. Each is a process of its own, timed from
outside, start of Python included. Peer: cv2.imread and cv2.resize of each photo, one after the other, which keeps
nothing. The curves go into a PNG beside the result.
"""

import argparse
import csv
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import common  # makes the suite's modules importable
import cv2
import numpy as np

from age_gender import cli

ROWS = [10_000, 50_000, 250_000, 500_000]
FILES = 400  # different ones
CREATE, EPOCH, PLAIN = "create_db.py", "an epoch's batches", "read and resize"
COLUMNS = {
    "": ("what", ""),
    "rows": ("rows", ","),
    "s": ("seconds", ",.1f"),
    "rows/s": ("rows_per_second", ",.0f"),
    "peak MB": ("peak_mb", ",.0f"),
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "scale.py", repeats=1)
    parser.add_argument(
        "--rows", nargs="+", **cli.numeric("N", int, 400, default=ROWS), help="faces, one run for each number"
    )
    parser.add_argument("--photo", **cli.numeric("PIXELS", int, 64, default=100), help="of a photo's side")
    parser.add_argument("--image_size", **cli.numeric("PIXELS", int, 32, default=64), help="of the faces")
    parser.add_argument("--folder", **cli.FOLDER, help="gets a temporary folder with photos and databases")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Draw, measure for each number of rows, report, draw the curves."""
    args = common.parse(build_parser(), argv, {"rows": [400, 800]})
    rows = []
    for count in args.rows:
        with common.work_folder(args.folder) as folder:
            write_photos(folder, count, args.photo)
            rows += measure(folder, count, args)
    common.show(rows, COLUMNS)
    common.report("scale", args, rows)
    draw(rows, (args.output or common.RESULTS / f"scale{'.quick' if args.quick else ''}.json").with_suffix(".png"))


def write_photos(folder: Path, count: int, size: int) -> None:
    """A table of so many photos, which are a few hundred different ones under many names."""
    rng = np.random.default_rng(0)
    with open(folder / "faces.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "age", "gender", "subject"))
        for number in range(count):
            name = f"{number // 1000:04}/{number}.jpg"
            path = folder / name
            if number % 1000 == 0:
                path.parent.mkdir()
            if number < FILES:
                noise = cv2.resize(rng.integers(0, 256, (25, 25, 3), np.uint8), (size, size))
                cv2.imwrite(str(path), noise)
            else:
                os.link(folder / f"{0:04}/{number % FILES}.jpg", path)
            table.writerow((name, number % 90, "fm"[number % 2], number // 3))


def measure(folder: Path, count: int, args: argparse.Namespace) -> list[dict]:
    """The figures of so many photos."""
    database = folder / "faces.mat"
    tasks = {
        CREATE: partial(common.in_fresh_process, create, folder / "faces.csv", database, args.image_size),
        EPOCH: partial(common.in_fresh_process, make_batches, database),
        PLAIN: partial(read_and_resize, folder, args.image_size),
    }
    return [figures(what, count, task, args.repeats) for what, task in tasks.items()]


def figures(what: str, count: int, task: Callable[[], float | None], repeats: int) -> dict:
    """How long a task takes, its speed, and the memory in MB that it returns, if any; says the time at once."""
    peaks: list[float | None] = []
    seconds = [common.seconds_of(lambda: peaks.append(task())) for _ in range(repeats)]
    print(f"{count:,} rows, {what}: {min(seconds):.1f} s", flush=True)
    return {
        "what": what,
        "rows": count,
        "seconds": common.spread(seconds),
        "rows_per_second": common.rates(count, seconds),
        **({} if None in peaks else {"peak_mb": common.spread(peaks)}),
    }


def read_and_resize(folder: Path, size: int) -> None:
    """The plain loop over all photos."""
    for path in folder.rglob("*.jpg"):
        cv2.resize(cv2.imread(str(path)), (size, size), interpolation=cv2.INTER_AREA)


def create(table: Path, database: Path, size: int) -> float:
    """Runs create_db.py in this process; the most memory that it had, in MB."""
    import create_db

    words = ["--db", "csv", "--table", table, "--img_size", size, "--overwrite", "--output", database, "--quiet"]
    create_db.main(list(map(str, words)))
    return common.memory_mb("VmHWM")


def make_batches(database: Path) -> float:
    """What a training does in an epoch, but for the network; the most memory that this process had, in MB."""
    from networks.split import split
    from utils import ImageStack, open_database

    opened = open_database(database)
    # All names are of the same few photos, which a split would keep on one side.
    digest = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, len(opened))
    training, _, _ = split([replace(opened, digest=digest)], 0.1, 0)
    batches = common.training_batches(ImageStack([opened]), opened.gender, opened.age, 32, training)
    for index in range(len(batches)):
        batches[index]
    return common.memory_mb("VmHWM")


def draw(rows: list[dict], path: Path) -> None:
    """Draws seconds and memory over the rows, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    for axis, key, label in zip(
        figure.subplots(1, 2), ("seconds", "peak_mb"), ("seconds", "peak memory, MB"), strict=True
    ):
        for what in (CREATE, EPOCH):
            points = [(row["rows"], row[key]["median"]) for row in rows if row["what"] == what]
            axis.plot(*zip(*points, strict=True), "o-", label=what)
        axis.set(xscale="log", yscale="log", xlabel="faces", ylabel=label)
        axis.grid(alpha=0.3, which="both")
        axis.legend()
    figure.savefig(path)
    print(f"the curves are in {path}")


if __name__ == "__main__":
    cli.run(main)
