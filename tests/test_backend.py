"""Prediction as one compiled call gives what Keras's own loop gives, for any number of images and any thread."""

import logging
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import noise

from age_gender import machine
from age_gender.machine import held_back_stderr
from networks import backend


@pytest.fixture(scope="module")
def predict(tiny_model):
    return backend.compiled_predict(tiny_model)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_number_of_images_gives_what_keras_predicts(tiny_model, predict, count):
    images = noise(count, 32, seed=count)
    for ours, keras_own in zip(predict(images), tiny_model.predict(images, verbose=0), strict=True):
        assert type(ours) is np.ndarray and ours.dtype == np.float32 and ours.shape == keras_own.shape
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-6)


def test_a_single_output_is_one_array_of_all_images(tiny_model):
    import keras

    single = keras.Model(tiny_model.input, tiny_model.outputs[1])
    (said,) = backend.compiled_predict(single)(noise(3, 32))
    assert said.shape == (3, 101)


def test_earlier_results_stay_as_they_were(predict):
    first = predict(noise(2, 32, seed=1))
    kept = [output.copy() for output in first]
    predict(noise(2, 32, seed=2))
    for output, before in zip(first, kept, strict=True):
        assert np.array_equal(output, before)


def test_images_that_are_no_contiguous_block_are_taken(predict):
    images = noise(6, 32)
    for ours, expected in zip(predict(images[::-2, :, ::-1]), predict(images[::-2, :, ::-1].copy()), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_another_thread_gets_the_same(predict):
    images = noise(3, 32)
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(predict, images).result()
    for one, other in zip(elsewhere, predict(images), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_backend_that_the_suite_does_not_know_is_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(ValueError, match="KERAS_BACKEND is torch; the suite computes with tensorflow or jax"):
        backend.start()


def test_several_networks_in_one_process_are_no_reason_to_warn():
    backend.start()
    log = logging.getLogger("tensorflow")
    said = ("5 out of the last 9 calls to f triggered tf.function retracing.", "the disk is full")
    traced, other = (log.makeRecord("tensorflow", logging.WARNING, "", 0, text, (), None) for text in said)
    assert not log.filter(traced) and log.filter(other)


def test_start_names_the_device_and_gives_stderr_back(capfd):
    assert re.fullmatch(r"CPU|GPU \(.*\)|\d+ GPUs \(.*\)", backend.start())
    os.write(2, b"still heard\n")
    assert "still heard" in capfd.readouterr().err


def test_what_native_code_says_meanwhile_is_held_back_and_can_be_asked_for(capfd):
    with held_back_stderr() as said:
        os.write(2, b"a library greets\n")
        assert said() == "a library greets\n"
    assert capfd.readouterr().err == ""


def test_where_nothing_can_be_written_stderr_is_not_held_back(monkeypatch, capfd):
    def none(*settings):
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("age_gender.machine.tempfile.TemporaryFile", none)
    with held_back_stderr() as said:
        os.write(2, b"native")
        assert said() == ""
    assert capfd.readouterr().err == "native"


def test_opencv_can_be_kept_silent_within_what_is_silent_already():
    def within():
        with machine.silent_opencv(), machine.silent_opencv():
            silent.append(True)

    silent = []
    thread = threading.Thread(target=within, daemon=True)
    thread.start()
    thread.join(20)
    assert silent


@pytest.mark.parametrize(("said", "cores"), [("150000 100000", 2), ("20000 100000", 1), ("max 100000", 8), (None, 8)])
def test_a_containers_quota_of_cores_is_kept(said, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    if said:
        (tmp_path / "cpu.max").write_text(said + "\n")
    assert machine.available_cores() == cores
