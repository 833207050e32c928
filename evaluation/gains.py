"""What a training gained: what a model says of some faces before and after it, and the paired difference."""

import math
from pathlib import Path

import numpy as np

from age_gender.labels import MALE, UNKNOWN, YEARS, AgeScale, expected_age, fold_ages
from evaluation.metrics import Outcomes, age_sums, compare, gender_sums, group_sums, score
from evaluation.tables import with_interval
from networks import open_model, predict_rows
from utils import Database, ImageStack

SAID = {  # of each statistic that is said: what it is called, its unit, the unit of a difference
    "age_mae": ("age error", " years", " years"),
    "exact": ("age group", "%", " points"),
    "gender_accuracy": ("gender", "%", " points"),
}


def outcomes_on(
    path: Path, databases: list[Database], rows: np.ndarray, age: np.ndarray, gender: np.ndarray, scale: AgeScale
) -> Outcomes:
    """What a model's answers to some faces come to.

    Args:
        path: of the model, whatever its image size. Where its age groups do not fold onto `scale`, its ages count not.
        databases: whose faces they are.
        rows: (m,) row numbers, which go on from one database to the next.
        age: (m,) true class on `scale`, -1 unknown.
        gender: (m,) true genders, -1 unknown.
        scale: the ages that are scored.
    """
    model = open_model(path)
    answers = predict_rows(model, ImageStack(databases, model.description.image_size), rows)
    return outcomes_of(answers, model.description.age_scale, age, gender, scale)


def outcomes_of(
    answers: list[np.ndarray], own: AgeScale, age: np.ndarray, gender: np.ndarray, scale: AgeScale
) -> Outcomes:
    """What answers, genders (m, 2) and ages (m, k) on a scale of their own, come to; the rest as `outcomes_on`."""
    p_gender, p_age = answers
    if scale == YEARS:
        sums = age_sums(age, expected_age(p_age, own.centres))
    else:
        try:
            sums = group_sums(age, fold_ages(p_age, own, scale)[0].argmax(axis=1))
        except ValueError:
            sums = group_sums(np.full_like(age, UNKNOWN), age)
    return Outcomes({**sums, **gender_sums(gender, p_gender[:, MALE])}, gender)


def worth_in_words(outcomes: Outcomes, seed: int) -> str:
    """'age error 5.12 years (4.80-5.44), gender 93.1% (91.5-94.5)': what a model reaches, with 95% intervals."""
    return _in_words(score(outcomes, seed=seed).estimates, signed=False)


def gain_in_words(after: Outcomes, before: Outcomes, seed: int) -> str:
    """'age error -0.52 years (-0.80 to -0.24), gender +1.2 points (-0.4 to +2.8)': what the later outcomes exceed the
    earlier ones by on the same faces, by the paired bootstrap; a label that no face has is left out."""
    return _in_words(compare(after, before, seed), signed=True)


def _in_words(found: dict, signed: bool) -> str:
    known = {statistic: value for statistic, value in found.items() if not math.isnan(value.value)}
    said = [(known[statistic], statistic, *words) for statistic, words in SAID.items() if statistic in known]
    return ", ".join(
        f"{name} {with_interval(statistic, value, signed, difference if signed else unit)}"
        for value, statistic, name, unit, difference in said
    )
