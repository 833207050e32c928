"""Fetches one file, goes on where the connection broke, and finds out whether what came is what is published.

NAME.part is kept whatever ends a download, and NAME.part.json says of which file it is a part, so that a file that has
changed on the server is fetched anew.
"""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from age_gender.files import DISK_FULL, LFS_POINTER, write_text
from readers.sources import Source

BLOCK = 1 << 18  # bytes that are read at a time
TIMEOUT = 30  # seconds without a byte
WAITS = (1, 3, 9)  # seconds before each further try; begun again whenever a try has brought us further
SMALL = 1024  # bytes: a Git LFS pointer has 131, no file of ours so few
UNPACKED_SHARE = 1.2  # room that an archive of photos takes when it is unpacked, file by file, as a share of its size
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Lost(ConnectionError):
    """The connection failed in a way that another try may mend."""


class Part(NamedTuple):
    """What must be known of a file of which a part has been fetched, to go on with it."""

    url: str  # where it came from
    size: int | None  # bytes of the whole file, as announced; None if the server did not
    etag: str  # the header ETag; "" if the server sent none
    modified: str  # and Last-Modified

    @property
    def validator(self) -> str:
        """What If-Range says, so that the server tells whether the file is still the same: a strong ETag, else the
        time of its last change, else ""."""
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
    """Fetches a file into `part`, goes on with what is there, and tries again where the connection is lost. Raises as
    `fetch_archive` does."""
    furthest, waits = length(part), list(WAITS)
    while True:
        try:
            return fetch_once(source, part, unpacks)
        except Lost as lost:
            kept = length(part)
            if kept > furthest:
                furthest, waits = kept, list(WAITS)
            if not waits:
                raise OSError(
                    f"{lost}; {kept:,} bytes are kept, the same command goes on from there. Fetched in another way, "
                    f"{source.url} is looked for as {part.with_suffix('')}"
                ) from None
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
    """One try to fetch what is missing of a file; raises Lost if the connection fails or ends before the end."""
    known = read_note(part, source.url)
    start = length(part) if known else 0
    if known and start == known.size:
        return
    there, (response, start) = start, ask(source.url, start, known)
    with response:
        size = announced_size(response, start, known)
        refuse_another_file(response, size, source)
        require_room(part.parent, (size or 0) - start, size if unpacks else 0)
        if there and not start:
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
        response: of requests, to be read and closed.
        start: the byte that it begins at, or 0 where the server cannot go on.
    """
    response = send(url, {"Range": f"bytes={start}-", "If-Range": known.validator} if start else {})
    if start and goes_on_from(response, start, known):
        return response, start
    if start and response.status_code != 200:
        response.close()
        response = send(url, {})
    if response.status_code != 200:
        raise ValueError(f"{url} answers a plain request with a part of the file; --url names another address")
    return response, 0


def announced_size(response, start: int, known: Part | None) -> int | None:
    """The length of the whole file in bytes; None if the server does not say it."""
    if not start:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None
    total = CONTENT_RANGE.fullmatch(response.headers["Content-Range"].strip())[2]
    return known.size if total == "*" else int(total)


def goes_on_from(response, start: int, known: Part) -> bool:
    """Whether a partial response is the rest of the known file: servers that ignore If-Range exist."""
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return (
        response.status_code == 206  # of the whole file, 200, the header means nothing
        and found is not None
        and int(found[1]) == start
        and (known.size is None or found[2] in ("*", str(known.size)))
        and response.headers.get("ETag", known.etag) == known.etag
        and response.headers.get("Last-Modified", known.modified) == known.modified
    )


def send(url: str, headers: dict[str, str]):
    """The response to a GET request, redirects followed: what was asked for, or 416, that it cannot begin there.

    Only http and https are spoken, whatever a redirect says.

    Raises:
        Lost: if another try may help.
        ValueError: if it will not.
    """
    import requests

    # Bytes as they are stored: a server that compressed them on the way would count others than it has announced.
    wanted = {"User-Agent": "age-gender-estimation download.py", "Accept-Encoding": "identity", **headers}
    try:
        response = requests.get(url, headers=wanted, stream=True, timeout=TIMEOUT)
    except requests.exceptions.SSLError as error:
        raise ValueError(f"{url} is not trusted: {_reason(error)}") from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise Lost(f"{urlsplit(url).netloc} cannot be reached ({_reason(error)})") from None
    except requests.RequestException as error:  # such as an unknown scheme, of a redirect
        raise ValueError(f"{url} cannot be opened: {_reason(error)}") from None
    if response.status_code >= 400 and response.status_code != 416:
        response.close()
        answer = f"{url} answers {response.status_code} {' '.join(str(response.reason).split())}"
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise Lost(answer)
        raise ValueError(f"{answer}; --url names another address")
    if url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise ValueError(f"{url} leads to {response.url}, without encryption; --url names another address")
    return response


def _reason(error: Exception) -> str:
    """The innermost words of an error of requests, which wraps urllib3's, which wraps the system's."""
    inner = getattr(error, "args", ())
    while inner and isinstance(inner[0], Exception):
        error = getattr(inner[0], "reason", None) or inner[0]
        if not isinstance(error, Exception):
            return str(error)
        inner = error.args
    said = str(inner[-1]) if inner else ""
    return re.sub(r"^.*?(>|\)): ", "", said) or type(error).__name__  # urllib3 names its connection before a colon


def refuse_another_file(response, size: int | None, source: Source) -> None:
    """Raises ValueError if a response cannot be the file that is wanted, before anything is written."""
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise ValueError(
            f"{source.url} answers with a web page, not with {source.archive}: is a login or a quota in between? "
            f"see {source.page}"
        )
    if size is None or size == source.size or (source.size is None and size >= SMALL):
        return
    if size < SMALL and response.raw.read(len(LFS_POINTER)) == LFS_POINTER:
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
    from http.client import IncompleteRead

    from tqdm import tqdm
    from urllib3.exceptions import HTTPError

    # Unbuffered, so that all that came is in the file whatever happens next.
    with (
        open(part, "ab", buffering=0) as file,
        tqdm(total=size, initial=start, unit="B", unit_scale=True, disable=None, desc=part.stem) as progress,
    ):
        while size is None or start < size:
            try:
                block = response.raw.read1(BLOCK if size is None else min(BLOCK, size - start))
            except (OSError, HTTPError) as error:
                if size is not None and any(isinstance(each, IncompleteRead) for each in error.args):
                    break  # the server ended it before the end that it had announced
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
    write_text(note_of(part), json.dumps(known._asdict()))


def read_note(part: Path, url: str) -> Part | None:
    """What a part is a part of; None if there is no part, or it cannot be gone on with, or came from elsewhere."""
    try:
        known = Part(**json.loads(note_of(part).read_text(encoding="utf-8")))
        understood = isinstance(known.size, int | None) and all(isinstance(text, str) for text in known[2:])
    except (OSError, ValueError, TypeError, RecursionError):
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


def rounded(count: int) -> str:
    """'7.0 GB' for bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def verify(path: Path, source: Source) -> str:
    """How a file was found to be the published one, in words.

    Raises:
        ValueError: with what is wrong: its size, its checksum, or, where none is published, an archive that is not
            whole or not safe.
    """
    from readers.archives import unpack  # with libraries that --help does without

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

    digest, look = hashlib.new(kind, usedforsecurity=False), {"total": length(path), "disable": None, "desc": kind}
    with open(path, "rb") as file, tqdm.wrapattr(file, "read", **look) as watched:
        while block := watched.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
