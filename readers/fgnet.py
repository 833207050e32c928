"""FG-NET: 1,002 photos of 82 people over the years, `001A02.JPG`: person, A, age, and a letter if there are several.

Lanitis, Taylor, Cootes: "Toward automatic simulation of aging effects on face images", IEEE PAMI 24(4), 2002. There
is no gender. The photos are loosely framed: the box of each face is that of its landmarks in points/.
"""

import re
from pathlib import Path

import numpy as np

from age_gender.labels import UNKNOWN
from readers.records import Records, box_of_landmarks, require, visible_files
from readers.sources import Expected, Source

FGNET = Source(
    what="FG-NET, 82 people over the years",
    licence="research only",
    page="https://yanweifu.github.io/FG_NET_data/",
    folder="FGNET",
    archive="FGNET.zip",
    url="https://yanweifu.github.io/FG_NET_data/FGNET.zip",
    about="46 MB",
    expected=(Expected(("images/*.[jJ][pP][gG]",), 1002),),
)

NAME = re.compile(r"(\d{3})A(\d{2})[a-z]?\.jpe?g", re.IGNORECASE)


def read_fgnet(folder: Path) -> Records:
    """FG-NET's records, in the order of their names. See `Records`."""
    require(folder.is_dir(), folder, "the folder that FGNET.zip unpacks to, with images/")
    rows, malformed = [], []
    files, hidden = visible_files(folder)
    points = {Path(path).stem.lower(): folder / path for path in files if path.lower().endswith(".pts")}
    if not points:
        raise FileNotFoundError(f"{folder} holds no landmarks, points/001a02.pts and so on, by which the faces are cut")
    for path in files:
        name = path.rsplit("/", 1)[-1]
        if match := NAME.fullmatch(name):
            box = _box(points.get(name.rsplit(".", 1)[0].lower()))
            rows.append((path, int(match[2]), UNKNOWN, int(match[1]), box))
        elif not path.lower().endswith((".pts", ".mat")):
            malformed.append(path)
    if not rows:
        raise ValueError(f"no file under {folder} is named like FG-NET's, 001A02.JPG")
    return Records.of(
        rows, ("path", "age", "gender", "subject", "box"), {"malformed name": malformed, "hidden": hidden}
    )


def _box(path: Path | None) -> np.ndarray:
    """The box over the landmarks of a .pts file, lines of x and y between braces; NaN if it has none."""
    text = path.read_text(encoding="utf-8-sig", errors="replace") if path else ""
    return box_of_landmarks(text.partition("{")[2].partition("}")[0].split())
