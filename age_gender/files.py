"""Files: whole or not there, lists of names, and fingerprints."""

import csv
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it does not.

    It ends as `path` does after its first dot, since Keras and OpenCV choose a format by that.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".new-", suffix="".join(path.suffixes), dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
