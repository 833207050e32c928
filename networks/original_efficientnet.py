"""Files of the original suite's later version, written by tf.keras: EfficientNet with the two heads.

Their names are EfficientNetB3_224_weights.11-3.44.hdf5: the function in keras.applications, the image size, the epoch
and the validation loss. They hold a whole model or its weights alone. The suite fed them BGR where EfficientNet
expects RGB; here the colours go in the other way round, so the weights of the first layers are turned instead.
"""

import re
from pathlib import Path

import numpy as np

from age_gender.description import ORIGIN_ORIGINAL, Description
from age_gender.labels import NUM_AGES, NUM_GENDERS
from networks.published import IMAGENET_STDS_RGB, layer_names, read_weights, set_weights, shortened

HEADS = {"pred_gender": NUM_GENDERS, "pred_age": NUM_AGES}
# Features and blocks -> network (arXiv:1905.11946; the original's configuration named B3).
NETWORKS = {
    (1280, 16): "efficientnet_b0",
    (1280, 23): "efficientnet_b1",
    (1408, 23): "efficientnet_b2",
    (1536, 26): "efficientnet_b3",
}
SIZES = range(32, 1025)  # of images, in pixels


def is_later_original(file) -> bool:
    """Whether an open HDF5 file is of a Keras EfficientNet with the two heads by name."""
    return {"normalization", "stem_conv", "top_conv", *HEADS} <= {_plain(name) for name in layer_names(file)}


def describe(file, path: Path) -> Description:
    """What an open HDF5 file says of its network: which one, and its image size, which the file's name says where only
    weights are in it. Raises ValueError if the network is none of NETWORKS, or the size is not known."""
    blocks = sum(name.endswith("_dwconv") for name in layer_names(file))
    features = read_weights(path)["top_conv"][0].shape[-1]
    network = NETWORKS.get((features, blocks))
    if not network:
        raise ValueError(
            f"{path} is an EfficientNet of {blocks} blocks and {features} features; of the original suite's "
            "later files B0 to B3 can be read"
        )
    return Description(network, {}, _image_size(file, path), origin=ORIGIN_ORIGINAL)


def _image_size(file, path: Path) -> int:
    """From the configuration of a whole model; of weights alone from the file's name."""
    said = file.attrs.get("model_config", "")
    said = said.decode() if isinstance(said, bytes) else said
    found = re.search(r'"batch_(?:input_)?shape": *\[null, *(\d+), *\1, *3\]', said)
    found = found or re.search(r"_(\d+)_weights", path.name)
    if not found or int(found[1]) not in SIZES:
        raise ValueError(
            f"{path} does not say for which image size it was trained: name it as the original suite does, such as "
            "EfficientNetB3_224_weights.11-3.44.hdf5"
        )
    return int(found[1])


def load_weights(model, path: Path) -> None:
    """Gives the network that `describe` names the weights of a file, each layer by its name.

    Raises:
        ValueError: if the file does not have just these layers, in these shapes.
    """
    import h5py

    found = {_plain(name): arrays for name, arrays in read_weights(path).items()}
    with h5py.File(path, "r") as file:
        rescalings = sum(_plain(name) == "rescaling" for name in layer_names(file))
    mean, variance, *count = found["normalization"]
    if rescalings > 1:  # from TensorFlow 2.10 on: divided by the root of ImageNet's deviation once more
        variance = variance * IMAGENET_STDS_RGB
    found["normalization"] = [mean[::-1], variance[::-1], *count]
    found["stem_conv"] = [found["stem_conv"][0][:, :, ::-1]]
    layers = {_plain(layer.name): layer for layer in model.layers if layer.weights}
    if odd := sorted(set(layers) ^ set(found)):
        raise ValueError(f"{path} is no {model.name} of the original suite: {shortened(odd)} are not in both")
    for name, layer in layers.items():
        wanted, came = [w.shape for w in layer.get_weights()], [np.shape(array) for array in found[name]]
        if wanted != came:
            raise ValueError(f"{path} does not fit {model.name}: {name} has {came}, the network has {wanted}")
        set_weights(layer, found[name])


def _plain(name: str) -> str:
    """A layer's name without the number that Keras gives unnamed kinds: normalization_1 is normalization."""
    return re.sub(r"^(normalization|rescaling)_\d+$", r"\1", name)
