"""Files: whole or not there, leftovers of runs that are gone, lists of names, and fingerprints."""

import codecs
import csv
import errno
import hashlib
import os
import posixpath
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # to open one more file, which is no fault of the file
DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows has no EDQUOT
DELIMITERS = (",", "\t", ";")
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of a drive, such as of NFS without its daemon
LFS_POINTER = b"version https://git-lfs"  # how what Git LFS leaves in a file's place begins
MOST_OF_SUFFIX = 64  # characters: with those before it, a name stays within the 255 that a system takes
MOST_OF_NAME = 200  # bytes of a file's name in that of its lock
CLOCKS_DIFFER = 300  # seconds, between machines that share files
_ZEROS = bytes(1 << 20)
FIRST_NAMESPACE = 0xEFFFFFFC  # of processes, which Linux begins with: they are in no container
UNFINISHED = ".new-"  # how the names of unfinished files and folders begin; nothing so called is ever taken for data


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it does not.

    It ends as `path` does after its first dot, since Keras and OpenCV choose a format by that. A link stays: what it
    leads to is replaced. What is written is on the disk before it gets its name.

    Raises:
        OSError: before the block begins, if `path` is a folder, or a link that leads to itself; with the name of
            `path`, if the disk is full.
    """
    path = real(path) if Path(path).is_symlink() else Path(path)
    if wrong := errno.ELOOP if path.is_symlink() else errno.EISDIR if path.is_dir() else 0:
        raise OSError(wrong, os.strerror(wrong), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    temporary = path.with_name(_mine() + secrets.token_hex(4) + "".join(path.suffixes)[-MOST_OF_SUFFIX:])
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        _sync(temporary)
        _replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno is not None and error.errno in DISK_FULL and error.filename in (None, str(temporary)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _replace(temporary: Path, path: Path) -> None:
    """os.replace; on Windows it waits some seconds for whoever reads the old file, who keeps it there."""
    for seconds in (0.1, 0.5, 2.0) if os.name == "nt" else ():
        try:
            return os.replace(temporary, path)
        except PermissionError:
            time.sleep(seconds)
    os.replace(temporary, path)


def plainly(path: Path) -> Path:
    """An absolute path without "..": names below a folder stay below it. A file that is a link keeps its own name."""
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def real(path: Path) -> Path:
    """Where a path leads, as Path.resolve says it, which before Python 3.13 fails on a link that leads to itself."""
    return Path(os.path.realpath(path))


def reserve(temporary: Path, size: int, path: Path, written: bool = True) -> None:
    """Raises OSError unless `size` more bytes can be written to `temporary`, which is left as it was, or not there: for
    libraries that end the process where they cannot. The message names `path`. Where the bytes are not `written`, no
    full disk is noticed, but a limit on the size of files."""
    with open(temporary, "ab", buffering=0) as file:
        end, left = file.tell(), size if written else 0
        try:
            while left:
                left -= file.write(_ZEROS[:left]) or 0
            file.truncate(end + size)
        except OSError as error:
            raise OSError(f"{path} was not written, {end + size:,} bytes: {error.strerror}") from None
        finally:
            file.truncate(end)


@contextmanager
def alone(path: Path, what: Path | None = None) -> Iterator[None]:
    """Keeps other runs away from a file or a folder while the block lasts; beside it lies the lock, a hidden file.
    `what` is what the run is at work on, for the message.

    Raises:
        ValueError: if another run is at work on it.
    """
    from filelock import FileLock, Timeout  # here, since a program that only reads faces needs no locks

    what = what or path
    path = real(path) if path.is_symlink() else path  # as `replacing` writes
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    long = len(os.fsencode(path.name)) > MOST_OF_NAME
    lock = path.with_name(f".{f'{digest(os.fsencode(path.name)):x}' if long else path.name}.lock")
    held = FileLock(lock, timeout=0)
    try:
        held.acquire()
    except Timeout:
        raise ValueError(f"another run is at work on {what}; wait for it, or end it") from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise OSError(error.errno, error.strerror, str(path)) from None
        print(f"{path.parent} has no locks: let no other run work on {what}", file=sys.stderr)
    try:
        yield
    finally:
        if os.name != "nt":  # where nobody can remove what is open
            lock.unlink(missing_ok=True)
        held.release()
        for folder in made:
            with suppress(OSError):  # not empty: something was written
                folder.rmdir()


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder within `folder` for what is not finished; it vanishes with all that is left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    with tempfile.TemporaryDirectory(prefix=_mine(), dir=folder, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _mine() -> str:
    """How the names begin of what this process has not finished: hidden, and with whose they are."""
    return f"{UNFINISHED}{socket.gethostname()}-{_container()}{os.getpid()}-"


def _container() -> str:
    """What goes before a process's number in a container, which may have this machine's name, but has its own numbers:
    its namespace, such as "4026532511."; "" outside of any."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # no Linux
        return ""
    return "" if namespace == FIRST_NAMESPACE else f"{namespace}."


@cache
def _sweep(folder: Path) -> None:
    """Removes what processes of this machine that are gone left unfinished in a folder, once a run."""
    name = re.compile(re.escape(f"{UNFINISHED}{socket.gethostname()}-") + r"((?:\d+\.)?)(\d+)-")
    for path in folder.glob(f"{UNFINISHED}*"):
        owner = name.match(path.name)
        if not owner or not _gone(owner[1], int(owner[2]), path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _gone(container: str, process: int, path: Path) -> bool:
    """Whether a process of this machine has ended; on Windows, and of another container, where nobody can be asked,
    whether its file is a day old."""
    try:
        if os.name == "nt" or container != _container():
            return time.time() - path.stat().st_mtime > 24 * 3600
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is another user's, or the file has its name by now
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


@contextmanager
def reading(path: Path, problem: str) -> Iterator[None]:
    """Turns whatever a library raises of a damaged file into one ValueError that names the file.

    Libraries raise many types: h5py OSError, RuntimeError, KeyError, TypeError. What names the file already passes, and
    so do a file that is not there and a package that cannot be imported. A lack of memory is said as such: it is none
    of the file's faults.

    Args:
        path: the file that is read.
        problem: what is then said of it, with its path.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, ImportError):
        raise
    except MemoryError:
        raise MemoryError(f"{path} needs more memory than there is") from None
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        if path.is_file():
            refuse_pointer(path)
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, KeyError) and " " not in said:  # the key alone; h5py's are sentences
            said += " is not found"
        raise ValueError(f"{problem}: {said}") from None


def why_absent(path: Path) -> str:
    """Why a path is not the file, or not the folder, that it should be: it is not there, or is something else."""
    if path.is_dir():
        return "is a folder"
    return "is a file" if path.is_file() else "is no regular file" if path.exists() else "is not there"


def refuse_pointer(path: Path) -> None:
    """Raises ValueError if a file is what Git leaves in its place where Git LFS is off."""
    with open(path, "rb") as file:
        pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
    if pointer:
        size = path.stat().st_size
        raise ValueError(f"{path} is a Git LFS pointer of {size} bytes, not the file: git lfs pull fetches it")


def files_below(folder: Path) -> list[str]:
    """The files in a folder and its subfolders, relative to it with forward slashes, in the order of their names.

    Subfolders that are links are followed; no folder is entered twice, so that a link to a folder above ends there. A
    subfolder that cannot be read is among them, as "name/": its files are not left out without a word. What runs left
    unfinished is not.

    Raises:
        OSError: if the folder itself cannot be read.
    """
    found: list[str] = []
    seen, waiting = set(), [folder]

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        found.append(f"{Path(error.filename).relative_to(folder).as_posix()}/")

    for top in waiting:
        for parent, folders, names in os.walk(top, onerror=unreadable):
            status = os.stat(parent)  # some drives have no number for a folder
            place = (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(parent)
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            for each in (folders, names):
                each[:] = (name for name in each if not name.startswith(UNFINISHED))
            waiting += [Path(parent, name) for name in sorted(folders) if os.path.islink(os.path.join(parent, name))]
            inside = Path(parent).relative_to(folder).as_posix()
            found += names if inside == "." else [f"{inside}/{name}" for name in names]
    return sorted(found)


def is_hidden(name: str) -> bool:
    """Whether a file, relative to a folder with forward slashes, or a folder on its way is hidden: a desktop's bin."""
    return name.startswith(".") or "/." in name


def read_cells(path: Path, delimiter: str = "") -> Iterator[tuple[int, list[str]]]:
    """The rows of a table as spreadsheets write it: UTF-8 or UTF-16, with comma, tabulator or semicolon.

    Args:
        path: the table.
        delimiter: what separates its cells; "" takes what its first line has most of.

    Yields:
        The number of a row's line, from 1, and its cells without blanks around them. Empty rows are left out.

    Raises:
        ValueError: if it is no file or no text, or a quote does not end on its line: its cells would be another row's.
    """
    if not path.is_file():  # a pipe would wait for who writes to it, and is read once
        remedy = "; write it to a regular file" * path.exists()
        raise ValueError(f"{path} cannot be read as a table: it {why_absent(path)}{remedy}")
    try:
        refuse_pointer(path)
        with open(path, "rb") as file:
            marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with open(path, newline="", encoding="utf-16" if marked else "utf-8-sig", errors="surrogateescape") as file:
            first = file.readline()
            if said := re.fullmatch(r"sep=(.)\s*", first):  # as some spreadsheets begin
                delimiter = delimiter or said[1]
            else:
                file.seek(0)
            delimiter = delimiter or max(DELIMITERS, key=first.count)
            for line, text in enumerate(file, start=2 if said else 1):
                try:
                    cells = next(csv.reader([text], delimiter=delimiter, strict=True))
                except csv.Error as error:
                    what = 'a quote (") is not closed on its line, or text follows it; close it or leave it out'
                    if "field larger" in str(error):
                        what = "a cell is too long"
                    raise ValueError(f"{path}, line {line}: {what} ({error})") from None
                if "\0" in text:
                    raise ValueError(f"{path}, line {line}: this is no text; save the table as CSV in UTF-8")
                if any(cells := [unguarded(cell.strip()) for cell in cells]):
                    yield line, cells
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from None


def guarded(cell: Any) -> Any:
    """A cell that a spreadsheet takes for no formula, whatever a text begins with; `unguarded` undoes it."""
    return f"'{cell}" if isinstance(cell, str) and re.match(r"'*[=+\-@\t\r]", cell) else cell


def unguarded(cell: str) -> str:
    """What `guarded` was given."""
    return cell[1:] if cell.startswith("'") and re.match(r"'+[=+\-@\t\r]", cell) else cell


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all; a letter that UTF-8 has not is escaped."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_rows(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Writes a table as CSV, whole or not at all, which `read_cells` reads; no cell is a formula."""
    with replacing(path) as new, open(new, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([guarded(str(cell)) for cell in row] for row in rows)


def read_names(path: Path, is_photo: Callable[[str], bool] | None = None) -> set[str]:
    """The names that a list holds, with forward slashes: its column "path", or the first cell of each row.

    Args:
        path: the list.
        is_photo: tells of a name whether it is a photo's: where no column is "path", the cell after a name is none.

    Raises:
        ValueError: if the file cannot be read as a list, has two columns "path", or a line holds two names.
    """
    column, headed = 0, False
    names: set[str] = set()
    for line, cells in read_cells(path):
        if not names and "path" in cells:
            if cells.count("path") > 1:
                raise ValueError(f"{path} has {cells.count('path')} columns named 'path'; rename all but one")
            column, headed = cells.index("path"), True
            continue
        if after := None if headed or not is_photo else _further(cells, is_photo):
            raise ValueError(
                f"{path}, line {line}: {after} is a photo too; write one name a line, or a first line with a name for "
                "each column, path for that of the photos"
            )
        if column < len(cells) and cells[column]:
            names.add(plain_path(cells[column]))
    return names


def _further(cells: list[str], is_photo: Callable[[str], bool]) -> str | None:
    """What a line has after its name, if that is another photo: not the same one's bare file name."""
    after = next(filter(None, cells[1:]), "")
    another = plain_path(after).rsplit("/", 1)[-1] != plain_path(cells[0]).rsplit("/", 1)[-1]
    return after if after and another and is_photo(plain_path(after)) else None


def can_be_listed(name: str) -> bool:
    """Whether a list can hold a name: one with line ends, blanks at its ends or "\\" would mean another photo."""
    return name == name.strip() and len(name.splitlines()) < 2 and "\\" not in name


def plain_path(text: str) -> str:
    """A relative path as readers write it: forward slashes, no "." and no empty part in it."""
    return posixpath.normpath(text.replace("\\", "/")) if text else ""


def newest(paths: Iterable[Path], time_of: Callable[[Path], float] | None = None) -> Path | None:
    """The file that `time_of`, in seconds, or its last change says to be the latest, and of several of one time, as
    copies have, the last by its path; None of none. Hidden ones are not taken: they are not finished. What a wrong
    clock dated into the future is last.
    """
    now = time.time() + CLOCKS_DIFFER

    def age(path: Path) -> tuple[bool, float, str]:
        when = time_of(path) if time_of else path.stat().st_mtime
        return when <= now, when, str(path)

    return max((path for path in paths if not path.name.startswith(".") and path.is_file()), key=age, default=None)


def paths_below(folder: Path) -> Callable[[str], str]:
    """A function of a path that gives it as readers write it, relative to a folder where it is an absolute one below
    it. The folder is looked at once."""
    tops = [f"{plain_path(str(top))}/" for top in (folder.absolute(), real(folder))]

    def path_below(text: str) -> str:
        path = plain_path(text)
        for top in tops:
            path = path.removeprefix(top)
        return path

    return path_below


def digest(content: bytes) -> int:
    """A 64-bit fingerprint of some bytes, as a signed integer."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)
