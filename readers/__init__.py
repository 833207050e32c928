"""Readers turn a dataset's own files into one table; they list photos and never decode them.

A reader is a function of the dataset's folder that returns `Records`. It is deterministic, tolerates junk (what
cannot be understood is skipped and counted by reason) and translates labels into the meanings of labels.py.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from readers.adience import ADIENCE, read_adience
from readers.afad import AFAD, read_afad
from readers.all_age_faces import ALL_AGE_FACES, read_all_age_faces
from readers.appa_real import APPA_REAL, read_appa_real
from readers.class_folders import FOLDERS, read_class_folders
from readers.cleaning import MIN_SCORE, clean
from readers.csv_table import CSV, IMDB_CLEAN, read_csv_table
from readers.facescrub import FACESCRUB, read_facescrub
from readers.fgnet import FGNET, read_fgnet
from readers.imdb_wiki import IMDB, IMDB_META, WIKI, read_imdb, read_wiki
from readers.records import Records, within
from readers.sources import Source
from readers.utkface import UTKFACE, UTKFACE_WILD, read_utkface, read_utkface_wild

__all__ = ["MIN_SCORE", "READERS", "Reader", "Records", "clean", "read_records"]


class Reader(NamedTuple):
    """A dataset that create_db.py can read.

    The margin is how far the faces reach beyond the detected face, as a share of its size: of a dataset that comes
    cropped, its own (published for WIKI, IMDB and APPA-REAL, measured for UTKFace, else assumed); of photos with boxes,
    the one that they are cut with.
    """

    read: Callable[..., Records]  # of its folder; raises FileNotFoundError or ValueError with a message for the user
    source: Source  # where it comes from
    margin: float = 0.4
    both: bool = False  # whether a record needs age and gender; otherwise one of them is enough
    options: tuple[str, ...] = ()  # arguments of create_db.py that `read` takes beside the folder
    more: str = ""  # what sets it apart from another dataset of the same source, in words
    same: bool = False  # whether its source is listed under another dataset's name

    @property
    def folder(self) -> str:
        """Where the dataset is looked for by default."""
        return f"data/{self.source.folder}".rstrip("/")

    @property
    def says(self) -> str:
        """What it is and where it comes from, for --help and for error messages."""
        what, archive, page = self.source.what, self.source.archive, self.source.page.partition("://")[2].rstrip("/")
        return f"{what}{self.more}{f' ({archive})' if archive else ''}{f', {page}' if page else ''}"


READERS = {
    "wiki": Reader(read_wiki, WIKI, both=True),
    "imdb": Reader(read_imdb, IMDB, both=True),
    "utkface": Reader(read_utkface, UTKFACE, 0.1, both=True),
    "utkface_wild": Reader(read_utkface_wild, UTKFACE_WILD, 0.1, both=True),
    "appa_real": Reader(read_appa_real, APPA_REAL, more=": real, genders from allcategories_*.csv beside"),
    "appa_real_apparent": Reader(
        partial(read_appa_real, apparent=True), APPA_REAL, more=": apparent, and their spread", same=True
    ),
    "adience": Reader(read_adience, ADIENCE),
    "facescrub": Reader(read_facescrub, FACESCRUB),
    "all_age_faces": Reader(read_all_age_faces, ALL_AGE_FACES, both=True),
    "afad": Reader(read_afad, AFAD, both=True),
    "fgnet": Reader(read_fgnet, FGNET, more=", ages only"),
    "csv": Reader(read_csv_table, CSV, options=("table", "columns", "genders")),
    "folders": Reader(read_class_folders, FOLDERS),
}
# What download.py gets that no reader of its own reads: photos and lists for --db csv.
OTHER_SOURCES = {"imdb_meta": IMDB_META, "imdb_clean": IMDB_CLEAN}


def read_records(name: str, folder: Path, options: dict[str, object] | None = None) -> Records:
    """The records of a dataset of READERS; if it is not there, the error says where to get it. The options are
    create_db.py's arguments; the reader gets those that it names."""
    reader = READERS[name]
    try:
        records = reader.read(folder, **{option: (options or {}).get(option) for option in reader.options})
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. {name} is {reader.says}") from None
    inside = np.array([within(path) for path in records.path], bool)
    if not inside.all():
        strangers = [path for path, good in zip(records.path, inside, strict=True) if not good]
        records = records.take(np.flatnonzero(inside))
        records.skipped["path outside the folder"] = strangers
        if not len(records):
            raise ValueError(f"all {len(strangers):,} paths lead out of {folder}, such as {strangers[0]}")
    return records
