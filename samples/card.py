"""Prints the model card's tables of people kept apart: a model beside an earlier one, on the faces that teach.py kept
for the test.

    python samples/card.py --weight_file checkpoints/age_gender.hdf5 --before earlier.hdf5 \
        --input data/utkface_128_db.mat data/aaf_db.mat --whole data/portraits_db.mat
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the suite's modules lie above this folder

import numpy as np
import pandas as pd
from tabulate import tabulate

import teach
from age_gender import cli
from age_gender.intervals import UNSURE_BELOW
from age_gender.labels import FEMALE, MALE, UNKNOWN, YEARS, expected_age
from evaluation.metrics import compare, score
from evaluation.scoring import calibrated, outcomes_of
from evaluation.tables import with_interval
from networks import open_model, predict_rows
from utils import ImageStack, open_database

SURE = 0.95
NEARLY = 0.92, 0.97  # what stands for "95% sure"
LEAST_FACES = 20  # that a share of a decade is said of
GROUPS = ((0, 2), (3, 7), (8, 12), (13, 19), (20, 36), (37, 65), (66, 100))  # years, of Images of Groups


def main(argv: list[str] | None = None) -> None:
    """Ask both models of every dataset, and print one table after the other."""
    parser = cli.parser_for(__doc__, "card.py --weight_file FILE --before FILE --input FILE ...")
    parser.add_argument("--weight_file", **cli.FILE, required=True, help="the model")
    parser.add_argument("--before", **cli.FILE, required=True, help="an earlier model")
    parser.add_argument("--input", **cli.FILE, nargs="+", required=True, help="databases of teach.py")
    parser.add_argument("--whole", **cli.FILE, nargs="*", default=[], help="databases that nothing was trained on")
    args = parser.parse_args(argv)
    new, old = open_model(args.weight_file), open_model(args.before)
    tables = {name: [] for name in ("overall", "gender", "guesses", "bands")}
    for path in [*args.input, *args.whole]:
        database = open_database(path)
        rows = np.arange(len(database)) if path in args.whole else teach.kept_apart(database)
        (faces, outcomes), (faces_before, before) = (answers(model, database, rows) for model in (new, old))
        name = path.stem.removesuffix("_db")
        tables["overall"].append((name, len(rows), *overall(outcomes, before)))
        tables["gender"].append((name, *by_gender(outcomes), *by_gender(before)))
        tables["guesses"].append((name, *guesses(faces, outcomes)))
        if database.label_low is not None and np.any(database.label_low[rows] != UNKNOWN):
            low = database.label_low[rows]
            said = (each.expected_age.to_numpy() for each in (faces, faces_before))
            tables["bands"] += [(name, *row) for row in bands(low, *said)]
    headings = {
        "overall": ("set", "n", "age error", "before, difference", "bias", "gender", "before, difference"),
        "gender": ("set", "women", "men", "women, before", "men, before"),
        "guesses": ("set", "unsure", "right, where sure", "said, right", f"said {SURE:.0%} or more: share, right")
        + ("said {:.0%} to {:.0%}: n, right".format(*NEARLY), "within the interval", "width", "least by said decade"),
        "bands": ("set", "years", "n", "median said", "before", "in it", "in it or a neighbour"),
    }
    for name, table in tables.items():
        print(f"\n{name}\n{tabulate(table, headings[name], tablefmt='github', disable_numparse=True)}")


def answers(model, database, rows: np.ndarray) -> tuple:
    """What a model says of some faces, a table as evaluation.scoring has it, and what that comes to, per face."""
    p_gender, p_age = predict_rows(model, ImageStack([database], model.description.image_size), rows)
    labels = {"age": database.age[rows], "gender": database.gender[rows]}
    faces = pd.DataFrame({**labels, "expected_age": expected_age(p_age), "p_male": p_gender[:, MALE]})
    faces, _ = calibrated(faces, p_age, model.description.calibration, np.zeros(len(rows), bool), seed=0)
    return faces, outcomes_of(faces, YEARS, UNSURE_BELOW)._replace(p_male=None)


def scored(outcomes):
    """The estimates of some outcomes, by name."""
    return score(outcomes).estimates


def shown(name: str, found, signed: bool = False) -> str:
    """An estimate with its interval, '-' where there is none."""
    return with_interval(name, found[name], signed) if name in found and not np.isnan(found[name].value) else "-"


def overall(outcomes, before) -> list[str]:
    """Age error, that of the earlier model and the difference, bias; the same of the gender."""
    found, earlier, difference = scored(outcomes), scored(before), compare(outcomes, before, seed=0)
    cells = []
    for name in ("age_mae", "gender_accuracy"):
        known = shown(name, found)
        old = "-" if known == "-" else f"{shown(name, earlier).split()[0]}, {shown(name, difference, True)}"
        cells += [known, old, *([shown("age_bias", found, True)] if name == "age_mae" else [])]
    return cells


def by_gender(outcomes) -> list[str]:
    """How many of the women's and of the men's genders are right."""
    return [shown("gender_accuracy", scored(outcomes.of(outcomes.gender == gender))) for gender in (FEMALE, MALE)]


def guesses(faces, outcomes) -> list[str]:
    """How often the model is unsure, and how often it is right where it is not."""
    found, gendered = scored(outcomes), faces[faces.gender != UNKNOWN]
    sureness = np.maximum(gendered.p_male, 1 - gendered.p_male)
    right = (gendered.p_male >= 0.5) == (gendered.gender == MALE)
    sure, nearly = sureness >= SURE, sureness.between(*NEARLY)
    cells = [shown("gender_unsure", found), shown("gender_accuracy_sure", found)]
    cells += [
        f"{sureness.mean():.1%}, {right.mean():.1%}",
        f"{sure.mean():.1%}, {right[sure].mean() if sure.any() else np.nan:.1%}",
        f"{nearly.sum()}, {right[nearly].mean() if nearly.any() else np.nan:.1%}",
    ]
    aged = faces[faces.age != UNKNOWN]
    if "age_low" not in faces or aged.empty:
        return [*cells, "-", "-", "-"]
    shares = aged.age.between(aged.age_low, aged.age_high).groupby(aged.expected_age // 10)
    many = [(share.mean(), int(decade), len(share)) for decade, share in shares if len(share) >= LEAST_FACES]
    worst = "{0:.0%} of {2} said to be {1}0-{1}9".format(*min(many)) if many else "-"
    return [*cells, shown("interval_coverage", found), shown("interval_width", found), worst]


def bands(low: np.ndarray, said: np.ndarray, before: np.ndarray) -> list[tuple]:
    """Of each interval of ages that is a label, what is said of its faces; `all` of all."""
    starts = np.array([first for first, _ in GROUPS])
    truth, found = (np.searchsorted(starts, years, side="right") - 1 for years in (low, np.floor(said)))
    rows = []
    for number, (first, last) in enumerate(GROUPS):
        here = (truth == number) & (low != UNKNOWN)
        if not here.any():
            continue
        away = np.abs(found - truth)[here]
        medians = (f"{np.median(years[here]):.1f}" for years in (said, before))
        rows.append((f"{first}-{last}", here.sum(), *medians, f"{(away == 0).mean():.1%}", f"{(away <= 1).mean():.1%}"))
    away = np.abs(found - truth)[low != UNKNOWN]
    return [*rows, ("all", len(away), "", "", f"{(away == 0).mean():.1%}", f"{(away <= 1).mean():.1%}")]


if __name__ == "__main__":
    cli.run(main)
