"""What is written on a picture: a caption for each face, beside it or in its box and over no other, and a line below.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which people with any colour vision tell apart; each
also has its own letter.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from age_gender.faces import Box
from age_gender.predictor import Face
from age_gender.tracks import Tracked

FONT = cv2.FONT_HERSHEY_SIMPLEX
UNSURE = "?"
# Letter -> colour of the caption, colour of its letters; BGR.
COLOURS = {
    "F": ((0, 159, 230), (0, 0, 0)),  # orange
    "M": ((178, 114, 0), (255, 255, 255)),  # blue
    UNSURE: ((0, 0, 0), (255, 255, 255)),
}
LEGENDS = (
    "age in years; F female, M male, ? unsure; then the range that holds nine of ten true ages",
    "age; F female, M male, ? unsure; range of nine in ten ages",
    "age; F/M, ? unsure; 90% range",
)
GROUP_LEGENDS = (
    "age group; F female, M male, ? unsure; then the probability of the age group",
    "age group; F female, M male, ? unsure; its probability",
    "group; F/M, ? unsure; probability",
)
NO_FACE = ("no face found",)
SHARE = 0.2  # height of the large letters, of their face's height
SMALL = 0.62  # height of the small letters, of the large ones'
LEAST, MOST = 0.36, 4.0  # scales of letters: the smallest that can be read, and the largest
MOST_PLACES = 4000  # that are tried all over a picture, more or less
BLOCK = 512  # of them are looked at together
NEIGHBOURS = 8  # of a face, which most lines from it cross
RIM = 0.2  # of a face's box, at each side: hair, ears, chin
LEASH = 1.5  # of its face's heights: the longest line to a caption that leads over other faces
SHRINK = (1.0, 0.8, 0.64, 0.5)  # of a caption that finds no room


class Caption(NamedTuple):
    """What is written of one face."""

    box: Box  # the face's, in pixels
    large: str  # what matters: '27 F'
    small: str  # what comes with it: '21-36'
    letter: str  # a key of COLOURS


class Placed(NamedTuple):
    """Where a caption goes: x1, y1, x2, y2 in whole pixels, the scale of its large letters, and what is written."""

    box: tuple[int, ...]
    scale: float
    caption: Caption


def drawable(text: str) -> str:
    """A text without what is no character, such as a name in no UTF-8: OpenCV 5 crashes of it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def caption_of(face: Face, track: int | None = None) -> Caption:
    """'27 F' and '21-36', of age groups 'adult F' and '97%'; with a track's number '21-36 #3'.

    >>> caption_of(Face((0, 0, 9, 9), 1, 26.7, "F", 0.4, unsure=True, interval=(21, 36)))[1:]
    ('27 ?', '21-36', '?')
    """
    letter = UNSURE if face.unsure else face.gender
    age = drawable(face.group) if face.group else f"{face.age:.0f}"
    small = f"{face.p_group:.0%}" if face.group else "-".join(map(str, face.interval or ()))
    return Caption(face.box, f"{age} {letter}", f"{small} #{track}".strip() if track is not None else small, letter)


def draw(image: np.ndarray, captions: list[Caption]) -> None:
    """Draws the boxes of faces and their captions on the picture itself, (height, width, 3) uint8 BGR."""
    height, width = image.shape[:2]
    line = max(1, round(min(height, width) / 400))
    for caption in captions:
        x1, y1, x2, y2 = (round(value) for value in caption.box)
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), COLOURS[caption.letter][0], line, cv2.LINE_AA)
    found = places(captions, width, height)
    for placed in found:
        _connect(image, placed, line)
    for placed in found:
        _write(image, placed)


def _connect(image: np.ndarray, placed: Placed, line: int) -> None:
    """A line from a face to its caption, where they do not touch."""
    start, end = (point[0] for point in _lines(placed.caption.box, np.array([placed.box])))
    if np.abs(start - end).max() > 2 + line:
        cv2.line(image, start.tolist(), end.tolist(), COLOURS[placed.caption.letter][0], line, cv2.LINE_AA)


def _lines(box: Box, spots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where lines from a face to places, (n, 4) whole numbers, begin and end, (n, 2) each."""
    face = np.round(box).astype(int)
    start = np.clip((spots[:, :2] + spots[:, 2:]) // 2, face[:2], face[2:] - 1)
    return start, np.clip(start, spots[:, :2], spots[:, 2:] - 1)


def _distances(box: Box, spots: np.ndarray) -> np.ndarray:
    """Lengths of these lines, (n,)."""
    start, end = _lines(box, spots)
    return np.asarray(np.linalg.norm(end - start, axis=1))


def _write(image: np.ndarray, placed: Placed) -> None:
    (x1, y1, x2, y2), _, caption = placed
    ground, ink = COLOURS[caption.letter]
    pad, base = _pad(placed.scale), y2 - _pad(placed.scale) - _depth(placed.scale)
    image[y1:y2, x1:x2] = ground
    cv2.putText(image, caption.large, (x1 + pad, base), FONT, placed.scale, ink, _weight(placed.scale), cv2.LINE_AA)
    if caption.small:
        scale = _small(placed.scale)
        left = x1 + 2 * pad + _size(caption.large, placed.scale)[0]
        cv2.putText(image, caption.small, (left, base), FONT, scale, ink, _weight(scale), cv2.LINE_AA)


def places(captions: list[Caption], width: int, height: int) -> list[Placed]:
    """Where captions go in a picture of this size, in pixels: within it, over no other face and over no other caption.

    The largest face comes first. A caption is tried above its face, below and beside it, then smaller, then at the
    nearest free place to which a line leads over no face. Where there is none it stands within its own face's box, at
    the lower edge or the upper one, small and if need be shortened. Where boxes overlap so that even this covers
    another face, it covers as little as it can.
    """
    faces = np.array([caption.box for caption in captions], float).reshape(-1, 4)
    taken = np.empty((0, 4))
    found: dict[int, Placed] = {}
    for number in np.argsort(-(faces[:, 3] - faces[:, 1]), kind="stable").tolist():
        found[number] = _place(captions[number], np.delete(faces, number, axis=0), taken, width, height)
        taken = np.vstack([taken, found[number].box])
    return [found[number] for number in range(len(captions))]


def _place(caption: Caption, others: np.ndarray, taken: np.ndarray, width: int, height: int) -> Placed:
    full = _scale(caption, width, height)
    least = min(LEAST, full)
    foreign = np.vstack([others, taken])
    boxes = np.vstack([foreign, caption.box])
    for share in SHRINK:
        scale = max(share * full, least)
        extent = _extent(caption, scale)
        if spot := _free(_beside(caption.box, extent, width, height), boxes):
            return Placed(spot, scale, caption)
    away = _everywhere(caption.box, extent, width, height)
    clear = away[_covered(away, boxes) == 0]
    for start in range(0, len(clear), BLOCK):  # mostly a near one will do
        crossed = _crossed(caption.box, clear[start : start + BLOCK], others)
        if not crossed.all():
            return Placed(tuple(clear[start + crossed.argmin()].tolist()), scale, caption)
    if inside := _inside(caption, foreign, scale, least, width, height):
        return inside
    if len(clear) and _distances(caption.box, clear[:1])[0] <= LEASH * (caption.box[3] - caption.box[1]):
        return Placed(tuple(clear[0].tolist()), scale, caption)
    # Boxes overlap all over. Then the interval is given up before the age, the rims of faces before their middles, and
    # nearness before another caption: two captions over each other say nothing.
    shorter = caption._replace(small="")
    extent = _extent(shorter, scale)
    spots = np.vstack([kind(caption.box, extent, width, height) for kind in (_within_box, _beside, _everywhere)])
    covered = _covered(spots, _middles(np.vstack([others, caption.box]))) + 4 * _covered(spots, taken)
    cost = covered + extent[1] * _distances(caption.box, spots) / 2
    return Placed(tuple(spots[cost.argmin()].tolist()), scale, shorter)


def _inside(
    caption: Caption, foreign: np.ndarray, scale: float, least: float, width: int, height: int
) -> Placed | None:
    """A place in a face's own box and over nothing foreign, of letters of this scale or smaller ones.

    Where letters would be smaller than `least`, what comes with the age is left out, then the gender's letter, which
    the colour says too.
    """
    x1, y1 = np.ceil(np.maximum(caption.box[:2], 0)).astype(int)
    x2, y2 = np.floor(np.minimum(caption.box[2:], (width, height))).astype(int)
    age = caption.large.removesuffix(f" {caption.letter}")
    for shorter in (caption, caption._replace(small=""), caption._replace(small="", large=age)):
        fitting = _fitting(shorter, scale, x2 - x1, 2 * (y2 - y1) // 3)
        if fitting < least and shorter.large != age:
            continue
        if spot := _free(_within_box(caption.box, _extent(shorter, fitting), width, height), foreign):
            return Placed(spot, fitting, shorter)
    return None


def _free(spots: np.ndarray, boxes: np.ndarray) -> tuple[int, ...] | None:
    """The first place that no box covers; None if there is none."""
    free = _covered(spots, boxes) == 0
    return tuple(spots[free.argmax()].tolist()) if free.any() else None


def _crossed(box: Box, spots: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether the line from a face to each of its places leads over another face, (n,) of bool."""
    start, end = _lines(box, spots)
    middle = (np.array(box[:2]) + box[2:]) / 2
    order = np.argsort(np.abs((others[:, :2] + others[:, 2:]) / 2 - middle).max(axis=1), kind="stable")
    crossed = np.zeros(len(spots), bool)
    for near in (order[:NEIGHBOURS], order[NEIGHBOURS:]):  # most lines are crossed by those around the face
        rest = np.flatnonzero(~crossed)
        crossed[rest] = _meets(start[rest], end[rest], others[near]).any(axis=1)
    return crossed


def _meets(start: np.ndarray, end: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether each line, from and to (n, 2), leads over each of some boxes: (n, boxes) of bool."""
    first, last = np.zeros((len(start), len(boxes))), np.ones((len(start), len(boxes)))
    for axis in (0, 1):
        begin = start[:, axis, None].astype(float)
        along = end[:, axis, None] - begin
        along[along == 0] = 1e-9
        # Shares of the line at which it enters and leaves a box's columns, or rows; a pixel more, as lines are wide.
        enters, leaves = (boxes[:, axis] - 1 - begin) / along, (boxes[:, axis + 2] + 1 - begin) / along
        first = np.maximum(first, np.minimum(enters, leaves))
        last = np.minimum(last, np.maximum(enters, leaves))
    return np.asarray(first < last)


def _beside(box: Box, extent: tuple[int, int], width: int, height: int) -> np.ndarray:
    """Places that touch a face, (n, 4) whole numbers, the best first, all within the picture."""
    (x1, y1), (x2, y2) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    wide, high = extent
    middle = (x1 + x2 - wide) // 2
    corners = [
        *((x, y) for y in (y1 - high, y2) for x in (x1, x2 - wide, middle, x1 - wide // 2, x2 - wide // 2)),
        *((x, y) for y in (y1, y2 - high, (y1 + y2 - high) // 2) for x in (x2, x1 - wide)),
    ]
    return _within(np.array(corners), extent, width, height)


def _within_box(box: Box, extent: tuple[int, int], width: int, height: int) -> np.ndarray:
    """Places in a face's own box: along its lower edge, its upper one, then from the lower edge up to the middle."""
    (x1, y1), (x2, y2) = np.ceil(box[:2]).astype(int), np.floor(box[2:]).astype(int)
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    wide, high = extent
    step = max(2, high // 4)
    columns = [x1, (x1 + x2 - wide) // 2, x2 - wide, *range(x1, x2 - wide, step)]
    rows = [y2 - high, y1, *range(y2 - high, (y1 + y2) // 2, -step), *range(y1, (y1 + y2) // 2 - high, step)]
    return _within(np.array([(x, y) for y in rows for x in columns]), extent, width, height)


def _middles(boxes: np.ndarray) -> np.ndarray:
    """The middles of faces, (n, 4), where eyes, nose and mouth are."""
    rim = RIM * (boxes[:, 2:] - boxes[:, :2])
    return np.hstack([boxes[:, :2] + rim, boxes[:, 2:] - rim])


def _everywhere(box: Box, extent: tuple[int, int], width: int, height: int) -> np.ndarray:
    """Places all over the picture, the nearest to a face first."""
    step = max(2, extent[1] // 2, round((width * height / MOST_PLACES) ** 0.5))
    columns = np.arange(0, max(width - extent[0], 0) + 1, step)
    rows = np.arange(0, max(height - extent[1], 0) + 1, step)
    corners = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    middle = np.array([box[0] + box[2] - extent[0], box[1] + box[3] - extent[1]]) / 2
    order = np.argsort(((corners - middle) ** 2).sum(axis=1), kind="stable")
    return _within(corners[order], extent, width, height)


def _within(corners: np.ndarray, extent: tuple[int, int], width: int, height: int) -> np.ndarray:
    room = np.array([width - extent[0], height - extent[1]])
    corners = np.clip(corners, 0, np.maximum(room, 0))
    return np.hstack([corners, corners + extent])


def _covered(spots: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The area of each place that boxes cover, each box counted, (n,) pixels; places, (n, 4), are of one size."""
    shared = []
    for low, high in ((0, 2), (1, 3)):
        # Many places stand in few columns and rows, and a column says how wide the overlap is, a row how high.
        starts, place = np.unique(spots[:, low], return_inverse=True)
        ends = starts + spots[0, high] - spots[0, low]
        lengths = np.minimum(ends[:, None], boxes[:, high]) - np.maximum(starts[:, None], boxes[:, low])
        shared.append((np.clip(lengths, 0, None), place))
    (wide, column), (tall, row) = shared
    return np.asarray((wide @ tall.T)[column, row])


def _scale(caption: Caption, width: int, height: int) -> float:
    """Of the large letters: by the face's height, and so that the caption fits the picture."""
    scale = np.clip(SHARE * (caption.box[3] - caption.box[1]) / _size("0", 1.0)[1], LEAST, MOST)
    return _fitting(caption, float(scale), width, height // 2)


def _fitting(caption: Caption, scale: float, width: int, height: int) -> float:
    """A scale, or a smaller one with which a caption has at most this width and height in pixels."""
    while scale > 0.1 and (_extent(caption, scale)[0] > width or _extent(caption, scale)[1] > height):
        scale *= 0.9
    return scale


def _extent(caption: Caption, scale: float) -> tuple[int, int]:
    """Width and height of a caption in pixels."""
    wide, high = _size(caption.large, scale)
    more = _size(caption.small, _small(scale))[0] + _pad(scale) if caption.small else 0
    return wide + more + 2 * _pad(scale), high + 2 * _pad(scale) + _depth(scale)


def _small(scale: float) -> float:
    return max(SMALL * scale, min(scale, LEAST))


def _pad(scale: float) -> int:
    return max(2, round(5 * scale))


def _depth(scale: float) -> int:
    """What the letters of a group's name reach below their line."""
    return round(4 * scale)


def _weight(scale: float) -> int:
    return max(1, round(1.6 * scale))


@lru_cache(4096)
def _size(text: str, scale: float) -> tuple[int, int]:
    (wide, high), _ = cv2.getTextSize(text, FONT, scale, _weight(scale))
    return int(wide), int(high)


# ------------------------------------------------------------------------------------------------ the line below


def legend_height(width: int) -> int:
    """Of the line below a picture of this width, in pixels: an even number, as films want."""
    return 2 * round(max(22, min(width / 45, 60)) / 2)


def annotated(image: np.ndarray, faces: list[Face], tracked: list[Tracked | None] | None = None) -> np.ndarray:
    """A copy of a picture with a box and a caption for each face, and a line below that says what captions mean:
    (height, width, 3) uint8 BGR -> (height + legend_height(width), width, 3). `tracked` says of each face who it is,
    with the answer that is written then; None where nobody is tracked."""
    height, width = image.shape[:2]
    texts: tuple[str, ...] = GROUP_LEGENDS if any(face.group for face in faces) else LEGENDS
    if not faces:
        texts = NO_FACE
    elif not any(face.group or face.interval for face in faces):
        texts = tuple(text.rpartition(";")[0] for text in texts)  # a model that was not calibrated has no intervals
    if tracked is not None and faces:
        texts = tuple(f"{text}; # person" for text in texts)
    picture = np.vstack([image, _legend(width, texts)])
    people = tracked or [None] * len(faces)
    said = [
        caption_of(one.face, one.number) if one else caption_of(face) for face, one in zip(faces, people, strict=True)
    ]
    draw(picture[:height], said)
    return picture


@lru_cache(8)
def _legend(width: int, texts: tuple[str, ...]) -> np.ndarray:
    """The line itself, with the longest text that can be read; empty where none can."""
    high = legend_height(width)
    line = np.full((high, width, 3), 255, np.uint8)
    for text in texts:
        scale = min(0.5 * high / _size("0", 1.0)[1], 0.95 * width / _size(text, 1.0)[0])
        if scale >= LEAST:
            corner = (round(0.02 * width), round(0.45 * high + _size("0", scale)[1] / 2))
            cv2.putText(line, text, corner, FONT, scale, (0, 0, 0), _weight(scale), cv2.LINE_AA)
            break
    return line
