"""A folder for each class: 25/ 26/ ... for ages, F/ and M/ for genders, one within the other for both."""

from pathlib import Path

from age_gender.labels import UNKNOWN
from readers.csv_table import AGE, GENDER, age_of, without_intervals
from readers.records import Records, require, visible_files
from readers.sources import Source

FOLDERS = Source("a folder for each class: 25/ 26/ or 20-29/ for ages, F/ and M/ for genders, F/25/ for both", "", "")


def read_class_folders(folder: Path) -> Records:
    """The photos in the order of their paths; folders that name neither an age nor a gender are passed over.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if no photo's folder names a class.
    """
    from age_gender.faces import IMAGE_SUFFIXES  # with OpenCV, which --help does without

    require(folder.is_dir(), folder, "the folder that holds the classes' folders")
    files, hidden = visible_files(folder)
    rows, skipped = [], {"hidden": hidden}
    for path in files:
        if not path.lower().endswith(IMAGE_SUFFIXES):
            skipped.setdefault("no photo", []).append(path)
            continue
        classes = [_class_of(name) for name in path.split("/")[:-1]]
        ages = [age for age, _ in classes if age]
        genders = [gender for _, gender in classes if gender is not None]
        if not ages and not genders:
            skipped.setdefault("in no class's folder", []).append(path)
        elif len(ages) > 1 or len(genders) > 1:
            skipped.setdefault("in folders of several classes", []).append(path)
        else:
            rows.append((path, *(ages or [(UNKNOWN,) * 3])[0], (genders or [UNKNOWN])[0]))
    if not rows:
        raise ValueError(
            f"no photo in {folder} is in a folder named by an age, such as 25 or 20-29, or a gender, F or M"
        )
    return Records.of(rows, ("path", *AGE, "gender"), skipped, without_intervals(rows))


def _class_of(name: str) -> tuple[tuple[int, int, int] | None, int | None]:
    """The age (see `age_of`) and the gender that a folder's name says; None where it says none."""
    gender = GENDER.get(name.lower(), UNKNOWN)
    age = age_of(name)
    return (age if age and max(age) != UNKNOWN else None), (None if gender == UNKNOWN else gender)
