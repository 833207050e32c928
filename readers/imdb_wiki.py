"""IMDB-WIKI: a MATLAB struct of metadata beside folders of face crops.

Rothe, Timofte, Van Gool: "Deep expectation of real and apparent age from a single image without facial landmarks",
IJCV 2018. Genders are 0 = female, 1 = male, NaN unknown; no face is a score of -Inf, no second face is NaN.
"""

from functools import partial
from pathlib import Path

import numpy as np

from age_gender.files import plain_path
from age_gender.labels import FEMALE, MALE, UNKNOWN
from readers.records import Records, require
from readers.sources import Expected, Source
from utils import read_struct

PAGE = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/"


def _source(what: str, archive: str, md5: str, expected: tuple[Expected, ...], folder: str = "", **more) -> Source:
    """One of its archives: all are of one page, on the same terms; `folder` if it is not named as the archive is."""
    return Source(
        what,
        "academic research only",
        PAGE,
        folder=folder or archive,
        archive=f"{archive}.tar",
        url=f"{PAGE}static/{archive}.tar",
        checksum=f"md5:{md5}",
        expected=expected,
        **more,
    )


WIKI = _source(
    "WIKI, faces only",
    "wiki_crop",
    "f536eb7f5eae229ae8f286184364b42b",
    (Expected(("wiki.mat",)), Expected(("*/*.jpg",), 50_000)),
    about="0.8 GB",
)
IMDB = _source(
    "IMDB, faces only",
    "imdb_crop",
    "44b7548f288c14397cb7a7bab35ebe14",
    (Expected(("imdb.mat",)), Expected(("*/*.jpg",), 400_000)),
    size=7_012_157_440,
)
IMDB_META = _source(
    "IMDB, metadata of the uncropped photos",
    "imdb_meta",
    "469433135f1e961c9f4c0304d0b5db1e",
    (Expected(("imdb.mat",)),),
    folder="imdb",
)

LAST_SERIAL = 3_652_425  # the end of the year 9999: nobody was born later, and no number of days can be too large

GENDER = {**dict.fromkeys(("0", "0.0", "f", "female"), FEMALE), **dict.fromkeys(("1", "1.0", "m", "male"), MALE)}


def _read(folder: Path, name: str) -> Records:
    """The records in the order of wiki.mat or imdb.mat; where celebrities have numbers these are the subjects."""
    metadata = folder / f"{name}.mat"
    require(metadata.is_file(), metadata, f"the folder that {name}_crop.tar unpacks to, which holds {name}.mat")
    wanted = ["dob", "photo_taken", "full_path", "gender", "face_score", "second_face_score"]
    fields = read_struct(metadata, name, wanted, optional=["celeb_id"])
    gender = np.array([GENDER.get(_text(value).lower(), UNKNOWN) for value in fields["gender"]], np.int64)
    subject = None
    if "celeb_id" in fields:
        celebrity = _numbers(metadata, "celeb_id", fields)
        subject = np.where(np.abs(celebrity) < 2**53, celebrity, UNKNOWN).astype(np.int64)
    return Records(
        path=[plain_path(_text(path)) for path in fields["full_path"]],
        age=age_in_year(*(_numbers(metadata, name, fields) for name in ("dob", "photo_taken"))),
        gender=gender,
        face_score=_numbers(metadata, "face_score", fields),
        second_face_score=_numbers(metadata, "second_face_score", fields),
        subject=subject,
    )


read_wiki, read_imdb = partial(_read, name="wiki"), partial(_read, name="imdb")


def _text(value: object) -> str:
    """An entry of a struct's field as text: of a cell its content, of a row of characters what is before its blanks."""
    while isinstance(value, np.ndarray):
        if value.size != 1:
            return ""
        value = value.flat[0]
    return str(value).strip()


def _numbers(path: Path, name: str, fields: dict[str, np.ndarray]) -> np.ndarray:
    """A field as (n,) float64.

    Raises:
        ValueError: if it does not hold numbers.
    """
    column = fields[name]
    if column.dtype.kind in "OUS":  # cells, or characters
        column = [_text(value) or "nan" for value in column]
    try:
        return np.asarray(column, np.float64)
    except ValueError:
        raise ValueError(f"the field '{name}' of {path} does not hold numbers") from None


def age_in_year(birth_serials: np.ndarray, years: np.ndarray) -> np.ndarray:
    """Age in the middle of a calendar year, from MATLAB serial birth days (day 1 is 1 January of year 0): (n,), (n,) ->
    (n,) int64, whole years; nonsense dates give nonsense ages, negative ones among them.

    The photo is assumed to be taken at mid-year: who was born in July or later has not had a birthday yet. Serials
    below 367, which stand for no date of our calendar, and NaN count as 1 January of year 1.
    """
    serials = np.clip(np.nan_to_num(np.asarray(birth_serials, np.float64)), 367, LAST_SERIAL)
    days = serials.astype(np.int64) - 367  # since 0001-01-01
    births = np.datetime64("0001-01-01", "D") + days.astype("timedelta64[D]")
    # The year half a year later: of who was born in July or later, the next one.
    later = (births.astype("datetime64[M]") + np.timedelta64(6, "M")).astype("datetime64[Y]").astype(np.int64) + 1970
    # Signed before the subtraction: in uint16, 1950 - 1960 is 65526.
    return np.clip(np.nan_to_num(np.asarray(years, np.float64)), 0, 9999).astype(np.int64) - later
