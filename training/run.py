"""A run: its network built and compiled, its phases fitted, its checkpoints written."""

import math
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from age_gender.description import Description, checked
from age_gender.labels import YEARS
from age_gender.machine import held_back_stderr
from networks import backend, description_of
from networks.applications import VGGFACE_MEANS_BGR
from networks.backbones import STAGES, build
from networks.checkpoints import save
from networks.split import sides_of
from training.callbacks import (
    Curves,
    Journal,
    KeepBest,
    NameCheckpoints,
    PlainValidationLoss,
    Resume,
    StopAtNan,
    StopWhereAsked,
    epochs_of,
    train_last_stages,
)
from training.data import Data, split_of
from training.losses import age_loss
from training.metrics import LossOfEach, weighted_metrics
from training.options import MONITORS, WIDE_RESNET_ARGUMENTS, Options
from training.reports import Outcome
from training.resume import reading_resume, set_dropout_seeds
from training.schedules import learning_rate, phases
from training.starting import Start, history_of
from training.teachers import holds_answers
from training.tracking import tracker

TENSORBOARD = "tensorboard"  # the folder of its logs, within a run's


def describe(data: Data, options: Options, trivial: dict[str, int], start: Start) -> Description:
    """What every checkpoint of this run will say of itself.

    Args:
        data: the faces.
        options: of the run.
        trivial: the answers that use no picture, see Description.
        start: what the run starts from.

    Raises:
        FileNotFoundError, ValueError: if what the run starts or learns from is not there, or is another network's.
    """
    versions = {"keras": version("keras"), "backend": keras.backend.backend(), "numpy": np.__version__}
    training = {"arguments": options.plain(), "versions": versions}
    arguments = {name: getattr(options, name) for name in WIDE_RESNET_ARGUMENTS if options.model == "wide_resnet"}
    earlier = start.checkpoint
    found = start.published or (earlier and earlier.network) or options.model
    if found != options.model:
        of = f"has the weights of a {found}, not of a" if start.published else f"is a {found}, not a"
        raise ValueError(f"{start.path} {of} {options.model}: --model {found}")
    if earlier:
        training["start"] = history_of(earlier)
    if options.model in VGGFACE_MEANS_BGR:
        arguments["vggface"] = bool(start.published or (earlier and earlier.arguments.get("vggface")))
    if options.age_loss == "coral":
        arguments["ordinal"] = True
    teachers = [description_of(path) for path in options.teacher if not holds_answers(path)]
    for teacher in teachers:
        teacher.refuse_scale(options.age_scale)
    if teachers:
        training["teachers"] = [history_of(teacher) for teacher in teachers]
    models = [earlier, *teachers] if earlier else teachers
    sides, untold = sides_of(data.databases, (data.training, data.validation, data.test), models)
    if untold:
        training["untold"] = True
    database = data.database
    found = Description(
        network=options.model,
        arguments=arguments,
        image_size=database.image_size,
        margin=database.margin,
        detector=database.detector,
        align=database.align,
        mirror=options.mirror,
        age_scale=options.age_scale,
        trivial=trivial,
        split=split_of(data, options),
        training=training,
        sides=sides,
    )
    return checked(found)  # what no checkpoint may say is refused before hours of training


def build_model(description: Description, options: Options):
    """The network, not compiled, with its first weights drawn by the run's seed."""
    with held_back_stderr():  # TensorFlow's greeting, which Keras imports here under JAX too
        keras.utils.set_random_seed(options.seed)
    if options.mixed_precision:
        keras.mixed_precision.set_global_policy(f"mixed_{options.mixed_precision}")
    decay = 0.0 if options.opt == "adamw" else options.weight_decay  # AdamW has its own
    return build(description, weight_decay=decay, dropout=options.dropout)


def compile_model(model, options: Options, rate) -> None:
    """Gives a network a new optimiser of this learning rate, the losses and the metrics."""
    average = {"use_ema": True, "ema_momentum": options.ema} if options.ema else {}
    if options.opt == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=options.weight_decay, **average)
        others = [weight for weight in model.trainable_variables if not weight.path.endswith("kernel")]
        optimizer.exclude_from_weight_decay(var_list=others)
    elif options.opt == "adam":
        optimizer = keras.optimizers.Adam(rate, **average)
    else:
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **average)
    of_age = age_loss(options.age_loss, options.age_sigma, options.age_error_weight, options.age_scale)
    losses = [keras.losses.categorical_crossentropy, of_age]
    metrics = zip(losses, weighted_metrics(options.age_scale), strict=True)
    model.compile(
        optimizer,
        loss=losses,
        loss_weights=[options.gender_weight, 1.0],
        weighted_metrics=[[LossOfEach(loss), *others] for loss, others in metrics],
    )


class Plan(NamedTuple):
    """A run as `fit` takes it."""

    options: Options
    description: Description  # what each checkpoint says of itself
    training: keras.utils.PyDataset  # the batches
    validation: keras.utils.PyDataset
    folder: Path  # where everything goes
    stopped: dict  # what `read_resume` gave of a run that is resumed, else {}
    trivial: tuple[float, float]  # what the answer that uses no picture reaches, see `reports.trivial_scores`


def fit(model, plan: Plan) -> Outcome:
    """Trains a network, of `build_model`, phase by phase; the best checkpoint, the history and what a resume needs go
    to the run's folder."""
    options, training, stopped = plan.options, plan.training, plan.stopped
    guard, best, journal, resume, callbacks = watchers(model, plan)
    done = stopped.get("epoch", 0)
    *_, last_phase = steps = phases(options)
    ended = done > last_phase.first and best.out_of_patience
    try:
        for phase in steps:
            if phase.last < done or ended:
                continue
            rate = learning_rate(options.schedule, phase, len(training))
            train_last_stages(model, STAGES[options.model], phase.stages)
            compile_model(model, options, rate)
            if phase.first < done:  # the phase that the stopped run was in
                go_on(model, resume.path, stopped)
            best.begin_phase(options.patience if phase == last_phase else 0, anew=done <= phase.first)
            trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
            journal.begin_phase(rate, trained, phase.last)
            if options.freeze_epochs or options.unfreeze_stages:
                print(f"epochs {phase.first + 1} to {phase.last}: {phase.name}, {trained:,} parameters", flush=True)
            with backend.telling_failures(plan.folder / TENSORBOARD):
                model.fit(
                    training,
                    validation_data=plan.validation,
                    epochs=phase.last,
                    initial_epoch=max(done, phase.first),
                    shuffle=False,
                    verbose=0,
                    callbacks=callbacks,
                )
            if guard.stopped:
                break
    except KeyboardInterrupt:
        done = resume.saved or done
        then = f"--resume goes on at epoch {done + 1}" if done else "nothing is kept: the same command begins anew"
        print(f"\nstopped after {done} whole epochs; {then}")
        raise
    keras.mixed_precision.set_global_policy("float32")  # as the checkpoint will be used
    return Outcome(best.state, journal.rows, len(training) * len(journal.rows), guard.stopped)


def go_on(model, path: Path, stopped: dict) -> None:
    """Puts a compiled network into the state in which its run was stopped."""
    model.optimizer.build(model.trainable_variables)
    with reading_resume(path):
        model.load_weights(path)
        set_dropout_seeds(model, stopped["dropout_seeds"])


def watchers(model, plan: Plan) -> tuple[StopAtNan, KeepBest, Journal, Resume, list]:
    """What watches a run: those that `fit` asks, and all callbacks in their order. Only the leading process writes:
    TensorBoard's logs, the tracker's, the files of a named run, the journal, and what a resume needs."""
    options, folder, stopped, team = plan.options, plan.folder, plan.stopped, backend.team()
    averaged = [keras.callbacks.SwapEMAWeights()] if options.ema else []  # validates the averages
    guard, write = StopAtNan(), writer(model, plan.description, averaged)
    less_is_better = MONITORS[options.monitor]
    best = KeepBest(folder, write, options.monitor, less_is_better, options.patience, options.keep, stopped.get("best"))
    age, gender = plan.trivial
    trivial = (age if options.age_scale == YEARS else math.nan, gender)  # the curve's error is in years
    journal = Journal(folder, options.nb_epochs, best, trivial, stopped.get("history"))
    kept = {"arguments": options.plain(), "split": plan.description.split}
    resume = Resume(folder, lambda: kept | {"best": best.state, "history": journal.rows})
    plain_loss = PlainValidationLoss(options.gender_weight, plan.validation.padding if team.devices else 1.0)
    named = [NameCheckpoints(folder, write, best)] if options.run else []
    callbacks = [StopWhereAsked(), guard, epochs_of(plan.training), *averaged, plain_loss, best, *named]
    if team.leads:
        callbacks += [*tensorboard(folder), *tracker(folder, options), journal, resume]
    return guard, best, journal, resume, callbacks


def writer(model, description: Description, averaged: list):
    """A function of path, epoch and values that writes a checkpoint of the run, of averaged weights where there are."""

    def write(path: Path, epoch: int, values: dict) -> None:
        """Has all processes swap their weights, and the first write."""
        metrics = {name: float(value) for name, value in values.items()}
        reached = {"epoch": epoch, "metrics": metrics, "saved": time.time()}
        for swap in averaged:
            swap.on_test_begin()
        if backend.team().leads:
            with backend.apart():
                save(model, path, replace(description, training={**description.training, **reached}))
        for swap in averaged:
            swap.on_test_end()

    return write


def tensorboard(folder: Path) -> list:
    """What writes TensorBoard's logs; none where TensorFlow, which it writes with, is not installed."""
    if not backend.can_write_tensorboard():
        print("TensorBoard's logs are left out: they need the packages tensorflow and tensorboard")
        return []
    return [Curves(folder / TENSORBOARD, write_graph=False)]
