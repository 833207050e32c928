"""Checkpoints: what is saved is loaded, files of the original suite and of others, and what is refused."""

import json
import logging
import os
import shutil
from contextlib import nullcontext
from dataclasses import asdict

import h5py
import keras
import numpy as np
import pytest
from conftest import give_every_weight_a_value, noise, predict_eagerly, write_database

from age_gender.description import KEY, ORIGIN_KERAS, ORIGIN_ORIGINAL, ORIGIN_OURS, Description, checked
from age_gender.labels import AGE_SCALES
from evaluation.runs import runs_among
from networks import backbones, checkpoints, open_model
from networks.applications import NETWORKS
from networks.backbones import build
from networks.backend import compiled_predict
from networks.checkpoints import choose, inspect, load, mirrored, save, seal
from networks.published import published_network
from networks.starting import copy_weights, stem_for_twice_the_size
from training.starting import start_of
from utils import open_database
from wide_resnet import wide_resnet


def predict(model, size=32, count=3):
    return predict_eagerly(model)(noise(count, size))


def assert_same_predictions(model, other, size=32, tolerance=1e-6):
    for one, another in zip(predict(model, size), predict(other, size), strict=True):
        assert one.shape == another.shape
        np.testing.assert_allclose(one, another, atol=tolerance)


# --------------------------------------------------------------------------------------------- our own files


def test_what_is_saved_is_loaded(tiny_model, tmp_path):
    said = Description(
        "wide_resnet",
        {"depth": 10, "width": 1},
        32,
        margin=0.17,
        detector="dlib",
        trivial={"age": 31, "gender": 1},
        split={"validation_split": 0.1, "seed": 5, "databases": ["abc"]},
        training={"arguments": {"aug": True, "lr": 0.1, "input": ["é.mat"]}, "epoch": 3},
    )
    path = tmp_path / "weights.03-4.56.hdf5"
    save(tiny_model, path, said)
    model, checkpoint = load(path)
    assert checkpoint == said and inspect(path) == said and checkpoint.origin == ORIGIN_OURS
    assert model.output_names == ["pred_gender", "pred_age"]
    assert_same_predictions(model, tiny_model, tolerance=0)
    assert list(tmp_path.iterdir()) == [path]


def test_what_training_alone_needs_is_not_in_the_loaded_network(tmp_path):
    said = Description("wide_resnet", {"depth": 10, "width": 1}, 32)
    model = give_every_weight_a_value(build(said, dropout=0.3, weight_decay=0.1))
    assert len(model.losses) == 11
    save(model, tmp_path / "weights.hdf5", said)
    assert_same_predictions(load(tmp_path / "weights.hdf5")[0], model)


def test_stages_and_the_stride_of_the_stem_are_kept(tmp_path):
    arguments = {"depth": 10, "width": 1, "stages": 4, "stem_stride": 2}
    said = Description("wide_resnet", arguments, 40)
    source = give_every_weight_a_value(build(said))
    save(source, tmp_path / "weights.hdf5", said)
    model, checkpoint = load(tmp_path / "weights.hdf5")
    assert checkpoint.arguments == arguments and model.input_shape == (None, 40, 40, 3)
    assert_same_predictions(model, source, size=40)


def mean_of_both(model, images):
    """What a mirrored model must say, by hand."""
    straight, turned = (model(faces, training=False) for faces in (images, images[:, :, ::-1]))
    return [(np.asarray(one) + np.asarray(other)) / 2 for one, other in zip(straight, turned, strict=True)]


def test_a_mirrored_model_is_the_mean_over_an_image_and_its_mirror_image(tiny_model):
    images, model = noise(4, 32), mirrored(tiny_model)
    assert model.output_names == ["pred_gender", "pred_age"]
    assert model.inputs[0].dtype == "uint8" and model.input_shape == (None, 32, 32, 3)
    expected = mean_of_both(tiny_model, images)
    assert max(np.abs(one - other).max() for one, other in zip(expected, tiny_model(images), strict=True)) > 1e-3
    for ours, mean in zip(predict_eagerly(model)(images), expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, mean, rtol=1e-4, atol=1e-6)
    for one, other in zip(model(images), model(images[:, :, ::-1]), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-4, atol=1e-6)


def test_a_checkpoint_that_says_mirror_is_loaded_mirrored(tiny_model, tmp_path):
    path = tmp_path / "weights.hdf5"
    save(tiny_model, path, Description("wide_resnet", {"depth": 10, "width": 1}, 32, mirror=True))
    model, checkpoint = load(path)
    assert checkpoint.mirror and inspect(path).mirror
    predict = compiled_predict(model)
    for count in (1, 3):
        for ours, expected in zip(predict(noise(count, 32)), mean_of_both(tiny_model, noise(count, 32)), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_a_deeper_network_starts_as_what_the_shallower_one_was(tiny_model, tmp_path):
    said = Description("wide_resnet", {"depth": 10, "width": 1}, 32, mirror=True)
    save(tiny_model, tmp_path / "weights.hdf5", said)
    deeper = give_every_weight_a_value(wide_resnet(32, 16, 1), seed=1)
    fresh = copy_weights(tmp_path / "weights.hdf5", deeper)
    parts = ("1_bn", "conv1", "2_bn", "conv2")
    assert sorted(fresh) == sorted(f"group{group}_block2_{part}" for group in (1, 2, 3) for part in parts)
    assert_same_predictions(deeper, tiny_model)  # not with the mirror image, which is no part of the network
    assert np.any(deeper.get_layer("group1_block2_conv1").get_weights()[0])  # else it would never learn


@pytest.mark.parametrize("size", [32, 48])
def test_a_stem_of_stride_4_starts_as_one_of_stride_2_on_the_image_halved(tmp_path, size):
    arguments = {"depth": 10, "width": 1, "stem_stride": 2}
    smaller = give_every_weight_a_value(wide_resnet(size, **arguments))
    save(smaller, tmp_path / "weights.hdf5", Description("wide_resnet", arguments, size))
    larger = give_every_weight_a_value(wide_resnet(2 * size, 10, 1, stem_stride=4), seed=1)
    assert copy_weights(tmp_path / "weights.hdf5", larger) == []
    halved = noise(4, size)
    for one, other in zip(
        predict_eagerly(smaller)(halved),
        predict_eagerly(larger)(halved.repeat(2, axis=1).repeat(2, axis=2)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    kernel = np.ones((3, 3, 1, 1), np.float32)
    assert stem_for_twice_the_size(kernel).sum() == pytest.approx(9)


@pytest.mark.parametrize("size", [32, 48])
def test_the_same_network_starts_with_every_weight(tiny_model, tiny_checkpoint_file, size):
    started, expected = wide_resnet(size, 10, 1), wide_resnet(size, 10, 1)
    assert copy_weights(tiny_checkpoint_file, started) == []
    expected.set_weights(tiny_model.get_weights())
    assert_same_predictions(started, expected, size)


def test_a_wider_network_starts_with_the_layers_that_fit_and_keeps_its_own_others(tiny_checkpoint_file):
    wider = give_every_weight_a_value(wide_resnet(32, 10, 2), seed=1)
    before = {layer.name: layer.get_weights() for layer in wider.layers if layer.weights}
    fresh = copy_weights(tiny_checkpoint_file, wider)
    assert set(before) - set(fresh) == {"stem", "group1_block1_1_bn"}
    for name in fresh:
        for one, other in zip(before[name], wider.get_layer(name).get_weights(), strict=True):
            assert np.array_equal(one, other)


def test_weights_that_fit_nowhere_or_are_the_original_suites_are_refused(
    tiny_checkpoint_file, tmp_path, original_models
):
    image = keras.Input((32, 32, 3))
    other = keras.Model(image, keras.layers.Conv2D(4, 3, name="another")(image))
    with pytest.raises(ValueError, match=r"no layer of .*hdf5, wide_resnet_10_1, fits"):
        copy_weights(tiny_checkpoint_file, other)
    original = write_like_keras_2(tmp_path / "original.hdf5", original_models[10, 1, 32], 10)
    with pytest.raises(ValueError, match="original.hdf5 was written by the original suite: a training"):
        start_of(str(original))  # before the model has answered to all validation faces


def test_a_save_that_fails_leaves_nothing_and_keeps_what_was_there(tiny_model, tmp_path):
    path = tmp_path / "weights.01-1.00.hdf5"
    unspeakable = Description("wide_resnet", {}, 32, training={"arguments": {1, 2}})  # JSON knows no sets
    with pytest.raises(TypeError):
        save(tiny_model, path, unspeakable)
    assert list(tmp_path.iterdir()) == []
    path.write_text("the best so far")
    with pytest.raises(TypeError):
        save(tiny_model, path, unspeakable)
    assert path.read_text() == "the best so far" and list(tmp_path.iterdir()) == [path]
    assert logging.root.manager.disable == logging.NOTSET


def test_a_checkpoint_holds_no_optimiser(tiny_checkpoint_file):
    with h5py.File(tiny_checkpoint_file) as file:
        assert list(file) == ["model_weights"]
        assert json.loads(file.attrs["age_gender"])["arguments"] == {"depth": 10, "width": 1}


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="'resnet99' is no network; there are wide_resnet"):
        build(Description("resnet99", {}, 32))


def with_attribute(source, path, **changes):
    """A copy of a checkpoint that says something else of itself."""
    shutil.copy(source, path)
    with h5py.File(path, "r+") as file:
        said = {**json.loads(file.attrs["age_gender"]), **changes}
        seal(file, KEY, json.dumps({name: value for name, value in said.items() if value is not None}))
    return path


def test_a_checkpoint_from_before_mirror_stages_and_test_split_is_loaded(tiny_model, tiny_checkpoint_file, tmp_path):
    split = {"validation_split": 0.1, "seed": 0, "image_size": 32, "databases": ["abc"]}
    path = with_attribute(tiny_checkpoint_file, tmp_path / "old.hdf5", mirror=None, split=split)
    with h5py.File(path) as file:
        said = json.loads(file.attrs["age_gender"])
    assert "mirror" not in said and said["arguments"] == {"depth": 10, "width": 1}
    model, checkpoint = load(path)
    assert checkpoint.mirror is False and checkpoint.split == split
    assert_same_predictions(model, tiny_model)


@pytest.mark.parametrize(("size", "good"), [(7, False), (8, True), (1024, True), (1025, False)])
def test_an_image_has_8_to_1024_pixels(size, good):
    with nullcontext() if good else pytest.raises(ValueError, match="not a number of pixels from 8 to 1024"):
        checked(Description("wide_resnet", {}, size))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": {"depth": 16, "width": 1}}, "the weights in .* do not fit the network it names"),
        ({"arguments": {"depth": 10, "width": 2}}, "the weights in .* do not fit the network it names"),
        ({"network": "resnet99"}, "'resnet99' is no network"),
        ({"genders": ["M", "F"]}, r"was trained for genders \('M', 'F'\); this version reads"),
        ({"age_scale": "adience"}, "the weights in .* do not fit the network it names"),
        ({"age_scale": "decades"}, "what it says of itself cannot be understood: .*decades"),
        ({"age_scale": {"name": "two"}}, "what it says of itself cannot be understood: .*groups"),
        ({"age_scale": {"name": "none", "groups": [], "exact": False}}, "cannot be understood: .*two groups or more"),
        (
            {"age_scale": {"name": "x", "groups": [["a", 0, 50], ["b", 40, 100]], "exact": False}},
            "age group b must ascend",
        ),
        (
            {"age_scale": {"name": "x", "groups": [["a", -5, 50], ["b", 60, 70]], "exact": False}},
            "age group a must ascend",
        ),
        (
            {"age_scale": {"name": "x", "groups": [["a", 0, 50.7], ["b", 60, 70]], "exact": False}},
            "group a must ascend",
        ),
        (
            {"calibration": {"level": 0.9, "widen": 1, "temperature": 1e-300, "ages": 9, "genders": 9}},
            "calibrates nothing",
        ),
        ({"trivial": {"age": "x"}}, "trivial is .*, not whole numbers"),
        ({"training": {"arguments": [1]}}, "cannot be understood"),
        ({"training": {"arguments": {"input": "abc"}}}, "input is 'abc', not a list of names"),
        ({"training": {"teachers": [{"split": 3}]}}, "cannot be understood"),
        ({"split": {"databases": 5}}, "databases is 5, not a list of names"),
        ({"arguments": {"depth": 10, "width": 1, "colour": 3}}, "wide_resnet takes other arguments than"),
        ({"age_scale": 3}, "what it says of itself cannot be understood"),
        ({"network": None}, "what it says of itself cannot be understood"),
        ({"genders": None}, "what it says of itself cannot be understood"),
        ({"colour": "red"}, "what it says of itself cannot be understood: .*colour"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(tiny_checkpoint_file, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load(with_attribute(tiny_checkpoint_file, tmp_path / "odd.hdf5", **changes))


def test_an_attribute_that_is_no_json_is_refused(tiny_checkpoint_file, tmp_path):
    path = shutil.copy(tiny_checkpoint_file, tmp_path / "odd.hdf5")
    with h5py.File(path, "r+") as file:
        file.attrs["age_gender"] = "{"
    with pytest.raises(ValueError, match="odd.hdf5: what it says of itself cannot be understood"):
        inspect(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.4, 0.99])
def test_a_checkpoint_that_is_cut_off_is_refused(tiny_checkpoint_file, tmp_path, share):
    path = shutil.copy(tiny_checkpoint_file, tmp_path / "cut.hdf5")
    os.truncate(path, int(path.stat().st_size * share))
    for use in (inspect, load):
        with pytest.raises(ValueError, match=r"cut\.hdf5 is no checkpoint, or it is cut off or damaged"):
            use(path)


def test_a_text_a_missing_file_and_a_folder_are_refused(tmp_path):
    (tmp_path / "notes.hdf5").write_text("epoch, loss\n" * 500)
    with pytest.raises(ValueError, match=r"notes\.hdf5 is no checkpoint, or it is cut off or damaged"):
        load(tmp_path / "notes.hdf5")
    for path, wrong in ((tmp_path / "nowhere.hdf5", "is not there"), (tmp_path, "is a folder")):
        with pytest.raises(FileNotFoundError, match=f"{wrong}; train.py makes checkpoints"):
            load(path)


def test_hdf5_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="neither a checkpoint of this suite nor of the original one, nor a"):
        load(write_database(tmp_path / "faces.mat", noise(3)))
    with h5py.File(tmp_path / "empty.hdf5", "w"):
        pass
    with pytest.raises(ValueError, match="neither a checkpoint of this suite nor of the original one, nor a"):
        load(tmp_path / "empty.hdf5")


# ------------------------------------------------------------------------------- files of the original suite


def names_in_order_of_creation(model, depth):
    """Our layers in the order in which the original suite's script made its own."""
    present = {layer.name for layer in model.layers}
    names = ["stem"]
    for group in (1, 2, 3):
        for block in range(1, (depth - 4) // 6 + 1):
            names += [f"group{group}_block{block}_{part}" for part in ("1_bn", "conv1", "2_bn", "conv2", "shortcut")]
    return [name for name in [*names, "final_bn"] if name in present]


def write_like_keras_2(path, model, depth, first=1, whole=True, heads=("pred_gender", "pred_age"), flat=False):
    """Writes weights as Keras 2 did: layers by kind and running number, the shapeless layers as empty groups.

    Args:
        first: number of the first layer of each kind; 0 is written without a number (conv2d, conv2d_1, ...).
        whole: a whole model (a group, `model_config`) or bare weights.
        flat: whether weights lie directly in their layer's group.
    """
    numbers = {}

    def named(kind):
        numbers[kind] = numbers.get(kind, first - 1) + 1
        return f"{kind}_{numbers[kind]}" if numbers[kind] else kind

    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        written = []

        def add(name, weights):
            group = root.create_group(name)
            for weight, values in weights.items():
                (group if flat else group.require_group(name))[f"{weight}:0"] = values
            group.attrs["weight_names"] = [f"{name}/{weight}:0".encode() for weight in weights]
            written.append(name.encode())

        add(named("input"), {})
        for name in names_in_order_of_creation(model, depth):
            values = model.get_layer(name).get_weights()
            if len(values) == 1:
                add(named("conv2d"), {"kernel": values[0]})
            else:
                parts = ("gamma", "beta", "moving_mean", "moving_variance")
                add(named("batch_normalization"), dict(zip(parts, values, strict=True)))
                add(named("activation"), {})
        for kind in ("add", "average_pooling2d", "flatten"):
            add(named(kind), {})
        for ours, theirs in zip(("pred_gender", "pred_age"), heads, strict=True):
            add(theirs, {"kernel": model.get_layer(ours).get_weights()[0]})
        root.attrs["layer_names"] = written
        root.attrs["keras_version"], root.attrs["backend"] = b"2.3.1", b"tensorflow"
        if whole:
            file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": {"name": "model_1"}})
            file.create_group("optimizer_weights")["iterations:0"] = 7
    return path


@pytest.fixture(scope="module")
def original_models():
    """The original's network for some depths, widths and sizes, each with weights of its own."""
    return {
        key: give_every_weight_a_value(wide_resnet(key[2], depth=key[0], width=key[1], original=True), seed)
        for seed, key in enumerate([(10, 1, 32), (16, 2, 32), (10, 2, 64)])
    }


@pytest.fixture(scope="module")
def build_once():
    """`build` that makes each network once, and gives it other weights whenever it is asked for."""
    made = {}

    def built(description):
        key = str(description.arguments), description.image_size
        made[key] = give_every_weight_a_value(made.get(key) or build(description), seed=99)
        return made[key]

    return built


@pytest.mark.parametrize("key", [(10, 1, 32), (16, 2, 32), (10, 2, 64)])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("first", "heads", "flat"),
    [
        (1, ("pred_gender", "pred_age"), False),
        (0, ("pred_gender", "pred_age"), True),
        (12, ("dense_1", "dense_2"), False),
        (96, ("dense_10", "dense_9"), False),
    ],
)
def test_files_of_the_original_suite_give_the_original_network(
    tmp_path, monkeypatch, original_models, build_once, key, whole, first, heads, flat
):
    monkeypatch.setattr(checkpoints, "build", build_once)
    depth, width, size = key
    source = original_models[key]
    path = write_like_keras_2(tmp_path / "weights.hdf5", source, depth, first, whole, heads, flat)
    checkpoint = inspect(path)
    assert checkpoint.arguments == {"depth": depth, "width": width, "original": True}
    assert (checkpoint.network, checkpoint.image_size, checkpoint.margin) == ("wide_resnet", size, 0.4)
    assert checkpoint.origin == ORIGIN_ORIGINAL
    model, again = load(path)
    assert again == checkpoint
    for layer in source.layers:
        for ours, theirs in zip(model.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            assert np.array_equal(ours, theirs), layer.name
    if first == 1 and whole:
        assert_same_predictions(model, source, size)


def test_the_original_suites_own_checkpoint_gives_its_own_predictions(shared):
    recorded = np.load(shared / "legacy" / "weights.02-5.15.predictions.npz")
    model, checkpoint = load(shared / "legacy" / "weights.02-5.15.hdf5")
    assert checkpoint.arguments == {"depth": 10, "width": 1, "original": True} and checkpoint.image_size == 64
    gender, age = predict_eagerly(model)(recorded["image"])
    np.testing.assert_allclose(gender, recorded["pred_gender"], atol=1e-4)
    np.testing.assert_allclose(age, recorded["pred_age"], atol=1e-4)
    assert np.ptp(recorded["pred_gender"][:, 0]) > 0.1  # they are no constants that any network might give


def test_keras_2_weights_of_another_network_are_refused(tmp_path, original_models):
    path = write_like_keras_2(tmp_path / "weights.hdf5", original_models[10, 1, 32], 10)
    with h5py.File(path, "r+") as file:
        del file["model_weights"]["conv2d_3"]
    with pytest.raises(ValueError, match="no wide residual network of the original suite: 6 convolutions of 3 x 3"):
        inspect(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda file: file.copy("model_weights/conv2d_9", "model_weights/conv2d_99"),
            "7 convolutions of 3 x 3, 3 others",
        ),
        (lambda file: file.move("model_weights/batch_normalization_7", "left_out"), "2 others, 6 batch norms"),
        (lambda file: file.attrs.update(model_config='{"activation": "elu"}'), "its layers have activation elu, which"),
        (lambda file: file.attrs.update(model_config='{"epsilon": 1e-05}'), "its layers have epsilon 1e-05, which"),
    ],
)
def test_keras_2_weights_that_would_not_all_be_used_as_they_were_are_refused(
    change, message, tmp_path, original_models
):
    path = write_like_keras_2(tmp_path / "weights.hdf5", original_models[10, 1, 32], 10)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(ValueError, match=message):
        inspect(path)


def test_a_checkpoint_of_the_original_suite_that_is_cut_off_is_refused(tmp_path, original_models):
    path = write_like_keras_2(tmp_path / "weights.hdf5", original_models[10, 1, 32], 10)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match="is no checkpoint, or it is cut off or damaged"):
        load(path)


# ------------------------------------------------------------------------------------------ other Keras models


def foreign_model(outputs=(("age", 101), ("gender", 2)), shape=(16, 16, 3)):
    image = keras.Input(shape, name="pixels")
    features = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    heads = [keras.layers.Dense(units, activation="softmax", name=name)(features) for name, units in outputs]
    return keras.Model(image, heads)


def test_a_foreign_models_outputs_are_put_in_our_order(tmp_path):
    source, path = foreign_model(), tmp_path / "foreign.keras"
    source.save(path)
    model, checkpoint = load(path)
    assert (checkpoint.origin, checkpoint.network, checkpoint.image_size) == (ORIGIN_KERAS, "", 16)
    age, gender = predict_eagerly(source)(noise(3, 16).astype(np.float32))
    ours = predict_eagerly(model)(noise(3, 16))
    assert model.inputs[0].dtype == "uint8" and [output.shape for output in ours] == [(3, 2), (3, 101)]
    np.testing.assert_allclose(ours[0], gender, atol=1e-6)
    np.testing.assert_allclose(ours[1], age, atol=1e-6)


def test_a_foreign_model_in_our_order_stays_in_it(tmp_path):
    source, path = foreign_model((("gender", 2), ("age", 101))), tmp_path / "foreign.h5"
    source.save(path)
    model, checkpoint = load(path)
    assert checkpoint.origin == ORIGIN_KERAS
    for ours, theirs in zip(
        predict_eagerly(model)(noise(3, 16)), predict_eagerly(source)(noise(3, 16).astype(np.float32)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("outputs", "shape", "message"),
    [
        ((("age", 8), ("gender", 2)), (16, 16, 3), r"two outputs, 2 genders and 101 ages; this one has .*8"),
        ((("age", 101),), (16, 16, 3), "two outputs, 2 genders and 101 ages; this one has"),
        ((("mask", 2), ("age", 101), ("gender", 2)), (16, 16, 3), "two outputs, 2 genders and 101 ages; this one has"),
        ((("age", 101), ("gender", 2)), (16, 20, 3), "takes one square colour image of fixed size; this one takes"),
        ((("age", 101), ("gender", 2)), (16, 16, 1), "takes one square colour image of fixed size; this one takes"),
    ],
)
def test_a_foreign_model_for_something_else_is_refused(tmp_path, outputs, shape, message):
    path = tmp_path / "foreign.keras"
    foreign_model(outputs, shape).save(path)
    with pytest.raises(ValueError, match=message):
        load(path)


def test_a_keras_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "damaged.keras").write_text("no archive")
    with pytest.raises(
        ValueError, match=r"damaged\.keras is neither a checkpoint of this suite .* nor a model for Keras"
    ):
        load(tmp_path / "damaged.keras")


@pytest.mark.parametrize("name", ["a.keras", "a.hdf5", "a.onnx", "a.tflite", "a.xml", "a.mat"])
def test_what_git_leaves_without_lfs_is_said_to_be_that(name, tmp_path):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
    with pytest.raises(ValueError, match=rf"{name} is a Git LFS pointer of 63 bytes, not the file: git lfs pull"):
        open_database(tmp_path / name) if name.endswith(".mat") else open_model(tmp_path / name)


# ------------------------------------------------------------------------------------------- which checkpoint


def touch(path, seconds):
    path.touch()
    os.utime(path, (seconds, seconds))
    return path


def touch_below(folder, name, seconds):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return touch(folder / name, seconds)


def test_the_newest_checkpoint_is_chosen_by_its_time_and_not_its_name(tmp_path):
    touch(tmp_path / "weights.30-2.00.hdf5", 1_000)
    newest = touch(tmp_path / "weights.01-9.00.hdf5", 3_000)
    touch(tmp_path / "weights.07-3.00.hdf5", 2_000)
    touch(tmp_path / "age_gender.hdf5", 4_000)
    touch(tmp_path / "resume.weights.h5", 5_000)
    assert choose(None, tmp_path) == newest
    assert choose(tmp_path, tmp_path / "elsewhere") == newest


def test_runs_are_found_in_folders_and_those_of_all_folds_one_deeper(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SHIPPED", touch_below(tmp_path, "age_gender.hdf5", 9_000))
    touch_below(tmp_path, "one/weights.01-9.00.hdf5", 1_000)
    assert choose(None, tmp_path) == tmp_path / "one" / "weights.01-9.00.hdf5"
    for fold, seconds in enumerate((2_000, 4_000, 3_000)):
        touch_below(tmp_path, f"folds/fold_{fold}/weights.02-5.00.hdf5", seconds)
    touch_below(tmp_path, "a/b/c/weights.01-1.00.hdf5", 8_000)  # nobody's run
    newest = tmp_path / "folds" / "fold_1" / "weights.02-5.00.hdf5"
    assert choose(None, tmp_path) == choose(tmp_path / "folds") == newest
    folds = [tmp_path / "folds" / f"fold_{fold}" / "weights.02-5.00.hdf5" for fold in range(3)]
    for said in (tmp_path / "folds", *folds):
        assert runs_among([said])[0] == (folds if said.name == "folds" else [said])
    touch_below(tmp_path, "weights.01-9.00.hdf5", 500)
    assert runs_among([tmp_path / "weights.01-9.00.hdf5"]) == ([tmp_path / "weights.01-9.00.hdf5"], [])
    assert len(runs_among([tmp_path])[0]) == 5


def test_the_shipped_model_is_chosen_where_nothing_is_named_and_there_is_no_run(tmp_path, monkeypatch):
    shipped = touch(tmp_path / "age_gender.hdf5", 5_000)
    monkeypatch.setattr(checkpoints, "SHIPPED", shipped)
    runs = tmp_path / "runs"
    assert choose(None, runs) == shipped
    runs.mkdir()
    assert choose(None, runs) == shipped
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in .*runs/"):
        choose(runs, tmp_path)
    assert choose(tmp_path, runs) == shipped  # the folder it lies in, named
    own = touch(runs / "weights.01-9.00.hdf5", 1_000)
    assert choose(None, runs) == own


def test_the_shipped_model_is_sought_beside_the_scripts():
    assert checkpoints.SHIPPED.parts[-2:] == ("checkpoints", "age_gender.hdf5")
    assert (checkpoints.SHIPPED.parents[1] / "train.py").is_file()


def test_a_named_file_is_taken_whatever_else_there_is(tmp_path):
    touch(tmp_path / "weights.01-9.00.hdf5", 3_000)
    named = touch(tmp_path / "mine.h5", 1_000)
    assert choose(named, tmp_path) == named


def test_no_checkpoint_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "none_is_shipped.hdf5")
    message = "there is no checkpoint in .*: train one with train.py, or name one with --weight_file"
    for arguments in ((None, tmp_path), (None, tmp_path / "nowhere"), (tmp_path, tmp_path)):
        with pytest.raises(FileNotFoundError, match=message):
            choose(*arguments)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.hdf5 is not there; train\.py makes checkpoints"):
        choose(tmp_path / "nowhere.hdf5", tmp_path)


def test_a_backbone_is_built_by_the_image_size_its_arguments_and_the_age_scale():
    tried = {"wide_resnet": {"depth": 10, "width": 1}, "dlib_resnet": {}, "mobilenet_v3_small": {}}
    for name, arguments in tried.items():
        for ordinal in (False, True):
            said = Description(name, {**arguments, "ordinal": ordinal}, 32, age_scale=AGE_SCALES["adience"])
            model = build(said)
            assert model.output_names == ["pred_gender", "pred_age"] and model.input_shape == (None, 32, 32, 3)
            assert [output.shape[1] for output in model.outputs] == [2, 8]
    assert set(backbones.BACKBONES) == set(backbones.STAGES) == {"wide_resnet", "dlib_resnet", *NETWORKS}
    assert asdict(Description("wide_resnet", {}, 64))["genders"] == ("F", "M")


def test_a_weight_or_a_word_that_has_changed_is_noticed(tiny_checkpoint_file, tmp_path):
    """Of both heads and the description, one bit; what was sealed again is taken."""

    def change(act):
        path = shutil.copy(tiny_checkpoint_file, tmp_path / "hit.hdf5")
        with h5py.File(path, "r+") as file:
            names = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            act(file, sorted(names))
        return path

    def flip(which):
        def act(file, names):
            numbers = file[names[which]][()]
            numbers.reshape(-1)[0] += 1e-3
            file[names[which]][()] = numbers

        return act

    def reword(file, names):
        file.attrs[KEY] = file.attrs[KEY].replace('"margin": 0.', '"margin": 1.', 1)

    for act in (flip(0), flip(-1), reword):
        with pytest.raises(ValueError, match="hit.hdf5 is damaged: its content is not what was written"):
            load(change(act))
    load(change(lambda file, names: seal(file, KEY, file.attrs[KEY])))


def test_a_checkpoint_of_an_earlier_version_has_no_digest_and_is_taken(tiny_checkpoint_file, tmp_path):
    path = shutil.copy(tiny_checkpoint_file, tmp_path / "old.hdf5")
    with h5py.File(path, "r+") as file:
        del file.attrs["age_gender_digest"]
    load(path)


@pytest.mark.parametrize("layer", ["pred_age", "conv2d_2"])
def test_a_bias_that_the_originals_network_has_not_is_refused_unless_it_is_nothing(layer, original_models, tmp_path):
    path = write_like_keras_2(tmp_path / "a.hdf5", original_models[10, 1, 32], 10)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"][layer][layer]
        size = group["kernel:0"].shape[-1]
        group["bias:0"] = np.zeros(size, np.float32)
    load(path)
    with h5py.File(path, "r+") as file:
        file["model_weights"][layer][layer]["bias:0"][...] = 1
    with pytest.raises(ValueError, match="has a bias, which the original suite's network has not"):
        load(path)


# ------------------------------------------------------------------------------------------- what a file may not do


def lying_elsewhere(file, secret):
    file.create_group("conv2d").create_dataset("kernel:0", (6,), "u1", external=[(str(secret), 0, 6)])


def linking(file, secret):
    file["model_weights"] = h5py.ExternalLink(str(secret), "/")


def claiming(file, secret):
    file.create_dataset("conv2d/kernel:0", (400_000_000,), "u1", chunks=(1_000_000,))


def going_round(file, secret):
    file.create_group("a")
    file["a/again"] = file["a"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lying_elsewhere, "'kernel:0' lies in another file"),
        (linking, "'model_weights' is a link to another place"),
        (claiming, "says that it holds more than such a file can"),
        (going_round, "says that it holds more than such a file can"),
    ],
)
def test_a_checkpoint_shows_no_other_file_and_holds_no_more_than_it_can(make, message, tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"secret")
    monkeypatch.setattr("age_gender.hdf5.MOST_GROUPS", 1000)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        make(file, tmp_path / "secret")
    for read in (inspect, published_network):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "a.hdf5")
