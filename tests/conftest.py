"""What several test files share: the folder of genuine data, small databases, and one tiny network."""

import gc
import io
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from micro_network import micro_network

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

settings.register_profile("few", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("few")

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such links, signals, pipes or shells for everyone")

SHARED_VARIABLE = "AGE_GENDER_SHARED"
# The files that take longest; what runs side by side starts with them, and so ends together.
LONGEST = (
    "test_devices",
    "test_shipped_model",
    "test_export",
    "test_applications",
    "test_transfer",
    "test_scripts",
    "test_models",
    "test_evaluate",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection():
    """What is made by the imports stays to the end, so the garbage collector need not walk over it at all."""
    gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder that holds `data/` and `legacy/`, genuine files that are no part of the project."""
    folder = os.environ.get(SHARED_VARIABLE)
    if not folder:
        pytest.skip(f"{SHARED_VARIABLE} is not set: it names the folder of genuine datasets and files")
    return Path(folder)


def noise(count: int, size: int = 8, seed: int = 0) -> np.ndarray:
    """(count, size, size, 3) uint8: no two images alike."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def damaged_jpeg(path):
    """A JPEG with a stray marker in it, which libjpeg reads, with a complaint that names no file."""
    import cv2

    content = cv2.imencode(".jpg", cv2.GaussianBlur(noise(1, 200)[0], (7, 7), 3))[1].tobytes()
    path.write_bytes(content[:1500] + b"\xff\xd0\x11\x22" + content[1500:])


def make_database(count: int, size: int = 8, seed: int = 0, **fields):
    """A database in memory; fields that are not given are drawn or have their defaults."""
    from utils import Database

    rng = np.random.default_rng(seed)
    defaults = {
        "source": Path(f"drawn_{seed}.mat"),
        "image": noise(count, size, seed),
        "age": rng.integers(0, 101, count),
        "gender": rng.integers(0, 2, count),
        "db": "wiki",
    }
    chosen = {name: np.asarray(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Database(**{**defaults, **chosen})


def write_database(path: Path, images: np.ndarray, /, rows: int | None = None, texts=None, scalars=None, **columns):
    """Writes images and columns as a database; age and gender are all 30 and 1 where not given. Returns the path."""
    from utils import writing_database

    labels = {"age": np.full(len(images), 30), "gender": np.ones(len(images), np.int64)}
    with writing_database(path, len(images) if rows is None else rows, images.shape[1]) as writer:
        writer.append(images)
        writer.finish({**labels, **columns}, scalars or {}, texts or {"db": "wiki", "detector": "none"})
    return path


def give_every_weight_a_value(model, seed: int = 0):
    """Replaces all weights, the batch norms' statistics too, so that no two can change places unnoticed."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        drawn = []
        for weight in layer.weights:
            if "variance" in weight.path:
                drawn.append(rng.uniform(0.5, 1.5, weight.shape))
            elif "gamma" in weight.path:
                drawn.append(rng.uniform(0.7, 1.3, weight.shape))
            elif "kernel" in weight.path:
                drawn.append(rng.normal(0, 1 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape))
            else:
                drawn.append(rng.normal(0, 0.3, weight.shape))
        layer.set_weights(drawn)
    return model


def training_options(*words: object):
    """The options of a training, as train.py takes them from its command line."""
    import train
    from training.arguments import parse

    return parse(train.build_parser(), [str(word) for word in words])[0]


def stopped_state(**kept) -> dict:
    """What a stopped run's file says, as far as a test gives it; the rest is empty."""
    state = {"epoch": 1, "arguments": {}, "split": {}, "best": {}, "history": [], "dropout_seeds": {}}
    return state | {"val_loss": "of faces"} | kept


def predict_eagerly(model):
    """`compiled_predict`, or a model's own `predict`, without a compiler, which takes longer than so few faces."""
    import keras

    return lambda images: list(map(keras.ops.convert_to_numpy, keras.tree.flatten(model(images, training=False))))


@pytest.fixture
def plain_runs(monkeypatch):
    """Runs without TensorBoard and pictures, and without a compiler, which takes longer than so few steps."""
    make_runs_plain(monkeypatch)


def make_runs_plain(monkeypatch, curve=False) -> None:
    """What `plain_runs` does, for fixtures of a wider scope; with the training's curve if asked for."""
    from networks import backend
    from training import run

    compile_model = run.compile_model

    def compile_to_run_eagerly(model, options, rate):
        compile_model(model, options, rate)
        model.run_eagerly = True

    monkeypatch.setattr(run, "compile_model", compile_to_run_eagerly)
    monkeypatch.setattr(backend, "_tensorflow_predict", predict_eagerly)
    monkeypatch.setattr(run, "tensorboard", lambda folder: [])
    if not curve:
        monkeypatch.setattr("training.callbacks.save_training_curve", lambda *drawn: None)


@pytest.fixture
def quick_runs(plain_runs, monkeypatch):
    """Such runs of the micro network."""
    from networks import backbones

    monkeypatch.setitem(backbones.BACKBONES, "wide_resnet", micro_network)
    # It has fewer weights than the network that its checkpoints name.
    monkeypatch.setattr("networks.checkpoints._refuse_more_than_the_file", lambda path, description: None)


@pytest.fixture
def faces(tmp_path) -> Path:
    """A database of 40 faces of noise at 32 pixels, all labelled."""
    return write_database(tmp_path / "faces.mat", noise(40, 32), age=np.arange(40) * 2, gender=np.arange(40) % 2)


@pytest.fixture
def secret_folders(monkeypatch):
    """No folder called "secret" may be read: the rights of a file mean nothing to the superuser, who may run this."""
    real = os.scandir

    def scandir(path):
        if os.path.basename(path) == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.fixture
def matlab5_read_here(monkeypatch):
    """Runs what reads MATLAB 5 files in this process, for tests of many such files: each else imports SciPy anew."""

    def run(command, **how):
        out = io.BytesIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", command[3:])
            patch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
            patch.setitem(sys.modules, "resource", None)  # this process is not to be limited
            try:
                exec(command[command.index("-c") + 1], {})
            except Exception:
                return subprocess.CompletedProcess(command, 1, b"", traceback.format_exc().encode())
        return subprocess.CompletedProcess(command, 0, out.getvalue(), b"")

    monkeypatch.setattr("utils.subprocess", SimpleNamespace(run=run))


@pytest.fixture(scope="session")
def tiny_model():
    """WRN-10-1 at 32 px with weights of its own; tests must not change it."""
    from wide_resnet import wide_resnet

    return give_every_weight_a_value(wide_resnet(32, depth=10, width=1))


@pytest.fixture(scope="session")
def tiny_checkpoint_file(tiny_model, tmp_path_factory) -> Path:
    """`tiny_model` as a checkpoint of this suite, margin 0.25."""
    from age_gender.description import Description
    from networks.checkpoints import save

    path = tmp_path_factory.mktemp("checkpoint") / "weights.07-4.56.hdf5"
    save(tiny_model, path, Description("wide_resnet", {"depth": 10, "width": 1}, 32, margin=0.25))
    return path


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """The folder of a small drawn dataset: `wiki_crop` with 24 records and `photos` with `truth.csv`."""
    from make_samples import write_samples

    folder = tmp_path_factory.mktemp("drawn")
    write_samples(str(folder), count=24, seed=0)
    return folder


@pytest.fixture
def quick_report(monkeypatch):
    """evaluate.py without its plots and a compiler, and with few resamples, for tests of none of these."""
    from evaluation import metrics, reports
    from networks import backend

    monkeypatch.setattr(backend, "_tensorflow_predict", predict_eagerly)
    monkeypatch.setattr(reports, "pictures", lambda evaluation: [])
    monkeypatch.setattr(reports, "separation", lambda evaluations: [])
    monkeypatch.setattr(metrics, "RESAMPLES", 50)


def overlap(box, other) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared_area = max(width, 0) * max(height, 0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (box, other)]
    return shared_area / (sum(areas) - shared_area)


def paired(boxes, others, least=0.5) -> bool:
    """Whether each box has one of the others for itself, which it overlaps by `least`, and none is left over."""
    if not len(boxes) == len(others):
        return False
    matches = [[overlap(box, other) >= least for other in others] for box in boxes]
    return all(sum(row) == 1 for row in matches) and all(sum(column) == 1 for column in zip(*matches, strict=True))
