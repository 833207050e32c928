"""Archives that are not to be trusted: tar, tar.gz and zip files, unpacked or read through.

What climbs out of its folder, links, devices, and what grows beyond 100 times its size is refused.
"""

import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

from readers.fetch import BLOCK

HEADER = 1 << 14  # bytes of a header of a tar file, such as a long name
RATIO = 100  # times its size, an archive may hold; photos shrink by little, labels by ten times
FLOOR = 1 << 24  # bytes that any archive may hold
MOST_FILES = 2_000_000  # in an archive; IMDB has 460,723
DAMAGES = (  # what is raised where an archive is damaged, encrypted, or none
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    RuntimeError,  # encrypted; NotImplementedError, an unknown compression, is one too
)


class Member(NamedTuple):
    """A member of an archive."""

    name: str  # its path, as the archive has it
    kind: str  # "file", "folder", or what else it is
    open: Callable  # opens a file's content for reading


def unpack(archive: Path, folder: Path | None) -> int:
    """Unpacks a tar, tar.gz or zip file; with None it is only read through. Returns the number of files.

    Permissions, owners and times are not taken over.

    Raises:
        ValueError: if the archive is damaged, or holds a path that leads out of the folder, a link, a device, too many
            files, or more than RATIO times its own size (FLOOR at least).
    """
    from tqdm import tqdm

    limit = max(FLOOR, RATIO * archive.stat().st_size)
    files = written = 0
    try:
        with (
            closing(members(archive, limit)) as found,
            tqdm(unit="B", unit_scale=True, disable=None, desc="unpacking" if folder else "reading") as progress,
        ):
            for number, member in enumerate(found, start=1):
                if number > MOST_FILES:
                    raise ValueError(f"{archive} holds more than {MOST_FILES:,} files and is refused")
                parts = safe_parts(archive, member)
                if member.kind == "folder":
                    if folder:
                        folder.joinpath(*parts).mkdir(parents=True, exist_ok=True)
                    continue
                files += 1
                with member.open() as content, create(folder, parts) as file:
                    while block := content.read(BLOCK):
                        written += len(block)
                        if written > limit:
                            raise ValueError(bomb_message(limit))
                        if file:
                            file.write(block)
                        progress.update(len(block))
    except DAMAGES as error:
        raise ValueError(f"{archive} is damaged or no archive: {str(error) or type(error).__name__}") from None
    if not files:
        raise ValueError(f"{archive} is damaged or no archive: it holds no file")
    return files


def safe_parts(archive: Path, member: Member) -> list[str]:
    """The parts of a member's path, that of the root folder having none. Raises ValueError if it is not harmless."""
    parts = [part for part in member.name.replace("\\", "/").split("/") if part not in ("", ".")]
    if member.kind not in ("file", "folder"):
        raise ValueError(f"{archive} holds a {member.kind}, {member.name!r}, as no dataset does, and is refused")
    climbs = member.name[:1] in ("/", "\\") or ".." in parts or any(":" in part or "\0" in part for part in parts)
    if (climbs and parts) or (member.kind == "file" and not parts):
        raise ValueError(f"{archive} holds {member.name!r}, a path that leads out of its folder, and is refused")
    return parts


def create(folder: Path | None, parts: list[str]):
    """Opens a file below the folder for writing; a context without a file if there is no folder."""
    if folder is None:
        return nullcontext()
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "wb")


def bomb_message(limit: int) -> str:
    """What to say of an archive that does not end."""
    return f"it unpacks to more than {limit:,} bytes, {RATIO} times its size or more, and is refused"


def members(archive: Path, limit: int) -> Iterator[Member]:
    """The members of a tar, tar.gz or zip file, told apart by their first bytes; each is to be read at once."""
    with open(archive, "rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic == b"PK":
            yield from zip_members(file)
        elif magic == b"\x1f\x8b":
            with gzip.open(file) as stream:
                yield from tar_members(Watched(stream, limit))
        else:
            yield from tar_members(Watched(file, limit))


def zip_members(file) -> Iterator[Member]:
    """The members of a zip file."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: written on Unix
            if info.is_dir():
                name = "folder"
            else:
                name = {0: "file", stat.S_IFREG: "file", stat.S_IFLNK: "link"}.get(kind, "device")
            yield Member(info.filename, name, partial(archive.open, info))


def tar_members(stream: "Watched") -> Iterator[Member]:
    """The members of a tar file, read once from its beginning to its end."""
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # it would remember all of them: half a gigabyte for IMDB
            stream.most = BLOCK
            if member.isdir():
                kind = "folder"
            elif member.issym() or member.islnk():
                kind = "link"
            else:
                kind = "file" if member.isreg() else "device"
            yield Member(member.name, kind, partial(archive.extractfile, member))
            stream.most = HEADER
    # To tarfile, an archive that was cut between two members is as good as a whole one. A whole one ends with zeros.
    if stream.last != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it is cut off")
    while stream.read(HEADER):
        pass  # to the end of a compressed file, where its own checksum is


class Watched:
    """A stream for tarfile that remembers what was read last, and ends where an archive holds too much.

    Attributes:
        last: the bytes that were read last.
        most: bytes that may be asked for at once. tarfile reads a header in one go, however long it says it is, and
            some versions then search it for hours (CVE-2024-6232).
    """

    def __init__(self, stream, limit: int):
        self.stream = stream
        self.limit = limit
        self.last = b""
        self.most = HEADER

    def tell(self) -> int:
        """The position in the stream."""
        return self.stream.tell()

    def seek(self, position: int) -> int:
        """Moves to a position, which tarfile only does forwards."""
        if position > self.limit:
            raise ValueError(bomb_message(self.limit))
        return self.stream.seek(position)

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if self.stream.tell() > self.limit:
            raise ValueError(bomb_message(self.limit))
        if size > self.most:
            raise ValueError(f"it holds a header of {size:,} bytes, as no dataset does, and is refused")
        self.last = self.stream.read(size)
        return self.last
