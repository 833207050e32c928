"""What train.py says before and after a run."""

import sys
from typing import NamedTuple

import numpy as np

from age_gender.description import Description
from age_gender.labels import GENDERS, UNKNOWN, YEARS, AgeScale
from training.data import Data
from training.options import Options

CONSTANT_AGE = 1.0  # years: expected ages that spread less than this are one answer for every face
LEARNING_STEPS = 500  # a run shorter than this may still answer every face alike without having collapsed


class Outcome(NamedTuple):
    """What a run came to."""

    best: dict  # the state of KeepBest: the best value, its epoch, and the checkpoint's path, None where there is none
    history: list[dict]  # the rows of `history.csv`
    steps: int  # how many there were
    nan: bool  # whether the loss was no number any more

    @property
    def best_epoch(self) -> dict:
        """The values of the best checkpoint's epoch."""
        return next(row for row in self.history if row["epoch"] == self.best["epoch"])


def announce(data: Data, description: Description, model) -> None:
    """Says what will be trained on what."""
    for database in data.databases:
        print(f"{database.source}: {len(database):,} faces of {database.image_size} x {database.image_size} pixels")
        if unlike := description.differs_from(database.margin, database.detector, database.align):
            print(
                f"  its faces are not as those of the largest database, whose ways demo.py follows: {', '.join(unlike)}"
            )
    training, validation, test = map(len, (data.training, data.validation, data.test))
    left_out = len(data.age) - training - validation - test
    print(
        f"{training:,} to train, {validation:,} to validate, {test:,} kept for a test"
        f"{f', {left_out:,} left out' * bool(left_out)}; {model.name}, {model.count_params():,} parameters"
    )
    for head, labels in (("age", data.age), ("gender", data.gender)):
        if np.all(labels[data.training] == UNKNOWN):
            print(f"no face to train on has a known {head}: the labels teach the network nothing of it")
    trivial, scale = description.trivial, description.age_scale
    print(
        f"the trivial answer, {scale.names[trivial['age']]}, {GENDERS[trivial['gender']]} for every face: "
        f"{in_words(*trivial_scores(data, description), scale)}",
        flush=True,
    )


def in_words(age: float, gender: float, scale: AgeScale) -> str:
    """'age error 5.12 years, gender 93.1%', or 'age group 61.0%, gender 93.1%'; '-' for a head without labels."""
    said = "-" if np.isnan(age) else f"{age:.2f} years" if scale == YEARS else f"{age:.1%}"
    return f"age {'error' if scale == YEARS else 'group'} {said}, gender {'-' if np.isnan(gender) else f'{gender:.1%}'}"


def trivial_scores(data: Data, description: Description) -> tuple[float, float]:
    """What the answer that uses no picture reaches in validation: age error in years, or share of age groups hit, and
    gender accuracy; NaN without labels."""
    trivial = description.trivial
    ages, genders = data.validation_labels()
    years = description.age_scale == YEARS
    away = np.abs(ages - trivial["age"]) if years else ages == trivial["age"]
    age, gender = (float(hits.mean()) if len(hits) else np.nan for hits in (away, genders == trivial["gender"]))
    return age, gender


def say_what_failed(outcome: Outcome, options: Options) -> bool:
    """Says so where a run went to NaN or kept no checkpoint, and whether it did."""
    kept = outcome.best["path"]
    if outcome.nan:
        before = f"; the best before it is {kept}" if kept else ""
        said = f"the loss is not a number in epoch {len(outcome.history)}{before}"
    elif kept is None:
        said = f"no epoch had a finite {options.monitor}"
    else:
        return False
    print(f"train.py: {said}: {_advice(options)}", file=sys.stderr)
    return True


def say_the_best(outcome: Outcome, data: Data, description: Description) -> None:
    """Names the best checkpoint and what it reaches."""
    ages, genders = data.validation_labels()
    values, scale = outcome.best_epoch, description.age_scale
    reached = in_words(
        values["val_pred_age_mae" if scale == YEARS else "val_pred_age_accuracy"] if len(ages) else np.nan,
        values["val_pred_gender_accuracy"] if len(genders) else np.nan,
        scale,
    )
    trivial = in_words(*trivial_scores(data, description), scale)
    print(f"best: {outcome.best['path']}, {reached} (trivial: {trivial})")


def say_if_it_collapsed(outcome: Outcome, data: Data, options: Options) -> bool:
    """Says so where every face gets the same answer, and whether that counts as a failure."""
    heads = collapsed_heads(outcome.best_epoch, data, options.age_scale)
    heads = [head for head in heads if head != "gender" or options.gender_weight]  # which was not to learn
    if not heads:
        return False
    same = f"gets the same {' and the same '.join(heads)}"
    if outcome.steps < LEARNING_STEPS:
        print(f"every face still {same} after {outcome.steps} steps: train longer")
        return False
    print(f"train.py: the training collapsed: every face {same}: {_advice(options)}", file=sys.stderr)
    return True


def collapsed_heads(values: dict[str, float], data: Data, scale: AgeScale) -> list[str]:
    """The heads that answer every validation face alike although the faces differ, by an epoch's values."""
    ages, genders = data.validation_labels()
    ages = scale.centres[ages]
    heads = []
    if len(ages) and ages.std() > 2 * CONSTANT_AGE and values["val_pred_age_spread"] < CONSTANT_AGE:
        heads.append("age")
    # A head that has learned the commoner gender alone is no collapse where the other one is rare.
    if len(genders) and 0.1 < genders.mean() < 0.9 and values["val_pred_gender_male_share"] in (0.0, 1.0):
        heads.append("gender")
    return heads


def _advice(options: Options) -> str:
    return (
        f"try a tenth of the rate (--lr {options.lr / 10:g}), --opt adam, or a larger --batch_size; "
        "check the labels with a look at the database's faces"
    )
