"""Any table with a path and any of age, gender, subject, split and box columns, such as IMDB-Clean's lists."""

import math
import re
from pathlib import Path

from age_gender.cli import one_line
from age_gender.files import paths_below, read_cells
from age_gender.labels import FEMALE, MALE, MAX_AGE, UNKNOWN
from readers.records import Records, person_number, real_number, table_rows, whole_number, whole_years
from readers.sources import CHECKED_HERE, Expected, Source

CSV = Source("any table of photos and labels: --table, --columns", "", "")
IMDB_CLEAN = Source(
    what="IMDB-Clean, cleaned labels of IMDB",
    licence="the lists MIT, the photos IMDB-WIKI's",
    page="https://github.com/yiminglin-ai/imdb-clean",
    folder="imdb-clean",
    expected=tuple(Expected((f"csvs/imdb_{part}_new.csv",)) for part in ("train", "valid", "test")),
    steps=(
        "git clone {page}.git {folder}",
        "if csvs/ is not in it or holds files of some 130 bytes, see its README: they are stored with Git LFS",
        "the lists' boxes are on the uncropped photos: imdb_0.tar to imdb_9.tar of https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/",
        CHECKED_HERE,
    ),
)

FIELDS = ("path", "age", "age_std", "gender", "subject", "part", "x1", "y1", "x2", "y2")
BOX = FIELDS[-4:]
AGE = ("age", "label_low", "label_high")  # columns of Records, as `age_of` gives them
OTHER_NAMES = {
    "path": ("filename", "file_name"),
    "x1": ("x_min",),
    "y1": ("y_min",),
    "x2": ("x_max",),
    "y2": ("y_max",),
}
OLDEST, FARTHEST = 999, 1e6  # beyond it, a number is no age in years and no place in a photo
# Age groups as datasets write them: 50-59, (25, 32), 25 to 32; more than 70, 70+, 70 and older; under 18, <18.
# A comma stands between the ends in brackets alone: without them it may be a decimal one.
GROUP = re.compile(r"(?:(\d{1,3})\s*(?:-|–|_|to)\s*(\d{1,3})|[(\[]\s*(\d{1,3})\s*(?:-|–|,|to)\s*(\d{1,3})\s*[)\]])")
AT_LEAST = re.compile(
    r"(?:more than|over|above|from|>=?|≥)\s*(\d{1,3})|(\d{1,3})\s*(?:\+|(?:and|or|years and) (?:older|over|above|more))"
)
BELOW = re.compile(r"(?:less than|under|below|<)\s*(\d{1,3})")
NOTHING = ("", "nan", "none", "na", "n/a", "null", "<na>")  # as programs write what is not known
GENDER = {
    **dict.fromkeys(("f", "female", "woman", "girl"), FEMALE),
    **dict.fromkeys(("m", "male", "man", "boy"), MALE),
    **dict.fromkeys((*NOTHING, "u", "unknown"), UNKNOWN),
}


def read_csv_table(
    folder: Path, table: Path | None, columns: list[tuple[str, str]], genders: tuple[str, str] | None = None
) -> Records:
    """The rows of a table, in its order. See `Records`.

    Args:
        folder: where the photos are; the table's paths are relative to it.
        table: a table with a header line; comma, tabulator or semicolon between the cells.
        columns: pairs of a field in FIELDS and the table's own name for it, "" for a field that is not to be read.
            Fields that are not named are looked for under their own names and those of OTHER_NAMES, and taken where
            they are there; only `path` must be.
        genders: what the table writes for female and for male, where it is not f, female, m or male in any case.

    Raises:
        FileNotFoundError: if there is no table.
        ValueError: if it is none, lacks a column that `columns` names, or no row can be understood.
    """
    if table is None:
        raise ValueError("--db csv needs --table FILE: a table with the photos' paths and labels")
    meaning = _meaning(genders)
    named = _columns(table, columns or [])
    rows, skipped, parts = _rows(table, named, meaning, folder)
    if not rows:
        counts = ", ".join(f"{len(names):,} {reason}" for reason, names in skipped.items()) or "it is empty"
        raise ValueError(f"no row of {table} is understood: {counts}")
    if foreign := [row[0] for row in rows if re.search("[\udc80-\udcff]", row[0])]:
        some = f"{len(foreign):,} of its paths are no UTF-8, such as {foreign[0]!a}"
        print(one_line(f"{table}: {some}; if these photos are not found, save the table as CSV in UTF-8"))
    lacking = [name for name in ("age_std", "subject", "part") if name not in named] + ["box"] * (BOX[0] not in named)
    columns = ("path", *AGE, "age_std", "gender", "subject", "part", "box")
    return Records.of(rows, columns, skipped, [*lacking, *without_intervals(rows)], part_names=tuple(parts))


def without_intervals(rows: list[tuple]) -> tuple[str, ...]:
    """The columns to leave out of rows that begin with a path and AGE: of the intervals, where no age is one."""
    return () if any(low != UNKNOWN for _, _, low, *_ in rows) else AGE[1:]


def _meaning(genders: tuple[str, str] | None) -> dict[str, int]:
    """What the table's words for genders mean, in small letters."""
    if not genders:
        return GENDER
    words = [_same(text) for text in genders]
    if words[0] & words[1]:
        raise ValueError(f"--genders: {genders[0]} cannot be both")
    return dict.fromkeys(NOTHING, UNKNOWN) | {
        word: gender for same, gender in zip(words, (FEMALE, MALE), strict=True) for word in same
    }


def _same(text: str) -> set[str]:
    """A word as tables write it: in small letters, and a number also as pandas does where another one is missing."""
    number = whole_number(text, lowest=-999)
    return {text.lower()} if number is None else {text.lower(), str(number), f"{number}.0"}


def _columns(table: Path, columns: list[tuple[str, str]]) -> dict[str, str]:
    """The table's own name for each field that it has."""
    asked = dict(columns)
    if unknown := [name for name in asked if name not in FIELDS]:
        raise ValueError(f"--columns: '{unknown[0]}' is no field; there are {', '.join(FIELDS)}")
    if len(asked) < len(columns):
        raise ValueError("--columns names a field twice")
    if not table.exists():
        raise FileNotFoundError(f"--table {table} is not there")
    _, header = next(read_cells(table), (0, []))
    named = {}
    for field in FIELDS:
        names = [asked[field]] if field in asked else [field, *OTHER_NAMES.get(field, ())]
        if found := [name for name in names if name and (name in header or field in asked)]:
            named[field] = found[0]
    named.setdefault("path", "path")
    taken = [name for field, name in named.items() if field != "subject"]  # each photo may be a subject of its own
    if twice := next((name for name in taken if taken.count(name) > 1), None):
        fields = " and ".join(field for field in named if named[field] == twice)
        raise ValueError(f"{table}: its column '{twice}' would be read as {fields}; say --columns with one of them")
    if len(boxes := [field for field in BOX if field in named]) not in (0, len(BOX)):
        raise ValueError(f"{table} has the box columns {', '.join(boxes)}; all of {', '.join(BOX)} are needed, or none")
    if len(header) == 1:
        raise ValueError(
            f"{table} has one column alone, {header[0][:40]}: save it as CSV in UTF-8, with comma, tabulator or "
            "semicolon between its cells"
        )
    if not {"age", "gender"} & set(named):
        raise ValueError(
            f"{table} has neither a column 'age' nor 'gender'; say which it is with --columns age=NAME gender=NAME; "
            f"it has {', '.join(header) or 'none'}"
        )
    if unread := [name for name in header if name and name not in named.values()]:
        some = ", ".join(unread[:6]) + ", ..." * (len(unread) > 6)
        print(one_line(f"{table}: columns that are not read: {some} (--columns FIELD=NAME reads one)"))
    return named


def _rows(table: Path, named: dict[str, str], meaning: dict[str, int], folder: Path):
    """The rows that are understood, those that are not by reason, and the numbers of the parts by name."""
    rows, skipped, parts, below = {}, {}, {}, paths_below(folder)  # rows are the keys, in their order, each once
    for line, cells in table_rows(table, tuple(named.values()), skipped):
        row = {field: cells[name] for field, name in named.items()}
        path = below(row["path"])
        age, std = age_of(row.get("age", "")), _number(row.get("age_std", ""), OLDEST)
        gender = meaning.get(row.get("gender", "").lower())
        box = tuple(_number(row.get(field, ""), FARTHEST) for field in BOX)
        if not path:
            skipped.setdefault("no path", []).append(f"{table.name}, line {line}")
        elif age is None or std is None or None in box:
            skipped.setdefault("number not understood", []).append(path)
        elif gender is None:
            skipped.setdefault("gender not understood", []).append(path)
        else:
            subject, name = (
                row[each] if row.get(each, "").lower() not in NOTHING else "" for each in ("subject", "part")
            )
            # pandas writes 1 as 1.0 where another cell of the column is empty.
            person = person_number(subject.removesuffix(".0")) if subject else UNKNOWN
            part = parts.setdefault(name, len(parts)) if name else UNKNOWN
            found = (path, *age, std if std > 0 else math.nan, gender, person, part, box)
            if found in rows:  # NaN is math.nan here, which is itself
                skipped.setdefault("repeated row", []).append(path)
            rows[found] = None
    return rows, skipped, parts


def age_of(text: str) -> tuple[int, int, int] | None:
    """Age, and the ends of the interval that it is instead, in years, -1 what is not known; None if not understood."""
    number = _number(text, OLDEST)
    if number is not None:
        return UNKNOWN if math.isnan(number) else whole_years(number), UNKNOWN, UNKNOWN
    text = text.lower()
    if match := GROUP.fullmatch(text):
        low, high = map(int, filter(None, match.groups()))
        ends = text[0] + text[-1]
        low, high = low + (ends == "(]"), high - (ends == "[)")  # half open, as pandas.cut writes them
    elif match := AT_LEAST.fullmatch(text):
        low, high = int(match[1] or match[2]), MAX_AGE
    elif match := BELOW.fullmatch(text):
        low, high = 0, int(match[1]) - 1
    else:
        return None
    return (UNKNOWN, low, min(high, MAX_AGE)) if low <= min(high, MAX_AGE) else None


def _number(text: str, bound: float) -> float | None:
    """The number within the bound that some text is; NaN where there is none, None where it is something else."""
    if text.lower() in NOTHING:
        return math.nan
    number = real_number(text)
    return number if number is not None and abs(number) <= bound else None
