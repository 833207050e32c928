"""AFAD, the Asian face age dataset: the labels stand in the folders, `<age>/<111 male, 112 female>/<photo>-<n>.jpg`.

Niu, Zhou, Wang, Gao, Hua: "Ordinal regression with multiple output CNN for age estimation", CVPR 2016. Who is on a
photo is not known, but the faces of one photo must not stand on two sides of a split: the photo is the subject.
"""

import re
from pathlib import Path

from age_gender.labels import FEMALE, MALE
from readers.records import Records, require, visible_files
from readers.sources import CHECKED_HERE, Expected, Source

AFAD = Source(
    what="AFAD, Asian faces",
    licence="academic research only",
    page="https://github.com/afad-dataset/tarball",
    folder="AFAD-Full",
    about="1.5 GB",
    expected=(Expected(("[0-9][0-9]/11[12]/*.jpg",), 165_000),),
    steps=(
        "git clone {page}.git",
        "in the folder 'tarball', join the parts: bash restore.sh, or cat AFAD-Full.tar.xz* > AFAD-Full.tar.xz",
        "unpack the result: tar -xf AFAD-Full.tar.xz -C {output_dir}, so that {folder} holds folders 15 to 72",
        CHECKED_HERE,
    ),
)

GENDER = {"111": MALE, "112": FEMALE}
NAME = re.compile(r"(?:.*/)?(\d{1,3})/(111|112)/(\d{1,18})-\d+\.jpe?g", re.IGNORECASE)


def read_afad(folder: Path) -> Records:
    """AFAD's records, in the order of their paths; AFAD-Lite's, which is laid out alike, too. See `Records`."""
    require(folder.is_dir(), folder, "AFAD-Full, the folder with one folder for each age")
    files, hidden = visible_files(folder)
    rows, malformed = [], []
    for path in files:
        if match := NAME.fullmatch(path):
            rows.append((path, int(match[1]), GENDER[match[2]], int(match[3])))
        else:
            malformed.append(path)
    if not rows:
        raise ValueError(f"no file under {folder} stands where AFAD's do, such as 15/111/109008-0.jpg")
    return Records.of(rows, ("path", "age", "gender", "subject"), {"malformed name": malformed, "hidden": hidden})
