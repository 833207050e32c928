"""Experiment trackers, `train.py --track`: each epoch's values and all arguments go where a tracker keeps them."""

from contextlib import contextmanager
from pathlib import Path

import keras

from training.options import TRACKERS, Options

PROJECT = "age-gender-estimation"


@contextmanager
def telling(tracker: str):
    """Makes one line of whatever a tracker raises, such as for want of a login or of its server."""
    try:
        yield
    except Exception as error:
        raise OSError(f"--track {tracker}: {error}") from None


class MlflowTracker(keras.callbacks.Callback):
    """Writes a run to MLflow: to mlruns, or where MLFLOW_TRACKING_URI says."""

    def __init__(self, folder: Path, options: Options):
        super().__init__()
        self.name, self.arguments, self.run_id = folder.name, options.plain(), None
        import mlflow

        self.mlflow = mlflow

    @telling("mlflow")
    def on_train_begin(self, logs=None):
        anew = self.run_id is None  # else this is a later phase of the run
        self.run_id = self.mlflow.start_run(run_id=self.run_id, run_name=self.name if anew else None).info.run_id
        if anew:
            self.mlflow.log_params(self.arguments)

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

    @telling("wandb")
    def on_train_begin(self, logs=None):
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
