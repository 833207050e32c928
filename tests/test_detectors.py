"""Detectors on genuine photos with known boxes, on drawn faces, and their contract."""

import csv
import xml.etree.ElementTree as ElementTree

import cv2
import dlib
import numpy as np
import pytest
from conftest import paired

from detectors import DEFAULT_DETECTOR, DETECTORS, Detection
from faces import read_image


@pytest.fixture(scope="module")
def detect():
    return DETECTORS["dlib"]()


def boxes_of(found):
    return [detection.box for detection in found]


def known_boxes(folder):
    """File name -> boxes x1, y1, x2, y2 from dlib's own lists, of the photos that are there."""
    boxes = {}
    for listing in ("boxes_training.xml", "boxes_testing.xml"):
        for image in ElementTree.parse(folder / listing).iter("image"):
            if (folder / image.get("file")).is_file():
                corners = [
                    [int(box.get(name)) for name in ("left", "top", "width", "height")] for box in image.iter("box")
                ]
                boxes[image.get("file")] = [(x, y, x + width, y + height) for x, y, width, height in corners]
    return boxes


def truth_of(drawn):
    """File name -> boxes of the drawn faces."""
    with open(drawn / "photos" / "truth.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        name: [tuple(int(row[corner]) for corner in ("x1", "y1", "x2", "y2")) for row in rows if row["file"] == name]
        for name in {row["file"] for row in rows}
    }


def test_the_18_known_faces_of_genuine_photos_are_found_and_no_other(shared, detect):
    folder = shared / "data" / "photos"
    known = known_boxes(folder)
    assert sum(map(len, known.values())) == 18 and len(known) == 4
    for name, boxes in known.items():
        found = detect(read_image(folder / name))
        assert paired(boxes, boxes_of(found)), name
        scores = [detection.score for detection in found]
        assert scores == sorted(scores, reverse=True) and all(type(detection) is Detection for detection in found)


def test_dogs_have_no_human_face(shared, detect):
    assert detect(read_image(shared / "data" / "photos" / "no_face_dogs.jpg")) == []


def test_every_drawn_face_is_found_and_the_landscape_has_none(drawn, detect):
    truth = truth_of(drawn)
    assert sum(map(len, truth.values())) == 14
    for name, boxes in truth.items():
        assert paired(boxes, boxes_of(detect(read_image(drawn / "photos" / name))), least=0.6), name
    assert detect(read_image(drawn / "photos" / "landscape.jpg")) == []


def test_a_box_ends_behind_its_last_pixel(drawn, detect):
    image = read_image(drawn / "photos" / "father.jpg")
    rectangles = dlib.get_frontal_face_detector()(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), 1)
    (x1, y1, x2, y2), rectangle = detect(image)[0].box, rectangles[0]
    assert (x1, y1) == (rectangle.left(), rectangle.top())
    assert (x2 - x1, y2 - y1) == (rectangle.width(), rectangle.height())


def test_a_large_picture_is_searched_smaller_and_its_boxes_come_back_in_its_own_pixels(drawn, detect):
    image, boxes = read_image(drawn / "photos" / "father.jpg"), truth_of(drawn)["father.jpg"]
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    found = boxes_of(detect(large))
    assert paired([tuple(4 * value for value in box) for box in boxes], found, least=0.7)


def test_a_small_picture_without_a_face_is_an_empty_list(detect):
    for shape in ((1, 1, 3), (5, 300, 3), (40, 40, 3)):
        assert detect(np.zeros(shape, np.uint8)) == []


def test_the_picture_is_not_changed(drawn, detect):
    image = read_image(drawn / "photos" / "girl.jpg")
    before = image.copy()
    detect(image)
    assert np.array_equal(image, before)


def test_the_default_is_one_of_the_detectors():
    assert DEFAULT_DETECTOR in DETECTORS
