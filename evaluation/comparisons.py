"""Several checkpoints beside each other: each against the first on the same faces, and their mean and deviation."""

from typing import NamedTuple

import numpy as np

from evaluation.metrics import Difference, compare
from evaluation.scoring import Evaluation


class Comparison(NamedTuple):
    """Two checkpoints on the faces that both were scored on: the first's scores less the second's.

    `name` is that of the smaller set of faces, `own` that of the first's.
    """

    weight_file: str
    other: str
    name: str
    n: int
    differences: dict[str, Difference]
    own: str


def compared(evaluations: list[Evaluation], seed: int) -> list[Comparison]:
    """Each checkpoint against the first, on the faces that both were scored on, by the paired bootstrap."""
    found = []
    first = [each for each in evaluations if each.weight_file == evaluations[0].weight_file]
    for other in evaluations:
        for base in first if other.weight_file != first[0].weight_file else ():
            if (base.set.by_name or other.set.by_name) and base.set.name != other.set.name:
                continue
            common, mine, others = np.intersect1d(other.identity, base.identity, return_indices=True)
            if len(common) > 1:
                differences = compare(other.outcomes.of(mine, True), base.outcomes.of(others, True), seed)
                smaller = min(base, other, key=lambda each: len(each.set.rows))
                names = other.weight_file, base.weight_file, smaller.set.name
                found.append(Comparison(*names, len(common), differences, other.set.name))
    return found


def not_compared(evaluations: list[Evaluation], comparisons: list[Comparison]) -> str:
    """Says which checkpoints share no faces with the first; "" if all do."""
    first, compared_ones = evaluations[0].weight_file, {each.weight_file for each in comparisons}
    apart = dict.fromkeys(each.weight_file for each in evaluations if each.weight_file not in {first, *compared_ones})
    return f"Not compared with {first}, for want of faces in common: {', '.join(apart)}." if apart else ""


def deviations(evaluations: list[Evaluation]) -> list[tuple[str, int, dict[str, tuple[float, float]]]]:
    """Of each set of faces that several checkpoints were scored on: its name, how many, and mean and deviation.

    What each checkpoint's own training held out is one set, such as the test parts of k folds, whichever databases it
    comes from.
    """

    def set_of(each: Evaluation) -> tuple[str, tuple]:
        return each.set.name, () if each.set.own else tuple(each.input)

    found = []
    for name, inputs in dict.fromkeys(map(set_of, evaluations)):
        chosen = [each for each in evaluations if set_of(each) == (name, inputs)]
        scores = [each.overall for each in chosen]
        if len({each.weight_file for each in chosen}) == len(chosen) > 1:
            common = [stat for stat in scores[0].estimates if all(stat in each.estimates for each in scores)]
            values = {stat: np.array([each[stat].value for each in scores]) for stat in common}
            spread = {stat: (float(v.mean()), float(v.std(ddof=1))) for stat, v in values.items()}
            found.append((name, len(scores), spread))
    return found
