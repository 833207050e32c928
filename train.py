# PYTHON_ARGCOMPLETE_OK
"""Trains a network with two heads, gender and age, on face databases made by create_db.py.

    python train.py @recipes/classic.args                   # the suite's recipe, on the newest database in data/
    python train.py @recipes/strong.args --input data/imdb_db.mat data/wiki_db.mat --output_path checkpoints/both
    python train.py @recipes/fine_tune.args --input data/my_db.mat      # from the shipped model's weights
    python train.py --resume                                # goes on where a stopped run was

Keeps the checkpoint of the best validation loss, history.csv, training_curve.png and TensorBoard's logs in
--output_path. WRN-16-8 at 64 px needs a GPU for a dataset like WIKI; WRN-16-2 (--width 2) is the choice for a CPU.
"""

import argparse
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from age_gender import cli
from age_gender.description import Description
from age_gender.files import alone
from networks import backend
from training import arguments
from training.data import Data, load_data, make_batches, refuse
from training.options import Options
from training.reports import Outcome
from training.resume import forget


def build_parser() -> argparse.ArgumentParser:
    """The command line, group by group in training/arguments.py."""
    return arguments.build_parser(__doc__, "train.py [@recipes/FILE] [--input FILE ...] [--output_path DIR] [options]")


def main(argv: list[str] | None = None) -> int:
    """Parse, load, refuse, build, fit, calibrate, report."""
    options, folder, stopped, devices = arguments.parse(build_parser(), argv)
    team = backend.join(*devices)
    if not team.leads:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    data = load_data(options)
    refuse(data, options, stopped)
    with alone(folder / "train", what=folder) if team.leads else nullcontext():
        status = train(data, options, folder, stopped)
    backend.wait_for_all()
    return status


def train(data: Data, options: Options, folder: Path, stopped: dict) -> int:
    """Build, fit, calibrate, report; the exit status. Until its end, the run can be resumed."""
    print(f"computing on {backend.start()}", flush=True)
    from evaluation.metrics import trivial_answers
    from training import reports, run
    from training.sharing import shared_out
    from training.starting import start_from
    from training.teachers import ask_teachers

    team = backend.team()
    answers = trivial_answers(data.age[data.training], data.gender[data.training], options.age_scale)
    description = run.describe(data, options, answers)
    with backend.apart():
        teacher = ask_teachers(data, options)  # in full precision, and without a part in the seed's draws
    batches = make_batches(data, options, teacher)
    if team.devices:
        print(f"{team.devices} devices in {team.processes} processes share each step's {options.batch_size} faces")
        backend.agree("arguments, or another stopped run", repr((options.plain(), stopped.get("epoch"))))
        batches = shared_out(batches, team)
    model = run.build_model(description, options)
    reports.announce(data, description, model)
    if not stopped:
        start_from(model, options, data)
    trivial = reports.trivial_scores(data, description)
    outcome = run.fit(model, options, description, batches, folder, stopped, trivial)
    if not team.leads:
        return 0
    with backend.apart():
        return conclude(outcome, data, description, options, folder)


def conclude(outcome: Outcome, data: Data, description: Description, options: Options, folder: Path) -> int:
    """Calibrate the best checkpoint, and report; the exit status."""
    from evaluation.calibration import calibrate, calibration_in_words
    from training import reports

    if reports.say_what_failed(outcome, options):
        forget(folder)
        return 1
    reports.say_the_best(outcome, data, description)
    cli.result(best=outcome.best["path"], **outcome.best_epoch)
    rows = data.validation
    calibration = calibrate(outcome.best["path"], data.image, rows, data.age[rows], data.gender[rows])
    print(f"stored in it: {calibration_in_words(calibration)}")
    forget(folder)
    return 1 if reports.say_if_it_collapsed(outcome, data, options) else 0


if __name__ == "__main__":
    with backend.leaving():
        cli.run(main)
