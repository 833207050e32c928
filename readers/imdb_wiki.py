"""IMDB-WIKI: a MATLAB struct of metadata beside folders of face crops.

Rothe, Timofte, Van Gool: "Deep expectation of real and apparent age from a single image without facial landmarks",
IJCV 2018. Genders are 0 = female, 1 = male, NaN unknown; no face is a score of -Inf, no second face is NaN.
"""

from pathlib import Path

import numpy as np

from age_gender.labels import UNKNOWN, age_in_year
from readers.records import Records
from utils import read_struct


def read_wiki(folder: Path) -> Records:
    """WIKI's records, in the order of wiki.mat. See `Records`."""
    return _read(folder, "wiki")


def read_imdb(folder: Path) -> Records:
    """IMDB's records, in the order of imdb.mat; the celebrity is the subject. See `Records`."""
    return _read(folder, "imdb")


def _read(folder: Path, name: str) -> Records:
    metadata = folder / f"{name}.mat"
    if not metadata.is_file():
        raise FileNotFoundError(
            f"{metadata} is not there: --data_dir must name the folder that {name}_crop.tar unpacks to, "
            f"which holds {name}.mat"
        )
    wanted = ["dob", "photo_taken", "full_path", "gender", "face_score", "second_face_score"]
    optional = ["celeb_id"]
    fields = read_struct(metadata, name, wanted, optional)
    gender = np.asarray(fields["gender"], np.float64)
    known = np.isin(gender, (0.0, 1.0))
    subject = None
    if "celeb_id" in fields:
        celebrity = np.asarray(fields["celeb_id"], np.float64)
        subject = np.where(np.isfinite(celebrity), celebrity, UNKNOWN).astype(np.int64)
    return Records(
        path=[str(path[0]) if len(path) else "" for path in fields["full_path"]],
        age=age_in_year(fields["dob"], fields["photo_taken"]),
        gender=np.where(known, gender, UNKNOWN).astype(np.int64),
        face_score=np.asarray(fields["face_score"], np.float64),
        second_face_score=np.asarray(fields["second_face_score"], np.float64),
        subject=subject,
    )
