"""The pictures of an evaluation: plots of its scores and grids of its faces, as PNGs."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender.labels import DECADES, GENDERS, UNKNOWN, YEARS, decade_of, likelier_gender
from evaluation import plots
from evaluation.metrics import MOST_YEARS, Estimate, roc_curve
from evaluation.runs import names_of
from evaluation.scoring import Evaluation, reliabilities
from evaluation.tables import HEADINGS, heading

SAMPLES = 40  # faces in the grid of samples
EXTREMES = 24  # faces in the grids of the best and of the worst


class Picture(NamedTuple):
    """A PNG, its file's name without the ending, and what it shows."""

    name: str
    png: bytes
    says: str


def pictures(evaluation: Evaluation) -> list[Picture]:
    """All plots that the faces' labels allow."""
    age, gender, p_male = (evaluation.faces[name].to_numpy() for name in ("age", "gender", "p_male"))
    drawn = age_pictures(evaluation) if evaluation.scale == YEARS else group_pictures(evaluation)
    gendered = gender != UNKNOWN
    if gendered.any():
        said = likelier_gender(p_male)
        png = plots.draw_confusion(gender[gendered], said[gendered], GENDERS, "gender")
        drawn.append(Picture("gender_confusion", png, "Gender: true and predicted"))
        if not math.isnan(evaluation.overall["gender_auc"].value):
            png = plots.draw_roc(*roc_curve(gender, p_male), evaluation.overall["gender_auc"])
            drawn.append(Picture("gender_roc", png, "Gender: men and women who are called male at each threshold"))
        if png := plots.draw_reliability(reliabilities(evaluation)):
            says = "Gender: of the faces that are called male with some probability, how many are; larger: more faces"
            says += f"; bins of fewer than {plots.LEAST_IN_BIN} faces are not drawn"
            drawn.append(Picture("gender_reliability", png, says))
    return drawn


def age_pictures(evaluation: Evaluation) -> list[Picture]:
    """Those of ages in years."""
    faces, overall = evaluation.faces, evaluation.overall
    age, expected, gender = (faces[name].to_numpy() for name in ("age", "expected_age", "gender"))
    aged = age != UNKNOWN
    if not aged.any():
        return []
    bands = [(name, scores) for axis, name, scores in evaluation.groups if axis == "age"]

    def by_band(name: str, **more) -> bytes:
        chosen = [(band, scores.n, scaled(name, scores[name])) for band, scores in bands]
        return plots.draw_by_band(chosen, scaled(name, overall[name]).value, heading(name), **more)

    curve = [overall[f"cs{years}"] for years in range(MOST_YEARS + 1)]
    decades = decade_of(np.clip(np.rint(expected[aged]), 0, None)), decade_of(age[aged])
    names = tuple("{}-{}".format(*ages) for ages in DECADES)
    scatter = plots.draw_true_against_expected(age[aged], expected[aged], gender[aged])
    confusion = plots.draw_confusion(decades[1], decades[0], names, "age")
    means = plots.draw_mean_distributions(age[aged], evaluation.p_age[aged])
    drawn = [
        Picture("true_against_expected", scatter, "Expected age of each face over its true age"),
        Picture("error_by_decade", by_band("age_mae"), "Mean absolute error of each decade of age"),
        Picture("cs_curve", plots.draw_cs_curve(curve), "Share of the faces whose age is hit within k years"),
        Picture("age_confusion", confusion, "Decades of age: true and predicted"),
        Picture("mean_distributions", means, "Mean predicted distribution of the faces of each decade"),
    ]
    if "interval_coverage" in overall.estimates:
        level, coverage = f"{evaluation.level:.0%}", by_band("interval_coverage", aim=100 * evaluation.level)
        drawn += [
            Picture("interval_coverage", coverage, f"Share of the ages that lie within their {level} interval"),
            Picture("interval_width", by_band("interval_width"), f"Mean width of the {level} intervals"),
        ]
    return drawn


def scaled(name: str, estimate: Estimate) -> Estimate:
    """An estimate in its heading's unit."""
    return Estimate(*(value * HEADINGS[name][2] for value in estimate))


def group_pictures(evaluation: Evaluation) -> list[Picture]:
    """Those of age groups."""
    group, said = (evaluation.faces[name].to_numpy() for name in ("group", "said"))
    aged = group != UNKNOWN
    if not aged.any():
        return []
    png = plots.draw_confusion(group[aged], said[aged], evaluation.scale.names, "age group")
    return [Picture("age_group_confusion", png, "Age groups: true and predicted")]


def separation(evaluations: list[Evaluation]) -> list[Picture]:
    """The mean distribution of each true age by each of several checkpoints, where these saw the same faces; those of
    one run in the order of its epochs."""
    first = evaluations[0]
    alike = [each for each in evaluations if np.array_equal(each.identity, first.identity)]
    if len(alike) < 2 or first.scale != YEARS or not (first.faces.age != UNKNOWN).any():
        return []
    epochs, folders = {each.epoch for each in alike}, {Path(each.weight_file).parent for each in alike}
    one_run = all(epochs) and len(epochs) == len(alike) and len(folders) == 1
    if one_run:
        alike.sort(key=lambda each: each.epoch)
        names = [f"{Path(each.weight_file).name}\nepoch {each.epoch}, " for each in alike]
        says = "How the ages separate as training goes on: mean predicted distribution (square root) of each true age"
    else:
        names = [f"{name}\n" for name in names_of(alike)]
        says = "Mean predicted distribution (square root) of each true age, by each checkpoint"
    panels = [
        (
            f"{name}MAE {each.overall['age_mae'].value:.2f}",
            *(values[(each.faces.age != UNKNOWN).to_numpy()] for values in (each.faces.age.to_numpy(), each.p_age)),
        )
        for name, each in zip(names, alike, strict=True)
    ]
    return [Picture("separation", plots.draw_separation(panels), says)]


def grids(evaluation: Evaluation, seed: int) -> list[tuple[str, str, np.ndarray]]:
    """Which faces are shown: name, what they are, and their places: a sample, and the best and the worst by age."""
    faces = evaluation.faces
    if evaluation.scale == YEARS:
        known, away = (faces.age != UNKNOWN).to_numpy(), np.abs(faces.expected_age - faces.age).to_numpy()
    else:  # groups away; as far away, the surer answer is the better one where it is right and the worse where wrong
        known, away = (faces["group"] != UNKNOWN).to_numpy(), np.abs(faces.said - faces["group"]).to_numpy()
        away = away + np.where(away == 0, -faces.p_said, faces.p_said)
    order = np.flatnonzero(known)[np.argsort(away[known], kind="stable")]
    sample = np.sort(np.random.default_rng(seed).permutation(len(faces))[:SAMPLES])
    half = len(order) // 2
    chosen = [
        ("samples", "A sample of the faces", sample),
        ("best", "The ages that are nearest to the truth", order[:half][:EXTREMES]),
        ("worst", "The ages that are farthest from the truth, the worst first", order[half:][::-1][:EXTREMES]),
    ]
    return [each for each in chosen if len(each[2])]


def face_pictures(evaluation: Evaluation, seed: int) -> list[Picture]:
    """Grids of faces with truth and prediction."""
    drawn = []
    for name, says, chosen in grids(evaluation, seed):
        images = evaluation.images[evaluation.set.rows[chosen]]
        drawn.append(Picture(name, plots.draw_samples(images, *captions(evaluation, chosen)), says))
    return drawn


def captions(evaluation: Evaluation, chosen: np.ndarray) -> tuple[list[str], list[str], np.ndarray]:
    """Of some faces: what is true ('34, F'), what is predicted, and (n,) whether the gender is wrong."""
    faces, scale = evaluation.faces.iloc[chosen], evaluation.scale
    gender, said = faces.gender.to_numpy(), likelier_gender(faces.p_male)
    if scale == YEARS:
        true = [str(year) if year != UNKNOWN else "?" for year in faces.age]
        if "label_low" in faces:
            labels = zip(true, faces.label_low, faces.label_high, strict=True)
            true = [f"{low}-{high}" if low != UNKNOWN else year for year, low, high in labels]
        predicted = [f"{year:.0f}" for year in faces.expected_age]
    else:
        true = [scale.names[index] if index != UNKNOWN else "?" for index in faces["group"]]
        predicted = [scale.names[index] for index in faces.said]
    return (
        [f"{a}, {GENDERS[g] if g != UNKNOWN else '?'}" for a, g in zip(true, gender, strict=True)],
        [f"{a}, {GENDERS[g]}" for a, g in zip(predicted, said, strict=True)],
        (gender != UNKNOWN) & (said != gender),
    )
