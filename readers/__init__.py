"""Readers turn a dataset's own files into one table; they list photos and never decode them.

A reader is a function of the dataset's folder that returns `Records`. It is deterministic, tolerates junk (what
cannot be understood is skipped and counted by reason) and translates labels into the meanings of labels.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from readers.adience import read_adience
from readers.afad import read_afad
from readers.all_age_faces import read_all_age_faces
from readers.appa_real import read_appa_real, read_appa_real_apparent
from readers.cleaning import MIN_SCORE, clean
from readers.csv_table import read_csv_table
from readers.facescrub import read_facescrub
from readers.fgnet import read_fgnet
from readers.imdb_wiki import read_imdb, read_wiki
from readers.records import Records, within
from readers.utkface import read_utkface, read_utkface_wild

__all__ = ["MIN_SCORE", "READERS", "Reader", "Records", "clean", "read_records"]


class Reader(NamedTuple):
    """A dataset that create_db.py can read.

    Attributes:
        read: dataset folder -> Records. Raises FileNotFoundError or ValueError with a message for the user.
        folder: where the dataset is looked for by default.
        margin: how far the faces reach beyond the detected face, as a share of its size: of a dataset that comes
            cropped, its own (published for WIKI, IMDB and APPA-REAL, measured for UTKFace, else assumed); of photos
            with boxes, the margin that they are cut with.
        source: what it is and where it comes from, for --help and for error messages.
        both: whether a record needs age and gender; otherwise one of them is enough.
        options: arguments of create_db.py that `read` takes beside the folder.
    """

    read: Callable[..., Records]
    folder: str
    margin: float
    source: str
    both: bool = False
    options: tuple[str, ...] = ()


READERS = {
    "wiki": Reader(
        read_wiki,
        "data/wiki_crop",
        0.4,
        "WIKI, faces only (wiki_crop.tar), data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki",
        both=True,
    ),
    "imdb": Reader(
        read_imdb,
        "data/imdb_crop",
        0.4,
        "IMDB, faces only (imdb_crop.tar), data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki",
        both=True,
    ),
    "utkface": Reader(
        read_utkface,
        "data/UTKFace",
        0.1,
        "UTKFace, aligned and cropped (UTKFace.tar.gz), susanqq.github.io/UTKFace",
        both=True,
    ),
    "utkface_wild": Reader(
        read_utkface_wild,
        "data/UTKFace_wild",
        0.1,
        "UTKFace in the wild: part1 to part3 and landmark_list_part1.txt to 3, susanqq.github.io/UTKFace",
        both=True,
    ),
    "appa_real": Reader(
        read_appa_real,
        "data/appa-real-release",
        0.4,
        "APPA-REAL, real ages (appa-real-release.zip), chalearnlap.cvc.uab.es; genders from allcategories_*.csv beside",
    ),
    "appa_real_apparent": Reader(
        read_appa_real_apparent, "data/appa-real-release", 0.4, "the same, apparent ages and their spread"
    ),
    "adience": Reader(
        read_adience,
        "data/adience",
        0.4,
        "Adience: fold_0_data.txt to 4, aligned/ or faces/, talhassner.github.io/home/projects/Adience",
    ),
    "facescrub": Reader(
        read_facescrub,
        "data/facescrub",
        0.4,
        "FaceScrub, genders only: both lists and <name>/<name>_<face_id>.jpg, vintage.winklerbros.net/facescrub.html",
    ),
    "all_age_faces": Reader(
        read_all_age_faces,
        "data/All-Age-Faces Dataset",
        0.4,
        "All-Age-Faces: 'aglined faces' and 'image sets', github.com/JingchunCheng/All-Age-Faces-Dataset",
        both=True,
    ),
    "afad": Reader(
        read_afad, "data/AFAD-Full", 0.4, "AFAD-Full or AFAD-Lite, github.com/afad-dataset/tarball", both=True
    ),
    "fgnet": Reader(
        read_fgnet,
        "data/FGNET",
        0.4,
        "FG-NET, ages only: images/ and points/ (FGNET.zip), yanweifu.github.io/FG_NET_data",
    ),
    "csv": Reader(
        read_csv_table,
        "data",
        0.4,
        "any table of photos and labels: --table, --columns",
        options=("table", "columns", "genders"),
    ),
}


def read_records(name: str, folder: Path, options: dict[str, object] | None = None) -> Records:
    """The records of a dataset, by its name in READERS; that it is not there is said with where it comes from.

    Args:
        name: of the dataset.
        folder: where it is.
        options: values of create_db.py's arguments; the reader takes those that it names.
    """
    reader = READERS[name]
    try:
        records = reader.read(folder, **{option: (options or {}).get(option) for option in reader.options})
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. {name} is {reader.source}") from None
    inside = np.array([within(path) for path in records.path], bool)
    if not inside.all():
        strangers = [path for path, good in zip(records.path, inside, strict=True) if not good]
        records = records.take(np.flatnonzero(inside))
        records.skipped["path outside the folder"] = strangers
    return records
