"""dlib's face recognition network: its file is read, and the network computes with it what dlib's own does."""

import struct

import numpy as np
import pytest

import train
from networks.backbones import BACKBONES
from networks.dlib_resnet import BEGINNING, BLOCKS, MEANS_BGR, is_dlib, load_dlib, read_tensors
from networks.published import published_network

SIZE = 64


def layers_of_dlib() -> list[tuple[int, int, int]]:
    """Inputs, channels and kernel of each convolution, in the order of the file."""
    found, inputs = [(3, 32, 7)], 32
    for channels, blocks in BLOCKS:
        for _ in range(blocks):
            found += [(inputs, channels, 3), (channels, channels, 3)]
            inputs = channels
    return found


def tensor(name: bytes, values: np.ndarray) -> bytes:
    """A layer as dlib writes it: its version, the tensor's version and four lengths, each behind its count of bytes."""
    count = len(values).to_bytes(4, "little").rstrip(b"\0")
    lengths = struct.pack("B", len(count)) + count + b"\1\1" * 3
    return struct.pack("B", len(name)) + name + b"\1\2" + lengths + values.astype("<f4").tobytes()


def write_dlib(path, layers=None) -> list[np.ndarray]:
    """A file as dlib's, of random weights; what is in it, convolutions and affine layers in turn."""
    rng, content, written = np.random.default_rng(0), [BEGINNING + b"2"], []
    for inputs, channels, kernel in layers or layers_of_dlib():
        convolution = rng.normal(0, 1 / (kernel * np.sqrt(inputs)), channels * (inputs * kernel**2 + 1))
        affine = np.r_[rng.uniform(0.5, 1.5, channels), rng.normal(0, 0.1, channels)]
        written += [convolution.astype(np.float32), affine.astype(np.float32)]
        content += [b"\1\0", tensor(b"con_4", written[-2]), b"\1\7\1\0", tensor(b"affine_", written[-1])]
    path.write_bytes(b"".join(content))
    return written


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("dlib") / "dlib_face_recognition_resnet_model_v1.dat"
    return path, write_dlib(path)


@pytest.fixture(scope="module")
def network(file):
    model = BACKBONES["dlib_resnet"](SIZE)
    said = load_dlib(model, file[0])
    assert "29 convolutions" in said and "pred_gender, pred_age" in said
    return model


def test_a_file_is_told_by_its_beginning(file, tmp_path, tiny_checkpoint_file):
    assert is_dlib(file[0]) and published_network(file[0]) == "dlib_resnet"
    other = tmp_path / "other.dat"
    other.write_bytes(b"\1\1\1\4mmod")
    assert not is_dlib(other) and published_network(other) is None and published_network(tiny_checkpoint_file) is None


def test_every_tensor_is_read(file):
    path, written = file
    found = read_tensors(path)
    assert len(found) == 58 and all(map(np.array_equal, found, written))


def convolved(image: np.ndarray, convolution: np.ndarray, affine: np.ndarray, kernel: int, place: tuple, stride: int):
    """(channels,): what dlib's convolution (kernels of (channels, inputs, height, width), then biases) and the affine
    layer behind it say at one place of a (height, width, inputs) image, which is padded as 'same' does."""
    channels = len(affine) // 2
    before = (kernel - stride) // 2
    padded = np.pad(image, ((before, kernel), (before, kernel), (0, 0)))
    row, column = stride * place[0], stride * place[1]
    window = padded[row : row + kernel, column : column + kernel].transpose(2, 0, 1)
    kernels = convolution[:-channels].reshape(channels, -1, kernel, kernel)
    return (np.einsum("oihw,ihw->o", kernels, window) + convolution[-channels:]) * affine[:channels] + affine[channels:]


@pytest.mark.parametrize("place", [(0, 0), (9, 4), (31, 31)])
def test_the_stem_sees_rgb_less_dlibs_means(file, network, place):
    import keras

    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    stem = keras.Model(network.input, network.get_layer("stem").output)
    found = keras.ops.convert_to_numpy(stem(image[None]))[0][place]
    rgb = ((image - np.array(MEANS_BGR)) / 256)[:, :, ::-1]
    wanted = convolved(rgb, *file[1][:2], kernel=7, place=place, stride=2)
    np.testing.assert_allclose(found, np.maximum(wanted, 0), atol=1e-4)


def test_a_block_that_halves_adds_what_dlib_adds(file, network):
    """Two convolutions, and beside them the mean of 2 x 2 pixels with zeros in the channels that are new."""
    import keras

    image = np.random.default_rng(2).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
    names = ["stage1_block3_relu", "stage2_block1_conv1", "stage2_block1_relu"]
    model = keras.Model(network.input, [network.get_layer(name).output for name in names])
    before, between, after = (keras.ops.convert_to_numpy(found)[0] for found in model(image))
    first, place = 2 * 7, (3, 2)  # of the block's four tensors, behind those of seven convolutions
    one = convolved(before, *file[1][first : first + 2], kernel=3, place=place, stride=2)
    np.testing.assert_allclose(between[place], np.maximum(one, 0), atol=1e-4)
    two = convolved(between, *file[1][first + 2 : first + 4], kernel=3, place=place, stride=1)
    beside = np.r_[before[6:8, 4:6].mean(axis=(0, 1)), np.zeros(32)]
    np.testing.assert_allclose(after[place], np.maximum(two + beside, 0), atol=1e-4)


def test_another_file_of_dlib_is_refused(file, tmp_path):
    model = BACKBONES["dlib_resnet"](SIZE)
    for name, content, says in (
        ("cut", file[0].read_bytes()[:-100], "is cut off"),
        ("short", file[0].read_bytes()[: len(file[0].read_bytes()) // 2], "cut off"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=says):
            load_dlib(model, path)
    layers = layers_of_dlib()
    write_dlib(tmp_path / "other", [*layers[:-1], (256, 128, 3)])
    with pytest.raises(ValueError, match="does not fit dlib_resnet: stage5_block1_conv2 has 590080 weights"):
        load_dlib(model, tmp_path / "other")


def test_train_starts_from_it(file, faces, tmp_path, capsys, plain_runs):
    arguments = ["-i", str(faces), "--model", "dlib_resnet", "--weight_file", str(file[0]), "--nb_epochs", "1"]
    train.main([*arguments, "--freeze_epochs", "1", "--output_dir", str(tmp_path)])
    said = capsys.readouterr().out
    assert "dlib's weights of 29 convolutions" in said
    from networks.checkpoints import choose, load

    model, description = load(choose(tmp_path))
    assert description.network == "dlib_resnet"
    rows = model.get_layer("stem").get_weights()[1]
    np.testing.assert_allclose(rows, file[1][0][-32:] * file[1][1][:32] + file[1][1][32:], atol=1e-6)


def test_another_networks_file_is_refused_by_name(file, faces, tmp_path):
    with pytest.raises(ValueError, match="has the weights of a dlib_resnet, not of a wide_resnet: --model dlib_resnet"):
        train.main(["-i", str(faces), "--weight_file", str(file[0]), "--output_dir", str(tmp_path)])
