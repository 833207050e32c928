"""APPA-REAL: real ages, and apparent ages with the spread of some 38 opinions on each face.

Agustsson, Timofte, Escalera, Baro, Guyon, Rothe: "Apparent and real age estimation in still images with deep residual
regressors on APPA-REAL database", FG 2017. Gender and race were published separately (Clapes et al., CVPR workshops
2018), as allcategories_{train,valid,test}.csv; where these files stand beside the others they are read.
"""

from pathlib import Path

import numpy as np

from age_gender.labels import FEMALE, MALE, UNKNOWN
from readers.records import Records, real_number, require, table_rows, whole_number, whole_years
from readers.sources import Expected, Source

APPA_REAL = Source(
    what="APPA-REAL, real and apparent ages",
    licence="research, on ChaLearn's terms",
    page="https://chalearnlap.cvc.uab.cat/dataset/26/description/",
    folder="appa-real-release",
    archive="appa-real-release.zip",
    # Of the same archive's addresses the one with https, as no checksum is published; --url takes the other,
    # http://158.109.8.102/AppaRealAge/appa-real-release.zip
    url="https://data.chalearnlap.cvc.uab.cat/AppaRealAge/appa-real-release.zip",
    about="0.9 GB",
    expected=(
        *(Expected((f"gt_avg_{part}.csv",)) for part in ("train", "valid", "test")),
        Expected(("train/*.jpg_face.jpg",), 4113),
        Expected(("valid/*.jpg_face.jpg",), 1500),
        Expected(("test/*.jpg_face.jpg",), 1978),
    ),
)

PARTS = ("train", "valid", "test")
GENDER = {"female": FEMALE, "male": MALE}
RACES = ("caucasian", "asian", "afroamerican")
COLUMNS = ("file_name", "apparent_age_avg", "apparent_age_std", "real_age")
IGNORED = "ignore_list.csv"  # the well-known list of images with no face, a wrong one, or several


def read_appa_real(folder: Path, apparent: bool = False) -> Records:
    """The real ages, or the apparent ones, rounded to years, and their spread. See `Records`."""
    listed = table_rows(folder / IGNORED, ("img_name",), {}) if (folder / IGNORED).is_file() else ()
    ignored = {row["img_name"] for _, row in listed}
    rows, skipped = [], {}
    for part, name in enumerate(PARTS):
        table = folder / f"gt_avg_{name}.csv"
        require(table.is_file(), table, "the folder that appa-real-release.zip unpacks to")
        more = _categories(folder / f"allcategories_{name}.csv")
        for _, row in table_rows(table, COLUMNS, skipped):
            file = row["file_name"]
            path = f"{name}/{file}_face.jpg"
            age, std = _age(row, apparent)
            if not file or age is None:
                skipped.setdefault("malformed row", []).append(path)
            elif part == 0 and file in ignored:  # the list is of training images
                skipped.setdefault(f"in {IGNORED}", []).append(path)
            else:
                rows.append((path, age, std, part, *more.get(file, (UNKNOWN, UNKNOWN))))
    if not rows:
        raise ValueError(f"no row of gt_avg_train.csv, gt_avg_valid.csv and gt_avg_test.csv in {folder} is understood")
    if ignored and f"in {IGNORED}" not in skipped:
        raise ValueError(
            f"{folder / IGNORED}: none of its {len(ignored):,} names, such as {min(ignored)}, is a training image of "
            "gt_avg_train.csv; correct the list, or move it elsewhere"
        )
    columns = ("path", "age", "age_std", "part", "gender", "race")
    return Records.of(rows, columns, skipped, () if apparent else ("age_std",), race_names=RACES, part_names=PARTS)


def _age(row: dict[str, str], apparent: bool) -> tuple[int | None, float]:
    """Age in years, None if it cannot be read, and its spread, NaN if it cannot."""
    if not apparent:
        return whole_number(row["real_age"]), np.nan
    age, std = real_number(row["apparent_age_avg"]), real_number(row["apparent_age_std"])
    if age is None or std is None or not 0 <= age < 200:
        return None, np.nan
    return whole_years(age), std if 0 < std < 100 else np.nan


def _categories(path: Path) -> dict[str, tuple[int, int]]:
    """File name -> gender and race, {} where the file is not there."""
    if not path.is_file():
        return {}
    races = {name: number for number, name in enumerate(RACES)}
    rows = table_rows(path, ("file", "gender", "race"), {})
    return {row["file"]: (GENDER.get(row["gender"], UNKNOWN), races.get(row["race"], UNKNOWN)) for _, row in rows}
