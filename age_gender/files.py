"""Files: whole or not there, leftovers of runs that are gone, lists of names, and fingerprints."""

import csv
import errno
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows has no EDQUOT
UNFINISHED = ".new-"  # how the names of unfinished files and folders begin; nothing so called is ever taken for data


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it does not.

    It ends as `path` does after its first dot, since Keras and OpenCV choose a format by that. A link stays: what it
    leads to is replaced. What is written is on the disk before it gets its name.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    handle, name = tempfile.mkstemp(prefix=_mine(), suffix="".join(path.suffixes), dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keeps other runs away from a file or a folder while the block lasts.

    Raises:
        ValueError: if another run is at work on it.
    """
    from filelock import FileLock, Timeout  # here, since a program that only reads faces needs no locks

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                yield
            finally:
                if os.name != "nt":  # where nobody can remove what is open
                    lock.unlink(missing_ok=True)
    except Timeout:
        raise ValueError(f"another run is at work on {path}; wait for it, or end it") from None


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder within `folder` for what is not finished; it vanishes with all that is left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    with tempfile.TemporaryDirectory(prefix=_mine(), dir=folder, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _mine() -> str:
    """How the names begin of what this process has not finished: hidden, and with whose they are."""
    return f"{UNFINISHED}{socket.gethostname()}-{os.getpid()}-"


@cache
def _sweep(folder: Path) -> None:
    """Removes what processes of this machine that are gone left unfinished in a folder, once a run."""
    name = re.compile(re.escape(f"{UNFINISHED}{socket.gethostname()}-") + r"(\d+)-")
    for path in folder.glob(f"{UNFINISHED}*"):
        owner = name.match(path.name)
        if not owner or not _gone(int(owner[1]), path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _gone(process: int, path: Path) -> bool:
    """Whether a process of this machine has ended; on Windows, which cannot be asked, whether its file is a day old."""
    if os.name == "nt":
        return time.time() - path.stat().st_mtime > 24 * 3600
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


def _sync(path: Path) -> None:
    """Has a file's content, or a folder's names, written to the disk; not where the system cannot."""
    try:
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno is not None and error.errno in DISK_FULL | {errno.EIO}:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def reading(path: Path, problem: str) -> Iterator[None]:
    """Turns whatever a library raises of a damaged file into one ValueError that names the file.

    Libraries raise many types: h5py OSError, RuntimeError, KeyError, TypeError. What names the file already passes, and
    so do a file that is not there and a lack of memory, which is none of the file's faults.

    Args:
        path: the file that is read.
        problem: what is then said of it, with its path.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{problem}: {said}") from None


def read_names(path: Path) -> set[str]:
    """The names that a list holds: the first cell of each row, as check_dataset.py writes them.

    Raises:
        ValueError: if the file cannot be read as a list.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            return {row[0].strip().removeprefix("./") for row in csv.reader(file) if row and row[0].strip()}
    except (OSError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a list of names: {error}") from None


def digest(content: bytes) -> int:
    """A 64-bit fingerprint of some bytes, as a signed integer."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)
