"""Several runs in one table, best first, and the tables of an evaluation as a paper has them: CSV and LaTeX."""

import re
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from age_gender.files import write_text
from evaluation.comparisons import Comparison, deviations
from evaluation.scoring import Evaluation
from evaluation.tables import FOREMOST, badness, faces_of, heading, number, shown, tabulated, with_interval, write_csv
from networks.checkpoints import BEST, best_of, choose, is_exported, runs_in

CHECKPOINTS = (".hdf5", ".h5", ".keras")


def runs_among(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """The best checkpoint of each run that some paths mean, such as checkpoints/*: folders of runs, checkpoints and
    exported files; and the paths that mean none."""
    found, others = {}, []
    for path in paths:
        within = path.name == BEST or path.match("weights.*.hdf5")
        run = path.parent if within else path
        try:
            if not (run.is_dir() or is_exported(run) or run.suffix in CHECKPOINTS):
                raise FileNotFoundError
            for each in [run] if within else runs_in(run) or [run]:
                found[best_of(each) or choose(each)] = True
        except FileNotFoundError:
            others.append(path)
    return list(found), others


def names_of(evaluations: list[Evaluation]) -> list[str]:
    """A short name for the model of each evaluation: its run's folder or its file's stem; its path where another one
    has that name."""
    files = list(dict.fromkeys(each.weight_file for each in evaluations))
    short = {}
    for file in files:
        path = Path(file)
        in_a_run = path.name == BEST or path.match("weights.*.hdf5")
        short[file] = path.absolute().parent.name if in_a_run else path.stem
    alike = {name for name in short.values() if list(short.values()).count(name) > 1}
    return [each.weight_file if short[each.weight_file] in alike else short[each.weight_file] for each in evaluations]


def best_first(evaluations: list[Evaluation]) -> list[Evaluation]:
    """The evaluations in the order of their age errors, or of their hits of age groups; of genders where ages are
    unknown. Those on the same faces stand together."""
    sets = list(dict.fromkeys(_faces(each) for each in evaluations))

    def order(each: Evaluation) -> tuple:
        age, gender = badness(each.overall), -each.overall["gender_accuracy"].value
        return sets.index(_faces(each)), *(value if value == value else float("inf") for value in (age, gender))

    return sorted(evaluations, key=order)


def _faces(evaluation: Evaluation) -> tuple[str, int]:
    return evaluation.set.name, hash(tuple(evaluation.identity))


def runs_table(evaluations: list[Evaluation], comparisons: list[Comparison]) -> str:
    """One table of runs for the terminal, in the order given; each beside what it is worse by than the first on the
    faces that both were scored on, and how many these are where they are not all of its own. Below it stands which
    faces each was scored on, and what speaks against the scores."""
    names = shown(evaluations[0].overall, FOREMOST)
    worse = {(each.weight_file, each.own): each for each in sorted(comparisons, key=lambda each: each.n)}
    rows = []
    for title, each in zip(names_of(evaluations), evaluations, strict=True):
        cells = [with_interval(name, each.overall[name]) for name in names]
        found = worse.get((each.weight_file, each.set.name))
        difference = found.differences.get(names[0]) if found else None
        if difference:
            common = f", {found.n:,} in common" * (found.n != each.overall.n)
            cells += [with_interval(names[0], difference, signed=True) + common, f"{difference.p:.3f}"]
        else:
            cells += ["", ""]
        rows.append((title, each.set.name, faces_of(each.overall), *cells))
    titles = ("run", "faces", "n", *map(heading, names), f"{heading(names[0])}, difference from the first", "p")
    faces: dict[tuple, list[str]] = {}  # those of two folds are said in the same words
    for title, each in zip(names_of(evaluations), evaluations, strict=True):
        faces.setdefault((*_faces(each), each.set.says), []).append(title)
    says = [f"{', '.join(runs)}: {words}" for (*_, words), runs in faces.items()]
    return "\n".join([tabulated(rows, titles), "", *says])


# ------------------------------------------------------------------------------------------ as files


def write_paper_tables(folder: Path, evaluations: list[Evaluation], means: bool = True) -> None:
    """Writes table.csv, a number a cell or none, and table.tex, booktabs: if asked for, the mean and the deviation over
    checkpoints, where several were scored on one kind of faces; then each model with its 95% intervals."""
    names = shown(evaluations[0].overall, FOREMOST)
    plain, cells = [], []
    for faces, count, found in deviations(evaluations) if means else ():
        row = {"model": f"mean of {count}", "faces": faces, "n": "", "n by age": ""}
        pairs = {name: [number(name, value) for value in found[name]] for name in names}
        for name, pair in pairs.items():
            row |= dict(zip((heading(name), f"{heading(name)} deviation"), pair, strict=True))
        plain.append(row)
        cells.append((row["model"], faces, "", *map(" ± ".join, pairs.values())))
    for title, each in zip(names_of(evaluations), evaluations, strict=True):
        row = {"model": title, "faces": each.set.name, "n": each.overall.n, "n by age": each.overall.aged}
        for name in names:
            value, low, high = (number(name, end) for end in each.overall[name][:3])
            row |= {heading(name): value, f"{heading(name)} low": low, f"{heading(name)} high": high}
        plain.append(row)
        intervals = [re.sub(r"(?<=\d)-(?=\d)", "--", with_interval(name, each.overall[name])) for name in names]
        cells.append((title, each.set.name, faces_of(each.overall), *intervals))
    titles = ("model", "faces", "n", *map(heading, names))
    tex = tabulate(cells, titles, "latex_booktabs", stralign="right", colalign=("left",), disable_numparse=True)
    write_csv(folder / "table.csv", pd.DataFrame(plain).replace("-", ""))
    write_text(folder / "table.tex", tex + "\n")
