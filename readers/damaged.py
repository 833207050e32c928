"""Photos that are damaged and are read as well as can be: what their decoders say, and lists of them."""

from pathlib import Path

from age_gender import cluster
from age_gender.cli import one_line
from age_gender.files import can_be_listed, read_cells, real, write_rows


def complaints_of(folder: Path, paths: list[str], client=None) -> dict[str, list[str]]:
    """`sources.complaints` about some photos of a dataset; with a Dask client, by one of its workers."""
    from age_gender.sources import complaints  # OpenCV, which --help does without

    paths = list(dict.fromkeys(paths))  # each once
    if client is None or not paths:
        return complaints(folder, paths)
    place = folder.absolute()
    said = cluster.in_order(client, complaints, [paths], lambda some: (place, some), lambda path: {}, folder)
    return {path: lines for found in said for path, lines in found.items()}


def list_damaged(beside: Path, damaged: dict[str, list[str]], excluded: list[Path]) -> None:
    """Writes such photos beside a file, with their decoders' words, as a list that create_db.py --exclude takes."""
    listing = beside.with_suffix(".damaged.csv")
    listed = write_list(listing, [(path, "; ".join(lines)) for path, lines in damaged.items()], excluded)
    if damaged:
        first, how = one_line(next(iter(damaged))), how_listed(listing, listed, len(damaged))
        print(f"\n{len(damaged):,} photos are damaged but were read, such as {first}; {how}")


def how_listed(listing: Path, listed: int, count: int) -> str:
    """In words, how many of some photos a list holds: all, or those whose names it can hold."""
    if not listed:
        return "no list can hold their names"
    some, rest = "all are", ""
    if listed < count:
        some = f"{listed:,} {'is' if listed == 1 else 'are'}"
        rest = f"; no list can hold the names of {count - listed:,}"
    return f"{some} listed in {listing}, which create_db.py --exclude takes{rest}"


def write_list(listing: Path, rows: list[tuple[str, str]], excluded: list[Path]) -> int:
    """Writes paths and reasons, those that a list can hold, and returns how many; of none it removes the list of an
    earlier run. If the list was given to --exclude itself, its old lines stay: the same command, run again, leaves out
    the same photos."""
    rows = [row for row in rows if can_be_listed(row[0])]
    if real(listing) in map(real, excluded):
        if rows:
            write_rows(listing, dict.fromkeys([*(tuple(cells) for _, cells in read_cells(listing)), *rows]))
    elif rows:
        write_rows(listing, [("path", "reason"), *rows])
    else:
        listing.unlink(missing_ok=True)
    return len(rows)
