"""Puts an archive's content into its place, whole or not at all, and says what a dataset's folder lacks."""

import os
from itertools import islice
from pathlib import Path

from age_gender.files import DISK_FULL, scratch
from readers.fetch import length, require_room
from readers.sources import Expected, Source


def lacking(folder: Path, expected: tuple[Expected, ...]) -> str:
    """What a dataset's folder lacks, in words; "" if nothing. Looks at names alone."""
    missing = []
    for patterns, least in expected:
        count = max(sum(1 for _ in islice(folder.glob(pattern), least)) for pattern in patterns)
        if count < least:
            names = " or ".join(patterns)
            missing.append(names if least == 1 else f"{names} ({count:,} files of {least:,} or more)")
    return ", ".join(missing)


def install(source: Source, archive: Path, target: Path) -> int:
    """Unpacks an archive beside its place, checks the result and moves it there. What was there is replaced. Returns
    how many files it holds.

    Raises:
        ValueError: if the archive is damaged, unsafe, or not the dataset that it should be.
        OSError: if the disk is full. In either case nothing is left but the archive, and what was there before.
    """
    from readers.archives import unpack  # with libraries that --help does without

    require_room(target.parent, 0, length(archive))
    try:
        with scratch(target.parent) as work:
            content = work / "content"
            content.mkdir()
            files = unpack(archive, content)
            top = content / source.folder if (content / source.folder).is_dir() else content
            if missing := lacking(top, source.expected):
                raise ValueError(f"{archive} is not {source.what}: it lacks {missing}")
            if others := [path.name for path in sorted(content.iterdir()) if top != content and path != top]:
                print(f"left out, as it stands beside {source.folder}: {', '.join(others)}")
            move_into_place(top, target, work / "replaced")
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OSError(
                f"{archive} cannot be unpacked in {target.parent} ({error.strerror}); it is kept: make room, and the "
                "same command goes on from there"
            ) from None
        raise
    return files


def move_into_place(new: Path, target: Path, aside: Path) -> None:
    """Moves a folder to `target`; what is there goes to `aside`, and comes back if that fails."""
    there = os.path.lexists(target)
    if there:
        os.replace(target, aside)
    try:
        os.replace(new, target)
    except OSError:
        if there:
            os.replace(aside, target)
        raise
