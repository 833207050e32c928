# PYTHON_ARGCOMPLETE_OK
"""Says what is in a face dataset before training, lists the files to leave out, and shows it all on one HTML page.

    python check_dataset.py                                # data/wiki_crop -> data/wiki_check.csv and .html
    python check_dataset.py --db utkface --data_dir data/UTKFace --output bad.csv
    python create_db.py --db utkface --exclude bad.csv
    python check_dataset.py --input data/wiki_db.mat       # is the database as it was written?
    python check_dataset.py --weight_file checkpoints/wiki/fold_*       # which labels do models doubt?

Every photo is read and decoded once, on all cores; memory holds 1.5 kB for each at most, and no picture. Listed, once
each, are files that are missing, empty, unreadable or no image, and files that are the same byte for byte: all of
them where their ages or genders conflict, since either label may be wrong, and all but
one where the labels agree. An unknown label conflicts with none. Images that are nearly the same (saved anew, resized,
a little brighter) are shown and counted; --list_near lists them by the same rules. Counted but not listed, since
create_db.py drops them itself: names that are not understood, ages outside 0..100, and unknown labels where the dataset
should have both. Photos that are damaged but were read have a list of their own, data/wiki_check.damaged.csv.

The list has the columns path, reason and same_as, the first file of a group of like ones.

With --weight_file it is the labels of databases that are checked: listed are faces whose age or gender the models find
very unlikely, the least likely first. No model judges a face that trained it; the checkpoints of k folds
(train.py --fold all) judge every face between them.

Not checked: whether a label suits its face, without --weight_file; which of two like files has the better face score.
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender import cli
from age_gender.cluster import connected
from age_gender.files import alone, can_be_listed, replacing, write_rows
from age_gender.labels import FEMALE, GENDERS, MALE, MAX_AGE, UNKNOWN, likelier_gender
from age_gender.machine import native_stderr_kept
from readers import MIN_SCORE, READERS, Records, clean, read_records
from readers.cleaning import in_lines
from readers.damaged import complaints_of, list_damaged

SHOWN_FACES, SHOWN_GROUPS, SHOWN_DOUBTS = 60, 40, 200  # on the page


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "check_dataset.py [--db NAME] [--data_dir DIR] [--output FILE] [options]")
    cli.add_dataset_arguments(parser, READERS)
    cli.add_databases(
        parser, "check databases instead: whether their faces are what create_db.py wrote; nothing else is done"
    )
    parser.add_argument(
        "--weight_file",
        **cli.PATHS,
        metavar="FILE",
        help="check the labels of --input (default: the databases of these models' trainings) by what models say of "
        "the faces that did not train them: checkpoints, or folders of runs",
    )
    parser.add_argument(
        "--doubt_below",
        **cli.numeric("P", float, 0, 1, default=0.02, exclusive=True),
        help="with --weight_file: list a face where its age or its gender has a smaller probability",
    )
    parser.add_argument(
        "--output", "-o", type=Path, metavar="FILE", help="list (default: data/{db}_check.csv, or data/doubts.csv)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the list and its page if they are there")
    parser.add_argument(
        "--margin",
        **cli.numeric("SHARE", float, 0, 2),
        help="how far to cut beyond the box of photos that come with face boxes, as for create_db.py (default: the "
        "dataset's)",
    )
    parser.add_argument("--list_near", action="store_true", help="list near-identical images too")
    parser.add_argument("--seed", **cli.numeric("N", int, 0, default=0), help="of the faces that are shown")
    cli.add_workers(parser, "read")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, refuse, check."""
    parser = build_parser()
    args = parser.parse_args(argv)
    refuse_what_is_idle(parser, args)
    if args.input and not args.weight_file:
        return check_databases(args.input)
    cli.check_dataset_arguments(parser, args, READERS)
    output = args.output or Path("data") / ("doubts.csv" if args.weight_file else f"{args.db}_check.csv")
    if output.suffix != ".csv":
        parser.error(f"--output {output} must end in .csv: it is the list; the page goes beside it, as .html")
    page = output.with_suffix(".html")
    for path in (output, page):
        if path.exists() and not args.overwrite:
            parser.error(f"{path} is there already; --overwrite replaces it, --output names another")
    with alone(output):
        for path in (output, page):
            if path.exists() and not args.overwrite:
                raise ValueError(f"{path} is there by now: another run made it; --overwrite replaces it")
        if args.weight_file:
            check_labels(args.weight_file, args.input, args.doubt_below, output)
        else:
            list_photos(args, output, page)
    print(f"the page with pictures is {page}")
    return 0


def refuse_what_is_idle(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses options that the kind of check has no use for."""
    given = {name for name, value in vars(args).items() if value != parser.get_default(name)}
    if args.weight_file:
        idle, what = given - {"weight_file", "input", "doubt_below", "output", "overwrite"}, "labels by --weight_file"
    elif args.input:
        idle, what = given - {"input"}, "databases by --input"
    else:
        idle, what = given & {"doubt_below"}, "photos"
    if idle:
        parser.error(f"--{' --'.join(sorted(idle))} is not for a check of {what}: leave it out")


def list_photos(args: argparse.Namespace, output: Path, page: Path) -> None:
    """Looks at the photos, lists, reports, and writes the page."""
    with native_stderr_kept() as known:
        check = check_photos(args)
        known.update(line for lines in check.complaints.values() for line in lines)
        with replacing(page) as new_page, replacing(output) as new_list:  # both or neither
            rows = ((path, *map(cli.one_line, why)) for path, why in check.listed.items())
            write_rows(new_list, [("path", "reason", "same_as"), *rows])
            write_report(new_page, check)
        report(check, output)
        list_damaged(output, check.damaged, [])
    cli.result(output=output, page=page, listed=len(check.listed), kept=len(check.kept))


class Check(NamedTuple):
    """What was found in a dataset: its records, the list of files to leave out, and what cleaning keeps besides."""

    name: str
    folder: Path
    margin: float
    records: Records
    findings: list[tuple]
    listed: dict[str, tuple[str, str]]
    groups: dict[str, list[list[int]]]
    kept: np.ndarray
    dropped: dict[str, int]
    complaints: dict[str, list[str]]
    damaged: dict[str, list[str]]
    seed: int


def check_photos(args: argparse.Namespace) -> Check:
    """Reads the labels and looks at every photo."""
    from readers.duplicates import find, look_at

    reader, folder = READERS[args.db], args.data_dir
    records = read_records(args.db, folder, vars(args))
    margin = reader.margin if args.margin is None else args.margin
    with connected(args.scheduler, "readers.duplicates", args.workers) as client:
        photos = look_at(folder, records, margin, args.workers, client)
        doubted = [path for path, photo in zip(records.path, photos, strict=True) if photo.doubted]
        complaints = complaints_of(folder, doubted, client)
    unread = {path for path, photo in zip(records.path, photos, strict=True) if photo.failure}
    damaged = {path: lines for path, lines in complaints.items() if path not in unread}
    findings, listed, groups = find(records, photos, args.list_near, reader.both)
    findings.append(("damaged, but read", None, len(damaged), 0))
    if unlisted := [path for path in listed if not can_be_listed(path)]:
        findings.append(("with a name that no list can hold", None, len(unlisted), 0))
        listed = {path: why for path, why in listed.items() if can_be_listed(path)}
    kept, dropped = clean(records, MIN_SCORE, 0, MAX_AGE, set(listed), reader.both)
    return Check(
        args.db, folder, margin, records, findings, listed, groups, kept, dropped, complaints, damaged, args.seed
    )


def check_labels(files: list[Path], paths: list[Path] | None, below: float, output: Path) -> None:
    """Lists the faces of databases whose labels models doubt, and shows the least likely ones on the page."""
    from evaluation import pages
    from evaluation.doubts import doubted, judge
    from networks import description_of
    from networks.checkpoints import choose
    from utils import ImageStack, check_faces, open_database

    models = {path: description_of(path) for path in dict.fromkeys(map(choose, files))}
    paths = list(dict.fromkeys(paths or [path for each in models.values() for path in each.inputs]))
    if not paths:
        raise ValueError("these models do not say what they were trained on: name databases with --input")
    databases = [open_database(path) for path in paths]
    check_faces(databases)
    judgement = judge(models, databases)
    count, judged = len(judgement.judged), int(judgement.judged.sum())
    doubts = doubted(judgement, databases, below)
    counts = [("faces", count), ("judged", judged), *doubts.reason.value_counts().items()]
    says = f"{judged:,} of {count:,} faces were judged, each by models that had not trained on it"
    says += "" if judged == count else f"; every model had trained on the other {count - judged:,}"
    says += f". The models find the age or the gender of {len(doubts):,} unlikely: below {below:g} in probability."
    shown = doubts[:SHOWN_DOUBTS]
    captions = [doubt_in_words(each) for each in shown.itertuples()]
    size = max(database.image_size for database in databases)
    images = ImageStack(databases, size)[shown.index.to_numpy()] if len(shown) else []
    title = f"Labels that {', '.join(map(str, models))} doubts" if len(models) == 1 else "Labels that models doubt"
    page = output.with_suffix(".html")
    with replacing(page) as new_page, replacing(output) as new_list:  # both or neither
        rows = doubts.assign(probability=doubts.probability.map("{:.2g}".format)).values
        write_rows(new_list, [tuple(doubts), *rows])
        pages.write_page(
            new_page,
            "doubts.html",
            title=title,
            says=says,
            counts=counts,
            doubts=list(zip(images, captions, strict=True)),
        )
    cli.result(output=output, page=page, listed=len(doubts))
    print(says)
    print(f"they are listed in {output}, the least likely first; create_db.py --exclude {output} leaves them out")


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


def doubt_in_words(doubt) -> str:
    """'8, F → 26, F 99%; 0.0008 a.jpg': the label, what the models say, how likely the label is, and the file."""
    gender = likelier_gender(doubt.p_male)
    sure = max(doubt.p_male, 1 - doubt.p_male)
    label = f"{doubt.age or '?'}, {doubt.gender or '?'}"
    return f"{label} → {doubt.said_age:.0f}, {GENDERS[gender]} {sure:.0%}; {doubt.probability:.1g} {doubt.path}"


def report(check: Check, output: Path) -> None:
    """Prints who is in the dataset, what was found, what is listed, and what cleaning leaves."""
    from tabulate import tabulate

    records, listed, kept = check.records, check.listed, check.kept
    print(f"{len(records):,} files as labelled, before any cleaning: {in_words(records, slice(None))}\n")
    rows = [*check.findings, ("in all", None, None, len(listed))]
    print(tabulate(rows, headers=("", "groups", "files", "listed"), intfmt=","))
    if listed:
        print(f"\n{len(listed):,} files are listed in {output}; create_db.py --exclude {output} leaves them out")
    else:
        print(f"\nno file has to be left out: the list {output} is empty")
    gone = ", ".join(f"{count:,} {reason}" for reason, count in check.dropped.items() if count) or "nothing is dropped"
    print(f"create_db.py would keep {len(kept):,} ({gone}): {in_words(records, kept)}")


def in_words(records: Records, rows) -> str:
    """Ages and genders of some records, such as 'ages 1 to 90, median 30; 5 F, 6 M, 0 of unknown gender'."""
    low, high = (end[rows] for end in records.age_interval())
    known, genders = low != UNKNOWN, records.gender[rows]
    low, high = low[known], high[known]
    span = f"ages {low.min()} to {high.max()}, median {np.median((low + high) / 2):.0f}" if len(low) else "no known age"
    female, male, unknown = (np.sum(genders == gender) for gender in (FEMALE, MALE, UNKNOWN))
    return f"{span}; {female:,} {GENDERS[FEMALE]}, {male:,} {GENDERS[MALE]}, {unknown:,} of unknown gender"


def write_report(path: Path, check: Check) -> None:
    """Writes the page: tables, histograms, a sample of faces, and the groups of like ones."""
    from evaluation import pages, plots

    records, kept, reader = check.records, check.kept, READERS[check.name]

    def faces(rows: list[int], with_path: bool = False) -> list[tuple[np.ndarray | None, str]]:
        labels = [label_of(records, row) + f" {records.path[row]}" * with_path for row in rows]
        return [(face_of(check, row), label) for row, label in zip(rows, labels, strict=True)]

    low, high = records.age_interval()
    years = (low + high) / 2
    ages = {"png": plots.draw_ages(years, records.gender, kept), "says": "ages before and after"}
    ages["says"] += "; intervals by their middle" * bool((low < high).any())
    sample = np.random.default_rng(check.seed).permutation(kept)[:SHOWN_FACES]
    sample = sample[np.argsort(years[sample], kind="stable")].tolist()
    scores = None
    if records.face_score is not None:
        above = int(np.sum(records.face_score >= MIN_SCORE))
        says = f"{above:,} records have a face score of {MIN_SCORE:g} or more, {len(records) - above:,} have not."
        scores = {"says": says, "png": plots.draw_face_scores(records.face_score, MIN_SCORE)}
    skipped = sorted(records.skipped.items(), key=lambda item: len(item[1]), reverse=True)
    pages.write_page(
        path,
        "dataset.html",
        title=f"What is in {check.folder}",
        source=f"Read by --db {check.name}{f': {reader.says}' if reader.source.page else ''}. Before any cleaning",
        labelled=in_words(records, slice(None)),
        cleaning=in_lines(records, check.dropped, len(kept)),
        kept=in_words(records, kept),
        ages=ages,
        scores=scores,
        findings=check.findings,
        sample=faces(sample),
        alike=[
            (kind, len(chosen), [faces(group[:6], with_path=True) for group in chosen[:SHOWN_GROUPS]])
            for kind, chosen in check.groups.items()
            if chosen
        ],
        skipped=[(reason, len(names), ", ".join(names[:5])) for reason, names in skipped],
    )


def face_of(check: Check, row: int) -> np.ndarray | None:
    """A record's face for the page, (88, 88, 3) uint8 BGR; None where there is none."""
    from age_gender.faces import cut_face, read_image

    image = read_image(os.path.join(check.folder, check.records.path[row]))
    return None if image is None else cut_face(image, check.records.face_box(row), check.margin, 88)


def label_of(records: Records, row: int) -> str:
    """A face's labels in short: '31, F', '25-32, M', '?, F'."""
    age, gender = int(records.age[row]), int(records.gender[row])
    said = str(age) if age != UNKNOWN else "?"
    if records.label_low is not None and records.label_low[row] != UNKNOWN:
        said = f"{records.label_low[row]}-{records.label_high[row]}"
    return f"{said}, {GENDERS[gender] if gender != UNKNOWN else '?'}"


if __name__ == "__main__":
    cli.run(main)
