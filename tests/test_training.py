"""The schedule by hand, metrics against NumPy, callbacks step by step, and what a masked label may move."""

import csv
import io
import json
import math
import os
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest
from conftest import noise, predict_eagerly, stopped_state
from matplotlib.figure import Figure

from age_gender.description import Description
from age_gender.labels import AGE_SCALES
from mixup_generator import NO_AUGMENTATION, Augmentation, Labels, MixupGenerator
from networks import backend
from networks.checkpoints import seal
from training.augmentations import AUGMENTATIONS
from training.callbacks import Journal, KeepBest, PlainValidationLoss, Resume, StopAtNan, epochs_of
from training.curve import save_training_curve
from training.losses import age_loss
from training.metrics import LOSS_OF_EACH, AgeError, AgeSpread, MaleShare, weighted_metrics
from training.resume import RESUME_ATTRIBUTE, read_resume
from training.run import compile_model, tensorboard, writer
from training.schedules import Phase, StepDecay, learning_rate
from wide_resnet import two_heads

CLASSIC, STRONG = (Augmentation(**AUGMENTATIONS[name]) for name in ("classic", "strong"))


def small_model(seed=0, optimizer=None, loss_of_age="categorical_crossentropy", eager=True):
    """Two heads on a batch norm and a dense layer: everything a training touches, at no cost."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5, -1.0)(image))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(6, activation="relu", name="body")(x))
    model = keras.Model(image, two_heads(x))
    model.compile(
        optimizer or keras.optimizers.SGD(0.1),
        loss=["categorical_crossentropy", loss_of_age],
        weighted_metrics=weighted_metrics(),
        run_eagerly=eager,
    )
    return model


def fit(model, batches, epochs=1, first=0, callbacks=()):
    return model.fit(
        batches,
        epochs=epochs,
        initial_epoch=first,
        shuffle=False,
        verbose=0,
        callbacks=[epochs_of(batches), *callbacks],
    ).history


# ---------------------------------------------------------------------------------------------------- schedule


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_the_rate_falls_to_a_fifth_at_each_quarter():
    schedule = StepDecay(0.1, epochs=8, steps_per_epoch=10, warmup_steps=0)
    expected = [0.1, 0.1, 0.02, 0.02, 0.004, 0.004, 0.0008, 0.0008]
    np.testing.assert_allclose(rates(schedule, [0, 19, 20, 39, 40, 59, 60, 79]), expected, rtol=1e-5)


def test_quarters_that_are_no_whole_epochs_end_with_their_epoch():
    schedule = StepDecay(1.0, epochs=10, steps_per_epoch=3, warmup_steps=0)  # after epochs 3, 5 and 8
    expected = [1, 0.2, 0.2, 0.04, 0.04, 0.008]
    np.testing.assert_allclose(rates(schedule, [8, 9, 14, 15, 23, 24]), expected, rtol=1e-5)


def test_a_single_epoch_keeps_its_rate():
    schedule = StepDecay(0.1, epochs=1, steps_per_epoch=10, warmup_steps=0)
    np.testing.assert_allclose(rates(schedule, [0, 9]), [0.1, 0.1], rtol=1e-5)


def test_the_warm_up_rises_linearly_from_its_first_step():
    schedule = StepDecay(0.1, epochs=8, steps_per_epoch=10, warmup_steps=4)
    np.testing.assert_allclose(rates(schedule, range(6)), [0.025, 0.05, 0.075, 0.1, 0.1, 0.1], rtol=1e-5)


@pytest.mark.parametrize(
    ("steps", "warmup", "expected"),
    [
        # quarters of the half cosine: (1 + cos 45 degrees) / 2 is 0.853553
        (100, 10, {0: 0, 1: 0.01, 5: 0.05, 10: 0.1, 55: 0.05, 100: 0, 999: 0}),
        (8, 0, {0: 0.1, 2: 0.0853553, 4: 0.05, 6: 0.0146447, 8: 0}),
        (1, 0, {0: 0.1, 1: 0}),
    ],
)
def test_the_cosine_falls_to_nothing_after_a_linear_warm_up(steps, warmup, expected):
    schedule = learning_rate("cosine", Phase("", 3, 4, None, 0.1), steps)
    np.testing.assert_allclose(rates(schedule, expected), list(expected.values()), rtol=1e-5, atol=1e-8)
    every = rates(schedule, range(steps))
    assert np.all(np.diff(every[:warmup]) > 0) and np.all(np.diff(every[warmup:]) < 0) and min(every[warmup > 0 :]) > 0


def test_an_optimiser_follows_the_schedule():
    optimizer = keras.optimizers.SGD(StepDecay(0.1, epochs=4, steps_per_epoch=1, warmup_steps=0))
    variable = keras.Variable([0.0])
    optimizer.build([variable])
    steps = []
    for _ in range(4):
        before = float(variable.numpy()[0])
        optimizer.apply([np.float32([1.0])])
        steps.append(before - float(variable.numpy()[0]))
    np.testing.assert_allclose(steps, [0.1, 0.02, 0.004, 0.0008], rtol=1e-3)


# ---------------------------------------------------------------------------------------------------- age losses

YEARS = np.arange(101)


def soft(age, sigma):
    """The normal distribution around an age that label distribution learning aims at."""
    density = np.exp(-((YEARS - age) ** 2) / (2 * sigma**2))
    return density / density.sum()


def one_hot_ages(*ages):
    return np.eye(101, dtype=np.float32)[list(ages)]


def losses(name, truth, said, sigma=2.0, error_weight=1.0):
    return np.asarray(age_loss(name, sigma, error_weight)(np.float32(truth), np.float32(said)))


def test_cross_entropy_is_that_of_keras():
    truth, said = distributions(6, 0), distributions(6, 1)
    expected = np.asarray(keras.losses.categorical_crossentropy(truth, said))
    assert np.array_equal(losses("cross_entropy", truth, said), expected)
    np.testing.assert_allclose(expected, -(truth * np.log(np.maximum(said, 1e-7))).sum(axis=1), rtol=1e-3)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 5.0])
@pytest.mark.parametrize(
    ("name", "error_weight", "counts"), [("ldl", 3.0, 0), ("dldl_v2", 1.0, 1), ("dldl_v2", 0.25, 1)]
)
def test_soft_labels_cost_their_divergence_and_the_error_of_the_expected_age(name, error_weight, counts, sigma):
    ages = [0, 1, 30, 64, 100]
    said = np.stack([0.5 * soft(age + 7, 6) + 0.5 * soft(50, 20) for age in ages])
    targets = np.stack([soft(age, sigma) for age in ages])
    # Both distributions are cut off at 1e-7, as Keras does.
    cut, cut_said = np.maximum(targets, 1e-7), np.maximum(said, 1e-7)
    divergence = (cut * np.log(cut / cut_said)).sum(axis=1)
    assert divergence.min() > 0.1
    expected = divergence + counts * error_weight * np.abs(said @ YEARS - ages)
    np.testing.assert_allclose(losses(name, one_hot_ages(*ages), said, sigma, error_weight), expected, rtol=1e-4)


def test_who_says_the_soft_label_itself_pays_nothing():
    ages = [20, 50, 80]
    targets = np.stack([soft(age, 3.0) for age in ages])
    for name in ("ldl", "dldl_v2"):
        np.testing.assert_allclose(losses(name, one_hot_ages(*ages), targets, sigma=3.0), 0, atol=3e-5)
        assert losses(name, one_hot_ages(*ages), targets, sigma=2.0).min() > 0.05


@pytest.mark.parametrize("name", ["cross_entropy", "ldl", "dldl_v2"])
def test_the_losses_of_a_mixture_differ_as_the_mixture_of_their_differences(name):
    # The entropy of the target is no linear thing, but it is the same for both predictions.
    one, other = one_hot_ages(60), one_hot_ages(75)
    said = np.stack([soft(35, 12)]), np.stack([soft(45, 15)])  # both younger than 60: the error has one sign

    def difference(truth):
        return float((losses(name, truth, said[0]) - losses(name, truth, said[1]))[0])

    assert difference(0.3 * one + 0.7 * other) == pytest.approx(
        0.3 * difference(one) + 0.7 * difference(other), rel=1e-3
    )
    assert abs(difference(one) - difference(other)) > 0.1


@pytest.mark.parametrize("augmentation", [NO_AUGMENTATION, STRONG], ids=["none", "strong"])
@pytest.mark.parametrize("name", ["ldl", "dldl_v2"])
def test_faces_without_an_age_move_the_age_head_nowhere_whatever_the_loss(name, augmentation):
    model = small_model(loss_of_age=age_loss(name, 2.0, 1.0))
    batches = MixupGenerator(
        noise(16), Labels(np.arange(16) % 2, np.full(16, -1)), batch_size=8, augmentation=augmentation
    )
    before = {name: model.get_layer(name).get_weights() for name in ("pred_age", "pred_gender")}
    history = fit(model, batches)
    after = {name: model.get_layer(name).get_weights() for name in ("pred_age", "pred_gender")}
    assert all(np.array_equal(old, new) for old, new in zip(before["pred_age"], after["pred_age"], strict=True))
    assert not np.array_equal(before["pred_gender"][0], after["pred_gender"][0])
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("name", ["cross_entropy", "ldl", "dldl_v2"])
def test_a_prediction_of_zeros_and_ones_gives_finite_steps(name):
    model = small_model(loss_of_age=age_loss(name, 2.0, 1.0))
    head = model.get_layer("pred_age")
    head.set_weights([head.get_weights()[0] * 1e5, head.get_weights()[1]])
    said = predict_eagerly(model)(noise(8))[1]
    assert said.min() == 0 and np.allclose(said.max(axis=1), 1, atol=1e-6) and np.sum(said > 1e-6) == len(said)
    history = fit(
        model, MixupGenerator(noise(8), Labels(np.arange(8) % 2, np.arange(8) * 12), batch_size=8, shuffle=False)
    )
    assert np.isfinite(history["loss"]).all() and history["loss"][0] > 1
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


# ------------------------------------------------------------------------------------------- averaged weights


def test_a_checkpoint_holds_the_averaged_weights_and_the_training_goes_on_from_its_own(tmp_path):
    def batches():
        return MixupGenerator(noise(8), Labels(np.arange(8) % 2, np.arange(8) * 12), batch_size=8, seed=1)

    def trainable(model):
        return [np.asarray(weight) for weight in model.trainable_variables]

    class Watch(keras.callbacks.Callback):
        """Writes a checkpoint after each epoch, which is one step, and notes the weights after it."""

        def __init__(self, write=None):
            super().__init__()
            self.write, self.raw, self.values = write, [], []

        def on_epoch_end(self, epoch, logs=None):
            if self.write:
                self.write(tmp_path / f"{epoch}.hdf5", epoch + 1, logs)
            self.raw.append(trainable(self.model))
            self.values.append(logs["val_loss"])

    def run(watch, optimizer, callbacks):
        model = small_model(optimizer=optimizer)
        validation = MixupGenerator(
            noise(8, seed=5), Labels(np.arange(8) % 2, np.arange(8) * 9), batch_size=8, shuffle=False
        )
        watch = watch(model)
        callbacks = [epochs_of(batches()), *callbacks, watch]
        model.fit(batches(), epochs=4, shuffle=False, verbose=0, validation_data=validation, callbacks=callbacks)
        return model, watch, validation

    swap = keras.callbacks.SwapEMAWeights()
    said = Description("wide_resnet", {}, 8)
    model, averaged, validation = run(
        lambda model: Watch(writer(model, said, [swap])),
        keras.optimizers.SGD(0.3, momentum=0.9, use_ema=True, ema_momentum=0.7),
        [swap],
    )
    _, plain, _ = run(lambda model: Watch(), keras.optimizers.SGD(0.3, momentum=0.9), [])
    expected = averaged.raw[0]
    for epoch, (raw, alone) in enumerate(zip(averaged.raw, plain.raw, strict=True)):
        for one, other in zip(raw, alone, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)  # writing and validating leave no trace
        expected = [0.7 * old + 0.3 * new for old, new in zip(expected, raw, strict=True)]
        loaded = small_model(seed=9)
        loaded.load_weights(tmp_path / f"{epoch}.hdf5")
        for one, other in zip(trainable(loaded), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
    apart = max(np.abs(one - other).max() for one, other in zip(expected, raw, strict=True))
    assert apart > 1e-2 and np.ptp(averaged.values) > 1e-3
    assert loaded.evaluate(validation, verbose=0)[0] == pytest.approx(averaged.values[-1], rel=1e-3)
    for one, other in zip(trainable(model), expected, strict=True):  # a run ends with the averages
        np.testing.assert_allclose(one, other, atol=1e-4)


# ----------------------------------------------------------------------------------------------------- metrics


def distributions(count, seed):
    drawn = np.random.default_rng(seed).random((count, 101)) ** 8
    return (drawn / drawn.sum(axis=1, keepdims=True)).astype(np.float32)


def test_age_error_is_the_weighted_mean_over_all_batches():
    truth, said = distributions(10, 0), distributions(10, 1)
    weight = np.array([1, 1, 0, 1, 0, 0.5, 1, 1, 0, 1], np.float32)
    metric = AgeError(name="mae")
    for part in (slice(0, 7), slice(7, 10)):
        metric.update_state(truth[part], said[part], weight[part])
    years = np.arange(101)
    errors = np.abs(truth @ years - said @ years)
    assert float(metric.result()) == pytest.approx(np.average(errors, weights=weight), rel=1e-4)
    metric.reset_state()
    metric.update_state(np.eye(101, dtype=np.float32)[[20, 90]], np.eye(101, dtype=np.float32)[[25, 80]])
    assert float(metric.result()) == pytest.approx(7.5)


def test_age_spread_is_the_standard_deviation_of_the_expected_ages():
    said, metric = distributions(50, 2), AgeSpread("spread")
    for part in (slice(0, 32), slice(32, 50)):
        metric.update_state(distributions(50, 3)[part], said[part], np.zeros(50)[part])  # labels do not matter
    assert float(metric.result()) == pytest.approx(np.std(said @ np.arange(101)), rel=1e-3)
    metric.reset_state()
    metric.update_state(None, np.eye(101, dtype=np.float32)[[99] * 40])
    assert float(metric.result()) == pytest.approx(0, abs=1e-3)


def test_male_share_counts_every_face():
    metric = MaleShare(name="male_share")
    metric.update_state(np.zeros((3, 2)), np.float32([[0.4, 0.6], [0.9, 0.1], [0.0, 1.0]]), np.zeros(3))
    metric.update_state(np.zeros((1, 2)), np.float32([[0.7, 0.3]]))
    assert float(metric.result()) == pytest.approx(0.5)


def test_evaluation_reports_what_numpy_computes():
    model = small_model()
    rng = np.random.default_rng(0)
    gender, age = rng.integers(-1, 2, 21), rng.integers(-1, 101, 21)
    age[3] = -1
    images = noise(21)
    values = model.evaluate(
        MixupGenerator(images, Labels(gender, age), batch_size=8, shuffle=False), return_dict=True, verbose=0
    )
    p_gender, p_age = predict_eagerly(model)(images)
    expected = p_age @ np.arange(101)
    known, sexed = age >= 0, gender >= 0
    assert values["pred_age_mae"] == pytest.approx(np.abs(expected - age)[known].mean(), rel=1e-4)
    assert values["pred_age_spread"] == pytest.approx(expected.std(), rel=1e-2)
    assert values["pred_gender_accuracy"] == pytest.approx((p_gender.argmax(axis=1) == gender)[sexed].mean(), rel=1e-4)
    assert values["pred_gender_male_share"] == pytest.approx(p_gender.argmax(axis=1).mean(), rel=1e-4)


def test_the_losses_of_an_epoch_are_means_of_faces_not_of_batches():
    options = SimpleNamespace(opt="adam", ema=0, weight_decay=0.1, gender_weight=2.0, age_scale=AGE_SCALES["years"])
    options.__dict__.update(age_loss="cross_entropy", age_sigma=2.0, age_error_weight=1.0)
    model = small_model()
    compile_model(model, options, 0.0)  # the weights stay; what Keras compiles does not know how large batches are
    gender, age = np.arange(17) % 3 - 1, np.where(np.arange(17) % 4, np.arange(17) * 6, -1)  # batches of 8, 8 and 1
    images = noise(17)
    batches = MixupGenerator(images, Labels(gender, age), batch_size=8, shuffle=False)
    plain, rows = PlainValidationLoss(options.gender_weight), []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rows.append(logs))
    model.fit(batches, validation_data=batches, shuffle=False, verbose=0, callbacks=[plain, keep])
    means = [
        -np.where(labels >= 0, np.log(said[np.arange(17), labels]), 0).mean()
        for labels, said in zip((gender, age), predict_eagerly(model)(images), strict=True)
    ]
    assert [rows[0][f"val_pred_{head}_loss"] for head in ("gender", "age")] == pytest.approx(means, rel=1e-4)
    assert rows[0]["val_loss"] == pytest.approx(2.0 * means[0] + means[1], rel=1e-4)


def test_tensorboard_shows_the_losses_of_the_history_and_no_others(tmp_path):
    if not backend.can_write_tensorboard():
        pytest.skip("TensorBoard's logs need tensorflow and tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    options = SimpleNamespace(opt="adam", ema=0, weight_decay=0, gender_weight=2.0, age_scale=AGE_SCALES["years"])
    options.__dict__.update(age_loss="cross_entropy", age_sigma=2.0, age_error_weight=1.0)
    model, rows = small_model(), []
    compile_model(model, options, 0.001)
    batches = MixupGenerator(noise(17), Labels(np.arange(17) % 3 - 1, np.arange(17)), batch_size=8, shuffle=False)
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rows.append(dict(logs)))
    watching = [PlainValidationLoss(2.0), keep, *tensorboard(tmp_path)]
    model.fit(batches, validation_data=batches, epochs=2, shuffle=False, verbose=0, callbacks=watching)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "validation"))
    events.Reload()
    found = {tag: [float(make_ndarray(each.tensor_proto)) for each in events.Tensors(tag)]
             for tag in events.Tags()["tensors"]}  # fmt: skip
    names = [name.removeprefix("val_") for name in rows[0] if name.startswith("val_")]
    assert found == {f"epoch_{name}": pytest.approx([row[f"val_{name}"] for row in rows]) for name in names}


# ------------------------------------------------------------------------------------------------ masked labels


@pytest.mark.parametrize("augmentation", [NO_AUGMENTATION, CLASSIC], ids=["plain", "augmented"])
@pytest.mark.parametrize(("masked", "other"), [("gender", "age"), ("age", "gender")])
def test_a_head_without_labels_does_not_move_and_the_other_does(augmentation, masked, other):
    labels = {"gender": np.arange(16) % 2, "age": np.arange(16) * 6}
    labels[masked] = np.full(16, -1)
    model = small_model()
    before = {name: model.get_layer(f"pred_{name}").get_weights() for name in labels}
    batches = MixupGenerator(noise(16), Labels(**labels), batch_size=8, augmentation=augmentation)
    history = fit(model, batches, epochs=2)
    after = {name: model.get_layer(f"pred_{name}").get_weights() for name in labels}
    assert all(np.array_equal(old, new) for old, new in zip(before[masked], after[masked], strict=True))
    assert not any(np.array_equal(old, new) for old, new in zip(before[other], after[other], strict=True))
    assert np.isfinite(history["loss"]).all()


def test_a_face_without_a_label_moves_its_head_nowhere():
    # One step on 8 faces of which 4 have no gender: the gender head goes where the known 4 alone push it.
    labels = np.array([0, 1, 1, 0, -1, -1, -1, -1])
    images = np.repeat(noise(4, seed=1), 2, axis=0)[[0, 2, 4, 6, 1, 3, 5, 7]]  # the same features for batch norm
    steps = []
    for gender, rows in ((labels, np.arange(8)), (np.tile(labels[:4], 2), np.arange(8))):
        model = small_model()
        before = model.get_layer("pred_gender").get_weights()[0]
        fit(model, MixupGenerator(images, Labels(gender, np.full(8, 30)), rows, batch_size=8, shuffle=False))
        steps.append(model.get_layer("pred_gender").get_weights()[0] - before)
    assert np.abs(steps[1]).max() > 1e-4
    cosine = np.sum(steps[0] * steps[1]) / np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])
    assert cosine == pytest.approx(1, abs=1e-4)


# ---------------------------------------------------------------------------------------------------- callbacks


def keep_best(tmp_path, monitor="val_loss", less_is_better=True, patience=0, keep=0, state=None):
    written = []
    callback = KeepBest(
        tmp_path,
        lambda path, epoch, logs: written.append((path.name, epoch, logs)),
        monitor,
        less_is_better,
        patience,
        keep,
        state,
    )
    callback.set_model(SimpleNamespace(stop_training=False))
    return callback, written


def test_the_checkpoints_of_a_stopped_run_are_found_where_its_folder_is_now(tmp_path):
    state = {"best": 1.0, "waited": 0, "path": "was/b.hdf5", "epoch": 2, "written": ["was/a.hdf5", "was/b.hdf5"]}
    found = keep_best(tmp_path, state=state)[0].state
    assert found["path"] == str(tmp_path / "b.hdf5")
    assert found["written"] == [str(tmp_path / name) for name in ("a.hdf5", "b.hdf5")]


def run_epochs(callback, values, monitor="val_loss", first=0):
    """Ends an epoch with each value; returns the epochs (from 1) that were run before the callback ended the run."""
    for epoch, value in enumerate(values, first):
        callback.on_epoch_end(epoch, {"val_loss": 9.876, monitor: value})
        if callback.model.stop_training:
            return epoch + 1
    return first + len(values)


def test_a_checkpoint_is_written_for_each_improvement_of_a_loss(tmp_path):
    callback, written = keep_best(tmp_path)
    run_epochs(callback, [5.0, 5.0, 4.996, 6.0, 4.0, float("nan"), 4.5, 3.0])
    assert [name for name, _, _ in written] == [
        "weights.01-5.00.hdf5",
        "weights.03-5.00.hdf5",
        "weights.05-4.00.hdf5",
        "weights.08-3.00.hdf5",
    ]
    assert [epoch for _, epoch, _ in written] == [1, 3, 5, 8]
    assert written[2][2]["val_loss"] == 4.0
    assert callback.state == {
        "best": 3.0,
        "waited": 0,
        "path": str(tmp_path / "weights.08-3.00.hdf5"),
        "epoch": 8,
        "written": [str(tmp_path / name) for name, _, _ in written],
    }


def test_a_checkpoint_is_written_for_each_improvement_of_an_accuracy(tmp_path):
    callback, written = keep_best(tmp_path, "val_pred_gender_accuracy", less_is_better=False)
    run_epochs(callback, [0.5, 0.4, 0.5, 0.6, float("nan"), 0.55, 0.7], "val_pred_gender_accuracy")
    assert [(name, epoch) for name, epoch, _ in written] == [
        ("weights.01-9.88.hdf5", 1),  # named by the validation loss whatever decides
        ("weights.04-9.88.hdf5", 4),
        ("weights.07-9.88.hdf5", 7),
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_epoch_without_a_finite_value_is_never_the_best(tmp_path, value):
    callback, written = keep_best(tmp_path)
    run_epochs(callback, [value, value])
    assert written == [] and callback.state == {"best": None, "waited": 0, "path": None, "epoch": 0, "written": []}
    run_epochs(callback, [7.0], first=2)
    assert [name for name, *_ in written] == ["weights.03-7.00.hdf5"]


@pytest.mark.parametrize(("keep", "left"), [(0, 5), (1, 1), (2, 2), (9, 5)])
def test_the_last_checkpoints_of_the_run_are_kept_and_those_of_others_are_never_touched(keep, left, tmp_path):
    callback, _ = keep_best(tmp_path, keep=keep)
    callback.write = lambda path, epoch, logs: path.write_text("")
    other = tmp_path / "weights.01-0.50.hdf5"  # of an earlier run in the folder
    other.write_text("")
    for epoch, value in enumerate([5.0, 4.0, 4.5, 3.0, 2.0, 2.5, 1.0]):
        callback.on_epoch_begin(epoch)
        before = {path.name for path in tmp_path.iterdir()}
        callback.on_epoch_end(epoch, {"val_loss": value})
        assert before <= {path.name for path in tmp_path.iterdir()}  # a resume may need what the last epoch ended with
    callback.on_train_end()
    names = [f"weights.{epoch:02d}-{value}.hdf5" for epoch, value in
             ((1, "5.00"), (2, "4.00"), (4, "3.00"), (5, "2.00"), (7, "1.00"))]  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {other.name, *names[-left:]}


def test_the_validation_loss_is_of_the_faces_that_count():
    logs = {f"{side}pred_{head}_{LOSS_OF_EACH}": 0.5 for side in ("", "val_") for head in ("gender", "age")}
    logs |= {f"val_pred_age_{LOSS_OF_EACH}": 2.0, f"pred_gender_{LOSS_OF_EACH}": 0}
    logs |= {"pred_gender_accuracy": 0.0, "val_pred_gender_accuracy": 1}
    PlainValidationLoss(3.0, padding=1.5).on_epoch_end(0, logs)  # three faces, of which two count
    assert (logs["val_pred_gender_loss"], logs["val_pred_age_loss"], logs["val_loss"]) == (0.75, 3.0, 5.25)
    assert logs["pred_age_loss"] == 0.5 and logs["val_pred_gender_accuracy"] == 1
    assert np.isnan(logs["pred_gender_accuracy"])  # no face has the label


def test_patience_counts_the_epochs_since_the_best(tmp_path, capsys):
    callback, _ = keep_best(tmp_path, patience=3)
    assert run_epochs(callback, [5.0, 6.0, 6.0, 4.0, 7.0, 7.0, 7.0, 7.0]) == 7
    assert "no better val_loss in 3 epochs: the run ends" in capsys.readouterr().out


def test_patience_of_zero_never_ends_a_run(tmp_path):
    callback, written = keep_best(tmp_path)
    assert run_epochs(callback, [5.0, *[6.0] * 50]) == 51 and len(written) == 1


def test_a_resumed_run_goes_on_with_the_best_and_the_wait_of_the_stopped_one(tmp_path):
    values = [5.0, 6.0, 4.0, 7.0, 7.0, 3.0, 8.0, 8.0, 8.0, 1.0]
    whole, written = keep_best(tmp_path, patience=3)
    ended = run_epochs(whole, values)
    for stop in range(1, ended):
        first, before = keep_best(tmp_path, patience=3)
        run_epochs(first, values[:stop])
        state = json.loads(json.dumps(first.state))
        second, after = keep_best(tmp_path, patience=3, state=state)
        assert run_epochs(second, values[stop:], first=stop) == ended
        assert [name for name, *_ in before + after] == [name for name, *_ in written]
        assert second.state == whole.state


def test_a_run_whose_loss_is_no_number_is_stopped():
    callback = StopAtNan()
    callback.set_model(SimpleNamespace(stop_training=False))
    callback.on_train_batch_end(0, {"loss": 3.0})
    assert not callback.stopped and not callback.model.stop_training
    callback.on_train_batch_end(1, {"loss": float("nan")})
    assert callback.stopped and callback.model.stop_training


def test_a_resumed_training_ends_where_an_unbroken_one_does(tmp_path):
    def batches():
        return MixupGenerator(
            noise(20), Labels(np.arange(20) % 2, np.arange(20) * 5), batch_size=8, augmentation=CLASSIC, seed=2
        )

    def optimizer():
        rate = StepDecay(0.1, epochs=4, steps_per_epoch=3, warmup_steps=2)
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)

    unbroken = small_model(optimizer=optimizer())
    fit(unbroken, batches(), epochs=4)

    stopped = small_model(optimizer=optimizer())
    kept_beside = stopped_state(best={"best": 4.5}, arguments={"aug": True})
    resume = Resume(tmp_path, lambda: {name: kept_beside[name] for name in ("arguments", "split", "best", "history")})
    fit(stopped, batches(), epochs=2, callbacks=[resume])
    kept = read_resume(tmp_path)
    assert kept == kept_beside | {"epoch": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["resume.weights.h5"]

    resumed = small_model(seed=99, optimizer=optimizer())
    resumed.optimizer.build(resumed.trainable_variables)
    resumed.load_weights(resume.path)
    fit(resumed, batches(), epochs=4, first=kept["epoch"])
    for one, other in zip(resumed.get_weights(), unbroken.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert int(resumed.optimizer.iterations) == 12


def test_a_resume_file_that_is_damaged_is_refused(tmp_path):
    assert read_resume(tmp_path) == {}
    resume = Resume(tmp_path, stopped_state)
    resume.set_model(small_model())
    resume.on_epoch_end(0)
    assert read_resume(tmp_path) == stopped_state()
    for name, nonsense in {"epoch": "1", "best": None, "history": {}}.items():
        with h5py.File(resume.path, "r+") as file:
            seal(file, RESUME_ATTRIBUTE, json.dumps(stopped_state() | {name: nonsense}))
        with pytest.raises(ValueError, match=f"is damaged; --restart discards it and starts over: its {name} is no"):
            read_resume(tmp_path)
    os.truncate(resume.path, 3000)
    with pytest.raises(ValueError, match="is damaged; --restart discards it and starts over: "):
        read_resume(tmp_path)
    resume.model.save_weights(resume.path)  # whole, but with nothing of ours in it
    with pytest.raises(ValueError, match="is damaged"):
        read_resume(tmp_path)


def journal_of(folder, phase_ends=4, rows=None):
    journal = Journal(folder, 4, SimpleNamespace(state={"epoch": 1}), (9.0, 0.5), rows)
    journal.begin_phase(StepDecay(0.1, epochs=4, steps_per_epoch=2, warmup_steps=0), 77, phase_ends)
    return journal


def end_epoch(journal, epoch):
    """An epoch of two steps."""
    journal.set_params({"steps": 2})
    journal.set_model(SimpleNamespace(optimizer=SimpleNamespace(iterations=2 * (epoch + 1))))
    names = ("loss", "pred_age_mae", "pred_gender_accuracy")
    logs = {name: epoch + 0.5 for name in [*names, *(f"val_{name}" for name in names)]}
    journal.on_epoch_begin(epoch)
    for step in range(2):
        journal.on_train_batch_end(step, logs)
    journal.on_epoch_end(epoch, logs)


def test_the_journal_keeps_every_epoch_and_goes_on_after_a_stop(tmp_path, capsys):
    first = journal_of(tmp_path)
    end_epoch(first, 0)
    second = journal_of(tmp_path, rows=json.loads(json.dumps(first.rows)))
    end_epoch(second, 1)
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"] and [row["val_loss"] for row in rows] == ["0.5", "1.5"]
    np.testing.assert_allclose([float(row["learning_rate"]) for row in rows], [0.1, 0.02], rtol=1e-5)
    assert [row["trained_parameters"] for row in rows] == ["77", "77"]
    assert (tmp_path / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr()
    assert [line[:11] for line in said.out.splitlines()] == ["epoch   1/4", "epoch   2/4"] and not said.err
    assert "epoch   2/4  loss 1.500  val loss 1.500  age error 1.50" in said.out


def test_the_curve_marks_the_best_epoch_the_phases_and_what_one_answer_for_all_reaches(tmp_path, monkeypatch):
    names = ("loss", "pred_age_mae", "pred_gender_accuracy")
    values = {f"{prefix}{name}": 0.5 for prefix in ("", "val_") for name in names}
    rows = [{"epoch": epoch, "trained_parameters": count, **values} for epoch, count in ((1, 7), (2, 7), (3, 90))]
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *to, **how: (drawn.append(figure), save(figure, *to, **how)))
    save_training_curve(rows, tmp_path / "curve.png", 2, (9.0, math.nan))
    _, age, gender = drawn[0].axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in age.lines}
    assert lines["best checkpoint: epoch 2"][0] == [2, 2] and lines["one answer for all"][1] == [9, 9]
    assert lines["other layers are trained from here"][0] == [2.5, 2.5]
    assert "one answer for all" not in [line.get_label() for line in gender.lines]  # no labels, no answer
    for count in (1, 2, 3):
        save_training_curve(rows[:count], tmp_path / "curve.png", 1, (9.0, math.nan))
        assert all(tick == round(tick) for tick in drawn[-1].axes[0].get_xticks())  # there is no epoch 0.96


class Terminal(io.StringIO):
    """Says that it is one."""

    encoding = "utf-8"

    def isatty(self):
        return True


def test_on_a_terminal_the_epochs_of_a_phase_are_one_line_that_is_written_over(tmp_path, monkeypatch):
    monkeypatch.setattr("training.callbacks.save_training_curve", lambda *drawn: None)
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    journal = journal_of(tmp_path, phase_ends=3)
    for epoch in range(3):
        end_epoch(journal, epoch)
    journal.on_train_end()
    written = terminal.getvalue()
    assert written.count("\n") == 1 and written.endswith("\n")
    shown = written.split("\r")
    assert "epoch 1/4  val loss 0.500  val age error 0.50" in written
    assert "100%" in shown[-1] and "epoch 3/4  val loss 2.500  val age error 2.50" in shown[-1]
    journal.begin_phase(journal.rate, 78, 4)  # the next phase has a line of its own
    end_epoch(journal, 3)
    journal.on_train_end()
    assert terminal.getvalue().count("\n") == 2 and len(journal.rows) == 4
