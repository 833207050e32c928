"""Says what is in a face dataset (WIKI, IMDB, UTKFace) before training, and lists the files to leave out.

    python check_dataset.py                                # data/wiki_crop -> data/wiki_check.csv
    python check_dataset.py --db utkface --data_dir data/UTKFace --output bad.csv
    python create_db.py --db utkface --exclude bad.csv

Listed, once each, are files that are missing, empty or unreadable, and files that are the same byte for byte: all of
them where their ages or genders conflict, for nobody knows which label is right, and all but one where the labels
agree. An unknown label conflicts with none. Counted but not listed, since create_db.py drops them itself: names that
are not understood, ages outside 0..100, unknown genders.

The list has the columns path, reason and same_as, the first file of a group of identical ones.

Not checked yet: no image is decoded, so a damaged photo passes; a photo that was saved anew or resized counts as
another one; whether a label suits its face is not asked; face scores and races play no part in what is kept.
"""

import argparse
import csv
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import cli
from backend import available_cores
from labels import FEMALE, GENDERS, MALE, MAX_AGE, UNKNOWN
from readers import READERS, Records, read_records

BLOCK = 1024  # files that are handed to the threads at a time
MISSING, EMPTY, UNREADABLE = "file missing", "empty file", "unreadable file"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "check_dataset.py [--db NAME] [--data_dir DIR] [--output FILE] [options]")
    cli.add_dataset_arguments(parser, READERS)
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="list (default: data/{db}_check.csv)")
    parser.add_argument("--overwrite", action="store_true", help="replace the list if it is there")
    parser.add_argument(
        "--workers", type=cli.number(int, 1, 256), default=available_cores(), metavar="N", help="threads that read"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Reads the labels, fingerprints the files, lists, reports."""
    parser = build_parser()
    args = parser.parse_args(argv)
    reader = READERS[args.db]
    folder = args.data_dir or Path(reader.folder)
    output = args.output or Path("data") / f"{args.db}_check.csv"
    if output.exists() and not args.overwrite:
        parser.error(f"{output} is there already; --overwrite replaces it, --output names another")
    if output.suffix != ".csv":
        parser.error(f"--output {output} must end in .csv")

    records = read_records(args.db, folder, vars(args))
    fingerprints, failures = read_files(folder, records.path, args.workers)
    findings, listed = find(records, fingerprints, failures)
    write_list(output, listed)
    report(records, findings, listed, output)


def read_files(folder: Path, paths: list[str], workers: int) -> tuple[list[bytes], dict[str, list[str]]]:
    """Reads every file once, on all workers: a fingerprint for each path, b"" where there is none, and why not."""
    from tqdm import tqdm

    fingerprints, failures = [], {MISSING: [], EMPTY: [], UNREADABLE: []}
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(paths), unit="file", disable=None) as progress:
        for start in range(0, len(paths), BLOCK):
            block = paths[start : start + BLOCK]
            read = pool.map(read_file, [os.path.join(folder, path) for path in block])
            for path, (fingerprint, failure) in zip(block, read, strict=True):
                fingerprints.append(fingerprint)
                if failure:
                    failures[failure].append(path)
            progress.update(len(block))
    if not any(fingerprints):
        raise ValueError(
            f"none of the {len(paths):,} files could be read, such as {folder / paths[0]}; "
            "does --data_dir name the folder that holds them?"
        )
    return fingerprints, failures


def read_file(path: str) -> tuple[bytes, str]:
    """A file's fingerprint and "", or b"" and why there is none. Reads piece by piece, however large the file is."""
    try:
        with open(path, "rb", buffering=0) as file:
            # All 256 bits: equal ones may be called identical files, the 64 bits of utils.digest only very likely so.
            fingerprint = hashlib.file_digest(file, "sha256").digest()
            return (fingerprint, "") if file.tell() else (b"", EMPTY)
    except FileNotFoundError:
        return b"", MISSING
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return b"", UNREADABLE


def find(records: Records, fingerprints: list[bytes], failures: dict[str, list[str]]):
    """What is wrong with the dataset.

    Returns:
        findings: (what, groups of byte-identical files, files, files listed for it) for each line of the report.
        listed: path -> (reason, path of the first file of its group or ""), what to leave out.
    """
    path, age, gender = records.path, records.age, records.gender
    wrong_age, no_gender = (age < 0) | (age > MAX_AGE), gender == UNKNOWN
    findings = [(reason, None, len(names), None) for reason, names in records.skipped.items()]
    listed = {}

    def list_files(reason: str, pairs: list[tuple[str, str]]) -> int:
        before = len(listed)
        for name, first in pairs:
            listed.setdefault(name, (reason, first))  # once, for the first reason
        return len(listed) - before

    for reason, names in failures.items():
        findings.append((reason, None, len(names), list_files(reason, [(name, "") for name in names])))

    groups = identical_files(fingerprints)
    kinds = {"ages conflict": [], "genders conflict": [], "labels agree": []}
    for group in groups:
        # First comes the file to keep: if possible one whose labels create_db.py takes, then one outside of subfolders,
        # since --exclude takes a name without a folder for all files of that name.
        group.sort(key=lambda row: (wrong_age[row] or no_gender[row], "/" in path[row]))
        if conflict(age[group]):
            kinds["ages conflict"].append(group)
        if conflict(gender[group]):
            kinds["genders conflict"].append(group)
        if not conflict(age[group]) and not conflict(gender[group]):
            kinds["labels agree"].append(group)
    findings.append(("byte-identical", len(groups), sum(map(len, groups)), None))
    for kind, chosen in kinds.items():
        pairs = [(path[row], path[group[0]]) for group in chosen for row in group]
        if kind == "labels agree":
            pairs = [(name, first) for name, first in pairs if name != first]
        count = list_files(f"byte-identical, {kind}", pairs)
        findings.append((f"- {kind}", len(chosen), sum(map(len, chosen)), count))

    findings.append((f"age outside 0..{MAX_AGE}", None, int(np.sum(wrong_age)), None))
    findings.append(("gender unknown", None, int(np.sum(no_gender)), None))
    return findings, listed


def identical_files(fingerprints: list[bytes]) -> list[list[int]]:
    """Groups of two or more rows with the same fingerprint, in the order of the records."""
    rows_of = {}
    for row, fingerprint in enumerate(fingerprints):
        if fingerprint:
            rows_of.setdefault(fingerprint, []).append(row)
    return [rows for rows in rows_of.values() if len(rows) > 1]


def conflict(labels: np.ndarray) -> bool:
    """Whether known labels differ."""
    return len(set(labels.tolist()) - {UNKNOWN}) > 1


def write_list(output: Path, listed: dict[str, tuple[str, str]]) -> None:
    """Writes the files to leave out, reason by reason."""
    from utils import replacing

    rows = [("path", "reason", "same_as"), *((path, *why) for path, why in listed.items())]
    with replacing(output) as new, open(new, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows(rows)


def report(records: Records, findings: list[tuple], listed: dict[str, tuple[str, str]], output: Path) -> None:
    """Prints who is in the dataset, what was found, and what is listed."""
    from tabulate import tabulate

    ages = records.age[records.age != UNKNOWN]
    span = f"ages {ages.min()} to {ages.max()}, median {np.median(ages):.0f}" if len(ages) else "no known age"
    female, male, unknown = (np.sum(records.gender == gender) for gender in (FEMALE, MALE, UNKNOWN))
    genders = f"{female:,} {GENDERS[FEMALE]}, {male:,} {GENDERS[MALE]}, {unknown:,} of unknown gender"
    print(f"{len(records):,} files as labelled, before any cleaning: {span}; {genders}\n")
    rows = [*findings, ("in all", None, None, len(listed))]
    print(tabulate(rows, headers=("", "groups", "files", "listed"), intfmt=","))
    print(f"\n{len(listed):,} files are listed in {output}; create_db.py --exclude {output} leaves them out")
    others = [path for path in records.path if path not in listed and path.rsplit("/", 1)[-1] in listed]
    if others:
        print(f"and with them {len(others):,} more that bear the name of a listed one, such as {others[0]}")


if __name__ == "__main__":
    cli.run(main)
