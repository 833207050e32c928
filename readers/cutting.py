"""Cuts the faces of a dataset's records from their photos, on all cores and in order."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender import cluster
from age_gender.cli import heed
from age_gender.detectors import CHOICES, Detection, face_at, in_any_thread
from age_gender.machine import native_stderr_size
from readers.records import Records

BLOCK_BYTES = 1 << 19  # of the faces that one worker decodes at a time, whatever their size
MISSING, EMPTY, UNREADABLE, MISFIT = "file missing", "empty file", "unreadable file", "face box does not fit the photo"
DEADLY = "ended the worker that read it"
SENT_BYTES = 1 << 26  # of the faces that one worker sends at a time
SEARCHED = 8  # photos that one worker searches for faces at a time
OBLONG = 1.3  # one side of a photo over the other: photos of cameras are so, crops of faces hardly


class Find(NamedTuple):
    """Finds the face of a photo anew, in any thread and, sent there, in any process."""

    detector: str  # a name in DETECTORS, but "none"
    face: str  # a name in CHOICES: which of several, where the photo comes without a box

    def __call__(self, image: np.ndarray, box: list[float] | None) -> Detection | None:
        """(h, w, 3) uint8 BGR, and the record's box or None -> the face; None where there is none."""
        found = cluster.once(in_any_thread, self.detector)(image)
        return CHOICES[self.face](found, image.shape) if box is None else face_at(found, box)


class Cut(NamedTuple):
    """How faces are cut from photos."""

    image_size: int  # height and width of the faces, in pixels
    margin: float  # around the box, as a share of its size; of faces that come cropped, how far they were cut
    whole: bool  # whether photos are taken as they are, although they have boxes
    find: Callable | None  # as `Find` is called; None where nothing has to be found
    align: bool  # whether faces are turned until their eyes are level
    else_whole: bool = False  # whether photos without a box in which no face is found are taken whole: cut already


class Block(NamedTuple):
    """What some photos gave."""

    rows: np.ndarray  # (k,) of the records, those that succeeded
    images: np.ndarray  # (k, size, size, 3) uint8 BGR
    digests: list[int]  # of the k photos' bytes
    failures: list[tuple[str, str]]  # the reason and the path of each other photo
    # Rows during whose decoding something was written to stderr: decoders name no file, so that it may be of a photo in
    # another thread.
    doubted: list[int]
    taken_whole: int  # how many photos were taken whole, since no face was found in them
    oblong: int  # how many of the images were squeezed: whole photos, of which one side is OBLONG times the other
    cornered: int  # how many face boxes end within the upper left quarter of their photo


def decoded_blocks(records: Records, kept: np.ndarray, folder: Path, cut: Cut, workers: int, client=None):
    """Yields a Block of photos after the other, decoded ahead.

    That is done in threads, or by a Dask client's workers. Threads suffice on one machine: OpenCV decodes, and dlib
    and YuNet search, without holding Python's lock.
    """
    from tqdm import tqdm

    ours, theirs = (BLOCK_BYTES, SEARCHED, len(kept)), (SENT_BYTES, cluster.SEARCHED, cluster.BLOCK)
    size, searched, most = theirs if client else ours  # of a block: bytes, photos to search, photos
    count = max(1, min(searched if cut.find else most, size // (3 * cut.image_size**2)))
    nothing = np.array([], np.int64), np.empty((0, cut.image_size, cut.image_size, 3), np.uint8), []
    plain, place = replace(records, skipped={}), folder.absolute()
    answers = cluster.in_order(
        client,
        decode_block,
        [kept[start : start + count] for start in range(0, len(kept), count)],
        given=lambda rows: (plain.take(rows), rows, place, cut),
        deadly=lambda row: Block(*nothing, [(DEADLY, records.path[row])], [], 0, 0, 0),
        folder=folder,
        threads=workers,
    )
    with tqdm(total=len(kept), unit="face", smoothing=0.1) as progress:
        for answer in answers:
            heed()
            progress.update(len(answer.rows) + len(answer.failures))
            yield answer


def why_not_read(path: str) -> str:
    """Why a photo gave no content: it is not there, or is too large, no regular file, or may not be read."""
    return UNREADABLE if "\0" not in path and os.path.lexists(path) else MISSING


class StillThere:
    """Tells photos that go away while they are read, as from a disk that is unplugged, from those that never were, by a
    sample of a dataset's."""

    SAMPLE, FEW = 1000, 0.01  # the share of the sample that may go without notice

    def __init__(self, folder: Path, paths: list[str]):
        chosen = random.Random(0).sample(paths, min(self.SAMPLE, len(paths)))
        self.folder, self.there = folder, [path for path in chosen if os.path.isfile(folder / path)]

    def check(self) -> None:
        """Raises ValueError if photos that were there are gone now."""
        gone = [path for path in self.there if not os.path.isfile(self.folder / path)]
        if len(gone) > self.FEW * len(self.there):
            raise ValueError(
                f"{len(gone):,} of {len(self.there):,} photos went away while they were read, such as "
                f"{self.folder / gone[0]}; nothing was replaced. Is the disk still there?"
            )


def decode_block(records: Records, rows: np.ndarray, folder: Path, cut: Cut) -> Block:
    """Reads, cuts and resizes the photos of some records, which were taken from others, where they are `rows`."""
    from age_gender.faces import cut_face, decode, heic_remedy, read_bytes
    from age_gender.files import digest

    size = cut.image_size
    images = np.empty((len(rows), size, size, 3), np.uint8)
    good, digests, failures, doubted, taken_whole, oblong, cornered = [], [], [], [], 0, 0, 0
    said = native_stderr_size()
    for place, (row, name) in enumerate(zip(rows, records.path, strict=True)):
        path = os.path.join(folder, name)
        content = read_bytes(path)
        box, eyes = None if cut.whole else records.face_box(place), None
        image = None if content is None else decode(content, at_least=None if box or cut.find else size)
        if (now := native_stderr_size()) != said:
            said = now
            doubted.append(int(row))
        if image is None:
            bad = EMPTY if content == b"" else f"unreadable image{heic_remedy(path)}"
            reason = why_not_read(path) if content is None else bad
            failures.append((reason, name))
            continue
        if cut.find:
            known = box if box and np.isfinite(box).all() else None
            found = cut.find(image, known)
            if found is None and (known or not cut.else_whole):
                failures.append(("no face found at its box" if known else "no face found", name))
                continue
            if found:
                box, eyes = found.box, found.landmarks[:2] if cut.align else None
            else:
                box, taken_whole = None, taken_whole + 1
        face = cut_face(image, box, cut.margin, size, eyes)
        if face is None:
            failures.append((MISFIT, name))
            continue
        oblong += box is None and max(image.shape[:2]) >= OBLONG * min(image.shape[:2])
        cornered += box is not None and 2 * box[2] < image.shape[1] and 2 * box[3] < image.shape[0]
        images[len(good)] = face
        good.append(row)
        digests.append(digest(content))
    counts = taken_whole, oblong, cornered
    return Block(np.array(good, np.int64), images[: len(good)], digests, failures, doubted, *counts)
