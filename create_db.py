# PYTHON_ARGCOMPLETE_OK
"""Cleans a face dataset (WIKI, IMDB, UTKFace and others, listed below) into one .mat database of equally sized faces.

    python create_db.py                                    # data/wiki_crop -> data/wiki_db.mat
    python create_db.py --db imdb --img_size 128           # data/imdb_crop -> data/imdb_db.mat
    python create_db.py --db utkface --exclude bad.txt
    python create_db.py --db csv --data_dir photos --table faces.csv --columns path=file age=years
    python create_db.py --db utkface_wild --detector yunet --align

Reads on all cores: WIKI's 38,138 photos take a few seconds, and memory does not grow with the images.
"""

import argparse
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from age_gender import cli
from age_gender.cluster import connected, once
from age_gender.detectors import CHOICES, DETECTORS, NO_DETECTOR, WITH_LANDMARKS, in_any_thread
from age_gender.files import alone
from age_gender.labels import FEMALE, GENDERS, MALE, MAX_AGE, UNKNOWN
from age_gender.machine import native_stderr_kept
from readers import MIN_SCORE, READERS, Records, clean, read_records
from readers.cleaning import in_lines
from readers.cutting import MISFIT, UNREADABLE, Block, Cut, Find, StillThere, decoded_blocks
from readers.damaged import complaints_of, how_listed, list_damaged, write_list
from readers.excluded import read_exclusions
from readers.parts import name_parts, part_of

IN_PIXELS = "A box is x1, y1, x2, y2, its corners in pixels of the photo itself as it is seen upright"
NOT_OF_MOST = {MISFIT: IN_PIXELS, UNREADABLE: "May they be read, and is the disk still there?"}  # and what to look at
FEW_BOXES = 5  # may all be in one corner


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "create_db.py [--db NAME] [--data_dir DIR] [--output FILE] [options]")
    cli.add_dataset_arguments(parser, READERS)
    what = parser.add_argument_group("what to write")
    what.add_argument("--output", "-o", type=Path, metavar="FILE", help="database (default: data/{db}_db.mat)")
    what.add_argument("--overwrite", action="store_true", help="replace the database if it is there")
    what.add_argument(
        "--part",
        type=cli.checked(part_of),
        metavar="K/N",
        help="the part K of N alone, as FILE's name with .K-of-N in it: one run for each part, on any machine",
    )
    what.add_argument(
        "--img_size",
        "--image_size",
        **cli.numeric("PIXELS", int, 16, 1024, default=64),
        help="height and width of the faces",
    )
    what.add_argument(
        "--margin",
        **cli.numeric("SHARE", float, 0, 2),
        help="how far to cut beyond the face box, as a share of its size, where photos come with boxes or --detector "
        "draws them; of a table without boxes, how far its faces are cut (default: 0.4, as IMDB-WIKI is, and 0.1 for "
        "utkface and utkface_wild)",
    )
    faces = parser.add_argument_group("faces (as the dataset cuts them, if not said otherwise)")
    faces.add_argument(
        "--detector",
        choices=DETECTORS,
        help="find the face of each photo anew: the one that --face says or, where the dataset has a box, the one that "
        "the box means; photos without one are counted; none takes photos whole",
    )
    faces.add_argument(
        "--face",
        choices=CHOICES,
        help="which face of several, with --detector: the largest, or the one nearest to the photo's centre "
        "(default: largest)",
    )
    faces.add_argument(
        "--else_whole",
        action="store_true",
        help="take photos whole in which --detector finds no face, where the dataset has cut its faces already",
    )
    faces.add_argument(
        "--align",
        action="store_true",
        help=f"turn each face until its eyes are level, with --detector {' or '.join(WITH_LANDMARKS)}",
    )
    left_out = parser.add_argument_group("what to leave out")
    left_out.add_argument(
        "--min_score", type=float, default=MIN_SCORE, metavar="SCORE", help="least face score (WIKI, IMDB)"
    )
    left_out.add_argument("--min_age", **cli.numeric("YEARS", int, 0, MAX_AGE, default=0), help="least age")
    left_out.add_argument("--max_age", **cli.numeric("YEARS", int, 0, MAX_AGE, default=MAX_AGE), help="greatest age")
    left_out.add_argument(
        "--exclude",
        **cli.PATHS,
        default=[],
        metavar="LIST",
        help="files that list photos to leave out, one a line: a path below the dataset's folder or a "
        "bare file name; of a CSV, the first column",
    )
    cli.add_workers(parser, "decode")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Reads, cleans, decodes, writes, reports."""
    parser = build_parser()
    args = parser.parse_args(argv)
    cli.check_dataset_arguments(parser, args, READERS)
    refuse_what_contradicts(parser, args)
    reader, folder = READERS[args.db], args.data_dir
    whole = args.output or Path("data") / f"{args.db}_db.mat"
    output = args.part.path(whole) if args.part else whole
    if output.exists() and not args.overwrite:
        parser.error(f"{output} is there already; --overwrite replaces it, --output names another")
    if output.suffix != ".mat":
        parser.error(f"--output {output} must end in .mat")

    started = time.perf_counter()
    records = read_records(args.db, folder, vars(args))
    if records.face_score is None and args.min_score != MIN_SCORE:
        parser.error(f"--min_score is for datasets with face scores; {args.db} has none: leave it out")
    excluded = read_exclusions(args.exclude, folder, records)
    cut = how_to_cut(parser, args, records)
    if args.detector is None and records.box is None and not reader.source.page:  # the user's own photos
        print("each photo is taken whole, as a face that is cut already; --detector dlib finds the faces in photos")
    boxes = args.detector is None  # a detector does without
    kept, dropped = clean(records, args.min_score, args.min_age, args.max_age, excluded, reader.both, boxes)
    if not len(kept):
        counts = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items() if count)
        raise ValueError(f"nothing is left of {records.total:,} records after cleaning: {counts or 'there were none'}")
    everything = kept
    if args.part:
        how = cut._replace(find=None), args.db, args.detector, args.face, records.take(kept).fingerprint()
        kept = args.part.rows(everything)
        dropped["in another part"] = len(everything) - len(kept)
    announce(output, len(kept), cut.image_size)
    scalars = {"img_size": cut.image_size, "min_score": args.min_score, "margin": cut.margin, "align": cut.align}
    texts = {"db": args.db, "detector": args.detector or NO_DETECTOR}  # none: it came cropped, or with boxes of its own
    with (
        alone(output),
        connected(args.scheduler, "readers.cutting", args.workers) as client,
        native_stderr_kept() as known,
    ):
        if output.exists() and not args.overwrite:
            raise ValueError(f"{output} is there by now: another run made it; --overwrite replaces it")
        if args.part:
            name_parts(whole, args.part, repr(how))
        blocks = decoded_blocks(records, kept, folder, cut, args.workers, client)
        written, failures, doubted, taken_whole, oblong, cornered = write_database(
            output, records, kept, folder, blocks, cut.image_size, scalars, texts
        )
        damaged = complaints_of(folder, [records.path[row] for row in doubted], client)
        known.update(line for lines in damaged.values() for line in lines)
    for reason, paths in failures.items():
        dropped[reason] = dropped.get(reason, 0) + len(paths)
    report(records, written, dropped, output, time.perf_counter() - started)
    tell_how_cut(len(written), taken_whole if args.else_whole else None, oblong, 0 if args.detector else cornered)
    cli.result(output=output, faces=len(written), left_out=dropped)
    # By another row, by another face on it, or in another part.
    used = {records.path[row] for row in (*written, *np.setdiff1d(everything, kept))}
    list_failures(output, [*records.skipped.items(), *failures.items()], used, args.exclude)
    failed = {path for paths in failures.values() for path in paths}
    list_damaged(output, {path: lines for path, lines in damaged.items() if path not in failed}, args.exclude)


def refuse_what_contradicts(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses options that do not go together."""
    if args.min_age > args.max_age:
        parser.error(f"--min_age {args.min_age} is above --max_age {args.max_age}")
    if args.face and args.detector in (None, NO_DETECTOR):
        parser.error("--face chooses among the faces that a detector finds: name one with --detector")
    if args.else_whole and args.detector in (None, NO_DETECTOR):
        parser.error("--else_whole is for photos in which a detector finds no face: name one with --detector")
    if args.detector == NO_DETECTOR and args.margin is not None:
        parser.error("--margin is for faces that are cut; with --detector none each photo is taken whole")
    if args.align and args.detector not in WITH_LANDMARKS:
        found = f"--detector {args.detector} gives none" if args.detector else "the dataset's own faces have none"
        parser.error(f"--align needs landmarks, and {found}: choose --detector {' or '.join(WITH_LANDMARKS)}")


def announce(output: Path, rows: int, size: int) -> None:
    """Says what will be written, and refuses where the disk lacks the room."""
    needed = rows * size * size * 3
    print(f"writing {rows:,} faces of {size} x {size} pixels to {output}: {needed:,} bytes", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise ValueError(f"{output.parent} has {free / 1e6:,.1f} MB free; make room, or choose a smaller --img_size")
    if free < 2 * needed:
        print(f"{free:,} bytes are free: enough if all photos can be read; else a copy takes {needed:,} more")


def how_to_cut(parser: argparse.ArgumentParser, args: argparse.Namespace, records: Records) -> Cut:
    """What the options and the dataset say together of how its faces are cut.

    Raises:
        ValueError, FileNotFoundError: if the detector cannot be used here.
    """
    reader, find = READERS[args.db], None
    searched = args.detector not in (None, NO_DETECTOR)
    if args.db == "utkface_wild" and records.box is None and args.detector is None:
        parser.error("utkface_wild has whole photos, without face boxes: find the faces with --detector dlib or yunet")
    if args.margin is not None and records.box is None and reader.source.page and not searched:
        parser.error(
            f"--margin is for photos with face boxes or with --detector; {args.db} comes cropped, with a margin of "
            f"{reader.margin:g}"
        )
    if searched:
        once(in_any_thread, args.detector)  # whether it can be used is known before anything slow
        find = Find(args.detector, args.face or "largest")

    whole = args.detector == NO_DETECTOR
    own = 0.0 if whole and records.box is not None else reader.margin  # the dataset's margin is that of its boxes
    return Cut(args.img_size, own if args.margin is None else args.margin, whole, find, args.align, args.else_whole)


def write_database(
    output: Path,
    records: Records,
    kept: np.ndarray,
    folder: Path,
    blocks: Iterable[Block],
    image_size: int,
    scalars: dict[str, float],
    texts: dict[str, object],
):
    """Writes the kept photos in order, as they are decoded: `blocks` of readers.cutting.decoded_blocks.

    Returns:
        written: rows of the records that are in the database.
        failures: reason -> paths of the photos that could not be read.
        doubted: rows whose photos may be damaged, see `Block`.
        taken_whole, oblong, cornered: see `Block`.
    """
    import cv2

    from utils import writing_database

    cv2.setNumThreads(1)  # the photos are shared out among the workers already
    written, digests, failures, doubted, taken_whole, oblong, cornered = [], [], {}, [], 0, 0, 0
    there = StillThere(folder, [records.path[row] for row in kept])
    with writing_database(output, len(kept), image_size) as writer:
        for block in blocks:
            writer.append(block.images)
            doubted.extend(block.doubted)
            taken_whole += block.taken_whole
            oblong += block.oblong
            cornered += block.cornered
            written.append(block.rows)
            digests.extend(block.digests)
            for reason, path in block.failures:
                failures.setdefault(reason, []).append(path)
        refuse_what_mostly_failed(folder, len(kept), writer.written, failures)
        there.check()
        written = np.concatenate(written)
        columns = {
            "gender": records.gender[written],
            "age": records.age[written],
            "digest": np.array(digests, np.int64),
            "path": [records.path[row] for row in written],
        }
        texts = dict(texts)
        for name in ("subject", "label_low", "label_high", "age_std", "race", "part"):
            if (column := getattr(records, name)) is not None:
                columns[name.replace("label_", "age_")] = column[written]  # the file's names, which others read too
        for name in ("race_names", "part_names"):
            if names := getattr(records, name):
                texts[name] = names
        writer.finish(columns, scalars, texts)
    return written, failures, doubted, taken_whole, oblong, cornered


def refuse_what_mostly_failed(folder: Path, photos: int, written: int, failures: dict[str, list[str]]) -> None:
    """Raises ValueError if no photo could be used, or most failed for a reason that a whole dataset has not."""
    for reason, remedy in NOT_OF_MOST.items():
        if 2 * len(paths := failures.get(reason, ())) > photos:
            raise ValueError(
                f"{len(paths):,} of {photos:,} photos could not be used, such as {folder / paths[0]}: {reason}; "
                f"nothing was written. {remedy}"
            )
    if not written:
        examples = ", ".join(f"{folder / paths[0]}: {reason}" for reason, paths in failures.items())
        raise ValueError(
            f"none of the {photos:,} photos could be used, such as {examples}; "
            "does --data_dir name the folder that holds them?"
        )


def report(records: Records, written: np.ndarray, dropped: dict[str, int], output: Path, seconds: float) -> None:
    """Prints what was dropped for which reason, and who is in the database."""
    from tabulate import tabulate

    print(tabulate(in_lines(records, dropped, len(written)), headers=("", "faces"), intfmt=","))
    gender, (low, high) = records.gender[written], records.age_interval()
    age = np.where(low == UNKNOWN, UNKNOWN, (low + high) / 2)[written]  # the middle of an interval
    groups = {GENDERS[FEMALE]: gender == FEMALE, GENDERS[MALE]: gender == MALE, "unknown": gender == UNKNOWN}
    rows = []
    for name, chosen in {**groups, "all": gender >= UNKNOWN}.items():
        if name == "unknown" and not chosen.any():
            continue
        ages = age[chosen & (age != UNKNOWN)]
        quantiles = np.quantile(ages, (0, 0.25, 0.5, 0.75, 1)) if len(ages) else ()
        rows.append((name, int(chosen.sum()), len(ages), *quantiles))
    headers = ("gender", "faces", "with age", "youngest", "quarter", "median age", "three quarters", "oldest")
    print(f"\n{tabulate(rows, headers=headers, intfmt=',', floatfmt='.0f')}")
    print(f"\n{output}: {output.stat().st_size / 1e6:,.1f} MB in {seconds:.1f} s")


def tell_how_cut(faces: int, taken_whole: int | None, oblong: int, cornered: int) -> None:
    """Says how many photos were taken whole for want of a face, None where that was not asked for, and warns where most
    were squeezed, or all boxes of the dataset's own end in one corner; see `Block`."""
    if taken_whole is not None:
        print(f"no face was found in {taken_whole:,} of the {faces:,} photos, which were taken whole")
        cli.result(taken_whole=taken_whole)
    if oblong > faces / 2:
        print(
            f"warning: {oblong:,} of the {faces:,} photos were squeezed into squares; if they show more "
            "than a face, such as the uncropped photos of a dataset, --detector dlib finds the faces"
        )
    if cornered == faces >= FEW_BOXES:
        print(
            f"warning: each of the {cornered:,} face boxes ends within the upper left quarter of its photo, as "
            f"percents would, or boxes of smaller copies. {IN_PIXELS}"
        )


def list_failures(output: Path, failures: list[tuple[str, list[str]]], used: set[str], excluded: list[Path]) -> None:
    """Writes the photos that could not be used, and are not used by another row, beside the database, as a list that
    --exclude takes."""
    rows = list({path: reason for reason, paths in failures for path in paths if path not in used}.items())
    listing = output.with_suffix(".failed.csv")
    listed = write_list(listing, rows, excluded)
    if not rows:
        return
    shown = "".join(f"\n  {cli.one_line(f'{path}: {reason}')}" for path, reason in rows[:5])
    more = f"\n  and {len(rows) - 5:,} more" if len(rows) > 5 else ""
    print(f"\nphotos that could not be used: {len(rows):,}; {how_listed(listing, listed, len(rows))}:{shown}{more}")


if __name__ == "__main__":
    cli.run(main)
