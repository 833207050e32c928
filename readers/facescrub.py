"""FaceScrub: lists of links with a face box for each; gender by the list, no age.

Ng, Winkler: "A data-driven approach to cleaning large face datasets", ICIP 2014. There is no official tree of images:
they are looked for as <name>/<name>_<face_id>.*, blanks or underscores in the name, and otherwise by their sha256.
"""

import hashlib
from pathlib import Path

from age_gender.labels import FEMALE, MALE, UNKNOWN
from readers.records import Records, person_number, visible_files, whole_number
from readers.sources import CHECKED_HERE, Expected, Source

FACESCRUB = Source(
    what="FaceScrub, lists of photos, genders only",
    licence="non-commercial research only",
    page="http://vintage.winklerbros.net/facescrub.html",
    folder="facescrub",
    expected=(
        Expected(("facescrub_actors.txt",)),
        Expected(("facescrub_actresses.txt",)),
        Expected(("**/*.jp*g", "**/*.png")),
    ),
    steps=(
        "open {page} and ask for the password by its form; it comes by e-mail, with a zip file",
        "unpack facescrub_actors.txt and facescrub_actresses.txt into {folder}",
        "fetch the photos that the lists name, which are all over the web and partly gone, into {folder}, each as "
        "<name>/<name>_<face_id>.jpg or under any name with its content unchanged",
        CHECKED_HERE,
    ),
)

LISTS = (("facescrub_actors.txt", MALE), ("facescrub_actresses.txt", FEMALE))
COLUMNS = ("name", "image_id", "face_id", "url", "bbox", "sha256")  # the official lists start with these, some do not
LIST_SUFFIXES = (".txt", ".csv", ".mat", ".md", ".json")


def read_facescrub(folder: Path) -> Records:
    """FaceScrub's faces in the order of its lists, actors first. See `Records`."""
    if not any((folder / name).is_file() for name, _ in LISTS):
        raise FileNotFoundError(
            f"{folder} holds neither facescrub_actors.txt nor facescrub_actresses.txt: --data_dir must name the folder "
            "with these lists and the images, <name>/<name>_<face_id>.jpg"
        )
    faces, skipped = [], {}
    for name, gender in LISTS:
        for number, cells in enumerate(_rows(folder / name), start=1):
            box = _box(cells[4]) if len(cells) == len(COLUMNS) else None
            if box is None or whole_number(cells[2], highest=10**9) is None:
                skipped.setdefault("malformed row", []).append(f"{name}, row {number}")
            else:
                names = f"{cells[0]}_{cells[2]}", f"{cells[0]}_{cells[1]}"
                faces.append((cells[0], names, cells[5].strip().lower(), gender, box))
    paths = _find(folder, [face[1] for face in faces], [face[2] for face in faces])
    rows = []
    for path, (person, (name, _), _, gender, box) in zip(paths, faces, strict=True):
        if path is None:
            skipped.setdefault("no image", []).append(f"{person}/{name}")
        else:
            rows.append((path, UNKNOWN, gender, person_number(person), box))
    if not rows:
        counts = ", ".join(f"{len(names):,} {reason}" for reason, names in skipped.items()) or "the lists are empty"
        raise ValueError(f"none of FaceScrub's faces is in {folder}: {counts}")
    return Records.of(rows, ("path", "age", "gender", "subject", "box"), skipped)


def _find(folder: Path, names: list[tuple[str, str]], fingerprints: list[str]) -> list[str | None]:
    """The file of each face: by its name, with the face's number or the image's, whichever finds more, as trees of both
    kinds are about; else, among the files that bear no such name, by its sha256."""
    files = [path for path in visible_files(folder)[0] if not path.lower().endswith(LIST_SUFFIXES)]
    by_name = {_plain(path.rsplit("/", 1)[-1].rsplit(".", 1)[0]): path for path in files}
    by_kind = ([by_name.get(_plain(name)) for name in kind] for kind in zip(*names, strict=True))
    found = max(by_kind, key=lambda paths: sum(map(bool, paths)), default=[])
    if None in found:
        known = set(found)
        by_content = {_sha256(folder / path): path for path in files if path not in known}
        found = [path or by_content.get(sha256) for path, sha256 in zip(found, fingerprints, strict=True)]
    return found


def _plain(name: str) -> str:
    return name.replace(" ", "_").lower()


def _sha256(path: Path) -> str:
    """In hex digits; "" of what cannot be read."""
    from age_gender.faces import read_bytes  # with OpenCV, which --help does without

    content = read_bytes(path)
    return "" if content is None else hashlib.sha256(content).hexdigest()


def _rows(path: Path) -> list[list[str]]:
    """The cells of each line below a header, if there is one; [] without the file."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        rows = [line.rstrip("\r\n").split("\t") for line in file]
    return rows[1:] if rows and rows[0][:1] == ["name"] else rows


def _box(text: str) -> tuple[int, ...] | None:
    """x1, y1, x2, y2 from "463,450,1785,1772"; None if that is no box."""
    numbers = [whole_number(part, lowest=-(10**6), highest=10**6) for part in text.split(",")]
    if len(numbers) != 4 or None in numbers or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        return None
    return tuple(numbers)
