"""Files of the original suite, written by Keras 2: whole models and bare weights of its wide residual network.

Keras 2 named layers by kind and a running number, so sorting by the number gives the order of creation, which is the
order of the network below. Numbers may start anywhere, and a first one may be missing (conv2d, conv2d_1, ...).
"""

import math
import re
from pathlib import Path

import numpy as np

from age_gender.description import ORIGIN_ORIGINAL, Description
from age_gender.labels import NUM_AGES, NUM_GENDERS

USED = ("kernel", "gamma", "beta", "moving_mean", "moving_variance")  # names of the weights of its network
SAID = {("activation", "relu"), ("activation", "linear"), ("activation", "softmax"), ("epsilon", "0.001")}  # of layers


def layers_of(file) -> dict[str, list[tuple[int, dict[str, np.ndarray]]]]:
    """kind of layer -> [(running number, {weight name -> array})] in the order of creation."""
    group = file["model_weights"] if "model_weights" in file else file
    layers = {}
    for name, layer in group.items():
        paths = []
        if hasattr(layer, "visit"):
            layer.visit(paths.append)
        weights = [path for path in paths if hasattr(layer[path], "shape")]
        if weights:
            kind, number = re.fullmatch(r"(.*?)_?(\d*)", name).groups()
            found = {path.rsplit("/", 1)[-1].removesuffix(":0"): layer[path][()] for path in weights}
            layers.setdefault(kind, []).append((int(number or 0), found))
    return {kind: sorted(numbered, key=lambda entry: entry[0]) for kind, numbered in layers.items()}


def is_original(layers: dict) -> bool:
    """Whether the layers of a file are those of the original suite's network."""
    heads = _heads(layers)
    kinds = {"conv2d", "batch_normalization", "dense", "pred_gender", "pred_age"}
    return bool(layers.get("conv2d") and layers.get("batch_normalization") and heads) and set(layers) <= kinds


def _heads(layers: dict) -> tuple | None:
    """The kernels of the gender and the age head, by name or, in the earliest files (dense_1, dense_2), by size."""
    dense = [weights for kind in ("pred_gender", "pred_age", "dense") for _, weights in layers.get(kind, [])]
    by_size = {weights["kernel"].shape[1]: weights["kernel"] for weights in dense if "kernel" in weights}
    return (by_size[NUM_GENDERS], by_size[NUM_AGES]) if set(by_size) == {NUM_GENDERS, NUM_AGES} else None


def describe(path: Path, layers: dict, config: str | bytes) -> Description:
    """What the weights say of their network: its depth, width and image size; `config` is Keras's own description of
    a whole model, "" of bare weights.

    Raises:
        ValueError: if they are of another kind of network.
    """
    for kind, numbered in layers.items():
        for _, weights in numbered:
            if unused := [name for name in weights if name not in USED and np.any(weights[name])]:
                raise ValueError(f"{path}: '{kind}' has a {unused[0]}, which the original suite's network has not")
    config = config.decode() if isinstance(config, bytes) else config
    if odd := set(re.findall(r'"(activation|epsilon)": *"?([^",}]+)', config)) - SAID:
        raise ValueError(f"{path}: its layers have {' '.join(min(odd))}, which the original suite's network has not")
    kernels = [weights["kernel"] for _, weights in layers["conv2d"]]
    convolutions = sum(kernel.shape[0] == 3 for kernel in kernels)  # the stem and two in each block
    channels = kernels[-1].shape[3]  # 64 k
    features = _heads(layers)[1].shape[0]  # (size / 4)^2 * 64 k
    side = math.isqrt(features // channels)
    depth, width = convolutions + 3, channels // 64
    shortcuts, norms = len(kernels) - convolutions, len(layers["batch_normalization"])
    whole = norms == convolutions and shortcuts == 3 - (width == 1)
    if not whole or (depth - 4) % 6 or channels % 64 or side * side * channels != features:
        raise ValueError(
            f"{path} has Keras 2 weights that are no wide residual network of the original suite: "
            f"{convolutions} convolutions of 3 x 3, {shortcuts} others, {norms} batch norms, {channels} channels, "
            f"{features} features"
        )
    arguments = {"depth": depth, "width": width, "original": True}
    return Description("wide_resnet", arguments, 4 * side, origin=ORIGIN_ORIGINAL)


def load_weights(model, path: Path) -> None:
    """Gives the original's network, as `describe` says it, the weights of a file."""
    import h5py

    with h5py.File(path, "r") as file:
        layers = layers_of(file)
    convolutions = iter(layers["conv2d"])
    norms = iter(layers["batch_normalization"])
    for layer in _in_order_of_creation(model):
        if type(layer).__name__ == "Conv2D":
            layer.set_weights([next(convolutions)[1]["kernel"]])
        else:
            weights = next(norms)[1]
            layer.set_weights([weights[name] for name in ("gamma", "beta", "moving_mean", "moving_variance")])
    for name, kernel in zip(("pred_gender", "pred_age"), _heads(layers), strict=True):
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
