# PYTHON_ARGCOMPLETE_OK
"""Fetches face datasets and the YuNet model, or says what to do where a form, an account or a person is in between.

    python download.py                                 # what there is: sizes, licences, what is fetched, what is not
    python download.py wiki                            # -> data/wiki_crop, which create_db.py reads
    python download.py imdb --output_dir /big/disk     # -> /big/disk/imdb_crop; takes 16 GB while it is unpacked
    python download.py yunet                           # -> data/face_detection_yunet_2023mar.onnx
    python download.py utkface                         # prints the steps; later unpacks and checks what they bring

Whatever ends a download, the same command goes on where it ended: NAME.part is kept, and NAME.part.json says of which
file it is a part, so that a file that has changed on the server is fetched anew. Size and checksum are compared before
anything is unpacked. An archive is unpacked beside its place and moved there when it is whole; one that climbs out of
its folder, holds links or devices, or grows beyond 100 times its size is refused. It is removed when it is unpacked,
if this run fetched it and --keep_archive does not say otherwise.

Exit status: 0 what was asked for is there, 1 it is still to be got by hand, 2 something is wrong, 130 stopped.
"""

import argparse
import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from age_gender import cli
from age_gender.detectors import yunet
from age_gender.files import alone
from readers import OTHER_SOURCES, READERS
from readers.fetch import fetch_archive, rounded, verify
from readers.install import install, lacking
from readers.sources import Source

SCHEMES = ("http", "https")
YUNET = Source(
    what="YuNet, OpenCV's face detector",
    licence="MIT",
    page="https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet",
    archive=yunet.FILE,
    # A fixed revision: the main branch moves on to other exports.
    url="https://media.githubusercontent.com/media/opencv/opencv_zoo/f12e12798e8314f7c074a6656816c048dcc95b7a/"
    f"models/face_detection_yunet/{yunet.FILE}",
    size=yunet.SIZE,
    checksum=f"sha256:{yunet.SHA256}",
)
SOURCES: dict[str, Source] = {
    **{name: reader.source for name, reader in READERS.items() if reader.source.licence and not reader.same},
    **OTHER_SOURCES,
    "yunet": YUNET,
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "download.py [NAME] [--output_dir DIR] [options]")
    parser.add_argument(
        "name",
        nargs="?",
        choices=SOURCES,
        metavar="NAME",
        help=f"what to get, of {', '.join(SOURCES)}; without it, all are listed with sizes and licences",
    )
    parser.add_argument(
        "--output_dir", type=Path, default=Path("data"), metavar="DIR", help="where its folder or file is put"
    )
    parser.add_argument("--no_extract", action="store_true", help="fetch and verify the archive, but do not unpack it")
    parser.add_argument("--keep_archive", action="store_true", help="keep the archive when it is unpacked")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument(
        "--url",
        type=web_address,
        metavar="URL",
        help="fetch the same file from here, such as a mirror; size and checksum are compared all the same",
    )
    return parser


def web_address(text: str) -> str:
    """A type for argparse: an address that begins with http:// or https:// and names a host."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in SCHEMES and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        valid = False
    if not valid or re.search(r"[^!-~]", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no address that begins with http:// or https://")
    return text


def main(argv: list[str] | None = None) -> int | None:
    """Lists what there is; or fetches, verifies and unpacks; or prints the steps and checks what they brought."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.name is None:
        if args.url:
            parser.error("--url needs the NAME of what is there")
        return list_sources()
    source = SOURCES[args.name]
    if args.url and not source.archive:
        parser.error(f"--url is for one file, and {args.name} comes in several: python download.py {args.name}")
    source = source._replace(url=args.url or source.url)
    try:
        if not source.url:
            return get_by_hand(args.name, source, args)
        return get(args.name, source, args)
    except KeyboardInterrupt:
        print("\ndownload.py: stopped; what was fetched is kept, the same command goes on from there", file=sys.stderr)
        return 130


def list_sources() -> None:
    """Prints one line for each source, in columns."""
    from tabulate import tabulate

    rows = [
        (
            name,
            source.about if source.size is None else rounded(source.size),
            "fetched" if source.url else "by hand",
            source.licence,
            source.what,
        )
        for name, source in SOURCES.items()
    ]
    print(tabulate(rows, ("name", "size", "got", "licence", "what it is"), tablefmt="plain", disable_numparse=True))
    print("\npython download.py NAME fetches, or prints the steps where it says 'by hand'. ?: only the server knows")


def get(name: str, source: Source, args: argparse.Namespace) -> int:
    """Fetches, verifies and unpacks, as far as that is asked for and not done yet. Returns the exit status."""
    archive, target = args.output_dir / source.archive, args.output_dir / source.folder
    unpacks = bool(source.folder) and not args.no_extract
    if unpacks and os.path.lexists(target) and not args.overwrite:
        if missing := lacking(target, source.expected):
            raise ValueError(f"{target} is there, but lacks {missing}; --overwrite replaces it")
        print(f"{target} is there already and holds what it should; --overwrite fetches it anew")
        return 0
    print(f"{name}: {source.what}, from {source.url}\nlicence: {source.licence}, see {source.page}")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    with alone(archive):
        fetched = fetch_archive(source, archive, args.overwrite, unpacks)
        if unpacks:
            put_in_place(name, source, archive, target, keep=args.keep_archive or not fetched)
    return 0


def get_by_hand(name: str, source: Source, args: argparse.Namespace) -> int:
    """Unpacks and checks what a person has brought, or prints how to get it. Returns the exit status."""
    archive, target = args.output_dir / source.archive, args.output_dir / source.folder
    there = os.path.lexists(target)
    if source.archive and archive.is_file() and (args.overwrite or args.no_extract or not there):
        with alone(archive):
            print(f"{archive}: {verify(archive, source)}")
            if not args.no_extract:
                put_in_place(name, source, archive, target, keep=True)
        return 0
    missing = lacking(target, source.expected) if there else ""
    if there and not missing:
        print(f"{target} is there and holds what it should")
        return 0
    print(f"{name}: {source.what}; cannot be fetched by a script\nlicence: {source.licence}, see {source.page}")
    for number, step in enumerate(source.steps, start=1):
        print(f"{number}. {step.format(folder=target, output_dir=args.output_dir, page=source.page)}")
    if there:
        sys.stdout.flush()
        brought = bool(source.archive) and archive.is_file()
        advised = f"; --overwrite unpacks {archive} in its place" if brought else ""
        raise ValueError(f"{target} is there, but lacks {missing}{advised}")
    return 1


def put_in_place(name: str, source: Source, archive: Path, target: Path, keep: bool) -> None:
    """Unpacks an archive; says where the dataset now is, and what reads it, if anything here does."""
    files = install(source, archive, target)
    reads = ""
    if name in READERS:
        there = target == Path(READERS[name].folder)
        reads = f"; create_db.py --db {name}" + ("" if there else f" --data_dir {target}")
    print(f"{target}: {files:,} files{reads}")
    cli.result(folder=target, files=files)
    if keep:
        print(f"{archive} is kept")
    else:
        archive.unlink()


if __name__ == "__main__":
    cli.run(main)
