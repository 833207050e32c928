"""UTKFace: the labels stand in the file names, `[age]_[gender]_[race]_[date].jpg.chip.jpg`.

Zhang, Song, Qi: "Age progression/regression by conditional adversarial autoencoder", CVPR 2017. The dataset says
0 = male, 1 = female, the reverse of labels.py: genders are turned round here and nowhere else.
"""

import re
from pathlib import Path

import numpy as np

from age_gender.labels import FEMALE, MALE, UNKNOWN
from readers.records import Records, box_of_landmarks, require, visible_files
from readers.sources import CHECKED_HERE, UNPACKED_HERE, Expected, Source

PAGE = "https://susanqq.github.io/UTKFace/"
UTKFACE = Source(
    what="UTKFace, aligned and cropped",
    licence="non-commercial research only",
    page=PAGE,
    folder="UTKFace",
    archive="UTKFace.tar.gz",
    about="0.1 GB",
    expected=(Expected(("**/*.jpg",), 23_700),),
    steps=(
        "open {page} and follow 'Aligned&Cropped Faces' to its Google Drive",
        "download UTKFace.tar.gz there",
        UNPACKED_HERE,
    ),
)
UTKFACE_WILD = Source(
    what="UTKFace, photos in the wild",
    licence="non-commercial research only",
    page=PAGE,
    folder="UTKFace_wild",
    expected=(*(Expected((f"part{part}/*.jpg",)) for part in (1, 2, 3)),),
    steps=(
        "open {page} and follow 'In-the-wild Faces' to its Google Drive",
        "download part1.tar.gz, part2.tar.gz and part3.tar.gz, and unpack all three into {folder}",
        CHECKED_HERE,
    ),
)

ALIGNED, ENOUGH = 200, 20  # pixels of an aligned face; boxes that tell whose they are
RACES = ("White", "Black", "Asian", "Indian", "Other")
GENDER = {"0": MALE, "1": FEMALE}

# Some dates and extensions are damaged; the labels before them are not.
COMPLETE = re.compile(r"(\d{1,3})_([01])_([0-4])_.*\.jpe?g$", re.IGNORECASE)
# A few names lack one of gender and race. Which one cannot be told, so neither is believed.
INCOMPLETE = re.compile(r"(\d{1,3})_(?:[0-4]_)?_?\d{8,}\.jpe?g", re.IGNORECASE)


def read_utkface(folder: Path) -> Records:
    """The aligned and cropped faces, in the order of their names, subfolders included. See `Records`."""
    require(folder.is_dir(), folder, "the folder that UTKFace.tar.gz unpacks to")
    return _read(folder, *visible_files(folder))


def read_utkface_wild(folder: Path) -> Records:
    """The photos in the wild, part1 to part3. See `Records`.

    The published lists of landmarks are of the aligned faces, not of these photos: then no photo has a box. Lists that
    are of the photos give each its box.
    """
    require(any(folder.glob("part[0-9]*")), folder / "part1", "the folder that holds UTKFace's part1 to part3")
    files = ([path for path in paths if re.match(r"part\d+/", path)] for paths in visible_files(folder))
    records = _read(folder, *files)
    lists = sorted(folder.glob("landmark_list_part*.txt"))
    boxes = {path.stem.removeprefix("landmark_list_"): _landmark_boxes(path) for path in lists}
    known = np.array([box for part in boxes.values() for box in part.values() if np.isfinite(box).all()])
    # Those of the aligned faces, all of them, reach a little beyond their 200 pixels.
    if not boxes or (len(known) >= ENOUGH and known.max() < 1.3 * ALIGNED):
        return records
    places = ((path.split("/")[0], path.rsplit("/", 1)[-1]) for path in records.path)
    records.box = np.array([boxes.get(part, {}).get(name, [np.nan] * 4) for part, name in places])
    return records


def _read(folder: Path, paths: list[str], hidden: list[str]) -> Records:
    rows, malformed = [], []
    for path in paths:
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
    skipped = {"malformed name": malformed, "hidden": hidden}
    return Records.of(rows, ("path", "age", "gender", "race"), skipped, race_names=RACES)


def _landmark_boxes(path: Path) -> dict[str, np.ndarray]:
    """File name -> box, from lines of a name (which may hold blanks) and 136 numbers, x and y of 68 landmarks."""
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    cells = (line.rstrip().rsplit(maxsplit=136) or [""] for line in lines)
    return {name: box_of_landmarks(numbers) for name, *numbers in cells}
