"""Published weights to start from: ImageNet's, VGGFace's and dlib's."""

import os
import re
import warnings
from pathlib import Path

import numpy as np

from age_gender.files import reading
from age_gender.hdf5 import refuse_what_lies_elsewhere
from networks.applications import NETWORKS
from networks.dlib_resnet import is_dlib

VGGFACE_URL = "https://github.com/rcmalli/keras-vggface/releases/download/v2.0/"
VGGFACE_TOP = ("fc6", "fc7", "fc8", "classifier")  # the layers that its files without 'notop' have beside
IMAGENET_STDS_RGB = np.float32([0.229, 0.224, 0.225])  # of pixels in 0..1


def load_imagenet(model, name: str) -> str:
    """Gives the base of a network of `application`, by its name in NETWORKS, the weights that keras.applications has
    for ImageNet, which Keras downloads once; says what was loaded.

    Raises:
        ValueError: if the weights cannot be fetched, with the file that is missing and where to put it.
    """
    import keras

    function = getattr(keras.applications, NETWORKS[name].function)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MobileNetV3 warns of all sizes but 224
            source = function(include_top=False, weights="imagenet", input_shape=model.input_shape[1:], pooling="avg")
    except Exception as error:  # Keras raises that very type where a download fails
        raise ValueError(_what_to_fetch(name, error)) from None
    found = [layer.get_weights() for layer in source.layers if layer.weights]
    if NETWORKS[name].function.startswith("EfficientNetB"):
        # With ImageNet's weights Keras divides by the square root of the standard deviation once more.
        mean, variance, count = found[0]
        found[0] = [mean, variance * IMAGENET_STDS_RGB, count]
    return f"ImageNet's weights: {_give(model, _base_layers(model), found, 'the file')}"


def _what_to_fetch(name: str, error: Exception) -> str:
    """What to say where ImageNet's weights did not come: Keras's message has the address, which ends in the name."""
    reason = " ".join(str(error).split())
    folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
    if address := re.search(r"https?://\S+\.h5", reason):
        file = address[0].rpartition("/")[2]
        todo = f"fetch {address[0]} elsewhere and put it at {folder / file}"
    else:
        todo = f"the file that Keras names belongs in {folder}"
    scratch = "--weight_file none trains from scratch"
    return f"ImageNet's weights of {name} could not be fetched ({reason}): {todo}; {scratch}"


def published_network(path: Path) -> str | None:
    """Which network a published file of weights is for: vgg16 and resnet50 of VGGFace, by its layers' names,
    dlib_resnet; None of other files."""
    import h5py

    try:
        if is_dlib(path):
            return "dlib_resnet"
        with h5py.File(path, "r") as file:
            refuse_what_lies_elsewhere(path, file)
            layers = set(layer_names(file))
    except (AttributeError, KeyError, OSError, TypeError):  # no HDF5 file, or one of another kind
        return None
    if {"conv1_1", "conv5_3"} <= layers:
        return "vgg16"
    return "resnet50" if "conv1/7x7_s2" in layers else None


def load_vggface(model, name: str, path: Path) -> str:
    """Gives a network's base the weights of a published VGGFace file (Parkhi et al., BMVC 2015; arXiv:1710.08092).

    VGG16's layers are taken in their order, ResNet50's by their names. The file's classifier is left out, where it is.

    Args:
        model: of `application` with `vggface`, changed in place.
        name: vgg16 or resnet50.
        path: rcmalli_vggface_tf_notop_vgg16.h5 or rcmalli_vggface_tf_notop_resnet50.h5, under any name.

    Returns:
        What was loaded, in words.

    Raises:
        ValueError: if the file does not fit, with the layers that do not.
    """
    found = {layer: arrays for layer, arrays in read_weights(path).items() if layer not in VGGFACE_TOP}
    layers = _base_layers(model)
    if name == "resnet50":
        found = {layer.replace("/", "_"): arrays for layer, arrays in found.items()}
        names = [layer.name for layer in layers]
        lacking = [layer for layer in names if layer not in found]
        foreign = [layer for layer in found if layer not in names]
        if lacking or foreign:
            raise ValueError(
                f"{path} is no VGGFace file of ResNet50: it lacks {shortened(lacking)} and has {shortened(foreign)}"
            )
        found = {layer: found[layer] for layer in names}
    return f"VGGFace's weights: {_give(model, layers, list(found.values()), path)}"


def shortened(names: list[str], most: int = 8) -> str:
    """Names with commas; of many the first, and how many more there are; 'none' of none."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more]) or "none"


def set_weights(layer, arrays: list[np.ndarray]) -> None:
    """Sets a layer's weights; Normalization computes with what it derives from them, and must be told."""
    layer.set_weights(arrays)
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()


def _base_layers(model) -> list:
    return [layer for layer in model.layers if layer.weights and layer.name not in model.output_names]


def _give(model, layers: list, found: list[list[np.ndarray]], source: object) -> str:
    """Sets the weights of some layers and says how many tensors changed; every kernel must."""
    if len(layers) != len(found):
        raise ValueError(f"{source} has {len(found)} layers with weights, the base of {model.name} has {len(layers)}")
    before = [layer.get_weights() for layer in layers]
    for layer, old, new in zip(layers, before, found, strict=True):
        if [array.shape for array in old] != [array.shape for array in new]:
            raise ValueError(
                f"{source} does not fit {model.name}: {layer.name} has {[array.shape for array in old]}, "
                f"the file has {[array.shape for array in new]}"
            )
    for layer, new in zip(layers, found, strict=True):
        set_weights(layer, new)
    pairs = [pair for old, new in zip(before, found, strict=True) for pair in zip(old, new, strict=True)]
    changed = [not np.array_equal(old, new) for old, new in pairs]
    kernels = [moved for (old, _), moved in zip(pairs, changed, strict=True) if old.ndim > 1]
    if untouched := kernels.count(False):
        raise ValueError(f"{source} changes nothing in {untouched} of the {len(kernels)} kernels of {model.name}")
    return f"{sum(changed)} of {len(changed)} tensors of the base changed; new: {', '.join(model.output_names)}"


def read_weights(path: Path) -> dict[str, list[np.ndarray]]:
    """layer -> its weights, in the order of a Keras 2 file of weights; layers without weights are left out."""
    import h5py

    layers = {}
    with reading(path, f"{path} is cut off or damaged"), h5py.File(path, "r") as file:
        for layer in layer_names(file):
            group = _root(file)[layer]
            if arrays := [group[_text(name)][()] for name in group.attrs["weight_names"]]:
                layers[layer] = arrays
    return layers


def layer_names(file) -> list[str]:
    """The names of all layers in an open Keras 2 file, of those without weights too; [] of other files."""
    return [_text(name) for name in _root(file).attrs.get("layer_names", [])]


def _root(file):
    return file["model_weights"] if "model_weights" in file else file  # of a whole model, of bare weights


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
