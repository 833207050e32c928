"""The original suite's later files: EfficientNet with two heads, as tf.keras wrote it, by its path alone."""

import json
import re

import h5py
import numpy as np
import pytest

from age_gender.description import ORIGIN_ORIGINAL
from age_gender.labels import NUM_AGES, NUM_GENDERS
from networks.checkpoints import inspect, load

SIZE = 32
NAME = f"EfficientNetB0_{SIZE}_weights.11-3.44.hdf5"  # the smallest of the kind


@pytest.fixture(scope="module")
def later():
    """The later suite's network (its src/factory.py), every weight with a value that matters."""
    import keras

    keras.utils.set_random_seed(0)
    base = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg"
    )
    heads = [
        keras.layers.Dense(units, activation="softmax", name=name)(base.output)
        for name, units in (("pred_gender", NUM_GENDERS), ("pred_age", NUM_AGES))
    ]
    model = keras.Model(base.input, heads)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if values := layer.get_weights():
            if type(layer).__name__ == "Normalization":
                layer.set_weights([np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.5, 0.8]), values[2]])
                layer.finalize_state()
            else:
                moved = [v + rng.uniform(0, 0.2, v.shape).astype(np.float32) * (v.std() + 0.1) for v in values]
                if layer.name in model.output_names:
                    moved[0] *= 1000  # so that the answers hang on the pixels
                layer.set_weights(moved)
    return model


def write_as_tf_keras(path, model, whole=True, size=SIZE, more_layers=(), change=lambda name, values: values):
    """Writes a model's weights as tf.keras 2.3 did, with every layer's name; `change` may alter or drop a layer's."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        names = []
        for layer in model.layers:
            name = re.sub(r"^(normalization|rescaling)_\d+$", r"\1", layer.name)  # however many were made before
            values = change(name, layer.get_weights())
            if values is None:
                continue
            names.append(name.encode())
            group = root.create_group(name)
            kinds = [f"{name}/{weight.name}:0" for weight in layer.weights]
            for kind, value in zip(kinds, values, strict=True):
                group[kind] = value
            group.attrs["weight_names"] = [kind.encode() for kind in kinds]
        root.attrs["layer_names"] = [*names, *(name.encode() for name in more_layers)]
        for name in more_layers:
            root.create_group(name).attrs["weight_names"] = []
        root.attrs["keras_version"], root.attrs["backend"] = b"2.4.0", b"tensorflow"
        if whole:
            first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, size, size, 3], "name": "in"}}
            file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": [first]}})
    return path


def apart(one: np.ndarray, two: np.ndarray) -> float:
    """By how much two answers differ, in logarithms of probabilities."""
    return float(np.abs(np.log(np.maximum(one, 1e-20)) - np.log(np.maximum(two, 1e-20))).max())


@pytest.mark.parametrize("whole", [True, False])
def test_a_later_file_loads_by_its_path_and_answers_as_the_suite_that_wrote_it(tmp_path, later, whole):
    path = write_as_tf_keras(tmp_path / ("any.hdf5" if whole else NAME), later, whole)
    said = inspect(path)
    assert (said.network, said.image_size, said.margin, said.origin) == ("efficientnet_b0", SIZE, 0.4, ORIGIN_ORIGINAL)
    model, again = load(path)
    assert again == said and model.output_names == ["pred_gender", "pred_age"]
    images = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    theirs = [np.asarray(output) for output in later(images.astype(np.float32))]  # BGR went in, as it was
    ours = [np.asarray(output) for output in model(images)]
    turned = [np.asarray(output) for output in model(images[..., ::-1].copy())]
    for one, two, other in zip(ours, theirs, turned, strict=True):
        assert apart(one, two) < 1e-3 and apart(other, two) > 1e-2


def test_a_network_that_divides_once_more_keeps_doing_so(tmp_path, later):
    import keras

    path = write_as_tf_keras(tmp_path / NAME, later, more_layers=["rescaling_9"])
    deviations = np.float32([0.229, 0.224, 0.225])
    normalization = next(layer for layer in later.layers if type(layer).__name__ == "Normalization")
    images = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    rest = keras.Model(normalization.output, later.outputs)  # what comes after the layer that was added
    normalised = normalization(images.astype(np.float32) / 255)
    theirs = rest(normalised / np.sqrt(deviations))
    without = later(images.astype(np.float32))
    for outputs in zip(load(path)[0](images), theirs, without, strict=True):
        one, two, other = map(np.asarray, outputs)
        assert apart(one, two) < 1e-3 and apart(other, two) > 1e-2


def test_a_later_file_that_does_not_fit_is_refused_in_one_line(tmp_path, later):
    def refused(message, name=NAME, **how):
        path = write_as_tf_keras(tmp_path / name, later, **how)
        with pytest.raises(ValueError, match=message) as told:
            load(path)
        assert "\n" not in str(told.value) and str(path) in str(told.value)

    refused("does not say for which image size it was trained: name it as the original", "weights.hdf5", whole=False)
    refused("does not say for which image size", size=99_999, name="large.hdf5")
    refused(
        "EfficientNet of 15 blocks and 1280 features; of the original suite's later files B0 to B3",
        change=lambda name, values: None if name == "block7a_dwconv" else values,
    )
    refused("top_bn are not in both", change=lambda name, values: None if name == "top_bn" else values)


@pytest.mark.parametrize(("size", "features", "blocks"), [(0, 1280, 16), (1, 1280, 23), (2, 1408, 23), (3, 1536, 26)])
def test_which_of_the_family_it_is_is_read_from_the_file(tmp_path, size, features, blocks):
    path = tmp_path / f"EfficientNetB{size}_224_weights.11-3.44.hdf5"
    with h5py.File(path, "w") as file:
        names = ["normalization", "stem_conv", *(f"block{n}_dwconv" for n in range(blocks)), "top_conv"]
        names += ["pred_gender", "pred_age"]
        for name in names:
            file.create_group(name).attrs["weight_names"] = [b"kernel:0"] if name == "top_conv" else []
        file["top_conv/kernel:0"] = np.zeros((1, 1, 8, features), np.float32)
        file.attrs["layer_names"] = [name.encode() for name in names]
    said = inspect(path)
    assert (said.network, said.image_size) == (f"efficientnet_b{size}", 224)
