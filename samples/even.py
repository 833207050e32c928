"""Evens a checkpoint's answers by what it says of its validation faces: women and men, common and rare ages.

    python samples/even.py --weight_file checkpoints/model --input data/people_db.mat --output even.hdf5

A network that has seen more men takes women for men more often than men for women; one that has seen few old people
takes them for younger ones. What is added to the logits of each head mends what is common to all faces (Menon et al.,
"Long-tail learning via logit adjustment", arXiv:2007.07314): a number on the log odds of male, from a logistic
regression in which women and men weigh the same; and of how rarely an age is said the share that leaves the least
error. Calibrate anew afterwards: evaluate.py --calibrate.
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the suite's modules lie above this folder

import numpy as np

from age_gender import cli
from age_gender.labels import MALE, UNKNOWN, expected_age
from networks import open_model, predict_rows
from networks.checkpoints import choose, load, save
from networks.split import past_of
from utils import ImageStack, labels_of, open_database

SMOOTHING = 3.0  # years, of how often an age is said


def main(argv: list[str] | None = None) -> None:
    """Parse, ask the validation faces, shift, save."""
    parser = cli.parser_for(__doc__, "even.py --weight_file FILE --input FILE ... [--output FILE]")
    parser.add_argument("--weight_file", **cli.FILE, required=True, help="checkpoint, or a run's folder")
    cli.add_databases(parser, "databases of its training")
    parser.add_argument("--output", "-o", **cli.FILE, help="where to write it (default: in its place)")
    args = parser.parse_args(argv)
    if not args.input:
        parser.error("--input names the databases of its training")
    path = choose(args.weight_file)
    databases = list(map(open_database, args.input))
    asked = open_model(path)
    if "gender_shift" in asked.description.training:
        raise ValueError(f"{path} is even already: name the checkpoint that train.py wrote")
    rows = np.flatnonzero(past_of(databases, asked.description).chose)
    age, gender = labels_of(databases, rows)
    known, aged = gender != UNKNOWN, age != UNKNOWN
    if len(set(gender[known])) < 2 or not aged.any():
        raise ValueError(f"these databases have no women, men and ages that chose {path}: name those of its training")
    p_gender, p_age = predict_rows(asked, ImageStack(databases, asked.description.image_size), rows)
    shift = even_genders(p_gender[known, MALE], gender[known])
    share, rarity = even_ages(p_age[aged], age[aged])
    model, description = load(path, mirror=False)
    add_to_bias(model.get_layer("pred_gender"), shift / 2 * np.where(np.arange(p_gender.shape[1]) == MALE, 1, -1))
    add_to_bias(model.get_layer("pred_age"), share * rarity)
    training = description.training | {"gender_shift": shift, "age_share": share}
    save(model, args.output or path, replace(description, calibration=None, training=training))
    print(
        f"{args.output or path}: {shift:+.3f} to the log odds of male, from {known.sum():,} faces; {share:.2f} of how "
        f"rarely an age is said to its logit, from {aged.sum():,}"
    )


def add_to_bias(head, more: np.ndarray) -> None:
    """Adds to the logits of a head."""
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias + more])


def even_genders(p_male: np.ndarray, gender: np.ndarray) -> float:
    """What to add to the log odds of male, from n probabilities and genders."""
    from scipy.optimize import minimize

    odds = np.clip(p_male.astype(float), 1e-6, 1 - 1e-6)
    odds = np.log(odds / (1 - odds))
    weight, sign = 1 / np.bincount(gender)[gender], np.where(gender == MALE, 1, -1)

    def loss(slope_and_shift: np.ndarray) -> float:
        slope, shift = slope_and_shift
        return float((weight * np.logaddexp(0, -sign * slope * (odds + shift))).sum())

    return float(minimize(loss, [1.0, 0.0]).x[1])


def even_ages(p_age: np.ndarray, age: np.ndarray) -> tuple[float, np.ndarray]:
    """What to add to the logits of ages, from n distributions (n, 101) and ages: a share, and what it is a share of.

    That is minus the log of how often each age is said on average, (101,), smoothed over some years.
    """
    from scipy.ndimage import gaussian_filter1d

    rarity = -np.log(gaussian_filter1d(p_age.mean(axis=0), SMOOTHING, mode="nearest") + 1e-6)

    def error(share: float) -> float:
        evened = p_age * np.exp(share * rarity)
        said = expected_age(evened / evened.sum(axis=1, keepdims=True))
        return float(np.abs(said - age).mean())

    return min(np.arange(0, 1, 0.05).tolist(), key=error), rarity


if __name__ == "__main__":
    cli.run(main)
