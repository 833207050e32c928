"""The network of dlib's face recognition, with the two heads instead of its 128 numbers of a face.

Davis King's model (blog.dlib.net, "High quality face recognition with deep metric learning", 2017) is a ResNet-34 (He
et al., arXiv:1512.03385) with fewer layers and half of the channels, trained on the identities of three million photos.
Its file, dlib_face_recognition_resnet_model_v1.dat, is in the public domain (CC0).
"""

import re
from pathlib import Path

import numpy as np

from age_gender.labels import NUM_AGES

MEANS_BGR = (104.298, 117.001, 122.782)  # that dlib takes off, before it divides by 256
BLOCKS = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))  # channels and blocks of each stage
STAGES = tuple(f"stage{number}_" for number in range(2, len(BLOCKS) + 1))
BEGINNING = b"\x01\x01\x01\x0dloss_metric_"  # of the file
TENSOR = re.compile(rb"(?:\x05con_4|\x07affine_)\x01\x02([\x01-\x04])")  # a layer's name, tensor version 2, a count


def dlib_resnet(
    image_size: int,
    weight_decay: float = 0.0,
    dropout: float = 0.0,
    num_ages: int = NUM_AGES,
    ordinal: bool = False,
):
    """dlib's network for square images, of random weights, as `load_dlib` comes after.

    dlib's batch norms are frozen into a scale and an offset of each channel, which are in the kernels and biases here.
    Convolutions and pools pad as 'same' does, so that any size goes; dlib's own, at 150 pixels, drop the edges.

    Args:
        image_size: height and width in pixels; a face fills 128 as it fills dlib's 150, whose crop is wider.
        weight_decay: of all kernels, as the optimiser's weight decay would be (the L2 penalty is half of it).
        dropout: share of the 256 features dropped before the heads.
        num_ages, ordinal: of the age head, see `wide_resnet.two_heads`.

    Returns:
        A model of (n, image_size, image_size, 3) uint8 BGR -> [pred_gender (n, 2), pred_age (n, num_ages)], each row a
        probability distribution.
    """
    import keras
    from keras import layers

    from wide_resnet import convolution, two_heads

    penalty, relu = weight_decay / 2, {"use_bias": True, "activation": "relu"}
    image = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 256, [-mean / 256 for mean in MEANS_BGR], name="normalise")(image)
    x = convolution(x, 32, 7, 2, penalty, "stem", **relu)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    for stage, (channels, blocks) in enumerate(BLOCKS, 1):
        for block in range(1, blocks + 1):
            name, stride = f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1
            y = convolution(x, channels, 3, stride, penalty, f"{name}_conv1", **relu)
            y = convolution(y, channels, 3, 1, penalty, f"{name}_conv2", use_bias=True)
            if stride == 2:
                x = layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")(x)
            if x.shape[-1] != channels:
                x = convolution(x, channels, 1, 1, penalty, f"{name}_shortcut")
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="features_dropout")(x)
    return keras.Model(image, two_heads(x, penalty, num_ages=num_ages, ordinal=ordinal), name="dlib_resnet")


def is_dlib(path: Path) -> bool:
    """Whether a file is dlib's face recognition model, or another of dlib's trained in the same way."""
    with open(path, "rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING


def load_dlib(model, path: Path) -> str:
    """Gives the network of `dlib_resnet` the weights of dlib_face_recognition_resnet_model_v1.dat, under any name, and
    says what was loaded; the heads stay as they are.

    Where the channels double, dlib fills up with zeros; the kernel that does it here starts as that.

    Raises:
        ValueError: if the file is damaged, or is of another network.
    """
    found = read_tensors(path)
    layers = [layer for layer in model.layers if layer.name.endswith(("stem", "_conv1", "_conv2"))]
    if len(found) != 2 * len(layers):
        raise ValueError(
            f"{path} has {len(found)} tensors, dlib's face recognition model {2 * len(layers)}: it is cut off, or "
            "another model"
        )
    for layer, convolution, affine in zip(layers, found[::2], found[1::2], strict=True):
        height, width, inputs, channels = layer.kernel.shape
        if (len(convolution), len(affine)) != (layer.count_params(), 2 * channels):
            raise ValueError(f"{path} does not fit {model.name}: {layer.name} has {layer.count_params()} weights")
        kernel = convolution[:-channels].reshape(channels, inputs, height, width).transpose(2, 3, 1, 0)
        if layer.name == "stem":
            kernel = kernel[:, :, ::-1]  # dlib's images are RGB
        scale, offset = np.split(affine, 2)
        layer.set_weights([kernel * scale, convolution[-channels:] * scale + offset])
    for layer in model.layers:
        if layer.name.endswith("_shortcut"):
            layer.set_weights([np.eye(*layer.kernel.shape[2:])[None, None]])
    return f"dlib's weights of {len(layers)} convolutions; new: {', '.join(model.output_names)}"


def read_tensors(path: Path) -> list[np.ndarray]:
    """The weights of a dlib file's convolutions and of the affine layers behind them, flat, in the network's order."""
    content, found = Path(path).read_bytes(), []
    place = 0
    while match := TENSOR.search(content, place):
        start = match.end() + match[1][0]
        count = int.from_bytes(content[match.end() : start], "little")
        start += 6  # the other three lengths, each 1
        place = start + 4 * count
        if place > len(content):
            raise ValueError(f"{path} is cut off")
        found.append(np.frombuffer(content, "<f4", count, start))
    return found
