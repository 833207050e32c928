"""Ages and genders of the faces in photos, one line of CSV a face.

    age-gender photo.jpg
    age-gender photos/ --json > faces.jsonl
    python -m age_gender photo.jpg

A photo without a face, or one that cannot be read, has a line that says so. Exit status: 0 all were read, 1 some were
not, 2 none was or something else is wrong.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from age_gender import cli
from age_gender.detectors import DETECTORS


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__ or "", "age-gender PATH... [--json] [options]", quiet=False)
    parser.add_argument("paths", **cli.PATHS, metavar="PATH", help="photos, or folders of photos")
    parser.add_argument("--json", action="store_true", help="a line of JSON a face instead of CSV")
    parser.add_argument("--weight_file", **cli.FILE, help="a model that export.py wrote (default: the one shipped)")
    parser.add_argument(
        "--detector",
        choices=DETECTORS,
        help="face detector; none: each photo is a face, cut already (default: what the model's faces were found with, "
        "else dlib)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, predict, print."""
    args = build_parser().parse_args(argv)
    from age_gender.predictor import Predictor
    from age_gender.results import naming_damaged, rows_of, write_csv
    from age_gender.sources import Frame, find_images, images

    predictor = Predictor(args.weight_file, args.detector)

    def say(text: str) -> None:
        print(cli.one_line(f"age-gender: {text}"), file=sys.stderr)

    read = lost = empty = 0

    def frames() -> Iterator[Frame]:
        """The photos, those of folders among them."""
        nonlocal empty
        for path in args.paths:
            if not os.path.isdir(path):
                yield from images([path])
                continue
            try:
                found = find_images(path)
            except (FileNotFoundError, PermissionError) as error:
                empty += 1
                say(str(error))
                continue
            if found.passed_over:
                say(f"{path}: passed over {found}")
            yield from images(found.images)

    def rows() -> Iterator[dict[str, Any]]:
        """What is found in them, as it is found."""
        nonlocal read, lost
        for result in naming_damaged(predictor.stream(frames()), Path(), say):
            read += 1
            if result.image is None:
                lost += 1
                say(f"{result.frame.name} {why_unread(result.frame.name)}")
            yield from rows_of(result)
            sys.stdout.flush()

    if args.json:
        for row in rows():
            print(json.dumps(row, allow_nan=False))
    else:
        if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():  # a file: as demo.py writes its table
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        write_csv(sys.stdout, rows())
    return 0 if not lost + empty else 1 if lost < read else 2


def why_unread(name: str) -> str:
    """Why a file gave no picture."""
    from age_gender.faces import heic_remedy
    from age_gender.sources import is_video

    try:
        os.stat(name)
    except OSError as error:
        return "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    if is_video(Path(name)):
        return "is a video; the suite's demo.py and the library's sources.Video read it (docs/api.md)"
    return f"is no photo that can be read, or it is damaged{heic_remedy(name)}"


def run() -> None:
    """What the console command `age-gender` calls."""
    cli.run(main)


if __name__ == "__main__":
    run()
