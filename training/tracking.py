"""Experiment trackers, `train.py --track`: each epoch's values and all arguments go where a tracker keeps them."""

from contextlib import contextmanager
from pathlib import Path

import keras
from tqdm import tqdm

from age_gender.cli import one_line
from training.options import TRACKERS, Options

PROJECT = "age-gender-estimation"


@contextmanager
def telling(tracker: str, begun: bool = True):
    """Makes one line of whatever a tracker raises, such as for want of a login or of its server. Once it has begun a
    run, that is a warning: the training goes on."""
    try:
        yield
    except Exception as error:
        if not begun:
            raise OSError(f"--track {tracker}: {error}") from None
        tqdm.write(one_line(f"warning: --track {tracker}: {error}; history.csv has every epoch"))


class MlflowTracker(keras.callbacks.Callback):
    """Writes a run to MLflow: where MLFLOW_TRACKING_URI says, or where it is by default."""

    def __init__(self, folder: Path, options: Options):
        super().__init__()
        self.name, self.arguments, self.run_id, self.mlflow = folder.name, options.plain(), None, None

    def on_train_begin(self, logs=None):
        anew = self.run_id is None  # else this is a later phase of the run
        with telling("mlflow", begun=not anew):
            import mlflow

            self.mlflow = mlflow
            self.run_id = mlflow.start_run(run_id=self.run_id, run_name=self.name if anew else None).info.run_id
            if anew:
                mlflow.log_params(self.arguments)

    @telling("mlflow")
    def on_epoch_end(self, epoch, logs=None):
        self.mlflow.log_metrics({name: float(value) for name, value in logs.items()}, step=epoch + 1)

    @telling("mlflow")
    def on_train_end(self, logs=None):
        self.mlflow.end_run()


class WandbTracker(keras.callbacks.Callback):
    """Sends a run to Weights & Biases; with WANDB_MODE=offline it stays in the run's folder."""

    def __init__(self, folder: Path, options: Options):
        super().__init__()
        self.folder, self.arguments, self.run_id, self.run = folder, options.plain(), None, None

    def on_train_begin(self, logs=None):
        with telling("wandb", begun=self.run_id is not None):
            import wandb

            where = {"project": PROJECT, "name": self.folder.name, "dir": str(self.folder)}
            self.run = wandb.init(**where, id=self.run_id, resume="allow", config=self.arguments)
            self.run_id = self.run.id

    @telling("wandb")
    def on_epoch_end(self, epoch, logs=None):
        self.run.log({name: float(value) for name, value in logs.items()}, step=epoch + 1)

    @telling("wandb")
    def on_train_end(self, logs=None):
        self.run.finish()


def tracker(folder: Path, options: Options) -> list[keras.callbacks.Callback]:
    """The callback of the tracker that is asked for, if any."""
    adapters = dict(zip(TRACKERS, (MlflowTracker, WandbTracker), strict=True))
    return [adapters[options.track](folder, options)] if options.track else []
