"""Write two sets of drawn faces: a data set laid out exactly as WIKI is, and photographs for the demo.

`write_wiki` gives `NN/<id>_<date of birth>_<year of the photo>.jpg` and a genuine `wiki.mat`, with the kinds
of dirt that WIKI has; `write_photos` larger pictures and `truth.csv` with box, age and gender of every face.
"""

import csv
import io
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import NamedTuple

import cv2
import numpy as np
import scipy.io

from draw_face import CROP_WIDTH, FEMALE, MALE, SUPERSAMPLE, develop, draw_person, mix, paint_crop, paint_person, ramp

MATLAB_DAYS = 366  # a MATLAB serial day is Python's ordinal plus these
OLDEST = 90
JPEG_QUALITY = 92
CLEAN = "clean"
# Kind of dirt: its share of the records. Each comes once at least, the last two exactly once.
DIRT = {
    "no face": 0.06,
    "poor face": 0.03,
    "second face": 0.03,
    "gender unknown": 0.02,
    "born after the photo": 0.01,
    "birth date impossible": 0.015,
    "not an image": 0,
    "file missing": 0,
}
MIN_COUNT = 2 * len(DIRT)
# File: its (width, height) and the age and gender of everyone in it, from left to right.
PHOTOS = {
    "father.jpg": ((640, 480), ((37, MALE),)),
    "girl.jpg": ((480, 640), ((7, FEMALE),)),
    "couple.jpg": ((640, 480), ((31, FEMALE), (34, MALE))),
    "old_friends.jpg": ((640, 480), ((78, MALE), (72, MALE))),
    "family.jpg": ((800, 600), ((36, FEMALE), (9, MALE), (42, MALE))),
    "three_generations.jpg": ((800, 600), ((70, FEMALE), (1, FEMALE), (40, FEMALE))),
    "été/grand-mère_à_la_mer.jpg": ((640, 480), ((81, FEMALE), (12, MALE))),
    "landscape.jpg": ((640, 480), ()),
}


class Record(NamedTuple):
    """One row of `wiki.mat` and what its picture shows."""

    kind: str  # CLEAN or a key of DIRT
    path: str  # below the folder of `wiki.mat`
    birth_serial: int  # MATLAB serial day
    taken: int  # year
    age: int  # of the drawn face; what the columns say too, but for impossible ages
    gender: int  # of the drawn face
    size: int  # of the crop, pixels
    seed: tuple[int, int]


def draw_kinds(count, rng):
    """A list of `count` kinds in random order, CLEAN but for the shares in DIRT."""
    kinds = [kind for kind, share in DIRT.items() for _ in range(max(1, round(share * count)))]
    return [str(kind) for kind in rng.permutation(kinds + [CLEAN] * (count - len(kinds)))]


def draw_records(count, seed):
    """Draw the rows of the data set, MIN_COUNT or more: a list of Record, the same from the same `count` and `seed`."""
    if count < MIN_COUNT:
        raise ValueError(f"count must be {MIN_COUNT} or more, to hold every kind of dirt. Received: {count}")
    rng = np.random.default_rng(seed)
    numbers = 100_000 + rng.choice(40_000_000, count, replace=False)
    kinds = draw_kinds(count, rng)
    ages = rng.integers(1, OLDEST + 1, count)  # all equally likely: so few faces must show what children are
    records = []
    for index, (kind, age) in enumerate(zip(kinds, ages.tolist(), strict=True)):
        taken = int(rng.integers(1965, 2016))
        birth = date(taken - age, 1, 1) + timedelta(days=int(rng.integers(365)))
        if birth.month >= 7:  # readers of WIKI take a photo to be from the middle of its year: one is a year younger
            birth = date(birth.year - 1, birth.month, birth.day)
        if kind == "born after the photo":
            birth = birth.replace(year=taken + int(rng.integers(1, 20)), day=1)
        elif kind == "birth date impossible":
            birth = birth.replace(year=taken - int(rng.integers(105, 400)), day=1)
        serial, text = birth.toordinal() + MATLAB_DAYS, birth.isoformat()
        if kind == "birth date impossible" and rng.random() < 0.5:
            serial, text = 1, "0000-01-01"
        path = f"{numbers[index] % 100:02d}/{numbers[index]}_{text}_{taken}.jpg"
        gender, size = int(rng.integers(2)), int(rng.integers(200, 261))
        records.append(Record(kind, path, serial, taken, age, gender, size, (seed, index)))
    return records


def paint_record(record):
    """The picture of a record: BGR uint8 (size, size, 3)."""
    rng = np.random.default_rng(record.seed)
    if record.kind == "no face":
        return develop(paint_hills((record.size, record.size), rng), rng)
    person = draw_person(record.age, record.gender, rng)
    if record.kind == "poor face":
        image = paint_crop(person, record.size, rng, shift=rng.choice([-1, 1], 2) * rng.uniform(0.35, 0.6, 2))
        return cv2.GaussianBlur(image, (0, 0), record.size * rng.uniform(0.03, 0.05))
    neighbours = []
    if record.kind == "second face":
        other = draw_person(int(rng.integers(1, OLDEST)), int(rng.integers(2)), rng)
        neighbours.append((other, (rng.choice([-1, 1]) * rng.uniform(0.85, 1.0), rng.uniform(-0.2, 0.1))))
    return paint_crop(person, record.size, rng, shift=rng.normal(0, 0.012, 2), neighbours=neighbours)


def wiki_columns(records, seed):
    """The columns of `wiki.mat`, shapes and types as in the genuine file: a dict of arrays (1, count)."""
    rng, count = np.random.default_rng([seed, len(records)]), len(records)
    kinds = np.array([record.kind for record in records])
    cells = {name: np.empty((1, count), object) for name in ("full_path", "name", "face_location")}
    for index, record in enumerate(records):
        cells["full_path"][0, index] = record.path
        cells["name"][0, index] = f"Drawn Person {index + 1}"
        # x1, y1, x2, y2, 1-based, on the photo that the crop is said to be from; all of it if without a face.
        width = record.size / CROP_WIDTH
        corner = rng.uniform(0.4 * width, 300, 2) + 1
        box = [1, 1, record.size, record.size] if record.kind == "no face" else [*corner, *(corner + width)]
        cells["face_location"][0, index] = np.float64([box])
    poor, good = rng.uniform(0.73, 0.99, count), np.clip(rng.normal(3.3, 1, count), 1.1, 7)
    score = np.where(kinds == "poor face", poor, good)
    return {
        "dob": np.int32([[record.birth_serial for record in records]]),
        "photo_taken": np.uint16([[record.taken for record in records]]),
        "full_path": cells["full_path"],
        "gender": np.where(kinds == "gender unknown", np.nan, [record.gender for record in records])[None],
        "name": cells["name"],
        "face_location": cells["face_location"],
        "face_score": np.where(kinds == "no face", -np.inf, score)[None],
        "second_face_score": np.where(kinds == "second face", rng.uniform(1.1, 4, count), np.nan)[None],
    }


def write_wiki(folder, count, seed):
    """Write `count` records below `folder`, first the pictures, then `wiki.mat`; returns a list of Record."""
    records = draw_records(count, seed)

    def write_picture(record):
        path = os.path.join(folder, record.path)
        if record.kind == "not an image":
            write_bytes(path, b"\xff\xd8\xff\xe0" + np.random.default_rng(record.seed).bytes(600))
        elif record.kind != "file missing":
            write_bytes(path, jpeg(paint_record(record)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(write_picture, records):
            pass
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"wiki": wiki_columns(records, seed)})
    # The first 116 bytes are free text in which SciPy puts the time; without it equal seeds give equal files.
    text = b"MATLAB 5.0 MAT-file, drawn samples".ljust(116)
    write_bytes(os.path.join(folder, "wiki.mat"), text + stream.getvalue()[116:])
    return records


def paint_hills(size, rng):
    """A landscape without any face, sky, sun and hills: BGR uint8 at SUPERSAMPLE times `size` = (width, height)."""
    width, height = size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE
    high, low = rng.uniform((190, 130, 60), (230, 170, 120)), rng.uniform((200, 205, 210), (235, 235, 245))
    sky = np.linspace(high, low, 64)[:, None].astype(np.float32)  # (64, 1, 3)
    image = cv2.resize(sky, (width, height)).astype(np.uint8)
    sun = (int(width * rng.uniform(0.1, 0.9)), int(height * 0.16))
    cv2.circle(image, sun, height // 16, (190, 235, 252), -1, cv2.LINE_AA)
    x = np.linspace(0, width, 60)
    for depth in np.linspace(0, 1, 4):
        swings, lengths, starts = rng.uniform((0.2, 2, 0), (1, 9, 6), (3, 3)).T[..., None]  # each (3, 1)
        waves = (swings * np.sin(x / width * lengths + starts)).sum(axis=0)
        ridge = np.stack([x, height * (0.48 + 0.15 * depth + 0.035 * waves)], axis=1)
        hill = np.vstack([ridge, [(width, height), (0, height)]]).astype(np.int32)
        colour = mix((150, 165, 140), (50, 105, 80), depth) * rng.uniform(0.9, 1.1)
        cv2.fillPoly(image, [hill], colour.tolist(), cv2.LINE_AA)
    return image


def paint_photo(size, people, rng):
    """A photograph of several people.

    Args:
        size: (width, height) in pixels.
        people: (age, gender) of each, from left to right; none gives a landscape.
        rng: The only source of chance.

    Returns:
        The image, BGR uint8 (height, width, 3), and for each face a box (x1, y1, x2, y2) in whole pixels.
    """
    image = paint_hills(size, rng)
    places, share = [], size[0] / max(len(people), 1)
    for index, (age, gender) in enumerate(people):
        child = ramp(age, 17, 0)
        # Hair and shoulders need twice the width of the box. Children are smaller and stand lower.
        width = min(share * rng.uniform(0.43, 0.49), size[1] * rng.uniform(0.27, 0.34)) * (1 - 0.13 * child)
        x = share * (index + 0.5 + rng.uniform(-0.04, 0.04))
        y = max(size[1] * (rng.uniform(0.4, 0.5) + 0.17 * child), 1.1 * width)
        places.append((y, x, width, draw_person(age, gender, rng)))
    for y, x, width, person in sorted(places, key=lambda place: place[0]):  # who stands higher stands behind
        paint_person(image, person, (x * SUPERSAMPLE, y * SUPERSAMPLE), width * SUPERSAMPLE)
    boxes = [
        tuple(round(value) for value in (x - width / 2, y - width / 2, x + width / 2, y + width / 2))
        for y, x, width, _ in places
    ]
    return develop(image, rng), boxes


def write_photos(folder, seed):
    """Write PHOTOS and `truth.csv` below `folder`; returns the number of faces drawn."""
    rows = []
    for index, (name, (size, people)) in enumerate(PHOTOS.items()):
        image, boxes = paint_photo(size, people, np.random.default_rng([seed, index, len(PHOTOS)]))
        write_bytes(os.path.join(folder, *name.split("/")), jpeg(image))
        rows += [(name, *box, age, "FM"[gender]) for box, (age, gender) in zip(boxes, people, strict=True)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "x1", "y1", "x2", "y2", "age", "gender"))
    writer.writerows(rows)
    write_bytes(os.path.join(folder, "truth.csv"), text.getvalue().encode())
    return len(rows)


def jpeg(image):
    """A BGR uint8 image as the bytes of a JPEG file."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def write_bytes(path, data):
    """Write a file under a temporary name, making its folder, and move it into place."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.replace(path + ".part", path)
