"""Which photos of a dataset the lists of create_db.py --exclude leave out."""

from pathlib import Path

from age_gender.files import paths_below, plain_path, read_cells, read_names
from readers.records import Records


def read_exclusions(lists: list[Path], folder: Path, records: Records) -> set[str]:
    """The names that some lists hold, relative to the dataset's folder; says which are in no record.

    Raises:
        ValueError: if a list cannot be read, has two names on a line, or none of its names is a photo of the dataset.
    """
    excluded, known = set(), names_of(records)
    given, below = f"{plain_path(str(folder))}/", paths_below(folder)

    def named(text: str) -> str:
        name = below(text)
        return name if name in known else name.removeprefix(given)

    for path in lists:
        try:
            names = {named(text) for text in read_names(path, lambda text: named(text) in known)}
        except ValueError as error:
            raise ValueError(f"--exclude {error}") from None
        found = names & known
        if names and not found:
            raise ValueError(
                f"--exclude {path}: none of its {len(names):,} names, such as {min(names)}, is a photo of the dataset; "
                "a name is a path below the dataset's folder, or a bare file name"
            )
        if not names and next(read_cells(path), None) is None:  # such as of a search that failed
            print(f"{path} is empty: it names no photo")
        if strangers := names - found:
            print(f"{path}: {len(strangers):,} of its {len(names):,} names are no photo here, such as {min(strangers)}")
        excluded |= found
    return excluded


def names_of(records: Records) -> set[str]:
    """The names by which a list may mean a record, or a file that its reader skipped: a path or a bare file name."""
    paths = {*records.path, *(name for skipped in records.skipped.values() for name in skipped)}
    return paths | {path.rsplit("/", 1)[-1] for path in paths}
