"""The weights of an earlier checkpoint in a new network: layer by layer, also where the network has grown."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from networks.checkpoints import load
from networks.published import set_weights


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
        FileNotFoundError, ValueError: as `load` does, and if no layer fits.
    """
    source, checkpoint = load(path, mirror=False)
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
