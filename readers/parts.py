"""A dataset as several databases, made one by one, as on several machines: their names, and whether all are there.

`create_db.py --part 3/10` writes NAME.3-of-10.mat, and beside it NAME.parts.json, which names all ten.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender.files import alone, digest, write_text

LIST = ".parts.json"


class Part(NamedTuple):
    """The part `number`, from 1, of `count` of a dataset."""

    number: int
    count: int

    def path(self, output: Path) -> Path:
        """Where it goes, of the database that `output` would be: data/imdb_db.3-of-10.mat."""
        return output.with_name(f"{output.stem}.{self.number}-of-{self.count}{output.suffix}")

    def rows(self, kept: np.ndarray) -> np.ndarray:
        """Its share of some rows: all parts after one another are all rows, and differ by one in length at most."""
        if len(kept) < self.count:
            raise ValueError(f"{len(kept):,} faces cannot make {self.count:,} parts")
        ends = [len(kept) * number // self.count for number in (self.number - 1, self.number)]
        return kept[slice(*ends)]


def part_of(text: str) -> Part:
    """3/10, as a Part; raises ValueError."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part = Part(int(match[1]), int(match[2])) if match else None
    if not part or not 1 <= part.number <= part.count <= 9999:
        raise ValueError(f"'{text}' is no part, such as 3/10, the third of ten")
    return part


def name_parts(output: Path, part: Part, made_of: str) -> None:
    """Writes which parts of the database `output` there are to be; `made_of` says in any words what must be the same
    for all. Every part writes the same, so that it does not matter which is first.

    Raises:
        ValueError: if the list is there, says something else, and one of its parts is there too, or another run is at
            work on it.
    """
    listing = output.with_suffix(LIST)
    names = [Part(number, part.count).path(output).name for number in range(1, part.count + 1)]
    content = {"parts": names, "made_of": f"{digest(made_of.encode('utf-8', 'surrogatepass')) & (2**64 - 1):016x}"}
    was = _read(listing) if listing.exists() else content
    if was != content and any(_begun(output.with_name(name), part.path(output)) for name in was["parts"]):
        raise ValueError(
            f"{listing} is of parts of another table, or made with other options; remove it and its parts, or choose "
            "another --output"
        )
    write_text(listing, json.dumps(content, indent=1) + "\n")


def _begun(path: Path, own: Path) -> bool:
    """Whether a part is there, or another run is at work on it; on its `own` this run is."""
    if path.exists() or path == own:
        return path.exists()
    try:
        with alone(path):
            return False
    except ValueError:
        return True


def with_all_parts(path: Path) -> list[Path]:
    """The database, or all parts in order of the dataset that it is a part of."""
    for listing in sorted(path.parent.glob(f"[!.]*{LIST}")):  # no unfinished one
        names = _read(listing)["parts"]
        if path.name in names:
            return [path.with_name(name) for name in names]
    return [path]


def require_parts(paths: list[Path]) -> None:
    """Refuses some databases that are not each face once.

    Raises:
        FileNotFoundError: if one is a part of a dataset of which another part is not there.
        ValueError: if one is a part of another.
    """
    for path in paths:
        whole = path.with_name(re.sub(r"\.\d+-of-\d+(?=\.|$)", "", path.name))
        if whole != path and whole in paths:
            raise ValueError(f"{path} is a part of {whole}: every face would count twice; name one of the two")
        missing = [part for part in with_all_parts(path) if part != path and not part.is_file()]
        if missing:
            more = f" and {len(missing) - 1:,} more parts" if len(missing) > 1 else ""
            raise FileNotFoundError(
                f"{missing[0]}{more} of the same dataset as {path.name} cannot be found; make it with create_db.py "
                f"--part, or remove the list of parts, *{LIST}, to do without"
            )


def _read(listing: Path) -> dict:
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
        names = content["parts"]
        if isinstance(names, list) and all(isinstance(name, str) and name == Path(name).name != "" for name in names):
            return content
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ValueError(
        f"{listing} is no list of parts, names of files beside it; remove it, or make it again with create_db.py --part"
    )
