"""What is known of where a dataset comes from: its page, its terms, its archive and what that must hold."""

from typing import NamedTuple

UNPACKED_HERE = "put it into {output_dir} and run the same command again: it is unpacked to {folder} and checked"
CHECKED_HERE = "run the same command again: it checks {folder}"


class Expected(NamedTuple):
    """Files that a dataset must have: at least so many that match one of the patterns, relative to its folder."""

    patterns: tuple[str, ...]
    least: int = 1


class Source(NamedTuple):
    """Something to fetch, or to ask for."""

    what: str  # what it is
    licence: str  # on what terms its authors give it
    page: str  # where it is described and asked for
    folder: str = ""  # name of its folder in --output_dir; "" where the file is wanted as it is
    archive: str = ""  # name of the file that is fetched; "" where it comes in several
    url: str = ""  # address of that file; "" where it cannot be fetched without a form, an account or a person
    size: int | None = None  # its length in bytes, as published; None where only the server knows
    about: str = "?"  # roughly how long it is, where `size` is None
    checksum: str = ""  # "md5:" or "sha256:" and hex digits, as published; "" where none is
    expected: tuple[Expected, ...] = ()  # what the folder must hold
    steps: tuple[str, ...] = ()  # what to do by hand, with {folder}, {output_dir} and {page} to be filled in
