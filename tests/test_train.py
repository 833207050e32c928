"""What train.py makes of its options: rates, the network and its loss, and runs that average, stop and go on."""

import csv
import json
import shutil

import h5py
import keras
import numpy as np
import pytest
from conftest import noise, write_database

import train
from age_gender.description import Description
from mixup_generator import AUGMENTATIONS
from networks import models
from networks.models import inspect
from training.losses import age_loss
from training.resume import RESUME_ATTRIBUTE, RESUME_FILE
from training.schedules import StepDecay, WarmCosine
from wide_resnet import two_heads

TINY = ["--depth", "10", "--width", "1"]


def parsed(*options, path="faces.mat"):
    return train.parse(["-i", str(path), *options])[0]


# -------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ([], {"aug": "none", "opt": "sgd", "lr": 0.1, "weight_decay": 5e-4, "schedule": "steps", "ema": None}),
        ([], {"test_split": 0.0, "stages": 3, "stem_stride": 1, "mirror": False, "gender_weight": 1.0}),
        ([], {"age_loss": "cross_entropy", "age_sigma": 2.0, "age_error_weight": 1.0}),
        (["--aug"], {"aug": "classic", "mixup_alpha": 0.2}),
        (["--aug", "gentle"], {"mixup_alpha": 0.0}),
        (["--aug", "gentle", "--mixup_alpha", "0.4"], {"mixup_alpha": 0.4}),
        (["--aug", "--mixup_alpha", "0"], {"mixup_alpha": 0.0}),
        (["--aug", "--seed", "4"], {"aug": "classic", "seed": 4}),
        (["--aug", "strong"], {"aug": "strong"}),
        (["--aug", "none"], {"aug": "none"}),
        (["--opt", "adam"], {"lr": 0.001, "weight_decay": 5e-4}),
        (["--opt", "adamw"], {"lr": 0.002, "weight_decay": 0.02}),
        (["--opt", "adamw", "--lr", "0.5", "--weight_decay", "0"], {"lr": 0.5, "weight_decay": 0}),
        (["--weight_decay", "0"], {"weight_decay": 0}),
    ],
)
def test_options_mean_what_the_help_says(options, chosen):
    args = vars(parsed(*options))
    assert {name: args[name] for name in chosen} == chosen


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--aug", "weak"], "argument --aug: invalid choice: 'weak'"),
        (["--stages", "5"], "argument --stages: invalid choice: 5"),
        (["--stem_stride", "3"], "argument --stem_stride: invalid choice: 3"),
        (["--ema", "1"], "argument --ema: 1.0 is not strictly between 0 and 1"),
        (["--test_split", "0.95"], "argument --test_split: 0.95 is not between 0 and 0.9"),
        (["--age_sigma", "0"], "argument --age_sigma: 0.0 is not strictly between 0 and 50"),
        (["--age_error_weight", "0.2"], "--age_error_weight is for --age_loss dldl_v2; this is cross_entropy"),
        (["--age_loss", "ldl", "--age_error_weight", "1"], "--age_error_weight is for --age_loss dldl_v2; this is ldl"),
        (["--age_sigma", "3"], "--age_sigma is for --age_loss ldl and dldl_v2; cross_entropy has hard labels"),
        (["--age_spread"], "--age_spread is for --age_loss ldl and dldl_v2; cross_entropy has hard labels"),
        (["--split", "part", "--fold", "1"], "--split part takes the parts named train, valid and test, --fold those"),
        (
            ["--fold", "1", "--test_split", "0.1"],
            "--fold keeps that fold for the test, --test_split a share of all faces",
        ),
        (["--split", "fold"], "argument --split: invalid choice: 'fold'"),
        (["--gender_weight", "-1"], "argument --gender_weight: -1.0 is not between 0 and 100"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message, capsys):
    with pytest.raises(SystemExit):
        parsed(*options)
    assert message in capsys.readouterr().err.splitlines()[-1]


EVERY_OPTION = [
    *["--test_split", "0.2", "--aug", "strong", *TINY, "--stages", "4", "--stem_stride", "2", "--mirror"],
    *["--age_loss", "dldl_v2", "--age_sigma", "3", "--age_error_weight", "0.5", "--gender_weight", "2"],
    *["--opt", "adamw", "--schedule", "cosine", "--ema", "0.9"],
]


@pytest.mark.parametrize("options", [[], ["--aug"], EVERY_OPTION])
def test_a_resumed_run_has_the_options_of_the_stopped_one(options, tmp_path, capsys):
    args = parsed(*options)
    with h5py.File(tmp_path / RESUME_FILE, "w") as file:
        file.attrs[RESUME_ATTRIBUTE] = json.dumps({"arguments": train.plain(args), "epoch": 1})
    resume = ["--resume", "--output_path", str(tmp_path)]
    resumed, stopped = train.parse(resume)
    assert train.plain(resumed) == train.plain(args) and stopped["epoch"] == 1
    assert train.plain(train.parse([*resume, *options])[0]) == train.plain(args)  # saying it again does no harm
    for name, *other in (["aug", "none" if options else "strong"], ["opt", "adam"], ["test_split", "0.3"]):
        with pytest.raises(SystemExit):
            train.parse([*resume, f"--{name}", *other])
        assert f"the stopped run had another --{name}; leave it out" in capsys.readouterr().err


def test_a_run_of_a_version_with_other_options_is_refused(tmp_path):
    old = {name: value for name, value in train.plain(parsed("--aug")).items() if name != "test_split"}
    with h5py.File(tmp_path / RESUME_FILE, "w") as file:
        file.attrs[RESUME_ATTRIBUTE] = json.dumps({"arguments": {**old, "aug": True}, "epoch": 1})
    with pytest.raises(ValueError, match="stopped in a version with other options; --restart discards it"):
        train.parse(["--resume", "--output_path", str(tmp_path)])


def test_the_choices_are_those_that_the_modules_know():
    assert train.AUGMENTATION_NAMES == tuple(AUGMENTATIONS)
    assert {name: augmentation.mixup_alpha for name, augmentation in AUGMENTATIONS.items()} == train.MIXUP_ALPHAS
    for name in train.AGE_LOSS_NAMES:
        assert callable(age_loss(name, 2.0, 1.0))


# -------------------------------------------------------------------------------------- rate, network and loss


def test_the_schedule_warms_up_over_a_tenth_of_the_run_and_500_steps_at_most():
    for options, kind in (([], StepDecay), (["--schedule", "cosine"], WarmCosine)):
        args = parsed("--nb_epochs", "10", "--lr", "0.4", *options)
        for steps_per_epoch, warmup in ((10, 10), (1000, 500)):
            rate = train.schedule(args, steps_per_epoch)
            assert type(rate) is kind and rate.warmup_steps == warmup
            assert float(rate(warmup - 1)) == pytest.approx(0.4)
    assert float(train.schedule(args, 10)(99)) < 0.4 * 1e-3  # the cosine's last step of the whole run


def built(*options):
    args = parsed(*TINY, *options)
    arguments = {name: getattr(args, name) for name in ("depth", "width", "stages", "stem_stride")}
    return train.build_model(Description("wide_resnet", arguments, 32), args, 0.1), args


@pytest.mark.parametrize(("opt", "decay"), [("sgd", None), ("adam", None), ("adamw", None), ("adamw", "0.5")])
def test_weight_decay_is_a_penalty_or_decoupled_but_never_both(opt, decay):
    model, args = built("--opt", opt, *(["--weight_decay", decay] if decay else []))
    kernels = [weight for weight in model.trainable_variables if weight.path.endswith("kernel")]
    if opt != "adamw":
        squares = sum(np.sum(np.asarray(kernel, np.float64) ** 2) for kernel in kernels)
        assert float(sum(model.losses)) == pytest.approx(2.5e-4 * squares, rel=1e-5)
    else:
        assert model.losses == []
    before = [np.asarray(weight) for weight in model.trainable_variables]
    model.optimizer.apply([np.zeros_like(weight) for weight in before], model.trainable_variables)
    shrunk = 1 - 0.1 * (args.weight_decay if opt == "adamw" else 0)  # the rate is 0.1
    for variable, old in zip(model.trainable_variables, before, strict=True):
        factor = shrunk if variable.path.endswith("kernel") else 1
        np.testing.assert_allclose(np.asarray(variable), factor * old, rtol=1e-6)


def test_thresholds_of_the_ordinal_head_do_not_decay():
    args = parsed(*TINY, "--opt", "adamw", "--age_loss", "coral")
    arguments = {**{name: getattr(args, name) for name in ("depth", "width", "stages", "stem_stride")}, "ordinal": True}
    model = train.build_model(Description("wide_resnet", arguments, 32), args, 0.1)
    threshold = model.get_layer("pred_age").threshold
    before = np.asarray(threshold)
    variables = model.trainable_variables
    model.optimizer.apply([np.zeros(weight.shape, np.float32) for weight in variables], variables)
    np.testing.assert_array_equal(np.asarray(threshold), before)


def test_averages_are_those_of_the_momentum_asked_for():
    for opt in train.DEFAULT_RATES:
        optimizer = built("--opt", opt, "--ema", "0.75")[0].optimizer
        assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.75)
    assert not built()[0].optimizer.use_ema


def micro_network(image_size, depth, width, stages, stem_stride, weight_decay=0.0, dropout=0.0, **heads):
    """Stands for the wide residual network in runs of which the network does not matter."""
    image = keras.Input((image_size, image_size, 3), dtype="uint8")
    x = keras.layers.Conv2D(8, 3, strides=4, name="stem")(keras.layers.Rescaling(1 / 127.5, -1.0)(image))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(x))
    return keras.Model(image, two_heads(keras.layers.GlobalAveragePooling2D()(x), **heads), name="micro")


def test_the_loss_is_the_age_loss_and_the_weighted_gender_loss(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "wide_resnet", micro_network)
    images, gender, age = noise(6, 32), np.eye(2)[[0, 1, 1, 0, 1, 0]], np.eye(101)[[5, 30, 99, 60, 18, 44]]
    for options, loss in ((["--age_loss", "ldl", "--age_sigma", "4"], ("ldl", 4, 0)),
                          (["--age_loss", "dldl_v2", "--age_error_weight", "0.5"], ("dldl_v2", 2, 0.5)),
                          ([], ("cross_entropy", 2, 0))):  # fmt: skip
        model, _ = built(*options, "--gender_weight", "3")
        model.run_eagerly = True
        p_gender, p_age = map(np.asarray, model(images))
        of_age = np.asarray(age_loss(*loss)(np.float32(age), p_age)).mean()
        expected = of_age - 3 * np.log((gender * p_gender).sum(axis=1)).mean()
        assert model.test_on_batch(images, [gender, age])[0] == pytest.approx(expected, rel=1e-4)


# ----------------------------------------------------------------------------------------------------------- runs


def test_a_run_that_averages_ends_the_same_wherever_it_was_stopped(tmp_path, monkeypatch):
    """A stop leaves what was kept after the last whole epoch: here after the first, and after the very last."""
    from training.callbacks import Resume

    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.arange(40) * 2, gender=np.arange(40) % 2)
    keep, build_model, built = Resume.on_epoch_end, train.build_model, []

    def keep_and_copy(self, epoch, logs=None):
        keep(self, epoch, logs)
        if self.path.parent.name == "whole":
            shutil.copytree(self.path.parent, tmp_path / str(epoch + 1))

    monkeypatch.setitem(models.BACKBONES, "wide_resnet", micro_network)
    monkeypatch.setattr(train, "build_model", lambda *given: built.append(build_model(*given)) or built[-1])
    monkeypatch.setattr(train, "tensorboard", lambda folder: [])
    monkeypatch.setattr("training.callbacks.save_training_curve", lambda rows, path: None)
    monkeypatch.setattr(Resume, "on_epoch_end", keep_and_copy)
    options = ["--opt", "adamw", "--ema", "0.8", "--nb_epochs", "4", "--schedule", "cosine", "--aug", "strong", *TINY]
    options += ["--lr", "0.1", "--batch_size", "8", "--validation_split", "0.2", "--test_split", "0.1", "--mirror"]
    assert train.main(["-i", str(faces), *options, "--output_path", str(tmp_path / "whole")]) == 0

    def history(folder):
        rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
        return np.array([[float(value) for name, value in row.items() if name != "seconds"] for row in rows])

    for stop in (1, 4):
        assert train.main(["--resume", "--output_path", str(tmp_path / str(stop))]) == 0
        np.testing.assert_allclose(history(tmp_path / "whole"), history(tmp_path / str(stop)), rtol=1e-3, atol=1e-3)
        if stop < 4:  # after the last epoch nothing is left to do but the report
            for one, other in zip(built[0].get_weights(), built[-1].get_weights(), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    kept = inspect(next((tmp_path / "whole").glob("weights.*")))
    assert (kept.image_size, kept.mirror, kept.split["test_split"]) == (32, True, 0.1)


@pytest.fixture
def quick_runs(monkeypatch):
    """Runs whose network does not matter, without TensorBoard and pictures."""
    monkeypatch.setitem(models.BACKBONES, "wide_resnet", micro_network)
    monkeypatch.setattr(train, "tensorboard", lambda folder: [])
    monkeypatch.setattr("training.callbacks.save_training_curve", lambda rows, path: None)


def test_a_run_starts_from_the_weights_of_another_and_says_where_it_comes_from(tmp_path, quick_runs, capsys):
    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.arange(40) * 2, gender=np.arange(40) % 2)
    still = ["-i", str(faces), "--nb_epochs", "1", "--validation_split", "0.2", "--lr", "1e-30", *TINY]
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert train.main([*still, "--test_split", "0.1", "--output_path", str(first)]) == 0
    options = ["--test_split", "0.1", "--weights", str(first), "--seed", "0", "--weight_decay", "0"]
    assert train.main([*still, *options, "--output_path", str(second)]) == 0
    said = capsys.readouterr().out
    assert f"{models.choose(first, '')}: the weights of 4 of 4 layers; new: none\n" in said
    assert "another split" not in said
    # Only batch norm's statistics have moved at such a rate.
    models_of = [models.load(models.choose(folder, ""))[0] for folder in (first, second)]
    for one, other in zip(*(model.trainable_variables for model in models_of), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    (one, other) = (inspect(models.choose(folder, "")) for folder in (first, second))
    assert other.training["start"] == {**one.training, "split": one.split}
    assert other.training["arguments"]["weights"] == str(models.choose(first, ""))
    assert one.training["arguments"]["weights"] is None

    options = ["--test_split", "0.3", "--weights", str(models.choose(second, "")), "--output_path", str(third)]
    assert train.main([*still, *options]) == 0
    assert "another split: faces that validate or test this run may have trained it" in capsys.readouterr().out
    assert inspect(models.choose(third, "")).training["start"]["start"]["arguments"]["weights"] is None


def test_teachers_are_averaged_and_asked_about_the_training_faces_alone(tmp_path, quick_runs, capsys):
    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.arange(40) * 2, gender=np.arange(40) % 2)
    run = ["-i", str(faces), "--nb_epochs", "1", "--test_split", "0.2", *TINY]
    first, second, pupil = (tmp_path / name for name in ("first", "second", "pupil"))
    for folder, seed in ((first, "0"), (second, "1")):
        assert train.main([*run, "--seed", seed, "--output_path", str(folder)]) == 0
    args, _ = train.parse(["--teacher", str(first), str(second), *run])
    data = train.load_data(args)
    capsys.readouterr()
    gender, age = train.ask_teachers(data, args)
    said = capsys.readouterr().out
    assert said.count("another split") == 1  # the second one's, which had another seed
    teachers = [models.load(models.choose(folder, ""))[0] for folder in (first, second)]
    answers = [model.predict(data.image[data.training], verbose=0) for model in teachers]
    np.testing.assert_allclose(gender[data.training], (answers[0][0] + answers[1][0]) / 2, atol=1e-6)
    np.testing.assert_allclose(age[data.training], (answers[0][1] + answers[1][1]) / 2, atol=1e-6)
    unasked = np.r_[data.validation, data.test]
    assert len(unasked) and not gender[unasked].any() and not age[unasked].any()

    options = ["--teacher", str(first), "--teacher_weight", "0.75", "--output_path", str(pupil)]
    assert train.main([*run, *options]) == 0
    kept = inspect(models.choose(pupil, ""))
    one = inspect(models.choose(first, ""))
    assert kept.training["teachers"] == [{**one.training, "split": one.split}]
    assert (kept.training["arguments"]["teacher"], kept.training["arguments"]["teacher_weight"]) == (
        *([str(models.choose(first, ""))], 0.75),
    )
    batches, _ = train.make_batches(data, args, (gender, age))
    _, (_, mixed), (_, known) = batches[0]
    assert known.all() and np.all((mixed > 0).sum(axis=1) > 2)


def test_a_resumed_run_keeps_its_first_weights_and_teacher_though_its_folder_has_newer_ones(tmp_path, quick_runs):
    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.arange(40) * 2, gender=np.arange(40) % 2)
    folder, run = tmp_path / "run", ["-i", str(faces), *TINY]
    assert train.main([*run, "--nb_epochs", "1", "--output_path", str(folder)]) == 0
    first = models.choose(folder, "")
    again = ["--weights", str(folder), "--teacher", str(folder), "--output_path", str(folder)]
    args, _ = train.parse([*run, "--nb_epochs", "3", *again])
    with h5py.File(folder / RESUME_FILE, "w") as file:
        file.attrs[RESUME_ATTRIBUTE] = json.dumps({"arguments": train.plain(args), "epoch": 1})
    shutil.copy(first, folder / "weights.02-0.10.hdf5")
    with h5py.File(folder / "weights.02-0.10.hdf5", "r+") as file:
        said = json.loads(file.attrs["age_gender"])
        said["training"]["saved"] += 10
        file.attrs["age_gender"] = json.dumps(said)
    assert models.choose(folder, "") != first
    args, _ = train.parse(["--resume", "--output_path", str(folder)])
    assert (str(args.weights), [str(path) for path in args.teacher]) == (str(first), [str(first)])


def test_a_share_for_no_teacher_and_a_teacher_that_is_not_there_are_refused(tmp_path, quick_runs, capsys):
    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.arange(40) * 2, gender=np.arange(40) % 2)
    with pytest.raises(SystemExit):
        train.main(["-i", str(faces), "--teacher_weight", "0.3", *TINY])
    assert "--teacher_weight is for --teacher" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"nowhere\.hdf5 is not there"):
        train.main(["-i", str(faces), "--teacher", "nowhere.hdf5", "--output_path", str(tmp_path / "run"), *TINY])
    assert not list((tmp_path / "run").glob("*"))


def test_weights_that_are_not_there_are_refused_before_anything_is_written(tmp_path, quick_runs):
    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.arange(40) * 2, gender=np.arange(40) % 2)
    for weights in (tmp_path / "nowhere.hdf5", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.hdf5 is not there|there is no checkpoint in"):
            train.main(["-i", str(faces), "--weights", str(weights), "--output_path", str(tmp_path / "run"), *TINY])
    assert not list((tmp_path / "run").glob("*"))


def test_ages_spread_as_their_database_says(tmp_path):
    """The target of a face, labels and loss together, has the variance of its own label, or of --age_sigma."""
    std = np.r_[5.0, 1.0, np.nan, np.full(17, 3.0)]
    apparent = write_database(tmp_path / "apparent.mat", noise(20, 32), age=np.full(20, 50), age_std=std)
    plain = write_database(tmp_path / "plain.mat", noise(20, 32, seed=1), age=np.full(20, 20))
    args = parsed("--age_loss", "ldl", "--age_spread", *TINY)
    args.input = [apparent, plain]
    data = train.load_data(args)
    batches, _ = train.make_batches(data, args)
    np.testing.assert_allclose(batches.age_width[:4], [np.sqrt(21), 0, 0, np.sqrt(5)])
    assert np.all(batches.age_width[20:] == 0)
    years = np.arange(101)
    smooth = np.exp(-0.5 * ((years[:, None] - years) / 2.0) ** 2)
    smooth /= smooth.sum(axis=1, keepdims=True)  # what the loss does with --age_sigma 2
    row = np.zeros((1, 101), np.float32)
    from mixup_generator import widen

    row[0, 50] = 1
    widen(row, np.array([50]), batches.age_width[:1])
    target = row[0] @ smooth
    assert np.sqrt(target @ (years - 50) ** 2) == pytest.approx(5.0, rel=1e-3)

    args.input = [plain]
    with pytest.raises(ValueError, match="--age_spread: no database knows how far"):
        train.load_data(args)


def test_the_share_of_mixing_is_the_one_asked_for(tmp_path):
    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.arange(40), gender=np.arange(40) % 2)
    for options, mixes in ((["gentle"], False), (["gentle", "--mixup_alpha", "1"], True), (["classic"], True)):
        args = parsed("--aug", *options, *TINY)
        args.input = [faces]
        batches, validation = train.make_batches(train.load_data(args), args)
        _, (_, age), _ = batches[0]
        assert bool(np.any((age > 0) & (age < 1))) is mixes
        assert validation.augmentation.mixup_alpha == 0


@pytest.mark.parametrize("aug", ["none", "strong"])
@pytest.mark.parametrize(("head", "other"), [("age", "gender"), ("gender", "age")])
def test_a_head_without_labels_does_not_move(head, other, aug, tmp_path):
    """One step of plain SGD, on a database with one label: its head's weights stay exactly what they were."""
    columns = {"age": np.arange(8) * 9, "gender": np.arange(8) % 2, head: np.full(8, -1)}
    args = parsed("--aug", aug, "--lr", "0.5", "--weight_decay", "0", *TINY)
    args.input = [write_database(tmp_path / "faces.mat", noise(8, 32), **columns)]
    data = train.load_data(args)
    batches, _ = train.make_batches(data, args)
    model = train.build_model(Description("wide_resnet", {"depth": 10, "width": 1}, 32), args, 0.5)
    before = {name: model.get_layer(f"pred_{name}").get_weights() for name in (head, other)}
    images, labels, weights = batches[0]
    model.train_on_batch(images, labels, weights)
    after = {name: model.get_layer(f"pred_{name}").get_weights() for name in (head, other)}
    assert all(np.array_equal(one, two) for one, two in zip(before[head], after[head], strict=True))
    assert not any(np.array_equal(one, two) for one, two in zip(before[other], after[other], strict=True))


def test_full_and_half_labelled_databases_train_in_one_run(tmp_path, quick_runs, capsys):
    full = write_database(tmp_path / "full.mat", noise(30, 32), age=np.arange(30) * 3, gender=np.arange(30) % 2)
    names = {"texts": {"db": "appa_real", "detector": "none", "part_names": ("train", "valid", "test")}}
    part = np.arange(20) % 3
    ages = write_database(tmp_path / "ages.mat", noise(20, 32, 1), gender=np.full(20, -1), part=part, **names)
    genders = write_database(tmp_path / "genders.mat", noise(20, 32, 2), age=np.full(20, -1))
    options = ["--nb_epochs", "1", "--split", "part", *TINY, "--output_path", str(tmp_path / "run")]
    assert train.main(["-i", str(full), str(ages), str(genders), *options]) == 0
    kept = inspect(models.choose(tmp_path / "run", ""))
    assert kept.split["parts"] and kept.split["fold"] is None
    assert f"{30 + 20 - 5 + 7} to train, {5 + 7} to validate, 6 kept for a test" in capsys.readouterr().out


def test_a_run_without_one_label_claims_nothing_of_it(tmp_path, quick_runs, capsys):
    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.full(40, -1), gender=np.arange(40) % 2)
    options = ["-i", str(faces), "--nb_epochs", "1", *TINY, "--output_path", str(tmp_path / "run")]
    assert train.main(options) == 0
    said = capsys.readouterr().out
    assert "for every face: age error -, gender " in said and "nan" not in said
    assert "hdf5, age error -, gender " in said
    with pytest.raises(ValueError, match="--monitor val_pred_age_mae: no validation face has that label"):
        train.main([*options, "--monitor", "val_pred_age_mae"])


def test_datasets_of_the_same_people_are_warned_of(tmp_path, capsys):
    names = ("utkface", "utkface_wild")
    paths = [
        write_database(tmp_path / f"{name}.mat", noise(20, 32, seed), texts={"db": name, "detector": "none"})
        for seed, name in enumerate(names)
    ]
    args = parsed(*TINY)
    args.input = paths
    train.load_data(args)
    assert "utkface and utkface_wild have the same people" in capsys.readouterr().out
