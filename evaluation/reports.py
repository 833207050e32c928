"""What evaluate.py writes: tables of scores as text, CSV and JSON, pictures, and one HTML page that holds all of it."""

import json
import math
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender.files import replacing
from age_gender.labels import GENDERS, UNKNOWN, YEARS, decade_of, likelier_gender
from evaluation import pages, plots
from evaluation.metrics import (
    CS_YEARS,
    MOST_YEARS,
    Difference,
    Estimate,
    Scores,
    compare,
    reliability,
    roc_curve,
)
from evaluation.scoring import Evaluation, named

SAMPLES = 40  # faces in the grid of samples
EXTREMES = 24  # faces in the grids of the best and of the worst
LEAST_FACES = 20  # of a group that can be called the worst: of fewer, the error says little
HEADINGS = {  # of each statistic: its heading, its unit, its factor, its digits
    "age_mae": ("age MAE", "years", 1, 2),
    f"cs{CS_YEARS}": (f"CS@{CS_YEARS}", "%", 100, 1),
    "exact": ("age group", "%", 100, 1),
    "one_off": ("one-off", "%", 100, 1),
    "gender_accuracy": ("gender", "%", 100, 1),
    "age_rmse": ("age RMSE", "years", 1, 2),
    "age_bias": ("age bias", "years", 1, 2),
    "gender_f1": ("gender F1", "%", 100, 1),
    "gender_auc": ("area under ROC", "%", 100, 1),
    "gender_unsure": ("unsure of the gender", "%", 100, 1),
    "gender_accuracy_sure": ("gender, where sure", "%", 100, 1),
    "interval_coverage": ("ages within their interval", "%", 100, 1),
    "interval_width": ("width of the interval", "years", 1, 1),
}
FOREMOST = ("age_mae", f"cs{CS_YEARS}", "exact", "one_off", "gender_accuracy")  # what the tables by group show


class Comparison(NamedTuple):
    """Two checkpoints on the faces that both were scored on: what the first's scores exceed the second's by."""

    weight_file: str
    other: str
    name: str
    n: int
    differences: dict[str, Difference]


class Picture(NamedTuple):
    """A PNG, its file's name without the ending, and what it shows."""

    name: str
    png: bytes
    says: str


def compared(evaluations: list[Evaluation], seed: int) -> list[Comparison]:
    """Each checkpoint against the first, on the faces that both were scored on, by the paired bootstrap."""
    found = []
    first = [each for each in evaluations if each.weight_file == evaluations[0].weight_file]
    for other in evaluations:
        for base in first if other.weight_file != first[0].weight_file else ():
            if (base.by_name or other.by_name) and base.name != other.name:
                continue
            common, mine, others = np.intersect1d(other.identity, base.identity, return_indices=True)
            if len(common) > 1:
                differences = compare(other.outcomes.of(mine, True), base.outcomes.of(others, True), seed)
                smaller = min(base, other, key=lambda each: len(each.rows))
                found.append(Comparison(other.weight_file, base.weight_file, smaller.name, len(common), differences))
    return found


def report_on(evaluations: list[Evaluation], comparisons: list[Comparison], folder: Path, seed: int) -> None:
    """Prints what was found, and writes it into a folder; of several evaluations each has a folder of its own in it."""
    folder.mkdir(parents=True, exist_ok=True)
    several = len(evaluations) > 1
    parts, overview = [], None
    for evaluation, own in zip(evaluations, folders(evaluations), strict=True):
        text = text_of(evaluation)
        drawn = pictures(evaluation)
        write(folder / own, evaluation, text, [*drawn, *face_pictures(evaluation, seed)])
        parts.append(part_of(evaluation, drawn, seed, f"{own}: " * several))
        print(f"\n{text}" if not several else f"{evaluation.weight_file}: {evaluation.name}, {evaluation.says}")
    if several:
        text, overview = across(evaluations, comparisons)
        for picture in overview["pictures"]:
            write_picture(folder, picture)
        write_text(folder / "table.txt", text)
        write_json(folder / "metrics.json", metrics_of_several(evaluations, comparisons))
        print(f"\n{text}")
    write_scores(folder / "scores.csv", evaluations)
    title = "Age and gender: evaluation"
    pages.write_page(folder / "report.html", "report.html", title=title, overview=overview, evaluations=parts)
    kinds = "report.html, table.txt, metrics.json, scores.csv, predictions.csv and plots"
    print("\nintervals: 95%, bootstrap over faces; of shares near 0 or 100%, Wilson's")
    print(f"{kinds} in {folder}/{' and its folders' * several}")


def folders(evaluations: list[Evaluation]) -> list[str]:
    """The folder of each evaluation: "" for the only one, else the checkpoint's number and the faces' name."""
    if len(evaluations) == 1:
        return [""]
    numbers = {file: number for number, file in enumerate(dict.fromkeys(each.weight_file for each in evaluations), 1)}
    names = []
    for each in evaluations:
        words = "".join(letter if letter.isalnum() else "_" for letter in each.name)
        name = plain = f"{numbers[each.weight_file]}_{words}"
        count = 1
        while name.casefold() in map(str.casefold, names):
            count += 1
            name = f"{plain}_{count}"
        names.append(name)
    return names


# ------------------------------------------------------------------------------------------------- as text


def shown(scores: Scores, names: Iterable[str] = HEADINGS) -> list[str]:
    """The statistics that some scores have, in the order of `names`."""
    return [name for name in names if name in scores.estimates]


def heading(name: str) -> str:
    """'age MAE (years)'."""
    text, unit, *_ = HEADINGS[name]
    return f"{text} ({unit})"


def number(name: str, value: float, signed: bool = False) -> str:
    """A statistic as text, in its heading's unit; '-' where it does not exist."""
    *_, factor, digits = HEADINGS[name]
    return "-" if math.isnan(value) else f"{value * factor:{'+' * signed}.{digits}f}"


def with_interval(name: str, estimate: Estimate | Difference, signed: bool = False, unit: str = "") -> str:
    """'4.60 (4.34-4.86)'; '-0.10 (-0.20 to +0.01)' where signed; '4.60 years (4.34-4.86)' with a unit."""
    value = number(name, estimate.value, signed) + unit
    if math.isnan(estimate.low):
        return value
    low, high = (number(name, end, signed) for end in (estimate.low, estimate.high))
    between = " to " if signed or estimate.low < 0 else "-"
    return f"{value} ({low}{between}{high})"


def tabulated(rows: list, headings: Iterable[str]) -> str:
    """A table for the terminal, its first column to the left."""
    from tabulate import tabulate

    return tabulate(rows, tuple(headings), stralign="right", colalign=("left",), disable_numparse=True)


def interval_rows(evaluation: Evaluation) -> tuple[list[tuple], list[str]] | None:
    """Rows of all faces and of each age band: coverage and width of the age intervals; and the headings."""
    names = shown(evaluation.overall, ("interval_coverage", "interval_width"))
    if not names:
        return None
    bands = [(f"age {name}", scores) for axis, name, scores in evaluation.groups if axis == "age"]
    rows = [
        (title, scores.n, *(with_interval(name, scores[name]) for name in names))
        for title, scores in [("all", evaluation.overall), *bands]
    ]
    return rows, ["faces", "n", *map(heading, names)]


def score_rows(overall: Scores, groups: list, factor_sign: str = "%") -> tuple[list[tuple], list[str]]:
    """Rows of all faces and of their groups, with the trivial answer beside each statistic; and the headings."""
    names = shown(overall, FOREMOST)

    def row(title: str, scores: Scores) -> tuple:
        cells = []
        for name in names:
            estimate = scores[name]
            years = HEADINGS[name][1] == "years"
            trivial = (
                "-" if math.isnan(estimate.trivial) else number(name, estimate.trivial) + factor_sign * (not years)
            )
            cells += [with_interval(name, estimate), trivial if not math.isnan(estimate.value) else "-"]
        return (title, scores.n, *cells)

    rows = [row("all", overall)]
    rows += [row(name if is_crossed(axis) else f"{axis} {name}", scores) for axis, name, scores in groups]
    return rows, ["faces", "n", *(text for name in names for text in (heading(name), "trivial"))]


def text_of(evaluation: Evaluation) -> str:
    """All that is said of one evaluation: tables, worst groups, and the statistics of all faces that stand in none."""
    few = [group for group in evaluation.groups if not is_crossed(group[0])]
    lines = [
        f"{evaluation.weight_file} on {', '.join(evaluation.input)}: {evaluation.says}",
        *evaluation.notes,
        "",
        tabulated(*score_rows(evaluation.overall, few)),
        "",
        worst_groups(evaluation.groups),
        "",
        *(
            f"{heading(name)}: {with_interval(name, evaluation.overall[name])}"
            for name in shown(evaluation.overall)
            if name not in FOREMOST
        ),
        f"unsure is a likelier gender below {evaluation.unsure_below:.0%}",
    ]
    if intervals := interval_rows(evaluation):
        lines += ["", tabulated(*intervals)]
    return "\n".join(lines)


def worst_groups(groups: list) -> str:
    """The group of each axis that is served worst by age, and how far the best one is from it: one line an axis.

    Groups of fewer than LEAST_FACES are judged apart: where one of them is worse still, it is named too.
    """
    lines = []
    for axis, members in groupby(groups, key=lambda group: group[0]):
        known = [(name, scores) for _, name, scores in members if not math.isnan(foremost(scores)[1].value)]
        order = sorted(known, key=lambda group: badness(group[1]))
        large = [(name, scores) for name, scores in order if scores.aged >= LEAST_FACES]
        said = []
        if len(large) > 1 and badness(large[0][1]) < badness(large[-1][1]):
            rule = f" of {LEAST_FACES} faces or more" * (len(large) < len(order))
            said.append(f"worst by {axis}{rule}: {of_group(*large[-1])}, {behind(large[-1][1], large[0])}")
        if len(order) > 1 and order[-1] not in large and badness(order[0][1]) < badness(order[-1][1]):
            said.append(f"worst by {axis} of any size: {of_group(*order[-1])}, too few to be sure")
        lines += ["; ".join(said)] * bool(said)
    return "\n".join(lines)


def badness(scores: Scores) -> float:
    """How badly ages are served: larger is worse."""
    name, estimate = foremost(scores)
    return estimate.value if name == "age_mae" else -estimate.value


def of_group(name: str, scores: Scores) -> str:
    """'80-89, 9.00 years (8.00-10.00) over 25 faces'."""
    statistic, estimate = foremost(scores)
    unit = " years" if statistic == "age_mae" else "% in the right age group"
    return (
        f"{name}, {with_interval(statistic, estimate, unit=unit)} over {scores.aged:,} face{'s' * (scores.aged != 1)}"
    )


def behind(scores: Scores, best: tuple[str, Scores]) -> str:
    """How much worse a group is served than the best one."""
    away = badness(scores) - badness(best[1])
    if foremost(scores)[0] == "age_mae":
        return f"{away:.2f} more than {best[0]}"
    return f"{100 * away:.1f} points less than {best[0]}"


def is_crossed(axis: str) -> bool:
    """Whether an axis is of several labels together: 'age, gender and race'."""
    return " and " in axis


def foremost(scores: Scores) -> tuple[str, Estimate]:
    """The statistic by which ages are judged first: the mean absolute error, or the share in the right group."""
    name = shown(scores, FOREMOST)[0]
    return name, scores[name]


# ------------------------------------------------------------------------------------------------- across several


def across(evaluations: list[Evaluation], comparisons: list[Comparison]) -> tuple[str, dict[str, object]]:
    """All evaluations in one table, the comparisons, mean and deviation over checkpoints; as text and for the page."""
    names = shown(evaluations[0].overall, FOREMOST)
    titles = ("checkpoint", "faces", "n", *map(heading, names))
    rows = [
        (each.weight_file, each.name, each.overall.n, *(with_interval(name, each.overall[name]) for name in names))
        for each in evaluations
    ]
    tables = [("", titles, rows)]
    if spread := deviations(evaluations):
        titles = ("faces", "checkpoints", *(f"{heading(name)}, mean and deviation" for name in names))
        rows = [
            (faces, count, *(f"{number(name, found[name][0])} ± {number(name, found[name][1])}" for name in names))
            for faces, count, found in spread
        ]
        says = "Mean and standard deviation over the checkpoints (of the sample), each on its own faces:"
        tables.append((says, titles, rows))
    if comparisons:
        titles = ("checkpoint", "faces", "n", *(text for name in names for text in (heading(name), "p")))
        rows = []
        for each in comparisons:
            cells = []
            for name in names:
                found = each.differences.get(name)
                cells += [with_interval(name, found, signed=True), f"{found.p:.3f}"] if found else ["-", "-"]
            rows.append((each.weight_file, each.name, each.n, *cells))
        says = f"More than {comparisons[0].other} on the same faces (95% interval, p of the paired bootstrap):"
        tables.append((says, titles, rows))
    apart = not_compared(evaluations, comparisons)
    blocks = [f"{says}\n{tabulated(rows, titles)}".strip() for says, titles, rows in tables]
    overview = {"tables": tables, "apart": apart, "pictures": separation(evaluations)}
    return "\n\n".join([*blocks, *[apart] * bool(apart)]), overview


def not_compared(evaluations: list[Evaluation], comparisons: list[Comparison]) -> str:
    """Says which checkpoints share no faces with the first; "" if all do."""
    first, compared_ones = evaluations[0].weight_file, {each.weight_file for each in comparisons}
    apart = dict.fromkeys(each.weight_file for each in evaluations if each.weight_file not in {first, *compared_ones})
    return f"Not compared with {first}, for want of faces in common: {', '.join(apart)}." if apart else ""


def deviations(evaluations: list[Evaluation]) -> list[tuple[str, int, dict[str, tuple[float, float]]]]:
    """Of each set of faces that several checkpoints were scored on: its name, how many, and mean and deviation."""
    found = []
    for name, inputs in dict.fromkeys((each.name, tuple(each.input)) for each in evaluations):
        chosen = [each for each in evaluations if (each.name, tuple(each.input)) == (name, inputs)]
        scores = [each.overall for each in chosen]
        if len({each.weight_file for each in chosen}) == len(chosen) > 1:
            # Not all may have intervals.
            common = [stat for stat in HEADINGS if all(stat in each.estimates for each in scores)]
            values = {stat: np.array([each[stat].value for each in scores]) for stat in common}
            spread = {stat: (float(v.mean()), float(v.std(ddof=1))) for stat, v in values.items()}
            found.append((name, len(scores), spread))
    return found


def separation(evaluations: list[Evaluation]) -> list[Picture]:
    """The mean distribution of each true age by each of several checkpoints, as training goes on, where these saw the
    same faces."""
    first = evaluations[0]
    alike = [each for each in evaluations if np.array_equal(each.identity, first.identity)]
    if len(alike) < 2 or first.scale != YEARS or not (first.faces.age != UNKNOWN).any():
        return []
    alike.sort(key=lambda each: each.epoch or 0)
    panels = [
        (
            f"{Path(each.weight_file).name}\nepoch {each.epoch or '?'}, MAE {each.overall['age_mae'].value:.2f}",
            *(values[(each.faces.age != UNKNOWN).to_numpy()] for values in (each.faces.age.to_numpy(), each.p_age)),
        )
        for each in alike
    ]
    says = "How the ages separate as training goes on: mean predicted distribution (square root) of each true age"
    return [Picture("separation", plots.draw_separation(panels), says)]


# ------------------------------------------------------------------------------------------------- as files


def plain(value: float) -> float | None:
    """A number as JSON takes it: None for NaN."""
    return None if math.isnan(value) else float(value)


def metrics_of(evaluation: Evaluation) -> dict[str, object]:
    """An evaluation as JSON takes it: what does not exist is None."""

    def of(scores: Scores) -> dict[str, object]:
        found = {
            name: {key: plain(value) for key, value in estimate._asdict().items()}
            for name, estimate in scores.estimates.items()
        }
        curve = [found.pop(f"cs{years}") for years in range(MOST_YEARS + 1) if f"cs{years}" in found]
        if len(curve) > 1:
            found |= {f"cs{CS_YEARS}": curve[CS_YEARS], "cs_curve": curve}
        elif curve:
            found[f"cs{CS_YEARS}"] = curve[0]
        return {"n": scores.n, **found}

    probabilities = reliabilities(evaluation)
    return {
        **of(evaluation.overall),
        "groups": [{"by": axis, "name": name, **of(scores)} for axis, name, scores in evaluation.groups],
        "reliability": {
            name: {
                "error": plain(found.error),
                "bins": [
                    {"said": plain(said), "male": plain(true), "n": int(count)}
                    for said, true, count in zip(*found, strict=True)
                ],
            }
            for name, found in probabilities.items()
        },
        "faces": evaluation.says,
        "set": evaluation.name,
        "notes": evaluation.notes,
        "weight_file": evaluation.weight_file,
        "input": evaluation.input,
        "age_scale": evaluation.scale.name,
        "unsure_below": evaluation.unsure_below,
        "trivial": evaluation.trivial,
    }


def metrics_of_several(evaluations: list[Evaluation], comparisons: list[Comparison]) -> dict[str, object]:
    """Several evaluations, their means and deviations, and the comparisons, as JSON takes them."""
    return {
        "evaluations": [metrics_of(each) for each in evaluations],
        "over_checkpoints": [
            {
                "set": name,
                "checkpoints": count,
                "mean": {stat: plain(mean) for stat, (mean, _) in found.items()},
                "standard_deviation": {stat: plain(deviation) for stat, (_, deviation) in found.items()},
            }
            for name, count, found in deviations(evaluations)
        ],
        "comparisons": [
            {
                **{"weight_file": each.weight_file, "less": each.other, "set": each.name, "n": each.n},
                "differences": {name: found._asdict() for name, found in each.differences.items()},
            }
            for each in comparisons
        ],
    }


def write(folder: Path, evaluation: Evaluation, text: str, drawn: list[Picture]) -> None:
    """table.txt, metrics.json, predictions.csv and the pictures of one evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    faces, scale = evaluation.faces, evaluation.scale
    if scale != YEARS:
        groups = {column: named(faces[column].to_numpy(), scale.names, "") for column in ("group", "said")}
        faces = faces.assign(**groups)
    write_text(folder / "table.txt", text)
    write_json(folder / "metrics.json", metrics_of(evaluation))
    with replacing(folder / "predictions.csv") as path:
        faces.to_csv(path, index=False, float_format="%.4f", errors="backslashreplace")
    for picture in drawn:
        write_picture(folder, picture)


def write_text(path: Path, text: str) -> None:
    """A text file."""
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: dict[str, object]) -> None:
    """A JSON file."""
    write_text(path, json.dumps(content, indent=1))


def write_picture(folder: Path, picture: Picture) -> None:
    """A picture under its name."""
    with replacing(folder / f"{picture.name}.png") as path:
        path.write_bytes(picture.png)


def write_scores(path: Path, evaluations: list[Evaluation]) -> None:
    """scores.csv: a row for each statistic of each group of each evaluation."""
    import pandas as pd

    rows = [
        {
            **{"weight_file": each.weight_file, "set": each.name, "by": axis, "name": name, "n": scores.n},
            **{"statistic": statistic, **estimate._asdict()},
        }
        for each in evaluations
        for axis, name, scores in [("all", "all", each.overall), *each.groups]
        for statistic, estimate in scores.estimates.items()
    ]
    with replacing(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g", errors="backslashreplace")


# ------------------------------------------------------------------------------------------------- pictures


def reliabilities(evaluation: Evaluation) -> dict:
    """How reliable the probabilities of gender are: as the network gives them, and calibrated."""
    gender = evaluation.faces.gender.to_numpy()
    if not (gender != UNKNOWN).any():
        return {}
    columns = {"calibrated": "p_male", "the network's own": "p_male_network"}
    if "p_male_network" not in evaluation.faces:
        columns = {"the network's own": "p_male"}
    return {name: reliability(gender, evaluation.faces[column].to_numpy()) for name, column in columns.items()}


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
        png = plots.draw_reliability(reliabilities(evaluation))
        says = "Gender: of the faces that are called male with some probability, how many are; larger: more faces"
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
        chosen = [(band, scores.n, scores[name]) for band, scores in bands]
        return plots.draw_by_band(
            [(b, n, scaled(name, e)) for b, n, e in chosen], scaled(name, overall[name]).value, heading(name), **more
        )

    curve = [overall[f"cs{years}"] for years in range(MOST_YEARS + 1)]
    decades = decade_of(np.clip(np.rint(expected[aged]), 0, None)), decade_of(age[aged])
    names = tuple(f"{10 * index}s" for index in range(10))
    drawn = [
        Picture(
            "true_against_expected",
            plots.draw_true_against_expected(age[aged], expected[aged], gender[aged]),
            "Expected age of each face over its true age",
        ),
        Picture("error_by_decade", by_band("age_mae"), "Mean absolute error of each decade of age"),
        Picture("cs_curve", plots.draw_cs_curve(curve), "Share of the faces whose age is hit within k years"),
        Picture(
            "age_confusion",
            plots.draw_confusion(decades[1], decades[0], names, "age"),
            "Decades of age: true and predicted",
        ),
        Picture(
            "mean_distributions",
            plots.draw_mean_distributions(age[aged], evaluation.p_age[aged]),
            "Mean predicted distribution of the faces of each decade",
        ),
    ]
    if "interval_coverage" in overall.estimates:
        png = by_band("interval_coverage", aim=100 * evaluation.level)
        drawn.append(
            Picture(
                "interval_coverage", png, f"Share of the ages that lie within their {evaluation.level:.0%} interval"
            )
        )
        drawn.append(
            Picture("interval_width", by_band("interval_width"), f"Mean width of the {evaluation.level:.0%} intervals")
        )
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
    return [
        Picture(
            name,
            plots.draw_samples(evaluation.images[evaluation.rows[chosen]], *captions(evaluation, chosen)),
            says,
        )
        for name, says, chosen in grids(evaluation, seed)
    ]


def captions(evaluation: Evaluation, chosen: np.ndarray) -> tuple[list[str], list[str], np.ndarray]:
    """Of some faces: what is true ('34, F'), what is predicted, and (n,) whether the gender is wrong."""
    faces, scale = evaluation.faces.iloc[chosen], evaluation.scale
    gender, said = faces.gender.to_numpy(), likelier_gender(faces.p_male)
    if scale == YEARS:
        true = [str(year) if year != UNKNOWN else "?" for year in faces.age]
        predicted = [f"{year:.0f}" for year in faces.expected_age]
    else:
        true = [scale.names[index] if index != UNKNOWN else "?" for index in faces["group"]]
        predicted = [scale.names[index] for index in faces.said]
    return (
        [f"{a}, {GENDERS[g] if g != UNKNOWN else '?'}" for a, g in zip(true, gender, strict=True)],
        [f"{a}, {GENDERS[g]}" for a, g in zip(predicted, said, strict=True)],
        (gender != UNKNOWN) & (said != gender),
    )


def part_of(evaluation: Evaluation, drawn: list[Picture], seed: int, prefix: str) -> dict[str, object]:
    """An evaluation's part of the page, as its template takes it."""
    overall = evaluation.overall
    rows = [
        (heading(name), with_interval(name, overall[name]), number(name, overall[name].trivial))
        for name in shown(overall)
    ]
    small, crossed = (
        [group for group in evaluation.groups if is_crossed(group[0]) == wanted] for wanted in (False, True)
    )
    crossed_rows, titles = score_rows(overall, crossed, "")
    intervals = interval_rows(evaluation)
    return {
        "prefix": prefix,
        "origin": f"{evaluation.weight_file} on {', '.join(evaluation.input)}: {evaluation.says}.",
        "notes": evaluation.notes,
        "overall": (("", "value (95% interval)", "trivial answer"), rows),
        "worst": worst_groups(evaluation.groups).splitlines(),
        "groups": score_rows(overall, small, "")[::-1],
        "level": f"{evaluation.level:.0%}",
        "intervals": intervals and intervals[::-1],
        "pictures": drawn,
        "faces": shown_once(evaluation, grids(evaluation, seed)),
        "crossed_by": crossed[0][0] if crossed else "",
        "crossed": (titles, crossed_rows[1:]) if crossed else None,
    }


def shown_once(evaluation: Evaluation, chosen: list[tuple[str, str, np.ndarray]]) -> list[tuple]:
    """The groups of `grids` with their faces: the sample without those that are in the others."""
    (name, _, sample), *extremes = chosen
    others = np.setdiff1d(sample, np.concatenate([places for *_, places in extremes] or [[]]))
    groups = [(name, f"A sample of the {'other ' * bool(extremes)}faces", others), *extremes]
    return [(name, says, faces_of(evaluation, places)) for name, says, places in groups if len(places)]


def faces_of(evaluation: Evaluation, chosen: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Some faces, each with what is true and what was predicted."""
    true, predicted, _ = captions(evaluation, chosen)
    images = evaluation.images[evaluation.rows[chosen]]
    return [(image, f"{known} → {said}") for image, known, said in zip(images, true, predicted, strict=True)]
