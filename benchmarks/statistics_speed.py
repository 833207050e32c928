"""How long do the statistics of 100,000 faces take, once they are predicted?

    python benchmarks/statistics_speed.py

Draws labels and predictions as a model of average quality makes them, then computes what evaluate.py does: every score
with its bootstrap interval, of all faces and by age, gender, race and all three together; and the paired comparison of
two models. Peer: `scipy.stats.bootstrap` of the mean absolute error alone, of all faces alone.
"""

import argparse

import common  # makes the suite's modules importable
import numpy as np
from scipy import stats

from age_gender import cli
from age_gender.labels import DECADES, NUM_AGES, decade_of
from evaluation.metrics import RESAMPLES, Outcomes, age_sums, compare, gender_sums, score


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "statistics_speed.py")
    parser.add_argument("--faces", **cli.numeric("N", int, 100, default=100_000), help="how many")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Draw, time, report."""
    args = common.parse(build_parser(), argv, {"faces": 2_000, "repeats": 2})
    rng = np.random.default_rng(0)
    age, gender, race = (rng.integers(0, count, args.faces) for count in (NUM_AGES, 2, 5))

    def predicted():
        p_male = np.clip(0.5 + (gender - 0.5) * rng.normal(0.8, 0.5, args.faces), 0, 1)
        expected = np.clip(age + rng.normal(0, 6, args.faces), 0, 100)
        return Outcomes({**age_sums(age, expected), **gender_sums(gender, p_male)}, gender, p_male)

    one, other = predicted(), predicted()
    decade = decade_of(age)
    axes = [(decade, len(DECADES)), (gender, 2), (race, 5), (decade * 10 + gender * 5 + race, 10 * len(DECADES))]

    def groups():
        for labels, count in axes:
            for index in range(count):
                chosen = one.of(labels == index)
                score(chosen, chosen)

    errors = (np.abs(one.sums["age_mae"]),)
    batch = max(1, 4_000_000 // args.faces)
    tasks = {
        "all faces": lambda: score(one, one),
        "by age, gender, race and all three": groups,
        "two models compared": lambda: compare(one, other),
        "peer: scipy's bootstrap, one mean": lambda: stats.bootstrap(
            errors, np.mean, n_resamples=RESAMPLES, batch=batch, vectorized=True, method="percentile", rng=0
        ),
    }
    seconds = common.interleaved(tasks, args.repeats)
    rows = [{"what": name, "faces": args.faces, "seconds": common.spread(each)} for name, each in seconds.items()]
    common.show(rows, {"": ("what", ""), "seconds": ("seconds", ".2f")})
    common.report("statistics_speed", args, rows)


if __name__ == "__main__":
    cli.run(main)
