# PYTHON_ARGCOMPLETE_OK
"""Trains a network with two heads, gender and age, on face databases made by create_db.py.

    python train.py @recipes/classic.args                   # the suite's recipe, on the newest database in data/
    python train.py @recipes/strong.args --input data/imdb_db.mat data/wiki_db.mat --output_dir checkpoints/both
    python train.py @recipes/fine_tune.args --input data/my_db.mat      # from the shipped model's weights
    python train.py @recipes/strong.args --folds 5 --fold all           # five trainings, each with another test part
    python train.py --resume                                # goes on where a stopped run was

Keeps the checkpoint of the best validation loss, history.csv, training_curve.png and TensorBoard's logs in
--output_dir. WRN-16-8 at 64 px needs a GPU for a dataset like WIKI; WRN-16-2 (--width 2) is the choice for a CPU.
"""

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path

from age_gender import cli
from age_gender.description import Description
from age_gender.files import alone, write_text
from evaluation.calibration import calibrate, calibration_in_words
from evaluation.metrics import trivial_answers
from networks import backend, open_model, predict_rows
from networks.checkpoints import ARGUMENTS
from training import arguments
from training.data import Data, load_data, make_batches, refuse
from training.folds import every_fold
from training.options import Options
from training.reports import Outcome
from training.resume import forget, read_resume
from training.starting import start_from, start_of


def build_parser() -> argparse.ArgumentParser:
    """The command line, group by group in training/arguments.py."""
    return arguments.build_parser(__doc__, "train.py [@recipes/FILE] [--input FILE ...] [--output_dir DIR] [options]")


def main(argv: list[str] | None = None) -> int:
    """Parse, load, refuse, build, fit, calibrate, report; of --fold all each fold in turn."""
    words = sys.argv[1:] if argv is None else argv
    folds = every_fold(build_parser(), words)
    return train_one(words) if folds is None else train_folds(folds)


def train_one(words: list[str], title: str = "") -> int:
    """Parse, load, refuse, train; the exit status. What several processes print, one does."""
    options, folder, stopped, devices = arguments.parse(build_parser(), words)
    team = backend.join(*devices)
    if not team.leads:
        sys.stdout = cli.open_nowhere()
        cli.Json.asked = False  # its line is the first process's too
    if title:
        print(f"\n{title}:", flush=True)
    data = load_data(options)
    refuse(data, options, stopped)
    restart = build_parser().parse_args(words).restart  # which may stand in a file of arguments
    folder.mkdir(parents=True, exist_ok=True)  # and it stays, however the run ends
    with alone(folder / "train", what=folder) if team.leads else nullcontext():
        if team.leads and not restart and read_resume(folder).get("epoch") != stopped.get("epoch"):
            raise ValueError(f"another run was at work in {folder} meanwhile: run this again")
        status = train(data, options, folder, stopped)
    backend.wait_for_all()
    return status


def train_folds(folds: list[tuple[Path, list[str]]]) -> int:
    """Trains each fold, by its arguments; the worst exit status."""
    status, done = 0, []
    for folder, words in folds:
        ended = train_one(words, title=str(folder))
        status = max(status, ended)
        done.append({"folder": folder, "status": ended, **cli.taken_result()})
        import keras  # not before the first fold has started the backend

        keras.utils.clear_session()  # frees the fold's memory
    if folds:
        cli.result(folds=done)
        print(f"\nall folds: python evaluate.py --weight_file {folds[0][0].parent / 'fold_*'}")
    return status


def train(data: Data, options: Options, folder: Path, stopped: dict) -> int:
    """Build, fit, calibrate, report; the exit status. Until its end, the run can be resumed."""
    print(f"computing on {backend.start()}", flush=True)
    from evaluation.gains import outcomes_on, worth_in_words
    from training import reports, run
    from training.sharing import shared_out
    from training.teachers import ask_teachers

    team = backend.team()
    answers = trivial_answers(data.age[data.training], data.gender[data.training], options.age_scale)
    start, before = start_of(options.weights), None
    description = run.describe(data, options, answers, start)
    if team.devices:
        print(f"{team.devices} devices in {team.processes} processes share each step's {options.batch_size} faces")
        backend.agree("arguments, or another stopped run", repr((options.plain(), stopped.get("epoch"))))
    with backend.apart():  # in full precision, and without a part in the seed's draws
        teacher = ask_teachers(data, options)
        if start.checkpoint and team.leads:
            before = outcomes_on(start.path, data.databases, *data.validation_faces(), options.age_scale)
            words = worth_in_words(before, options.seed)
            print(f"{start.path} on the {len(data.validation):,} validation faces: {words}", flush=True)
    batches = make_batches(data, options, teacher)
    if team.devices:
        batches = shared_out(batches, team)
    model = run.build_model(description, options)
    reports.announce(data, description, model)
    if not stopped:
        start_from(start, model, options, data)
        if team.leads:
            forget(folder)  # --restart
    if options.run and team.leads:
        write_text(folder / ARGUMENTS, json.dumps(options.plain(), indent=1) + "\n")
    trivial = reports.trivial_scores(data, description)
    outcome = run.fit(model, run.Plan(options, description, *batches, folder, stopped, trivial))
    if not team.leads:
        return 0
    with backend.apart():
        return conclude(outcome, data, description, options, folder, before)


def conclude(outcome: Outcome, data: Data, description: Description, options: Options, folder: Path, before) -> int:
    """Calibrate the best checkpoint, and report, also what was gained over what the start came to, `before`; the exit
    status."""
    from evaluation.gains import gain_in_words, outcomes_of
    from training import reports
    from training.callbacks import name_best

    if reports.say_what_failed(outcome, options):
        forget(folder)
        return 1
    reports.say_the_best(outcome, data, description)
    cli.result(best=outcome.best["path"], **outcome.best_epoch)
    rows, *labels = data.validation_faces()
    model = open_model(Path(outcome.best["path"]))
    answers = predict_rows(model, data.image, rows)
    print(f"stored in it: {calibration_in_words(calibrate(model, answers, *labels))}")
    if options.run:
        name_best(model.path)
    if before:
        after = outcomes_of(answers, description.age_scale, *labels, options.age_scale)
        print(f"gained over {options.weights}: {gain_in_words(after, before, options.seed)}")
        print("  (95% intervals, paired bootstrap; these faces chose the checkpoint, which flatters a little)")
    forget(folder)
    return 1 if reports.say_if_it_collapsed(outcome, data, options) else 0


if __name__ == "__main__":
    with backend.leaving():
        cli.run(main)
