"""Several devices and processes train the network that one device trains: real processes on this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import noise, posix, write_database

import train
from mixup_generator import NO_AUGMENTATION, Augmentation, Labels, MixupGenerator
from networks import backend
from networks.backend import KERAS_CLUSTER, Team
from training import arguments
from training.augmentations import AUGMENTATIONS
from training.sharing import Share, shared_out

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(7)
AGE, GENDER = RNG.integers(-1, 101, 150), RNG.integers(-1, 2, 150)  # some are unknown

# train.py on a network that compiles in a second; it notes the weights that this process ends with. What it imports
# takes longer than what it does, so on Linux one process imports it, and becomes a training for each line that it is
# given; a keeper notes how that one ended.
CHILD = """
import functools, json, os, sys

class Without:  # what JAX does not need, and is slow to import
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "sklearn", "matplotlib", "requests", "hypothesis", "pytest"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
import numpy as np
import scipy.optimize
import train
from age_gender import cli
from micro_network import micro_network
from networks import backbones, backend, checkpoints
from training import callbacks, run

for line in sys.stdin:
    given = json.loads(line)
    if sys.platform != "linux":
        break
    if os.fork():
        continue
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.symlink(str(status), given["status"])  # whole from the start
        os._exit(0)
    break
else:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)

sys.argv[1:] = given["words"]
os.environ.update(given["environment"])
for number in (1, 2):
    os.dup2(os.open(given["files"][number - 1], os.O_WRONLY | os.O_CREAT), number)
backbones.BACKBONES["wide_resnet"] = functools.partial(micro_network, names=["stem"])
checkpoints._refuse_more_than_the_file = lambda path, description: None
run.tensorboard = lambda folder: []
callbacks.save_training_curve = lambda rows, path, *drawn: path.touch()
fit = run.fit

def noting(model, *given):
    outcome = fit(model, *given)
    np.savez(os.environ["NOTES"] + f".{backend.team().process}.npz", *model.get_weights())
    return outcome

run.fit = noting
exec(os.environ.get("BEFORE", ""))
with backend.leaving():
    cli.run(train.main)
"""
COMPILE_QUICKLY = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
AFTER_ONE_EPOCH = """
write = callbacks.write_resume
def write_once(path, model, epoch, state):
    write(path, model, epoch, state)
    {what}
callbacks.write_resume = write_once
"""


def batches(count=70, size=8, augmentation=NO_AUGMENTATION):
    return MixupGenerator(noise(count, 16), Labels(GENDER[:count], AGE[:count]), None, size, augmentation, seed=3)


# ------------------------------------------------------------------------------------------------ a process's share


def test_the_shares_of_all_processes_are_the_groups_of_one_one_after_the_other():
    augmentation = Augmentation(**AUGMENTATIONS["classic"])
    groups = batches(augmentation=augmentation)
    shares = [Share(batches(augmentation=augmentation), 4, number, 2) for number in range(2)]
    for share in (groups, *shares):
        share.set_epoch(5)
    assert [len(share) for share in shares] == [2, 2]  # 70 faces, 32 in a step: 6 are left out
    for step in range(2):
        found = [share[step] for share in shares]
        for place in range(8 // 2):
            image, (gender, age), (gender_weight, age_weight) = groups[4 * step + place]
            (images, labels, weights), rows = found[place // 2], slice(8 * (place % 2), 8 * (place % 2) + 8)
            assert np.array_equal(images[rows], image)
            assert np.array_equal(labels[0][rows], gender) and np.array_equal(labels[1][rows], age)
            assert np.array_equal(weights[0][rows], gender_weight) and np.array_equal(weights[1][rows], age_weight)


def test_in_validation_every_face_counts_once_and_what_fills_up_weighs_nothing():
    shares = [Share(batches(), 4, number, 2, pad=True) for number in range(2)]
    steps = [share[step] for share in shares for step in range(len(share))]
    assert len(shares[0]) == 3 and all(len(images) == 16 for images, *_ in steps)
    assert shares[0].padding == pytest.approx(96 / 70)
    for head, known in ((0, GENDER[:70] >= 0), (1, AGE[:70] >= 0)):
        assert sum(weights[head].sum() for *_, weights in steps) == known.sum()


def test_what_cannot_be_shared_out_is_refused():
    with pytest.raises(ValueError, match="batch_size 96 cannot be shared out to 4 devices .* take a multiple of 128"):
        shared_out((batches(size=96), batches(size=96)), Team(4))
    with pytest.raises(ValueError, match="70 training faces do not fill one --batch_size 128"):
        shared_out((batches(size=128), batches(size=128)), Team(4))


SLURM = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("said", "copies"),
    [
        ({}, 1),
        (SLURM, 4),
        ({"SLURM_NTASKS": "4"}, 1),  # sbatch, which starts one copy
        ({"OMPI_COMM_WORLD_SIZE": "2"}, 2),
        ({KERAS_CLUSTER[1]: "3"}, 3),
        ({"OMPI_COMM_WORLD_SIZE": "none"}, 1),
    ],
)
def test_what_a_launcher_says_of_copies(said, copies):
    assert arguments.launched_copies(said) == copies


def refused(*words, said=None, monkeypatch, capsys) -> str:
    for name, value in (said or {}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        train.main(["-i", "none.mat", *words])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_copies_that_know_nothing_of_each_other_are_refused(monkeypatch, capsys):
    assert "4 copies of train.py were launched" in refused(said=SLURM, monkeypatch=monkeypatch, capsys=capsys)
    both = refused("--distributed", "--devices", "2", monkeypatch=monkeypatch, capsys=capsys)
    assert "--distributed takes all devices" in both
    assert "--heartbeat is for --distributed" in refused("--heartbeat", "7", monkeypatch=monkeypatch, capsys=capsys)


def test_devices_need_jax(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    with pytest.raises(ValueError, match="--devices and --distributed need JAX: pip install jax"):
        train.main(["-i", "none.mat", "--devices", "2"])


def test_a_port_that_is_taken_is_named(monkeypatch):
    jax = pytest.importorskip("jax")

    def cannot(**given):
        raise jax.errors.JaxRuntimeError("UNKNOWN: Failed to start RPC server")

    monkeypatch.setattr(jax.distributed, "initialize", cannot)
    for name, value in zip(KERAS_CLUSTER, ("first:1234,second", "2", "0"), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"Failed to start RPC server\); is the port of first:1234 taken"):
        backend._meet(5)


# ------------------------------------------------------------------------------------------------------ real processes


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launcher(folder: Path) -> subprocess.Popen:
    """What becomes a training, or on Linux any number of them."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLURM")},
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    command = [sys.executable, "-c", CHILD]
    return subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.PIPE, text=True)


class Child:
    """A training in a process of its own."""

    def __init__(self, folder: Path, number: int, words: list[str], environment: dict[str, str]):
        self.files = [folder / f"{number}.{name}" for name in ("out", "err")]
        self.status, self.returncode = folder / f"{number}.status", None
        self.process = Run.launcher if sys.platform == "linux" else launcher(folder.parent)
        given = {"words": words, "environment": environment, "status": str(self.status)}
        print(json.dumps(given | {"files": list(map(str, self.files))}), file=self.process.stdin, flush=True)

    def communicate(self, timeout: float) -> list[str]:
        """What it has printed when it has ended, on stdout and on stderr."""
        if sys.platform != "linux":
            self.returncode = self.process.wait(timeout)
        until = time.monotonic() + timeout
        while self.returncode is None:
            if self.status.is_symlink():
                self.returncode = int(os.readlink(self.status))
            assert time.monotonic() < until, [file.read_text() for file in self.files]
            time.sleep(0.02)
        return [file.read_text(encoding="utf-8") for file in self.files]


class Run:
    """A training by one or several processes of some virtual devices each."""

    launcher: subprocess.Popen

    def __init__(self, folder: Path, name: str, database: Path, devices: int, processes: int = 1, *words, **before):
        self.notes, self.output, self.processes = folder / name, folder / before.pop("into", name), processes
        cluster = dict(zip(KERAS_CLUSTER, (f"127.0.0.1:{free_port()}", str(processes)), strict=False))
        command = ["--input", str(database), "--output_dir", str(self.output)]
        command += ["--nb_epochs", "2", "--batch_size", "128", "--aug", "--lr", "0.05", "--ema", "0.9", *words]
        command += ["--distributed", "--heartbeat", "10"] if processes > 1 else ["--devices", str(devices)]
        self.children = []
        for number in range(processes):
            environment = {
                "XLA_FLAGS": f"{COMPILE_QUICKLY} --xla_force_host_platform_device_count={devices}",
                "NOTES": str(self.notes),
                "BEFORE": before.get(f"before_{number}", ""),
                **({} if processes == 1 else cluster | {KERAS_CLUSTER[2]: str(number)}),
            }
            (folder / f"{name}.said").mkdir(exist_ok=True)
            self.children.append(Child(folder / f"{name}.said", number, command, environment))

    def wait(self, statuses=None) -> "Run":
        self.said = [child.communicate(timeout=250) for child in self.children]
        found = [child.returncode for child in self.children]
        assert found == (statuses or [0] * self.processes), self.said
        return self

    def weights(self, process: int = 0) -> list[np.ndarray]:
        with np.load(f"{self.notes}.{process}.npz") as kept:
            return [kept[name] for name in kept.files]

    def history(self, below: str = "") -> pd.DataFrame:
        return pd.read_csv(self.output / below / "history.csv")


def assert_near(one: Run, other: Run, relative: float, below: str = "") -> None:
    """Weights, losses and age errors of two runs; not shares of right answers, of which some are near to ties."""
    for mine, theirs in zip(one.weights(), other.weights(), strict=True):
        assert np.abs(mine - theirs).max() <= relative * max(np.abs(mine).max(), 1e-2)
    mine, theirs = one.history(below), other.history(below)
    columns = [name for name in mine if name.endswith(("loss", "mae"))]
    assert len(columns) >= 8
    np.testing.assert_allclose(mine[columns], theirs[columns], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("jax")
    folder = tmp_path_factory.mktemp("devices")
    with launcher(folder) as Run.launcher:
        yield folder


@pytest.fixture(scope="module")
def database(folder):
    """450 faces: 405 train, of which 21 fill no step of 128, and 45 validate."""
    count = 450
    rng = np.random.default_rng(1)
    labels = {"age": rng.integers(-1, 101, count), "gender": rng.integers(-1, 2, count)}
    return write_database(folder / "faces.mat", noise(count, 32), **labels)


@pytest.fixture(scope="module")
def alone(folder, database):
    return Run(folder, "alone", database, 1).wait()


@pytest.fixture(scope="module")
def two(folder, database):
    return Run(folder, "two", database, 2, 2).wait()


def test_four_devices_of_one_process_train_the_network_of_one(folder, database, alone):
    four = Run(folder, "four", database, 4).wait()
    assert "4 devices in 1 process" in four.said[0][0] and "oneDNN" not in four.said[0][1]  # TensorFlow's greeting
    assert_near(four, alone, 1e-4)


def test_two_processes_train_the_network_of_one_and_end_with_the_same_weights(alone, two):
    assert_near(two, alone, 1e-4)
    assert all(map(np.array_equal, two.weights(0), two.weights(1)))
    gloo = re.compile(r"\[Gloo\]|peer ranks")  # either half of a line: two threads may have begun theirs at once
    printed = [[line for line in out.splitlines() if not gloo.search(line)] for out, _ in two.said]
    assert any(line.startswith("best: ") for line in printed[0]) and not printed[1]
    assert sorted(path.name for path in two.output.iterdir()) == sorted(path.name for path in alone.output.iterdir())


def test_all_folds_and_a_teacher_that_the_first_process_asks_are_as_by_one(folder, database, alone):
    teacher = max(alone.output.glob("weights.*.hdf5"))
    words = "--folds", "2", "--fold", "all", "--run", "mine", "--teacher", str(teacher), "--nb_epochs", "1"
    never = "from training import teachers\nteachers.predict_rows = None"  # process 1 would fail if it asked
    two = Run(folder, "two_folds", database, 1, 2, *words, before_1=never).wait()
    one = Run(folder, "one_folds", database, 1, 1, *words).wait()
    for fold in ("mine/fold_0", "mine/fold_1"):
        assert_near(two, one, 1e-4, fold)
        files = [sorted(path.name for path in (run.output / fold).iterdir()) for run in (two, one)]
        assert files[0] == files[1] and {"args.json", "best.hdf5", "last.hdf5"} <= set(files[0])
        assert two.said[0][0].count(f"{fold}:\n") == 1 and fold not in two.said[1][0]
    assert two.said[0][0].count(f"{teacher} teaches") == 2
    assert all(map(np.array_equal, two.weights(0), two.weights(1)))


def test_who_waits_for_the_others_can_be_stopped(monkeypatch):
    jax = pytest.importorskip("jax")
    stops = signal.SIGINT, signal.SIGTERM
    former, waiting = list(map(signal.getsignal, stops)), []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: waiting.extend(map(signal.getsignal, stops)))
    backend._meet(5)
    # Python's own would run when JAX has come back; a shell's background job ignores Ctrl-C.
    assert waiting == [handler if handler == signal.SIG_IGN else signal.SIG_DFL for handler in former]
    assert list(map(signal.getsignal, stops)) == former


@posix
def test_who_is_killed_ends_all_and_the_run_goes_on_with_as_many_or_with_one(folder, database, two):
    kill = AFTER_ONE_EPOCH.format(what="os.kill(os.getpid(), 9)")
    started = time.monotonic()
    stopped = Run(folder, "killed", database, 2, 2, before_0=kill)
    stopped.said = [child.communicate(timeout=120) for child in stopped.children]
    assert stopped.children[0].returncode == -signal.SIGKILL and stopped.children[1].returncode != 0
    assert time.monotonic() - started < 100
    kept = (stopped.output / "resume.weights.h5").read_bytes()
    resumed = Run(folder, "resumed", database, 2, 2, "--resume", into="killed").wait()
    assert all(map(np.array_equal, resumed.weights(), two.weights()))
    (resumed.output / "resume.weights.h5").write_bytes(kept)
    with h5py.File(resumed.output / "resume.weights.h5") as file:
        assert "optimizer" in file
    by_one = Run(folder, "by_one", database, 1, 1, "--resume", into="killed").wait()
    assert_near(by_one, two, 1e-4)


def test_what_fails_in_one_process_ends_the_other_within_the_heartbeat(folder, database):
    waits = "run.build_model = lambda *given: backend.from_leader(np.ones(1))"  # as for a step's gradients
    fails = "def wrong(*given): raise ValueError('this disk is full')\nrun.build_model = wrong"
    run = Run(folder, "failed", database, 1, 2, before_0=waits, before_1=fails)
    _, said = run.children[1].communicate(timeout=120)
    ended = time.monotonic()
    assert run.children[1].returncode == 2 and "error: this disk is full" in said
    run.children[0].communicate(timeout=60)
    assert run.children[0].returncode != 0 and time.monotonic() - ended < 30
