"""Draw a face of a given age and gender with nothing but shapes, shading and a seed.

    person = draw_person(age=34, gender=FEMALE, rng=np.random.default_rng(7))
    image = paint_crop(person, size=230, rng=np.random.default_rng(8))   # (230, 230, 3) uint8, BGR

`draw_person` makes every choice of looks, `paint_*` apply them. Shapes are given in face units: the origin is
the middle of the face, x to the right, y down, and the head is about 1 wide. Colours are BGR in 0..255.
"""

from typing import NamedTuple

import cv2
import numpy as np

from canvas import Canvas, both, ellipse, mirrored, smooth

FEMALE, MALE = 0, 1  # as in IMDB-WIKI
CROP_WIDTH = 1.8  # of a crop, in widths of the face's box: the box and WIKI's margin of 40% on both sides
SUPERSAMPLE = 2  # painted so many times larger, then averaged down
# The box that dlib's frontal detector draws around a face, in face units: medians over some hundred crops.
BOX_WIDTH, BOX_MIDDLE = 0.952, 0.085


def bgr(text):
    """Colours in hexadecimal, red first, as float64 (n, 3), blue first."""
    return np.float64([list(bytes.fromhex(word))[::-1] for word in text.split()])


SKINS = bgr("f0c9ae ecc0a2 e8b696 d8a27c c0865e 9e6644 7a4e34")
HAIRS = bgr("1c1a1c 3a2820 5c3a26 805434 cea068 9e562c")
LIGHT_SKINS, DARK_HAIRS = 4, 3  # skins after the first so many have one of the first so many hair colours
IRISES = bgr("543422 6e5030 52785c 467aa0")
CLOTHES = bgr("324678 aa3c3c 3c825a 8296aa 2d323c d2a046 d7dce1 825096")
WALLS = bgr("acbac4 cec4b2 baaa96 beccbc 6e8296 c4bece 827c78 d2d6d6 debaa4 82a08c")
WHITE, GREY, INK = bgr("ffffff caccd0 201a1c")
EYE = 0.2  # from the middle of the face to a pupil

# Where the hair begins, from the crown's middle to the right temple; the left half is its mirror image.
SHORT = smooth((0, -0.58), (0.25, -0.55), (0.41, -0.46), (0.46, -0.27), (0.47, -0.06))
FRINGE = smooth((0, -0.37), (0.22, -0.365), (0.41, -0.34), (0.46, -0.22), (0.46, 0.02))
CENTRE = smooth((0, -0.69), (0.17, -0.60), (0.39, -0.42), (0.47, -0.20), (0.47, 0.06))
RECEDING = smooth((0, -0.60), (0.16, -0.67), (0.33, -0.68), (0.43, -0.50), (0.475, -0.30), (0.48, -0.04))
STYLES = {  # hairline, how far the hair stands off the head, where it ends behind the head, its half width there
    "long": (CENTRE, 0.035, 1.05, 0.66),
    "bob": (FRINGE, 0.035, 0.40, 0.63),
    "pigtails": (FRINGE, 0.035, None, None),
    "bun": (CENTRE, -0.01, None, None),
    "short": (SHORT, 0.01, None, None),
    "receding": (RECEDING, -0.02, None, None),
    "bald": (None, 0, None, None),
    "baby": (None, 0, None, None),
}


class Person(NamedTuple):
    """All that is random about a face. Colours are BGR float64 (3,)."""

    is_male: bool
    childhood: float  # 1 for a newborn, 0 from the age of 17
    wear: float  # 0 until 20, 1 from 90: lines, bags, sagging
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    clothes: np.ndarray
    style: str  # a key of STYLES
    has_beard: bool
    has_glasses: bool
    smile: float  # how far the corners of the mouth are raised
    roll: float  # degrees, clockwise
    light: float  # shade on the right half of the face where positive, else on the left


def mix(first, second, share):
    """The colour `share` of the way from `first` to `second`."""
    return np.asarray(first, np.float64) * (1 - share) + np.asarray(second, np.float64) * share


def ramp(age, start, end):
    """0 at the age `start`, 1 at `end`, straight between them."""
    return float(np.clip((age - start) / (end - start), 0, 1))


def draw_person(age, gender, rng):
    """Draw the looks of a Person of an age in years, 0 to 100. `rng` is the only source of chance: the same state draws
    the same person."""
    is_male, tone = gender == MALE, rng.integers(len(SKINS))
    skin = SKINS[tone] * rng.uniform(0.95, 1.03)
    natural = HAIRS[rng.integers(len(HAIRS) if tone < LIGHT_SKINS else DARK_HAIRS)] * rng.uniform(0.85, 1.15)
    lipstick = rng.uniform(0.5, 0.85) if age > 15 and not is_male else 0.1
    return Person(
        is_male=is_male,
        childhood=ramp(age, 17, 0),
        wear=ramp(age, 20, 90),
        skin=skin,
        hair=mix(natural, GREY, ramp(age + rng.normal(0, 5), 38, 72)),
        iris=IRISES[rng.integers(len(IRISES))],
        lips=mix(skin * 0.8, (90, 70, 195), lipstick),
        clothes=CLOTHES[rng.integers(len(CLOTHES))] * rng.uniform(0.8, 1.1),
        style=_draw_style(age, is_male, rng),
        has_beard=is_male and age >= 19 and bool(rng.random() < 0.6),
        has_glasses=bool(rng.random() < 0.08 * ramp(age, 4, 8) + 0.3 * ramp(age, 35, 70)),
        smile=rng.uniform(0, 0.045),
        roll=float(np.clip(rng.normal(0, 3.5), -8, 8)),
        light=rng.uniform(-0.35, 0.35),
    )


def _draw_style(age, is_male, rng):
    if age <= 1:
        return "baby"
    if is_male:
        thin = ["receding"] if age <= 50 else ["receding", "bald"]
        return str(rng.choice(thin)) if rng.random() < 0.9 * ramp(age, 28, 85) else "short"
    if age < 11:
        return str(rng.choice(["pigtails", "bob"]))
    return str(rng.choice(["bun", "bob"] if rng.random() < 0.8 * ramp(age, 45, 80) else ["long", "bob"]))


def paint_person(image, person, centre, box_width):
    """Paint head and shoulders onto an image, in place, from back to front.

    Args:
        image: BGR uint8 (height, width, 3), to be averaged down later.
        person: The Person.
        centre: (x, y) of the middle of the face's box in pixels of `image`.
        box_width: Width of that box in the same pixels.
    """
    unit = box_width / BOX_WIDTH
    canvas = Canvas(image, np.float64(centre) - (0, BOX_MIDDLE * unit), unit, person.roll)
    outline = head_outline(person)
    face = canvas.mask(outline)
    _paint_body(canvas, person)
    canvas.paint(outline, person.skin)
    _paint_shading(canvas, person, outline, face)
    _paint_wear(canvas, person, face)
    if person.has_beard:
        cheeks = smooth((0, 0.185), (0.25, 0.215), (0.44, 0.03), (0.52, 0.2), (0.44, 0.45), (0, 0.65))
        canvas.paint(mirrored(cheeks), person.hair * 0.8, 0.85, 0.02, face)
    _paint_nose(canvas, person)
    _paint_mouth(canvas, person)
    for side in (-1, 1):
        _paint_eye(canvas, person, side)
    _paint_hair(canvas, person, face)
    if person.has_glasses:
        rim = ellipse(EYE, -0.11, 0.145, 0.105)
        bridge, temple = [(0.06, -0.13), (-0.06, -0.13)], [(0.345, -0.13), (0.49, -0.15)]
        canvas.paint([*both(np.vstack([rim, rim[:1]])), *both(temple), bridge], INK, 0.95, width=0.017)


def head_outline(person):
    """The head without hair, from the crown round the chin and back: (n, 2), the right half first."""
    child, sag = person.childhood, person.wear
    jaw = 1 + (0.07 if person.is_male else -0.05) * (1 - child)
    cheek = ((0.435 + 0.02 * sag) * jaw + 0.06 * child, 0.23)
    corner = ((0.32 + 0.03 * sag) * jaw + 0.045 * child, 0.41 - 0.01 * child)
    chin = [(0.16 * jaw + 0.01 * child, 0.525 - 0.025 * child), (0, 0.55 - 0.03 * child)]
    temple = [(0.475 + 0.015 * child, -0.25), (0.475 + 0.03 * child, 0)]
    half = np.float64([(0, -0.80), (0.25, -0.755), (0.42, -0.56), *temple, cheek, corner, *chin])
    return smooth(*half, *half[-2:0:-1] * (-1, 1), closed=True)


def _paint_body(canvas, person):
    """What is behind the face: hair that falls behind the head, neck, clothes, ears."""
    child, skin, (_, _, end, width) = person.childhood, person.skin, STYLES[person.style]
    if end is not None:
        half = smooth((0, -0.86), (0.38, -0.76), (width - 0.08, -0.4), (width, 0), (width - 0.1, end), (0, end))
        canvas.paint(mirrored(half), person.hair * 0.72)
    elif person.style == "bun":
        canvas.paint(ellipse(0, -0.93, 0.2, 0.17), person.hair * 0.72)
    elif person.style == "pigtails":
        canvas.paint(both(ellipse(0.65, 0.15, 0.12, 0.4, -8)), person.hair * 0.72)
    neck = 0.235 + (0.05 if person.is_male else 0) * (1 - child) - 0.045 * child
    arm = (1.02 if person.is_male else 0.88) - 0.28 * child
    canvas.paint(mirrored([(neck, 0.2), (neck + 0.03, 0.8), (0.3, 1.2)]), skin * 0.88)
    canvas.paint(ellipse(0, 0.57, neck + 0.02, 0.16), skin * 0.5, 0.45, 0.04)
    shoulder = smooth((0.15, 0.90), (neck + 0.02, 0.70), (0.48, 0.78), (arm, 1.15), (arm + 0.12, 2), (arm + 0.15, 6))
    canvas.paint(mirrored([(0, 0.98), *shoulder]), person.clothes)
    canvas.paint(both(ellipse(0.49 + 0.03 * child, 0, 0.055, 0.115 + 0.02 * person.wear, 8)), skin * 0.9)


def _paint_shading(canvas, person, outline, face):
    """Light and shade that make the head round, and what dlib's detector goes by: eye sockets and cheeks."""
    dark, light = mix(person.skin * 0.55, (40, 40, 110), 0.15), mix(person.skin, WHITE, 0.45)
    canvas.paint(np.vstack([outline, outline[:1]]), dark, 0.50, 0.045, face, width=0.10)
    away_from_light = (outline[: len(outline) // 2] + (0.22, 0)) * (np.sign(person.light), 1)
    canvas.paint(away_from_light, dark, abs(person.light), 0.08, face)
    canvas.paint(ellipse(0, -0.46, 0.26, 0.11), light, 0.40, 0.07, face)
    canvas.paint(both(ellipse(EYE, -0.155, 0.135, 0.075)), dark, 0.40, 0.035, face)
    canvas.paint(both(ellipse(0.27, 0.1, 0.10, 0.07, -20)), light, 0.32, 0.04, face)
    blush = 0.16 + 0.22 * person.childhood
    canvas.paint(both(ellipse(0.30, 0.15, 0.11, 0.08)), mix(person.skin, (90, 80, 225), 0.6), blush, 0.045, face)


def _paint_wear(canvas, person, face):
    """Lines and bags; they begin at 20 and deepen steadily."""
    wear, dark = person.wear, mix(person.skin * 0.48, (40, 45, 95), 0.2)
    depth = min(0.9, 0.15 + wear) if wear > 0 else 0.0
    for y in -0.33 - 0.06 * np.arange(round(4.4 * wear)):
        line = smooth((-0.25, y + 0.018), (-0.13, y), (0.13, y), (0.25, y + 0.018))
        canvas.paint(line, dark, depth * 0.75, 0.006, face, width=0.014)
    for angle in np.radians([-28, 0, 28])[: round(5 * wear)]:  # crow's feet
        end = EYE + 0.125 + (0.05 + 0.06 * wear) * np.cos(angle), -0.12 + (0.05 + 0.06 * wear) * np.sin(angle)
        canvas.paint(both([(EYE + 0.125, -0.12), end]), dark, depth * 0.7, 0.005, face, width=0.011)
    fold = smooth((0.095, 0.09), (0.16, 0.17), (0.205, 0.27), (0.20, 0.34 + 0.04 * wear))  # from nose to mouth
    canvas.paint(both(fold), dark, depth * 0.8, 0.010, face, width=0.022)
    bag = smooth((EYE - 0.085, -0.07), (EYE - 0.02, -0.035 + 0.015 * wear), (EYE + 0.06, -0.05))
    canvas.paint(both(bag), dark, depth * 0.75, 0.008, face, width=0.018)
    hollow = (0.05 + 0.25 * wear + 0.08 * person.is_male) * (1 - person.childhood)
    canvas.paint(both(ellipse(0.33, 0.27, 0.06, 0.14, 25)), dark, hollow, 0.04, face)


def _paint_nose(canvas, person):
    size = 1 - 0.28 * person.childhood + 0.14 * person.wear + (0.05 if person.is_male else -0.04)
    dark, base = mix(person.skin * 0.5, (30, 35, 90), 0.2), 0.115 - 0.025 * person.childhood
    canvas.paint([(0.02, -0.2), (0.05 * size, -0.1), (0.095 * size, base), (0.03, base)], dark, 0.3, 0.02)
    canvas.paint(ellipse(0, -0.06, 0.018, 0.13), mix(person.skin, WHITE, 0.55), 0.4, 0.014)
    canvas.paint(ellipse(0, base + 0.025, 0.085 * size, 0.028), dark, 0.45, 0.016)
    canvas.paint(both(ellipse(0.045 * size, base + 0.018, 0.024 * size, 0.013, -15)), person.skin * 0.25, 0.85, 0.005)


def _paint_mouth(canvas, person):
    lips, y = person.lips, 0.285 - 0.005 * person.childhood
    half = 0.155 + 0.01 * person.is_male - 0.04 * person.childhood
    full = (0.85 if person.is_male else 1.2) * (1 - 0.5 * person.wear) * (1 - 0.1 * person.childhood)
    end, peak, low = y - person.smile + 0.03 * person.wear, y - 0.042 * full, y + 0.064 * full
    middle = smooth((-half, end), (-half * 0.5, y + 0.004), (half * 0.5, y + 0.004), (half, end))
    for height, shade in ((peak, 0.86), (low, 1)):
        lip = smooth((half, end), (half * 0.5, height), (-half * 0.5, height), (-half, end))
        canvas.paint(np.vstack([middle, lip]), lips * shade, 0.95, 0.004)
    canvas.paint(middle, lips * 0.35, 0.85, 0.003, width=0.013)


def _paint_eye(canvas, person, side):
    """Eye and brow of one side."""
    child, wear, x = person.childhood, person.wear, side * EYE
    y, half, radius = -0.125 + 0.02 * child, 0.097 + 0.016 * child, 0.047 + 0.014 * child
    top, bottom = 0.050 + 0.020 * child - 0.014 * wear, 0.032 + 0.010 * child - 0.004 * wear
    inner, outer = (EYE - half, y + 0.012), (EYE + half, y + 0.012 * wear)
    upper = smooth(inner, (EYE - half * 0.45, y - top * 0.8), (EYE + half * 0.3, y - top), outer) * (side, 1)
    lower = smooth(outer, (EYE + half * 0.4, y + bottom), (EYE - half * 0.3, y + bottom), inner) * (side, 1)
    shape = np.vstack([upper, lower])
    eye = canvas.mask(shape)
    canvas.paint(shape, (232, 236, 240))
    for share, colour in ((1, person.iris * 0.45), (0.82, person.iris * 1.1), (0.45, INK * 0.5)):
        canvas.paint(ellipse(x, y - 0.006, radius * share, radius * share), colour, within=eye)
    canvas.paint(ellipse(x - 0.014, y - 0.023, 0.013, 0.013), WHITE, 0.95)
    canvas.paint(upper, INK, 0.9, 0.002, width=0.014 if person.is_male or child else 0.024)
    canvas.paint(upper + (0, -0.030 + 0.010 * wear), person.skin * 0.45, 0.3 + 0.4 * wear, 0.005, width=0.011)
    y = -0.245 - 0.01 * child - (0 if person.is_male else 0.012)
    brow = smooth((EYE - 0.115, y + 0.025), (EYE - 0.03, y - 0.008), (EYE + 0.05, y - 0.012), (EYE + 0.135, y + 0.035))
    width = (0.055 if person.is_male else 0.03) * (1 - 0.35 * child)
    canvas.paint(brow * (side, 1), person.hair * 0.75, 0.9 - 0.3 * child, 0.006, width=width)


def _paint_hair(canvas, person, face):
    """The hair above the forehead, over the temples and beside the neck."""
    inner, puff, end, width = STYLES[person.style]
    if person.style == "baby":
        canvas.paint(ellipse(0, -0.80, 0.42, 0.20), person.hair, 0.6, 0.06, face)
    elif person.style == "bald":
        patch = smooth((0.455, 0), (0.52, -0.06), (0.535, -0.3), (0.48, -0.5), (0.455, -0.3), closed=True)
        canvas.paint(both(patch), person.hair, 0.95, 0.008)
    if inner is None:
        return
    canvas.paint(both(inner), person.skin * 0.45, 0.35, 0.02, width=0.03)  # the shadow of the hair on the forehead
    outer = smooth((0, -0.88 - puff), (0.24, -0.835 - puff), (0.46 + puff, -0.64 - puff), (0.545 + puff, -0.3),
                   (0.505 + puff, 0))  # fmt: skip
    canvas.paint(both(np.vstack([outer, inner[::-1]])), person.hair)
    if end is not None:
        lock = smooth((0.46, -0.58), (width - 0.06, -0.35), (width, 0), (width - 0.1, end), (0.48, end), (0.45, 0.05),
                      closed=True)  # fmt: skip
        canvas.paint(both(lock), person.hair)


def paint_backdrop(size, rng):
    """A wall out of focus: BGR uint8 (height, width, 3) for `size` = (width, height)."""
    corners = WALLS[rng.integers(len(WALLS))] * rng.uniform(0.7, 1.12, (2, 2, 1)) + rng.normal(0, 7, (2, 2, 3))
    small = cv2.resize(corners.astype(np.float32), (32, 32), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(2, 7)):
        x, y, radius = (int(value) for value in rng.integers((0, 0, 2), (32, 32, 8)))
        colour = small[y, x] * rng.uniform(0.8, 1.15) + rng.normal(0, 6, 3)
        cv2.circle(small, (x, y), radius, colour.tolist(), -1, cv2.LINE_AA)
    small = cv2.GaussianBlur(small, (0, 0), 1.2)
    return np.clip(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), 0, 255).astype(np.uint8)


def develop(image, rng):
    """Average a painting down by SUPERSAMPLE; add light from one side, blur and noise: BGR uint8."""
    width, height = image.shape[1] // SUPERSAMPLE, image.shape[0] // SUPERSAMPLE
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    sigma = rng.uniform(0, 0.8)
    if sigma > 0.3:  # less is not to be seen
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    corners = rng.uniform(0.92, 1.06) + rng.uniform(-0.12, 0.12, (2, 2))
    light = cv2.resize(corners.astype(np.float32), (width, height))
    noise = rng.standard_normal((height, width), dtype=np.float32) * np.float32(rng.uniform(1, 4))
    return np.clip(image * light[..., None] + noise[..., None], 0, 255).astype(np.uint8)


def paint_crop(person, size, rng, shift=(0.0, 0.0), neighbours=()):
    """One face as a WIKI crop: BGR uint8 (size, size, 3).

    Args:
        person: The Person.
        size: Side of the square in pixels; the face's box is `size` / CROP_WIDTH wide.
        rng: For background, light and noise.
        shift: Where the face's box lies off the middle, in widths of that box.
        neighbours: (Person, shift) of others, who stand behind.
    """
    large = size * SUPERSAMPLE
    image, box_width = paint_backdrop((large, large), rng), large / CROP_WIDTH
    for someone, place in [*neighbours, (person, shift)]:
        paint_person(image, someone, large / 2 + np.float64(place) * box_width, box_width)
    return develop(image, rng)
