"""Detectors on genuine photos with known boxes, on drawn faces, and their contract."""

import csv
import os
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import dlib
import numpy as np
import pytest
from conftest import SHARED_VARIABLE, paired

from age_gender.detectors import (
    DEFAULT_DETECTOR,
    DETECTORS,
    WITH_LANDMARKS,
    Detection,
    central,
    detections,
    face_at,
    found_by,
    largest,
    overlap,
    square_around,
    yunet,
)
from age_gender.faces import read_image

FINDING = ("dlib", "mtcnn", "yunet")
FACE = np.array([[-2.0, -2], [2, -2], [0, 0.5], [-1.5, 2], [1.5, 2]])  # an upright face about its origin


def made(name):
    """A detector, where what it needs is here: the package mtcnn, the genuine model of yunet."""
    if name == "mtcnn":
        pytest.importorskip("mtcnn")
    if name == "yunet":
        if not os.environ.get(SHARED_VARIABLE):
            pytest.skip(f"{SHARED_VARIABLE} is not set: yunet's model lies there")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(yunet, "FOLDERS", (Path(os.environ[SHARED_VARIABLE]) / "data" / "yunet",))
            return DETECTORS[name]()
    return DETECTORS[name]()


@pytest.fixture(scope="module", params=FINDING)
def detect(request):
    return made(request.param)


@pytest.fixture(scope="module", params=WITH_LANDMARKS)
def detect_landmarks(request):
    return made(request.param)


@pytest.fixture(scope="module")
def detect_dlib():
    return made("dlib")


@pytest.fixture(scope="module")
def detect_yunet():
    return made("yunet")


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
        assert paired(boxes, boxes_of(found), least=0.4), name
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


def test_a_box_ends_behind_its_last_pixel(drawn, detect_dlib):
    image = read_image(drawn / "photos" / "father.jpg")
    rectangles = dlib.get_frontal_face_detector()(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), 1)
    (x1, y1, x2, y2), rectangle = detect_dlib(image)[0].box, rectangles[0]
    assert (x1, y1) == (rectangle.left(), rectangle.top())
    assert (x2 - x1, y2 - y1) == (rectangle.width(), rectangle.height())


def test_a_large_picture_is_searched_smaller_and_its_boxes_come_back_in_its_own_pixels(drawn, detect):
    image, boxes = read_image(drawn / "photos" / "father.jpg"), truth_of(drawn)["father.jpg"]
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    found = boxes_of(detect(large))
    assert paired([tuple(4 * value for value in box) for box in boxes], found, least=0.7)


def test_a_small_picture_without_a_face_is_an_empty_list(detect):
    for shape in ((1, 1, 3), (5, 300, 3), (300, 5, 3), (1, 700, 3), (40, 40, 3), (70, 20, 3)):
        for value in (0, 128, 255):
            assert detect(np.full(shape, value, np.uint8)) == []


def test_the_picture_is_not_changed(drawn, detect):
    image = read_image(drawn / "photos" / "girl.jpg")
    before = image.copy()
    detect(image)
    assert np.array_equal(image, before)


def test_all_detectors_draw_the_same_box(shared, detect_landmarks, detect_dlib):
    folder, sides, shifts = shared / "data" / "photos", [], []
    for name in known_boxes(folder):
        image = read_image(folder / name)
        found = detect_landmarks(image)
        for reference in detect_dlib(image):
            other = max(found, key=lambda face: overlap(face.box, reference.box))
            (x1, y1, x2, y2), (u1, v1, u2, v2) = reference.box, other.box
            sides.append((u2 - u1) / (x2 - x1))
            shifts.append([(u1 + u2 - x1 - x2) / 2 / (x2 - x1), (v1 + v2 - y1 - y2) / 2 / (x2 - x1)])
    assert len(sides) == 18
    assert abs(np.median(sides) - 1) < 0.08 and np.all(np.abs(np.median(shifts, axis=0)) < 0.04)


def test_landmarks_come_in_their_order(drawn, detect_landmarks):
    for name, boxes in truth_of(drawn).items():
        for face in detect_landmarks(read_image(drawn / "photos" / name)):
            right_eye, left_eye, nose, right_corner, left_corner = face.landmarks
            assert face.landmarks.shape == (5, 2) and 0.8 <= face.score <= 1
            assert right_eye[0] < nose[0] < left_eye[0] and right_corner[0] < nose[0] < left_corner[0]
            assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_corner[1], left_corner[1])
            assert any(x1 < x < x2 and y1 < y < y2 for x1, y1, x2, y2 in boxes for x, y in [nose])


def test_landmarks_of_a_mirrored_picture_change_sides(drawn, detect_landmarks):
    image = read_image(drawn / "photos" / "father.jpg")
    (face,), (mirrored,) = detect_landmarks(image), detect_landmarks(np.ascontiguousarray(image[:, ::-1]))
    swapped = face.landmarks[[1, 0, 2, 4, 3]] * (-1, 1) + (image.shape[1] - 1, 0)
    assert np.abs(mirrored.landmarks - swapped).max() < 0.15 * (face.box[2] - face.box[0])


@pytest.mark.parametrize("side", [80, 180, 400, 1500, 3000])
def test_a_face_that_fills_the_picture_is_found_whatever_its_size(shared, detect_yunet, side):
    image = read_image(shared / "data" / "photos" / "2009_004587.jpg")[0:180, 100:280]
    square = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if side < 180 else cv2.INTER_CUBIC)
    found = detect_yunet(square)
    assert paired([tuple(side * value / 180 for value in (54, 46, 129, 122))], boxes_of(found), least=0.6)


def test_a_face_seen_at_both_sizes_is_one():
    def row(x, y, side, score):
        return [x, y, side, side, *[0] * 10, score]

    faces = np.array([row(0, 0, 10, 0.9), row(1, 1, 10, 0.95), row(30, 0, 10, 0.85), row(31, 1, 4, 0.99)], np.float32)
    assert yunet.distinct(faces) == [3, 1]  # the small one lies within the third
    assert yunet.distinct(faces[:0]) == [] and yunet.distinct(faces[[0, 2]]) == [0, 1]


def test_yunet_says_what_is_wrong_with_its_model(tmp_path, monkeypatch):
    monkeypatch.setattr(yunet, "FOLDERS", (tmp_path / "data", tmp_path))
    with pytest.raises(FileNotFoundError, match="is not there; python download.py yunet fetches it"):
        DETECTORS["yunet"]()
    for content, said in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "is a Git LFS pointer of 6. bytes"),
        (b"x" * 100, "has 100 bytes, the model of the detector yunet 232,589"),
        (b"x" * yunet.SIZE, "is damaged or another file"),
    ):
        (tmp_path / yunet.FILE).write_bytes(content)
        with pytest.raises(ValueError, match=said + ".*download.py yunet --overwrite"):
            DETECTORS["yunet"]()


def test_mtcnn_says_what_it_lacks(monkeypatch):
    import keras

    monkeypatch.setitem(sys.modules, "mtcnn", None)  # as if it were not installed
    with pytest.raises(ValueError, match=r'not installed .*pip install "mtcnn>=1,<2", or choose dlib or yunet'):
        DETECTORS["mtcnn"]()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="mtcnn needs TensorFlow, and KERAS_BACKEND is jax; choose dlib or yunet"):
        DETECTORS["mtcnn"]()


def test_none_takes_the_whole_picture():
    assert DETECTORS["none"]()(np.zeros((30, 50, 3), np.uint8)) == [Detection((0, 0, 50, 30), 1.0, None)]


def test_the_square_around_landmarks_has_their_mean_and_grows_and_moves_with_them():
    centre = FACE.mean(axis=0)
    spread = np.sqrt(sum(np.hypot(*(point - centre)) ** 2 for point in FACE) / 5)
    x1, y1, x2, y2 = square_around(FACE, 3.0)
    assert (x1 + x2) / 2 == pytest.approx(0) and (y1 + y2) / 2 == pytest.approx(0.1)
    assert x2 - x1 == pytest.approx(3 * spread) and y2 - y1 == pytest.approx(3 * spread)
    moved = square_around(FACE * 5 + (70, 30), 3.0)
    assert moved == pytest.approx((5 * x1 + 70, 5 * y1 + 30, 5 * x2 + 70, 5 * y2 + 30))


@pytest.mark.parametrize("degrees", [-40, 15, 90, 180])
def test_the_square_does_not_grow_with_the_tilt_of_the_head(degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x1, y1, x2, y2 = square_around(FACE @ np.array([[cosine, sine], [-sine, cosine]]), 3.0)
    u1, _, u2, _ = square_around(FACE, 3.0)
    assert x2 - x1 == pytest.approx(u2 - u1) and y2 - y1 == pytest.approx(u2 - u1)


def test_the_surest_face_comes_first_and_one_outside_the_picture_not_at_all():
    places = np.array([(20, 20), (60, 30), (-40, 20), (1e18, 20), (np.nan, 20)])
    points = FACE + places[:, None]
    found = detections(np.array([0.8, 0.9, 0.95, 1.0, 0.99], np.float32), points, 3.0, (50, 80, 3))
    assert [face.score for face in found] == pytest.approx([0.9, 0.8])
    assert np.array_equal(found[0].landmarks, points[1]) and found[1].box == square_around(points[0], 3.0)


def test_which_of_several_faces():
    found = [Detection(box, 1.0) for box in ((0, 0, 10, 10), (45, 40, 60, 55), (70, 70, 100, 95))]
    assert largest(found, (100, 100, 3)) is found[2] and central(found, (100, 100, 3)) is found[1]
    assert central(found, (20, 20, 3)) is found[0]
    left, top = Detection((0, 40, 20, 60), 1.0), Detection((40, 0, 60, 20), 1.0)
    assert central([left, top], (20, 100, 3)) is top  # of a wide picture
    assert largest([], (9, 9, 3)) is None and central([], (9, 9, 3)) is None and face_at([], [0, 0, 9, 9]) is None


def test_a_known_box_means_the_face_in_it_that_fits_it_best():
    found = [Detection(box, 1.0) for box in ((10, 10, 20, 20), (5, 5, 35, 35), (50, 10, 80, 40))]
    assert face_at(found, [0, 0, 40, 40]) is found[1]
    assert face_at(found, [12, 12, 22, 22]) is found[0]
    assert face_at(found, [45, 0, 90, 60]) is found[2]
    assert face_at(found, [30, 0, 60, 40]) is None  # it touches two faces and holds the centre of none


def test_overlap_is_intersection_over_union():
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(2 / 6)
    assert overlap((0, 0, 2, 2), (2, 2, 3, 3)) == 0 and overlap((1, 1, 4, 5), (1, 1, 4, 5)) == 1


def test_how_faces_were_found_in_words():
    assert [found_by("none", False), found_by("dlib", False), found_by("yunet", True)] == [
        "the dataset itself",
        "dlib",
        "yunet with level eyes",
    ]


def test_the_default_is_one_of_the_detectors():
    assert DEFAULT_DETECTOR in DETECTORS and set(WITH_LANDMARKS) < set(DETECTORS)


def test_dlibs_detector_is_kept_for_the_next_process_and_a_changed_one_is_not_taken(monkeypatch, tmp_path, drawn):
    from age_gender.detectors import dlib_hog

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    image = read_image(drawn / "photos" / "family.jpg")

    def found():
        dlib_hog._packed.cache_clear()
        return dlib_hog.load()(image)

    fresh = found()
    assert len(fresh) == 3
    (kept,) = (tmp_path / "age_gender").iterdir()
    with monkeypatch.context() as context:
        context.setattr(dlib_hog.dlib, "get_frontal_face_detector", lambda: pytest.fail("it was kept"))
        assert found() == fresh
    kept.write_bytes(kept.read_bytes()[:-100] + bytes(100))
    assert dlib_hog._kept() is None
    assert found() == fresh  # and keeps a whole one again
    assert dlib_hog._kept() is not None
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))  # a file: nothing can be kept there
    assert found() == fresh
    dlib_hog._packed.cache_clear()
