"""Labels that a model doubts: faces whose age or gender it finds very unlikely, judged by models that never saw them.

About a training set this is what confident learning does with held-out predictions (Northcutt et al.,
arXiv:1911.00068), but each face is judged alone: there is no estimate of how many labels are wrong.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from age_gender.description import Description
from age_gender.intervals import tempered
from age_gender.labels import GENDERS, MALE, MAX_AGE, UNKNOWN, YEARS, expected_age
from networks import open_model, predict_rows
from networks.split import datasets_of, past_of, remade
from utils import Database, ImageStack, labels_of, paths_of


class Judgement(NamedTuple):
    """What models that were not trained on them say of n faces.

    Attributes:
        judged: (n,) bool; where none may judge, the rest means nothing.
        p_male: (n,) calibrated probabilities, the mean over the models that may judge.
        p_age: (n, 101) distributions, their mean.
    """

    judged: np.ndarray
    p_male: np.ndarray
    p_age: np.ndarray


def judge(models: dict[Path, Description], databases: list[Database]) -> Judgement:
    """Asks each model, by its file, about the faces that trained neither it nor a model that it came from.

    Raises:
        ValueError: if it cannot be told of a model which of the faces trained it, or its ages are groups.
    """
    count = sum(map(len, databases))
    judges, p_male, p_age = np.zeros(count), np.zeros(count), np.zeros((count, MAX_AGE + 1))
    allowed = {path: ~_trained(path, description, databases) for path, description in models.items()}
    for path, description in models.items():
        rows = np.flatnonzero(allowed[path])
        if not len(rows):
            continue
        model = open_model(path)
        print(f"{path} judges {len(rows):,} of {count:,} faces, computing on {model.device}", flush=True)
        genders, ages = predict_rows(model, ImageStack(databases, description.image_size), rows)
        temperature = description.calibration.temperature if description.calibration else 1.0
        judges[rows] += 1
        p_male[rows] += tempered(genders[:, MALE], temperature)
        p_age[rows] += ages
    shares = np.maximum(judges, 1)
    return Judgement(judges > 0, p_male / shares, p_age / shares[:, None])


def _trained(path: Path, description: Description, databases: list[Database]) -> np.ndarray:
    """(n,) bool, which faces trained a model."""
    past = past_of(databases, description)
    if not description.split or past.untold:
        raise ValueError(f"{path} does not tell which of these faces trained it, so it cannot judge their labels")
    if description.age_scale != YEARS:
        raise ValueError(f"{path} says age groups ({description.age_scale.name}); a model of years judges labels")
    known = {*description.split.get("databases", []), *description.sides}
    datasets = datasets_of(description)
    for database in databases:
        if remade(database, description):
            raise ValueError(
                f"{path}, or a model that it came from, was trained on another database of {database.db} than "
                f"{database.source}: which of these faces trained it cannot be told; take a model that knows one "
                f"database of {database.db}, and give that with --input"
            )
        if database.db in datasets and database.fingerprint() not in known:
            print(f"{path} was trained on other tables. If these had photos of {database.source}, that cannot be told")
    return past.trained


def probability_of_age(p_age: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How likely it is to be as far from the middle of what a model says as a label is, or farther: (n,), at most 1.

    It is twice the smaller tail, so that half of all true labels have 0.5 or less.

    Args:
        p_age: (n, 101) distributions.
        low, high: (n,) the years that each label means, both ends in it; -1 unknown, whose probability is 1.
    """
    below = np.concatenate([np.zeros((len(p_age), 1)), np.cumsum(p_age, axis=1)], axis=1)  # of each year
    known = low != UNKNOWN
    rows = np.arange(len(p_age))
    at_most = below[rows, np.where(known, high, 0).clip(0, MAX_AGE) + 1]
    at_least = below[:, -1] - below[rows, np.where(known, low, 0).clip(0, MAX_AGE)]
    return np.where(known, np.minimum(1.0, 2 * np.minimum(at_most, at_least)), 1.0)


def doubted(judgement: Judgement, databases: list[Database], below: float) -> pd.DataFrame:
    """The faces whose label is less likely than a threshold, the least likely first.

    Returns:
        A table: path; reason, such as "gender doubted"; probability, of the less likely label; age and gender, the
        labels as text, "" unknown; said_age in years and p_male, what the models say. Its index is the faces' rows.
    """
    age, gender = labels_of(databases, np.arange(len(judgement.judged)))
    interval = (np.concatenate([each.column(n, UNKNOWN) for each in databases]) for n in ("label_low", "label_high"))
    low, high = (np.where(age != UNKNOWN, age, end) for end in interval)
    of_age = probability_of_age(judgement.p_age, low, high)
    of_gender = np.where(gender == MALE, judgement.p_male, 1 - judgement.p_male)
    of_gender = np.where(gender == UNKNOWN, 1.0, of_gender)
    least = np.where(judgement.judged, np.minimum(of_age, of_gender), 1.0)
    rows = np.flatnonzero(least < below)
    rows = rows[np.argsort(least[rows], kind="stable")]
    words = {(True, False): "age doubted", (False, True): "gender doubted", (True, True): "age and gender doubted"}
    ages = [
        "" if a == UNKNOWN else f"{a}" if a == b else f"{a}-{b}" for a, b in zip(low[rows], high[rows], strict=True)
    ]
    return pd.DataFrame(
        {
            "path": np.array(paths_of(databases), object)[rows],
            "reason": [words[bool(of_age[row] < below), bool(of_gender[row] < below)] for row in rows],
            "probability": least[rows],
            "age": ages,
            "gender": [GENDERS[each] if each != UNKNOWN else "" for each in gender[rows]],
            "said_age": expected_age(judgement.p_age[rows]).round(1) if len(rows) else np.zeros(0),
            "p_male": judgement.p_male[rows].round(4),
        },
        index=rows,
    )
