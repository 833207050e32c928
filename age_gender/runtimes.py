"""Models that are ready to predict: what a model is, and exported files run by their own runtimes.

An exported model says what it is in JSON (`Description.exported_json`), within its own file: among an ONNX model's
properties, in OpenVINO's runtime information, in a zip archive at the end of a LiteRT file, where LiteRT's tools keep
files too. Beside it stands a digest of the weights; for damage, not against forgers. Checkpoints and SavedModels need
Keras or TensorFlow: `networks.open_model` opens those, as the same thing.
"""

import os
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from age_gender.description import KEY, Description
from age_gender.files import digest, reading, refuse_pointer, why_absent
from age_gender.labels import NUM_GENDERS
from age_gender.machine import available_cores, held_back_stderr

SHIPPED = Path(__file__).resolve().parent / "age_gender.onnx"  # docs/MODEL_CARD.md; export.py makes it
WEIGHTS = f"{KEY}_weights"  # under which an exported file holds a digest: of OpenVINO's the other file's, the .bin's
JSON_FILE, MOST_JSON = f"{KEY}.json", 1 << 20  # bytes
Predict = Callable[[np.ndarray], list[np.ndarray]]
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Model:
    """Whatever predicts: what it says of itself, and a function from images to two distributions.

    It is tried when it is made, on one image and on two.

    Attributes:
        description: what the model says of itself.
        predict: (n, size, size, 3) uint8 BGR, n >= 1 -> [gender (n, 2), age (n, k)], rows that are finite and sum to 1;
            from any one thread at a time.
        device: what computes, in words.
        path: of its file, for messages.
        run: of an exported model, all its outputs by name, see networks.export.answers.

    Raises:
        ValueError: if what it answers are no distributions over the classes that the description says.
    """

    description: Description
    predict: Predict
    device: str
    path: Path
    run: Run | None = None

    def __post_init__(self) -> None:
        size = self.description.image_size
        ramp = np.linspace(0, 255, size * size * 3).astype(np.uint8).reshape(size, size, 3)
        images = np.stack([ramp, 255 - ramp])
        said = self.predict(images)
        heads = (("genders", NUM_GENDERS), ("ages", len(self.description.age_scale.groups)))
        if len(said) != len(heads):
            raise ValueError(f"{self.path} has {len(said)} outputs, not two distributions, over genders and over ages")
        for (what, classes), found in zip(heads, said, strict=True):
            if found.shape != (2, classes):
                raise ValueError(
                    f"{self.path}: its {what} are to be (n, {classes}); of two images it gives {found.shape}"
                )
            if not np.all(np.isfinite(found)):
                raise ValueError(
                    f"{self.path} answers what is no number: its weights are damaged, or its training failed"
                )
            sums = found.sum(axis=1, dtype=np.float64)
            if np.any(found < -1e-4) or np.any(np.abs(sums - 1) > 0.02):
                raise ValueError(
                    f"{self.path}: its {what} are no distributions: a row is to be of shares that sum to 1, and one "
                    f"sums to {sums[np.abs(sums - 1).argmax()]:.4g}; does its last layer lack the softmax?"
                )
        # A file may hold a fixed number of images, though it be these two.
        alone = [found.shape for found in self.predict(images[:1])]
        if alone != [(1, classes) for _, classes in heads]:
            raise ValueError(f"{self.path}: of one image it gives {alone}; it is to take any number of images")

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        return self.predict(images)


class Format(NamedTuple):
    """A kind of exported model."""

    suffix: str  # of its file
    module: str  # of its runtime, as it is imported
    package: str  # as it is installed
    open: Callable[[Path, int], tuple[Run, str, str]]  # path, threads -> function, description as text, what computes
    title: str  # the runtime's name


def format_of(path: Path) -> str | None:
    """The format of an exported model, a name in FORMATS, by its name's end; None of anything else."""
    return next((name for name, form in FORMATS.items() if Path(path).suffix.lower() == form.suffix), None)


def open_model(path: str | os.PathLike[str], threads: int | None = None) -> Model:
    """Opens an exported model, an ONNX, a LiteRT or an OpenVINO file.

    Args:
        path: a file that export.py wrote.
        threads: that compute; None takes all cores.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the runtime is lacking, or the file is damaged, says not what it is, or is another kind.
    """
    path = Path(path)
    *others, last = (form.suffix for form in FORMATS.values())
    ends = f"{', '.join(others)} or {last}"
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder; name the {ends} file in it (of a SavedModel: networks.open_model opens it)"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path} {why_absent(path)}; export.py makes it")
    name = format_of(path)
    if name is None:
        raise ValueError(
            f"{path} is no exported model: these end in {ends}; a checkpoint is opened by networks.open_model, or "
            "export.py makes an ONNX file of it"
        )
    form = FORMATS[name]
    require([(form.module, form.package)], f"{path}, which {form.title} runs,")
    with reading_exported(path):
        run, text, device = form.open(path, threads or available_cores())
    # Its own word: the same module comes in several packages, such as onnxruntime-gpu.
    words = f"{form.title} {sys.modules[form.module].__version__}, {device}"
    return exported_model(path, Description.from_json(text, path), run, words)


def exported_model(path: Path, description: Description, run: Run, device: str) -> Model:
    """The Model of an exported file, whatever runs it."""

    alone = threading.Lock()  # a runtime has one set of buffers, and a Dask worker may have several threads

    def predict(images: np.ndarray) -> list[np.ndarray]:
        with alone:
            said = run(images)
        if lacking := [name for name in ("pred_gender", "pred_age") if name not in said]:
            raise ValueError(f"{path} has no output '{lacking[0]}'; export.py writes pred_gender and pred_age")
        return [said["pred_gender"], said["pred_age"]]

    with reading_exported(path):  # a graph may take other images than it says
        return Model(description, predict, device, path, run)


def reading_exported(path: Path) -> AbstractContextManager[None]:
    """The block in which an exported file is opened and tried: whatever is wrong with it becomes one ValueError."""
    return reading(path, f"{path} was not written by export.py, or it is damaged")


def require(packages: Iterable[tuple[str, str]], what: str) -> None:
    """Raises a ValueError with the line that installs what is lacking of (module, package) pairs."""
    lacking = dict.fromkeys(package for module, package in packages if not find_spec(module))
    if lacking:
        names = " ".join(f'"{package}"' for package in lacking)
        raise ValueError(f"{what} needs packages that are not installed: pip install {names}")


# ---------------------------------------------------------------------------------------------- one of each format


def silent_onnxruntime() -> Any:
    """ONNX Runtime; its newer versions report to their makers unless they are told not to before they are imported."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def seal(content: bytes) -> str:
    """How long the model in a file is, and its CRC-32: to be written behind it under WEIGHTS."""
    return f"{len(content)} {zlib.crc32(content)}"


def onnx_end(sealed: str) -> bytes:
    """The property WEIGHTS of an ONNX file as it stands at its end: protocol buffers are joined by their bytes."""
    name, value = WEIGHTS.encode(), sealed.encode()
    entry = b"".join((b"\x0a", bytes([len(name)]), name, b"\x12", bytes([len(value)]), value))
    return b"".join((b"\x72", bytes([len(entry)]), entry))


def _check_seal(path: Path, sealed: str, end: int) -> None:
    """Raises ValueError if a model is not the one that was sealed. One of another length was changed by a program, as
    one that makes it smaller, and knew nothing of the seal: it is taken.

    Args:
        path: of its file.
        sealed: what `seal` gave; "" in files of versions before 0.17.
        end: where in the file the model ends, and something else begins.
    """
    length, expected = map(int, sealed.split() or (0, 0))
    if length == end and zlib.crc32(np.memmap(path, mode="r").data[:end]) != expected:
        raise ValueError("its bytes are not those that were written")


def _open_onnx(path: Path, threads: int) -> tuple[Run, str, str]:
    onnxruntime = silent_onnxruntime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors alone: what cannot be used is said by the exception
    providers = [
        name
        for name in ("CUDAExecutionProvider", "CPUExecutionProvider")
        if name in onnxruntime.get_available_providers()
    ]
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    names = [output.name for output in session.get_outputs()]
    device = "GPU" if session.get_providers()[0] == "CUDAExecutionProvider" else "CPU"

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"image": images}), strict=True))

    said = session.get_modelmeta().custom_metadata_map
    sealed = said.get(WEIGHTS, "")
    _check_seal(path, sealed, path.stat().st_size - len(onnx_end(sealed)))
    return run, said[KEY], device


def runs_on_gpu() -> bool:
    """Whether ONNX Runtime has a GPU here, which takes the package onnxruntime-gpu."""
    onnxruntime = silent_onnxruntime()

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _open_litert(path: Path, threads: int) -> tuple[Run, str, str]:
    from ai_edge_litert.interpreter import Interpreter

    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(JSON_FILE).file_size > MOST_JSON:
            raise ValueError("what it says of itself is too long")
        text = archive.read(JSON_FILE).decode()
        sealed = archive.read(WEIGHTS).decode() if WEIGHTS in archive.namelist() else ""
        _check_seal(path, sealed, archive.getinfo(JSON_FILE).header_offset)
    with held_back_stderr():  # LiteRT says on every start what it computes with
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    return lambda images: runner(image=images), text, "CPU"


def openvino() -> Any:
    """OpenVINO, which at each import reports to its makers that it is used, without that."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _open_openvino(path: Path, threads: int) -> tuple[Run, str, str]:
    refuse_pointer(path)
    if not (weights := path.with_suffix(".bin")).is_file():
        raise FileNotFoundError(
            f"{weights} is not there: an OpenVINO model is two files, and this one belongs to {path}"
        )
    core = openvino().Core()
    try:
        model = core.read_model(path)
    except RuntimeError as error:  # its first lines are places in OpenVINO's own code
        raise RuntimeError(str(error).strip().splitlines()[-1]) from None
    if model.has_rt_info(WEIGHTS) and model.get_rt_info(WEIGHTS).astype(str) != str(digest(weights.read_bytes())):
        raise ValueError(f"{weights} is damaged, or another model's")
    text = model.get_rt_info(KEY).astype(str)
    # Where the processor has them, OpenVINO would compute in 16 bits, and ages would differ from the network's.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", settings)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        said = compiled({"image": images})
        return {output.any_name: said[output] for output in compiled.outputs}

    return run, text, "CPU"


FORMATS = {
    "onnx": Format(".onnx", "onnxruntime", "onnxruntime>=1.23,<2", _open_onnx, "ONNX Runtime"),
    "litert": Format(".tflite", "ai_edge_litert", "ai-edge-litert>=2.1,<3", _open_litert, "LiteRT"),
    "openvino": Format(".xml", "openvino", "openvino>=2025.4,<2027", _open_openvino, "OpenVINO"),
}
