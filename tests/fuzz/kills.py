"""Kills create_db.py and train.py with kill -9 and looks at what they leave: python tests/fuzz/kills.py, or make kills.

Half of the kills of each command come at named moments: before and after a file is moved to its name, between the last
epoch and the calibration, while the resume state is written. The others come at any time. Right is: the old file or
the new one, whole; a training that is resumed ends with the same weights to the bit; the next run leaves nothing over.
Exit status: 1 where something else is found.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

# Runs a command with a function of a module replaced: the process kills itself at its n-th call, before or after it.
AT_MOMENT = """
import importlib, os, signal, sys
command, module, name, when, number = sys.argv[1:6]
home = importlib.import_module(module)
real, calls = getattr(home, name), []
def killing(*given, **named):
    calls.append(1)
    if when == "before" and len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*given, **named)
    if when == "after" and len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(home, name, killing)
sys.argv = [command, *sys.argv[6:]]
sys.exit(importlib.import_module(command).main(sys.argv[1:]))
"""
OF_CREATE_DB = [
    ("os", "replace", "before", 1),
    ("os", "replace", "after", 1),
    ("age_gender.files", "_sync", "before", 1),
    ("age_gender.files", "_sync", "after", 1),
    ("utils", "label_digest", "before", 1),  # the images are written, the labels are not
]
OF_TRAIN = [
    ("evaluation.calibration", "calibrate", "before", 1),  # between the last epoch and the calibration
    ("evaluation.calibration", "calibrate", "after", 1),
    ("training.resume", "seal", "before", 1),  # while the resume state is written
    ("training.resume", "seal", "after", 2),
    *(("os", "replace", when, number) for number in (1, 3, 5) for when in ("before", "after")),
]


def start(command: str, words: list, moment: tuple | None) -> subprocess.Popen:
    """Starts a command, which kills itself at a moment if one is given."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    script = [str(ROOT / f"{command}.py")] if moment is None else ["-c", AT_MOMENT, command, *map(str, moment)]
    return subprocess.Popen([sys.executable, *script, *map(str, words)], **quiet)


def kill(command: str, words: list, moment: tuple | None, seconds: float) -> bool:
    """Runs a command until it is killed, earlier where it has ended before; whether it was."""
    for sooner in (1, 2, 4, 8):
        process = start(command, words, moment)
        if moment is None:
            time.sleep(seconds / sooner)
            process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            return True
    return False


def left_over(folder: Path) -> list[str]:
    """Unfinished files and folders."""
    return [path.name for path in folder.rglob(".new-*")]


def kill_create_db(folder: Path, count: int, rng: np.random.Generator) -> list[str]:
    """What was found wrong after each kill."""
    import cv2
    from conftest import noise

    from utils import check_faces, open_database

    photos, output = folder / "photos", folder / "data" / "db.mat"
    photos.mkdir()
    for number, image in enumerate(noise(400, 200)):
        cv2.imwrite(str(photos / f"{number % 80 + 1}_0_0_{number}.jpg"), image)
    words = ["--db", "utkface", "--data_dir", photos, "--output", output, "--overwrite", "--img_size", 64]
    started = time.perf_counter()
    start("create_db", words, None).wait()
    whole, seconds = open_database(output).fingerprint(), time.perf_counter() - started
    wrong, killed = [], 0
    for number in range(count):
        moment = OF_CREATE_DB[number // 2 % len(OF_CREATE_DB)] if number % 2 else None
        killed += kill("create_db", words, moment, rng.uniform(0.2, 0.9) * seconds)
        database = open_database(output)
        check_faces([database])
        if database.fingerprint() != whole:
            wrong.append(f"create_db {number}: another database")
        start("create_db", words, None).wait()
        if left := left_over(output.parent):
            wrong.append(f"create_db {number} {moment}: {left} is left")
    print(f"create_db.py: {killed} of {count} killed, {len(wrong)} wrong", flush=True)
    return wrong


def kill_train(folder: Path, count: int, rng: np.random.Generator) -> list[str]:
    """What was found wrong after each kill."""
    from conftest import noise, write_database

    faces = write_database(folder / "faces.mat", noise(64, 32), age=np.arange(64), gender=np.arange(64) % 2)
    words = ["-i", faces, "--depth", 10, "--width", 1, "--nb_epochs", 3, "--opt", "adam", "--aug", "--dropout", 0.1]
    started = time.perf_counter()
    start("train", [*words, "--output_path", folder / "whole"], None).wait()
    seconds, expected = time.perf_counter() - started, weights_of(folder / "whole")
    wrong, killed = [], 0
    for number in range(count):
        run = folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        moment = OF_TRAIN[number // 2 % len(OF_TRAIN)] if number % 2 else None
        killed += kill("train", [*words, "--restart", "--output_path", run], moment, rng.uniform(0.3, 0.9) * seconds)
        start("train", [*words, "--resume", "--output_path", run], None).wait()
        if not np.array_equal(weights_of(run), expected):
            wrong.append(f"train {number} {moment}: other weights")
        if left := [*left_over(run), *(path.name for path in run.glob("resume*"))]:
            wrong.append(f"train {number} {moment}: {left} is left")
    print(f"train.py: {killed} of {count} killed and resumed, {len(wrong)} wrong", flush=True)
    return wrong


def weights_of(folder: Path) -> np.ndarray:
    """All weights of a run's best checkpoint, and its calibration's temperature, one after the other."""
    from networks.checkpoints import choose, load

    model, description = load(choose(folder))
    return np.concatenate([*(weight.ravel() for weight in model.get_weights()), [description.calibration.temperature]])


def main() -> int:
    """Parse, kill, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rng = np.random.default_rng(args.seed)
    wrong = []
    for kill_one in (kill_create_db, kill_train):
        with tempfile.TemporaryDirectory() as folder:
            wrong += kill_one(Path(folder), args.count, rng)
    print("\n".join(wrong) or "nothing wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
