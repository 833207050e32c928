"""UTKFace, aligned and cropped: the labels stand in the file names, `[age]_[gender]_[race]_[date].jpg.chip.jpg`.

Zhang, Song, Qi: "Age progression/regression by conditional adversarial autoencoder", CVPR 2017. The dataset says
0 = male, 1 = female, the reverse of labels.py: genders are turned round here and nowhere else.
"""

import os
import re
from pathlib import Path

import numpy as np

from labels import FEMALE, MALE, UNKNOWN
from readers.records import Records

RACES = ("White", "Black", "Asian", "Indian", "Other")
GENDER = {"0": MALE, "1": FEMALE}

# Some dates and extensions are damaged; the labels before them are not.
COMPLETE = re.compile(r"(\d{1,3})_([01])_([0-4])_.*\.jpe?g$", re.IGNORECASE)
# A few names lack one of gender and race. Which one cannot be told, so neither is believed.
INCOMPLETE = re.compile(r"(\d{1,3})_(?:[0-4]_)?_?\d{8,}\.jpe?g", re.IGNORECASE)


def read_utkface(folder: Path) -> Records:
    """UTKFace's records in the order of their names, subfolders included. See `Records`."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not there: --data_dir must name the folder that UTKFace.tar.gz unpacks to"
        )
    rows, malformed = [], []
    for path in sorted(_files(folder)):
        name = path.rsplit("/", 1)[-1]
        if match := COMPLETE.match(name):
            age, gender, race = match.groups()
            rows.append((path, int(age), GENDER[gender], int(race)))
        elif match := INCOMPLETE.match(name):
            rows.append((path, int(match.group(1)), UNKNOWN, UNKNOWN))
        else:
            malformed.append(path)
    if not rows:
        raise ValueError(f"no file under {folder} is named like UTKFace's, age_gender_race_date.jpg")
    paths, ages, genders, races = zip(*rows, strict=True)
    return Records(
        path=list(paths),
        age=np.array(ages, np.int64),
        gender=np.array(genders, np.int64),
        race=np.array(races, np.int64),
        race_names=RACES,
        skipped={"malformed name": malformed} if malformed else {},
    )


def _files(folder: Path):
    for parent, _, names in os.walk(folder):
        inside = Path(parent).relative_to(folder).as_posix()
        yield from (name if inside == "." else f"{inside}/{name}" for name in names)
