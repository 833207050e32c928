"""Exported models, run by their own runtimes: no Keras, and TensorFlow for its own format alone.

An exported model says what it is in JSON (`metadata_of`), within its own file: among an ONNX model's properties, in
OpenVINO's runtime information, in a zip archive at the end of a LiteRT file, where LiteRT's tools keep files too, and
in assets.extra/ of a SavedModel's folder.
"""

import json
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender.intervals import Calibration
from age_gender.labels import GENDERS, AgeScale
from networks import backend
from networks.models import EXPORTED, Checkpoint, is_exported

KEY = "age_gender"  # of the metadata
JSON_FILE = f"{KEY}.json"
SAVED_MODEL_JSON = f"assets.extra/{JSON_FILE}"
METADATA_VERSION = 1
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


class Format(NamedTuple):
    """A kind of exported model.

    Attributes:
        suffix: of its file; "" for a folder.
        module, package: of its runtime, as it is imported and as it is installed.
        open: function of a path and a number of threads that returns the model's function and its metadata as text.
        title: the runtime's name.
    """

    suffix: str
    module: str
    package: str
    open: Callable[[Path, int], tuple[Run, str]]
    title: str


@dataclass
class Exported:
    """An exported model that is ready to run.

    Attributes:
        run: (n, size, size, 3) uint8 BGR, n >= 1 -> output's name -> array, see converters.answers. From one thread at
            a time.
        checkpoint: what the file says of itself. Its calibration has a temperature of 1: the file's probabilities of
            gender are calibrated already.
        device: what runs it.
    """

    run: Run
    checkpoint: Checkpoint
    device: str

    def predict(self, images: np.ndarray) -> list[np.ndarray]:
        """As backend.compiled_predict: [pred_gender (n, 2), pred_age (n, k)]."""
        said = self.run(images)
        return [said["pred_gender"], said["pred_age"]]


def format_of(path: Path) -> str | None:
    """The format of an exported model, a name in FORMATS, by its name's end; "saved_model" of a folder."""
    if Path(path).is_dir():
        return "saved_model"
    return next((name for name, form in FORMATS.items() if form.suffix and Path(path).suffix == form.suffix), None)


def open_exported(path: Path, threads: int | None = None) -> Exported:
    """Opens an exported model.

    Args:
        path: a file or folder that export.py wrote.
        threads: that compute, but for TensorFlow, which takes all cores; None takes all cores.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the runtime is lacking, or the file is damaged or says not what it is.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; export.py makes it")
    if not is_exported(path):
        raise ValueError(f"{path} is no exported model: these end in {', '.join(EXPORTED)} or are TensorFlow's folders")
    form = FORMATS[format_of(path)]
    require([(form.module, form.package)], f"{path}, which {form.title} runs,")
    try:
        run, text = form.open(path, threads or backend.available_cores())
    except (OSError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from None
    except Exception as error:  # ONNX Runtime has types of its own, which derive from nothing else
        if type(error).__module__.partition(".")[0] != form.module.partition(".")[0]:
            raise
        raise _damaged(path, error) from None
    package = form.package.partition(">")[0]
    return Exported(run, checkpoint_of(path, text), f"{form.title} {version(package)}, CPU")


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} was not written by export.py, or it is damaged: {str(error).strip().splitlines()[0]}")


def require(packages: Iterable[tuple[str, str]], what: str) -> None:
    """Raises a ValueError with the line that installs what is lacking of (module, package) pairs."""
    lacking = dict.fromkeys(package for module, package in packages if not find_spec(module))
    if lacking:
        names = " ".join(f'"{package}"' for package in lacking)
        raise ValueError(f"{what} needs packages that are not installed: pip install {names}")


def metadata_of(checkpoint: Checkpoint, source: str, precision: str) -> dict[str, object]:
    """What an exported model says of itself: what a program must know to cut faces for it and to read its answers."""
    scale, calibration = checkpoint.age_scale, checkpoint.calibration
    return {
        "version": METADATA_VERSION,
        "source": source,
        "precision": precision,
        "image_size": checkpoint.image_size,
        "colours": "BGR",
        "margin": checkpoint.margin,
        "detector": checkpoint.detector,
        "align": checkpoint.align,
        "genders": list(checkpoint.genders),
        "age_scale": {"name": scale.name, "groups": [list(group) for group in scale.groups], "exact": scale.exact},
        "calibration": calibration and calibration._asdict(),
        "network": checkpoint.network,
        "arguments": checkpoint.arguments,
        "mirror": checkpoint.mirror,
    }


def checkpoint_of(path: Path, text: str) -> Checkpoint:
    """The inverse of `metadata_of`, but that the gender is calibrated already."""
    try:
        said = json.loads(text)
        if said["version"] != METADATA_VERSION or tuple(said["genders"]) != GENDERS:
            raise ValueError(f"version {said['version']} with genders {said['genders']} is not known here")
        scale = said["age_scale"]
        groups = tuple((str(name), int(low), int(high)) for name, low, high in scale["groups"])
        calibration = said["calibration"] and Calibration(**said["calibration"])._replace(temperature=1.0)
        return Checkpoint(
            **{name: said[name] for name in ("network", "arguments", "image_size", "margin", "detector", "align")},
            mirror=said["mirror"],
            age_scale=AgeScale(scale["name"], groups, scale["exact"]),
            calibration=calibration,
            origin=f"exported from {said['source']}",
        )
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: what it says of itself cannot be understood: {error}") from None


# ---------------------------------------------------------------------------------------------- one of each format


def _open_onnx(path: Path, threads: int) -> tuple[Run, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"image": images}), strict=True))

    return run, session.get_modelmeta().custom_metadata_map[KEY]


def _open_litert(path: Path, threads: int) -> tuple[Run, str]:
    from ai_edge_litert.interpreter import Interpreter

    with zipfile.ZipFile(path) as archive:
        text = archive.read(JSON_FILE).decode()
    with backend.held_back_stderr():  # LiteRT says on every start what it computes with
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    return lambda images: runner(image=images), text


def openvino():
    """OpenVINO, which at each import reports to its makers that it is used, without that."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


def _open_openvino(path: Path, threads: int) -> tuple[Run, str]:
    core = openvino().Core()
    model = core.read_model(path)
    text = model.get_rt_info(KEY).astype(str)
    # Where the processor has them, OpenVINO would compute in 16 bits, and ages would differ from the network's.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", settings)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        said = compiled({"image": images})
        return {output.any_name: said[output] for output in compiled.outputs}

    return run, text


def _open_saved_model(path: Path, _threads: int) -> tuple[Run, str]:
    text = (path / SAVED_MODEL_JSON).read_text(encoding="utf-8")
    return backend.saved_model_predict(path), text


FORMATS = {
    "onnx": Format(".onnx", "onnxruntime", "onnxruntime>=1.23,<2", _open_onnx, "ONNX Runtime"),
    "litert": Format(".tflite", "ai_edge_litert", "ai-edge-litert>=2.1,<3", _open_litert, "LiteRT"),
    "openvino": Format(".xml", "openvino", "openvino>=2025.4,<2027", _open_openvino, "OpenVINO"),
    "saved_model": Format("", "tensorflow", "tensorflow>=2.20,<2.22", _open_saved_model, "TensorFlow"),
}
