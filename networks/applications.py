"""Networks of keras.applications with the two heads.

Images go in as everywhere, uint8 BGR 0..255; what each network wants instead is its first layers. Keras is imported
inside the functions, so that the table's names cost nothing.
"""

import re
from collections import Counter
from typing import NamedTuple

from age_gender.labels import NUM_AGES

IMAGENET_MEANS_BGR = (103.939, 116.779, 123.68)
VGGFACE_MEANS_BGR = {"vgg16": (93.5940, 104.7624, 129.1863), "resnet50": (91.4953, 103.8827, 131.0912)}


class Network(NamedTuple):
    """A network of keras.applications."""

    function: str  # its name there
    pixels: str  # it wants: "bgr", less ImageNet's means; "rgb_signed", in -1..1; "rgb", 0..255, as it scales inside
    stages: tuple[str, ...]  # how the names of the layers begin at which its second and later stages begin
    smallest: int = 32  # height and width of the smallest image it takes, in pixels


def _named(beginning: str, numbers) -> tuple[str, ...]:
    return tuple(f"{beginning}{number}" for number in numbers)


NETWORKS = {
    "vgg16": Network("VGG16", "bgr", _named("block", range(2, 6))),
    "resnet50": Network("ResNet50", "bgr", _named("conv", range(2, 6))),
    "inception_resnet_v2": Network("InceptionResNetV2", "rgb_signed", ("mixed_5b", "mixed_6a", "mixed_7a"), 75),
    **{
        f"efficientnet_{size}": Network(f"EfficientNet{size.upper()}", "rgb", _named("block", range(1, 8)))
        for size in ("b0", "b1", "b2", "b3")
    },
    **{
        f"efficientnet_v2_{size}": Network(f"EfficientNetV2{size.upper()}", "rgb", _named("block", range(1, 7)))
        for size in ("b0", "b1", "b2", "b3", "s")
    },
    "mobilenet_v3_small": Network(
        "MobileNetV3Small", "rgb", ("expanded_conv_", *(f"expanded_conv_{number}_" for number in (1, 3, 8)))
    ),
    "mobilenet_v3_large": Network(
        "MobileNetV3Large", "rgb", ("expanded_conv_", *(f"expanded_conv_{number}_" for number in (1, 3, 6, 12)))
    ),
    "convnext_tiny": Network("ConvNeXtTiny", "rgb", _named("convnext_tiny_downsampling_block_", range(3))),
}


def application(
    name: str,
    image_size: int,
    vggface: bool = False,
    weight_decay: float = 0.0,
    dropout: float = 0.0,
    num_ages: int = NUM_AGES,
    ordinal: bool = False,
):
    """A network of keras.applications without its top, its features averaged over the image, with the two heads.

    Weights are random, as `load_imagenet` and `load_vggface` come after. EfficientNet (arXiv:1905.11946) is one graph
    here whatever its weights: where Keras adds a layer for ImageNet's, `load_imagenet` changes the normalisation.

    Args:
        name: a key of NETWORKS.
        image_size: height and width in pixels.
        vggface: vgg16 and resnet50 alone: for VGGFace's weights, with its means; resnet50 is then VGGFace's own kind.
        weight_decay: of all kernels, as the optimiser's weight decay would be (the L2 penalty is half of it).
        dropout: share of the features dropped before the heads.
        num_ages, ordinal: of the age head, see `wide_resnet.two_heads`.

    Returns:
        A model of (n, image_size, image_size, 3) uint8 BGR -> [pred_gender (n, 2), pred_age (n, num_ages)], each row a
        probability distribution.

    Raises:
        ValueError: for images that are too small, or VGGFace for another network.
    """
    import keras
    from keras import layers

    from wide_resnet import two_heads

    require_size(name, image_size)
    if vggface and name not in VGGFACE_MEANS_BGR:
        raise ValueError(f"VGGFace's weights are for {' and '.join(VGGFACE_MEANS_BGR)}; received {name}")
    shape = (image_size, image_size, 3)
    image = keras.Input(shape, dtype="uint8", name="image")
    pixels = _pixels(image, NETWORKS[name].pixels, VGGFACE_MEANS_BGR[name] if vggface else IMAGENET_MEANS_BGR)
    if vggface and name == "resnet50":
        base = _vggface_resnet50(image, pixels)
    else:
        function = getattr(keras.applications, NETWORKS[name].function)
        base = function(include_top=False, weights=None, input_tensor=pixels, input_shape=shape, pooling="avg")
    _number_unnamed_layers(base)
    if weight_decay:
        for variable in base.trainable_variables:
            if variable.path.endswith("kernel"):
                variable.regularizer = keras.regularizers.L2(weight_decay / 2)
    x = layers.Dropout(dropout, name="features_dropout")(base.output) if dropout else base.output
    outputs = two_heads(x, weight_decay / 2, num_ages=num_ages, ordinal=ordinal)
    return keras.Model(image, outputs, name=f"{name}_vggface" if vggface else name)


def require_size(name: str, image_size: int) -> None:
    """Raises ValueError where a network of keras.applications, or any other, cannot take images so small."""
    smallest = NETWORKS[name].smallest if name in NETWORKS else 0
    if image_size < smallest:
        raise ValueError(
            f"{name} takes images of {smallest} pixels or more; received {image_size}: make a database with "
            f"create_db.py --img_size {max(smallest, 96)}"
        )


def _pixels(image, wanted: str, means_bgr: tuple[float, ...]):
    """What a network wants of uint8 BGR images, in float32 whatever the policy."""
    from keras import layers, ops

    if wanted == "bgr":
        return layers.Rescaling(1.0, [-mean for mean in means_bgr], dtype="float32", name="pixels")(image)
    scale, offset = (1 / 127.5, -1.0) if wanted == "rgb_signed" else (1.0, 0.0)
    return layers.Rescaling(scale, offset, dtype="float32", name="pixels")(ops.flip(image, axis=-1))


def _number_unnamed_layers(base) -> None:
    """Numbers the layers that Keras names by kind within their network: its own numbers run through the process."""
    counts = Counter()
    for layer in base.layers:
        kind = re.sub(r"_\d+$", "", layer.name)
        if kind.replace("_", "") == type(layer).__name__.lower():
            counts[kind] += 1
            layer.name = f"{kind}_{counts[kind]}"


def _vggface_resnet50(image, x):
    """The ResNet-50 of VGGFace2 (Cao et al., arXiv:1710.08092) as rcmalli_vggface_tf_notop_resnet50.h5 has it.

    It is not Keras's: convolutions have no bias, batch norm has epsilon 1e-3, the stem pads as 'same' does, the pool
    after it does not. Layers have the file's names, with _ for /. Its 7 x 7 average pooling at the end is the mean over
    the image that follows anyway, at the 224 pixels that it was made for.
    """
    import keras
    from keras import layers

    def convolution(x, channels, kernel, name, stride=1, relu=True):
        x = layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x) if relu else x

    x = convolution(x, 64, 7, "conv1_7x7_s2", 2)
    x = layers.MaxPooling2D(3, strides=2, name="conv1_pool")(x)
    for stage, blocks in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True):
        channels = 32 * 2**stage
        for block in range(1, blocks + 1):
            name, stride = f"conv{stage}_{block}", 2 if stage > 2 and block == 1 else 1
            y = convolution(x, channels // 2, 1, f"{name}_1x1_reduce", stride)
            y = convolution(y, channels // 2, 3, f"{name}_3x3")
            y = convolution(y, 2 * channels, 1, f"{name}_1x1_increase", relu=False)
            if block == 1:
                x = convolution(x, 2 * channels, 1, f"{name}_1x1_proj", stride, relu=False)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))
    return keras.Model(image, layers.GlobalAveragePooling2D(name="avg_pool")(x))
