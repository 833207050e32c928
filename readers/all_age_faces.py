"""All-Age-Faces: the labels stand in the file names, `00000A02.jpg`: another person each, A, the age.

Cheng, Li, Wang, Yu, Wang: "Exploiting effective facial patches for robust gender recognition", Tsinghua Science and
Technology 24(3), 2019. Serial numbers up to 07380 are female, the others male.
"""

import re
from pathlib import Path

from age_gender.files import read_cells
from age_gender.labels import FEMALE, MALE, UNKNOWN
from readers.records import Records, visible_files
from readers.sources import UNPACKED_HERE, Expected, Source

ALL_AGE_FACES = Source(
    what="All-Age-Faces, mostly Asian",
    licence="none is stated; cite the paper",
    page="https://github.com/JingchunCheng/All-Age-Faces-Dataset",
    folder="All-Age-Faces Dataset",
    archive="All-Age-Faces Dataset.zip",
    expected=(
        Expected(("aglined faces/*A*.jpg", "aligned faces/*A*.jpg"), 13_322),
        Expected(("image sets/train.txt",)),
        Expected(("image sets/val.txt",)),
    ),
    steps=(
        "open {page} and follow its link to Baidu, which asks for an account, or to Dropbox",
        "download 'All-Age-Faces Dataset.zip' there",
        UNPACKED_HERE,
    ),
)

FOLDERS = ("aglined faces", "aligned faces")  # the first is how the dataset spells it
LAST_FEMALE = 7380
PARTS = ("train", "val")
NAME = re.compile(r"(\d{5})A(\d{1,3})\.jpe?g", re.IGNORECASE)


def read_all_age_faces(folder: Path) -> Records:
    """All-Age-Faces' records, in the order of their names. See `Records`."""
    faces = next((name for name in FOLDERS if (folder / name).is_dir()), None)
    if faces is None:
        raise FileNotFoundError(
            f"{folder} holds no folder 'aglined faces' (it is spelled so): --data_dir must name the folder that holds "
            "it and 'image sets'"
        )
    parts = {}
    for number, name in enumerate(PARTS):
        listed = folder / "image sets" / f"{name}.txt"
        if listed.is_file():  # lines such as "00000A02.jpg 0"
            parts.update({" ".join(cells).split()[0]: number for _, cells in read_cells(listed)})
    files, hidden = visible_files(folder / faces)
    rows, malformed = [], []
    for path in files:
        match = NAME.fullmatch(path.rsplit("/", 1)[-1])
        if match:
            serial, age = int(match[1]), int(match[2])
            gender = FEMALE if serial <= LAST_FEMALE else MALE
            rows.append((f"{faces}/{path}", age, gender, serial, parts.get(path, UNKNOWN)))
        else:
            malformed.append(f"{faces}/{path}")
    if not rows:
        raise ValueError(f"no file in {folder / faces} is named like All-Age-Faces', 00000A02.jpg")
    if parts and all(part == UNKNOWN for *_, part in rows):
        raise ValueError(
            f"{folder / 'image sets'}: none of its {len(parts):,} names, such as {min(parts)}, is a file in "
            f"{folder / faces}; correct the lists, or move them elsewhere"
        )
    columns = "path", "age", "gender", "subject", "part"
    skipped = {"malformed name": malformed, "hidden": [f"{faces}/{path}" for path in hidden]}
    return Records.of(rows, columns, skipped, () if parts else ("part",), part_names=PARTS if parts else ())
