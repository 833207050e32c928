"""Transfer learning: what a frozen phase leaves as it is, what the next one moves, and runs in two phases."""

import csv
import json
import shutil
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
from conftest import give_every_weight_a_value, micro_network, noise, stopped_state, training_options, write_database
from test_applications import vggface_resnet50, vggface_vgg16, write_keras_2_weights

import train
from age_gender.description import KEY, Description
from age_gender.labels import AGE_SCALES
from networks.applications import application
from networks.backbones import STAGES, build
from networks.checkpoints import choose, inspect, load, save, seal
from training import schedules
from training.callbacks import Resume, train_last_stages
from training.data import load_data, make_batches, split_of
from training.resume import RESUME_ATTRIBUTE, RESUME_FILE
from training.run import compile_model
from utils import open_database
from wide_resnet import wide_resnet

HEADS = ["pred_gender", "pred_age"]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A checkpoint of the micro network."""
    path = tmp_path_factory.mktemp("earlier") / "earlier.hdf5"
    save(give_every_weight_a_value(micro_network(32)), path, Description("wide_resnet", {}, 32, split={"seed": 0}))
    return path


def weights_by_layer(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def moved(before, after):
    """The layers of which any weight, the statistics of batch norm included, is not what it was bit for bit."""
    return {name for name, old in before.items() if not all(map(np.array_equal, old, after[name]))}


def history(folder):
    return list(csv.DictReader((folder / "history.csv").read_text().splitlines()))


# ------------------------------------------------------------------------------------------------- what is trained


def trained(model):
    return {layer.name for layer in model.layers if layer.trainable_weights}


def test_the_last_stages_are_those_of_the_network():
    model = wide_resnet(32, 10, 1)
    everything = trained(model)
    for last, begins in ((0, ()), (1, ("group3", "final")), (2, ("group2", "group3", "final"))):
        train_last_stages(model, STAGES["wide_resnet"], last)
        assert trained(model) == {name for name in everything if name.startswith(("pred_", *begins))}
    for last in (3, None):
        train_last_stages(model, STAGES["wide_resnet"], last)
        assert trained(model) == everything
    with pytest.raises(ValueError, match="wide_resnet_10_1 has 3 stages; received 4"):
        train_last_stages(model, STAGES["wide_resnet"], 4)


def test_a_frozen_network_keeps_every_bit_and_its_batch_norms_infer(faces, tmp_path):
    """Real layers, plain SGD: the base keeps its bits in the first phase, and loses them all in the second."""
    options = training_options("-i", faces, "--depth", "10", "--width", "1", "--dropout", "0.3")
    batches, _ = make_batches(load_data(options), options)
    said = Description("wide_resnet", {"depth": 10, "width": 1}, 32)
    model = give_every_weight_a_value(build(said, dropout=0.3, weight_decay=0.1))
    start = weights_by_layer(model)

    def make_trainable(last):
        train_last_stages(model, STAGES["wide_resnet"], last)
        compile_model(model, options, 0.1)
        model.run_eagerly = True  # a single step each

    make_trainable(0)
    assert len(model.losses) == 2  # what is frozen is not penalised either
    model.train_on_batch(*batches[0])
    frozen = weights_by_layer(model)
    assert moved(start, frozen) == set(HEADS)
    save(model, tmp_path / "frozen.hdf5", said)
    assert not moved(frozen, weights_by_layer(load(tmp_path / "frozen.hdf5")[0]))
    make_trainable(1)
    model.train_on_batch(*batches[0])
    tuned = weights_by_layer(model)
    last = {name for name in start if name.startswith(("group3", "final", "pred"))}
    assert moved(frozen, tuned) == last
    make_trainable(None)
    model.train_on_batch(*batches[0])
    assert moved(tuned, weights_by_layer(model)) == set(start)


def test_phases_have_their_own_epochs_rates_and_schedules():
    def phases(*options):
        chosen = training_options("-i", "f.mat", "--model", "vgg16", "--nb_epochs", "10", "--lr", "0.4", *options)
        return chosen, [tuple(phase[1:]) for phase in schedules.phases(chosen)]

    assert phases()[1] == [(0, 10, None, 0.4)]
    assert phases("--unfreeze_stages", "2")[1] == [(0, 10, 2, 0.4)]
    assert phases("--freeze_epochs", "10")[1] == [(0, 10, 0, 0.4)]
    chosen, (heads, rest) = phases("--freeze_epochs", "4", "--unfreeze_stages", "1", "--schedule", "cosine")
    assert (heads, rest) == ((0, 4, 0, 0.4), (4, 10, 1, pytest.approx(0.04)))
    assert phases("--freeze_epochs", "4", "--fine_tune_lr", "0.3")[1][1] == (4, 10, None, 0.3)
    for phase, epochs, highest in zip(schedules.phases(chosen), (4, 6), (0.4, 0.04), strict=True):
        rate = schedules.learning_rate("cosine", phase, 10)
        assert (rate.decay_steps + rate.warmup_steps, rate.warmup_steps) == (10 * epochs, epochs)
        assert float(rate(epochs)) == pytest.approx(highest, rel=1e-2) and float(rate(10 * epochs - 1)) < 0.01 * highest


# ------------------------------------------------------------------------------------------------------------ runs


def numbers(folder):
    return np.array([[float(v) for name, v in row.items() if name != "seconds"] for row in history(folder)])


def test_a_run_with_everything_is_one_history_and_ends_the_same_wherever_it_was_stopped(
    faces, earlier, tmp_path, quick_runs, monkeypatch, capsys
):
    """Two phases, dropout, averaged weights, a teacher, mixed and mirrored faces, an optimiser with a memory.

    Stops after each of the first epochs: within the first phase, at its end, within the second, at the very end.
    """
    keep, seen = Resume.on_epoch_end, {}

    def keep_and_copy(self, epoch, logs=None):
        keep(self, epoch, logs)
        if self.path.parent.name == "whole":
            seen[epoch + 1] = weights_by_layer(self.model)
            shutil.copytree(self.path.parent, tmp_path / str(epoch + 1))
        if self.path.parent.name == "stopped" and epoch == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Resume, "on_epoch_end", keep_and_copy)
    recipe = tmp_path / "everything.args"
    recipe.write_text(
        f"""# A recipe, with all that a training can have
        --input {faces} --validation_split 0.2 --test_split 0.1 --aug strong --mirror --batch_size 16
        --weights {earlier} --freeze_epochs 2 --unfreeze_stages 2 --fine_tune_lr 0.05  # two phases
        --teacher {earlier}
        --opt adamw --lr 0.2 --ema 0.7 --schedule cosine
        --nb_epochs 50
        """,
        encoding="utf-8",
    )
    words = ["--nb_epochs", "4", "--patience", "9", f"@{recipe}"]
    whole = tmp_path / "whole"
    assert train.main([*words, "--output_dir", str(whole)]) == 0
    said = capsys.readouterr().out
    assert "earlier.hdf5: the weights of 8 of 8 layers; new: none" in said
    assert "epochs 1 to 2: the heads on a frozen network, 721 parameters" in said
    assert "epochs 3 to 4: the last 2 stages and the heads, " in said

    start = weights_by_layer(load(earlier)[0])
    assert moved(start, seen[1]) == moved(start, seen[2]) == set(HEADS)
    assert moved(seen[2], seen[3]) == {"group2_conv", "group2_bn", "group3_conv", "group3_bn", *HEADS}
    rows = history(whole)
    assert [row["epoch"] for row in rows] == list("1234")
    trained_parameters = [int(row["trained_parameters"]) for row in rows]
    assert trained_parameters[:2] == [7 * 103] * 2 and len(set(trained_parameters[2:])) == 1
    assert trained_parameters[2] > trained_parameters[0]
    assert float(rows[3]["learning_rate"]) < float(rows[2]["learning_rate"]) <= 0.05
    kept = inspect(choose(whole))
    assert kept.training["arguments"]["freeze_epochs"] == 2 and kept.training["start"]["split"] == {"seed": 0}
    assert (kept.image_size, kept.mirror, kept.split["test_split"]) == (32, True, 0.1)
    assert kept.training["arguments"]["teacher"] == [str(earlier)]
    assert kept.calibration.ages == 8 == len(load_data(training_options(*words)).validation)

    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train.main([*words, "--output_dir", "stopped"])
    assert "stopped after 1 whole epochs; --resume goes on at epoch 2" in capsys.readouterr().out
    for more, message in (([], "--resume continues it, --restart discards it"), (["--depth", "10"], "another --depth")):
        with pytest.raises(SystemExit):
            train.main([*words, *more, *["--resume"] * bool(more), "--output_dir", "stopped"])
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert train.main(["--resume", "--output_dir", "stopped", *words]) == 0  # with the recipe, which says the same
    # As if the next epoch were the second, and last, of those that it may wait; a phase that begins waits anew.
    for stop, epochs in ((3, 4), (2, 4)):
        shutil.copytree(tmp_path / str(stop), waiting := tmp_path / f"waiting_{stop}")
        with h5py.File(waiting / RESUME_FILE, "r+") as file:
            state = json.loads(file.attrs[RESUME_ATTRIBUTE])
            state["best"] |= {"best": -9.0, "waited": 1}
            state["arguments"] |= {"patience": 2, "nb_epochs": 9}
            seal(file, RESUME_ATTRIBUTE, json.dumps(state))
        assert train.main(["--resume", "--output_dir", str(waiting)]) == 0
        assert len(history(waiting)) == epochs and "no better val_loss in 2 epochs" in capsys.readouterr().out
    monkeypatch.chdir(faces.parent.parent)
    for stop in (2, 3, 4):
        assert train.main(["--resume", "--output_dir", str(tmp_path / str(stop))]) == 0
    for folder in ("stopped", "2", "3", "4"):
        np.testing.assert_allclose(numbers(whole), numbers(tmp_path / folder), rtol=1e-3, atol=1e-3)
        assert not (tmp_path / folder / RESUME_FILE).exists()


def never(*given, **named):
    raise AssertionError("something slow was done before the refusal")


def test_what_can_be_known_is_refused_before_teachers_are_asked_and_the_network_is_built(
    faces, earlier, tmp_path, monkeypatch
):
    monkeypatch.setattr("training.teachers.open_model", never)
    monkeypatch.setattr("training.run.build", never)
    run = ["--teacher", str(earlier), "--output_dir", str(tmp_path / "run")]
    genders = write_database(tmp_path / "genders.mat", noise(40, 32), age=np.full(40, -1), gender=np.arange(40) % 2)
    with pytest.raises(ValueError, match="--monitor val_pred_age_mae: no validation face has that label"):
        train.main(["-i", str(genders), "--monitor", "val_pred_age_mae", *run])
    with pytest.raises(ValueError, match="is a wide_resnet, not a vgg16: --model wide_resnet"):
        train.main(["-i", str(faces), "--model", "vgg16", "--weight_file", str(earlier), *run])
    save_as(earlier, tmp_path / "grouped.hdf5", age_scale=AGE_SCALES["adult_child"])
    with pytest.raises(ValueError, match=r"grouped\.hdf5: the scale adult_child cannot be folded onto years"):
        train.main(["-i", str(faces), "--teacher", str(tmp_path / "grouped.hdf5"), *run[2:]])

    options = training_options("-i", faces, *run)
    split = split_of(load_data(options), options)
    with h5py.File(tmp_path / "run" / RESUME_FILE, "w") as file:
        file.attrs[RESUME_ATTRIBUTE] = json.dumps(stopped_state(arguments=options.plain(), split=split))
    write_database(faces, noise(40, 32), age=np.arange(40), gender=np.arange(40) % 2)  # other labels, the same name
    with pytest.raises(ValueError, match="not those that the stopped run was trained on; --restart discards it"):
        train.main(["--resume", "--output_dir", str(tmp_path / "run")])


def save_as(path, other, **changed):
    """Copies a checkpoint that says something else of itself."""
    shutil.copy(path, other)
    with h5py.File(other, "r+") as file:
        seal(file, KEY, replace(inspect(path), **changed).to_json())


def test_the_best_of_both_phases_is_kept_and_patience_waits_for_the_second(
    faces, earlier, tmp_path, quick_runs, capsys
):
    """The heads alone improve at first; a rate of nothing then improves nothing, and the second phase ends early."""
    run = tmp_path / "run"
    options = [
        "-i",
        str(faces),
        "--weight_file",
        str(earlier),
        "--freeze_epochs",
        "4",
        "--nb_epochs",
        "9",
        "--seed",
        "0",
    ]
    options += ["--batch_size", "32", "--lr", "1e-30", "--patience", "2", "--validation_split", "0.2"]
    options += ["--output_dir", str(run)]
    assert train.main(options) in (0, 1)
    rows = history(run)
    best = min(range(len(rows)), key=lambda row: float(rows[row]["val_loss"]))
    assert choose(run).name.startswith(f"weights.{best + 1:02d}-")
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))  # the first phase ran to its end
    assert 6 <= len(rows) < 9 and "no better val_loss in 2 epochs" in capsys.readouterr().out


def test_the_validation_loss_of_both_phases_is_that_of_the_faces_whatever_decays(faces, tmp_path, plain_runs):
    """Keras counts the L2 penalty of trainable kernels alone: with it the phases could not be compared."""
    network = {"depth": 10, "width": 1}
    earlier = tmp_path / "earlier.hdf5"
    save(wide_resnet(32, **network), earlier, Description("wide_resnet", network, 32, split={"seed": 0}))
    options = [
        "-i",
        str(faces),
        "--weight_file",
        str(earlier),
        "--depth",
        "10",
        "--width",
        "1",
        "--weight_decay",
        "0.1",
    ]
    options += ["--freeze_epochs", "1", "--nb_epochs", "2", "--lr", "1e-9", "--gender_weight", "3"]
    assert train.main([*options, "--validation_split", "0.2", "--output_dir", str(tmp_path / "run")]) in (0, 1)
    for row in history(tmp_path / "run"):
        gender, age, both = (float(row[f"val_{name}"]) for name in ("pred_gender_loss", "pred_age_loss", "loss"))
        assert both == pytest.approx(3 * gender + age, rel=1e-5)
        assert float(row["loss"]) > 3 * float(row["pred_gender_loss"]) + float(row["pred_age_loss"]) + 0.01


def test_nothing_random_is_frozen(faces, tmp_path, plain_runs):
    earlier = tmp_path / "earlier.hdf5"
    save(wide_resnet(32, 10, 1), earlier, Description("wide_resnet", {"depth": 10, "width": 1}, 32, split={"seed": 0}))
    options = ["-i", str(faces), "--weight_file", str(earlier), "--depth", "10", "--width", "2", "--freeze_epochs", "1"]
    with pytest.raises(ValueError, match=r"is another network: of this one 15 layers beside the heads would be new"):
        train.main([*options, "--nb_epochs", "2", "--output_dir", str(tmp_path / "run")])


def test_a_loss_that_is_no_number_ends_the_run_in_its_phase(faces, earlier, tmp_path, quick_runs, capsys):
    options = ["-i", str(faces), "--weight_file", str(earlier), "--freeze_epochs", "2", "--nb_epochs", "4"]
    assert train.main([*options, "--lr", "1e38", "--output_dir", str(tmp_path / "run")]) == 1
    assert "the loss is not a number in epoch" in capsys.readouterr().err
    assert len(history(tmp_path / "run")) <= 2


def test_weights_of_another_network_or_for_another_are_refused(faces, earlier, tmp_path, quick_runs):
    def error(*options):
        with pytest.raises((ValueError, FileNotFoundError)) as raised:
            train.main(["-i", str(faces), *options, "--output_dir", str(tmp_path / "run")])
        return str(raised.value)

    assert "is a wide_resnet, not a vgg16: --model wide_resnet" in error(
        "--model", "vgg16", "--weight_file", str(earlier)
    )
    vgg16 = write_keras_2_weights(tmp_path / "any_name.h5", vggface_vgg16())
    resnet50 = write_keras_2_weights(tmp_path / "other.h5", vggface_resnet50())
    assert "has the weights of a vgg16, not of a wide_resnet: --model vgg16" in error("--weight_file", str(vgg16))
    said = error("--model", "vgg16", "--weight_file", str(resnet50))
    assert "has the weights of a resnet50, not of a vgg16: --model resnet50" in said
    said = error("--model", "vgg16", "--weight_file", "data/rcmalli_vggface_tf_notop_vgg16.h5")
    assert "is not there: fetch https://github.com/rcmalli/keras-vggface/releases/" in said
    assert "/rcmalli_vggface_tf_notop_vgg16.h5 and name its path" in said


def test_a_network_is_trained_saved_and_loaded_whatever_keras_has_numbered(faces, tmp_path, plain_runs, capsys):
    """The real thing: from an earlier checkpoint, in two phases, under the command line of users.

    It is loaded once beside other networks and once as in a fresh process, in which Keras numbers layers from 0.
    """
    earlier, run = tmp_path / "earlier.hdf5", tmp_path / "run"
    source = give_every_weight_a_value(application("mobilenet_v3_small", 32))
    how = {"seed": 5, "validation_split": 0.1, "databases": [open_database(faces).fingerprint()]}  # as 0.5.0 said it
    save(source, earlier, Description("mobilenet_v3_small", {}, 32, split=how))
    options = ["-i", str(faces), "--model", "mobilenet_v3_small", "--weight_file", str(earlier), "--freeze_epochs", "1"]
    options += ["--nb_epochs", "2", "--batch_size", "36", "--opt", "adam", "--output_dir", str(run)]
    assert train.main(options) == 0
    assert "of the faces that validate or test this run have trained it" in capsys.readouterr().out
    assert [int(row["trained_parameters"]) for row in history(run)] == [577 * 103, source.count_params() - 12112]
    path = choose(run)
    said = inspect(path)
    assert said.network == "mobilenet_v3_small" and said.arguments == {}
    beside_others = [np.asarray(output) for output in load(path)[0](noise(3, 32))]
    keras.utils.clear_session()
    for one, other in zip(load(path)[0](noise(3, 32)), beside_others, strict=True):
        np.testing.assert_array_equal(np.asarray(one), other)
    assert json.loads(json.dumps(said.training["arguments"]))["weights"] == str(earlier)
