"""Adience: five folds of labels, tab-separated, beside two trees of faces.

Eidinger, Enbar, Hassner: "Age and gender estimation of unfiltered faces", IEEE TIFS 9(12), 2014. Ages are intervals,
a few are years, some are neither; genders are m, f, u or nothing. `face_id` is the person.
"""

from pathlib import Path

from readers.csv_table import AGE, GENDER, age_of
from readers.records import Records, require, table_rows, whole_number
from readers.sources import CHECKED_HERE, Expected, Source

ADIENCE = Source(
    what="Adience, eight age groups",
    licence="research only",
    page="https://talhassner.github.io/home/projects/Adience/Adience-data.html",
    folder="adience",
    about="1 to 2 GB",
    expected=(
        *(Expected((f"fold_{fold}_data.txt",)) for fold in range(5)),
        Expected(("aligned/*/landmark_aligned_face.*.jpg", "faces/*/coarse_tilt_aligned_face.*.jpg"), 19_000),
    ),
    steps=(
        "open {page} and fill in the form: user name and password for the download come with it",
        "download fold_0_data.txt to fold_4_data.txt into {folder}",
        "download aligned.tar.gz or faces.tar.gz and unpack it into {folder}, which then holds aligned/ or faces/",
        CHECKED_HERE,
    ),
)

FOLDS = tuple(f"fold_{number}" for number in range(5))
SLIPS = {"(25, 23)": "(25, 32)"}  # in some copies: the fourth group, misprinted
# The tree and the beginning of the file names in it, best first.
TREES = (("aligned", "landmark_aligned_face"), ("faces", "coarse_tilt_aligned_face"))
COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")


def read_adience(folder: Path) -> Records:
    """Adience's records in the order of its folds; repeated rows come once, at their first place. See `Records`."""
    there = (tree for tree in TREES if (folder / tree[0]).is_dir() and any((folder / tree[0]).iterdir()))
    tree, beginning = next(there, TREES[0])
    rows, seen, skipped = [], set(), {}
    for fold, name in enumerate(FOLDS):
        table = folder / f"{name}_data.txt"
        named = "the folder with Adience's fold_0_data.txt to fold_4_data.txt and its folder aligned/ or faces/"
        require(table.is_file(), table, named)
        for _, row in table_rows(table, COLUMNS, skipped, delimiter="\t"):
            path = f"{tree}/{row['user_id']}/{beginning}.{row['face_id']}.{row['original_image']}"
            person, years = whole_number(row["face_id"], highest=10**9), age_of(SLIPS.get(row["age"], row["age"]))
            if person is None or not row["user_id"] or not row["original_image"]:
                skipped.setdefault("malformed row", []).append(path)
            elif years is None:
                skipped.setdefault("age not understood", []).append(path)
            elif (gender := GENDER.get(row["gender"].lower())) is None:
                skipped.setdefault("gender not understood", []).append(path)
            elif (found := (path, *years, gender, person, fold)) in seen:
                skipped.setdefault("repeated row", []).append(path)
            else:
                seen.add(found)
                rows.append(found)
    if not rows:
        raise ValueError(f"no row of the five folds in {folder} could be understood")
    return Records.of(rows, ("path", *AGE, "gender", "subject", "part"), skipped, part_names=FOLDS)
