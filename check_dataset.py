"""Says what is in a face dataset before training, lists the files to leave out, and shows it all on one HTML page.

    python check_dataset.py                                # data/wiki_crop -> data/wiki_check.csv and .html
    python check_dataset.py --db utkface --data_dir data/UTKFace --output bad.csv
    python create_db.py --db utkface --exclude bad.csv
    python check_dataset.py --input data/wiki_db.mat       # is the database as it was written?

Every photo is read and decoded once, on all cores; memory holds 1.5 kB for each at most, and no picture. Listed, once
each, are files that are missing, empty, unreadable or no image, and files that are the same byte for byte: all of
them where their ages or genders conflict, since either label may be wrong, and all but
one where the labels agree. An unknown label conflicts with none. Images that are nearly the same (saved anew, resized,
a little brighter) are shown and counted; --list_near lists them by the same rules. Counted but not listed, since
create_db.py drops them itself: names that are not understood, ages outside 0..100, and unknown labels where the dataset
should have both.

The list has the columns path, reason and same_as, the first file of a group of like ones.

Not checked: whether a label suits its face; which of two like files has the better face score.
"""

import argparse
import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np

from age_gender import cli
from age_gender.cluster import connected
from age_gender.labels import FEMALE, GENDERS, MALE, MAX_AGE, UNKNOWN
from age_gender.machine import available_cores
from readers import MIN_SCORE, READERS, Records, clean, read_records

SHOWN_FACES, SHOWN_GROUPS = 60, 40  # on the page


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "check_dataset.py [--db NAME] [--data_dir DIR] [--output FILE] [options]")
    cli.add_dataset_arguments(parser, READERS)
    cli.add_databases(
        parser, "check databases instead: whether their faces are what create_db.py wrote; nothing else is done"
    )
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="list (default: data/{db}_check.csv)")
    parser.add_argument("--overwrite", action="store_true", help="replace the list and its page if they are there")
    parser.add_argument(
        "--margin",
        type=cli.number(float, 0, 2),
        metavar="SHARE",
        help="how far to cut beyond the box of photos that come with face boxes, as for create_db.py (default: the "
        "dataset's)",
    )
    parser.add_argument("--list_near", action="store_true", help="list near-identical images too")
    parser.add_argument("--seed", type=cli.number(int, 0), default=0, metavar="N", help="of the faces that are shown")
    parser.add_argument(
        "--workers",
        type=cli.number(int, 1, 256),
        default=available_cores(),
        metavar="N",
        help="threads that read; with --scheduler local, processes",
    )
    cli.add_scheduler(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Reads the labels, looks at the photos, lists, reports, and writes the page."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.input:
        return check_databases(args.input)
    cli.check_dataset_arguments(parser, args, READERS)
    reader = READERS[args.db]
    folder = cli.dataset_folder(args, READERS)
    output = args.output or Path("data") / f"{args.db}_check.csv"
    if output.suffix != ".csv":
        parser.error(f"--output {output} must end in .csv")
    page = output.with_suffix(".html")
    for path in (output, page):
        if path.exists() and not args.overwrite:
            parser.error(f"{path} is there already; --overwrite replaces it, --output names another")

    from readers.duplicates import find, look_at

    records = read_records(args.db, folder, vars(args))
    margin = reader.margin if args.margin is None else args.margin
    with connected(args.scheduler, "readers.duplicates", args.workers) as client:
        photos = look_at(folder, records, margin, args.workers, client)
    findings, listed, groups = find(records, photos, args.list_near, reader.both)
    kept, dropped = clean(records, MIN_SCORE, 0, MAX_AGE, set(listed), reader.both)
    write_list(output, listed)
    report(records, findings, listed, kept, dropped, output)
    write_report(page, args, margin, folder, records, findings, groups, kept, dropped)
    print(f"the page with pictures is {page}")
    return 0


def check_databases(paths: list[Path]) -> int:
    """Says of each database whether it is whole; 1 where one is not."""
    from utils import damaged_faces, open_database

    status = 0
    for path in paths:
        database = open_database(path)
        damaged = damaged_faces(database)
        if damaged:
            status, places = 1, ", ".join(f"{rows.start:,} to {rows.stop - 1:,}" for rows in damaged)
            print(f"{path}: damaged: among the faces {places}")
        elif database.block_digest is None:
            print(f"{path}: {len(database):,} faces, of a version that kept no digests: nothing can be said")
        else:
            print(f"{path}: {len(database):,} faces, all as they were written")
    return status


def write_list(output: Path, listed: dict[str, tuple[str, str]]) -> None:
    """Writes the files to leave out, reason by reason."""
    from age_gender.files import guarded, replacing

    rows = [("path", "reason", "same_as"), *((path, *why) for path, why in listed.items())]
    with replacing(output) as new, open(new, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([guarded(cell) for cell in row] for row in rows)


def report(records: Records, findings, listed, kept: np.ndarray, dropped: dict[str, int], output: Path) -> None:
    """Prints who is in the dataset, what was found, what is listed, and what cleaning leaves."""
    from tabulate import tabulate

    print(f"{len(records):,} files as labelled, before any cleaning: {in_words(records, slice(None))}\n")
    rows = [*findings, ("in all", None, None, len(listed))]
    print(tabulate(rows, headers=("", "groups", "files", "listed"), intfmt=","))
    print(f"\n{len(listed):,} files are listed in {output}; create_db.py --exclude {output} leaves them out")
    others = [path for path in records.path if path not in listed and path.rsplit("/", 1)[-1] in listed]
    if others:
        print(f"and with them {len(others):,} more that bear the name of a listed one, such as {others[0]}")
    gone = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items() if count) or "nothing is dropped"
    print(f"create_db.py would keep {len(kept):,} ({gone}): {in_words(records, kept)}")


def in_words(records: Records, rows) -> str:
    """Ages and genders of some records, such as 'ages 1 to 90, median 30; 5 F, 6 M, 0 of unknown gender'."""
    ages, genders = records.age[rows], records.gender[rows]
    ages = ages[ages != UNKNOWN]
    span = f"ages {ages.min()} to {ages.max()}, median {np.median(ages):.0f}" if len(ages) else "no known age"
    female, male, unknown = (np.sum(genders == gender) for gender in (FEMALE, MALE, UNKNOWN))
    return f"{span}; {female:,} {GENDERS[FEMALE]}, {male:,} {GENDERS[MALE]}, {unknown:,} of unknown gender"


def write_report(
    path: Path, args, margin: float, folder: Path, records: Records, findings, groups, kept, dropped
) -> None:
    """Writes the page: tables, histograms, a sample of faces, and the groups of like ones."""
    from evaluation import pages, plots

    def faces(rows: list[int], with_path: bool = False) -> list[tuple[np.ndarray | None, str]]:
        labels = [label_of(records, row) + f" {records.path[row]}" * with_path for row in rows]
        return [(face_of(folder, records, row, margin), label) for row, label in zip(rows, labels, strict=True)]

    sample = np.random.default_rng(args.seed).permutation(kept)[:SHOWN_FACES]
    sample = sample[np.argsort(records.age[sample], kind="stable")].tolist()
    total = len(records) + sum(map(len, records.skipped.values()))
    scores = None
    if records.face_score is not None:
        above = int(np.sum(records.face_score >= MIN_SCORE))
        says = f"{above:,} records have a face score of {MIN_SCORE:g} or more, {len(records) - above:,} have not."
        scores = {"says": says, "png": plots.draw_face_scores(records.face_score, MIN_SCORE)}
    reasons = Counter({reason: len(names) for reason, names in records.skipped.items()})
    pages.write_page(
        path,
        "dataset.html",
        title=f"What is in {args.db}",
        source=records_in(folder, args.db),
        labelled=in_words(records, slice(None)),
        cleaning=[("records", total), *((f"- {reason}", n) for reason, n in dropped.items()), ("kept", len(kept))],
        kept=in_words(records, kept),
        ages=plots.draw_ages(records.age, records.age[kept], records.gender[kept]),
        scores=scores,
        findings=findings,
        sample=faces(sample),
        alike=[
            (kind, len(chosen), [faces(group[:6], with_path=True) for group in chosen[:SHOWN_GROUPS]])
            for kind, chosen in groups.items()
            if chosen
        ],
        skipped=[(reason, n, ", ".join(records.skipped[reason][:5])) for reason, n in reasons.most_common()],
    )


def face_of(folder: Path, records: Records, row: int, margin: float) -> np.ndarray | None:
    """A record's face for the page, (88, 88, 3) uint8 BGR; None where there is none."""
    from age_gender.faces import cut_face, read_image

    image = read_image(os.path.join(folder, records.path[row]))
    return None if image is None else cut_face(image, records.face_box(row), margin, 88)


def records_in(folder: Path, name: str) -> str:
    return f"{READERS[name].says}; read from {folder}"


def label_of(records: Records, row: int) -> str:
    """A face's labels in short: '31, F', '25-32, M', '?, F'."""
    age, gender = int(records.age[row]), int(records.gender[row])
    said = str(age) if age != UNKNOWN else "?"
    if records.label_low is not None and records.label_low[row] != UNKNOWN:
        said = f"{records.label_low[row]}-{records.label_high[row]}"
    return f"{said}, {GENDERS[gender] if gender != UNKNOWN else '?'}"


if __name__ == "__main__":
    cli.run(main)
