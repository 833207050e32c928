"""What is wrong with a dataset's files: missing or damaged, the same or nearly so, with labels that disagree."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender import cluster
from age_gender.cli import heed
from age_gender.labels import MAX_AGE, UNKNOWN
from age_gender.machine import native_stderr_size
from readers.cleaning import conflict, rows_alike
from readers.cutting import DEADLY, EMPTY, MISSING, UNREADABLE, StillThere, why_not_read
from readers.records import Records

FILES, PAIRS = 32, 1024  # that a thread looks at, and that are compared, at a time
NO_IMAGE, NO_FACE = "no image", "face box does not fit"
THUMBNAIL = 16  # pixels a side, grey: what near-identical images are compared by
NEAR_BITS = 3  # of the 64 of a difference hash, in which near-identical images may differ
NEIGHBOURS = 64  # with which a hash is compared: more that share a piece of it are pictures of nothing
NEAR_GREY = 5.0  # mean difference of their thumbnails' values, 0..255, brightness apart


class Photo(NamedTuple):
    """What is known of a file: (16, 16) uint8 thumbnail and 64-bit difference hash; `failure` is "" if it can be read.
    `doubted`: it may be damaged, since native code wrote to stderr while it was decoded, of it or of another photo."""

    fingerprint: bytes
    failure: str
    thumbnail: np.ndarray
    hash: int
    doubted: bool = False


NOTHING = np.zeros((THUMBNAIL, THUMBNAIL), np.uint8)


def look_at(folder: Path, records: Records, margin: float, workers: int, client=None) -> list[Photo]:
    """Reads and decodes every file, in threads or by a Dask client's workers; of a photo with a face box, what is in
    it and the margin."""
    import cv2
    from tqdm import tqdm

    cv2.setNumThreads(1)  # the photos are shared out among the workers already
    paths = records.path
    boxes = [None] * len(paths) if records.box is None else records.box.tolist()
    photos, there = [], StillThere(folder, paths)
    files, place = list(zip(paths, boxes, strict=True)), folder.absolute()
    step = cluster.BLOCK if client else FILES
    found = cluster.in_order(
        client,
        look_at_some,
        [files[start : start + step] for start in range(0, len(files), step)],
        given=lambda some: (place, some, margin),
        deadly=lambda file: [Photo(b"", DEADLY, NOTHING, 0)],
        folder=folder,
        threads=workers,
    )
    with tqdm(total=len(paths), unit="file", disable=None) as progress:
        for block in found:
            heed()
            photos.extend(block)
            progress.update(len(block))
    if not any(photo.fingerprint for photo in photos):
        raise ValueError(
            f"none of the {len(paths):,} files could be read, such as {folder / paths[0]}; "
            "does --data_dir name the folder that holds them?"
        )
    there.check()
    return photos


def look_at_some(folder: Path, files: list[tuple[str, list[float] | None]], margin: float) -> list[Photo]:
    """`look` at some files and their boxes."""
    return [look(folder, path, box, margin) for path, box in files]


def look(folder: Path, name: str, box: list[float] | None = None, margin: float = 0.0) -> Photo:
    """Reads one file of a folder; with a box, its face."""
    import cv2

    from age_gender.faces import cut_face, decode, read_bytes

    path = os.path.join(folder, name)
    content = read_bytes(path)
    if content is None:
        return Photo(b"", why_not_read(path), NOTHING, 0)
    if not content:
        return Photo(b"", EMPTY, NOTHING, 0)
    # All 256 bits: equal ones may be called identical files, the 64 bits of files.digest only very likely so.
    fingerprint = hashlib.sha256(content + repr(box).encode() * bool(box)).digest()
    said = native_stderr_size()
    image = decode(content, at_least=None if box else 4 * THUMBNAIL)
    doubted = native_stderr_size() != said
    if image is None:
        return Photo(fingerprint, NO_IMAGE, NOTHING, 0, doubted)
    if box and (image := cut_face(image, box, margin, 8 * THUMBNAIL)) is None:
        return Photo(fingerprint, NO_FACE, NOTHING, 0)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    thumbnail = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return Photo(fingerprint, "", thumbnail, difference_hash(grey), doubted)


def difference_hash(grey: np.ndarray) -> int:
    """64 bits: whether each of 8 x 8 places is darker than the one to its right; (h, w) uint8 -> unsigned integer.

    A picture that is scaled, made brighter or saved anew keeps nearly all of them.
    """
    import cv2

    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, :-1] < small[:, 1:]).tobytes())


def find(records: Records, photos: list[Photo], list_near: bool = False, both: bool = True):
    """What is wrong with the dataset.

    Returns:
        findings: (what, groups of like files, files, files listed for it) for each line of the report.
        listed: path -> (reason, path of the first file of its group or ""), what to leave out.
        groups: kind -> groups of rows, those that the page shows.
    """
    path, age, gender = records.path, records.age, records.gender
    wrong_age, no_gender = (age < 0) | (age > MAX_AGE), gender == UNKNOWN
    low, high = records.age_interval()
    if not both:  # where one label is enough, a missing age is none that is wrong
        wrong_age, no_gender = (low != UNKNOWN) & ((low < 0) | (high > MAX_AGE)), no_gender & (low == UNKNOWN)
    findings = [(reason, None, len(names), None) for reason, names in records.skipped.items()]
    listed, shown = {}, {}

    def list_files(reason: str, pairs: list[tuple[str, str]]) -> int:
        """Lists files, each with the first of its group; how many were not listed yet."""
        before = len(listed)
        for name, first in pairs:
            listed.setdefault(name, (reason, first))  # once, for the first reason
        return len(listed) - before

    died, boxed = {DEADLY} & {photo.failure for photo in photos}, [NO_FACE] * (records.box is not None)
    for reason in (MISSING, EMPTY, UNREADABLE, NO_IMAGE, *died, *boxed):
        names = [name for name, photo in zip(path, photos, strict=True) if photo.failure == reason]
        # Of a box that does not fit, create_db.py drops the row; the list would drop all faces of the photo.
        number = None if reason == NO_FACE else list_files(reason, [(name, "") for name in names])
        findings.append((reason, None, len(names), number))

    identical = [rows for rows in rows_alike(photo.fingerprint or None for photo in photos) if len(rows) > 1]
    near = [group for group in near_identical(photos) if len({path[row] for row in group}) > 1]  # not of one photo
    for what, groups, is_listed in (("byte-identical", identical, True), ("near-identical", near, list_near)):
        kinds = {"ages conflict": [], "genders conflict": [], "labels agree": []}
        for group in groups:
            # First comes the file to keep: if possible one whose labels create_db.py takes, then one outside of
            # subfolders.
            group.sort(key=lambda row: (wrong_age[row] or no_gender[row], "/" in path[row]))
            of_age, of_gender = conflict(low[group], high[group]), conflict(gender[group], gender[group])
            for kind, holds in zip(kinds, (of_age, of_gender, not of_age and not of_gender), strict=True):
                if holds:
                    kinds[kind].append(group)
        findings.append((what, len(groups), sum(map(len, groups)), None))
        for kind, chosen in kinds.items():
            pairs = [(path[row], path[group[0]]) for group in chosen for row in group]
            if kind == "labels agree":
                pairs = [(name, first) for name, first in pairs if name != first]
            count = list_files(f"{what}, {kind}", pairs) if is_listed else None
            findings.append((f"- {kind}", len(chosen), sum(map(len, chosen)), count))
            shown[f"{what}, {kind}"] = chosen

    findings.append((f"age outside 0..{MAX_AGE}", None, int(np.sum(wrong_age)), None))
    findings.append(("gender unknown" if both else "neither age nor gender", None, int(np.sum(no_gender)), None))
    findings += on_both_sides(records, identical, near)
    return findings, listed, shown


def near_identical(photos: list[Photo]) -> list[list[int]]:
    """Groups of rows whose pictures are nearly, but not all byte for byte, the same, in the order of the records.

    Two hashes of 64 bits that differ in at most 3 agree in one of four pieces of 16: only those that share a piece are
    compared, with NEIGHBOURS others at most, so that half a million photos take a minute and not a day.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    files = rows_alike(None if photo.failure else photo.fingerprint for photo in photos)  # different ones
    hashes = np.array([photos[rows[0]].hash for rows in files], np.uint64)
    thumbnails = np.array([photos[rows[0]].thumbnail for rows in files], np.uint8).reshape(-1, THUMBNAIL**2)
    pairs = [np.empty((2, 0), np.int64)]
    for piece in range(4):
        part = (hashes >> np.uint64(16 * piece)) & np.uint64(0xFFFF)
        order = np.lexsort((hashes, part))
        part, at = part[order], np.arange(len(files))
        for step in range(1, NEIGHBOURS + 1):
            at = at[at + step < len(files)]
            at = at[part[at] == part[at + step]]
            differing = np.bitwise_count(hashes[order[at]] ^ hashes[order[at + step]])
            close = at[differing <= NEAR_BITS]
            found = np.stack([order[close], order[close + step]])
            pairs.append(found[:, look_alike(thumbnails, found)])
    pairs = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(pairs.shape[1], bool), tuple(pairs)), shape=(len(files), len(files)))
    groups = rows_alike(connected_components(graph, directed=False)[1].tolist())
    return sorted(sorted(row for file in group for row in files[file]) for group in groups if len(group) > 1)


def look_alike(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Whether the thumbnails of pairs differ by no more than NEAR_GREY: (n, 256) uint8, (2, k) rows -> (k,) bool."""
    alike = np.zeros(pairs.shape[1], bool)
    for start in range(0, len(alike), PAIRS):
        one, other = (thumbnails[side[start : start + PAIRS]].astype(np.float32) for side in pairs)
        apart = one - other
        apart -= apart.mean(axis=1, keepdims=True)
        alike[start : start + PAIRS] = np.abs(apart).mean(axis=1) <= NEAR_GREY
    return alike


def on_both_sides(records: Records, identical: list[list[int]], near: list[list[int]]) -> list[tuple]:
    """Lines of the report on people and pictures that stand in several of the dataset's own parts."""
    if records.part is None:
        return []

    def torn(groups: list[list[int]]) -> list[list[int]]:
        return [group for group in groups if len(set(records.part[group].tolist()) - {UNKNOWN}) > 1]

    subjects = [] if records.subject is None else records.subject.tolist()
    people = rows_alike(None if subject == UNKNOWN else subject for subject in subjects)
    kinds = {"people": torn(people), "byte-identical files": torn(identical), "near-identical images": torn(near)}
    return [(f"{what} in several parts", len(groups), sum(map(len, groups)), None) for what, groups in kinds.items()]
