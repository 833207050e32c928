"""Networks of keras.applications against Keras's own, and published weights as files of their layout."""

import h5py
import keras
import numpy as np
import pytest
from conftest import give_every_weight_a_value, noise, training_options, write_database

import train
from age_gender.description import Description
from networks import applications
from networks import published as published_weights
from networks.applications import NETWORKS, application
from networks.backbones import BACKBONES, STAGES
from networks.checkpoints import SHIPPED, load, save
from networks.published import load_imagenet, load_vggface, published_network, set_weights, shortened
from networks.starting import copy_weights
from training.callbacks import train_last_stages

HEADS = ["pred_gender", "pred_age"]
FAMILIES = [
    ("vgg16", keras.applications.vgg16),
    ("resnet50", keras.applications.resnet50),
    ("efficientnet_b0", keras.applications.efficientnet),
    ("efficientnet_v2_b0", keras.applications.efficientnet_v2),
    ("mobilenet_v3_small", keras.applications.mobilenet_v3),
    ("mobilenet_v3_large", keras.applications.mobilenet_v3),
    ("convnext_tiny", keras.applications.convnext),
    ("inception_resnet_v2", keras.applications.inception_resnet_v2),
]


def weighty(layers):
    return [layer for layer in layers if layer.weights]


def kerass_own(name, weights=None):
    """The network as keras.applications makes it, with values of its own unless they are loaded."""
    size = NETWORKS[name].smallest
    function = getattr(keras.applications, NETWORKS[name].function)
    network = function(include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg")
    if weights is None:
        give_every_weight_a_value(network)
        for layer in weighty(network.layers):
            set_weights(layer, layer.get_weights())
    return network


def features(model, images):
    """What the heads get."""
    return np.asarray(keras.Model(model.input, model.get_layer("pred_age").input)(images))


def assert_same_features(model, network, module, tolerance):
    """Ours on BGR bytes against Keras's on its own preprocessing of the RGB image."""
    images = noise(2, model.input_shape[1])
    expected = np.asarray(network(module.preprocess_input(np.float32(images[..., ::-1]))))
    spread = expected.std()
    assert spread > 0
    np.testing.assert_allclose(features(model, images) / spread, expected / spread, atol=tolerance)
    return images


# ------------------------------------------------------------------------------------------------------ the networks


def test_the_table_names_networks_of_keras_and_of_models():
    for network in NETWORKS.values():
        assert callable(getattr(keras.applications, network.function))
    assert set(STAGES) == set(BACKBONES) == {"wide_resnet", "dlib_resnet", *NETWORKS}


@pytest.fixture(scope="module", params=FAMILIES, ids=[name for name, _ in FAMILIES])
def family(request):
    """A network's name, Keras's module of it, our network, and how Keras was asked for it."""
    name, module = request.param
    function, asked = NETWORKS[name].function, {}
    genuine = getattr(keras.applications, function)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, function, lambda **how: asked.update(how) or genuine(**how))
        return name, module, application(name, NETWORKS[name].smallest), asked


def test_a_network_is_kerass_own_after_its_own_preprocessing(family):
    name, module, model, asked = family
    images = noise(2, model.input_shape[1])
    pixels = np.asarray(keras.Model(model.input, asked["input_tensor"])(images))
    np.testing.assert_allclose(pixels, module.preprocess_input(np.float32(images[..., ::-1])), atol=1e-4)
    assert (asked["include_top"], asked["weights"], asked["pooling"]) == (False, None, "avg")
    assert [output.shape for output in model.outputs] == [(None, 2), (None, 101)] and model.output_names == HEADS
    names = [layer.name for layer in model.layers]
    for stage in STAGES[name]:
        assert any(layer.startswith(stage) for layer in names), stage


# One that scales within the network, and one that is given pixels less ImageNet's means.
@pytest.mark.parametrize(("name", "module"), [FAMILIES[4], FAMILIES[0]], ids=["mobilenet_v3_small", "vgg16"])
def test_outputs_are_those_of_keras_on_its_own_preprocessing(name, module):
    network = kerass_own(name)
    model = application(name, NETWORKS[name].smallest)
    base = [layer for layer in weighty(model.layers) if layer.name not in model.output_names]
    for ours, theirs in zip(base, weighty(network.layers), strict=True):
        set_weights(ours, theirs.get_weights())
    images = assert_same_features(model, network, module, 1e-4)
    _, age = model(images)
    np.testing.assert_allclose(np.asarray(age).sum(axis=1), 1, rtol=1e-5)


FIRST_OF_THE_LAST = {  # name -> how many stages are trained, the first layer of these, and the last before them
    "vgg16": (1, "block5_conv1", "block4_conv3"),
    "resnet50": (2, "conv4_block1_1_conv", "conv3_block4_3_bn"),
    "efficientnet_b0": (1, "block7a_expand_conv", "block6d_project_bn"),
    "mobilenet_v3_small": (1, "expanded_conv_8_expand", "expanded_conv_7_project_bn"),
    "convnext_tiny": (1, "convnext_tiny_downsampling_block_2", "convnext_tiny_stage_2_block_8_pointwise_conv_2"),
}


def test_the_stages_begin_where_the_image_is_halved(family):
    name, _, model, _ = family
    if name not in FIRST_OF_THE_LAST:
        return
    last, first, before = FIRST_OF_THE_LAST[name]
    train_last_stages(model, STAGES[name], last)
    trained = {layer.name for layer in model.layers if layer.trainable_weights}
    names = [layer.name for layer in model.layers if layer.weights]
    assert first in trained and before not in trained and set(HEADS) < trained
    assert names.index(before) < names.index(first)
    assert all(layer.trainable for layer in model.layers[model.layers.index(model.get_layer(first)) :])


def test_a_second_network_of_a_process_has_the_same_names_and_takes_a_checkpoint(tmp_path):
    name = "mobilenet_v3_small"
    first, second = give_every_weight_a_value(application(name, 32)), application(name, 32, dropout=0.1)
    assert [layer.name for layer in weighty(first.layers)] == [layer.name for layer in weighty(second.layers)]
    save(first, tmp_path / "weights.hdf5", Description(name, {}, 32))
    assert copy_weights(tmp_path / "weights.hdf5", second) == []
    images = noise(3, 32)
    for one, other in zip(first(images), second(images), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    heads = {layer: second.get_layer(layer).get_weights()[0] for layer in ("pred_gender", "pred_age")}
    give_every_weight_a_value(first, seed=1)
    assert copy_weights(tmp_path / "weights.hdf5", first, new=["pred_age"]) == ["pred_age"]
    assert np.array_equal(first.get_layer("pred_gender").get_weights()[0], heads["pred_gender"])
    assert not np.array_equal(first.get_layer("pred_age").get_weights()[0], heads["pred_age"])


def test_unnamed_layers_are_numbered_within_their_network():
    image = keras.Input((8, 8, 3))
    keras.layers.Conv2D(2, 1)(image)  # takes a number of Keras's
    x = keras.layers.Conv2D(2, 1)(keras.layers.Conv2D(2, 1, name="conv2d_of_mine")(image))
    base = keras.Model(image, keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1)(x)))
    applications._number_unnamed_layers(base)
    assert [layer.name for layer in base.layers[1:]] == [
        "conv2d_of_mine",
        "conv2d_1",
        "conv2d_2",
        "batch_normalization_1",
    ]


def test_the_penalty_is_that_of_all_kernels():
    model = application("mobilenet_v3_small", 32, weight_decay=0.1)
    kernels = [weight for weight in model.trainable_variables if weight.path.endswith("kernel")]
    assert len(kernels) == len(model.losses) > 50
    squares = sum(np.sum(np.asarray(kernel, np.float64) ** 2) for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(0.05 * squares, rel=1e-4)


def test_heads_and_pixels_are_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = application("mobilenet_v3_small", 32)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    dtypes = {layer.name: layer.compute_dtype for layer in model.layers}
    assert {dtypes[name] for name in ("pixels", "pred_gender", "pred_age")} == {"float32"}
    assert dtypes["conv"] == "bfloat16" and model.outputs[1].dtype == "float32"


def test_images_that_are_too_small_and_vggface_for_others_are_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"inception_resnet_v2 takes images of 75 pixels or more; received 64: make a"):
        application("inception_resnet_v2", 64)
    with pytest.raises(ValueError, match="VGGFace's weights are for vgg16 and resnet50; received convnext_tiny"):
        application("convnext_tiny", 64, vggface=True)
    faces = write_database(tmp_path / "faces.mat", noise(4, 64))
    with pytest.raises(ValueError, match="75 pixels or more; received 64: .*create_db.py --img_size 96"):
        train.main(["-i", str(faces), "--model", "inception_resnet_v2", "--output_dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "alexnet"], "argument --model: invalid choice: 'alexnet'"),
        (["--model", "vgg16", "--depth", "10"], "--depth is for --model wide_resnet; this is vgg16"),
        (["--model", "vgg16", "--width", "2", "--stages", "3"], "--width --stages is for --model wide_resnet"),
        (["--weight_file", "imagenet"], "--weight_file imagenet is for the networks of keras.applications"),
        (["--freeze_epochs", "2"], "--freeze_epochs keeps what --weight_file brings"),
        (
            ["--model", "vgg16", "--weight_file", "none", "--unfreeze_stages", "2"],
            "--unfreeze_stages keeps what --weight_file",
        ),
        (["--model", "vgg16", "--freeze_epochs", "4", "--nb_epochs", "3"], "--freeze_epochs 4 are more than the 3 of"),
        (["--model", "vgg16", "--fine_tune_lr", "0.1"], "--fine_tune_lr is for the epochs after --freeze_epochs"),
        (["--model", "vgg16", "--unfreeze_stages", "6"], "--unfreeze_stages 6: vgg16 has 5"),
        (["--weight_file", str(SHIPPED), "--unfreeze_stages", "6"], "--unfreeze_stages 6: dlib_resnet has 5"),
    ],
)
def test_options_of_another_network_are_refused(options, message, capsys):
    with pytest.raises(SystemExit):
        training_options("-i", "faces.mat", *options)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_what_is_not_said_of_a_network_has_its_default():
    def parsed(*options):
        args = training_options("-i", "faces.mat", *options)
        return args.model, args.depth, args.weights

    assert parsed() == ("wide_resnet", 16, None)
    assert parsed("--model", "vgg16") == ("vgg16", None, "imagenet")
    assert parsed("--model", "vgg16", "--weight_file", "none") == ("vgg16", None, "none")


# ------------------------------------------------------------------------------------------------ ImageNet's weights


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Stands for Keras's download: gives the file that the test wrote, and remembers what was asked for."""
    asked = []

    def get_file(fname, origin, **_):
        asked.append((fname, origin))
        return str(tmp_path / "published.h5")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    return tmp_path / "published.h5", asked


@pytest.mark.parametrize(("name", "module"), [FAMILIES[2], FAMILIES[4]], ids=["efficientnet_b0", "mobilenet_v3_small"])
def test_imagenets_weights_make_what_keras_makes_of_them(name, module, published, tmp_path):
    """For EfficientNet Keras's network with these weights is another graph than without."""
    path, asked = published
    kerass_own(name).save(path)
    network = kerass_own(name, "imagenet")
    model = application(name, 32)
    tensors = sum(len(layer.get_weights()) for layer in weighty(network.layers))
    changed = tensors - (name == "efficientnet_b0")  # the count of its normalisation is 0 here
    said = load_imagenet(model, name)
    assert said == f"ImageNet's weights: {changed} of {tensors} tensors of the base changed; new: pred_gender, pred_age"
    assert asked[0] == asked[1] and asked[0][1].endswith(asked[0][0])
    images = assert_same_features(model, network, module, 1e-4)
    if name == "efficientnet_b0":
        return
    save(model, tmp_path / "weights.hdf5", Description(name, {}, 32))
    asked.clear()
    expected = features(model, images)
    loaded = load(tmp_path / "weights.hdf5")[0]  # needs no download
    give_every_weight_a_value(model, seed=1)
    copy_weights(tmp_path / "weights.hdf5", model)
    assert not asked
    for other in (loaded, model):
        np.testing.assert_array_equal(features(other, images), expected)


def test_weights_that_change_nothing_are_refused(published):
    model = application("mobilenet_v3_small", 32)
    model.save(published[0])  # our own, with the heads: two layers too many
    with pytest.raises(ValueError, match="could not be fetched .*Layer count mismatch"):
        load_imagenet(model, "mobilenet_v3_small")
    base = published_weights._base_layers(model)
    same = [layer.get_weights() for layer in base]
    with pytest.raises(ValueError, match=r"the file changes nothing in \d+ of the \d+ kernels of mobilenet_v3_small"):
        published_weights._give(model, base, same, "the file")
    with pytest.raises(ValueError, match="the file has 3 layers with weights, the base of mobilenet_v3_small has"):
        published_weights._give(model, base, same[:3], "the file")


def test_a_download_that_fails_says_which_file_goes_where(tmp_path, monkeypatch):
    """Without a network, and with Keras's folder elsewhere."""
    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.arange(40), gender=np.arange(40) % 2)
    for name, value in (("https_proxy", "http://127.0.0.1:9"), ("HTTPS_PROXY", "http://127.0.0.1:9"), ("no_proxy", "")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("urllib.request._opener", None)  # it would remember the proxies of an earlier call
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: str(tmp_path / "home"))
    with pytest.raises(ValueError) as raised:
        train.main(["-i", str(faces), "--model", "vgg16", "--output_dir", str(tmp_path / "run")])
    said = str(raised.value)
    file = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert "\n" not in said
    assert f"/{file} elsewhere and put it at {tmp_path / 'home' / 'models' / file}; --weight_file none" in said
    assert not list((tmp_path / "run").iterdir())


# ------------------------------------------------------------------------------------------------- VGGFace's weights

VGG16_SHAPES = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]  # channels and convolutions of a block
RESNET50_STAGES = [(2, 3), (3, 4), (4, 6), (5, 3)]  # number and blocks


def vggface_vgg16():
    """layer -> weights, as rcmalli_vggface_tf_notop_vgg16.h5 has them."""
    rng, layers, before = np.random.default_rng(0), {"input_1": []}, 3
    for block, (channels, count) in enumerate(VGG16_SHAPES, 1):
        for number in range(1, count + 1):
            kernel = rng.normal(0, np.sqrt(2 / 9 / before), (3, 3, before, channels))
            layers[f"conv{block}_{number}"] = [kernel, rng.normal(0, 0.1, channels)]
            before = channels
        layers[f"pool{block}"] = []
    return layers


def vggface_resnet50():
    """layer -> weights, as rcmalli_vggface_tf_notop_resnet50.h5 has them."""
    rng, layers = np.random.default_rng(0), {"input_1": []}

    def add(name, size, before, channels):
        layers[name] = [rng.normal(0, 1 / np.sqrt(size * size * before), (size, size, before, channels))]
        uniform = [rng.uniform(0.7, 1.3, channels), rng.normal(0, 0.3, channels), rng.normal(0, 0.3, channels)]
        layers[f"{name}/bn"] = [*uniform, rng.uniform(0.5, 1.5, channels)]

    add("conv1/7x7_s2", 7, 3, 64)
    before = 64
    for stage, blocks in RESNET50_STAGES:
        inner = 2 ** (stage + 4)
        for block in range(1, blocks + 1):
            name = f"conv{stage}_{block}_"
            add(f"{name}1x1_reduce", 1, before, inner)
            add(f"{name}3x3", 3, inner, inner)
            add(f"{name}1x1_increase", 1, inner, 4 * inner)
            if block == 1:
                add(f"{name}1x1_proj", 1, before, 4 * inner)
            before = 4 * inner
    return layers


def write_keras_2_weights(path, layers):
    """Bare weights as Keras 2 wrote them: a layer's slash makes a group within a group."""
    names = {1: ("kernel",), 2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance"), 0: ()}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.0.8"
        for layer, arrays in layers.items():
            group = file.require_group(layer)
            inside = [f"{layer}/{name}:0" for name in names[len(arrays)]]
            group.attrs["weight_names"] = np.array([name.encode() for name in inside], "S") if inside else []
            for name, array in zip(inside, arrays, strict=True):
                group[name] = np.float32(array)
    return path


def rectified(x):
    return np.maximum(x, 0)


def convolved(x, kernel, stride, bias=0.0):
    """'same' convolution of (n, h, w, c) in NumPy, padded as TensorFlow pads."""
    size, height = kernel.shape[0], x.shape[1]
    out = -(-height // stride)
    total = max((out - 1) * stride + size - height, 0)
    x = np.pad(x, ((0, 0), *[(total // 2, total - total // 2)] * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwcij,ijcd->nhwd", windows, kernel, optimize=True) + bias


def pooled(x, size, stride):
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return windows.max(axis=(-2, -1))


def vgg16_in_numpy(x, layers):
    for block, (_, count) in enumerate(VGG16_SHAPES, 1):
        for number in range(1, count + 1):
            kernel, bias = layers[f"conv{block}_{number}"]
            x = rectified(convolved(x, kernel, 1, bias))
        x = pooled(x, 2, 2)
    return x.mean(axis=(1, 2))


def resnet50_in_numpy(x, layers):
    def normal(x, name, stride=1):
        gamma, beta, mean, variance = layers[f"{name}/bn"]
        x = convolved(x, layers[name][0], stride)
        return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta

    x = pooled(rectified(normal(x, "conv1/7x7_s2", 2)), 3, 2)
    for stage, blocks in RESNET50_STAGES:
        for block in range(1, blocks + 1):
            name, stride = f"conv{stage}_{block}_1x1", 2 if stage > 2 and block == 1 else 1
            inside = rectified(normal(x, f"{name}_reduce", stride))
            inside = rectified(normal(inside, f"conv{stage}_{block}_3x3"))
            inside = normal(inside, f"{name}_increase")
            x = rectified(inside + (normal(x, f"{name}_proj", stride) if block == 1 else x))
    return x.mean(axis=(1, 2))


VGGFACE = {
    "vgg16": (vggface_vgg16, vgg16_in_numpy, [93.5940, 104.7624, 129.1863], 26),
    "resnet50": (vggface_resnet50, resnet50_in_numpy, [91.4953, 103.8827, 131.0912], 53 * 5),
}


@pytest.fixture(scope="module")
def vggface_files(tmp_path_factory):
    """name -> layers and file."""
    folder, files = tmp_path_factory.mktemp("vggface"), {}
    for name, (make, *_) in VGGFACE.items():
        layers = make()
        files[name] = layers, write_keras_2_weights(folder / f"of_{name}.h5", layers)
    return files


@pytest.mark.parametrize("name", VGGFACE)
def test_a_vggface_file_makes_the_network_that_it_was_made_for(name, vggface_files, tmp_path):
    _, in_numpy, means_bgr, tensors = VGGFACE[name]
    layers, path = vggface_files[name]
    assert published_network(path) == name
    model = application(name, 64, vggface=True)
    said = load_vggface(model, name, path)
    assert said.startswith(f"VGGFace's weights: {tensors} of {tensors} tensors of the base changed; new: pred_gender")
    images = noise(2, 64)
    expected = in_numpy(images.astype(np.float64) - means_bgr, layers)
    np.testing.assert_allclose(features(model, images) / expected.std(), expected / expected.std(), atol=1e-4)
    save(model, tmp_path / "weights.hdf5", Description(name, {"vggface": True}, 64))
    loaded, checkpoint = load(tmp_path / "weights.hdf5")
    assert checkpoint.arguments == {"vggface": True}
    np.testing.assert_array_equal(features(loaded, images), features(model, images))


def test_vggface_files_are_told_by_their_content(vggface_files, tiny_checkpoint_file, tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    assert published_network(tmp_path / "text.h5") is None and published_network(tiny_checkpoint_file) is None
    assert published_network(tmp_path / "nowhere.h5") is None
    layers, _ = vggface_files["resnet50"]
    model = application("resnet50", 32, vggface=True)
    squeezed = {**layers, "conv2_1_1x1_down": [np.zeros((1, 1, 256, 16)), np.zeros(16)]}  # SENet50
    with pytest.raises(ValueError, match="is no VGGFace file of ResNet50: it lacks none and has conv2_1_1x1_down"):
        load_vggface(model, "resnet50", write_keras_2_weights(tmp_path / "senet.h5", squeezed))
    rest = {layer: arrays for layer, arrays in layers.items() if not layer.startswith("conv5_3_3x3")}
    with pytest.raises(ValueError, match="it lacks conv5_3_3x3, conv5_3_3x3_bn and has none"):
        load_vggface(model, "resnet50", write_keras_2_weights(tmp_path / "cut.h5", rest))
    with_top = {**layers, "classifier": [np.zeros((2048, 8631)), np.zeros(8631)]}
    assert "265 of 265" in load_vggface(model, "resnet50", write_keras_2_weights(tmp_path / "top.h5", with_top))
    plain = application("vgg16", 32, vggface=True)
    odd = {**vggface_files["vgg16"][0], "conv5_3": [np.zeros((1, 1, 512, 512)), np.zeros(512)]}
    with pytest.raises(ValueError, match=r"does not fit vgg16_vggface: block5_conv3 has \[\(3, 3, 512"):
        load_vggface(plain, "vgg16", write_keras_2_weights(tmp_path / "odd.h5", odd))


def test_names_are_shortened():
    assert shortened([]) == "none" and shortened(["a", "b"]) == "a, b"
    assert shortened(list("abcdefghij")) == "a, b, c, d, e, f, g, h, and 2 more"
