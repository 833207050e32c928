"""The network: parameters counted independently, its outputs, its weight decay and what it refuses."""

import keras
import numpy as np
import pytest
from conftest import noise, predict_eagerly

from wide_resnet import two_heads, wide_resnet


def parameters_by_hand(depth: int, width: int, stages: int = 3) -> int:
    """All weights of WRN-depth-width with global pooling and both heads, batch norms' statistics included."""
    blocks = (depth - 4) // 6
    count, channels = 3 * 3 * 3 * 16, 16
    for wanted in (16 * width, 32 * width, 64 * width, 128 * width)[:stages]:
        for _ in range(blocks):
            count += 4 * channels + 9 * channels * wanted + 4 * wanted + 9 * wanted * wanted
            if channels != wanted:
                count += channels * wanted
            channels = wanted
    return count + 4 * channels + (channels + 1) * (2 + 101)


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 8), (22, 2), (28, 3)])
def test_depth_and_width_give_the_number_of_parameters(depth, width):
    model = wide_resnet(64, depth=depth, width=width)
    assert model.count_params() == parameters_by_hand(depth, width)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert sum(layer.kernel_size == (3, 3) for layer in convolutions) == depth - 3


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 2)])
def test_a_fourth_stage_adds_its_parameters_and_a_stride_of_the_stem_none(depth, width):
    for stages in (3, 4):
        model = wide_resnet(64, depth=depth, width=width, stages=stages, stem_stride=2)
        assert model.count_params() == parameters_by_hand(depth, width, stages)
        assert sum(isinstance(layer, keras.layers.Add) for layer in model.layers) == stages * (depth - 4) // 6


@pytest.mark.parametrize(
    ("size", "stages", "stride", "shapes"),
    [
        (32, 3, 2, [(16, 16, 32), (8, 8, 64), (4, 4, 128)]),
        (32, 4, 1, [(32, 32, 32), (16, 16, 64), (8, 8, 128), (4, 4, 256)]),
        (64, 3, 4, [(16, 16, 32), (8, 8, 64), (4, 4, 128)]),
        (50, 4, 2, [(25, 25, 32), (13, 13, 64), (7, 7, 128), (4, 4, 256)]),
    ],
)
def test_stages_and_the_stride_of_the_stem_set_the_sizes_of_the_groups(size, stages, stride, shapes):
    model = wide_resnet(size, depth=10, width=2, stages=stages, stem_stride=stride)
    groups = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert [tuple(layer.output.shape[1:]) for layer in groups] == shapes
    assert tuple(model.get_layer("stem").output.shape[1:]) == (*shapes[0][:2], 16)
    assert [output.shape for output in predict_eagerly(model)(noise(2, size))] == [(2, 2), (2, 101)]


@pytest.mark.parametrize(("stages", "stride"), [(2, 1), (5, 1), (3, 0), (3, 3), (4, 8)])
def test_other_stages_and_strides_are_refused(stages, stride):
    with pytest.raises(ValueError, match=f"stem_stride 1, 2 or 4; received {stages} and {stride}$"):
        wide_resnet(32, depth=10, width=1, stages=stages, stem_stride=stride)


@pytest.mark.parametrize(("depth", "width", "published"), [(16, 8, 10_961_370), (16, 2, 691_674), (40, 2, 2_243_546)])
def test_the_body_has_as_many_parameters_as_the_authors_networks_for_cifar_10(depth, width, published):
    model = wide_resnet(32, depth=depth, width=width)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    features = 64 * width
    assert trainable - (features + 1) * (2 + 101) == published - (features + 1) * 10


def test_outputs_have_their_names_order_and_sizes(tiny_model):
    assert tiny_model.output_names == ["pred_gender", "pred_age"]
    assert [tuple(output.shape) for output in tiny_model.outputs] == [(None, 2), (None, 101)]
    assert tiny_model.inputs[0].dtype == "uint8" and tuple(tiny_model.inputs[0].shape) == (None, 32, 32, 3)
    assert tiny_model.name == "wide_resnet_10_1"


def test_every_row_is_a_distribution_and_depends_on_its_image_alone(tiny_model):
    images = noise(5, 32)
    outputs = predict_eagerly(tiny_model)(images)
    for output in outputs:
        assert output.dtype == np.float32 and output.min() >= 0
        np.testing.assert_allclose(output.sum(axis=1), 1, rtol=1e-5)
        assert len(np.unique(output[:, 0])) == 5
    for output, alone in zip(outputs, predict_eagerly(tiny_model)(images[2:3]), strict=True):
        np.testing.assert_allclose(output[2:3], alone, rtol=1e-4, atol=1e-6)


def test_pixels_are_normalised_inside_to_minus_one_and_one(tiny_model):
    inside = keras.Model(tiny_model.inputs[0], tiny_model.get_layer("normalise").output)
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[0, 0, :3, 0] = 255, 127, 128
    normalised = np.asarray(inside(pixels))
    np.testing.assert_allclose(normalised[0, 0, :4, 0], [1, -1 / 255, 1 / 255, -1], atol=1e-6)
    original = wide_resnet(32, depth=10, width=1, original=True)
    raw = keras.Model(original.inputs[0], original.get_layer("normalise").output)
    assert np.array_equal(np.asarray(raw(pixels)), pixels.astype(np.float32))


def test_each_group_but_the_first_halves_the_picture(tiny_model):
    shapes = [tuple(tiny_model.get_layer(f"group{n}_block1_add").output.shape[1:]) for n in (1, 2, 3)]
    assert shapes == [(32, 32, 16), (16, 16, 32), (8, 8, 64)]


def test_the_heads_read_the_mean_over_all_positions(tiny_model):
    inside = keras.Model(tiny_model.inputs[0], [tiny_model.get_layer("final_relu").output, *tiny_model.outputs])
    features, *outputs = (np.asarray(output, np.float64) for output in inside(noise(3, 32)))
    for name, output in zip(("pred_gender", "pred_age"), outputs, strict=True):
        kernel, bias = tiny_model.get_layer(name).get_weights()
        logits = features.mean(axis=(1, 2)) @ kernel + bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        np.testing.assert_allclose(output, odds / odds.sum(axis=1, keepdims=True), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("original", [False, True])
def test_weight_decay_is_half_its_value_times_the_squares_of_all_kernels(original):
    model = wide_resnet(32, depth=10, width=1, original=original)
    kernels = [np.asarray(weight) for weight in model.weights if weight.path.endswith("kernel")]
    assert len(kernels) == 7 + 2 + 2  # 3 x 3, shortcuts (none in the first group at width 1), heads
    expected = 2.5e-4 * sum(np.sum(kernel.astype(np.float64) ** 2) for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_without_weight_decay_there_is_no_penalty():
    assert wide_resnet(32, depth=10, width=1, weight_decay=0.0).losses == []


def test_dropout_acts_in_training_alone():
    model = wide_resnet(32, depth=10, width=1, dropout=0.5)
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == 3
    plain = wide_resnet(32, depth=10, width=1)
    plain.set_weights(model.get_weights())
    for one, other in zip(model(noise(2, 32), training=False), plain(noise(2, 32), training=False), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-5)


@pytest.fixture
def bfloat16_policy():
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    keras.mixed_precision.set_global_policy(before)


def test_heads_compute_in_float32_under_mixed_precision(bfloat16_policy):
    model = wide_resnet(32, depth=10, width=1)
    assert model.get_layer("group3_block1_conv2").compute_dtype == "bfloat16"
    assert {model.get_layer(name).compute_dtype for name in ("pred_gender", "pred_age")} == {"float32"}
    for output in predict_eagerly(model)(noise(2, 32)):
        assert output.dtype == np.float32
        np.testing.assert_allclose(output.sum(axis=1), 1, rtol=1e-5)  # bfloat16 would be off by some 1e-2


def test_two_heads_can_do_without_bias():
    features = keras.Input((7,))
    with_bias, without = (keras.Model(features, two_heads(features, use_bias=bias)) for bias in (True, False))
    assert with_bias.count_params() - without.count_params() == 2 + 101


@pytest.mark.parametrize("depth", [4, 9, 12, 15, 18])
def test_a_depth_that_is_not_6_n_plus_4_is_refused(depth):
    with pytest.raises(ValueError, match=rf"is 6 n \+ 4: 10, 16, 22, 28, \.\.\.; received {depth}$"):
        wide_resnet(32, depth=depth)


@pytest.mark.parametrize(("width", "size"), [(0, 64), (-1, 64), (1, 0), (1, 16), (1, 31)])
def test_a_width_or_size_that_is_too_small_is_refused(width, size):
    with pytest.raises(ValueError, match=f"image_size 32 or more; received {width} and {size}"):
        wide_resnet(size, depth=10, width=width)
