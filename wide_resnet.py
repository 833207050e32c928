"""Wide residual networks, WRN-n-k: Zagoruyko and Komodakis, "Wide residual networks", arXiv:1605.07146.

Two softmax heads on one body: gender (2 classes) and age (101). Images go in as they are, uint8 BGR 0..255; the
normalisation is the network's first layer.
"""

import keras
import numpy as np
from keras import layers, ops

from age_gender.labels import NUM_AGES, NUM_GENDERS

WEIGHT_DECAY = 5e-4  # the paper's, section 3: the gradient of L2 has a factor 2, so the penalty is half of it


def wide_resnet(
    image_size: int = 64,
    depth: int = 16,
    width: int = 8,
    weight_decay: float = WEIGHT_DECAY,
    dropout: float = 0.0,
    stages: int = 3,
    stem_stride: int = 1,
    original: bool = False,
    num_ages: int = NUM_AGES,
    ordinal: bool = False,
) -> keras.Model:
    """WRN-depth-width for square images.

    Args:
        image_size: height and width in pixels, at least 32.
        depth: 6 n + 4, the paper's count of layers for its three groups; n is the number of blocks in a group.
        width: the paper's k: channels are 16 k, 32 k and 64 k.
        weight_decay: of all kernels, as the optimiser's weight decay would be (the L2 penalty is half of it).
        dropout: share dropped between the two convolutions of a block (section 2.4).
        stages: groups of blocks; a fourth has 128 k channels at half the third's resolution.
        stem_stride: of the first convolution: 2 halves the image, a quarter of the work; 4, with a kernel of 8 x 8,
            sees an image of twice the size at the work of 2.
        original: the network of the original suite, needed for its files alone: raw pixels, and heads without bias on
            an 8 x 8 average pooling of stride 1, which keeps every position.
        num_ages, ordinal: of the age head, see `two_heads`.

    Returns:
        A model of (n, image_size, image_size, 3) uint8 BGR -> [pred_gender (n, 2), pred_age (n, num_ages)], each row a
        probability distribution.

    Raises:
        ValueError: for a depth that is not 6 n + 4, a size or width that is too small, or stages or a stride that
            are not offered.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"the depth of a wide residual network is 6 n + 4: 10, 16, 22, 28, ...; received {depth}")
    if width < 1 or image_size < 32:
        raise ValueError(f"width must be 1 or more and image_size 32 or more; received {width} and {image_size}")
    if stages not in (3, 4) or stem_stride not in (1, 2, 4):
        raise ValueError(f"stages are 3 or 4 and stem_stride 1, 2 or 4; received {stages} and {stem_stride}")
    penalty = weight_decay / 2

    image = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    scale, offset = (1.0, 0.0) if original else (1 / 127.5, -1.0)
    x = layers.Rescaling(scale, offset, name="normalise")(image)
    kernel = 8 if stem_stride == 4 else 3
    x = convolution(x, 16, kernel, stem_stride, penalty, "stem")  # size x size x 16, for a stride of 1
    for stage in range(stages):  # size x size x 16 k, size/2 x size/2 x 32 k, size/4 x size/4 x 64 k
        for block in range((depth - 4) // 6):
            name, stride = f"group{stage + 1}_block{block + 1}", 2 if stage > 0 and block == 0 else 1
            x = _block(x, 16 * 2**stage * width, stride, penalty, dropout, name)
    x = _activated(x, "final")
    if original:
        x = layers.AveragePooling2D(8, strides=1, padding="same", name="pool")(x)
        x = layers.Flatten(name="flatten")(x)
    else:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = two_heads(x, penalty, use_bias=not original, num_ages=num_ages, ordinal=ordinal)
    more = (f"_{stages}_stages" if stages > 3 else "") + (f"_stem_stride_{stem_stride}" if stem_stride > 1 else "")
    return keras.Model(image, outputs, name=f"wide_resnet_{depth}_{width}{more}")


def _block(x, channels: int, stride: int, penalty: float, dropout: float, name: str):
    """BN-ReLU-conv twice, beside a shortcut (figure 1c); a shortcut that changes width starts at the first ReLU."""
    activated = _activated(x, f"{name}_1")
    shortcut = x
    if x.shape[-1] != channels:
        shortcut = convolution(activated, channels, 1, stride, penalty, f"{name}_shortcut")
    x = convolution(activated, channels, 3, stride, penalty, f"{name}_conv1")
    x = _activated(x, f"{name}_2")
    if dropout:
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    x = convolution(x, channels, 3, 1, penalty, f"{name}_conv2")
    return layers.Add(name=f"{name}_add")([x, shortcut])


def _activated(x, name: str):
    # Moving averages with the momentum of the authors' code; Keras's 0.99 is too slow for short trainings.
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def convolution(x, channels: int, kernel: int, stride: int, penalty: float, name: str, use_bias=False, activation=None):
    """What our own networks are made of: it pads as "same" does, and has the first weights of He et al."""
    return layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same",
        use_bias=use_bias,
        activation=activation,
        kernel_initializer="he_normal",
        kernel_regularizer=_l2(penalty),
        name=name,
    )(x)


def _l2(penalty: float):
    return keras.regularizers.L2(penalty) if penalty else None


# ------------------------------------------------------------------------------------------------- the two heads


def two_heads(x, penalty: float = 0.0, use_bias: bool = True, num_ages: int = NUM_AGES, ordinal: bool = False) -> list:
    """The outputs every model has, in this order and under these names: [pred_gender, pred_age].

    They compute in float32 whatever the policy, since a softmax over 101 classes is too fine for 16 bits.

    Args:
        x: (n, features) of a Keras model under construction.
        penalty: factor of the L2 penalty on the kernels.
        use_bias: whether the softmax heads have one.
        num_ages: classes of the age head, 101 for the ages 0..100.
        ordinal: whether the age head is `OrdinalAges` instead of a softmax.

    Returns:
        [(n, 2), (n, num_ages)], rows sum to 1.
    """
    head = {"dtype": "float32", "kernel_regularizer": _l2(penalty)}
    softmax = {**head, "activation": "softmax", "use_bias": use_bias, "kernel_initializer": "he_normal"}
    if ordinal:
        age = OrdinalAges(num_ages, name="pred_age", **head)
    else:
        age = layers.Dense(num_ages, name="pred_age", **softmax)
    return [layers.Dense(NUM_GENDERS, name="pred_gender", **softmax)(x), age(x)]


class OrdinalAges(layers.Layer):
    """An ordinal head: one score for a face, and one threshold between each two neighbouring ages.

    The probability of being above class k is the sigmoid of score and threshold k (Cao, Mirjalili, Raschka, CORAL,
    arXiv:1901.07884, section 3.2). The paper shows that trained thresholds descend (theorem 1); here they
    cannot do otherwise, each being the one before less a softplus, so that differences of neighbouring probabilities
    are a distribution at any time.

    Call: (n, features) -> (n, classes), rows sum to 1.
    """

    def __init__(self, classes: int, kernel_regularizer=None, **more):
        super().__init__(**more)
        self.classes, self.kernel_regularizer = classes, kernel_regularizer

    def build(self, shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(shape[-1], 1), initializer="zeros", regularizer=self.kernel_regularizer
        )
        # Such thresholds that every class is as likely as any other at first.
        above = 1 - np.arange(1, self.classes) / self.classes
        thresholds = np.log(above / (1 - above))
        steps = np.log(np.expm1(thresholds[:-1] - thresholds[1:]))  # what a softplus makes the differences
        start = np.r_[thresholds[:1], steps].astype(np.float32)
        self.threshold = self.add_weight(
            name="threshold", shape=(self.classes - 1,), initializer=lambda shape, dtype: ops.cast(start, dtype)
        )

    def call(self, x):
        first, steps = self.threshold[:1], ops.softplus(self.threshold[1:])
        thresholds = ops.concatenate([first, first - ops.cumsum(steps)])
        above = ops.sigmoid(ops.matmul(x, self.kernel) + thresholds)  # (n, classes - 1), descending
        edge = ops.zeros_like(above[:, :1])
        return ops.concatenate([edge + 1, above], axis=1) - ops.concatenate([above, edge], axis=1)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}
