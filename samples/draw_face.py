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
BOX_WIDTH, BOX_MIDDLE = .952, .085

SKINS = ((174, 201, 240), (162, 192, 236), (150, 182, 232), (124, 162, 216), (94, 134, 192), (68, 102, 158),
         (52, 78, 122))
HAIRS = ((28, 26, 28), (32, 40, 58), (38, 58, 92), (52, 84, 128), (104, 160, 206), (44, 86, 158))
LIGHT_SKINS, DARK_HAIRS = 4, 3  # skins after the first so many have one of the first so many hair colours
IRISES = ((34, 52, 84), (48, 80, 110), (92, 120, 82), (160, 122, 70), (128, 112, 98))
CLOTHES = ((120, 70, 50), (60, 60, 170), (90, 130, 60), (170, 150, 130), (60, 50, 45), (70, 160, 210),
           (225, 220, 215), (150, 80, 130))
WALLS = ((196, 186, 172), (178, 196, 206), (150, 170, 186), (188, 204, 190), (150, 130, 110), (206, 190, 196),
         (120, 124, 130), (214, 214, 210), (164, 186, 222), (140, 160, 130))
WHITE, GREY, INK = np.float64((255, 255, 255)), np.float64((208, 204, 202)), np.float64((28, 26, 32))
LASHES = np.float64([(.024, -.028), (.032, -.025), (.038, -.022)])  # from root to tip

# Where the hair begins, from the crown's middle to the right temple; the left half is its mirror image.
HAIRLINES = {
    "short": ((0, -.58), (.25, -.55), (.41, -.46), (.46, -.27), (.47, -.06)),
    "fringe": ((0, -.37), (.22, -.365), (.41, -.34), (.46, -.22), (.46, .02)),
    "centre": ((0, -.69), (.17, -.60), (.39, -.42), (.47, -.20), (.47, .06)),
    "parted": ((.05, -.51), (.22, -.60), (.36, -.52), (.45, -.28), (.47, -.04)),
    "swept": ((-.02, -.48), (.28, -.43), (.42, -.38), (.46, -.26), (.47, -.04)),
    "receding": ((0, -.60), (.16, -.67), (.33, -.68), (.43, -.50), (.475, -.30), (.48, -.04)),
}
STYLES = {  # hairline on the left and on the right, where the hair behind the head ends, its half width
    "long": ("centre", "centre", 1.05, .66), "long side": ("swept", "parted", .95, .68),
    "long fringe": ("fringe", "fringe", 1.0, .66), "bob": ("swept", "parted", .42, .64),
    "bob fringe": ("fringe", "fringe", .38, .62), "waves": ("centre", "centre", .30, .70),
    "pigtails": ("fringe", "fringe", None, None), "bun": ("centre", "centre", None, None),
    "short": ("short", "short", None, None), "side": ("swept", "parted", None, None),
    "curly": ("short", "short", None, None), "receding": ("receding", "receding", None, None),
    "bald": (None, None, None, None), "baby": (None, None, None, None),
}
# How far the hair stands off the head, for the styles where that is not DEFAULT_PUFF.
PUFF = {"short": 0, "side": .015, "receding": -.02, "bun": -.01, "curly": .04}
DEFAULT_PUFF = .035


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
    skin = np.float64(SKINS[tone]) * rng.uniform(.95, 1.03)
    natural = np.float64(HAIRS[rng.integers(len(HAIRS) if tone < LIGHT_SKINS else DARK_HAIRS)])
    natural = natural * rng.uniform(.85, 1.15)
    greyness = ramp(age + rng.normal(0, 5), 38, 72)
    lipstick = mix((70, 50, 190), (110, 90, 200), rng.random())
    lipstick_share = rng.uniform(.5, .85) if age > 15 and not is_male else .05
    beards = ["none", "stubble", "moustache", "full"]
    return Person(
        age=age, is_male=is_male, childhood=childhood, wear=ramp(age, 20, 90), skin=skin,
        hair=mix(natural, GREY, greyness), brow=mix(mix(natural, (40, 40, 40), .3), GREY, greyness * .8),
        iris=np.float64(IRISES[rng.integers(len(IRISES))]),
        lips=mix(mix(skin * .78, (90, 80, 190), .25), lipstick, lipstick_share),
        clothes=np.float64(CLOTHES[rng.integers(len(CLOTHES))]) * rng.uniform(.8, 1.1),
        style=_draw_style(age, is_male, rng),
        beard=pick(rng, beards, [.35, .25, .12, .28]) if is_male and age >= 19 else "none",
        has_glasses=bool(rng.random() < .08 * ramp(age, 4, 8) + .3 * ramp(age, 35, 70)),
        jaw=rng.normal(1, .02) + (.07 if is_male else -.05) * (1 - childhood),
        smile=rng.uniform(0, .045), eye_gap=rng.normal(.2, .006),
        roll=float(np.clip(rng.normal(0, 3.5), -8, 8)), light=rng.uniform(-.35, .35),
        seed=int(rng.integers(2**31)))


def _draw_style(age, is_male, rng):
    if age <= 1:
        return "baby"
    if is_male:
        if rng.random() < .9 * ramp(age, 28, 85):
            return pick(rng, ["receding", "bald"], [.55, .45] if age > 50 else [.85, .15])
        return pick(rng, ["short", "side", "curly"], [.4, .4, .2])
    if age < 11:
        return pick(rng, ["pigtails", "long fringe", "long", "bob fringe"], [.4, .25, .2, .15])
    if rng.random() < .8 * ramp(age, 45, 80):
        return pick(rng, ["waves", "bun", "bob"], [.5, .2, .3])
    return pick(rng, ["long", "long side", "long fringe", "bob", "bob fringe", "waves", "bun"],
                [.25, .2, .15, .12, .08, .1, .1])


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
    half = np.float64([
        (0, -.80), (.25, -.755), (.42, -.56), (.475 + .015 * child, -.25), (.475 + .03 * child, 0),
        ((.435 + .02 * sag) * jaw + .06 * child, .23),
        ((.32 + .03 * sag) * jaw + .045 * child, .41 - .01 * child),
        (.16 * jaw + .01 * child, .525 - .025 * child), (0, .55 - .03 * child)])
    return smooth(np.vstack([half, mirror(half[-2:0:-1], -1)]), closed=True)


def _paint_body(canvas, person):
    child, skin, clothes = person.childhood, person.skin, person.clothes
    neck = .235 + (.05 if person.is_male else 0) * (1 - child) - .045 * child
    arm = (1.02 if person.is_male else .88) - .28 * child
    throat = np.float64([(neck, .2), (neck + .03, .8), (.3, 1.2)])
    canvas.fill(np.vstack([throat, mirror(throat[::-1], -1)]), skin * .88)
    canvas.fill(ellipse(0, .57, neck + .02, .16), skin * .5, .45, .04)
    half = smooth([(.15, .90), (neck + .02, .70), (.48, .78), (arm - .12, .90), (arm, 1.15), (arm + .12, 2),
                   (arm + .15, 6)])
    canvas.fill(np.vstack([[(0, .98)], half, mirror(half[::-1], -1)]), clothes)
    canvas.line(both(smooth([(0, .98), (.15, .90), (neck + .02, .70)])), .03, clothes * .7)
    canvas.line(both(smooth([(arm - .25, 1.3), (arm - .2, 2), (arm - .2, 6)])), .03, clothes * .6, .6, .02)
    ear = ellipse(.49 + .03 * child, 0, .055, .115 + .02 * person.wear, 8)
    for side in (-1, 1):
        canvas.fill(mirror(ear, side), skin * .93)
    canvas.line(both(np.roll(ear, 12, axis=0)[:22]), .015, skin * .6, .5, .006)


def _paint_shading(canvas, person, outline, face):
    """Light and shade that make the head round, and what dlib's detector goes by: eye sockets and cheeks."""
    dark, light = mix(person.skin * .55, (40, 40, 110), .15), mix(person.skin, WHITE, .45)
    canvas.line(np.vstack([outline, outline[:1]]), .10, dark, .50, .045, face)
    away_from_light = outline[:len(outline) // 2] + (.22, 0)
    canvas.fill(mirror(away_from_light, np.sign(person.light)), dark, abs(person.light), .08, face)
    canvas.fill(ellipse(0, -.46, .26, .11), light, .40, .07, face)
    canvas.fill(ellipse(0, .455, .10, .045), light, .30, .03, face)
    rosy, blush = mix(person.skin, (90, 80, 225), .6), .16 + .22 * person.childhood
    hollow = (.05 + .25 * person.wear + .08 * person.is_male) * (1 - person.childhood)
    for side in (-1, 1):
        canvas.fill(ellipse(side * person.eye_gap, -.155, .135, .075), dark, .40, .035, face)
        canvas.fill(ellipse(side * .27, .1, .10, .07, -20 * side), light, .32, .04, face)
        canvas.fill(ellipse(side * .30, .15, .11, .08), rosy, blush, .045, face)
        canvas.fill(ellipse(side * .33, .27, .06, .14, 25 * side), dark, hollow, .04, face)


def _paint_wear(canvas, person, face, rng):
    """Lines, bags and spots; they begin at 20 and deepen steadily."""
    dark, wear, gap = mix(person.skin * .48, (40, 45, 95), .2), person.wear, person.eye_gap
    depth = min(1.0, .15 + wear) if wear > 0 else 0.0
    forehead, crows_feet = [], []
    for index in range(round(4.4 * wear)):
        y, bend = -.33 - .06 * index, rng.uniform(-.01, .012)
        end = .26 - .02 * index + rng.uniform(-.03, .02)
        half = np.float64([(0, y + .008), (.13, y - bend), (end, y + .018)])
        forehead.append(smooth(np.vstack([mirror(half[::-1], -1), half[1:]])))
    for angle in np.radians([-28, 0, 28])[:round(3 * ramp(person.age, 25, 55))]:
        start, length = np.float64((gap + .125, -.12)), .05 + .06 * wear
        crows_feet += both([start, start + length * np.float64((np.cos(angle), np.sin(angle)))])
    canvas.line(forehead, .014, dark, depth * .75, .006, face)
    canvas.line(crows_feet, .011, dark, depth * .7, .005, face)
    fold = smooth([(.095, .09), (.16, .17), (.205, .27), (.20, .34 + .04 * wear)])  # from nose to mouth
    canvas.line(both(fold), .022, dark, depth * .8 * ramp(person.age, 18, 60), .010, face)
    bag = smooth([(gap - .085, -.07), (gap - .02, -.035 + .015 * wear), (gap + .06, -.05)])
    canvas.line(both(bag), .018, dark, depth * .75, .008, face)
    if wear > .42:  # from about 50: beside the chin, between the brows, on the neck
        canvas.line(both(smooth([(.175, .34), (.20, .40), (.19, .46)])), .018, dark, wear * .6, .008, face)
        canvas.line(both([(.03, -.25), (.035, -.18)]), .012, dark, wear * .6, .005, face)
        canvas.line(both(smooth([(.08, .60), (.1, .72), (.07, .85)])), .02, dark, wear * .35, .01)
    if wear > .6:  # from about 62: above the lip
        above_lip = [np.float64([(x, .215), (x * .93, .25)]) for x in (-.12, -.08, -.03, .03, .08, .12)]
        canvas.line(above_lip, .01, dark, wear * .4, .004, face)
    for _ in range(round(rng.uniform(5, 10) * ramp(person.age, 55, 85))):
        x, y = rng.uniform(-.4, .4), pick(rng, [-.5, -.55, .1, .2]) + rng.uniform(-.06, .06)
        radius = rng.uniform(.010, .022)
        brown = mix(person.skin * .6, (50, 80, 120), .4)
        canvas.fill(ellipse(x, y, radius * 1.3, radius), brown, .45, .007, face)


def _paint_nose(canvas, person):
    size = 1 - .28 * person.childhood + .14 * person.wear + (.05 if person.is_male else -.04)
    dark, light = mix(person.skin * .5, (30, 35, 90), .2), mix(person.skin, WHITE, .55)
    base = .115 - .025 * person.childhood
    canvas.fill([(.02, -.2), (.05 * size, -.1), (.095 * size, base), (.03, base)], dark, .32, .02)
    canvas.fill([(-.03, -.2), (-.05 * size, -.1), (-.09 * size, base), (-.05, base)], dark, .16, .02)
    canvas.fill(ellipse(0, -.06, .018, .13), light, .45 * (1 - .5 * person.childhood), .014)
    canvas.fill(ellipse(0, base + .025, .085 * size, .028), dark, .45, .016)
    canvas.fill(ellipse(-.008, base - .03, .03 * size, .026), light, .55, .012)
    wing = smooth([(.085, base - .05), (.105, base), (.09, base + .025), (.06, base + .02)]) * (size, 1)
    canvas.line(both(wing), .014, dark, .6, .006)
    nostril = ellipse(.045 * size, base + .018, .024 * size, .013, -15)
    for side in (-1, 1):
        canvas.fill(mirror(nostril, side), person.skin * .25, .85, .005)


def _paint_mouth(canvas, person, face):
    lips, y = person.lips, .285 - .005 * person.childhood
    half = .155 + .01 * person.is_male - .04 * person.childhood
    full = (.85 if person.is_male else 1.2) * (1 - .5 * person.wear) * (1 - .1 * person.childhood)
    corner, peak = (half, y - person.smile + .03 * person.wear), y - .042 * full
    middle = smooth([mirror(corner, -1), (-half * .5, y + .004), (half * .5, y + .004), corner])
    upper = smooth([corner, (half * .55, peak + .012), (.035, peak), (0, peak + .012), (-.035, peak),
                    (-half * .55, peak + .012), mirror(corner, -1)])
    lower = smooth([corner, (half * .55, y + .045 * full), (0, y + .064 * full),
                    (-half * .55, y + .045 * full), mirror(corner, -1)])
    canvas.fill(ellipse(0, y + .08 + .02 * full, half * .55, .02), person.skin * .5, .45, .016, face)
    canvas.fill(np.vstack([middle, upper]), lips * .86, .95, .004)
    canvas.fill(np.vstack([middle, lower]), lips, .95, .004)
    canvas.fill(ellipse(0, y + .036 * full, half * .35, .010), mix(lips, WHITE, .5), .6, .008)
    canvas.line(middle, .013, lips * .35, .85, .003)
    for side in (-1, 1):
        canvas.fill(ellipse(side * (half + .01), corner[1], .02, .02), person.skin * .5, .35, .012, face)


def _paint_eye(canvas, person, side):
    child, wear, gap = person.childhood, person.wear, person.eye_gap
    y, half, radius = -.125 + .02 * child, .097 + .016 * child, .047 + .014 * child
    top, bottom = .050 + .020 * child - .014 * wear, .032 + .010 * child - .004 * wear
    upper = smooth([(gap - half, y + .012), (gap - half * .45, y - top * .8), (gap + half * .1, y - top),
                    (gap + half * .65, y - top * .6 + .008 * wear), (gap + half, y + .012 * wear)])
    lower = smooth([(gap + half, y + .012 * wear), (gap + half * .4, y + bottom),
                    (gap - half * .3, y + bottom), (gap - half, y + .012)])
    shape, x = mirror(np.vstack([upper, lower]), side), side * gap
    eye = canvas.mask(shape)
    canvas.fill(shape, (232, 236, 240))
    for share, colour in ((1, person.iris * .45), (.82, person.iris * 1.1), (.45, INK * .5)):
        canvas.fill(ellipse(x, y - .006, radius * share, radius * share), colour, within=eye)
    canvas.line(mirror(upper, side), .030, INK, .45, .010, eye)
    canvas.fill(ellipse(x - .014, y - .023, .013, .013), WHITE, .95)
    canvas.line(mirror(upper, side), .014 if person.is_male or person.age < 16 else .020, INK, .9, .002)
    if not person.is_male:
        roots = upper[[13, 18, 23]]  # three of the lid's 25 points, in its outer half
        lashes = [mirror([root, root + tip], side) for root, tip in zip(roots, LASHES, strict=True)]
        canvas.line(lashes, .009, INK, .8)
    canvas.line(mirror(lower, side), .009, person.skin * .45, .55, .003)
    crease = mirror(upper + (0, -.030 + .010 * wear), side)
    canvas.line(crease, .011, person.skin * .45, .35 + .4 * wear - .15 * child, .005)


def _paint_brow(canvas, person, side, rng):
    thickness = (.030 if person.is_male else .017) * (1 - .35 * person.childhood)
    lift = .01 * person.childhood + (0 if person.is_male else .012) + rng.uniform(-.008, .008)
    x, y = person.eye_gap, -.245 - lift
    spine = smooth([(x - .115, y + .025), (x - .03, y - .008), (x + .05, y - .012),
                    (x + .135, y + .03 + .015 * person.wear)])
    taper = np.interp(np.linspace(0, 1, len(spine)), (0, .35, 1), (.75, 1, .2))[:, None] * (0, thickness)
    shape = np.vstack([spine - taper, (spine + taper)[::-1]])
    canvas.fill(mirror(shape, side), person.brow, .9 - .3 * person.childhood, .006)


def _paint_beard(canvas, person, outline, face, rng):
    colour = person.hair * .9
    if person.beard == "moustache":
        lip = smooth([(-.17, .30), (-.12, .215), (0, .19), (.12, .215), (.17, .30)])
        below = smooth([(.17, .31), (.08, .245), (0, .24), (-.08, .245), (-.17, .31)])
        canvas.fill(np.vstack([lip, below]), colour, .9, .008)
    if person.beard in ("none", "moustache"):
        return
    half = np.float64([(0, .185), (.12, .195), (.25, .215), (.385, .14), (.44, .03), (.49, -.02), (.52, .2),
                       (.44, .45), (.2, .62), (0, .65)])
    area = smooth(np.vstack([half, mirror(half[-2:0:-1], -1)]), closed=True)
    if person.beard == "stubble":
        canvas.fill(area, mix(colour, person.skin * .4, .5), .42, .022, face)
        return
    canvas.fill(area, colour, .93, .012, face)
    chin = outline[outline[:, 1] > .25]
    canvas.line(smooth(chin[np.argsort(chin[:, 0])][::3]), .06, colour, .95, .008)
    roots = rng.uniform((-.42, .2), (.42, .53), (90, 2))
    for hairs, shade in ((roots[:45], .6), (roots[45:], 1.35)):
        hairs = [np.stack([root, root * (1.03, 1) + (0, .055)]) for root in hairs]
        canvas.line(hairs, .008, colour * shade, .35, 0, face)


def _paint_hair_behind(canvas, person):
    _, _, end, width = STYLES[person.style]
    dark = person.hair * .72
    if person.style == "bun":
        canvas.fill(ellipse(0, -.93, .2, .17), dark)
    if person.style == "pigtails":
        tail = smooth([(.48, -.2), (.66, -.22), (.78, .05), (.74, .42), (.62, .6), (.58, .3)], closed=True)
        for side in (-1, 1):
            canvas.fill(mirror(tail, side), dark)
        for x in (.62, .67, .72):
            canvas.line(both(smooth([(.56, -.16), (x, .05), (x - .03, .45)])), .012, person.hair * 1.2, .5)
        for side in (-1, 1):
            canvas.fill(ellipse(side * .535, -.2, .05, .055), person.clothes)
    if end is not None:
        half = smooth([(0, -.86), (.38, -.76), (width - .08, -.4), (width, 0), (width + .02, end * .6),
                       (width - .1, end), (0, end)])
        canvas.fill(np.vstack([half, mirror(half[::-1], -1)]), dark)


def _paint_hair_in_front(canvas, person, face, rng):
    left, right, end, width = STYLES[person.style]
    if person.style == "baby":
        canvas.fill(ellipse(0, -.80, .42, .20), person.hair, .6, .06, face)
    elif person.style == "bald":
        patch = smooth([(.455, 0), (.52, -.06), (.535, -.3), (.48, -.5), (.455, -.3)], closed=True)
        for side in (-1, 1):
            canvas.fill(mirror(patch, side), person.hair, .95, .008)
    if left is None:
        return
    puff = PUFF.get(person.style, DEFAULT_PUFF)
    half = np.float64([(.24, -.835 - puff), (.46 + puff, -.64 - puff), (.545 + puff, -.3), (.505 + puff, 0)])
    outer = smooth(np.vstack([mirror(half[::-1], -1), [(0, -.88 - puff)], half]), steps=8)
    line = np.vstack([mirror(HAIRLINES[left], -1)[::-1], HAIRLINES[right][1:]])
    inner = resample(smooth(line), len(outer))
    shape = np.vstack([outer, inner[::-1]])
    canvas.line(inner, .03, person.skin * .45, .35, .02)  # the shadow of the hair on the forehead
    canvas.fill(shape, person.hair)
    if person.style in ("curly", "waves"):
        curled = outer[outer[:, 1] < (-.2 if person.style == "curly" else .1)][::2]
        for point in curled + rng.normal(0, .012, curled.shape):
            canvas.fill(ellipse(*point, .075, .075), person.hair * rng.uniform(.85, 1.1))
    shine = (outer * .55 + inner * .45)[8:-8]
    canvas.line(shine, .05, person.hair * 1.2 + 14, .45, .03, canvas.mask(shape))
    _paint_strands(canvas, person, outer, inner, 26, rng)
    if end is not None:
        _paint_locks(canvas, person, end, width, rng)


def _paint_locks(canvas, person, end, width, rng):
    """The hair that falls over the temples and beside the neck, a little waved."""
    places = np.linspace(0, 1, 31)
    wave = np.sin(places * rng.uniform(5, 12) + rng.uniform(0, 6)) * places * rng.uniform(0, .025)
    outer = smooth([(.46, -.58), (width - .06, -.35), (width, 0), (width + .01, end * .6), (width - .1, end)])
    inner = smooth([(.42, -.45), (.465, -.2), (.455, .05), (.44 + .02 * end, end * .55), (.48, end)])
    outer, inner = (resample(curve, 31) + wave[:, None] * (1, 0) for curve in (outer, inner))
    for side in (-1, 1):
        canvas.fill(mirror(np.vstack([outer, inner[::-1]]), side), person.hair)
        _paint_strands(canvas, person, mirror(outer, side), mirror(inner, side), 13, rng)


def _paint_strands(canvas, person, outer, inner, count, rng):
    canvas.line(strands(outer, inner, count, rng), .009, person.hair * .62, .5)
    canvas.line(strands(outer, inner, count, rng), .009, person.hair * 1.25 + 8, .45)


def _paint_glasses(canvas, person):
    gap = person.eye_gap
    rim = ellipse(gap, -.11, .145, .105)
    for side in (-1, 1):
        canvas.fill(mirror(rim, side), WHITE, .10)
    bridge = smooth([(-gap + .14, -.12), (0, -.145), (gap - .14, -.12)])
    temples = both([(gap + .145, -.13), (.49, -.15)])
    canvas.line(both(np.vstack([rim, rim[:1]])) + temples + [bridge], .017, person.brow * .4, .95)


def paint_backdrop(size, rng):
    """A wall out of focus: BGR uint8 (height, width, 3) for `size` = (width, height)."""
    wall = np.float64(WALLS[rng.integers(len(WALLS))])
    corners = wall * rng.uniform(.7, 1.12, (2, 2, 1)) + rng.normal(0, 7, (2, 2, 3))
    small = cv2.resize(corners.astype(np.float32), (32, 32), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(2, 7)):
        x, y, radius = (int(value) for value in rng.integers((0, 0, 2), (32, 32, 8)))
        colour = small[y, x] * rng.uniform(.8, 1.15) + rng.normal(0, 6, 3)
        cv2.circle(small, (x, y), radius, colour.tolist(), -1, cv2.LINE_AA)
    small = cv2.GaussianBlur(small, (0, 0), 1.2)
    return np.clip(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), 0, 255).astype(np.uint8)


def develop(image, rng):
    """Average a painting down by SUPERSAMPLE; add light from one side, blur and noise: BGR uint8."""
    width, height = image.shape[1] // SUPERSAMPLE, image.shape[0] // SUPERSAMPLE
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    sigma = rng.uniform(0, .8)
    if sigma > .3:  # less is not to be seen
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    corners = rng.uniform(.92, 1.06) + rng.uniform(-.12, .12, (2, 2))
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
