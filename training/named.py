"""A run in a folder of its own (`train.py --run NAME`): its arguments, its best and its last checkpoint by name."""

import json
import shutil
from pathlib import Path

import keras

from age_gender.files import replacing, write_text
from networks import backend
from networks.checkpoints import ARGUMENTS, BEST
from training.callbacks import KeepBest
from training.options import Options

LAST = "last.hdf5"


def write_arguments(folder: Path, options: Options) -> None:
    """Writes all arguments of a run, as JSON."""
    write_text(folder / ARGUMENTS, json.dumps(options.plain(), indent=1) + "\n")


def name_best(path: Path) -> None:
    """Copies a checkpoint to BEST, beside it."""
    with replacing(path.with_name(BEST)) as temporary:
        shutil.copyfile(path, temporary)


class NameCheckpoints(keras.callbacks.Callback):
    """Writes the last epoch's checkpoint under one name, and copies the best one to another. It stands after
    `best`. All processes take part, since the averages are swapped in on all devices; the one that leads writes.

    Args:
        folder: of the run.
        write: function of the path, the epoch and the epoch's values that writes a checkpoint.
        best: keeps the best checkpoint.
    """

    def __init__(self, folder: Path, write, best: KeepBest):
        super().__init__()
        self.folder, self.write, self.best = Path(folder), write, best

    def on_epoch_end(self, epoch, logs=None):
        self.write(self.folder / LAST, epoch + 1, logs)
        if backend.team().leads and self.best.state["epoch"] == epoch + 1:
            name_best(Path(self.best.state["path"]))
