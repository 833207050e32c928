"""What evaluate.py writes: tables of scores as text, CSV and JSON, pictures, and one HTML page that holds all of it."""

import json
import math
import os
from datetime import datetime
from pathlib import Path

import numpy as np

from age_gender import __version__
from age_gender.cli import counted
from age_gender.files import real, replacing, scratch, write_text
from evaluation import pages, tables
from evaluation.comparisons import Comparison, not_compared
from evaluation.metrics import CS_YEARS
from evaluation.pictures import Picture, captions, face_pictures, grids, pictures, separation
from evaluation.runs import runs_table, write_paper_tables
from evaluation.scoring import Evaluation

TERMS = (
    ("MAE", "mean absolute error: how many years the said age is away from the true one, on average"),
    (f"CS@{CS_YEARS}", f"cumulative score: the share of faces whose said age is at most {CS_YEARS} years off"),
    ("bias", "the mean of said less true age: above 0 faces are taken for older than they are"),
    ("trivial answer", "what one age and one gender for every face would reach, the best ones for the training faces"),
    ("(4.52-5.03)", "95% interval: what another sample of as many faces would give, by bootstrap over the faces"),
)
RESULT = {  # the statistics that the result is said by, each in words
    "age_mae": "the age is off by {} on average",
    "exact": "the age group is right for {}",
    "gender_accuracy": "the gender is right for {}",
}
RESULT_FILES = ("report.html", "table.txt", "table.csv", "table.tex", "metrics.json", "scores.csv", "predictions.csv")
RESULTS = "results.txt"  # the list of all files that an evaluation wrote


def report_on(
    evaluations: list[Evaluation], comparisons: list[Comparison], folder: Path, seed: int, command: str
) -> None:
    """Prints what was found, and writes it into a folder; of several evaluations each has a folder of its own in it.

    The results of an earlier evaluation in the folder are replaced as a whole, once all new ones are written.
    The page names the command that made it.
    """
    several = len(evaluations) > 1
    with scratch(folder) as unfinished:
        if several:
            text = _write_several(unfinished, evaluations, comparisons, seed, command)
        else:
            text, part = _write_evaluation(unfinished, evaluations[0], seed, "")
            _write_report(unfinished, command, None, [part])
        tables.write_csv(unfinished / "scores.csv", tables.scores_table(evaluations), "%.6g")
        write_paper_tables(unfinished, evaluations)
        _put_in_place(unfinished, folder)
    print(f"\n{text}")
    print("\nintervals: 95%, bootstrap over faces; of shares near 0 or 100%, Wilson's")
    print(f"{', '.join(RESULT_FILES)} and plots in {folder}/{' and its folders' * several}")


def report_runs(evaluations: list[Evaluation], comparisons: list[Comparison], folder: Path) -> None:
    """Prints one table of runs, and writes it as table.txt, table.csv and table.tex; as `report_on` does it, results of
    an earlier evaluation in the folder are replaced."""
    text = "\n\n".join([runs_table(evaluations, comparisons), *filter(None, [not_compared(evaluations, comparisons)])])
    with scratch(folder) as unfinished:
        write_text(unfinished / "table.txt", text + "\n")
        write_paper_tables(unfinished, evaluations, means=False)
        _put_in_place(unfinished, folder)
    print(f"\n{text}\n\nintervals: 95%, bootstrap over faces; differences: paired, on the same faces")
    print(f"table.txt, table.csv and table.tex in {folder}/")


def folders(evaluations: list[Evaluation]) -> list[str]:
    """The folder of each of several evaluations: the checkpoint's number and the faces' name."""
    numbers = {file: number for number, file in enumerate(dict.fromkeys(each.weight_file for each in evaluations), 1)}
    names = []
    for each in evaluations:
        words = "".join(letter if letter.isalnum() else "_" for letter in each.set.name)
        name = plain = f"{numbers[each.weight_file]}_{words}"
        count = 1
        while name.casefold() in map(str.casefold, names):
            count += 1
            name = f"{plain}_{count}"
        names.append(name)
    return names


def _write_several(
    folder: Path, evaluations: list[Evaluation], comparisons: list[Comparison], seed: int, command: str
) -> str:
    """The results of each evaluation in its folder, those of all, and the page; returns the text of all."""
    parts = []
    for evaluation, own in zip(evaluations, folders(evaluations), strict=True):
        print(f"{evaluation.weight_file}: {evaluation.set.name}, {evaluation.set.says}")
        parts.append(_write_evaluation(folder / own, evaluation, seed, f"{own}: ")[1])
    blocks, apart = tables.across(evaluations, comparisons), not_compared(evaluations, comparisons)
    drawn = separation(evaluations)
    text = tables.text_across(blocks, apart)
    write_text(folder / "table.txt", text + "\n")
    found = tables.metrics_of_several(evaluations, comparisons)
    write_text(folder / "metrics.json", json.dumps(found, indent=1) + "\n")
    _write_pictures(folder, drawn)
    _write_report(folder, command, {"tables": blocks, "apart": apart, "pictures": drawn}, parts)
    return text


def _write_evaluation(folder: Path, evaluation: Evaluation, seed: int, prefix: str) -> tuple[str, dict[str, object]]:
    """table.txt, metrics.json, predictions.csv and the pictures of one evaluation; returns its text, and its part of
    the page."""
    text, drawn = tables.text_of(evaluation), pictures(evaluation)
    write_text(folder / "table.txt", text + "\n")
    write_text(folder / "metrics.json", json.dumps(tables.metrics_of(evaluation), indent=1) + "\n")
    tables.write_csv(folder / "predictions.csv", tables.faces_table(evaluation), "%.4f")
    _write_pictures(folder, [*drawn, *face_pictures(evaluation, seed)])
    return text, part_of(evaluation, drawn, seed, prefix)


def _write_pictures(folder: Path, drawn: list[Picture]) -> None:
    for picture in drawn:
        with replacing(folder / f"{picture.name}.png") as path:
            path.write_bytes(picture.png)


def _write_report(folder: Path, command: str, overview: dict[str, object] | None, parts: list[dict]) -> None:
    made = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}, version {__version__}: {command}"
    content = {"made": made, "terms": TERMS, "overview": overview, "evaluations": parts}
    pages.write_page(folder / "report.html", "report.html", title="Age and gender: evaluation", **content)


def _put_in_place(finished: Path, folder: Path) -> None:
    """Moves results into a folder, from which those of an earlier evaluation go: what its list names, no more. However
    it is stopped, the list names all that is there."""
    names = sorted(path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file())
    listed = _listed(folder)
    write_text(folder / RESULTS, "\n".join([*names, *listed, RESULTS, ""]))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(finished / name, folder / name)
    for path in (folder / name for name in listed if name not in {*names, RESULTS}):
        if real(path).is_relative_to(real(folder)) and path.is_file():
            path.unlink()
            if path.parent != folder and not any(path.parent.iterdir()):
                path.parent.rmdir()
    write_text(folder / RESULTS, "\n".join([*names, RESULTS, ""]))


def _listed(folder: Path) -> list[str]:
    """What the list of an earlier evaluation names; [] where there is none."""
    earlier = folder / RESULTS
    return earlier.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if earlier.is_file() else []


def refuse_foreign(folder: Path) -> None:
    """Raises ValueError where results would replace what no evaluation has written: they are listed in RESULTS, since
    version 0.7."""
    listed = _listed(folder)
    earlier = listed or all((folder / name).is_file() for name in ("report.html", "metrics.json"))
    taken = RESULTS if listed and listed[-1] != RESULTS else ""
    if not earlier:
        taken = next((name for name in RESULT_FILES if (folder / name).exists()), "")
    if taken:
        raise ValueError(f"{folder / taken} is not of evaluate.py; name another folder with --output_dir")


def part_of(evaluation: Evaluation, drawn: list[Picture], seed: int, prefix: str) -> dict[str, object]:
    """An evaluation's part of the page, as its template takes it."""
    overall, groups = evaluation.overall, evaluation.groups
    rows = [
        (tables.heading(name), tables.with_interval(name, overall[name]), tables.number(name, overall[name].trivial))
        for name in tables.shown(overall)
    ]
    small, crossed = ([group for group in groups if tables.is_crossed(group[0]) == wanted] for wanted in (False, True))
    crossed_rows, titles = tables.score_rows(overall, crossed, "")
    intervals, result = tables.interval_rows(evaluation), result_in_words(evaluation)
    return {
        "prefix": prefix,
        "result": f"{evaluation.weight_file}, {result}" if prefix else result,
        "origin": f"{evaluation.weight_file} on {', '.join(evaluation.input)}: {evaluation.set.says}.",
        "notes": evaluation.notes,
        "overall": (("", "value (95% interval)", "trivial answer"), rows),
        "worst": [*tables.worst_groups(groups).splitlines(), *map(tables.gap_in_words, evaluation.gaps)],
        "groups": tables.score_rows(overall, small, "")[::-1],
        "level": f"{evaluation.level:.0%}",
        "intervals": intervals and intervals[::-1],
        "pictures": drawn,
        "faces": shown_once(evaluation, grids(evaluation, seed)),
        "crossed_by": crossed[0][0] if crossed else "",
        "crossed": (titles, crossed_rows[1:]) if crossed else None,
    }


def result_in_words(evaluation: Evaluation) -> str:
    """The result in one sentence: '1,478 faces: the age is off by 4.78 years (4.52-5.03), where ...'."""
    overall, said = evaluation.overall, []
    for name, says in RESULT.items():
        if name in overall.estimates and not math.isnan(overall[name].value):
            unit = " years" if name == "age_mae" else "%"
            trivial = f", where one answer for all gives {tables.number(name, overall[name].trivial)}{unit}"
            said.append(says.format(tables.with_interval(name, overall[name], unit=unit)) + trivial)
    return f"{counted(len(evaluation.faces))}: {'; '.join(said) or 'none has a label'}."


def shown_once(evaluation: Evaluation, chosen: list[tuple[str, str, np.ndarray]]) -> list[tuple]:
    """The groups of `grids` with their faces: the sample without those that are in the others."""
    (name, _, sample), *extremes = chosen
    others = np.setdiff1d(sample, np.concatenate([places for *_, places in extremes] or [[]]))
    groups = [(name, f"A sample of the {'other ' * bool(extremes)}faces", others), *extremes]
    return [(name, says, faces_of(evaluation, places)) for name, says, places in groups if len(places)]


def faces_of(evaluation: Evaluation, chosen: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Some faces, each with what is true and what was predicted."""
    true, predicted, _ = captions(evaluation, chosen)
    images = evaluation.images[evaluation.set.rows[chosen]]
    return [(image, f"{known} → {said}") for image, known, said in zip(images, true, predicted, strict=True)]
