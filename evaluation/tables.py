"""Scores as tables: for the terminal, for the page, as CSV and as JSON."""

import math
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from age_gender.cli import counted
from age_gender.files import guarded, replacing
from age_gender.labels import YEARS
from evaluation.comparisons import Comparison, deviations
from evaluation.fairness import Gap
from evaluation.metrics import CS_YEARS, MOST_YEARS, Difference, Estimate, Scores
from evaluation.scoring import Evaluation, named, reliabilities

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
    rounded = round(value * factor, digits) + 0.0  # which makes 0.0 of -0.0
    return "-" if math.isnan(value) else f"{rounded:{'+' * signed}.{digits}f}"


def with_interval(name: str, estimate: Estimate | Difference, signed: bool = False, unit: str = "") -> str:
    """'4.60 (4.34-4.86)'; '-0.10 (-0.20 to +0.01)' where signed; '4.60 years (4.34-4.86)' with a unit."""
    value = number(name, estimate.value, signed) + unit
    if math.isnan(estimate.low):
        return value
    low, high = (number(name, end, signed) for end in (estimate.low, estimate.high))
    between = " to " if signed or estimate.low < 0 else "-"
    return f"{value} ({low}{between}{high})"


def faces_of(scores: Scores) -> str:
    """'1,400'; '1,400, 26 by age' where the others have no age that is scored."""
    return f"{scores.n:,}" + f", {scores.aged:,} by age" * (0 < scores.aged < scores.n)


def tabulated(rows: list, headings: Iterable[str]) -> str:
    """A table for the terminal, its first column to the left."""
    return tabulate(rows, tuple(headings), stralign="right", colalign=("left",), disable_numparse=True)


def interval_rows(evaluation: Evaluation) -> tuple[list[tuple], list[str]] | None:
    """Rows of all faces and of each age band: coverage and width of the age intervals; and the headings. None where no
    age is scored."""
    names = shown(evaluation.overall, ("interval_coverage", "interval_width"))
    if not names or not evaluation.overall.aged:
        return None
    bands = [(f"age {name}", scores) for axis, name, scores in evaluation.groups if axis == "age"]
    rows = [
        (title, faces_of(scores), *(with_interval(name, scores[name]) for name in names))
        for title, scores in [("all", evaluation.overall), *bands]
    ]
    return rows, ["faces", "n", *map(heading, names)]


def score_rows(overall: Scores, groups: list, factor_sign: str = "%") -> tuple[list[tuple], list[str]]:
    """Rows of all faces and of their groups, with the trivial answer beside each statistic; and the headings."""
    names = shown(overall, FOREMOST)

    def row(title: str, scores: Scores) -> tuple:
        """Each statistic with its interval, and the trivial answer's."""
        cells = []
        for name in names:
            estimate, sign = scores[name], factor_sign * (HEADINGS[name][1] != "years")
            unknown = math.isnan(estimate.trivial) or math.isnan(estimate.value)
            cells += [with_interval(name, estimate), "-" if unknown else number(name, estimate.trivial) + sign]
        return (title, faces_of(scores), *cells)

    rows = [row("all", overall)]
    rows += [row(name if is_crossed(axis) else f"{axis} {name}", scores) for axis, name, scores in groups]
    return rows, ["faces", "n", *(text for name in names for text in (heading(name), "trivial"))]


def text_of(evaluation: Evaluation) -> str:
    """All that is said of one evaluation: tables, worst groups, and the statistics of all faces that stand in none."""
    few = [group for group in evaluation.groups if not is_crossed(group[0])]
    lines = [
        f"{evaluation.weight_file} on {', '.join(evaluation.input)}: {evaluation.set.says}",
        *evaluation.notes,
        "",
        tabulated(*score_rows(evaluation.overall, few)),
        "",
        worst_groups(evaluation.groups),
        *map(gap_in_words, evaluation.gaps),
        "",
        *(
            f"{heading(name)}: {with_interval(name, evaluation.overall[name])}"
            for name in shown(evaluation.overall)
            if name not in FOREMOST
        ),
        f"unsure is a likelier gender below {100 * evaluation.unsure_below:g}%",
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
            rule = f" (groups of {LEAST_FACES} faces or more)" * (len(large) < len(order))
            said.append(f"worst by {axis}{rule}: {of_group(*large[-1])}, {behind(large[-1][1], large[0])}")
        if len(order) > 1 and order[-1] not in large and badness(order[0][1]) < badness(order[-1][1]):
            said.append(f"worst by {axis} (groups of any size): {of_group(*order[-1])}, too few to be sure")
        lines += ["; ".join(said)] * bool(said)
    return "\n".join(lines)


def guarded_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """A table in which no text is a formula."""
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.assign(**{name: list(map(guarded, frame[name])) for name in texts})


def gap_in_words(gap: Gap) -> str:
    """'by race at equal ages (8 decades, 1,400 faces): age MAE of Black 5.20 years, 0.80 (0.20 to 1.40) more than
    Asian'."""
    years = gap.statistic == "age_mae"
    value, away, low, high = (number(gap.statistic, v) for v in (gap.worst_value, gap.value, gap.low, gap.high))
    name, unit, more = HEADINGS[gap.statistic][0], " years" if years else "%", "more" if years else "points less"
    ages = f"at equal ages ({counted(gap.decades, 'decade')}, " if gap.decades else "(ages unknown, "
    said = f"by {gap.axis} {ages}{gap.n:,} faces): {name} of"
    if not gap.value:
        return f"{said} each {value}{unit}"
    return f"{said} {gap.worst} {value}{unit}, {away} ({low} to {high}) {more} than {gap.best}"


def badness(scores: Scores) -> float:
    """How badly ages are served: larger is worse."""
    name, estimate = foremost(scores)
    return estimate.value if name == "age_mae" else -estimate.value


def of_group(name: str, scores: Scores) -> str:
    """'80-89, 9.00 years (8.00-10.00) over 25 faces'."""
    statistic, estimate = foremost(scores)
    unit = " years" if statistic == "age_mae" else "% in the right age group"
    return f"{name}, {with_interval(statistic, estimate, unit=unit)} over {counted(scores.aged)}"


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


def across(evaluations: list[Evaluation], comparisons: list[Comparison]) -> list[tuple]:
    """All evaluations in one table, mean and deviation over checkpoints, the comparisons: what each says, its headings
    and its rows."""
    names = shown(evaluations[0].overall, FOREMOST)
    titles = ("checkpoint", "faces", "n", *map(heading, names))
    rows = [
        (each.weight_file, each.set.name, faces_of(each.overall), *(with_interval(k, each.overall[k]) for k in names))
        for each in evaluations
    ]
    tables = [("", titles, rows)]
    if spread := deviations(evaluations):
        titles = ("faces", "checkpoints", *map(heading, names))
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
        says = f"Difference from {comparisons[0].other} on the same faces (95% interval, p of the paired bootstrap):"
        tables.append((says, titles, rows))
    return tables


def text_across(tables: list[tuple], apart: str) -> str:
    """The tables of `across`, and what was not compared, for the terminal."""
    blocks = [f"{says}\n{tabulated(rows, titles)}".strip() for says, titles, rows in tables]
    return "\n\n".join([*blocks, *[apart] * bool(apart)])


# ------------------------------------------------------------------------------------------ as files


def write_csv(path: Path, frame: pd.DataFrame, float_format: str | None = None) -> None:
    """Writes a table in which no text is a formula."""
    with replacing(path) as temporary:
        guarded_cells(frame).to_csv(temporary, index=False, float_format=float_format, errors="surrogateescape")


def plain(value: float) -> float | None:
    """A number as JSON takes it: None for NaN."""
    return None if math.isnan(value) else float(value)


def metrics_of(evaluation: Evaluation) -> dict[str, object]:
    """An evaluation as JSON takes it: what does not exist is None."""

    def of(scores: Scores) -> dict[str, object]:
        """Scores as JSON takes them, CS@0, CS@1, ... as one list."""
        found = {
            name: {key: plain(value) for key, value in estimate._asdict().items()}
            for name, estimate in scores.estimates.items()
        }
        curve = [found.pop(f"cs{years}") for years in range(MOST_YEARS + 1) if f"cs{years}" in found]
        if len(curve) > 1:
            found |= {f"cs{CS_YEARS}": curve[CS_YEARS], "cs_curve": curve}
        elif curve:
            found[f"cs{CS_YEARS}"] = curve[0]
        return {"n": scores.n, "aged": scores.aged, **found}

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
        "gaps": [gap._asdict() for gap in evaluation.gaps],
        "faces": evaluation.set.says,
        "set": evaluation.set.name,
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
                "mean": {stat: plain(found[stat][0]) for stat in HEADINGS if stat in found},
                "standard_deviation": {stat: plain(found[stat][1]) for stat in HEADINGS if stat in found},
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


def scores_table(evaluations: list[Evaluation]) -> pd.DataFrame:
    """A row for each statistic of each group of each evaluation."""
    return pd.DataFrame(
        {
            **{"weight_file": each.weight_file, "set": each.set.name, "by": axis, "name": name, "n": scores.n},
            **{"statistic": statistic, **estimate._asdict()},
        }
        for each in evaluations
        for axis, name, scores in [("all", "all", each.overall), *each.groups]
        for statistic, estimate in scores.estimates.items()
    )


def faces_table(evaluation: Evaluation) -> pd.DataFrame:
    """A row for each face, its age groups by name."""
    faces, scale = evaluation.faces, evaluation.scale
    if scale == YEARS:
        return faces
    return faces.assign(**{column: named(faces[column].to_numpy(), scale.names, "") for column in ("group", "said")})
