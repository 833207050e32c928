"""Networks by name, and checkpoints that explain themselves: build, save, load, inspect.

A checkpoint is one HDF5 file: Keras's model and weights, and one JSON attribute, `age_gender`, that says how to build
the network again and how its faces were cropped. Files of the original suite (Keras 2) load by their path too.
"""

import json
import math
import re
import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from age_gender.description import KEY, ORIGIN_KERAS, ORIGIN_ORIGINAL, ORIGIN_OURS, Description
from age_gender.files import replacing
from age_gender.intervals import Calibration
from age_gender.labels import NUM_AGES, NUM_GENDERS
from age_gender.runtimes import format_of
from networks.applications import NETWORKS, application, set_weights

SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints" / "age_gender.hdf5"  # docs/MODEL_CARD.md


def _wide_resnet(image_size: int, **arguments):
    from wide_resnet import wide_resnet

    return wide_resnet(image_size, **arguments)


# Name -> function of the image size and the network's own arguments that returns a model with the two heads.
BACKBONES: dict[str, Callable] = {
    "wide_resnet": _wide_resnet,
    **{name: partial(application, name) for name in NETWORKS},
}

# Name -> how the names of the layers begin at which its second and later stages begin.
STAGES: dict[str, tuple[str, ...]] = {
    "wide_resnet": ("group2_", "group3_", "group4_"),
    **{name: network.stages for name, network in NETWORKS.items()},
}


def build(checkpoint: Description, **extra):
    """The network that a checkpoint describes, with fresh weights; `extra` are arguments for training alone.

    Raises:
        ValueError: for a network that is not known, or arguments it does not take.
    """
    if checkpoint.network not in BACKBONES:
        raise ValueError(f"'{checkpoint.network}' is no network; there are {', '.join(BACKBONES)}")
    num_ages = len(checkpoint.age_scale.groups)
    try:
        return BACKBONES[checkpoint.network](checkpoint.image_size, num_ages=num_ages, **checkpoint.arguments, **extra)
    except TypeError as error:  # of a checkpoint that a later version wrote
        raise ValueError(f"{checkpoint.network} takes other arguments than {checkpoint.arguments}: {error}") from None


def save(model, path: Path, checkpoint: Description) -> None:
    """Writes a checkpoint; the file appears under its name only when it is complete."""
    import logging

    import h5py

    with replacing(path) as temporary:
        logging.disable(logging.WARNING)  # Keras calls HDF5 a legacy; it is the one format both suites can read
        try:
            model.save(temporary, include_optimizer=False)
        finally:
            logging.disable(logging.NOTSET)
        with h5py.File(temporary, "r+") as file:
            file.attrs[KEY] = checkpoint.to_json()


def store_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration into a checkpoint of this suite; whatever interrupts it, the file stays whole.

    Raises:
        ValueError: if the file must not be written.
    """
    import h5py

    path = Path(path).resolve()  # of a link, what it leads to
    checkpoint, mode = replace(inspect(path), calibration=calibration), path.stat().st_mode
    if not mode & 0o200:
        raise ValueError(f"{path} is read-only: its calibration cannot be stored in it")
    with replacing(path) as temporary:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "r+") as file:
            file.attrs[KEY] = checkpoint.to_json()
    path.chmod(mode)


def load(path: Path, mirror: bool = True):
    """Loads a checkpoint.

    Files of this suite build their network from what they say; files of the original suite, whole models and bare
    weights, build the original's network, whose depth, width and size are read from the weights; other Keras models
    are taken as they are where their outputs are two genders and 101 ages.

    Args:
        path: an HDF5 file, or a Keras model file.
        mirror: False leaves out the average with the mirror image where the checkpoint asks for it.

    Returns:
        model: (n, size, size, 3) uint8 BGR -> [pred_gender (n, 2), pred_age (n, k)], k classes of its age scale.
        checkpoint: what the file says of itself.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or is no model for ages and genders.
    """
    path = Path(path)
    checkpoint = inspect(path)
    if checkpoint.origin == ORIGIN_KERAS:
        return _load_keras(path), checkpoint
    if checkpoint.origin == ORIGIN_OURS and (path.suffix not in (".hdf5", ".h5") or path.name.endswith(".weights.h5")):
        raise ValueError(f"Keras tells formats by the name's end: rename {path} to end in .hdf5")
    model = build(checkpoint)
    try:
        if checkpoint.origin == ORIGIN_ORIGINAL:
            _load_original(model, path)
        else:
            model.load_weights(path)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"the weights in {path} do not fit the network it names: {error}") from None
    return (mirrored(model) if mirror and checkpoint.mirror else model), checkpoint


def copy_weights(path: Path, model, new: Collection[str] = ()) -> list[str]:
    """Gives a model the weights of a checkpoint of this suite, layer by layer, by name and shape.

    A block that the checkpoint of a wide residual network lacks starts as the identity, with zeros in its last
    convolution, so that a deeper network starts as what the shallower one was (Chen et al., "Net2Net",
    arXiv:1511.05641, section 2.3). So does one whose stem has stride 4 from one of stride 2, on images of twice the
    size.

    Args:
        path: the checkpoint; its network may have another image size, depth, or heads.
        model: changed in place.
        new: names of layers that keep their own weights even if the checkpoint's fit, such as a head whose bins mean
            something else.

    Returns:
        The names of the layers that keep their own weights.

    Raises:
        FileNotFoundError, ValueError: as `load` does, and if it is no checkpoint of this suite or no layer fits.
    """
    checkpoint = inspect(path)
    if checkpoint.origin != ORIGIN_OURS:
        raise ValueError(f"{path} was written by {checkpoint.origin}; a training starts from this suite's own")
    source, _ = load(path, mirror=False)
    weights = {layer.name: layer.get_weights() for layer in source.layers}
    layers = [layer for layer in model.layers if layer.weights]
    fresh = []
    for layer in layers:
        found = weights.get(layer.name, [])
        if layer.name == "stem" and found and (found[0].shape[0], layer.kernel_size) == (3, (8, 8)):
            found = [stem_for_twice_the_size(found[0])]
        fits = [array.shape for array in found] == [array.shape for array in layer.get_weights()]
        if fits and layer.name not in new:
            set_weights(layer, found)
            continue
        fresh.append(layer.name)
        if checkpoint.network == "wide_resnet" and layer.name.endswith("_conv2") and layer.name not in weights:
            layer.set_weights([np.zeros_like(array) for array in layer.get_weights()])
    if len(fresh) == len(layers):
        raise ValueError(f"no layer of {path}, {source.name}, fits {model.name}")
    return fresh


def stem_for_twice_the_size(kernel: np.ndarray) -> np.ndarray:
    """The (8, 8, c, d) kernel of stride 4 that sees in an image what a (3, 3, c, d) one of stride 2 sees in it halved.

    Halving is averaging 2 x 2 pixels. Keras pads an even image by nothing before and 1 after for the one, by 2 before
    and 2 after for the other, whence the zeros in front.
    """
    twice = np.zeros((8, 8, *kernel.shape[2:]), kernel.dtype)
    twice[2:, 2:] = kernel.repeat(2, axis=0).repeat(2, axis=1) / 4
    return twice


def mirrored(model):
    """A model that averages what `model` says of an image and of its mirror image: a face has no handedness."""
    import keras

    class Twins(keras.layers.Layer):
        def call(self, images):
            return keras.ops.concatenate([images, keras.ops.flip(images, axis=2)])

    class Mean(keras.layers.Layer):
        def call(self, twins):
            return sum(keras.ops.split(twins, 2)) / 2

        def compute_output_shape(self, shape):  # said, since JAX would try with an odd number of images
            return shape

    image = keras.Input(model.input_shape[1:], dtype="uint8", name="image")
    outputs = model(Twins(dtype="uint8")(image))
    return keras.Model(
        image, [Mean(name=name)(output) for name, output in zip(model.output_names, outputs, strict=True)]
    )


def inspect(path: Path) -> Description:
    """What a checkpoint says of itself, without building the network. Raises as `load` does."""
    import h5py

    path = Path(path)
    if is_exported(path):
        raise ValueError(f"{path} is an exported model, which demo.py runs; this takes the checkpoint it was made from")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; train.py makes checkpoints")
    if path.suffix == ".keras":
        return _inspect_keras(path)
    try:
        with h5py.File(path, "r") as file:
            if KEY in file.attrs:
                return Description.from_json(file.attrs[KEY], path)
            layers = _original_layers(file)
    except OSError as error:
        raise ValueError(f"{path} is no checkpoint, or it is cut off or damaged: {error}") from None
    if _is_original(layers):
        return _inspect_original(path, layers)
    return _inspect_keras(path)


# ------------------------------------------------------------------------------------- files of the original suite
#
# Keras 2 named layers by kind and a running number, so sorting by the number gives the order of creation, which is
# the order of the network below. Numbers may start anywhere, and a first one may be missing (conv2d, conv2d_1, ...).


def _original_layers(file) -> dict[str, list[tuple[int, dict[str, np.ndarray]]]]:
    """kind of layer -> [(running number, {weight name -> array})] in the order of creation."""
    group = file["model_weights"] if "model_weights" in file else file
    layers = {}
    for name in group:
        found = {}
        weights = group[name]
        if hasattr(weights, "visititems"):
            weights.visititems(lambda path, item, found=found: _note(found, path, item))
        if found:
            kind, number = re.fullmatch(r"(.*?)_?(\d*)", name).groups()
            layers.setdefault(kind, []).append((int(number or 0), found))
    return {kind: sorted(numbered, key=lambda entry: entry[0]) for kind, numbered in layers.items()}


def _note(found: dict, path: str, item) -> None:
    if hasattr(item, "shape"):
        found[path.rsplit("/", 1)[-1].removesuffix(":0")] = item[()]


def _is_original(layers: dict) -> bool:
    heads = _original_heads(layers)
    return bool(layers.get("conv2d") and layers.get("batch_normalization") and heads) and set(layers) <= {
        "conv2d",
        "batch_normalization",
        "dense",
        "pred_gender",
        "pred_age",
    }


def _original_heads(layers: dict) -> tuple | None:
    """The kernels of the gender and the age head, by name or, in the earliest files (dense_1, dense_2), by size."""
    dense = [weights for kind in ("pred_gender", "pred_age", "dense") for _, weights in layers.get(kind, [])]
    by_size = {weights["kernel"].shape[1]: weights["kernel"] for weights in dense if "kernel" in weights}
    return (by_size[NUM_GENDERS], by_size[NUM_AGES]) if set(by_size) == {NUM_GENDERS, NUM_AGES} else None


def _inspect_original(path: Path, layers: dict) -> Description:
    kernels = [weights["kernel"] for _, weights in layers["conv2d"]]
    convolutions = sum(kernel.shape[0] == 3 for kernel in kernels)  # the stem and two in each block
    channels = kernels[-1].shape[3]  # 64 k
    features = _original_heads(layers)[1].shape[0]  # (size / 4)^2 * 64 k
    side = math.isqrt(features // channels)
    depth, width = convolutions + 3, channels // 64
    if (depth - 4) % 6 or channels % 64 or side * side * channels != features:
        raise ValueError(
            f"{path} has Keras 2 weights that are no wide residual network of the original suite: "
            f"{convolutions} convolutions of 3 x 3, {channels} channels, {features} features"
        )
    return Description(
        "wide_resnet", {"depth": depth, "width": width, "original": True}, 4 * side, origin=ORIGIN_ORIGINAL
    )


def _load_original(model, path: Path) -> None:
    import h5py

    with h5py.File(path, "r") as file:
        layers = _original_layers(file)
    convolutions = iter(layers["conv2d"])
    norms = iter(layers["batch_normalization"])
    for layer in _in_order_of_creation(model):
        if type(layer).__name__ == "Conv2D":
            layer.set_weights([next(convolutions)[1]["kernel"]])
        else:
            weights = next(norms)[1]
            layer.set_weights([weights[name] for name in ("gamma", "beta", "moving_mean", "moving_variance")])
    for name, kernel in zip(("pred_gender", "pred_age"), _original_heads(layers), strict=True):
        model.get_layer(name).set_weights([kernel])


def _in_order_of_creation(model) -> list:
    """The convolutions and batch norms in the original's order: its shortcut came after the block's convolutions."""
    place = {"1_bn": 0, "conv1": 1, "2_bn": 2, "conv2": 3, "shortcut": 4}

    def key(layer):
        match = re.fullmatch(r"group(\d)_block(\d+)_(.*)", layer.name)
        if match:
            return int(match[1]), int(match[2]), place[match[3]]
        return (0, 0, 0) if layer.name == "stem" else (9, 0, 0)

    return sorted((la for la in model.layers if type(la).__name__ in ("Conv2D", "BatchNormalization")), key=key)


# ------------------------------------------------------------------------------------------- other Keras models


def _inspect_keras(path: Path) -> Description:
    model = _load_keras(path)
    return Description("", {}, int(model.input_shape[1]), origin=ORIGIN_KERAS)


def _load_keras(path: Path):
    """A model of one square image and two outputs; these are put in our order where it is reversed."""
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many types for files it cannot read
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} is neither a checkpoint of this suite nor of the original one, and Keras cannot load it: {reason}"
        ) from None
    shapes = [tuple(output.shape) for output in model.outputs]
    by_size = {shape[-1]: output for shape, output in zip(shapes, model.outputs, strict=True)}
    shape = model.inputs[0].shape
    if len(model.inputs) != 1 or len(shape) != 4 or shape[1] is None or shape[1] != shape[2] or shape[3] != 3:
        raise ValueError(f"{path}: a model takes one square colour image of fixed size; this one takes {shape}")
    if len(shapes) != 2 or set(by_size) != {NUM_GENDERS, NUM_AGES}:
        raise ValueError(
            f"{path}: a model has two outputs, {NUM_GENDERS} genders and {NUM_AGES} ages; this one has {shapes}"
        )
    image = keras.Input(shape[1:], dtype="uint8", name="image")
    pixels = keras.layers.Rescaling(1.0, name="pixels")(image)
    body = keras.Model(model.inputs, [by_size[NUM_GENDERS], by_size[NUM_AGES]])
    return keras.Model(image, body(pixels))


def is_exported(path: Path) -> bool:
    """Whether a path is an exported model's: by how its name ends, of a folder by what is in it."""
    path = Path(path)
    return (path / "saved_model.pb").is_file() if path.is_dir() else bool(format_of(path)) and path.is_file()


def choose(weight_file: Path | None, default_folder: Path) -> Path:
    """The checkpoint a user means: the file named; of a folder, or of the default folder, the newest run's best.

    A run writes only when it improves, so the newest `weights.*` is the best of its run. Where there is no run, it is
    the model that comes with the suite: of the folder, or, where nothing is named, SHIPPED.

    Raises:
        FileNotFoundError: if there is no checkpoint.
    """
    path = Path(weight_file or default_folder)
    if path.is_file() or is_exported(path):
        return path
    if weight_file and not path.is_dir():
        raise FileNotFoundError(f"{path} is not there; train.py makes checkpoints")
    if written := sorted(path.glob("weights.*.hdf5"), key=_saved):
        return written[-1]
    for shipped in (path / SHIPPED.name, *([] if weight_file else [SHIPPED])):
        if shipped.is_file():
            return shipped
    raise FileNotFoundError(
        f"there is no checkpoint in {path}/: train one with train.py, or name one with --weight_file"
    )


def _saved(path: Path) -> float:
    """When a checkpoint was saved, in seconds; by its own word, since copies have other times than their originals."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return float(json.loads(file.attrs[KEY])["training"]["saved"])
    except (OSError, KeyError, TypeError, ValueError):
        return path.stat().st_mtime
