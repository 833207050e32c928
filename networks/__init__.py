"""Networks by name, their checkpoints and their export; here, the one way to open whatever predicts."""

import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from age_gender import runtimes
from age_gender.description import KEY, Description
from age_gender.runtimes import Model
from networks import backend, checkpoints

TENSORFLOW = ("tensorflow", "tensorflow>=2.20,<2.22")  # which runs SavedModels, as it is imported and installed
SAVED_MODEL_JSON = f"assets.extra/{KEY}.json"  # of a SavedModel's folder: its description
BATCH = 256  # faces predicted at once


def open_model(path: str | os.PathLike[str], trust: bool = False) -> Model:
    """Opens a checkpoint (of this suite, of the original one, another Keras model) or an exported model.

    Args:
        path: an HDF5 or Keras file, or what export.py wrote: an ONNX, LiteRT or OpenVINO file, a SavedModel's folder.
        trust: whether a SavedModel may run, which is a program: it can read and write any file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, is no model for ages and genders, or its runtime is lacking.
    """
    path = Path(path)
    if runtimes.format_of(path):
        return runtimes.open_model(path)
    if path.is_dir():
        return _open_saved_model(path, trust)
    device = backend.start()
    model, description = checkpoints.load(path)
    return Model(description, backend.compiled_predict(model), device, path)


def description_of(path: Path, trust: bool = False) -> Description:
    """What any file that `open_model` opens says of itself; of a checkpoint, without building its network."""
    return open_model(path, trust).description if checkpoints.is_exported(path) else checkpoints.inspect(path)


def _open_saved_model(path: Path, trust: bool) -> Model:
    if not (path / "saved_model.pb").is_file():
        raise ValueError(f"{path} is a folder without a SavedModel in it; name a file")
    if not trust:
        raise ValueError(
            f"{path} is a SavedModel, which is a program that can read and write any file: say --trust if you know who "
            "made it, or take another format, which is data"
        )
    runtimes.require([TENSORFLOW], f"{path}, which TensorFlow runs,")
    with runtimes.reading_exported(path):
        if not (path / SAVED_MODEL_JSON).is_file():
            raise ValueError(f"there is no {SAVED_MODEL_JSON} in it")
        text = (path / SAVED_MODEL_JSON).read_text(encoding="utf-8")
        run = backend.saved_model_run(path)
    device = f"TensorFlow {version('tensorflow')}, CPU"
    return runtimes.exported_model(path, Description.from_json(text, path), run, device)


def predict_rows(model: Model, images, rows: np.ndarray) -> list[np.ndarray]:
    """What a model says of some rows of databases, in large batches: (m,) -> [gender (m, 2), age (m, k)], float32.

    `images` takes arrays of rows and gives (n, size, size, 3) uint8 BGR of the model's size, see utils.ImageStack.
    """
    starts = range(0, len(rows), BATCH)
    parts = [model(images[rows[start : start + BATCH]]) for start in tqdm(starts, unit="batch", disable=None)]
    return [np.concatenate(output) for output in zip(*parts, strict=True)]
