"""Experiment trackers: what each is told of a run in two phases, by stand-ins for them and by MLflow itself."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from conftest import training_options

from training.tracking import tracker


def stand_in(monkeypatch, name, **functions):
    """A module of a package that is not installed."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(functions)
    monkeypatch.setitem(sys.modules, name, module)


def two_phases(callback):
    for first in (0, 1):
        callback.on_train_begin()
        callback.on_epoch_end(first, {"loss": np.float32(2.5 - first), "val_loss": 3})
        callback.on_train_end()


def test_mlflow_is_told_of_one_run(tmp_path, monkeypatch):
    told = []

    def start_run(run_id, run_name):
        told.append(("start", run_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="seven"))

    stand_in(
        monkeypatch,
        "mlflow",
        start_run=start_run,
        log_params=lambda values: told.append(("params", values["lr"])),
        log_metrics=lambda values, step: told.append((step, values)),
        end_run=lambda: told.append("end"),
    )
    (callback,) = tracker(tmp_path / "mine", training_options("-i", "x.mat", "--track", "mlflow"))
    two_phases(callback)
    assert told == [
        *(("start", None, "mine"), ("params", 0.1), (1, {"loss": 2.5, "val_loss": 3.0}), "end"),
        *(("start", "seven", None), (2, {"loss": 1.5, "val_loss": 3.0}), "end"),
    ]


def test_wandb_is_told_of_one_run(tmp_path, monkeypatch):
    told = []

    def init(project, name, dir, id, resume, config):
        told.append(("start", name, dir, id, resume, config["lr"]))
        log = SimpleNamespace(log=lambda values, step: told.append((step, values)), finish=lambda: told.append("end"))
        return SimpleNamespace(id="seven", **vars(log))

    stand_in(monkeypatch, "wandb", init=init)
    (callback,) = tracker(tmp_path / "mine", training_options("-i", "x.mat", "--track", "wandb"))
    two_phases(callback)
    folder = str(tmp_path / "mine")
    assert told == [
        *(("start", "mine", folder, None, "allow", 0.1), (1, {"loss": 2.5, "val_loss": 3.0}), "end"),
        *(("start", "mine", folder, "seven", "allow", 0.1), (2, {"loss": 1.5, "val_loss": 3.0}), "end"),
    ]


def test_what_a_tracker_raises_is_said_in_one_line(tmp_path, monkeypatch):
    def init(**settings):
        raise RuntimeError("api_key not configured (no-tty)")

    stand_in(monkeypatch, "wandb", init=init)
    (callback,) = tracker(tmp_path / "mine", training_options("-i", "x.mat", "--track", "wandb"))
    with pytest.raises(OSError, match=r"--track wandb: api_key not configured \(no-tty\)"):
        callback.on_train_begin()


def test_a_tracker_that_fails_once_it_has_begun_does_not_end_the_training(tmp_path, monkeypatch, capsys):
    told, starts = [], iter([SimpleNamespace(info=SimpleNamespace(run_id="seven"))])  # and none of the second phase

    def log_metrics(values, step):
        told.append(step)
        raise ConnectionError("the server\nwent away")

    functions = {"start_run": lambda **_: next(starts), "log_params": dict, "log_metrics": log_metrics}
    stand_in(monkeypatch, "mlflow", **functions, end_run=lambda: 1 / 0)
    (callback,) = tracker(tmp_path / "mine", training_options("-i", "x.mat", "--track", "mlflow"))
    two_phases(callback)
    warnings = capsys.readouterr().out.splitlines()
    assert told == [1, 2] and len(warnings) == 5
    assert warnings[0] == r"warning: --track mlflow: the server\nwent away; history.csv has every epoch"


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_whose_installation_is_broken_is_said_in_one_line(tmp_path, monkeypatch, name):
    (tmp_path / f"{name}.py").write_text("raise RuntimeError('made for another protobuf')")
    monkeypatch.syspath_prepend(tmp_path)
    (callback,) = tracker(tmp_path / "mine", training_options("-i", "x.mat", "--track", name))
    with pytest.raises(OSError, match=f"--track {name}: made for another protobuf"):
        callback.on_train_begin()


def test_a_tracker_that_is_not_installed_is_refused_with_what_installs_it(monkeypatch, capsys):
    monkeypatch.setattr("training.arguments.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        training_options("-i", "x.mat", "--track", "wandb")
    assert "--track wandb needs the package wandb: pip install wandb" in capsys.readouterr().err
    assert tracker(None, training_options("-i", "x.mat")) == []


def test_mlflow_itself_keeps_what_it_is_told(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    (callback,) = tracker(tmp_path / "mine", training_options("-i", "x.mat", "--track", "mlflow"))
    two_phases(callback)
    client = mlflow.MlflowClient()
    run = client.get_run(callback.run_id)
    assert (run.info.run_name, run.info.status, run.data.params["lr"]) == ("mine", "FINISHED", "0.1")
    history = client.get_metric_history(callback.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(1, 2.5), (2, 1.5)]
