"""Captions: within the picture, over no face, over no other caption, and readable with any colour vision."""

import time

import cv2
import numpy as np
import pytest
from conftest import noise

from age_gender import captions
from age_gender.captions import COLOURS, GROUP_LEGENDS, LEGENDS, Caption, annotated, caption_of, draw, places
from age_gender.predictor import Face
from age_gender.tracks import Tracked


def face(box, **more) -> Face:
    return Face(**{"box": box, "score": 1.0, "age": 27.4, "gender": "F", "p_male": 0.1, "interval": (21, 36), **more})


def crowd(columns: int, rows: int, width: int, height: int, share: float, shift: float = 0.0) -> list:
    """Boxes of faces in a grid; a face takes a share of its cell's width and height, every other row is shifted."""
    wide, high = width / columns, height / rows
    corners = [
        (column * wide + (1 - share) * wide / 2 + shift * wide * (row % 2), row * high + (1 - share) * high / 2)
        for row in range(rows)
        for column in range(columns)
    ]
    return [(x, y, x + share * wide, y + share * high) for x, y in corners]


LAYOUTS = {
    "24 as a contact sheet": (1350, 1100, crowd(6, 4, 1350, 1100, 0.55)),
    "24 in a small picture": (640, 480, crowd(6, 4, 640, 480, 0.5)),
    "24 shifted rows": (1200, 900, crowd(6, 4, 1200, 900, 0.6, 0.4)),
    "24 close together": (1350, 1100, crowd(6, 4, 1350, 1100, 0.75)),
    "at every edge": (800, 600, [(-20, -30, 90, 80), (700, -10, 830, 100), (-40, 500, 80, 640), (720, 510, 860, 620)]),
    "at the upper edge, side by side": (800, 600, [(x, 0, x + 120, 140) for x in range(0, 800, 130)]),
    "one in another": (600, 600, [(100, 100, 400, 400), (200, 200, 300, 300)]),
    "one": (300, 300, [(90, 120, 200, 230)]),
}


@pytest.mark.parametrize("longer", [False, True], ids=["plain", "tracked"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_caption_is_cut_or_covers_a_face_or_another_caption(layout, longer):
    width, height, boxes = LAYOUTS[layout]
    found = places([caption_of(face(box), 112 if longer else None) for box in boxes], width, height)
    owned = np.zeros((height, width), int)
    for x1, y1, x2, y2 in boxes:
        owned[max(round(y1), 0) : round(y2), max(round(x1), 0) : round(x2)] = 1
    for (x1, y1, x2, y2), scale, _ in found:
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height and scale >= captions.LEAST
        owned[y1:y2, x1:x2] += 1  # one pixel of rounding is free: boxes are no whole numbers
        assert owned[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].max() == 1


FULL = {
    "24 that touch": (900, 600, crowd(6, 4, 900, 600, 1.0)),
    "96 that touch": (1152, 768, crowd(12, 8, 1152, 768, 1.0)),
    "96 of 48 pixels that touch": (576, 384, crowd(12, 8, 576, 384, 1.0)),
    "96 of 24 pixels that touch": (288, 192, crowd(12, 8, 288, 192, 1.0)),
    "24 that touch, of no whole numbers": (700, 500, crowd(6, 4, 700, 500, 1.0)),
    "36 that touch, above a free strip": (900, 1000, crowd(6, 6, 900, 900, 1.0)),
    "24 side by side in the middle of a wide photo": (
        2000,
        1000,
        [(x, y, x + 98, y + 98) for y in range(300, 700, 100) for x in range(700, 1300, 100)],
    ),
}


@pytest.mark.parametrize("longer", [False, True], ids=["plain", "tracked"])
@pytest.mark.parametrize("layout", FULL)
def test_where_faces_leave_no_room_nothing_is_drawn_on_another_face(layout, longer, monkeypatch):
    width, height, boxes = FULL[layout]
    said = [caption_of(face(box, gender="FM"[i % 2]), 112 if longer else None) for i, box in enumerate(boxes)]
    found = places(said, width, height)
    owner = np.full((height, width), -1)
    for number, placed in enumerate(found):
        x1, y1, x2, y2 = placed.box
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height and placed.scale >= captions.LEAST
        assert placed.caption.large.startswith("27") and (owner[y1:y2, x1:x2] == -1).all()
        owner[y1:y2, x1:x2] = number
    image = np.full((height, width, 3), 90, np.uint8)
    asked = []  # the search is slow; draw asks for the same one
    monkeypatch.setattr(captions, "places", lambda *given: asked.append(given) or found)
    draw(image, said)
    assert asked == [(said, width, height)]
    line = max(1, round(min(height, width) / 400)) + 1
    for number, (x1, y1, x2, y2) in enumerate(boxes):  # neither another's caption nor a line to one
        inside = np.s_[round(y1) + line : round(y2) - line, round(x1) + line : round(x2) - line]
        assert set(np.unique(owner[inside])) <= {-1, number}
        assert (image[inside][owner[inside] == -1] == 90).all()
        x1, y1, x2, y2 = found[number].box
        assert (owner[inside] == number).mean() <= 0.5  # and the face can be seen


def test_a_caption_in_its_faces_box_is_shortened_before_it_is_too_small_to_read():
    written = {}
    for size in (90, 48, 24):
        found = places([caption_of(face(box)) for box in crowd(6, 4, 6 * size, 4 * size, 1.0)], 6 * size, 4 * size)
        written[size] = {(placed.caption.large, placed.caption.small) for placed in found}
    assert written == {90: {("27 F", "21-36")}, 48: {("27 F", "")}, 24: {("27", "")}}


def test_where_faces_cover_each_other_captions_stay_whole_and_apart():
    boxes = crowd(6, 4, 900, 700, 1.3)
    found = places([caption_of(face(box)) for box in boxes], 900, 700)
    covered = np.zeros((700, 900), int)
    for (x1, y1, x2, y2), *_ in found:
        assert 0 <= x1 < x2 <= 900 and 0 <= y1 < y2 <= 700
        covered[y1:y2, x1:x2] += 1
    assert covered.max() == 1
    [whole] = places([caption_of(face((-10, -10, 80, 90)))], 64, 64)  # a picture that is the face, and is small
    assert whole.box[0] >= 0 and whole.box[2] <= 64 and whole.box[3] <= 64


@pytest.mark.parametrize("share", [1.1, 1.2, 1.3])
def test_where_boxes_overlap_captions_stand_where_their_own_face_is_alone(share):
    boxes = crowd(6, 4, 900, 700, share)
    for number, placed in enumerate(places([caption_of(face(box)) for box in boxes], 900, 700)):
        x1, y1, x2, y2 = placed.box
        for other, (left, top, right, bottom) in enumerate(boxes):
            if other == number:
                assert left <= x1 and top <= y1 and x2 <= right and y2 <= bottom
            else:
                assert x2 <= left or right <= x1 or y2 <= top or bottom <= y1


@pytest.mark.parametrize("seed", range(10))
def test_in_a_heap_of_faces_captions_stay_apart_and_near_their_faces(seed):
    rng = np.random.default_rng(seed)
    corners, sizes = rng.integers((-30, -30), (560, 400), (30, 2)), rng.integers(60, 200, (30, 1))
    boxes = np.hstack([corners, corners + sizes]).astype(float)
    found = places([caption_of(face(tuple(box))) for box in boxes.tolist()], 640, 480)
    covered = np.zeros((480, 640), int)
    for number, placed in enumerate(found):
        x1, y1, x2, y2 = placed.box
        assert 0 <= x1 < x2 <= 640 and 0 <= y1 < y2 <= 480 and placed.scale >= captions.LEAST
        covered[y1:y2, x1:x2] += 1
        spot, others = np.array([placed.box]), np.delete(boxes, number, axis=0)
        near = captions._distances(tuple(boxes[number]), spot)[0] <= captions.LEASH * sizes[number, 0]
        assert near or not captions._crossed(tuple(boxes[number]), spot, others)[0]
    assert (covered > 1).sum() <= 0.02 * (covered > 0).sum()


def areas(spots: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The area of each place that boxes cover, one pair after the other."""
    low, high = np.maximum(spots[:, None, :2], boxes[:, :2]), np.minimum(spots[:, None, 2:], boxes[:, 2:])
    return np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)


def test_what_boxes_cover_and_which_lines_they_cross_is_as_one_by_one():
    rng = np.random.default_rng(0)
    corners, boxes = rng.integers(0, 200, (500, 2)), rng.uniform(-20, 200, (30, 4))
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(1, 30, (30, 2))
    spots = np.hstack([corners, corners + (31, 17)])
    np.testing.assert_allclose(captions._covered(spots, boxes), areas(spots, boxes))
    assert not captions._covered(spots, boxes[:0]).any()
    single = [captions._crossed((90, 90, 99, 99), spots, box[None]) for box in boxes]
    crossed = captions._crossed((90, 90, 99, 99), spots, boxes)
    assert 0 < crossed.sum() < 500 and np.array_equal(crossed, np.any(single, axis=0))


@pytest.mark.parametrize("size", [(490, 320), (620, 320)])
def test_captions_stand_where_they_would_were_all_places_looked_at_together(size, monkeypatch):
    said = [caption_of(face(box)) for box in crowd(7, 5, 490, 320, 0.8)]
    found = places(said, *size)
    monkeypatch.setattr(captions, "_covered", areas)
    monkeypatch.setattr(captions, "BLOCK", 10**6)
    monkeypatch.setattr(captions, "NEIGHBOURS", 0)
    assert places(said, *size) == found


def test_many_small_faces_take_little_time():
    said = [caption_of(face(box)) for box in crowd(15, 8, 600, 320, 0.5)]
    start = time.process_time()
    places(said, 600, 320)
    assert time.process_time() - start < 4  # 7 s where every place is held against every face


def test_letters_grow_with_the_face_and_stay_readable():
    sizes = [places([caption_of(face((300, 600, 300 + s, 600 + s)))], 3000, 3000)[0].scale for s in (20, 100, 400)]
    assert sizes[0] == captions.LEAST and sizes[1] > 1.5 * sizes[0] and sizes[2] == pytest.approx(4 * sizes[1], rel=0.1)


def test_the_letters_drawn_are_where_the_caption_is_and_nowhere_else():
    image = np.full((300, 400, 3), 90, np.uint8)
    one = caption_of(face((100, 120, 180, 200)))
    draw(image, [one])
    [((x1, y1, x2, y2), *_)] = places([one], 400, 300)
    assert (image[y1, x1:x2] == COLOURS["F"][0]).all()  # a border without letters
    assert (image[y1:y2, x1:x2] < 60).all(axis=2).sum() > 40  # letters, black
    image[y1:y2, x1:x2] = 90
    image[118:202, 98:182] = 90  # the face's box
    assert (image == 90).all()


def test_the_face_stays_visible_within_its_box():
    image = noise(1, 300)[0]
    before = image.copy()
    draw(image, [caption_of(face((100, 120, 180, 200)))])
    assert np.array_equal(image[125:195, 105:175], before[125:195, 105:175])
    assert not np.array_equal(image[120:201, 100:181], before[120:201, 100:181])


def test_a_caption_that_had_to_go_away_is_tied_to_its_face(monkeypatch):
    image = np.full((300, 300, 3), 90, np.uint8)
    far = captions.Placed((10, 10, 90, 30), 0.5, caption_of(face((200, 200, 260, 260))))
    monkeypatch.setattr(captions, "places", lambda *_: [far])
    draw(image, [far.caption])
    assert (image[60:190, 60:200] != 90).any(axis=2).any(axis=1).sum() > 100  # a line leads through every row


# The matrices of Machado, Oliveira and Fernandes, doi:10.1109/TVCG.2009.113, severity 1.0; linear RGB.
SEEN = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(bgr) -> np.ndarray:
    rgb = np.array(bgr[::-1]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("vision", SEEN)
def test_colours_are_told_apart_with_any_colour_vision(vision):
    seen = [np.clip(np.array(SEEN[vision]) @ linear(ground), 0, 1) for ground, _ in COLOURS.values()]
    lab = [cv2.cvtColor(np.float32(rgb[None, None] ** (1 / 2.2)), cv2.COLOR_RGB2LAB)[0, 0] for rgb in seen]
    for first in range(3):
        assert all(np.linalg.norm(lab[first] - lab[second]) > 40 for second in range(first))


def test_letters_stand_out_from_their_ground():
    for ground, ink in COLOURS.values():  # WCAG 2.1, 1.4.3
        dark, light = sorted(float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (ground, ink))
        assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, ("27 F", "21-36", "F")),
        ({"gender": "M", "interval": None}, ("27 M", "", "M")),
        ({"unsure": True}, ("27 ?", "21-36", "?")),
        ({"group": "adult", "p_group": 0.974, "interval": None}, ("adult F", "97%", "F")),
        ({"group": "\udcffber", "p_group": 0.974, "interval": None}, ("?ber F", "97%", "F")),  # no UTF-8
    ],
)
def test_what_a_caption_says(more, wanted):
    assert caption_of(face((0, 0, 50, 50), **more))[1:] == wanted


@pytest.mark.parametrize("width", [40, 300, 640, 1350, 6000])
@pytest.mark.parametrize("texts", [LEGENDS, GROUP_LEGENDS])
def test_the_line_below_fits_whatever_the_picture(width, texts):
    line = captions._legend(width, texts)
    assert line.shape == (captions.legend_height(width), width, 3) and not line.shape[0] % 2
    assert (line[:2] == 255).all() and (line[-2:] == 255).all() and (line[:, -1] == 255).all()
    assert (line < 100).any() == (width > 40)


def test_the_picture_above_the_line_is_the_picture_and_the_callers_is_not_changed():
    image = noise(1, 200)[0]
    before = image.copy()
    plain = annotated(image, [])
    assert np.array_equal(plain[:200], before) and plain.shape == (200 + captions.legend_height(200), 200, 3)
    assert np.array_equal(plain[200:], captions._legend(200, captions.NO_FACE)) and (plain[200:] < 100).any()
    with_one = annotated(image, [face((50, 80, 120, 150))], [Tracked(3, face((50, 80, 120, 150)))])
    assert np.array_equal(image, before) and not np.array_equal(with_one[:200], before)
    assert np.array_equal(with_one[200:], captions._legend(200, tuple(f"{text}; # person" for text in LEGENDS)))
    unknown = annotated(image, [face((50, 80, 120, 150), interval=None)])  # nothing is said of intervals
    said = tuple(text[: text.rindex(";")] for text in LEGENDS)
    assert all(text.endswith("unsure") for text in said)
    assert np.array_equal(unknown[200:], captions._legend(200, said))
    assert Caption is type(caption_of(face((0, 0, 5, 5)), 3)) and caption_of(face((0, 0, 5, 5)), 3).small == "21-36 #3"
