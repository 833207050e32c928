"""FaceRes, the network under the teacher of samples/teach.py, from its file as TensorFlow.js has it.

A MobileNet (Howard et al., arXiv:1704.04861) that has learned to tell people apart on VGGFace2, and ages and genders on
IMDB-WIKI (Savchenko, HSE_FaceRec_tf). docs/reproduce_model.md says where it comes from.
"""

import json
import math
from pathlib import Path

import numpy as np

SIZE, MEANS_BGR = 224, (103.939, 116.779, 123.68)  # of the input: pixels, and what is taken off
CHANNELS = (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)  # of its blocks
HALVING = (2, 4, 6, 12)  # the blocks, counted from 1, of stride 2
KINDS = {"float32": "<f4", "int32": "<i4"}


def face_res(tensors: dict[str, np.ndarray]):
    """The network with its weights.

    Args:
        tensors: of `read_tensors`. Batch norms are in pointwise kernels there, beside depthwise ones.

    Returns:
        A model of (n, h, w, 3) uint8 BGR -> features (n, 1024), log odds of male (n, 1), ages 0..99 (n, 100).
    """
    import keras
    from keras import layers

    image = keras.Input((None, None, 3), dtype="uint8")
    x = layers.Rescaling(1.0, [-mean for mean in MEANS_BGR], dtype="float32")(image)
    x = layers.Resizing(SIZE, SIZE, dtype="float32")(x)
    x = layers.Conv2D(32, 3, 2, "same", activation="relu6", name="conv1")(x)
    for number, channels in enumerate(CHANNELS, 1):
        stride = 2 if number in HALVING else 1
        x = layers.DepthwiseConv2D(3, stride, "same", activation="relu6", name=f"conv_dw_{number}")(x)
        x = layers.Conv2D(channels, 1, activation="relu6", name=f"conv_pw_{number}")(x)
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    hidden = layers.Dense(256, "relu", dtype="float32", name="feats")(x)
    gender = layers.Dense(1, dtype="float32", name="gender_pred")(hidden)
    age = layers.Dense(100, "softmax", dtype="float32", name="age_pred")(hidden)
    model = keras.Model(image, [x, gender, age])
    for layer in model.layers:
        name = layer.name
        if name.startswith("conv_dw"):
            kernel = tensors[f"{name}/depthwise_kernel"] * tensors[f"{name}_bn/batchnorm_1/mul"][:, None]
        elif name.startswith("conv"):
            kernel = tensors[f"{name}/convolution/merged_input"]
        elif layer.weights:
            kernel = tensors[f"{name}/kernel"]
        else:
            continue
        bias = f"{name}_bn/batchnorm_1/sub" if name.startswith("conv") else f"{name}/bias"
        layer.set_weights([kernel, tensors[bias]])
    return model


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a TensorFlow.js model by name: the JSON file lists what lies in NAME.bin, one behind the other."""
    listed = json.loads(path.read_text(encoding="utf-8"))["weightsManifest"][0]["weights"]
    content, place, tensors = path.with_suffix(".bin").read_bytes(), 0, {}
    for each in listed:
        found = np.frombuffer(content, KINDS[each["dtype"]], math.prod(each["shape"]), place)
        tensors[each["name"]] = found.reshape(each["shape"])
        place += found.nbytes
    return tensors
