"""How long does cleaning a dataset into a database take, and how much memory?

    python benchmarks/create_database.py
    python benchmarks/create_database.py --photos 5000 --sizes 64 --repeats 3

Draws a dataset in WIKI's layout and runs create_db.py on it as a process of its own, start of Python included: with
all cores, and with one worker. The peer is the plain loop of plain_loop.py, likewise a process: scipy.io.loadmat,
cv2.imread, cv2.resize, a list, np.array, scipy.io.savemat; and the same loop when it only reads and resizes. The
physical limit is reading the bytes of all photos and doing nothing with them. The photos are in the page cache for
all of them. A few hundred drawn photos are copied to all names, so that there are as many files as WIKI has.
"""

import argparse
import itertools
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common  # makes the suite's modules importable
import scipy.io

from age_gender import cli
from age_gender.machine import available_cores

WIKI_PHOTOS = 38138  # that the suite's cleaning keeps of WIKI
ALL_CORES, ONE_WORKER = "create_db.py", "create_db.py --workers 1"
PLAIN, DECODE, LIMIT = "plain loop", "plain loop, read and resize only", "limit: read the bytes only"
PLAIN_COPIES = 3  # of all faces, that the plain loop has at once: list, array, and the array as savemat writes it
WARM_UP_PHOTOS = 64
COLUMNS = {
    "px": ("image_size", ""),
    "": ("what", ""),
    "photos/s": ("photos_per_second", ",.0f"),
    "wall s": ("seconds", ".2f"),
    "CPU s": ("cpu_seconds", ".2f"),
    "peak MB": ("peak_mb", ",.0f"),
    "s it prints": ("seconds_it_prints", ".1f"),
    "failed": ("failed", ""),
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "create_database.py", repeats=3)
    parser.add_argument("--photos", type=cli.number(int, 1), default=WIKI_PHOTOS, metavar="N", help="in the dataset")
    parser.add_argument("--distinct", type=cli.number(int, 1), default=400, metavar="N", help="of them that differ")
    parser.add_argument("--photo_size", type=cli.number(int, 32), default=200, metavar="PIXELS", help="of each photo")
    parser.add_argument("--sizes", type=cli.number(int, 32), nargs="+", default=[64, 128, 224], metavar="PIXELS")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="gets a temporary folder of some gigabytes")
    parser.add_argument("--without_plain", action="store_true", help="leave out the plain loop that keeps all faces")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Draw, measure each size, report."""
    quick = {"photos": 400, "distinct": 40, "sizes": [64, 128], "repeats": 2}
    args = common.parse(build_parser(), argv, quick)
    with common.work_folder(args.folder) as folder:
        warm_up_set, dataset = folder / "warm_up", folder / "wiki_crop"
        write_dataset(warm_up_set, WARM_UP_PHOTOS, min(args.distinct, WARM_UP_PHOTOS), args.photo_size)
        megabytes = write_dataset(dataset, args.photos, args.distinct, args.photo_size)
        print(f"{args.photos:,} photos of {args.photo_size} px, {megabytes:,.1f} MB", flush=True)
        rows = []
        for size in args.sizes:
            measure(commands(warm_up_set, size, folder, args), 1)
            measured = rows_of(size, args.photos, measure(commands(dataset, size, folder, args), args.repeats))
            common.show(measured, COLUMNS)
            rows += measured
    common.report("create_database", args, rows)


def write_dataset(folder: Path, count: int, distinct: int, photo_size: int) -> float:
    """Writes `count` clean records with their photos and wiki.mat; returns the megabytes of the photos."""
    _, sample_sets = common.import_samples()
    drawn = sample_sets.draw_records(max(2 * count, 10 * sample_sets.MIN_COUNT), seed=0)
    records = [record._replace(size=photo_size) for record in drawn if record.kind == sample_sets.CLEAN][:count]
    with ThreadPoolExecutor(available_cores()) as pool:
        photos = list(pool.map(lambda record: sample_sets.jpeg(sample_sets.paint_record(record)), records[:distinct]))
    for hundred in range(100):
        (folder / f"{hundred:02d}").mkdir(parents=True, exist_ok=True)
    pairs = zip(records, itertools.cycle(photos), strict=False)
    total = sum((folder / record.path).write_bytes(photo) for record, photo in pairs)
    scipy.io.savemat(folder / "wiki.mat", {"wiki": sample_sets.wiki_columns(records, 0)})
    return total / common.MEGABYTE


def commands(dataset: Path, size: int, folder: Path, args: argparse.Namespace) -> dict[str, list]:
    """What is run at a size, by name; the plain loop is left out where it would not fit into memory."""
    suite = [sys.executable, common.ROOT / "create_db.py", "--data_dir", dataset, "--img_size", size, "--overwrite"]
    plain = [sys.executable, common.ROOT / "benchmarks" / "plain_loop.py"]
    chosen = {
        ALL_CORES: [*suite, "--output", folder / "suite.mat"],
        ONE_WORKER: [*suite, "--output", folder / "suite.mat", "--workers", 1],
        PLAIN: [*plain, "database", dataset, size, folder / "plain.mat"],
        DECODE: [*plain, "decode", dataset, size],
        LIMIT: [*plain, "bytes", dataset],
    }
    needed = PLAIN_COPIES * args.photos * size * size * 3 / common.MEGABYTE
    available = common.memory_mb("MemAvailable")
    if needed > available:
        print(f"{size} px: the plain loop is left out, it needs some {needed:,.0f} MB of {available:,.0f} MB available")
    if args.without_plain or needed > available:
        del chosen[PLAIN]
    return chosen


def measure(chosen: dict[str, list], repeats: int) -> dict[str, list[common.Run]]:
    """Runs all commands in turn, forwards and backwards."""
    runs = {name: [] for name in chosen}
    for name in common.in_turns(chosen, repeats):
        os.sync()  # what the last one left to be written is none of the next one's cost
        runs[name].append(common.run_process(chosen[name]))
    return runs


def rows_of(size: int, photos: int, runs: dict[str, list[common.Run]]) -> list[dict]:
    """The figures of one size; a run that failed has its reason and no speed."""
    rows = []
    for name, repetitions in runs.items():
        failed = next((run for run in repetitions if run.status), None)
        said = [float(match[1]) for run in repetitions if (match := re.search(r" MB in ([\d.]+) s", run.output))]
        seconds = [run.seconds for run in repetitions]
        figures = {
            "image_size": size,
            "what": name,
            "seconds": common.spread(seconds),
            "cpu_seconds": common.spread(run.cpu_seconds for run in repetitions),
            "peak_mb": common.spread(run.peak_mb for run in repetitions),
            "photos_per_second": None if failed else common.rates(photos, seconds),
            "seconds_it_prints": common.spread(said) if said else None,
            "failed": reason(failed) if failed else None,
        }
        rows.append(figures)
    return rows


def reason(run: common.Run) -> str:
    """The last line of what a failed run said."""
    lines = run.errors.strip().splitlines()
    return f"status {run.status}: {lines[-1] if lines else 'said nothing'}"


if __name__ == "__main__":
    cli.run(main)
