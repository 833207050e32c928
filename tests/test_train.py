"""What train.py makes of its options: rates, the network and its loss, and runs that average, stop and go on."""

import json
import os
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import h5py
import keras
import numpy as np
import pytest
from conftest import noise, posix, predict_eagerly, stopped_state, training_options, write_database
from micro_network import micro_network

import train
from age_gender import cli
from age_gender.description import EARLIER, KEY, TRAINING, VALIDATION, Description
from age_gender.files import alone
from age_gender.labels import AGE_SCALES
from evaluation.gains import outcomes_on
from networks import checkpoints
from networks.checkpoints import SHIPPED, inspect, seal
from training import arguments, reports, run
from training.data import load_data, make_batches
from training.losses import age_loss
from training.options import DEFAULT_RATES, Options
from training.resume import RESUME_ATTRIBUTE, RESUME_FILE
from training.schedules import Phase, StepDecay, learning_rate
from training.starting import Start, say_if_faces_differ
from training.teachers import ask_teachers, write_answers
from utils import open_database

TINY = ["--depth", "10", "--width", "1"]
RECIPES = Path(__file__).resolve().parent.parent / "recipes"


def parsed(*options, path="faces.mat"):
    return training_options("-i", path, *options)


def parse(*argv):
    return arguments.parse(train.build_parser(), list(map(str, argv)))[:3]


def stopped_run(folder, options, epoch=1, **kept):
    """Writes what a stopped run leaves, as far as its command line reads it."""
    with h5py.File(folder / RESUME_FILE, "w") as file:
        file.attrs[RESUME_ATTRIBUTE] = json.dumps(stopped_state(arguments=options.plain(), epoch=epoch) | kept)


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
    said = parsed(*options)
    assert {name: getattr(said, name) for name in chosen} == chosen


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
    first = parsed(*options)
    stopped_run(tmp_path, first)
    resume = ["--resume", "--output_dir", str(tmp_path)]
    resumed, folder, stopped = parse(*resume)
    assert resumed.plain() == first.plain() and stopped["epoch"] == 1 and folder == tmp_path
    assert parse(*resume, *options)[0] == resumed  # saying it again does no harm
    for name, *other in (["aug", "none" if options else "strong"], ["opt", "adam"], ["test_split", "0.3"]):
        with pytest.raises(SystemExit):
            parse(*resume, f"--{name}", *other)
        assert f"the stopped run had another --{name}; leave it out" in capsys.readouterr().err


@posix
def test_a_database_that_is_named_twice_trains_once(tmp_path):
    (tmp_path / "a.mat").touch()
    (tmp_path / "b.mat").symlink_to("a.mat")
    a, b, c = (str(tmp_path / name) for name in ("a.mat", "b.mat", "c.mat"))
    assert list(map(str, parse("-i", a, c, os.path.relpath(a), b, str(tmp_path / "[ab].mat"))[0].input)) == [a, c]


def test_a_run_of_a_version_with_other_options_or_another_loss_is_refused(tmp_path):
    old = {name: value for name, value in parsed("--aug").plain().items() if name != "test_split"}
    stopped_run(tmp_path, parsed(), arguments={**old, "aug": True})
    with pytest.raises(ValueError, match="stopped in a version with other options, or another val_loss"):
        parse("--resume", "--output_dir", tmp_path)
    stopped_run(tmp_path, parsed(), val_loss="of batches")
    with pytest.raises(ValueError, match="another val_loss .*--resume it with that version; --restart discards it"):
        parse("--resume", "--output_dir", tmp_path)


def test_the_names_of_earlier_versions_mean_the_same_and_no_help_shows_them(tmp_path, capsys):
    first, second = tmp_path / "first.hdf5", tmp_path / "second.hdf5"
    for path in (first, second):
        shutil.copyfile(SHIPPED, path)
    new, old = ["--weight_file", first, "--output_dir", "a"], ["--weights", first, "--output_path", "a"]
    assert parse("-i", "x.mat", *new) == parse("-i", "x.mat", *old)
    assert parse("-i", "x.mat", *old, "--output_dir", "b")[1] == Path("b")  # the last one counts
    # Files of runs have the earlier name.
    stopped = parse("-i", "x.mat", *old)[0]
    assert stopped.plain()["weights"] == str(first)
    stopped_run(tmp_path, stopped)
    assert parse("--resume", "--output_dir", tmp_path, *new[:2])[0].plain() == stopped.plain()
    with pytest.raises(SystemExit):
        parse("--resume", "--output_dir", tmp_path, "--weight_file", second)
    assert "the stopped run had another --weight_file; leave it out" in capsys.readouterr().err
    for words in ("--help", "--help-all"):
        with pytest.raises(SystemExit):
            train.build_parser().parse_args([words])
        said = capsys.readouterr().out
        assert "--weight_file" in said and "--output_dir" in said
        assert "--weights" not in said and "--output_path" not in said


def test_a_recipe_is_a_file_of_words_and_what_is_typed_wins_wherever_it_stands(tmp_path, capsys):
    recipe = tmp_path / "mine.args"
    recipe.write_text("# mine\n--aug strong --lr 0.5  # fast\n\n--input 'a b.mat' c.mat\n--nb_epochs 3\n--mirror\n")
    expected = {"aug": "strong", "lr": 0.5, "input": (Path("a b.mat"), Path("c.mat")), "nb_epochs": 3, "mirror": True}
    said = training_options(f"@{recipe}")
    assert {name: getattr(said, name) for name in expected} == expected
    for words in ([f"@{recipe}", "--lr", "0.1", "-i", "d.mat"], ["--lr", "0.1", "-i", "d.mat", f"@{recipe}"]):
        said = training_options(*words)
        assert (said.lr, said.input, said.aug, said.nb_epochs) == (0.1, (Path("d.mat"),), "strong", 3)
    recipe.write_text("--nb_epochs 0")
    for words, message in ((["@nowhere.args"], "nowhere.args, a file of arguments, is not there; recipes/ has those"),
                           ([f"@{recipe}"], "argument --nb_epochs: 0 is not 1 or more")):  # fmt: skip
        with pytest.raises(SystemExit):
            training_options(*words)
        assert message in capsys.readouterr().err.splitlines()[-1]
    for content, message in ((f"@{recipe}".encode(), "names another file of arguments, @"),
                             (b"\xff\xfe--lr", "mine.args is no file of arguments: 'utf-8' codec"),
                             (b"--lr '0.1", "mine.args is no file of arguments: No closing quotation")):  # fmt: skip
        recipe.write_bytes(content)
        with pytest.raises(SystemExit):
            training_options(f"@{recipe}")
        assert message in capsys.readouterr().err.splitlines()[-1]


def test_the_recipes_that_come_with_the_suite_are_what_they_say():
    recipes = {path.stem: training_options(f"@{path}", "-i", "x.mat") for path in sorted(RECIPES.glob("*.args")) if
               path.stem not in ("model", "fine_tune")}  # fmt: skip
    assert set(recipes) == {"classic", "strong", "quickstart"}
    assert recipes["classic"] == parsed("--aug", path="x.mat")  # the defaults, and --aug
    strong = recipes["strong"]
    assert (strong.aug, strong.age_loss, strong.opt, strong.ema, strong.mirror) == (
        "strong",
        "dldl_v2",
        "adamw",
        0.998,
        True,
    )


def test_a_start_brings_its_network_and_its_loss_and_what_is_typed_wins(tiny_checkpoint_file, capsys):
    said = training_options(f"@{RECIPES / 'fine_tune.args'}", "--weight_file", SHIPPED, "-i", "x.mat")
    assert (said.model, said.width) == (inspect(SHIPPED).network, None) == ("dlib_resnet", None)
    assert (said.mirror, said.age_loss, said.age_error_weight, said.gender_weight) == (True, "dldl_v2", 0.5, 2.0)
    typed = training_options(
        "--weight_file", SHIPPED, "-i", "x.mat", "--age_loss", "cross_entropy", "--gender_weight", "1"
    )
    assert (typed.age_loss, typed.age_error_weight, typed.gender_weight) == ("cross_entropy", 1.0, 1.0)
    with pytest.raises(SystemExit):
        training_options("--weight_file", SHIPPED, "-i", "x.mat", "--width", "3")
    assert "--width is for --model wide_resnet; this is dlib_resnet" in capsys.readouterr().err
    wide = training_options("--weight_file", tiny_checkpoint_file, "-i", "x.mat")
    assert {name: getattr(wide, name) for name in ("depth", "width")} == inspect(tiny_checkpoint_file).arguments
    assert training_options("--weight_file", tiny_checkpoint_file, "-i", "x.mat", "--width", "3").width == 3


def test_paths_are_kept_absolute_and_used_as_they_were_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = parsed("--model", "vgg16", path="data/faces.mat")
    assert said.input == (Path("data/faces.mat"),)
    kept = said.plain()
    assert kept["input"] == [str(tmp_path / "data" / "faces.mat")] and kept["weights"] == "imagenet"
    assert Options.of(kept).plain() == kept == json.loads(json.dumps(kept))


def test_a_checkpoints_databases_are_found_where_they_were_or_beside_it(tmp_path):
    there, gone = tmp_path / "there.mat", tmp_path / "gone" / "moved.mat"
    there.touch()
    folder = tmp_path / "run"
    folder.mkdir()
    said = Description("wide_resnet", {}, 32, training={"arguments": {"input": [str(there), str(gone)]}})
    read = Description.from_json(said.to_json(), folder / "weights.hdf5")
    assert read == said and read.inputs == [there, gone]  # what is nowhere keeps its name, for messages
    (folder / "moved.mat").touch()
    (folder / "there.mat").touch()
    assert read.inputs == [there, folder / "moved.mat"] and said.inputs == [there, gone]


def help_of(option):
    with pytest.raises(SystemExit) as ended:
        train.main([option])
    assert ended.value.code == 0


def test_help_shows_what_people_use_and_help_all_everything(capsys):
    help_of("--help")
    short = capsys.readouterr().out
    help_of("--help-all")
    everything = capsys.readouterr().out
    found = [set(re.findall(r"^  (?:-h, )?(--[\w-]+)", text, re.MULTILINE)) for text in (short, everything)]
    names = {each.name for each in fields(Options)} | {"help", "version", "quiet", "json", *arguments.NOT_OF_THE_RUN}
    for said, wanted in zip(found, (arguments.EVERYDAY - {"help_all"}, names), strict=True):
        assert "weights" in wanted  # as files keep it
        assert said == {f"--{name}" for name in wanted - {"weights"} | {"weight_file"}} | {"--help-all"}
    assert "loss:" in everything and "loss:" not in short


# -------------------------------------------------------------------------------------- rate, network and loss


def test_the_schedule_warms_up_over_a_tenth_of_the_run_and_500_steps_at_most():
    phase = Phase("", 0, 10, None, 0.4)
    for name, kind, full in (("steps", StepDecay, -1), ("cosine", keras.optimizers.schedules.CosineDecay, 0)):
        for steps_per_epoch, warmup in ((10, 10), (1000, 500)):
            rate = learning_rate(name, phase, steps_per_epoch)
            assert type(rate) is kind and rate.warmup_steps == warmup
            assert float(rate(warmup + full)) == pytest.approx(0.4) and float(rate(warmup + full - 1)) < 0.3995
    assert float(learning_rate("cosine", phase, 10)(99)) < 0.4 * 1e-3  # the cosine's last step of the whole run


def built(*options):
    chosen = parsed(*TINY, *options)
    network = {name: getattr(chosen, name) for name in ("depth", "width", "stages", "stem_stride")}
    if chosen.age_loss == "coral":
        network["ordinal"] = True
    model = run.build_model(Description("wide_resnet", network, 32), chosen)
    run.compile_model(model, chosen, 0.1)
    return model, chosen


@pytest.mark.parametrize(("opt", "decay"), [("sgd", None), ("adam", None), ("adamw", None), ("adamw", "0.5")])
def test_weight_decay_is_a_penalty_or_decoupled_but_never_both(opt, decay):
    model, chosen = built("--opt", opt, *(["--weight_decay", decay] if decay else []))
    kernels = [weight for weight in model.trainable_variables if weight.path.endswith("kernel")]
    if opt != "adamw":
        squares = sum(np.sum(np.asarray(kernel, np.float64) ** 2) for kernel in kernels)
        assert float(sum(model.losses)) == pytest.approx(2.5e-4 * squares, rel=1e-5)
    else:
        assert model.losses == []
    before = [np.asarray(weight) for weight in model.trainable_variables]
    model.optimizer.apply([np.zeros_like(weight) for weight in before], model.trainable_variables)
    shrunk = 1 - 0.1 * (chosen.weight_decay if opt == "adamw" else 0)  # the rate is 0.1
    for variable, old in zip(model.trainable_variables, before, strict=True):
        factor = shrunk if variable.path.endswith("kernel") else 1
        np.testing.assert_allclose(np.asarray(variable), factor * old, rtol=1e-6)


def test_thresholds_of_the_ordinal_head_do_not_decay():
    model, _ = built("--opt", "adamw", "--age_loss", "coral")
    threshold = model.get_layer("pred_age").threshold
    before = np.asarray(threshold)
    variables = model.trainable_variables
    model.optimizer.apply([np.zeros(weight.shape, np.float32) for weight in variables], variables)
    np.testing.assert_array_equal(np.asarray(threshold), before)


def test_averages_are_those_of_the_momentum_asked_for():
    for opt in DEFAULT_RATES:
        optimizer = built("--opt", opt, "--ema", "0.75")[0].optimizer
        assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.75)
    assert not built()[0].optimizer.use_ema


def test_the_loss_is_the_age_loss_and_the_weighted_gender_loss(quick_runs):
    images, gender, age = noise(6, 32), np.eye(2)[[0, 1, 1, 0, 1, 0]], np.eye(101)[[5, 30, 99, 60, 18, 44]]
    for options, loss in ((["--age_loss", "ldl", "--age_sigma", "4"], ("ldl", 4, 0)),
                          (["--age_loss", "dldl_v2", "--age_error_weight", "0.5"], ("dldl_v2", 2, 0.5)),
                          ([], ("cross_entropy", 2, 0))):  # fmt: skip
        model, _ = built(*options, "--gender_weight", "3")
        p_gender, p_age = map(np.asarray, model(images))
        of_age = np.asarray(age_loss(*loss)(np.float32(age), p_age)).mean()
        expected = of_age - 3 * np.log((gender * p_gender).sum(axis=1)).mean()
        assert model.test_on_batch(images, [gender, age])[0] == pytest.approx(expected, rel=1e-4)


def test_the_largest_database_decides_how_the_demo_cuts_and_what_is_unlike_it_is_said(tmp_path, capsys):
    few = write_database(tmp_path / "few.mat", noise(10, 32), scalars={"margin": 0.4}, gender=np.arange(10) % 2)
    texts = {"db": "imdb", "detector": "yunet"}
    many = write_database(
        tmp_path / "many.mat",
        noise(30, 32, 1),
        texts=texts,
        scalars={"margin": 0.1, "align": 1.0},
        gender=np.arange(30) % 2,
    )
    for paths in ((few, many), (many, few)):
        chosen = training_options("-i", *paths, *TINY)
        data = load_data(chosen)
        description = run.describe(data, chosen, {"age": 30, "gender": 1}, Start())
        assert (description.margin, description.detector, description.align) == (0.1, "yunet", True)
        reports.announce(data, description, SimpleNamespace(name="net", count_params=lambda: 5))
        said = capsys.readouterr().out
        assert "cut with a margin of 0.4, those of the training with 0.1, found by " in said
        assert said.count("whose ways demo.py follows") == 1
        assert "no face to train on" not in said
        reports.announce(replace(data, age=np.full(40, -1)), description, SimpleNamespace(name="", count_params=int))
        assert capsys.readouterr().out.count("no face to train on has a known age: ") == 1


# ----------------------------------------------------------------------------------------------------------- runs


def test_a_run_starts_from_the_weights_of_another_and_says_where_it_comes_from(faces, tmp_path, quick_runs, capsys):
    still = ["-i", str(faces), "--nb_epochs", "1", "--validation_split", "0.2", "--lr", "1e-30", *TINY]
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert train.main([*still, "--test_split", "0.1", "--output_dir", str(first)]) == 0
    options = ["--test_split", "0.1", "--weight_file", str(first), "--seed", "0", "--weight_decay", "0"]
    assert train.main([*still, *options, "--output_dir", str(second)]) == 0
    said = capsys.readouterr().out
    assert f"{checkpoints.choose(first)}: the weights of 8 of 8 layers; new: none\n" in said
    assert "have trained it" not in said and "another split" not in said and "warning: the faces" not in said
    # Only batch norm's statistics have moved at such a rate.
    models_of = [checkpoints.load(checkpoints.choose(folder))[0] for folder in (first, second)]
    for one, other in zip(*(model.trainable_variables for model in models_of), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    (one, other) = (inspect(checkpoints.choose(folder)) for folder in (first, second))
    assert other.training["start"] == {**one.training, "split": one.split}
    assert other.training["arguments"]["weights"] == str(checkpoints.choose(first))
    assert one.training["arguments"]["weights"] is None

    options = ["--test_split", "0.3", "--weight_file", str(checkpoints.choose(second)), "--output_dir", str(third)]
    assert train.main([*still, *options]) == 0
    seen = re.search(r"  (\d+) of the faces that validate or test this run have trained it\n", capsys.readouterr().out)
    earlier, later = (inspect(checkpoints.choose(folder)).sides for folder in (second, third))
    (fingerprint,) = later
    held_out = later[fingerprint] & 3 > 0  # not TRAINING
    assert int(seen[1]) == np.sum(held_out & (earlier[fingerprint] & 3 == TRAINING)) > 0
    assert np.array_equal(later[fingerprint] & EARLIER > 0, earlier[fingerprint] & 3 == TRAINING)
    assert inspect(checkpoints.choose(third)).training["start"]["start"]["arguments"]["weights"] is None

    anew = write_database(tmp_path / "anew_db.mat", noise(40, 32, 9), texts={"db": open_database(faces).db})
    words = ["-i", anew, "--nb_epochs", "1", "--lr", "1e-30", *TINY, "--weight_file", first]
    assert train.main([*map(str, words), "--output_dir", str(tmp_path / "fourth")]) == 0
    assert f"it was trained on another database of {open_database(faces).db}: faces" in capsys.readouterr().out


def test_a_training_heeds_a_signal_whose_exception_was_lost(faces, tmp_path, quick_runs, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_asked", [15])
    with pytest.raises(cli.Stopped):
        train.main(["-i", str(faces), "--nb_epochs", "3", *TINY, "--output_dir", str(tmp_path / "run")])
    assert "stopped after 0 whole epochs; nothing is kept: the same command begins anew" in capsys.readouterr().out


def test_teachers_are_averaged_and_asked_about_the_training_faces_alone(faces, tmp_path, quick_runs, capsys):
    words = ["-i", str(faces), "--nb_epochs", "1", "--test_split", "0.2", *TINY]
    first, second, pupil = (tmp_path / name for name in ("first", "second", "pupil"))
    for folder, seed in ((first, "0"), (second, "1")):
        assert train.main([*words, "--seed", seed, "--output_dir", str(folder)]) == 0
    chosen = training_options("--teacher", first, second, *words)
    data = load_data(chosen)
    capsys.readouterr()
    gender, age = ask_teachers(data, chosen)
    said = capsys.readouterr().out
    assert said.count("have trained it") == 1  # the second one's, which had another seed
    teachers = [checkpoints.load(checkpoints.choose(folder))[0] for folder in (first, second)]
    answers = [predict_eagerly(model)(data.image[data.training]) for model in teachers]
    np.testing.assert_allclose(gender[data.training], (answers[0][0] + answers[1][0]) / 2, atol=1e-6)
    np.testing.assert_allclose(age[data.training], (answers[0][1] + answers[1][1]) / 2, atol=1e-6)
    unasked = np.r_[data.validation, data.test]
    assert len(unasked) and not gender[unasked].any() and not age[unasked].any()

    options = ["--teacher", str(first), "--teacher_weight", "0.75", "--output_dir", str(pupil)]
    assert train.main([*words, *options]) == 0
    kept = inspect(checkpoints.choose(pupil))
    one = inspect(checkpoints.choose(first))
    assert kept.training["teachers"] == [{**one.training, "split": one.split}]
    assert (kept.training["arguments"]["teacher"], kept.training["arguments"]["teacher_weight"]) == (
        *([str(checkpoints.choose(first))], 0.75),
    )
    for share in (0.5, 0.75):
        batches, _ = make_batches(data, replace(chosen, teacher_weight=share), (gender, age))
        rows = batches.order[: chosen.batch_size]
        _, (_, mixed), _ = batches[0]
        np.testing.assert_allclose(mixed, (1 - share) * np.eye(101)[data.age[rows]] + share * age[rows], atol=1e-6)


def test_a_resumed_run_keeps_its_first_weights_and_teacher_though_its_folder_has_newer_ones(
    faces, tmp_path, quick_runs
):
    folder, words = tmp_path / "run", ["-i", str(faces), *TINY]
    assert train.main([*words, "--nb_epochs", "1", "--output_dir", str(folder)]) == 0
    first = checkpoints.choose(folder)
    again = ["--weight_file", str(folder), "--teacher", str(folder), "--output_dir", str(folder)]
    stopped_run(folder, parse(*words, "--nb_epochs", "3", *again)[0])
    shutil.copy(first, folder / "weights.02-0.10.hdf5")
    with h5py.File(folder / "weights.02-0.10.hdf5", "r+") as file:
        said = json.loads(file.attrs["age_gender"])
        said["training"]["saved"] += 10
        seal(file, KEY, json.dumps(said))
    assert checkpoints.choose(folder) != first
    assert arguments._holds("/a/runs", "/a/runs/mine/fold_0/weights.03-4.00.hdf5")  # a folder's run may lie deeper
    assert not arguments._holds("/a/runs", "/b/runs/weights.03-4.00.hdf5")
    for typed in ([], [*words, "--nb_epochs", "3", *again]):  # the folder is what was typed: a recipe may say it again
        resumed, _, _ = parse("--resume", *typed, "--output_dir", folder)
        assert (resumed.weights, resumed.teacher) == (str(first), (first,))


def test_a_share_for_no_teacher_and_a_teacher_that_is_not_there_are_refused(faces, tmp_path, quick_runs, capsys):
    with pytest.raises(SystemExit):
        train.main(["-i", str(faces), "--teacher_weight", "0.3", *TINY])
    assert "--teacher_weight is for --teacher" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"nowhere\.hdf5 is not there"):
        train.main(["-i", str(faces), "--teacher", "nowhere.hdf5", "--output_dir", str(tmp_path / "run"), *TINY])
    assert not list((tmp_path / "run").glob("*"))


def test_a_run_that_went_on_meanwhile_is_not_gone_on_with(faces, tmp_path, quick_runs, monkeypatch):
    words = ["-i", str(faces), *TINY, "--output_dir", str(tmp_path)]
    stopped_run(tmp_path, parse(*words)[0], epoch=1)
    refuse = train.refuse

    def meanwhile(data, options, stopped):
        stopped_run(tmp_path, options, epoch=2)

    monkeypatch.setattr(train, "refuse", meanwhile)
    with pytest.raises(ValueError, match="another run was at work in .* meanwhile: run this again"):
        train.main(["--resume", "--output_dir", str(tmp_path)])
    assert refuse is not meanwhile and (tmp_path / RESUME_FILE).is_file()


def test_words_in_a_file_of_arguments_are_a_shells_but_for_windows_paths(monkeypatch):
    assert arguments._words('\ufeff--run "a b" c\\ d  # why') == ["--run", "a b", "c d"]
    assert arguments._words("\ufeff# all of it") == []
    monkeypatch.setattr(arguments.os, "name", "nt")
    assert arguments._words(r"--input data\wiki_db.mat \\nas\a.hdf5 'C:\my runs'") == [
        *("--input", r"data\wiki_db.mat", r"\\nas\a.hdf5", r"C:\my runs")
    ]


def test_weights_that_are_not_there_are_refused_before_anything_is_written(faces, tmp_path, quick_runs):
    for weights in (tmp_path / "nowhere.hdf5", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.hdf5 is not there|there is no checkpoint in"):
            train.main(["-i", str(faces), "--weight_file", str(weights), "--output_dir", str(tmp_path / "run"), *TINY])
    assert not list((tmp_path / "run").glob("*"))


def test_ages_spread_as_their_database_says(tmp_path):
    """The target of a face, labels and loss together, has the variance of its own label, or of --age_sigma."""
    std = np.r_[5.0, 1.0, np.nan, np.full(17, 3.0)]
    apparent = write_database(tmp_path / "apparent.mat", noise(20, 32), age=np.full(20, 50), age_std=std)
    plain = write_database(tmp_path / "plain.mat", noise(20, 32, seed=1), age=np.full(20, 20))
    words = ["--age_loss", "ldl", "--age_spread", *TINY]
    chosen = training_options("-i", apparent, plain, *words)
    width = make_batches(load_data(chosen), chosen)[0].labels.age_width
    np.testing.assert_allclose(width[:4], [np.sqrt(21), 0, 0, np.sqrt(5)])
    assert np.all(width[20:] == 0)
    years = np.arange(101)
    smooth = np.exp(-0.5 * ((years[:, None] - years) / 2.0) ** 2)
    smooth /= smooth.sum(axis=1, keepdims=True)  # what the loss does with --age_sigma 2
    row = np.zeros((1, 101), np.float32)
    from mixup_generator import widen

    row[0, 50] = 1
    widen(row, np.array([50]), width[:1])
    target = row[0] @ smooth
    assert np.sqrt(target @ (years - 50) ** 2) == pytest.approx(5.0, rel=1e-3)

    with pytest.raises(ValueError, match="--age_spread: no database knows how far"):
        load_data(training_options("-i", plain, *words))


def test_the_share_of_mixing_is_the_one_asked_for(faces):
    for options, mixes in ((["gentle"], False), (["gentle", "--mixup_alpha", "1"], True), (["classic"], True)):
        chosen = parsed("--aug", *options, *TINY, path=faces)
        batches, validation = make_batches(load_data(chosen), chosen)
        _, (_, age), _ = batches[0]
        assert bool(np.any((age > 0) & (age < 1))) is mixes
        assert validation.augmentation.mixup_alpha == 0


@pytest.mark.parametrize("aug", ["none", "strong"])
@pytest.mark.parametrize(("head", "other"), [("age", "gender"), ("gender", "age")])
def test_a_head_without_labels_does_not_move(head, other, aug, tmp_path, quick_runs):
    """One step of plain SGD, on a database with one label: its head's weights stay exactly what they were."""
    columns = {"age": np.arange(8) * 9, "gender": np.arange(8) % 2, head: np.full(8, -1)}
    path = write_database(tmp_path / "faces.mat", noise(8, 32), **columns)
    chosen = parsed("--aug", aug, "--weight_decay", "0", *TINY, path=path)
    batches, _ = make_batches(load_data(chosen), chosen)
    model = run.build_model(Description("wide_resnet", {"depth": 10, "width": 1}, 32), chosen)
    run.compile_model(model, chosen, 0.5)
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
    options = ["--nb_epochs", "1", "--split", "part", *TINY, "--output_dir", str(tmp_path / "run")]
    assert train.main(["-i", str(full), str(ages), str(genders), *options]) == 0
    kept = inspect(checkpoints.choose(tmp_path / "run"))
    assert kept.split["parts"] and kept.split["fold"] is None
    assert f"{30 + 20 - 5 + 7} to train, {5 + 7} to validate, 6 kept for a test" in capsys.readouterr().out


def test_a_run_without_one_label_claims_nothing_of_it(tmp_path, quick_runs, capsys):
    faces = write_database(tmp_path / "faces.mat", noise(40, 32), age=np.full(40, -1), gender=np.arange(40) % 2)
    options = ["-i", str(faces), "--nb_epochs", "1", *TINY, "--output_dir", str(tmp_path / "run")]
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
    load_data(training_options("-i", *paths, *TINY))
    assert "utkface and utkface_wild have the same people" in capsys.readouterr().out


def test_answers_in_a_file_teach_as_a_teacher_does(tmp_path, capsys):
    path = write_database(tmp_path / "a.mat", noise(40, 32), age=np.arange(40), gender=np.arange(40) % 2)
    rng = np.random.default_rng(0)
    said = tuple(rng.dirichlet(np.ones(classes), 40).astype(np.float32) for classes in (2, 101))
    said[1][7] = 0
    file = tmp_path / "mine.answers.h5"
    write_answers(file, {open_database(path).fingerprint(): said})
    options = training_options("-i", path, "--teacher", file)
    data = load_data(options)
    genders, ages = ask_teachers(data, options)
    assert f"{file} teaches" in capsys.readouterr().out
    np.testing.assert_allclose(ages[data.training], said[1][data.training], atol=2e-3)
    np.testing.assert_allclose(genders[data.training].sum(axis=1), 1, atol=1e-6)
    assert not genders[data.validation].any() and not ages[7].any()
    grouped = training_options("-i", path, "--teacher", file, "--age_scale", "adult_child")
    folded = ask_teachers(load_data(grouped), grouped)[1]
    assert folded.shape == (40, 2) and not folded[7].any()  # nothing said stays nothing
    alone = tuple(np.where(np.arange(40)[:, None] < 20, each, 0) for each in said)
    write_answers(tmp_path / "half.answers.h5", {open_database(path).fingerprint(): alone})
    both = training_options("-i", path, "--teacher", file, tmp_path / "half.answers.h5")
    genders, ages = ask_teachers(load_data(both), both)
    np.testing.assert_allclose(genders[data.training].sum(axis=1), 1, atol=1e-6)

    other = write_database(tmp_path / "b.mat", noise(40, 32), age=np.arange(40), gender=np.zeros(40, int))
    for change, message in (
        (lambda: training_options("-i", other, "--teacher", file), "has no answers to the faces of .*b.mat"),
        (lambda: write_answers(file, {open_database(path).fingerprint(): (said[0][:9], said[1])}), "for 40 faces"),
        (lambda: write_answers(file, {open_database(path).fingerprint(): (2 * said[0], said[1])}), "no distributions"),
        (lambda: file.write_bytes(file.read_bytes()[:900]), "cannot be read as a file of answers"),
    ):
        changed = change()
        options = changed if isinstance(changed, Options) else options
        with pytest.raises(ValueError, match=message):
            ask_teachers(load_data(options), options)
        options = training_options("-i", path, "--teacher", file)


def test_a_model_of_no_network_of_the_suite_is_no_start_and_is_refused_in_one_line(faces, tmp_path):
    micro_network(32).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"other\.keras was written by Keras: .* --teacher"):
        parse("-i", faces, "--weight_file", tmp_path / "other.keras")


def test_two_runs_do_not_share_a_folder_and_none_is_disturbed(tmp_path):
    path = write_database(tmp_path / "a.mat", noise(40, 32), age=np.arange(40), gender=np.arange(40) % 2)
    run_folder = tmp_path / "run"
    with alone(run_folder / "train"), pytest.raises(ValueError, match=r"another run is at work on .*run; wait for it"):
        train.main(["-i", str(path), "--output_dir", str(run_folder)])


def test_a_stopped_run_may_go_on_for_more_epochs_but_not_for_fewer(tmp_path, capsys):
    stopped_run(tmp_path, parsed("--nb_epochs", "5"))
    assert parse("--resume", "--output_dir", tmp_path)[0].nb_epochs == 5
    assert parse("--resume", "--output_dir", tmp_path, "--nb_epochs", "8")[0].nb_epochs == 8
    with pytest.raises(SystemExit):
        parse("--resume", "--output_dir", tmp_path, "--nb_epochs", "4")
    assert "the stopped run had another --nb_epochs" in capsys.readouterr().err


def test_a_resume_where_nothing_was_stopped_starts_anew(tmp_path, capsys):
    options, folder, stopped = parse("--resume", "--output_dir", tmp_path, "-i", "x.mat", "--nb_epochs", "3")
    assert (options.nb_epochs, folder, stopped) == (3, tmp_path, {})
    assert f"{tmp_path}: the run starts anew, with the options given now" in capsys.readouterr().out


def test_a_run_with_a_name_has_a_folder_its_arguments_and_its_best_and_last_checkpoint(faces, tmp_path, quick_runs):
    words = ["-i", str(faces), *TINY, "--output_dir", str(tmp_path)]
    assert train.main([*words, "--nb_epochs", "4", "--lr", "0.2", "--run", "mine", "--keep", "1"]) == 0
    folder = tmp_path / "mine"
    assert not list(tmp_path.glob("*.hdf5")) and not list(folder.glob(".*"))
    (best,) = folder.glob("weights.*.hdf5")
    assert (folder / "best.hdf5").read_bytes() == best.read_bytes() and inspect(best).calibration.genders
    assert inspect(folder / "last.hdf5").training["epoch"] == 4 >= inspect(best).training["epoch"]
    kept = json.loads((folder / "args.json").read_text())
    assert kept == inspect(best).training["arguments"] and (kept["run"], kept["keep"], kept["lr"]) == ("mine", 1, 0.2)
    # It is found where a run without a name would be, by its name too, and with its best checkpoint alone.
    assert checkpoints.choose(None, tmp_path) == checkpoints.choose(folder) == best
    best.unlink()
    assert checkpoints.choose(folder) == folder / "best.hdf5"


def test_a_stopped_run_with_a_name_is_found_by_it_or_by_its_folder(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    first = parsed("--run", "mine")
    stopped_run(tmp_path / "mine", first)
    for words in (["--output_dir", tmp_path, "--run", "mine"], ["--output_dir", tmp_path / "mine"]):
        options, folder, _ = parse("--resume", *words)
        assert (options.plain(), folder) == (first.plain(), tmp_path / "mine")
    for name in ("../mine", "a/b", ".hidden", "", "a b"):
        with pytest.raises(SystemExit):
            parse("--run", name)
        assert f"argument --run: '{name}' is no name of a run" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ fine-tuning


def test_a_run_says_what_its_start_is_worth_and_what_it_gained(faces, tmp_path, quick_runs, capsys):
    words = ["-i", str(faces), "--nb_epochs", "1", "--validation_split", "0.3", *TINY]
    first, second = tmp_path / "first", tmp_path / "second"
    assert train.main([*words, "--output_dir", str(first)]) == 0
    assert "gained" not in capsys.readouterr().out  # over nothing
    start = checkpoints.choose(first)
    assert train.main([*words, "--lr", "0.3", "--weight_file", str(first), "--output_dir", str(second)]) == 0
    said = capsys.readouterr().out
    database = open_database(faces)
    rows = np.flatnonzero(inspect(start).sides[database.fingerprint()] == VALIDATION)
    error = {}
    for path in (start, checkpoints.choose(second)):
        model, _ = checkpoints.load(path)
        p_gender, p_age = predict_eagerly(model)(database.image[rows])
        right = ((p_gender[:, 1] >= 0.5) == database.gender[rows]).mean()
        error[path] = np.abs(p_age @ np.arange(101) - database.age[rows]).mean(), right
    before, after = error.values()
    number = r"([-+]?[\d.]+)"
    worth = re.search(rf"{re.escape(str(start))} on the {len(rows)} validation faces: age error {number} years "
                      rf"\({number}-{number}\), gender {number}% \(", said)  # fmt: skip
    value, low, high, gender = map(float, worth.groups())
    assert value == pytest.approx(before[0], abs=0.01) and low < value < high
    assert gender == pytest.approx(100 * before[1], abs=0.1)
    assert said.index("validation faces:") < said.index("epoch   1/1")
    gain = re.search(rf"gained over {re.escape(str(start))}: age error {number} years \({number} to {number}\), "
                     rf"gender {number} points \(", said)  # fmt: skip
    value, low, high, gender = map(float, gain.groups())
    assert value == pytest.approx(after[0] - before[0], abs=0.01) and low <= value <= high
    assert gender == pytest.approx(100 * (after[1] - before[1]), abs=0.1)


def test_faces_that_are_not_as_those_of_the_start_are_warned_of(capsys):
    earlier = Description("wide_resnet", {}, 128, margin=0.1, detector="dlib")
    say_if_faces_differ(earlier, SimpleNamespace(database=SimpleNamespace(**vars(earlier))))
    faces = SimpleNamespace(image_size=64, margin=0.4, detector="dlib", align=False)
    say_if_faces_differ(earlier, SimpleNamespace(database=faces))
    assert capsys.readouterr().out == (
        "  warning: the faces here are cut with a margin of 0.4, those of the training with 0.1; of 64 pixels, "
        "those of the training of 128. create_db.py --detector dlib --margin 0.1 --img_size 128 cuts them alike\n"
    )


def test_a_start_of_another_size_and_other_groups_is_worth_what_it_says(tmp_path, tiny_checkpoint_file):
    """The file's own answers count: on faces of its size, its years folded onto the run's groups."""
    path = write_database(tmp_path / "faces.mat", noise(20, 64), age=np.arange(20) * 5, gender=np.arange(20) % 2)
    database, rows = open_database(path), np.arange(3, 17)
    group = AGE_SCALES["adult_child"].group_of(database.age)
    said = outcomes_on(tiny_checkpoint_file, [database], rows, group[rows], database.gender[rows],
                       AGE_SCALES["adult_child"])  # fmt: skip
    small = np.stack([cv2.resize(database.image[row], (32, 32), interpolation=cv2.INTER_AREA) for row in rows])
    p_age = checkpoints.load(tiny_checkpoint_file)[0].predict(small, verbose=0)[1]
    right = (p_age[:, :18].sum(axis=1) < 0.5) == group[rows]
    assert said.sums["exact"].tolist() == right.tolist()
