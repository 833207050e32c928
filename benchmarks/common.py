"""What the benchmarks share: options, timing, memory, drawn faces, the machine's description, results on disk.

Times are wall times in seconds and megabytes are 1e6 bytes. Nothing here passes or fails: a benchmark only measures.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the suite's modules lie above this folder

from age_gender import cli
from age_gender.files import write_text
from age_gender.labels import NUM_AGES, NUM_GENDERS
from age_gender.machine import available_cores
from utils import writing_database

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    *("numpy", "scipy", "h5py", "opencv-python", "opencv-python-headless", "dlib-bin", "mtcnn"),
    *("keras", "tensorflow", "jax"),
)
MEGABYTE = 1e6
NOISE_BLOCK = 1024  # faces written at a time


# ---------------------------------------------------------------------------------------------- options


def parser_for(docstring: str, script: str, repeats: int = 5) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = cli.parser_for(docstring, f"{script} [options]")
    parser.add_argument("--repeats", **cli.numeric("N", int, 1, default=repeats), help="that count")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the script; not a measurement")
    parser.add_argument("--output", **cli.FILE, help="result (default: benchmarks/results/{name}.json)")
    return parser


def parse(parser: argparse.ArgumentParser, argv: list[str] | None, quick: dict[str, object]) -> argparse.Namespace:
    """The arguments; `quick` are the defaults under --quick."""
    if parser.parse_args(argv).quick:
        parser.set_defaults(**quick)
    return parser.parse_args(argv)


@contextlib.contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder, in one that the user named or where the system has its temporary files."""
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


# ---------------------------------------------------------------------------------------------- timing


def interleaved(tasks: dict[str, Callable[[], object]], repeats: int, warm_ups: int = 1) -> dict[str, list[float]]:
    """Seconds of each task at each repetition; the tasks take turns."""
    for _ in range(warm_ups):
        for task in tasks.values():
            task()
    seconds = {name: [] for name in tasks}
    for name in in_turns(tasks, repeats):
        seconds[name].append(seconds_of(tasks[name]))
    return seconds


def seconds_of(task: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, min and max of some repetitions, and how many there were."""
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "repeats": len(values)}


def spreads(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """The spread of each figure over some repetitions."""
    return {key: spread(run[key] for run in runs) for key in runs[0]}


def rates(count: float, seconds: Iterable[float]) -> dict[str, float]:
    """The spread of `count` things for each of some times, in things a second."""
    return spread(count / value for value in seconds)


def in_turns(names: Iterable[str], repeats: int) -> Iterator[str]:
    """The names again and again, forwards and backwards: whatever else the machine does falls on all of them."""
    for repetition in range(repeats):
        yield from list(names)[:: -1 if repetition % 2 else 1]


def shown(figure: dict[str, float], style: str = ",.1f", scale: float = 1.0) -> str:
    """A spread for a table: 'median (min..max)'."""
    median, low, high = (format(figure[name] * scale, style) for name in ("median", "min", "max"))
    return f"{median} ({low}..{high})"


def show(rows: Iterable[dict], columns: dict[str, tuple[str, str | Callable]], **style: object) -> None:
    """Prints figures as a table.

    Args:
        rows: the figures.
        columns: heading -> the figure's key, and the format of it or of its spread, or a function that makes it a text;
            a figure that is not there is an empty cell. A mean with an interval is two figures, KEY and KEY_interval.
        style: as tabulate takes it.
    """

    def cell(row, key, form) -> object:
        value, interval = row.get(key), row.get(f"{key}_interval")
        if value is None or callable(form):
            return "" if value is None else form(value)
        if interval:
            return f"{value:{form}} ({interval[0]:{form}} to {interval[1]:{form}})"
        return shown(value, form) if isinstance(value, dict) else format(value, form) if form else value

    cells = [[cell(row, *column) for column in columns.values()] for row in rows]
    print(tabulate(cells, headers=list(columns), **style), end="\n\n", flush=True)


# ---------------------------------------------------------------------------------------------- processes and memory


def in_fresh_process(task: Callable, *given: object):
    """What a function of a benchmark makes of some arguments, in a process of its own, whose imports are not in it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(task, *given).result()


def memory_mb(name: str) -> float:
    """A memory figure in MB (Linux; NaN elsewhere): of this process VmRSS, what it has now, RssAnon, its part that is
    no mapped file, so that the page cache cannot give it back, or VmHWM, the most that it ever had; of the machine
    MemTotal."""
    for line in lines_of("/proc/meminfo" if name.startswith("Mem") else "/proc/self/status"):
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) * 1024 / MEGABYTE
    return float("nan")


def lines_of(path: str) -> list[str]:
    """Lines of one of Linux's own tables; none on other systems."""
    with contextlib.suppress(OSError):
        return Path(path).read_text().splitlines()
    return []


def drop_from_cache(path: Path) -> None:
    """Asks the operating system to forget a file's content, so that the next reader finds it on the disk alone."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# ---------------------------------------------------------------------------------------------- data


def noise_labels(count: int):
    """Random genders and ages, (n,) int64 each."""
    rng = np.random.default_rng(0)
    return rng.integers(0, NUM_GENDERS, count), rng.integers(0, NUM_AGES, count)


def write_noise(path: Path, faces: int, image_size: int) -> None:
    """Writes a database of noise: what its pixels show costs no reader anything."""
    rng = np.random.default_rng(0)
    gender, age = noise_labels(faces)
    digest = rng.integers(-(2**63), 2**63, faces)
    with writing_database(path, faces, image_size) as writer:
        while (left := faces - writer.written) > 0:
            shape = (min(left, NOISE_BLOCK), image_size, image_size, 3)
            writer.append(rng.integers(0, 256, shape, np.uint8))
        writer.finish({"gender": gender, "age": age, "digest": digest}, {"margin": 0.4}, {"db": "noise"})


def training_batches(images, gender, age, size: int, rows: np.ndarray | None = None, augmentation: str = "classic"):
    """Batches as train.py --aug makes them, or with another of its augmentations, of all or of some rows; images are
    (n, size, size, 3) uint8, or what takes arrays of rows as that does."""
    from networks import backend

    backend.start()  # keeps TensorFlow's greetings from the terminal
    from mixup_generator import Augmentation, Labels, MixupGenerator
    from training.augmentations import AUGMENTATIONS

    return MixupGenerator(images, Labels(gender, age), rows, size, Augmentation(**AUGMENTATIONS[augmentation]))


# ---------------------------------------------------------------------------------------------- results


def report(name: str, args: argparse.Namespace, rows: list[dict], device: str | None = None) -> None:
    """Writes the result file, with the arguments as its settings and the figures as rows, and says where it is;
    `device` is what Keras computes on, None where it does not compute."""
    machine = describe_machine()
    if device:
        machine["device"] = device
    settings = {
        key: value.name if isinstance(value, Path) else value for key, value in vars(args).items() if key != "output"
    }
    content = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "versions": versions(),
        "settings": settings,
        "figures": rows,
    }
    path = args.output or RESULTS / f"{name}{'.quick' if args.quick else ''}.json"
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")
    print(f"\n{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']:.1f}; result in {path}")


def describe_machine() -> dict[str, object]:
    """Processor, cores that may be used, memory, system, and the load of the last minute: was the machine quiet?"""
    return {
        "cpu": next((line.partition(":")[2].strip() for line in lines_of("/proc/cpuinfo") if "model name" in line), "")
        or platform.processor(),
        "cores": available_cores(),
        "memory_gb": round(memory_mb("MemTotal") / 1e3, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
