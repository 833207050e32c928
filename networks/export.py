"""A checkpoint as a file for other programs: one graph from image to age, interval and gender, and its conversions.

Keras's own `model.export` writes all formats; it takes TensorFlow for that. Half precision is of the weights alone:
they are stored in 16 bits and computed with in 32. In int8 the convolutions are computed, and the rest is as it was.
"""

import logging
import warnings
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np

from age_gender import runtimes
from age_gender.description import KEY, Description
from age_gender.files import digest
from age_gender.intervals import LEAST
from age_gender.labels import MALE, MAX_AGE, NUM_AGES, YEARS
from age_gender.machine import held_back_stderr
from age_gender.runtimes import FORMATS, JSON_FILE, WEIGHTS, require
from networks import SAVED_MODEL_JSON, TENSORFLOW, backend

RANGE_BATCH = 16  # faces at once, when int8's ranges are measured

RUNS = {name: (form.module, form.package) for name, form in FORMATS.items()}  # format -> its runtime
ONNX = (("tf2onnx", "tf2onnx>=1.17,<2"), ("onnx", "onnx>=1.19,<2"), RUNS["onnx"])
NEEDED = {  # format -> (module, package) of what writes it and runs it
    "onnx": (TENSORFLOW, *ONNX),
    "litert": (TENSORFLOW, RUNS["litert"]),
    "saved_model": (TENSORFLOW,),
    "openvino": (TENSORFLOW, RUNS["openvino"]),
}


def deployable(model, description: Description):
    """A model that ends in what a program wants to know, so that whoever runs it needs no formula of ours.

    Args:
        model: as checkpoints.load gives it.
        description: what its file says.

    Returns:
        A Keras model of `image`, (n, size, size, 3) uint8 BGR, whose outputs are those of `answers`.
    """
    import keras

    class Answers(keras.layers.Layer):
        def call(self, gender, age):
            return answers(gender, age, description)

    for layer in _layers_of(model):
        if isinstance(layer, keras.layers.Normalization):  # its tensors would become inputs of an ONNX file
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    image = keras.Input(model.input_shape[1:], dtype="uint8", name="image")
    whole = keras.Model(image, Answers(name="answers", dtype="float32")(*model(image)), name="age_gender")
    whole(np.zeros((1, *model.input_shape[1:]), np.uint8))  # Keras exports no model that was never called
    return whole


def answers(gender, age, description: Description) -> dict:
    """What a program wants to know of the network's two outputs, computed by the backend.

    Args:
        gender: (n, 2) float32 distributions.
        age: (n, k) float32 distributions over the groups of the checkpoint's age scale.
        description: has the scale and the calibration.

    Returns:
        `pred_gender` (n, 2), calibrated where the checkpoint knows how; `pred_age` (n, k); `expected_age` (n,) float32
        years; and where ages are years and have intervals, `age_low` and `age_high`, (n,) int32, the first and the last
        whole year. All as labels.expected_age and intervals compute them with NumPy.
    """
    from keras import ops

    calibration = description.calibration
    if calibration and calibration.temperature != 1:
        gender = _tempered(gender, calibration.temperature)
    centres = description.age_scale.centres.astype(np.float32)
    said = {"pred_gender": gender, "pred_age": age, "expected_age": ops.sum(age * centres, axis=1)}
    if calibration and calibration.widen is not None and description.age_scale == YEARS:
        low, high = (_age_quantile(age, (1 + sign * calibration.level) / 2) for sign in (-1, 1))
        middle = ops.floor((low + high) / 2 + 0.5)
        widen = _widening(said["expected_age"], calibration)
        first = ops.minimum(ops.ceil(low - widen), middle)
        last = ops.maximum(ops.floor(high + widen), middle)
        for name, end in (("age_low", first), ("age_high", last)):
            said[name] = ops.cast(ops.clip(end, 0, MAX_AGE), "int32")
    return said


def _tempered(gender, temperature: float):
    """intervals.tempered, of both genders: (n, 2) -> (n, 2)."""
    from keras import ops

    male = gender[:, MALE:]
    odds = ops.log(ops.maximum(male, LEAST)) - ops.log(ops.maximum(1 - male, LEAST))
    male = ops.sigmoid(odds / temperature)
    return ops.concatenate([1 - male, male], axis=1)


def _widening(expected_age, calibration):
    """intervals.widening, as a sum of steps: (n,) -> (n,) years, or one number for all."""
    from keras import ops

    if not calibration.bands:
        return calibration.widen
    widen = calibration.bands[0][1]
    for (_, before), (first, years) in pairwise(calibration.bands):
        widen += (years - before) * ops.cast(expected_age >= first, "float32")
    return widen


def _age_quantile(age, share: float):
    """intervals.age_quantile: (n, 101) -> (n,) years. Sums are products with a matrix, which every runtime has."""
    from keras import ops

    years = np.arange(NUM_AGES, dtype=np.float32)
    below = ops.matmul(age, np.triu(np.ones((NUM_AGES, NUM_AGES), np.float32)))  # (n, 101), each with its own year
    wanted = share * below[:, -1:]
    year = ops.minimum(ops.sum(ops.cast(below < wanted, "float32"), axis=1, keepdims=True), MAX_AGE)
    here = ops.cast(ops.equal(year, years), "float32")  # (n, 101), a single 1
    mass = ops.sum(age * here, axis=1, keepdims=True)
    before = ops.sum(below * here, axis=1, keepdims=True) - mass
    part = ops.where(mass > 0, (wanted - before) / ops.maximum(mass, np.float32(1e-30)), 0.0)
    return (year - 0.5 + ops.clip(part, 0, 1))[:, 0]


# ------------------------------------------------------------------------------------------------------ conversions


def check(form: str, precision: str) -> None:
    """Raises ValueError, with the line that installs what is lacking, where a format in NEEDED cannot be written here
    with a precision, float32, float16 or int8."""
    more = ONNX if (form, precision) == ("openvino", "int8") else ()
    require((*NEEDED[form], *more), f"--format {form} --precision {precision}")
    if form == "litert" and tuple(map(int, version("keras").split(".")[:2])) < (3, 13):
        raise ValueError(f'Keras {version("keras")} does not write LiteRT: pip install "keras>=3.13"')


def convert(model, path: Path, form: str, precision: str, metadata: str, images: np.ndarray | None = None) -> None:
    """Writes a model, as `deployable` gives it, as a new file or folder.

    Args:
        model: computed by TensorFlow.
        path: ends as its format does.
        form, precision: that pass `check`.
        metadata: JSON, see Description.exported_json.
        images: (n, size, size, 3) uint8 BGR, faces on which int8's ranges are measured.
    """
    logging.disable(logging.WARNING)  # converters talk of themselves on all channels
    try:
        with held_back_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            CONVERTERS[form](model, Path(path), precision, metadata, images)
    finally:
        logging.disable(logging.NOTSET)


def _onnx(model, path: Path, precision: str, metadata: str, images: np.ndarray | None) -> None:
    import onnx

    for layer in _layers_of(model):
        if getattr(layer, "groups", 1) > 1:
            raise ValueError(
                f"{layer.name} is a grouped convolution, which tf2onnx cannot write: take --format litert or "
                "saved_model, or openvino in float32 or float16"
            )
    model.export(str(path), format="onnx", verbose=False)
    if precision == "int8":
        _quantize(path, images)
    graph = onnx.load(path)
    if precision == "float16":
        _store_in_half(graph)
    onnx.helper.set_model_props(graph, {KEY: metadata})
    content = graph.SerializeToString()
    path.write_bytes(content + runtimes.onnx_end(runtimes.seal(content)))


def _layers_of(model) -> Iterator:
    """All layers of a model, those of models in it among them."""
    for layer in model.layers:
        yield from _layers_of(layer) if hasattr(layer, "layers") else [layer]


def _store_in_half(graph) -> None:
    """Stores an ONNX model's kernels in 16 bits, each with a cast to 32."""
    from onnx import TensorProto, helper, numpy_helper

    for weight in graph.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or len(weight.dims) < 4:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{name}_half"))
        cast = helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT)
        graph.graph.node.insert(0, cast)


def _quantize(path: Path, images: np.ndarray) -> None:
    """Has the convolutions of an ONNX file computed in 8 bits, whose ranges are those of some faces."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        batches = (images[start : start + RANGE_BATCH] for start in range(0, len(images), RANGE_BATCH))

        def get_next(self):
            return next(({"image": batch} for batch in self.batches), None)

    # Weights of 7 bits: where a processor has no instructions for whole numbers (VNNI), the sums of 8 overflow.
    quantize_static(path, path, Reader(), op_types_to_quantize=["Conv"], per_channel=True, reduce_range=True)


def _litert(model, path: Path, precision: str, metadata: str, images: np.ndarray | None) -> None:
    if precision == "int8":
        folder = path.with_suffix("")
        model.export(str(folder), format="tf_saved_model", verbose=False)
        path.write_bytes(backend.int8_litert(folder, images))
    else:
        settings = backend.half_litert() if precision == "float16" else {}
        model.export(str(path), format="litert", verbose=False, **settings)
    sealed = runtimes.seal(path.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:  # at the file's end, where LiteRT does not look
        archive.writestr(JSON_FILE, metadata)
        archive.writestr(WEIGHTS, sealed)


def _saved_model(model, path: Path, _precision: str, metadata: str, _images) -> None:
    model.export(str(path), format="tf_saved_model", verbose=False)
    (path / SAVED_MODEL_JSON).parent.mkdir(exist_ok=True)
    (path / SAVED_MODEL_JSON).write_text(metadata, encoding="utf-8")


def _openvino(model, path: Path, precision: str, metadata: str, images: np.ndarray | None) -> None:
    openvino = runtimes.openvino()
    if precision == "int8":
        source = path.with_suffix(".onnx")
        _onnx(model, source, precision, metadata, images)
        graph = openvino.convert_model(source)
    else:
        # By way of a SavedModel: on Python 3.13, OpenVINO cannot read what Keras hands over in memory.
        folder = path.with_suffix("")
        model.export(str(folder), format="tf_saved_model", verbose=False)
        graph = openvino.convert_model(folder)
    graph.set_rt_info(metadata, [KEY])
    openvino.save_model(graph, path, compress_to_fp16=precision == "float16")
    graph.set_rt_info(str(digest(path.with_suffix(".bin").read_bytes())), [WEIGHTS])
    openvino.save_model(graph, path, compress_to_fp16=precision == "float16")  # its .xml knows now which .bin is its


CONVERTERS = {"onnx": _onnx, "litert": _litert, "saved_model": _saved_model, "openvino": _openvino}
