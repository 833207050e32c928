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
import errno
import json
import os
import re
import shutil
import sys
import time
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from age_gender import cli
from age_gender.detectors import yunet
from readers import READERS
from readers.archives import BLOCK, unpack

SCHEMES = ("http", "https")
TIMEOUT = 30  # seconds without a byte
WAITS = (1, 3, 9)  # seconds before each further try; begun again whenever a try has brought us further
SMALL = 1024  # bytes: a Git LFS pointer has 131, no file of ours so few
UNPACKED_SHARE = 1.2  # room that an archive of photos takes when it is unpacked, file by file, as a share of its size
DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
LFS_POINTER = b"version https://git-lfs"
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Expected(NamedTuple):
    """Files that a dataset must have: at least so many that match one of the patterns, relative to its folder."""

    patterns: tuple[str, ...]
    least: int = 1


class Source(NamedTuple):
    """Something to fetch, or to ask for.

    Attributes:
        what: what it is.
        licence: on what terms its authors give it.
        page: where it is described and asked for.
        folder: name of its folder in --output_dir; "" where the file is wanted as it is.
        archive: name of the file that is fetched; "" where it comes in several.
        url: address of that file; "" where it cannot be fetched without a form, an account or a person.
        size: its length in bytes, as published; None where only the server knows.
        about: roughly how long it is, where `size` is None.
        checksum: "md5:" or "sha256:" and hex digits, as published; "" where none is.
        expected: what the folder must hold.
        steps: what to do by hand, with {folder}, {output_dir} and {page} to be filled in.
    """

    what: str
    licence: str
    page: str
    folder: str = ""
    archive: str = ""
    url: str = ""
    size: int | None = None
    about: str = "?"
    checksum: str = ""
    expected: tuple[Expected, ...] = ()
    steps: tuple[str, ...] = ()


def folder_of(name: str) -> str:
    """Name of the folder in which create_db.py looks for a dataset."""
    return Path(READERS[name].folder).name


IMDB_WIKI = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/"
UTKFACE = "https://susanqq.github.io/UTKFace/"
UNPACKED_HERE = "put it into {output_dir} and run the same command again: it is unpacked to {folder} and checked"
CHECKED_HERE = "run the same command again: it checks {folder}"

SOURCES = {
    "wiki": Source(
        what="WIKI, faces only",
        licence="academic research only",
        page=IMDB_WIKI,
        folder=folder_of("wiki"),
        archive="wiki_crop.tar",
        url=IMDB_WIKI + "static/wiki_crop.tar",
        about="0.8 GB",
        checksum="md5:f536eb7f5eae229ae8f286184364b42b",
        expected=(Expected(("wiki.mat",)), Expected(("*/*.jpg",), 50_000)),
    ),
    "imdb": Source(
        what="IMDB, faces only",
        licence="academic research only",
        page=IMDB_WIKI,
        folder=folder_of("imdb"),
        archive="imdb_crop.tar",
        url=IMDB_WIKI + "static/imdb_crop.tar",
        size=7_012_157_440,
        checksum="md5:44b7548f288c14397cb7a7bab35ebe14",
        expected=(Expected(("imdb.mat",)), Expected(("*/*.jpg",), 400_000)),
    ),
    "imdb_meta": Source(
        what="IMDB, metadata of the uncropped photos",
        licence="academic research only",
        page=IMDB_WIKI,
        folder="imdb",
        archive="imdb_meta.tar",
        url=IMDB_WIKI + "static/imdb_meta.tar",
        checksum="md5:469433135f1e961c9f4c0304d0b5db1e",
        expected=(Expected(("imdb.mat",)),),
    ),
    "appa_real": Source(
        what="APPA-REAL, real and apparent ages",
        licence="research, on ChaLearn's terms",
        page="https://chalearnlap.cvc.uab.cat/dataset/26/description/",
        folder=folder_of("appa_real"),
        archive="appa-real-release.zip",
        # Of the same archive's addresses the one with https, as no checksum is published; --url takes the other,
        # http://158.109.8.102/AppaRealAge/appa-real-release.zip
        url="https://data.chalearnlap.cvc.uab.cat/AppaRealAge/appa-real-release.zip",
        about="0.9 GB",
        expected=(
            *(Expected((f"gt_avg_{part}.csv",)) for part in ("train", "valid", "test")),
            Expected(("train/*.jpg_face.jpg",), 4113),
            Expected(("valid/*.jpg_face.jpg",), 1500),
            Expected(("test/*.jpg_face.jpg",), 1978),
        ),
    ),
    "fgnet": Source(
        what="FG-NET, 82 people over the years",
        licence="research only",
        page="https://yanweifu.github.io/FG_NET_data/",
        folder=folder_of("fgnet"),
        archive="FGNET.zip",
        url="https://yanweifu.github.io/FG_NET_data/FGNET.zip",
        about="46 MB",
        expected=(Expected(("images/*.[jJ][pP][gG]",), 1002),),
    ),
    "yunet": Source(
        what="YuNet, OpenCV's face detector",
        licence="MIT",
        page="https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet",
        archive=yunet.FILE,
        # A fixed revision: the main branch moves on to other exports.
        url="https://media.githubusercontent.com/media/opencv/opencv_zoo/f12e12798e8314f7c074a6656816c048dcc95b7a/"
        f"models/face_detection_yunet/{yunet.FILE}",
        size=yunet.SIZE,
        checksum=f"sha256:{yunet.SHA256}",
    ),
    "utkface": Source(
        what="UTKFace, aligned and cropped",
        licence="non-commercial research only",
        page=UTKFACE,
        folder=folder_of("utkface"),
        archive="UTKFace.tar.gz",
        about="0.1 GB",
        expected=(Expected(("**/*.jpg",), 23_700),),
        steps=(
            "open {page} and follow 'Aligned&Cropped Faces' to its Google Drive",
            "download UTKFace.tar.gz there",
            UNPACKED_HERE,
        ),
    ),
    "utkface_wild": Source(
        what="UTKFace, photos in the wild",
        licence="non-commercial research only",
        page=UTKFACE,
        folder=folder_of("utkface_wild"),
        expected=(
            *(Expected((f"landmark_list_part{part}.txt",)) for part in (1, 2, 3)),
            *(Expected((f"part{part}/*.jpg",)) for part in (1, 2, 3)),
        ),
        steps=(
            "open {page} and follow 'In-the-wild Faces' to its Google Drive",
            "download part1.tar.gz, part2.tar.gz and part3.tar.gz, and unpack all three into {folder}",
            "download the three landmark lists, landmark_list_part1.txt to 3, into {folder}",
            CHECKED_HERE,
        ),
    ),
    "adience": Source(
        what="Adience, eight age groups",
        licence="research only",
        page="https://talhassner.github.io/home/projects/Adience/Adience-data.html",
        folder=folder_of("adience"),
        about="1 to 2 GB",
        expected=(
            *(Expected((f"fold_{fold}_data.txt",)) for fold in range(5)),
            Expected(
                ("aligned/*/landmark_aligned_face.*.jpg", "faces/*/coarse_tilt_aligned_face.*.jpg"),
                19_000,
            ),
        ),
        steps=(
            "open {page} and fill in the form: user name and password for the download come with it",
            "download fold_0_data.txt to fold_4_data.txt into {folder}",
            "download aligned.tar.gz or faces.tar.gz and unpack it into {folder}, which then holds aligned/ or faces/",
            CHECKED_HERE,
        ),
    ),
    "facescrub": Source(
        what="FaceScrub, lists of photos, genders only",
        licence="non-commercial research only",
        page="http://vintage.winklerbros.net/facescrub.html",
        folder=folder_of("facescrub"),
        expected=(
            Expected(("facescrub_actors.txt",)),
            Expected(("facescrub_actresses.txt",)),
            Expected(("**/*.jp*g", "**/*.png")),
        ),
        steps=(
            "open {page} and ask for the password by its form; it comes by e-mail, with a zip file",
            "unpack facescrub_actors.txt and facescrub_actresses.txt into {folder}",
            "fetch the photos that the lists name, which are all over the web and partly gone, into {folder}, each as "
            "<name>/<name>_<face_id>.jpg or under any name with its content unchanged",
            CHECKED_HERE,
        ),
    ),
    "all_age_faces": Source(
        what="All-Age-Faces, mostly Asian",
        licence="none is stated; cite the paper",
        page="https://github.com/JingchunCheng/All-Age-Faces-Dataset",
        folder=folder_of("all_age_faces"),
        archive="All-Age-Faces Dataset.zip",
        expected=(
            Expected(("aglined faces/*A*.jpg", "aligned faces/*A*.jpg"), 13_322),
            Expected(("image sets/train.txt",)),
            Expected(("image sets/val.txt",)),
        ),
        steps=(
            "open {page} and follow its link to Baidu, which asks for an account, or to Dropbox",
            "download 'All-Age-Faces Dataset.zip' there",
            UNPACKED_HERE,
        ),
    ),
    "afad": Source(
        what="AFAD, Asian faces",
        licence="academic research only",
        page="https://github.com/afad-dataset/tarball",
        folder=folder_of("afad"),
        about="1.5 GB",
        expected=(Expected(("[0-9][0-9]/11[12]/*.jpg",), 165_000),),
        steps=(
            "git clone {page}.git",
            "in the folder 'tarball', join the parts: bash restore.sh, or cat AFAD-Full.tar.xz* > AFAD-Full.tar.xz",
            "unpack the result: tar -xf AFAD-Full.tar.xz -C {output_dir}, so that {folder} holds folders 15 to 72",
            CHECKED_HERE,
        ),
    ),
    "imdb_clean": Source(
        what="IMDB-Clean, cleaned labels of IMDB",
        licence="the lists MIT, the photos IMDB-WIKI's",
        page="https://github.com/yiminglin-ai/imdb-clean",
        folder="imdb-clean",
        expected=tuple(Expected((f"csvs/imdb_{part}_new.csv",)) for part in ("train", "valid", "test")),
        steps=(
            "git clone {page}.git {folder}",
            "if csvs/ is not in it or holds files of some 130 bytes, see its README: they are stored with Git LFS",
            "the lists' boxes are on the uncropped photos: imdb_0.tar to imdb_9.tar of " + IMDB_WIKI,
            CHECKED_HERE,
        ),
    ),
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


# -------------------------------------------------------------------------------------------- what is asked for


def list_sources() -> None:
    """Prints one line for each source, in columns."""
    rows = [("name", "size", "got", "licence", "what it is")]
    for name, source in SOURCES.items():
        size = source.about if source.size is None else rounded(source.size)
        rows.append((name, size, "fetched" if source.url else "by hand", source.licence, source.what))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\npython download.py NAME fetches, or prints the steps where it says 'by hand'. ?: only the server knows")


def rounded(count: int) -> str:
    """'7.0 GB' for bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


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
            install(name, source, archive, target)
            if fetched and not args.keep_archive:
                archive.unlink()
            else:
                print(f"{archive} is kept")
    return 0


def get_by_hand(name: str, source: Source, args: argparse.Namespace) -> int:
    """Unpacks and checks what a person has brought, or prints how to get it. Returns the exit status."""
    archive, target = args.output_dir / source.archive, args.output_dir / source.folder
    there = os.path.lexists(target)
    if source.archive and archive.is_file() and (args.overwrite or args.no_extract or not there):
        with alone(archive):
            print(f"{archive}: {verify(archive, source)}")
            if not args.no_extract:
                install(name, source, archive, target)
                print(f"{archive} is kept")
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


def lacking(folder: Path, expected: tuple[Expected, ...]) -> str:
    """What a dataset's folder lacks, in words; "" if nothing. Looks at names alone."""
    missing = []
    for patterns, least in expected:
        count = max(sum(1 for _ in islice(folder.glob(pattern), least)) for pattern in patterns)
        if count < least:
            names = " or ".join(patterns)
            missing.append(names if least == 1 else f"{names} ({count:,} files of {least:,} or more)")
    return ", ".join(missing)


@contextmanager
def alone(path: Path):
    """Keeps other runs away from a file while the block lasts, where the system can.

    Raises:
        ValueError: if another run is at work on it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: two runs at a time would fail by the checksum
        yield
        return
    lock = path.with_name(f".{path.name}.lock")
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another run is at work on {path}; wait for it, or end it") from None
        except OSError:
            pass  # some network drives have no locks
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


# -------------------------------------------------------------------------------------------- fetching


class Lost(ConnectionError):
    """The connection failed in a way that another try may mend."""


class Part(NamedTuple):
    """What must be known of a file of which a part has been fetched, to go on with it.

    Attributes:
        url: where it came from.
        size: bytes of the whole file, as announced; None if the server did not.
        etag, modified: the headers ETag and Last-Modified; "" if the server sent none.
    """

    url: str
    size: int | None
    etag: str
    modified: str

    @property
    def validator(self) -> str:
        """By what the server tells whether the file is still the same; "" if it cannot. A weak ETag does not do."""
        return self.etag if self.etag.startswith('"') else self.modified


def fetch_archive(source: Source, archive: Path, overwrite: bool, unpacks: bool) -> bool:
    """Makes sure that a verified archive is there; returns whether it was fetched now.

    Raises:
        ValueError: if what is there, or what came, is not what is published. What came is deleted.
        OSError: if it could not be fetched; its part is kept.
    """
    if archive.exists() and (source.checksum or not overwrite):  # without a checksum nobody can tell that it is good
        try:
            print(f"{archive} is there already: {verify(archive, source)}")
            return False
        except ValueError as error:
            if not overwrite:
                raise ValueError(f"{archive} is there, but {error}; --overwrite fetches it anew") from None
    part = archive.with_name(archive.name + ".part")
    fetch(source, part, unpacks)
    try:
        print(f"{archive}: {verify(part, source)}")
    except ValueError as error:
        part.unlink()
        note_of(part).unlink(missing_ok=True)
        raise ValueError(f"what came from {source.url} is not the published file: {error}; it is deleted") from None
    os.replace(part, archive)
    note_of(part).unlink(missing_ok=True)
    return True


def fetch(source: Source, part: Path, unpacks: bool) -> None:
    """Fetches a file into `part`, goes on with what is there, and tries again where the connection is lost.

    Raises:
        ValueError: if the server has no such file, or another one.
        OSError: if the connection fails again and again, or the disk is full; `part` is kept.
    """
    furthest, waits = length(part), list(WAITS)
    while True:
        try:
            return fetch_once(source, part, unpacks)
        except Lost as lost:
            kept = length(part)
            if kept > furthest:
                furthest, waits = kept, list(WAITS)
            if not waits:
                raise OSError(f"{lost}; {kept:,} bytes are kept, the same command goes on from there") from None
            print(f"{lost}; trying again in {waits[0]} s", file=sys.stderr)
            time.sleep(waits.pop(0))
        except OSError as error:
            if error.errno in DISK_FULL:
                raise OSError(
                    f"{part} cannot grow ({error.strerror}): {length(part):,} bytes are kept; make room, and the same "
                    "command goes on from there"
                ) from None
            raise


def fetch_once(source: Source, part: Path, unpacks: bool) -> None:
    """One try to fetch what is missing of a file. See `fetch`.

    Raises:
        Lost: if the connection fails or ends before the announced end.
    """
    known = read_note(part, source.url)
    start = length(part) if known else 0
    if known and start == known.size:
        return
    response, goes_on = ask(source.url, start, known)
    with response:
        begun, start = start, start if goes_on else 0
        size = announced_size(response, start, known)
        refuse_another_file(response, size, source)
        require_room(part.parent, (size or 0) - start, size if unpacks else 0)
        if begun and not start:
            print(f"going on is not possible, as the file has changed or the server cannot: {part} begins anew")
        if not start:
            part.write_bytes(b"")  # before the note: it must never speak of another file's beginning
            headers = response.headers
            write_note(part, Part(source.url, size, headers.get("ETag", ""), headers.get("Last-Modified", "")))
        done = f", of which {start:,} are there" if start else ""
        print(f"fetching {'an unknown number of' if size is None else f'{size:,}'} bytes{done}", flush=True)
        receive(response, part, start, size)


def ask(url: str, start: int, known: Part | None):
    """Asks the server for a file from byte `start` on, if it is still the file of which we know.

    Returns:
        response: of http.client, to be read and closed.
        goes_on: whether it begins at `start`; otherwise it begins at 0.
    """
    if start and known.validator:
        response = send(url, {"Range": f"bytes={start}-", "If-Range": known.validator})
        if response is not None and response.status != 206:
            return response, False
        if response is not None and goes_on_from(response, start, known):
            return response, True
        if response is not None:
            response.close()
    response = send(url, {})
    if response is None or response.status != 200:
        raise ValueError(f"{url} answers a plain request with a part of the file; --url names another address")
    return response, False


def announced_size(response, start: int, known: Part | None) -> int | None:
    """The length of the whole file in bytes; None if the server does not say it."""
    if not start:
        return response.length
    total = CONTENT_RANGE.fullmatch(response.headers["Content-Range"].strip())[2]
    return known.size if total == "*" else int(total)


def goes_on_from(response, start: int, known: Part) -> bool:
    """Whether a partial response is the rest of the known file: servers that ignore If-Range exist."""
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return (
        found is not None
        and int(found[1]) == start
        and (known.size is None or found[2] in ("*", str(known.size)))
        and response.headers.get("ETag", known.etag) == known.etag
        and response.headers.get("Last-Modified", known.modified) == known.modified
    )


def send(url: str, headers: dict[str, str]):
    """The response to a GET request, redirects followed; None if the server cannot begin where it was asked to.

    Only http and https are spoken, whatever a redirect says: no other handler is there.

    Raises:
        Lost: if another try may help.
        ValueError: if it will not.
    """
    import http.client
    import ssl
    import urllib.error
    import urllib.request as web

    opener = web.OpenerDirector()
    for handler in (
        web.ProxyHandler,
        web.UnknownHandler,
        web.HTTPHandler,
        web.HTTPSHandler,
        web.HTTPDefaultErrorHandler,
        web.HTTPRedirectHandler,
        web.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    request = web.Request(url, headers={"User-Agent": "age-gender-estimation download.py", **headers})
    try:
        response = opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            return None
        answer = f"{url} answers {error.code} {' '.join(str(error.reason).split())}"
        if error.code in (408, 429) or error.code >= 500:
            raise Lost(answer) from None
        raise ValueError(f"{answer}; --url names another address") from None
    except http.client.InvalidURL as error:
        raise ValueError(f"{url} is no address: {error}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise ValueError(f"{url} is not trusted: {reason.verify_message}") from None
        if isinstance(reason, str):  # such as an unknown url type, of a redirect
            raise ValueError(f"{url} cannot be opened: {reason}") from None
        raise Lost(f"{urlsplit(url).netloc} cannot be reached ({str(reason) or type(reason).__name__})") from None
    if url.startswith("https:") and not response.geturl().startswith("https:"):
        response.close()
        raise ValueError(f"{url} leads to {response.geturl()}, without encryption; --url names another address")
    return response


def refuse_another_file(response, size: int | None, source: Source) -> None:
    """Raises ValueError if a response cannot be the file that is wanted, before anything is written."""
    if response.headers.get_content_type() == "text/html":
        raise ValueError(
            f"{source.url} answers with a web page, not with {source.archive}: is a login or a quota in between? "
            f"see {source.page}"
        )
    if size is None or size == source.size or (source.size is None and size >= SMALL):
        return
    if size < SMALL and response.read(len(LFS_POINTER)) == LFS_POINTER:
        raise ValueError(pointer_message(size, source.url))
    published = f"{source.size:,} are published" if source.size else f"too few for {source.archive}"
    raise ValueError(f"{source.url} announces {size:,} bytes, {published}: it is another file")


def pointer_message(size: int, url: object) -> str:
    """What to say of a Git LFS pointer."""
    return (
        f"{url} gives a Git LFS pointer of {size} bytes, not the file: LFS is off there or its quota is used up; try "
        "later, or name another address by --url"
    )


def receive(response, part: Path, start: int, size: int | None) -> None:
    """Appends a response's body to `part`, which has `start` bytes of `size`. Raises Lost if it ends too early."""
    from http.client import HTTPException

    from tqdm import tqdm

    # Unbuffered, so that all that came is in the file whatever happens next.
    with (
        open(part, "ab", buffering=0) as file,
        tqdm(total=size, initial=start, unit="B", unit_scale=True, disable=None, desc=part.stem) as progress,
    ):
        while size is None or start < size:
            try:
                block = response.read1(BLOCK if size is None else min(BLOCK, size - start))
            except (OSError, HTTPException) as error:
                raise Lost(f"the connection broke off after {start:,} bytes ({error})") from None
            if not block:
                break
            write_all(file, block)
            start += len(block)
            progress.update(len(block))
    if size is not None and start < size:
        raise Lost(f"the server sent {start:,} of the {size:,} bytes that it announced")


def write_all(file, block: bytes) -> None:
    """Writes a block to an unbuffered file, which may take a little at a time where the disk is nearly full."""
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def length(path: Path) -> int:
    """A file's length in bytes, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def note_of(part: Path) -> Path:
    """Where it is kept what a part is a part of."""
    return part.with_name(part.name + ".json")


def write_note(part: Path, known: Part) -> None:
    """Keeps what must be known to go on."""
    from age_gender.files import replacing

    with replacing(note_of(part)) as new:
        new.write_text(json.dumps(known._asdict()), encoding="utf-8")


def read_note(part: Path, url: str) -> Part | None:
    """What a part is a part of; None if there is no part, or it cannot be gone on with, or came from elsewhere."""
    try:
        known = Part(**json.loads(note_of(part).read_text(encoding="utf-8")))
        understood = isinstance(known.size, int | None) and all(isinstance(text, str) for text in known[2:])
    except (OSError, ValueError, TypeError):
        return None
    usable = understood and known.url == url and (known.validator or known.size == length(part))
    return known if usable and part.exists() else None


def require_room(folder: Path, fetched: int, archive: int | None) -> None:
    """Raises ValueError if the disk lacks the room for so many bytes more and for an archive's contents."""
    unpacked = int(UNPACKED_SHARE * (archive or 0))
    free = shutil.disk_usage(folder).free
    if free < fetched + unpacked:
        parts = f"{rounded(fetched)} to fetch" + (f" and about {rounded(unpacked)} to unpack" if unpacked else "")
        raise ValueError(
            f"{folder} has {rounded(free)} free, where {parts} are needed; make room, or name another --output_dir"
        )


# -------------------------------------------------------------------------------------------- verifying, unpacking


def verify(path: Path, source: Source) -> str:
    """How a file was found to be the published one, in words.

    Raises:
        ValueError: with what is wrong: its size, its checksum, or, where none is published, an archive that is not
            whole or not safe.
    """
    size = length(path)
    with open(path, "rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER and size < SMALL:
            raise ValueError(pointer_message(size, source.url))
    if source.size is not None and size != source.size:
        raise ValueError(f"it has {size:,} bytes, {source.size:,} are published")
    if source.checksum:
        kind, wanted = source.checksum.split(":")
        found = checksum_of(path, kind)
        if found != wanted:
            raise ValueError(f"its {kind} is {found}, {wanted} is published")
        return f"{size:,} bytes, {kind} as published"
    files = unpack(path, None)
    return f"{size:,} bytes, {files:,} files, all whole; no checksum is published for it"


def checksum_of(path: Path, kind: str) -> str:
    """A file's checksum in hex digits, read piece by piece."""
    import hashlib

    from tqdm import tqdm

    digest = hashlib.new(kind, usedforsecurity=False)
    with (
        open(path, "rb") as file,
        tqdm(total=length(path), unit="B", unit_scale=True, disable=None, desc=kind) as progress,
    ):
        while block := file.read(BLOCK):
            digest.update(block)
            progress.update(len(block))
    return digest.hexdigest()


def install(name: str, source: Source, archive: Path, target: Path) -> None:
    """Unpacks an archive beside its place, checks the result and moves it there. What was there is replaced.

    Raises:
        ValueError: if the archive is damaged, unsafe, or not the dataset that it should be.
        OSError: if the disk is full. In either case nothing is left but the archive, and what was there before.
    """
    import tempfile

    prefix = f".{source.folder}-unpacking-"
    for forgotten in target.parent.glob(f"{prefix}*"):  # of a run that was killed; `alone` knows that none is at work
        shutil.rmtree(forgotten, ignore_errors=True)
    require_room(target.parent, 0, length(archive))
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        content = work / "content"
        content.mkdir()
        files = unpack(archive, content)
        top = content / source.folder if (content / source.folder).is_dir() else content
        if missing := lacking(top, source.expected):
            raise ValueError(f"{archive} is not {source.what}: it lacks {missing}")
        if others := [path.name for path in sorted(content.iterdir()) if top != content and path != top]:
            print(f"left out, as it stands beside {source.folder}: {', '.join(others)}")
        move_into_place(top, target, work / "replaced")
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OSError(
                f"{archive} cannot be unpacked in {target.parent} ({error.strerror}); it is kept: make room, and the "
                "same command goes on from there"
            ) from None
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{target}: {files:,} files{advice(name, target)}")


def advice(name: str, target: Path) -> str:
    """What reads a dataset that is in its place; "" if nothing here does."""
    if name not in READERS:
        return ""
    return f"; create_db.py --db {name}" + ("" if target == Path(READERS[name].folder) else f" --data_dir {target}")


def move_into_place(new: Path, target: Path, aside: Path) -> None:
    """Moves a folder to `target`; what is there goes to `aside`, and comes back if that fails."""
    there = os.path.lexists(target)
    if there:
        os.replace(target, aside)
    try:
        os.replace(new, target)
    except OSError:
        if there:
            os.replace(aside, target)
        raise


if __name__ == "__main__":
    cli.run(main)
