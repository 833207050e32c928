"""Readers turn a dataset's own files into one table; they list photos and never decode them.

A reader is a function of the dataset's folder that returns `Records`. It is deterministic, tolerates junk (what
cannot be understood is skipped and counted by reason) and translates labels into the meanings of labels.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from readers.imdb_wiki import read_imdb, read_wiki
from readers.records import Records
from readers.utkface import read_utkface

__all__ = ["READERS", "Reader", "Records", "read_records"]


class Reader(NamedTuple):
    """A dataset that create_db.py can read.

    Attributes:
        read: dataset folder -> Records. Raises FileNotFoundError or ValueError with a message for the user.
        folder: where the dataset is looked for by default.
        margin: how far the dataset's crops reach beyond the detected face, as a share of the face's size.
        source: what it is and where it comes from, for --help and for error messages.
    """

    read: Callable[[Path], Records]
    folder: str
    margin: float
    source: str


READERS = {
    "wiki": Reader(
        read_wiki,
        "data/wiki_crop",
        0.4,
        "WIKI, faces only (wiki_crop.tar), data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki",
    ),
    "imdb": Reader(
        read_imdb,
        "data/imdb_crop",
        0.4,
        "IMDB, faces only (imdb_crop.tar), data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki",
    ),
    "utkface": Reader(
        read_utkface, "data/UTKFace", 0.1, "UTKFace, aligned and cropped (UTKFace.tar.gz), susanqq.github.io/UTKFace"
    ),
}


def read_records(name: str, folder: Path) -> Records:
    """The records of a dataset, by its name in READERS; that it is not there is said with where it comes from."""
    reader = READERS[name]
    try:
        return reader.read(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. {name} is {reader.source}") from None
