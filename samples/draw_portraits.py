"""Draw the portraits of samples/portraits with the shipped model's answers beside their true ages.

    python samples/draw_portraits.py --output docs/portraits.jpg

takes some seconds, and prints how far the answers are off.
"""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the suite's modules lie above this folder

from PIL import Image, ImageDraw, ImageFont

from age_gender import Predictor, cli

PORTRAITS = Path(__file__).resolve().parent / "portraits"
COLUMNS, WIDTH, HEIGHT, CAPTION, GAP = 8, 120, 150, 40, 6  # pictures in a row; pixels


def build_parser():
    """The command line."""
    parser = cli.parser_for(__doc__, "draw_portraits.py [--output FILE]")
    parser.add_argument("--output", **cli.FILE, default=Path("portraits.jpg"), help="the picture")
    return parser


def read_portraits():
    """The rows of portraits.csv, youngest first: path, age in years, gender "F" or "M", subject."""
    with open(PORTRAITS / "portraits.csv", newline="", encoding="utf-8") as file:
        return [
            {**row, "path": PORTRAITS / row["path"], "age": int(row["age"]), "gender": row["gender"].upper()}
            for row in csv.DictReader(file)
        ]


def answers_for(portraits):
    """The largest face of each portrait as the shipped model sees it, or None where no face is found."""
    found = Predictor().many([portrait["path"] for portrait in portraits])
    return [max(faces, key=lambda face: face.box[2] - face.box[0], default=None) for faces in found]


def draw(portraits, answers):
    """All portraits in rows, each with a line for the label and one for the answer: a PIL image."""
    rows = -(-len(portraits) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + CAPTION) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for place, (portrait, face) in enumerate(zip(portraits, answers, strict=True)):
        left, top = GAP + place % COLUMNS * (WIDTH + GAP), GAP + place // COLUMNS * (HEIGHT + CAPTION)
        with Image.open(portrait["path"]) as photo:
            sheet.paste(photo.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), (left, top))
        said = "{:.0f} {} ({}-{})".format(face.age, face.gender, *face.interval) if face else "no face found"
        pen.text((left, top + HEIGHT + 1), f"true: {portrait['age']} {portrait['gender']}", "dimgrey", font)
        pen.text((left, top + HEIGHT + 17), said, "black", font)
    return sheet


def in_words(portraits, answers):
    """How far the answers are off, in one sentence."""
    pairs = [(portrait, face) for portrait, face in zip(portraits, answers, strict=True) if face is not None]
    error = sum(abs(face.age - portrait["age"]) for portrait, face in pairs) / len(pairs)
    genders = sum(face.gender == portrait["gender"] for portrait, face in pairs)
    inside = sum(face.interval[0] <= portrait["age"] <= face.interval[1] for portrait, face in pairs)
    return (
        f"{len(pairs)} of {len(portraits)} faces found; ages off by {error:.1f} years on average, "
        f"{inside} within their interval, {genders} genders as labelled."
    )


def main(argv=None):
    """Read, predict, draw, and say how far the answers are off."""
    args = build_parser().parse_args(argv)
    portraits = read_portraits()
    answers = answers_for(portraits)
    draw(portraits, answers).save(args.output, quality=88)
    print(f"Wrote {args.output}. {in_words(portraits, answers)}")


if __name__ == "__main__":
    cli.run(main)
