"""What happens while a network is trained: the best checkpoint is kept, each epoch is shown and written down."""

import csv
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
from tqdm import tqdm

from age_gender.cli import heed
from age_gender.files import replacing
from mixup_generator import MixupGenerator
from networks import backend
from networks.checkpoints import BEST
from training.curve import save_training_curve
from training.metrics import LOSS_OF_EACH
from training.resume import RESUME_FILE, write_resume

SCORES = ("mae", "accuracy", "one_off")  # how the names end of values that say how well a head does
LAST = "last.hdf5"  # in the folder of a run that has a name, beside BEST
CURVE_SECONDS = 10  # between two drawings of the curve, which takes a second: as much as a short epoch


def train_last_stages(model, stages: Sequence[str], last: int | None) -> None:
    """Makes the heads and the last stages of a network trainable and freezes what is before; compile it after this.

    A frozen batch norm is in inference mode: it neither uses nor gathers the batch's statistics. Dropout, and so
    EfficientNet's stochastic depth, stays at work.

    Args:
        model: with the two heads, changed in place.
        stages: how the names of the layers begin at which its second and later stages begin, see backbones.STAGES.
        last: how many stages are trainable, 0 for the heads alone; None means all.

    Raises:
        ValueError: if the network has not so many stages.
    """
    names = [layer.name for layer in model.layers]  # in an order in which what computes a stage stands before it
    begins = [0]
    for stage in stages:
        begins += [place for place, name in enumerate(names) if name.startswith(stage)][:1]
    if last is not None and last > len(begins):
        raise ValueError(f"{model.name} has {len(begins)} stages; received {last}")
    first = 0 if last is None else [*begins, len(names)][len(begins) - last]
    for place, layer in enumerate(model.layers):
        layer.trainable = place >= first or layer.name in model.output_names


def epochs_of(batches: MixupGenerator) -> keras.callbacks.Callback:
    """Tells the generator which epoch it is."""
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.set_epoch(epoch))


class PlainValidationLoss(keras.callbacks.Callback):
    """Puts the heads' mean losses over all faces in place of Keras's (see LossOfEach), and takes the L2 penalty out of
    `val_loss`. The penalty says nothing of the faces, and Keras counts it for trainable kernels alone: with it, phases
    of a run could not be compared. It stands before all that use these losses.

    Args:
        gender_weight: of the gender loss; the age loss has 1.
        padding: faces for each that counts, see Share: Keras divides a loss by all, those of weight 0 among them.
    """

    def __init__(self, gender_weight: float, padding: float = 1.0):
        super().__init__()
        self.gender_weight, self.padding = gender_weight, padding

    def on_epoch_end(self, epoch, logs=None):
        for head in ("pred_gender", "val_pred_gender", "pred_age", "val_pred_age"):
            padding = self.padding if head.startswith("val_") else 1.0
            logs[f"{head}_loss"] = logs.pop(f"{head}_{LOSS_OF_EACH}") * padding
            if logs[f"{head}_loss"] == 0:  # no face has the label: Keras makes 0 of 0 / 0
                logs.update({name: math.nan for name in logs if name.startswith(f"{head}_") and name.endswith(SCORES)})
        logs["val_loss"] = self.gender_weight * logs["val_pred_gender_loss"] + logs["val_pred_age_loss"]


class Curves(keras.callbacks.TensorBoard):
    """TensorBoard's logs without the curves over steps, whose losses are Keras's own, see PlainValidationLoss."""

    def on_test_end(self, logs=None):
        super().on_test_end({})


class StopWhereAsked(keras.callbacks.Callback):
    """Ends a training that was asked to stop, where the signal's exception was lost."""

    def on_train_batch_end(self, batch, logs=None):
        heed()

    on_test_batch_end = on_train_batch_end


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
        keep: how many checkpoints of the run to keep; 0 keeps all.
        state: `state` of the run that is resumed.
    """

    def __init__(
        self,
        folder: Path,
        write: Callable,
        monitor: str,
        less_is_better: bool,
        patience: int,
        keep: int,
        state: dict | None = None,
    ):
        super().__init__()
        self.folder, self.write = Path(folder), write
        self.monitor, self.less_is_better, self.patience, self.keep = monitor, less_is_better, patience, keep
        self.state = state or {"best": None, "waited": 0, "path": None, "epoch": 0, "written": []}
        if self.state["path"]:  # its folder may have moved since, or be named from elsewhere
            path, *written = (
                str(self.folder / Path(name).name) for name in (self.state["path"], *self.state["written"])
            )
            self.state |= {"path": path, "written": written}

    def begin_phase(self, patience: int, anew: bool) -> None:
        """Sets the patience for a phase of the run; `anew` unless it is resumed within it. The best stays the best."""
        self.patience = patience
        if anew:
            self.state["waited"] = 0

    @property
    def out_of_patience(self) -> bool:
        """Whether `patience` epochs have passed without improvement; never for a patience of 0."""
        return 0 < self.patience <= self.state["waited"]

    def on_epoch_begin(self, epoch, logs=None):
        self._prune()

    def on_train_end(self, logs=None):
        self._prune()

    def _prune(self) -> None:
        """Removes old checkpoints; not before the epoch's end is on the disk: till then a resume may need them."""
        for path in self.state["written"][: -self.keep] if self.keep and backend.team().leads else ():
            Path(path).unlink(missing_ok=True)

    def on_epoch_end(self, epoch, logs=None):
        value = float(logs[self.monitor])
        best = self.state["best"]
        if not math.isfinite(value):
            return
        if best is None or (value < best if self.less_is_better else value > best):
            path = self.folder / f"weights.{epoch + 1:02d}-{logs['val_loss']:.2f}.hdf5"
            self.write(path, epoch + 1, logs)
            written = [*self.state["written"], str(path)]
            self.state = {"best": value, "waited": 0, "path": str(path), "epoch": epoch + 1, "written": written}
            return
        self.state["waited"] += 1
        if self.out_of_patience:
            tqdm.write(f"no better {self.monitor} in {self.patience} epochs: the run ends")
            self.model.stop_training = True


class NameCheckpoints(keras.callbacks.Callback):
    """Of a run in a folder of its own (`train.py --run NAME`), writes the last epoch's checkpoint under one name, and
    copies the best one to another. It stands after `best`, which keeps that one. All processes take part, since the
    averages are swapped in on all devices; the one that leads writes.
    """

    def __init__(self, folder: Path, write: Callable, best: KeepBest):
        super().__init__()
        self.folder, self.write, self.best = Path(folder), write, best

    def on_epoch_end(self, epoch, logs=None):
        self.write(self.folder / LAST, epoch + 1, logs)
        if backend.team().leads and self.best.state["epoch"] == epoch + 1:
            name_best(Path(self.best.state["path"]))


def name_best(path: Path) -> None:
    """Copies a checkpoint to BEST, beside it."""
    with replacing(path.with_name(BEST)) as temporary:
        shutil.copyfile(path, temporary)


class Journal(keras.callbacks.Callback):
    """Shows the epochs and keeps `history.csv` and `training_curve.png` up to date.

    On a terminal, one line shows the last epoch and how far the phase is; elsewhere there is one line for each epoch.

    Args:
        folder: where the files go.
        epochs: of the whole run.
        best: what keeps the best checkpoint, whose epoch the curve marks; it stands before this one.
        trivial: what the answer that uses no picture reaches, as the curve takes it.
        rows: the history of the run that is resumed.
    """

    COLUMNS = (
        ("loss", "loss", ".3f"), ("val_loss", "val loss", ".3f"),
        ("pred_age_accuracy", "age group", ".1%"), ("val_pred_age_accuracy", "val age group", ".1%"),
        ("pred_age_mae", "age error", ".2f"), ("val_pred_age_mae", "val age error", ".2f"),
        ("pred_gender_accuracy", "gender", ".1%"), ("val_pred_gender_accuracy", "val gender", ".1%"),
        ("learning_rate", "rate", ".2g"),
    )  # fmt: skip

    def __init__(self, folder: Path, epochs: int, best: KeepBest, trivial: tuple, rows: list[dict] | None = None):
        super().__init__()
        self.folder, self.epochs, self.rows = Path(folder), epochs, rows or []
        self.best, self.trivial = best, trivial
        self.rate: Callable = float
        self.phase: dict[str, float] = {}
        self.last = epochs
        self.drawn = -math.inf
        self.bar = None

    def begin_phase(self, rate: Callable, trained_parameters: int, last: int) -> None:
        """Sets the rate as a function of the step for a phase of the run, how many parameters it trains, which
        `history.csv` says, and its last epoch."""
        self.rate, self.phase, self.last = rate, {"trained_parameters": trained_parameters}, last

    def on_epoch_begin(self, epoch, logs=None):
        if self.bar is None:
            self.bar = tqdm(
                total=(self.last - epoch) * self.params["steps"],
                desc=f"epoch {epoch + 1}/{self.epochs}",
                bar_format="{percentage:3.0f}% {bar:3} {remaining}  {desc}",  # cut off where the line ends
                ncols=shutil.get_terminal_size().columns,
                nrows=24,  # said, since tqdm is silent on terminals that do not know their size
                file=sys.stdout,
                disable=None,  # where it is no terminal
            )
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.started
        row = {
            "epoch": epoch + 1,
            **{name: float(value) for name, value in logs.items()},
            "learning_rate": float(self.rate(int(self.model.optimizer.iterations) - 1)),
            **self.phase,
            "seconds": seconds,
        }
        self.rows.append(row)
        if self.bar.disable:
            print(f"epoch {epoch + 1:>3}/{self.epochs}  {self._in_words(row)}  {seconds:.0f} s", flush=True)
        else:
            validation = {name: value for name, value in row.items() if name.startswith("val_")}
            self.bar.set_description_str(f"epoch {epoch + 1}/{self.epochs}  {self._in_words(validation)}")
        with replacing(self.folder / "history.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, self.rows[0])
            table.writeheader()
            table.writerows(self.rows)
        if time.perf_counter() - self.drawn > CURVE_SECONDS:
            self._draw()

    def _draw(self) -> None:
        path = self.folder / "training_curve.png"
        save_training_curve(self.rows, path, self.best.state["epoch"], self.trivial)
        self.drawn = time.perf_counter()

    def _in_words(self, row: dict[str, float]) -> str:
        known = (each for each in self.COLUMNS if not math.isnan(row.get(each[0], math.nan)))
        return "  ".join(f"{title} {row[name]:{style}}" for name, title, style in known)

    def on_train_end(self, logs=None):
        if self.rows:
            self._draw()
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Resume(keras.callbacks.Callback):
    """Keeps what continuing the run needs: weights, optimiser, epoch, and what a function says besides, for JSON.

    It stands last among the callbacks, so that it sees what the others made of the epoch.
    """

    def __init__(self, folder: Path, state: Callable[[], dict]):
        super().__init__()
        self.path, self.state = Path(folder) / RESUME_FILE, state
        self.saved = 0  # epochs, counted from the beginning of the run

    def on_epoch_end(self, epoch, logs=None):
        with backend.apart():
            write_resume(self.path, self.model, epoch + 1, self.state())
        self.saved = epoch + 1
