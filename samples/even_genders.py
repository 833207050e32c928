"""Shifts a checkpoint's gender head until it is wrong about women as often as about men, on its validation faces.

    python samples/even_genders.py --weight_file checkpoints/model/last --input data/people_db.mat

A network that has seen more men takes women for men more often than men for women. One number, added to the log odds
of male, mends what is common to all faces (Menon et al., "Long-tail learning via logit adjustment", arXiv:2007.07314).
It comes from a logistic regression on the log odds in which women and men weigh the same. Calibrate anew afterwards:
evaluate.py --calibrate.
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the suite's modules lie above this folder

import numpy as np

from age_gender import cli
from age_gender.labels import MALE, UNKNOWN


def main(argv: list[str] | None = None) -> None:
    """Parse, ask the validation faces, shift, save."""
    parser = cli.parser_for(__doc__, "even_genders.py --weight_file FILE --input FILE ... [--output FILE]")
    parser.add_argument("--weight_file", type=Path, required=True, metavar="FILE", help="checkpoint, or a run's folder")
    cli.add_databases(parser, "databases of its training")
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="where to write it (default: in its place)")
    args = parser.parse_args(argv)
    if not args.input:
        parser.error("--input names the databases of its training")
    from networks import open_model, predict_rows
    from networks.checkpoints import choose, load, save
    from networks.split import past_of
    from utils import ImageStack, labels_of, open_database

    path = choose(args.weight_file)
    databases = list(map(open_database, args.input))
    asked = open_model(path)
    rows = np.flatnonzero(past_of(databases, asked.description).chose)
    _, gender = labels_of(databases, rows)
    rows, gender = rows[gender != UNKNOWN], gender[gender != UNKNOWN]
    if len(set(gender)) < 2:
        raise ValueError(f"these databases have no women and men that chose {path}: name those of its training")
    p_gender, _ = predict_rows(asked, ImageStack(databases, asked.description.image_size), rows)
    shift = even_shift(p_gender[:, MALE], gender)
    model, description = load(path, mirror=False)
    head = model.get_layer("pred_gender")
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias + shift / 2 * np.where(np.arange(len(bias)) == MALE, 1, -1)])
    training = description.training | {"gender_shift": shift + description.training.get("gender_shift", 0.0)}
    save(model, args.output or path, replace(description, calibration=None, training=training))
    print(f"{args.output or path}: {shift:+.3f} to the log odds of male, from {len(rows):,} faces")


def even_shift(p_male: np.ndarray, gender: np.ndarray) -> float:
    """What to add to the log odds of male, from n probabilities and genders."""
    from scipy.optimize import minimize

    odds = np.clip(p_male.astype(float), 1e-6, 1 - 1e-6)
    odds = np.log(odds / (1 - odds))
    weight, sign = 1 / np.bincount(gender)[gender], np.where(gender == MALE, 1, -1)

    def loss(slope_and_shift: np.ndarray) -> float:
        slope, shift = slope_and_shift
        return float((weight * np.logaddexp(0, -sign * slope * (odds + shift))).sum())

    return float(minimize(loss, [1.0, 0.0]).x[1])


if __name__ == "__main__":
    cli.run(main)
