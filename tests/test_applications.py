"""Networks of keras.applications against Keras's own, and published weights as files of their layout."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import give_every_weight_a_value, noise, write_database

import applications
import train
from applications import (
    NETWORKS,
    application,
    load_imagenet,
    load_vggface,
    set_weights,
    shortened,
    vggface_network,
)
from models import BACKBONES, STAGES, Checkpoint, choose, copy_weights, inspect, load, save

ROOT = Path(__file__).resolve().parent.parent
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
    assert set(STAGES) == set(BACKBONES) == {"wide_resnet", *NETWORKS}


@pytest.mark.parametrize(("name", "module"), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_outputs_are_those_of_keras_on_its_own_preprocessing(name, module):
    network = kerass_own(name)
    model = application(name, NETWORKS[name].smallest)
    base = [layer for layer in weighty(model.layers) if layer.name not in model.output_names]
    for ours, theirs in zip(base, weighty(network.layers), strict=True):
        set_weights(ours, theirs.get_weights())
    images = assert_same_features(model, network, module, 1e-4)
    gender, age = (np.asarray(output) for output in model(images))
    assert gender.shape == (2, 2) and age.shape == (2, 101) and model.output_names == ["pred_gender", "pred_age"]
    np.testing.assert_allclose(age.sum(axis=1), 1, rtol=1e-5)
    assert [layer.name for layer in model.layers if layer.name.startswith(STAGES[name])]
    names = [layer.name for layer in model.layers]
    for stage in STAGES[name]:
        assert any(layer.startswith(stage) for layer in names), stage


