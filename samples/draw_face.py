"""Draw a face of a given age and gender with nothing but shapes, shading and a seed.

    person = draw_person(age=34, gender=FEMALE, rng=np.random.default_rng(7))
    image = paint_crop(person, size=230, rng=np.random.default_rng(8))   # (230, 230, 3) uint8, BGR

`draw_person` makes every choice of looks, `paint_*` apply them. Shapes are given in face units: the origin is
the middle of the face, x to the right, y down, and the head is about 1 wide. Colours are BGR in 0..255.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from canvas import Canvas, both, ellipse, mirror, resample, smooth, strands

FEMALE, MALE = 0, 1  # as in IMDB-WIKI
CROP_WIDTH = 1.8  # of a crop, in widths of the face's box: the box and WIKI's margin of 40% on both sides
SUPERSAMPLE = 2  # painted so many times larger, then averaged down
# The box that dlib's frontal detector draws around a face, in face units: medians over some hundred crops.
BOX_WIDTH, BOX_MIDDLE = 0.952, 0.085

SKINS = (
    (174, 201, 240),
    (162, 192, 236),
    (150, 182, 232),
    (124, 162, 216),
    (94, 134, 192),
    (68, 102, 158),
    (52, 78, 122),
)
HAIRS = ((28, 26, 28), (32, 40, 58), (38, 58, 92), (52, 84, 128), (104, 160, 206), (44, 86, 158))
LIGHT_SKINS, DARK_HAIRS = 4, 3  # skins after the first so many have one of the first so many hair colours
IRISES = ((34, 52, 84), (48, 80, 110), (92, 120, 82), (160, 122, 70), (128, 112, 98))
CLOTHES = (
    (120, 70, 50),
    (60, 60, 170),
    (90, 130, 60),
    (170, 150, 130),
    (60, 50, 45),
    (70, 160, 210),
    (225, 220, 215),
    (150, 80, 130),
)
WALLS = (
    (196, 186, 172),
    (178, 196, 206),
    (150, 170, 186),
    (188, 204, 190),
    (150, 130, 110),
    (206, 190, 196),
    (120, 124, 130),
    (214, 214, 210),
    (164, 186, 222),
    (140, 160, 130),
)
WHITE, GREY, INK = np.float64((255, 255, 255)), np.float64((208, 204, 202)), np.float64((28, 26, 32))
LASHES = np.float64([(0.024, -0.028), (0.032, -0.025), (0.038, -0.022)])  # from root to tip

# Where the hair begins, from the crown's middle to the right temple; the left half is its mirror image.
HAIRLINES = {
    "short": ((0, -0.58), (0.25, -0.55), (0.41, -0.46), (0.46, -0.27), (0.47, -0.06)),
    "fringe": ((0, -0.37), (0.22, -0.365), (0.41, -0.34), (0.46, -0.22), (0.46, 0.02)),
    "centre": ((0, -0.69), (0.17, -0.60), (0.39, -0.42), (0.47, -0.20), (0.47, 0.06)),
    "parted": ((0.05, -0.51), (0.22, -0.60), (0.36, -0.52), (0.45, -0.28), (0.47, -0.04)),
    "swept": ((-0.02, -0.48), (0.28, -0.43), (0.42, -0.38), (0.46, -0.26), (0.47, -0.04)),
    "receding": ((0, -0.60), (0.16, -0.67), (0.33, -0.68), (0.43, -0.50), (0.475, -0.30), (0.48, -0.04)),
}
STYLES = {  # hairline on the left and on the right, where the hair behind the head ends, its half width
    "long": ("centre", "centre", 1.05, 0.66),
    "long side": ("swept", "parted", 0.95, 0.68),
    "long fringe": ("fringe", "fringe", 1.0, 0.66),
    "bob": ("swept", "parted", 0.42, 0.64),
    "bob fringe": ("fringe", "fringe", 0.38, 0.62),
    "waves": ("centre", "centre", 0.30, 0.70),
    "pigtails": ("fringe", "fringe", None, None),
    "bun": ("centre", "centre", None, None),
    "short": ("short", "short", None, None),
    "side": ("swept", "parted", None, None),
    "curly": ("short", "short", None, None),
    "receding": ("receding", "receding", None, None),
    "bald": (None, None, None, None),
    "baby": (None, None, None, None),
}
# How far the hair stands off the head, for the styles where that is not DEFAULT_PUFF.
PUFF = {"short": 0, "side": 0.015, "receding": -0.02, "bun": -0.01, "curly": 0.04}
DEFAULT_PUFF = 0.035


@dataclass(frozen=True)
class Person:
    """All that is random about a face. Colours are BGR float64 (3,)."""

    age: int
    is_male: bool
    childhood: float  # 1 for a newborn, 0 from the age of 17
    wear: float  # 0 until 20, 1 from 90: lines, bags, sagging
    skin: np.ndarray
    hair: np.ndarray
    brow: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    clothes: np.ndarray
    style: str  # a key of STYLES
    beard: str  # "none", "stubble", "moustache" or "full"
    has_glasses: bool
    jaw: float  # width of the jaw, 1 on average
    smile: float  # how far the corners of the mouth are raised
    eye_gap: float  # from the middle of the face to a pupil
    roll: float  # degrees, clockwise
    light: float  # shade on the right half of the face where positive, else on the left
    seed: int  # of strands, lines and spots


def mix(first, second, share):
    """The colour `share` of the way from `first` to `second`."""
    return np.asarray(first, np.float64) * (1 - share) + np.asarray(second, np.float64) * share


def ramp(age, start, end):
    """0 at the age `start`, 1 at `end`, straight between them."""
    return float(np.clip((age - start) / (end - start), 0, 1))


def pick(rng, choices, weights=None):
    """One of `choices`, a list of names, with probabilities `weights`."""
    return choices[rng.choice(len(choices), p=weights)]


def draw_person(age, gender, rng):
    """Draw the looks of a person.

    Args:
        age: Years, 0 to 100.
        gender: FEMALE or MALE.
        rng: The only source of chance; the same state draws the same person.

    Returns:
        Person.
    """
    is_male, childhood, tone = gender == MALE, ramp(age, 17, 0), rng.integers(len(SKINS))
    skin = np.float64(SKINS[tone]) * rng.uniform(0.95, 1.03)
    natural = np.float64(HAIRS[rng.integers(len(HAIRS) if tone < LIGHT_SKINS else DARK_HAIRS)])
    natural = natural * rng.uniform(0.85, 1.15)
    greyness = ramp(age + rng.normal(0, 5), 38, 72)
    lipstick = mix((70, 50, 190), (110, 90, 200), rng.random())
    lipstick_share = rng.uniform(0.5, 0.85) if age > 15 and not is_male else 0.05
    beards = ["none", "stubble", "moustache", "full"]
    return Person(
        age=age,
        is_male=is_male,
        childhood=childhood,
        wear=ramp(age, 20, 90),
        skin=skin,
        hair=mix(natural, GREY, greyness),
        brow=mix(mix(natural, (40, 40, 40), 0.3), GREY, greyness * 0.8),
        iris=np.float64(IRISES[rng.integers(len(IRISES))]),
        lips=mix(mix(skin * 0.78, (90, 80, 190), 0.25), lipstick, lipstick_share),
        clothes=np.float64(CLOTHES[rng.integers(len(CLOTHES))]) * rng.uniform(0.8, 1.1),
        style=_draw_style(age, is_male, rng),
        beard=pick(rng, beards, [0.35, 0.25, 0.12, 0.28]) if is_male and age >= 19 else "none",
        has_glasses=bool(rng.random() < 0.08 * ramp(age, 4, 8) + 0.3 * ramp(age, 35, 70)),
        jaw=rng.normal(1, 0.02) + (0.07 if is_male else -0.05) * (1 - childhood),
        smile=rng.uniform(0, 0.045),
        eye_gap=rng.normal(0.2, 0.006),
        roll=float(np.clip(rng.normal(0, 3.5), -8, 8)),
        light=rng.uniform(-0.35, 0.35),
        seed=int(rng.integers(2**31)),
    )


def _draw_style(age, is_male, rng):
    if age <= 1:
        return "baby"
    if is_male:
        if rng.random() < 0.9 * ramp(age, 28, 85):
            return pick(rng, ["receding", "bald"], [0.55, 0.45] if age > 50 else [0.85, 0.15])
        return pick(rng, ["short", "side", "curly"], [0.4, 0.4, 0.2])
    if age < 11:
        return pick(rng, ["pigtails", "long fringe", "long", "bob fringe"], [0.4, 0.25, 0.2, 0.15])
    if rng.random() < 0.8 * ramp(age, 45, 80):
        return pick(rng, ["waves", "bun", "bob"], [0.5, 0.2, 0.3])
    return pick(
        rng,
        ["long", "long side", "long fringe", "bob", "bob fringe", "waves", "bun"],
        [0.25, 0.2, 0.15, 0.12, 0.08, 0.1, 0.1],
    )


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
    rng, outline = np.random.default_rng(person.seed), head_outline(person)
    face = canvas.mask(outline)
    _paint_hair_behind(canvas, person)
    _paint_body(canvas, person)
    canvas.fill(outline, person.skin)
    _paint_shading(canvas, person, outline, face)
    _paint_wear(canvas, person, face, rng)
    _paint_beard(canvas, person, outline, face, rng)
    _paint_nose(canvas, person)
    _paint_mouth(canvas, person, face)
    for side in (-1, 1):
        _paint_eye(canvas, person, side)
        _paint_brow(canvas, person, side, rng)
    _paint_hair_in_front(canvas, person, face, rng)
    if person.has_glasses:
        _paint_glasses(canvas, person)


def head_outline(person):
    """The head without hair, from the crown round the chin and back: (n, 2), the right half first."""
    child, jaw, sag = person.childhood, person.jaw, person.wear
    half = np.float64(
        [
            (0, -0.80),
            (0.25, -0.755),
            (0.42, -0.56),
            (0.475 + 0.015 * child, -0.25),
            (0.475 + 0.03 * child, 0),
            ((0.435 + 0.02 * sag) * jaw + 0.06 * child, 0.23),
            ((0.32 + 0.03 * sag) * jaw + 0.045 * child, 0.41 - 0.01 * child),
            (0.16 * jaw + 0.01 * child, 0.525 - 0.025 * child),
            (0, 0.55 - 0.03 * child),
        ]
    )
    return smooth(np.vstack([half, mirror(half[-2:0:-1], -1)]), closed=True)


def _paint_body(canvas, person):
    child, skin, clothes = person.childhood, person.skin, person.clothes
    neck = 0.235 + (0.05 if person.is_male else 0) * (1 - child) - 0.045 * child
    arm = (1.02 if person.is_male else 0.88) - 0.28 * child
    throat = np.float64([(neck, 0.2), (neck + 0.03, 0.8), (0.3, 1.2)])
    canvas.fill(np.vstack([throat, mirror(throat[::-1], -1)]), skin * 0.88)
    canvas.fill(ellipse(0, 0.57, neck + 0.02, 0.16), skin * 0.5, 0.45, 0.04)
    half = smooth(
        [
            (0.15, 0.90),
            (neck + 0.02, 0.70),
            (0.48, 0.78),
            (arm - 0.12, 0.90),
            (arm, 1.15),
            (arm + 0.12, 2),
            (arm + 0.15, 6),
        ]
    )
    canvas.fill(np.vstack([[(0, 0.98)], half, mirror(half[::-1], -1)]), clothes)
    canvas.line(both(smooth([(0, 0.98), (0.15, 0.90), (neck + 0.02, 0.70)])), 0.03, clothes * 0.7)
    canvas.line(both(smooth([(arm - 0.25, 1.3), (arm - 0.2, 2), (arm - 0.2, 6)])), 0.03, clothes * 0.6, 0.6, 0.02)
    ear = ellipse(0.49 + 0.03 * child, 0, 0.055, 0.115 + 0.02 * person.wear, 8)
    for side in (-1, 1):
        canvas.fill(mirror(ear, side), skin * 0.93)
    canvas.line(both(np.roll(ear, 12, axis=0)[:22]), 0.015, skin * 0.6, 0.5, 0.006)


def _paint_shading(canvas, person, outline, face):
    """Light and shade that make the head round, and what dlib's detector goes by: eye sockets and cheeks."""
    dark, light = mix(person.skin * 0.55, (40, 40, 110), 0.15), mix(person.skin, WHITE, 0.45)
    canvas.line(np.vstack([outline, outline[:1]]), 0.10, dark, 0.50, 0.045, face)
    away_from_light = outline[: len(outline) // 2] + (0.22, 0)
    canvas.fill(mirror(away_from_light, np.sign(person.light)), dark, abs(person.light), 0.08, face)
    canvas.fill(ellipse(0, -0.46, 0.26, 0.11), light, 0.40, 0.07, face)
    canvas.fill(ellipse(0, 0.455, 0.10, 0.045), light, 0.30, 0.03, face)
    rosy, blush = mix(person.skin, (90, 80, 225), 0.6), 0.16 + 0.22 * person.childhood
    hollow = (0.05 + 0.25 * person.wear + 0.08 * person.is_male) * (1 - person.childhood)
    for side in (-1, 1):
        canvas.fill(ellipse(side * person.eye_gap, -0.155, 0.135, 0.075), dark, 0.40, 0.035, face)
        canvas.fill(ellipse(side * 0.27, 0.1, 0.10, 0.07, -20 * side), light, 0.32, 0.04, face)
        canvas.fill(ellipse(side * 0.30, 0.15, 0.11, 0.08), rosy, blush, 0.045, face)
        canvas.fill(ellipse(side * 0.33, 0.27, 0.06, 0.14, 25 * side), dark, hollow, 0.04, face)


def _paint_wear(canvas, person, face, rng):
    """Lines, bags and spots; they begin at 20 and deepen steadily."""
    dark, wear, gap = mix(person.skin * 0.48, (40, 45, 95), 0.2), person.wear, person.eye_gap
    depth = min(1.0, 0.15 + wear) if wear > 0 else 0.0
    forehead, crows_feet = [], []
    for index in range(round(4.4 * wear)):
        y, bend = -0.33 - 0.06 * index, rng.uniform(-0.01, 0.012)
        end = 0.26 - 0.02 * index + rng.uniform(-0.03, 0.02)
        half = np.float64([(0, y + 0.008), (0.13, y - bend), (end, y + 0.018)])
        forehead.append(smooth(np.vstack([mirror(half[::-1], -1), half[1:]])))
    for angle in np.radians([-28, 0, 28])[: round(3 * ramp(person.age, 25, 55))]:
        start, length = np.float64((gap + 0.125, -0.12)), 0.05 + 0.06 * wear
        crows_feet += both([start, start + length * np.float64((np.cos(angle), np.sin(angle)))])
    canvas.line(forehead, 0.014, dark, depth * 0.75, 0.006, face)
    canvas.line(crows_feet, 0.011, dark, depth * 0.7, 0.005, face)
    fold = smooth([(0.095, 0.09), (0.16, 0.17), (0.205, 0.27), (0.20, 0.34 + 0.04 * wear)])  # from nose to mouth
    canvas.line(both(fold), 0.022, dark, depth * 0.8 * ramp(person.age, 18, 60), 0.010, face)
    bag = smooth([(gap - 0.085, -0.07), (gap - 0.02, -0.035 + 0.015 * wear), (gap + 0.06, -0.05)])
    canvas.line(both(bag), 0.018, dark, depth * 0.75, 0.008, face)
    if wear > 0.42:  # from about 50: beside the chin, between the brows, on the neck
        canvas.line(both(smooth([(0.175, 0.34), (0.20, 0.40), (0.19, 0.46)])), 0.018, dark, wear * 0.6, 0.008, face)
        canvas.line(both([(0.03, -0.25), (0.035, -0.18)]), 0.012, dark, wear * 0.6, 0.005, face)
        canvas.line(both(smooth([(0.08, 0.60), (0.1, 0.72), (0.07, 0.85)])), 0.02, dark, wear * 0.35, 0.01)
    if wear > 0.6:  # from about 62: above the lip
        above_lip = [np.float64([(x, 0.215), (x * 0.93, 0.25)]) for x in (-0.12, -0.08, -0.03, 0.03, 0.08, 0.12)]
        canvas.line(above_lip, 0.01, dark, wear * 0.4, 0.004, face)
    for _ in range(round(rng.uniform(5, 10) * ramp(person.age, 55, 85))):
        x, y = rng.uniform(-0.4, 0.4), pick(rng, [-0.5, -0.55, 0.1, 0.2]) + rng.uniform(-0.06, 0.06)
        radius = rng.uniform(0.010, 0.022)
        brown = mix(person.skin * 0.6, (50, 80, 120), 0.4)
        canvas.fill(ellipse(x, y, radius * 1.3, radius), brown, 0.45, 0.007, face)


def _paint_nose(canvas, person):
    size = 1 - 0.28 * person.childhood + 0.14 * person.wear + (0.05 if person.is_male else -0.04)
    dark, light = mix(person.skin * 0.5, (30, 35, 90), 0.2), mix(person.skin, WHITE, 0.55)
    base = 0.115 - 0.025 * person.childhood
    canvas.fill([(0.02, -0.2), (0.05 * size, -0.1), (0.095 * size, base), (0.03, base)], dark, 0.32, 0.02)
    canvas.fill([(-0.03, -0.2), (-0.05 * size, -0.1), (-0.09 * size, base), (-0.05, base)], dark, 0.16, 0.02)
    canvas.fill(ellipse(0, -0.06, 0.018, 0.13), light, 0.45 * (1 - 0.5 * person.childhood), 0.014)
    canvas.fill(ellipse(0, base + 0.025, 0.085 * size, 0.028), dark, 0.45, 0.016)
    canvas.fill(ellipse(-0.008, base - 0.03, 0.03 * size, 0.026), light, 0.55, 0.012)
    wing = smooth([(0.085, base - 0.05), (0.105, base), (0.09, base + 0.025), (0.06, base + 0.02)]) * (size, 1)
    canvas.line(both(wing), 0.014, dark, 0.6, 0.006)
    nostril = ellipse(0.045 * size, base + 0.018, 0.024 * size, 0.013, -15)
    for side in (-1, 1):
        canvas.fill(mirror(nostril, side), person.skin * 0.25, 0.85, 0.005)


def _paint_mouth(canvas, person, face):
    lips, y = person.lips, 0.285 - 0.005 * person.childhood
    half = 0.155 + 0.01 * person.is_male - 0.04 * person.childhood
    full = (0.85 if person.is_male else 1.2) * (1 - 0.5 * person.wear) * (1 - 0.1 * person.childhood)
    corner, peak = (half, y - person.smile + 0.03 * person.wear), y - 0.042 * full
    middle = smooth([mirror(corner, -1), (-half * 0.5, y + 0.004), (half * 0.5, y + 0.004), corner])
    upper = smooth(
        [
            corner,
            (half * 0.55, peak + 0.012),
            (0.035, peak),
            (0, peak + 0.012),
            (-0.035, peak),
            (-half * 0.55, peak + 0.012),
            mirror(corner, -1),
        ]
    )
    lower = smooth(
        [
            corner,
            (half * 0.55, y + 0.045 * full),
            (0, y + 0.064 * full),
            (-half * 0.55, y + 0.045 * full),
            mirror(corner, -1),
        ]
    )
    canvas.fill(ellipse(0, y + 0.08 + 0.02 * full, half * 0.55, 0.02), person.skin * 0.5, 0.45, 0.016, face)
    canvas.fill(np.vstack([middle, upper]), lips * 0.86, 0.95, 0.004)
    canvas.fill(np.vstack([middle, lower]), lips, 0.95, 0.004)
    canvas.fill(ellipse(0, y + 0.036 * full, half * 0.35, 0.010), mix(lips, WHITE, 0.5), 0.6, 0.008)
    canvas.line(middle, 0.013, lips * 0.35, 0.85, 0.003)
    for side in (-1, 1):
        canvas.fill(ellipse(side * (half + 0.01), corner[1], 0.02, 0.02), person.skin * 0.5, 0.35, 0.012, face)


def _paint_eye(canvas, person, side):
    child, wear, gap = person.childhood, person.wear, person.eye_gap
    y, half, radius = -0.125 + 0.02 * child, 0.097 + 0.016 * child, 0.047 + 0.014 * child
    top, bottom = 0.050 + 0.020 * child - 0.014 * wear, 0.032 + 0.010 * child - 0.004 * wear
    upper = smooth(
        [
            (gap - half, y + 0.012),
            (gap - half * 0.45, y - top * 0.8),
            (gap + half * 0.1, y - top),
            (gap + half * 0.65, y - top * 0.6 + 0.008 * wear),
            (gap + half, y + 0.012 * wear),
        ]
    )
    lower = smooth(
        [
            (gap + half, y + 0.012 * wear),
            (gap + half * 0.4, y + bottom),
            (gap - half * 0.3, y + bottom),
            (gap - half, y + 0.012),
        ]
    )
    shape, x = mirror(np.vstack([upper, lower]), side), side * gap
    eye = canvas.mask(shape)
    canvas.fill(shape, (232, 236, 240))
    for share, colour in ((1, person.iris * 0.45), (0.82, person.iris * 1.1), (0.45, INK * 0.5)):
        canvas.fill(ellipse(x, y - 0.006, radius * share, radius * share), colour, within=eye)
    canvas.line(mirror(upper, side), 0.030, INK, 0.45, 0.010, eye)
    canvas.fill(ellipse(x - 0.014, y - 0.023, 0.013, 0.013), WHITE, 0.95)
    canvas.line(mirror(upper, side), 0.014 if person.is_male or person.age < 16 else 0.020, INK, 0.9, 0.002)
    if not person.is_male:
        roots = upper[[13, 18, 23]]  # three of the lid's 25 points, in its outer half
        lashes = [mirror([root, root + tip], side) for root, tip in zip(roots, LASHES, strict=True)]
        canvas.line(lashes, 0.009, INK, 0.8)
    canvas.line(mirror(lower, side), 0.009, person.skin * 0.45, 0.55, 0.003)
    crease = mirror(upper + (0, -0.030 + 0.010 * wear), side)
    canvas.line(crease, 0.011, person.skin * 0.45, 0.35 + 0.4 * wear - 0.15 * child, 0.005)


def _paint_brow(canvas, person, side, rng):
    thickness = (0.030 if person.is_male else 0.017) * (1 - 0.35 * person.childhood)
    lift = 0.01 * person.childhood + (0 if person.is_male else 0.012) + rng.uniform(-0.008, 0.008)
    x, y = person.eye_gap, -0.245 - lift
    spine = smooth(
        [
            (x - 0.115, y + 0.025),
            (x - 0.03, y - 0.008),
            (x + 0.05, y - 0.012),
            (x + 0.135, y + 0.03 + 0.015 * person.wear),
        ]
    )
    taper = np.interp(np.linspace(0, 1, len(spine)), (0, 0.35, 1), (0.75, 1, 0.2))[:, None] * (0, thickness)
    shape = np.vstack([spine - taper, (spine + taper)[::-1]])
    canvas.fill(mirror(shape, side), person.brow, 0.9 - 0.3 * person.childhood, 0.006)


def _paint_beard(canvas, person, outline, face, rng):
    colour = person.hair * 0.9
    if person.beard == "moustache":
        lip = smooth([(-0.17, 0.30), (-0.12, 0.215), (0, 0.19), (0.12, 0.215), (0.17, 0.30)])
        below = smooth([(0.17, 0.31), (0.08, 0.245), (0, 0.24), (-0.08, 0.245), (-0.17, 0.31)])
        canvas.fill(np.vstack([lip, below]), colour, 0.9, 0.008)
    if person.beard in ("none", "moustache"):
        return
    half = np.float64(
        [
            (0, 0.185),
            (0.12, 0.195),
            (0.25, 0.215),
            (0.385, 0.14),
            (0.44, 0.03),
            (0.49, -0.02),
            (0.52, 0.2),
            (0.44, 0.45),
            (0.2, 0.62),
            (0, 0.65),
        ]
    )
    area = smooth(np.vstack([half, mirror(half[-2:0:-1], -1)]), closed=True)
    if person.beard == "stubble":
        canvas.fill(area, mix(colour, person.skin * 0.4, 0.5), 0.42, 0.022, face)
        return
    canvas.fill(area, colour, 0.93, 0.012, face)
    chin = outline[outline[:, 1] > 0.25]
    canvas.line(smooth(chin[np.argsort(chin[:, 0])][::3]), 0.06, colour, 0.95, 0.008)
    roots = rng.uniform((-0.42, 0.2), (0.42, 0.53), (90, 2))
    for hairs, shade in ((roots[:45], 0.6), (roots[45:], 1.35)):
        hairs = [np.stack([root, root * (1.03, 1) + (0, 0.055)]) for root in hairs]
        canvas.line(hairs, 0.008, colour * shade, 0.35, 0, face)


def _paint_hair_behind(canvas, person):
    _, _, end, width = STYLES[person.style]
    dark = person.hair * 0.72
    if person.style == "bun":
        canvas.fill(ellipse(0, -0.93, 0.2, 0.17), dark)
    if person.style == "pigtails":
        tail = smooth([(0.48, -0.2), (0.66, -0.22), (0.78, 0.05), (0.74, 0.42), (0.62, 0.6), (0.58, 0.3)], closed=True)
        for side in (-1, 1):
            canvas.fill(mirror(tail, side), dark)
        for x in (0.62, 0.67, 0.72):
            canvas.line(both(smooth([(0.56, -0.16), (x, 0.05), (x - 0.03, 0.45)])), 0.012, person.hair * 1.2, 0.5)
        for side in (-1, 1):
            canvas.fill(ellipse(side * 0.535, -0.2, 0.05, 0.055), person.clothes)
    if end is not None:
        half = smooth(
            [
                (0, -0.86),
                (0.38, -0.76),
                (width - 0.08, -0.4),
                (width, 0),
                (width + 0.02, end * 0.6),
                (width - 0.1, end),
                (0, end),
            ]
        )
        canvas.fill(np.vstack([half, mirror(half[::-1], -1)]), dark)


def _paint_hair_in_front(canvas, person, face, rng):
    left, right, end, width = STYLES[person.style]
    if person.style == "baby":
        canvas.fill(ellipse(0, -0.80, 0.42, 0.20), person.hair, 0.6, 0.06, face)
    elif person.style == "bald":
        patch = smooth([(0.455, 0), (0.52, -0.06), (0.535, -0.3), (0.48, -0.5), (0.455, -0.3)], closed=True)
        for side in (-1, 1):
            canvas.fill(mirror(patch, side), person.hair, 0.95, 0.008)
    if left is None:
        return
    puff = PUFF.get(person.style, DEFAULT_PUFF)
    half = np.float64([(0.24, -0.835 - puff), (0.46 + puff, -0.64 - puff), (0.545 + puff, -0.3), (0.505 + puff, 0)])
    outer = smooth(np.vstack([mirror(half[::-1], -1), [(0, -0.88 - puff)], half]), steps=8)
    line = np.vstack([mirror(HAIRLINES[left], -1)[::-1], HAIRLINES[right][1:]])
    inner = resample(smooth(line), len(outer))
    shape = np.vstack([outer, inner[::-1]])
    canvas.line(inner, 0.03, person.skin * 0.45, 0.35, 0.02)  # the shadow of the hair on the forehead
    canvas.fill(shape, person.hair)
    if person.style in ("curly", "waves"):
        curled = outer[outer[:, 1] < (-0.2 if person.style == "curly" else 0.1)][::2]
        for point in curled + rng.normal(0, 0.012, curled.shape):
            canvas.fill(ellipse(*point, 0.075, 0.075), person.hair * rng.uniform(0.85, 1.1))
    shine = (outer * 0.55 + inner * 0.45)[8:-8]
    canvas.line(shine, 0.05, person.hair * 1.2 + 14, 0.45, 0.03, canvas.mask(shape))
    _paint_strands(canvas, person, outer, inner, 26, rng)
    if end is not None:
        _paint_locks(canvas, person, end, width, rng)


def _paint_locks(canvas, person, end, width, rng):
    """The hair that falls over the temples and beside the neck, a little waved."""
    places = np.linspace(0, 1, 31)
    wave = np.sin(places * rng.uniform(5, 12) + rng.uniform(0, 6)) * places * rng.uniform(0, 0.025)
    outer = smooth([(0.46, -0.58), (width - 0.06, -0.35), (width, 0), (width + 0.01, end * 0.6), (width - 0.1, end)])
    inner = smooth([(0.42, -0.45), (0.465, -0.2), (0.455, 0.05), (0.44 + 0.02 * end, end * 0.55), (0.48, end)])
    outer, inner = (resample(curve, 31) + wave[:, None] * (1, 0) for curve in (outer, inner))
    for side in (-1, 1):
        canvas.fill(mirror(np.vstack([outer, inner[::-1]]), side), person.hair)
        _paint_strands(canvas, person, mirror(outer, side), mirror(inner, side), 13, rng)


def _paint_strands(canvas, person, outer, inner, count, rng):
    canvas.line(strands(outer, inner, count, rng), 0.009, person.hair * 0.62, 0.5)
    canvas.line(strands(outer, inner, count, rng), 0.009, person.hair * 1.25 + 8, 0.45)


def _paint_glasses(canvas, person):
    gap = person.eye_gap
    rim = ellipse(gap, -0.11, 0.145, 0.105)
    for side in (-1, 1):
        canvas.fill(mirror(rim, side), WHITE, 0.10)
    bridge = smooth([(-gap + 0.14, -0.12), (0, -0.145), (gap - 0.14, -0.12)])
    temples = both([(gap + 0.145, -0.13), (0.49, -0.15)])
    canvas.line(both(np.vstack([rim, rim[:1]])) + temples + [bridge], 0.017, person.brow * 0.4, 0.95)


def paint_backdrop(size, rng):
    """A wall out of focus: BGR uint8 (height, width, 3) for `size` = (width, height)."""
    wall = np.float64(WALLS[rng.integers(len(WALLS))])
    corners = wall * rng.uniform(0.7, 1.12, (2, 2, 1)) + rng.normal(0, 7, (2, 2, 3))
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
