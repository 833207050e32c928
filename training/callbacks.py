"""What a training needs beyond Keras: the learning rate's schedule, metrics in years, and callbacks.

A run can be stopped at any moment and resumed: everything it needs is in one file, `resume.weights.h5`, that is moved
into place at the end of each epoch.
"""

import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from age_gender.files import replacing
from age_gender.labels import MALE, YEARS, AgeScale
from mixup_generator import MixupGenerator
from networks.models import RESUME_ATTRIBUTE, RESUME_FILE


class StepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The rate divided by 5 at a quarter, half and three quarters of the epochs, after a linear warm-up.

    The division by 5 is that of arXiv:1605.07146, section 3. The warm-up (Goyal et al., arXiv:1706.02677, section
    2.2) spares a fresh network the full rate, at which the original suite often collapsed.
    """

    def __init__(self, rate: float, epochs: int, steps_per_epoch: int, warmup_steps: int):
        self.rate, self.warmup_steps = rate, warmup_steps
        self.boundaries = [math.ceil(epochs * part) * steps_per_epoch for part in (0.25, 0.5, 0.75)]

    def __call__(self, step):
        step = ops.cast(step, "float32")
        passed = sum(ops.cast(step >= boundary, "float32") for boundary in self.boundaries)
        warm = ops.minimum(1.0, (step + 1) / max(self.warmup_steps, 1))
        return self.rate * warm * 0.2**passed


class WarmCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from the full rate down to nothing (SGDR without restarts: Loshchilov and Hutter,
    arXiv:1608.03983, section 3), after a linear warm-up."""

    def __init__(self, rate: float, steps: int, warmup_steps: int):
        self.rate, self.steps, self.warmup_steps = rate, steps, warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        warm = ops.minimum(1.0, (step + 1) / max(self.warmup_steps, 1))
        done = ops.clip((step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1), 0.0, 1.0)
        return self.rate * warm * 0.5 * (1.0 + ops.cos(math.pi * done))


MEAN_WEIGHT, VARIANCE_WEIGHT = 0.2, 0.05  # lambda 1 and 2 of the mean-variance loss, as its paper sets them


def age_loss(name: str, sigma: float, error_weight: float, scale: AgeScale = YEARS) -> Callable:
    """The loss of the age head, by its name in `train.py --age_loss`.

    cross_entropy: of the classes (of 101 years: Rothe et al., DEX, ICCV workshops 2015).
    ldl: Kullback-Leibler divergence from a normal distribution around the true age (deep label distribution learning,
        Gao et al., arXiv:1611.01731, section 3): years near the truth are nearly right.
    dldl_v2: that, and the absolute error of the expected age, which is what counts in the end (Gao et al., "Age
        estimation using expectation of label distribution learning", IJCAI 2018, section 3).
    mean_variance: cross-entropy, half the squared error of the expected age, and the variance of the distribution,
        which is to be narrow (Pan et al., "Mean-variance loss for deep age estimation from a face", CVPR 2018,
        section 3).
    coral: cross-entropies of all the questions "older than this class?", added up, for the ordinal head (Cao,
        Mirjalili, Raschka, arXiv:1901.07884, section 3.3, with equal importance).

    Args:
        name: one of these five.
        sigma: standard deviation of the normal distribution, in years.
        error_weight: weight of the absolute error in years, beside the divergence; dldl_v2 alone has it.
        scale: the classes; distances between them are those of their centres.

    Returns:
        A loss for Keras: (b, k) labels, one-hot or mixtures of such, and (b, k) distributions -> (b,).

    Raises:
        ValueError: for another name.
    """
    losses = {
        "cross_entropy": lambda: keras.losses.categorical_crossentropy,
        "ldl": lambda: _distribution_loss(sigma, 0.0, scale),
        "dldl_v2": lambda: _distribution_loss(sigma, error_weight, scale),
        "mean_variance": lambda: _mean_variance_loss(scale),
        "coral": lambda: _coral_loss(len(scale.groups)),
    }
    if name not in losses:
        raise ValueError(f"there is no age loss '{name}'")
    return losses[name]()


def _distribution_loss(sigma: float, error_weight: float, scale: AgeScale) -> Callable:
    years = scale.centres
    around = np.exp(-0.5 * ((years[:, None] - years) / sigma) ** 2)
    around = (around / around.sum(axis=1, keepdims=True)).astype(np.float32)  # row: the target for one true age

    def loss(y_true, y_pred):
        divergence = keras.losses.kl_divergence(ops.matmul(y_true, around), y_pred)
        error = ops.abs(_expected_age(y_true, years) - _expected_age(y_pred, years))
        return divergence + error_weight * error

    return loss


def _mean_variance_loss(scale: AgeScale) -> Callable:
    years = scale.centres

    def loss(y_true, y_pred):
        mean = _expected_age(y_pred, years)
        squared_error = (mean - _expected_age(y_true, years)) ** 2 / 2
        variance = ops.sum(y_pred * (ops.cast(years, "float32") - mean[:, None]) ** 2, axis=1)
        cross_entropy = keras.losses.categorical_crossentropy(y_true, y_pred)
        return cross_entropy + MEAN_WEIGHT * squared_error + VARIANCE_WEIGHT * variance

    return loss


def _coral_loss(classes: int) -> Callable:
    above = np.tri(classes, classes - 1, -1, dtype=np.float32)  # column k: the classes above class k
    least = keras.config.epsilon()

    def loss(y_true, y_pred):
        # Both sides are sums of probabilities, for 1 - sum would lose the small ones.
        log_above, log_below = (ops.log(ops.maximum(ops.matmul(y_pred, side), least)) for side in (above, 1 - above))
        return -ops.sum(ops.matmul(y_true, above) * log_above + ops.matmul(y_true, 1 - above) * log_below, axis=1)

    return loss


def _expected_age(distributions, centres: np.ndarray):
    return ops.matmul(ops.cast(distributions, "float32"), ops.cast(centres[:, None], "float32"))[:, 0]


class AgeError(keras.metrics.Mean):
    """Mean absolute error of the expected age, in years; labels may be mixtures."""

    def __init__(self, name: str, centres: np.ndarray = YEARS.centres):
        super().__init__(name=name)
        self.centres = centres

    def update_state(self, y_true, y_pred, sample_weight=None):
        error = ops.abs(_expected_age(y_true, self.centres) - _expected_age(y_pred, self.centres))
        return super().update_state(error, sample_weight)


class OneOff(keras.metrics.Mean):
    """Share of faces whose likeliest age group is the true one or a neighbour of it (Eidinger et al. 2014)."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        away = ops.abs(ops.argmax(y_true, axis=-1) - ops.argmax(y_pred, axis=-1))
        return super().update_state(ops.cast(away <= 1, "float32"), sample_weight)


class AgeSpread(keras.metrics.Metric):
    """Standard deviation of the expected ages over all faces, in years: near 0, every face gets the same age."""

    def __init__(self, name: str, centres: np.ndarray = YEARS.centres):
        super().__init__(name=name)
        self.centres = centres
        self.count, self.total, self.squares = (
            self.add_weight(name=f"{name}_{part}", initializer="zeros") for part in ("count", "total", "squares")
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        ages = _expected_age(y_pred, self.centres) - 50  # about the middle, where squares lose the fewest digits
        self.count.assign_add(ops.cast(ops.shape(ages)[0], "float32"))
        self.total.assign_add(ops.sum(ages))
        self.squares.assign_add(ops.sum(ages**2))

    def result(self):
        count = ops.maximum(self.count, 1.0)
        return ops.sqrt(ops.maximum(self.squares / count - (self.total / count) ** 2, 0.0))


class MaleShare(keras.metrics.Mean):
    """Share of all faces that are taken for male: at 0 or 1, every face gets the same gender."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(ops.cast(ops.argmax(y_pred, axis=-1) == MALE, "float32"))


def weighted_metrics(scale: AgeScale = YEARS) -> list[list]:
    """The metrics of the gender and of the age head; faces without a label do not count."""
    age = [AgeError("mae", scale.centres), AgeSpread("spread", scale.centres)]
    if scale != YEARS:
        age += [keras.metrics.CategoricalAccuracy(name="accuracy"), OneOff(name="one_off")]
    return [[keras.metrics.CategoricalAccuracy(name="accuracy"), MaleShare(name="male_share")], age]


def train_last_stages(model, stages: Sequence[str], last: int | None) -> None:
    """Makes the heads and the last stages of a network trainable and freezes what is before; compile it after this.

    A frozen batch norm is in inference mode: it neither uses nor gathers the batch's statistics. Dropout, and so
    EfficientNet's stochastic depth, stays at work.

    Args:
        model: with the two heads, changed in place.
        stages: how the names of the layers begin at which its second and later stages begin, see models.STAGES.
        last: how many stages are trainable, 0 for the heads alone; None means all.

    Raises:
        ValueError: if the network has not so many stages.
    """
    names = [layer.name for layer in model.layers]  # in an order in which what computes a stage stands before it
    found = (next((place for place, name in enumerate(names) if name.startswith(stage)), None) for stage in stages)
    begins = [0, *(place for place in found if place is not None)]
    if last is not None and last > len(begins):
        raise ValueError(f"{model.name} has {len(begins)} stages; received {last}")
    first = 0 if last is None else (begins + [len(names)])[len(begins) - last]
    for place, layer in enumerate(model.layers):
        layer.trainable = place >= first or layer.name in model.output_names


class Epochs(keras.callbacks.Callback):
    """Tells the generator which epoch it is."""

    def __init__(self, batches: MixupGenerator):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.set_epoch(epoch)


class PlainValidationLoss(keras.callbacks.Callback):
    """Takes the L2 penalty out of `val_loss`, which says nothing of the faces: Keras counts it for trainable kernels
    alone, so that phases of a run could not be compared. It stands before all that use `val_loss`."""

    def __init__(self, gender_weight: float):
        super().__init__()
        self.gender_weight = gender_weight

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.gender_weight * logs["val_pred_gender_loss"] + logs["val_pred_age_loss"]


class StopAtNan(keras.callbacks.Callback):
    """Ends the run where the loss is no number any more; `stopped` says so."""

    def __init__(self):
        super().__init__()
        self.stopped = False

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            self.stopped = self.model.stop_training = True


class KeepBest(keras.callbacks.Callback):
    """Saves a checkpoint whenever the monitored value improves, and ends the run after `patience` epochs without.

    Args:
        folder: where `weights.{epoch:02d}-{val_loss:.2f}.hdf5` goes, epochs counted from 1.
        write: function of the path, the epoch and the epoch's values that writes a checkpoint.
        monitor: the name of the epoch's value that decides.
        less_is_better: whether the value is a loss or an error.
        patience: epochs without improvement after which the run ends; 0 never ends it.
        state: `state` of the run that is resumed.
    """

    def __init__(
        self,
        folder: Path,
        write: Callable,
        monitor: str,
        less_is_better: bool,
        patience: int,
        state: dict | None = None,
    ):
        super().__init__()
        self.folder, self.write = Path(folder), write
        self.monitor, self.less_is_better, self.patience = monitor, less_is_better, patience
        self.state = state or {"best": None, "waited": 0, "path": None, "epoch": 0}

    def begin_phase(self, patience: int, anew: bool) -> None:
        """Sets the patience for a phase of the run; `anew` unless it is resumed within it. The best stays the best."""
        self.patience = patience
        if anew:
            self.state["waited"] = 0

    def on_epoch_end(self, epoch, logs=None):
        value = float(logs[self.monitor])
        best = self.state["best"]
        if not math.isfinite(value):
            return
        if best is None or (value < best if self.less_is_better else value > best):
            path = self.folder / f"weights.{epoch + 1:02d}-{logs['val_loss']:.2f}.hdf5"
            self.write(path, epoch + 1, logs)
            self.state = {"best": value, "waited": 0, "path": str(path), "epoch": epoch + 1}
            return
        self.state["waited"] += 1
        if self.patience and self.state["waited"] >= self.patience:
            print(f"no better {self.monitor} in {self.patience} epochs: the run ends")
            self.model.stop_training = True


class Journal(keras.callbacks.Callback):
    """Shows one line for each epoch and keeps `history.csv` and `training_curve.png` up to date.

    Args:
        folder: where the files go.
        epochs: of the whole run.
        rate: the learning rate as a function of the step.
        rows: the history of the run that is resumed.
    """

    COLUMNS = (
        ("loss", "loss", ".3f"), ("val_loss", "val loss", ".3f"),
        ("pred_age_accuracy", "age group", ".1%"), ("val_pred_age_accuracy", "val age group", ".1%"),
        ("pred_age_mae", "age error", ".2f"), ("val_pred_age_mae", "val age error", ".2f"),
        ("pred_gender_accuracy", "gender", ".1%"), ("val_pred_gender_accuracy", "val gender", ".1%"),
        ("learning_rate", "rate", ".2g"),
    )  # fmt: skip

    def __init__(self, folder: Path, epochs: int, rate: StepDecay, rows: list[dict] | None = None):
        super().__init__()
        self.folder, self.epochs, self.rate, self.rows = Path(folder), epochs, rate, rows or []
        self.phase: dict[str, float] = {}
        self.bar = None

    def begin_phase(self, rate: Callable, trained_parameters: int) -> None:
        """Sets the rate for a phase of the run, and how many parameters it trains, which `history.csv` says."""
        self.rate, self.phase = rate, {"trained_parameters": trained_parameters}

    def on_epoch_begin(self, epoch, logs=None):
        from tqdm import tqdm

        self.bar = tqdm(
            total=self.params["steps"], desc=f"epoch {epoch + 1}/{self.epochs}", unit="batch", leave=False, disable=None
        )  # a bar is for terminals, not for log files
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        from evaluation.plots import save_training_curve

        seconds = time.perf_counter() - self.started
        self.bar.close()
        row = {
            "epoch": epoch + 1,
            **{name: float(value) for name, value in logs.items()},
            "learning_rate": float(self.rate(int(self.model.optimizer.iterations) - 1)),
            **self.phase,
            "seconds": seconds,
        }
        self.rows.append(row)
        shown = "  ".join(f"{title} {row[name]:{style}}" for name, title, style in self.COLUMNS if name in row)
        print(f"epoch {epoch + 1:>3}/{self.epochs}  {shown}  {seconds:.0f} s", flush=True)
        with replacing(self.folder / "history.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, self.rows[0])
            table.writeheader()
            table.writerows(self.rows)
        save_training_curve(self.rows, self.folder / "training_curve.png")

    def on_train_end(self, logs=None):
        if self.bar is not None:
            self.bar.close()


class Resume(keras.callbacks.Callback):
    """Keeps what continuing the run needs: weights, optimiser, epoch, best score, history, arguments.

    It stands last among the callbacks, so that it sees what the others made of the epoch.

    Args:
        folder: where the file goes.
        state: function that returns what else to keep, as JSON takes it.
    """

    def __init__(self, folder: Path, state: Callable[[], dict]):
        super().__init__()
        self.path, self.state = Path(folder) / RESUME_FILE, state
        self.saved = 0  # epochs, counted from the beginning of the run

    def on_epoch_end(self, epoch, logs=None):
        import h5py

        with replacing(self.path) as temporary:
            self.model.save_weights(temporary)
            with h5py.File(temporary, "r+") as file:
                kept = {"epoch": epoch + 1, "dropout_seeds": dropout_seeds(self.model), **self.state()}
                file.attrs[RESUME_ATTRIBUTE] = json.dumps(kept)
        self.saved = epoch + 1


def dropout_seeds(model) -> dict[str, list[int]]:
    """The state of each dropout's random generator, which Keras does not save with the weights."""
    return {
        layer.name: ops.convert_to_numpy(layer.seed_generator.state).tolist()
        for layer in model.layers
        if hasattr(layer, "seed_generator")
    }


def set_dropout_seeds(model, seeds: dict[str, list[int]]) -> None:
    """Puts the generators back into the state that `dropout_seeds` returned."""
    for name, state in seeds.items():
        model.get_layer(name).seed_generator.state.assign(np.array(state, np.uint32))
