"""Draw a face of a given age and gender with nothing but shapes, shading and a seed.

    person = draw_person(age=34, gender=FEMALE, rng=np.random.default_rng(7))
    image = paint_crop(person, size=230, rng=np.random.default_rng(8))   # (230, 230, 3) uint8, BGR

`draw_person` makes every choice of looks, `paint_*` apply them. Shapes are given in face units: the origin is
the middle of the face, x to the right, y down, and the head is about 1 wide. Colours are BGR in 0..255.
"""

from typing import NamedTuple

import cv2
import numpy as np

from canvas import Canvas, both, ellipse, mirrored, smooth, symmetric

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

# Where the hair begins, from the crown's middle to the right temple; the left half is its mirror image.
HAIRLINES = {
    "short": ((0, -0.58), (0.25, -0.55), (0.41, -0.46), (0.46, -0.27), (0.47, -0.06)),
    "fringe": ((0, -0.37), (0.22, -0.365), (0.41, -0.34), (0.46, -0.22), (0.46, 0.02)),
    "centre": ((0, -0.69), (0.17, -0.60), (0.39, -0.42), (0.47, -0.20), (0.47, 0.06)),
    "receding": ((0, -0.60), (0.16, -0.67), (0.33, -0.68), (0.43, -0.50), (0.475, -0.30), (0.48, -0.04)),
}
STYLES = {  # hairline, how far the hair stands off the head, where it ends behind the head, its half width there
    "long": ("centre", 0.035, 1.05, 0.66),
    "long fringe": ("fringe", 0.035, 1.0, 0.66),
    "bob": ("fringe", 0.035, 0.40, 0.63),
    "pigtails": ("fringe", 0.035, None, None),
    "bun": ("centre", -0.01, None, None),
    "short": ("short", 0.01, None, None),
    "receding": ("receding", -0.02, None, None),
    "bald": (None, 0, None, None),
    "baby": (None, 0, None, None),
}


class Person(NamedTuple):
    """All that is random about a face. Colours are BGR float64 (3,)."""

    age: int
    is_male: bool
    childhood: float  # 1 for a newborn, 0 from the age of 17
    wear: float  # 0 until 20, 1 from 90: lines, bags, sagging
    skin: np.ndarray
    hair: np.ndarray
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
    seed: int  # of lines and spots


def mix(first, second, share):
    """The colour `share` of the way from `first` to `second`."""
    return np.asarray(first, np.float64) * (1 - share) + np.asarray(second, np.float64) * share


def ramp(age, start, end):
    """0 at the age `start`, 1 at `end`, straight between them."""
    return float(np.clip((age - start) / (end - start), 0, 1))


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
    skin = SKINS[tone] * rng.uniform(0.95, 1.03)
    natural = HAIRS[rng.integers(len(HAIRS) if tone < LIGHT_SKINS else DARK_HAIRS)] * rng.uniform(0.85, 1.15)
    lipstick = rng.uniform(0.5, 0.85) if age > 15 and not is_male else 0.05
    beards = [0.35, 0.25, 0.12, 0.28] if is_male and age >= 19 else [1, 0, 0, 0]
    return Person(
        age=age,
        is_male=is_male,
        childhood=childhood,
        wear=ramp(age, 20, 90),
        skin=skin,
        hair=mix(natural, GREY, ramp(age + rng.normal(0, 5), 38, 72)),
        iris=IRISES[rng.integers(len(IRISES))],
        lips=mix(mix(skin * 0.78, (90, 80, 190), 0.25), (90, 70, 195), lipstick),
        clothes=CLOTHES[rng.integers(len(CLOTHES))] * rng.uniform(0.8, 1.1),
        style=_draw_style(age, is_male, rng),
        beard=str(rng.choice(["none", "stubble", "moustache", "full"], p=beards)),
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
        thin = ["receding"] if age <= 50 else ["receding", "bald"]
        return str(rng.choice(thin)) if rng.random() < 0.9 * ramp(age, 28, 85) else "short"
    if age < 11:
        return str(rng.choice(["pigtails", "pigtails", "long fringe", "bob"]))
    return str(rng.choice(["bun", "bob"] if rng.random() < 0.8 * ramp(age, 45, 80) else ["long", "long fringe", "bob"]))


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
    canvas.fill(outline, person.skin)
    _paint_shading(canvas, person, outline, face)
    _paint_wear(canvas, person, face)
    _paint_beard(canvas, person, face)
    _paint_nose(canvas, person)
    _paint_mouth(canvas, person, face)
    for side in (-1, 1):
        _paint_eye(canvas, person, side)
    _paint_hair(canvas, person, face)
    if person.has_glasses:
        rim, gap = ellipse(person.eye_gap, -0.11, 0.145, 0.105), person.eye_gap
        bridge = smooth([(-gap + 0.14, -0.12), (0, -0.145), (gap - 0.14, -0.12)])
        temples = both([(gap + 0.145, -0.13), (0.49, -0.15)])
        canvas.line([*both(np.vstack([rim, rim[:1]])), *temples, bridge], 0.017, INK, 0.95)


def head_outline(person):
    """The head without hair, from the crown round the chin and back: (n, 2), the right half first."""
    child, jaw, sag = person.childhood, person.jaw, person.wear
    cheek = ((0.435 + 0.02 * sag) * jaw + 0.06 * child, 0.23)
    corner = ((0.32 + 0.03 * sag) * jaw + 0.045 * child, 0.41 - 0.01 * child)
    chin = [(0.16 * jaw + 0.01 * child, 0.525 - 0.025 * child), (0, 0.55 - 0.03 * child)]
    temple = [(0.475 + 0.015 * child, -0.25), (0.475 + 0.03 * child, 0)]
    return symmetric([(0, -0.80), (0.25, -0.755), (0.42, -0.56), *temple, cheek, corner, *chin])


def _paint_body(canvas, person):
    """What is behind the face: hair that falls behind the head, neck, clothes, ears."""
    child, skin, (_, _, end, width) = person.childhood, person.skin, STYLES[person.style]
    if end is not None:
        canvas.fill(
            mirrored(
                smooth([(0, -0.86), (0.38, -0.76), (width - 0.08, -0.4), (width, 0), (width - 0.1, end), (0, end)])
            ),
            person.hair * 0.72,
        )
    elif person.style == "bun":
        canvas.fill(ellipse(0, -0.93, 0.2, 0.17), person.hair * 0.72)
    elif person.style == "pigtails":
        canvas.fill(both(ellipse(0.65, 0.15, 0.12, 0.4, -8)), person.hair * 0.72)
    neck = 0.235 + (0.05 if person.is_male else 0) * (1 - child) - 0.045 * child
    arm = (1.02 if person.is_male else 0.88) - 0.28 * child
    canvas.fill(mirrored([(neck, 0.2), (neck + 0.03, 0.8), (0.3, 1.2)]), skin * 0.88)
    canvas.fill(ellipse(0, 0.57, neck + 0.02, 0.16), skin * 0.5, 0.45, 0.04)
    shoulder = smooth([(0.15, 0.90), (neck + 0.02, 0.70), (0.48, 0.78), (arm, 1.15), (arm + 0.12, 2), (arm + 0.15, 6)])
    canvas.fill(mirrored([(0, 0.98), *shoulder]), person.clothes)
    canvas.fill(both(ellipse(0.49 + 0.03 * child, 0, 0.055, 0.115 + 0.02 * person.wear, 8)), skin * 0.9)


def _paint_shading(canvas, person, outline, face):
    """Light and shade that make the head round, and what dlib's detector goes by: eye sockets and cheeks."""
    dark, light = mix(person.skin * 0.55, (40, 40, 110), 0.15), mix(person.skin, WHITE, 0.45)
    canvas.line(np.vstack([outline, outline[:1]]), 0.10, dark, 0.50, 0.045, face)
    away_from_light = (outline[: len(outline) // 2] + (0.22, 0)) * (np.sign(person.light), 1)
    canvas.fill(away_from_light, dark, abs(person.light), 0.08, face)
    canvas.fill(ellipse(0, -0.46, 0.26, 0.11), light, 0.40, 0.07, face)
    canvas.fill(ellipse(0, 0.455, 0.10, 0.045), light, 0.30, 0.03, face)
    rosy, blush = mix(person.skin, (90, 80, 225), 0.6), 0.16 + 0.22 * person.childhood
    hollow = (0.05 + 0.25 * person.wear + 0.08 * person.is_male) * (1 - person.childhood)
    canvas.fill(both(ellipse(person.eye_gap, -0.155, 0.135, 0.075)), dark, 0.40, 0.035, face)
    canvas.fill(both(ellipse(0.27, 0.1, 0.10, 0.07, -20)), light, 0.32, 0.04, face)
    canvas.fill(both(ellipse(0.30, 0.15, 0.11, 0.08)), rosy, blush, 0.045, face)
    canvas.fill(both(ellipse(0.33, 0.27, 0.06, 0.14, 25)), dark, hollow, 0.04, face)


def _paint_wear(canvas, person, face):
    """Lines, bags and spots; they begin at 20 and deepen steadily."""
    rng, dark = np.random.default_rng(person.seed), mix(person.skin * 0.48, (40, 45, 95), 0.2)
    wear, gap, depth = person.wear, person.eye_gap, min(1.0, 0.15 + person.wear) if person.wear > 0 else 0.0
    heights = -0.33 - 0.06 * np.arange(round(4.4 * wear)) + rng.uniform(-0.01, 0.01, round(4.4 * wear))
    forehead = [smooth([(-0.25, y + 0.018), (-0.13, y), (0.13, y), (0.25, y + 0.018)]) for y in heights]
    canvas.line(forehead, 0.014, dark, depth * 0.75, 0.006, face)
    start, crows_feet = np.float64((gap + 0.125, -0.12)), []
    for angle in np.radians([-28, 0, 28])[: round(3 * ramp(person.age, 25, 55))]:
        crows_feet += both([start, start + (0.05 + 0.06 * wear) * np.float64((np.cos(angle), np.sin(angle)))])
    canvas.line(crows_feet, 0.011, dark, depth * 0.7, 0.005, face)
    fold = smooth([(0.095, 0.09), (0.16, 0.17), (0.205, 0.27), (0.20, 0.34 + 0.04 * wear)])  # from nose to mouth
    canvas.line(both(fold), 0.022, dark, depth * 0.8 * ramp(person.age, 18, 60), 0.010, face)
    bag = smooth([(gap - 0.085, -0.07), (gap - 0.02, -0.035 + 0.015 * wear), (gap + 0.06, -0.05)])
    canvas.line(both(bag), 0.018, dark, depth * 0.75, 0.008, face)
    if wear > 0.42:  # from about 50: beside the chin, between the brows, on the neck
        canvas.line(both(smooth([(0.175, 0.34), (0.20, 0.40), (0.19, 0.46)])), 0.018, dark, wear * 0.6, 0.008, face)
        canvas.line(both([(0.03, -0.25), (0.035, -0.18)]), 0.012, dark, wear * 0.6, 0.005, face)
        canvas.line(both(smooth([(0.08, 0.60), (0.1, 0.72), (0.07, 0.85)])), 0.02, dark, wear * 0.35, 0.01)
    for _ in range(round(rng.uniform(5, 10) * ramp(person.age, 55, 85))):
        x, y = rng.uniform(-0.4, 0.4), rng.choice([-0.5, -0.55, 0.1, 0.2]) + rng.uniform(-0.06, 0.06)
        spot = mix(person.skin * 0.6, (50, 80, 120), 0.4)
        canvas.fill(ellipse(x, y, 0.02, 0.016), spot, 0.45, 0.007, face)


def _paint_nose(canvas, person):
    size = 1 - 0.28 * person.childhood + 0.14 * person.wear + (0.05 if person.is_male else -0.04)
    dark, light = mix(person.skin * 0.5, (30, 35, 90), 0.2), mix(person.skin, WHITE, 0.55)
    base = 0.115 - 0.025 * person.childhood
    canvas.fill([np.float64([(0.02, -0.2), (0.05 * size, -0.1), (0.095 * size, base), (0.03, base)])], dark, 0.3, 0.02)
    canvas.fill(ellipse(0, -0.06, 0.018, 0.13), light, 0.45 * (1 - 0.5 * person.childhood), 0.014)
    canvas.fill(ellipse(0, base + 0.025, 0.085 * size, 0.028), dark, 0.45, 0.016)
    wing = smooth([(0.085, base - 0.05), (0.105, base), (0.09, base + 0.025), (0.06, base + 0.02)]) * (size, 1)
    canvas.line(both(wing), 0.014, dark, 0.6, 0.006)
    canvas.fill(both(ellipse(0.045 * size, base + 0.018, 0.024 * size, 0.013, -15)), person.skin * 0.25, 0.85, 0.005)


def _paint_mouth(canvas, person, face):
    lips, y = person.lips, 0.285 - 0.005 * person.childhood
    half = 0.155 + 0.01 * person.is_male - 0.04 * person.childhood
    full = (0.85 if person.is_male else 1.2) * (1 - 0.5 * person.wear) * (1 - 0.1 * person.childhood)
    end, peak = y - person.smile + 0.03 * person.wear, y - 0.042 * full
    middle = smooth([(-half, end), (-half * 0.5, y + 0.004), (half * 0.5, y + 0.004), (half, end)])
    upper = smooth([(half, end), (half * 0.5, peak + 0.012), (0, peak), (-half * 0.5, peak + 0.012), (-half, end)])
    low = y + 0.045 * full
    lower = smooth([(half, end), (half * 0.55, low), (0, y + 0.064 * full), (-half * 0.55, low), (-half, end)])
    canvas.fill(ellipse(0, y + 0.08 + 0.02 * full, half * 0.55, 0.02), person.skin * 0.5, 0.45, 0.016, face)
    canvas.fill(np.vstack([middle, upper]), lips * 0.86, 0.95, 0.004)
    canvas.fill(np.vstack([middle, lower]), lips, 0.95, 0.004)
    canvas.line(middle, 0.013, lips * 0.35, 0.85, 0.003)


def _paint_eye(canvas, person, side):
    """Eye and brow of one side."""
    child, wear, gap = person.childhood, person.wear, person.eye_gap
    y, half, radius = -0.125 + 0.02 * child, 0.097 + 0.016 * child, 0.047 + 0.014 * child
    top, bottom = 0.050 + 0.020 * child - 0.014 * wear, 0.032 + 0.010 * child - 0.004 * wear
    inner, outer, lid = (gap - half, y + 0.012), (gap + half, y + 0.012 * wear), (gap + half * 0.65, y - top * 0.6)
    upper = smooth([inner, (gap - half * 0.45, y - top * 0.8), (gap + half * 0.1, y - top), lid, outer])
    lower = smooth([outer, (gap + half * 0.4, y + bottom), (gap - half * 0.3, y + bottom), inner])
    upper, lower, x = upper * (side, 1), lower * (side, 1), side * gap
    shape = np.vstack([upper, lower])
    eye = canvas.mask(shape)
    canvas.fill(shape, (232, 236, 240))
    for share, colour in ((1, person.iris * 0.45), (0.82, person.iris * 1.1), (0.45, INK * 0.5)):
        canvas.fill(ellipse(x, y - 0.006, radius * share, radius * share), colour, within=eye)
    canvas.line(upper, 0.030, INK, 0.45, 0.010, eye)
    canvas.fill(ellipse(x - 0.014, y - 0.023, 0.013, 0.013), WHITE, 0.95)
    canvas.line(upper, 0.014 if person.is_male or person.age < 16 else 0.024, INK, 0.9, 0.002)
    canvas.line(lower, 0.009, person.skin * 0.45, 0.55, 0.003)
    canvas.line(upper + (0, -0.030 + 0.010 * wear), 0.011, person.skin * 0.45, 0.35 + 0.4 * wear - 0.15 * child, 0.005)
    y = -0.245 - 0.01 * child - (0 if person.is_male else 0.012)
    brow = smooth(
        [(gap - 0.115, y + 0.025), (gap - 0.03, y - 0.008), (gap + 0.05, y - 0.012), (gap + 0.135, y + 0.035)]
    )
    width = (0.055 if person.is_male else 0.03) * (1 - 0.35 * child)
    canvas.line(brow * (side, 1), width, person.hair * 0.75, 0.9 - 0.3 * child, 0.006)


def _paint_beard(canvas, person, face):
    colour = person.hair * 0.9
    if person.beard == "moustache":
        canvas.line(
            smooth([(-0.16, 0.285), (-0.08, 0.225), (0, 0.215), (0.08, 0.225), (0.16, 0.285)]), 0.05, colour, 0.9, 0.008
        )
    elif person.beard != "none":
        cheeks = [(0, 0.185), (0.12, 0.195), (0.25, 0.215), (0.385, 0.14), (0.44, 0.03), (0.49, -0.02)]
        area = symmetric([*cheeks, (0.52, 0.2), (0.44, 0.45), (0.2, 0.62), (0, 0.65)])
        if person.beard == "stubble":
            canvas.fill(area, mix(colour, person.skin * 0.4, 0.5), 0.42, 0.022, face)
        else:
            canvas.fill(area, colour, 0.93, 0.012, face)


def _paint_hair(canvas, person, face):
    """The hair above the forehead, over the temples and beside the neck."""
    line, puff, end, width = STYLES[person.style]
    if person.style == "baby":
        canvas.fill(ellipse(0, -0.80, 0.42, 0.20), person.hair, 0.6, 0.06, face)
    elif person.style == "bald":
        patch = smooth([(0.455, 0), (0.52, -0.06), (0.535, -0.3), (0.48, -0.5), (0.455, -0.3)], closed=True)
        canvas.fill(both(patch), person.hair, 0.95, 0.008)
    if line is None:
        return
    sides = [(0.24, -0.835 - puff), (0.46 + puff, -0.64 - puff), (0.545 + puff, -0.3), (0.505 + puff, 0)]
    inner = smooth(HAIRLINES[line])
    canvas.line(both(inner), 0.03, person.skin * 0.45, 0.35, 0.02)  # the shadow of the hair on the forehead
    outer = smooth([(0, -0.88 - puff), *sides])
    shape = mirrored(outer)
    canvas.fill(np.vstack([shape[: len(outer)], inner[::-1], inner * (-1, 1), shape[len(outer) :]]), person.hair)
    canvas.line(both(outer[4:] * 0.6 + np.float64((0, -0.25))), 0.05, person.hair * 1.2 + 14, 0.3, 0.03)
    if end is not None:
        lock = [(0.46, -0.58), (width - 0.06, -0.35), (width, 0), (width - 0.1, end), (0.48, end), (0.45, 0.05)]
        canvas.fill(both(smooth(lock, closed=True)), person.hair)


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
