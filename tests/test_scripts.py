"""The scripts as a user runs them: the whole path on drawn faces, stopping and resuming, and bad input."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from conftest import make_database, make_runs_plain

import create_db
import demo
import evaluate
import train
from age_gender.description import VALIDATION, Description
from age_gender.files import read_names
from age_gender.labels import MALE, YEARS
from evaluation import protocols
from evaluation import tables as score_tables
from evaluation.metrics import Estimate, Scores
from networks.checkpoints import inspect, load
from networks.split import split
from training import reports as training_reports
from training.data import Data
from training.reports import collapsed_heads
from training.resume import RESUME_FILE
from utils import open_database, read_paths

ROOT = Path(__file__).resolve().parent.parent
SMALL_RUN = ["--depth", "10", "--width", "1", "--batch_size", "16", "--validation_split", "0.3"]


def run(*command: object, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """A script in a process of its own, as a user starts it, in a folder of its own."""
    script, *arguments = map(str, command)
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        encoding="utf-8",
    )


def refused(script, arguments: list, message: str) -> None:
    """main() must end with an error whose one line holds the message."""
    with pytest.raises((ValueError, OSError, SystemExit), match=message) as caught:
        script.main([str(argument) for argument in arguments])
    if caught.type is SystemExit:
        pytest.fail("argparse errors are matched by refused_by_parser")


def refused_by_parser(script, arguments: list, message: str, capsys) -> None:
    """main() must refuse the arguments with exit status 2 and a last line that holds the message."""
    with pytest.raises(SystemExit) as caught:
        script.main([str(argument) for argument in arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """A folder with wiki_crop/, photos/ and wiki_db.mat made of it at 32 pixels."""
    from make_samples import write_samples

    folder = tmp_path_factory.mktemp("drawn")
    write_samples(folder, 80, 3)
    create_db.main(["--data_dir", str(folder / "wiki_crop"), "-o", str(folder / "wiki_db.mat"), "--img_size", "32"])
    return folder


@pytest.fixture(scope="module")
def trained(drawn) -> Path:
    """The output folder of a short training with --aug."""
    output = drawn / "checkpoints"
    words = ["-i", str(drawn / "wiki_db.mat"), "--aug", "--nb_epochs", "3", *SMALL_RUN, "--output_dir", str(output)]
    with pytest.MonkeyPatch.context() as patch:
        make_runs_plain(patch, curve=True)
        assert train.main(words) == 0
    return output


def test_create_db_keeps_the_clean_records_with_their_labels(drawn, capsys):
    from scipy.io import loadmat

    database = open_database(drawn / "wiki_db.mat")
    paths = read_paths(drawn / "wiki_db.mat")
    struct = loadmat(drawn / "wiki_crop" / "wiki.mat")["wiki"]
    genders = {
        str(path[0]): gender
        for path, gender in zip(struct["full_path"][0, 0][0], struct["gender"][0, 0][0], strict=True)
    }
    assert 40 < len(database) < 80
    for row, path in enumerate(paths):
        born, taken = path.split("_")[1:]
        year, month, _ = map(int, born.split("-"))
        assert database.age[row] == int(taken[:4]) - year - (month >= 7)
        assert database.gender[row] == genders[path]
        photo = cv2.imread(str(drawn / "wiki_crop" / path))
        expected = cv2.resize(photo, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
        assert np.abs(database.image[row] - expected).mean() < 10  # decoding at a quarter differs by some noise


def test_create_db_counts_and_lists_what_it_could_not_read(drawn):
    with open(drawn / "wiki_db.failed.csv", newline="", encoding="utf-8") as file:
        failed = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert sorted(failed.values()) == ["file missing", "unreadable image"]
    assert not set(failed) & set(read_paths(drawn / "wiki_db.mat"))
    for path, reason in failed.items():
        assert (drawn / "wiki_crop" / path).exists() == (reason == "unreadable image")


def test_a_list_with_a_byte_order_mark_is_read_from_its_first_line(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf00/a.jpg\r\n./00/b.jpg\r\n\r\n")
    assert read_names(tmp_path / "list.txt") == {"00/a.jpg", "00/b.jpg"}


def test_create_db_leaves_out_what_a_list_names(drawn, tmp_path, capsys):
    paths = read_paths(drawn / "wiki_db.mat")
    (tmp_path / "list.csv").write_text(f"path,reason\n{paths[0]},ugly\n{Path(paths[5]).name}\n", encoding="utf-8")
    output = tmp_path / "smaller.mat"
    create_db.main(
        [
            "--data_dir",
            str(drawn / "wiki_crop"),
            "-o",
            str(output),
            "--img_size",
            "32",
            "--exclude",
            str(tmp_path / "list.csv"),
        ]
    )
    assert read_paths(output) == paths[1:5] + paths[6:]
    assert "- excluded" in capsys.readouterr().out


def test_create_db_is_the_same_with_any_number_of_workers(drawn, tmp_path):
    for workers in ("1", "5"):
        create_db.main(
            [
                "--data_dir",
                str(drawn / "wiki_crop"),
                "-o",
                str(tmp_path / f"{workers}.mat"),
                "--img_size",
                "32",
                "--workers",
                workers,
            ]
        )
    assert (tmp_path / "1.mat").read_bytes() == (tmp_path / "5.mat").read_bytes()


def test_create_db_turns_utkface_genders_round(tmp_path, capsys):
    folder = tmp_path / "UTKFace"
    folder.mkdir()
    face = np.full((200, 200, 3), 90, np.uint8)
    for name in (
        "30_0_1_20170101000000000",
        "31_1_2_20170101000000000",
        "32_1_20170101000000000",
        "116_0_0_20170101000000000",
    ):
        cv2.imwrite(str(folder / f"{name}.jpg.chip.jpg"), face)
    (folder / "notes.txt").write_text("no face")
    output = tmp_path / "utk.mat"
    create_db.main(["--db", "utkface", "--data_dir", str(folder), "-o", str(output)])
    database = open_database(output)
    assert database.age.tolist() == [30, 31]
    assert [gender == MALE for gender in database.gender] == [True, False]
    assert [database.race_names[race] for race in database.race] == ["Black", "Asian"]
    said = capsys.readouterr().out
    for reason in ("malformed name", "age outside 0..100", "gender unknown"):
        assert f"- {reason}" in said


def test_create_db_refuses_and_leaves_nothing(drawn, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(create_db, [], r"data.wiki_crop.wiki\.mat is not there.*wiki is WIKI")
    refused(create_db, ["--db", "utkface"], "data.UTKFace is not there")
    refused_by_parser(create_db, ["--db", "imbd"], "invalid choice: 'imbd'", capsys)
    refused_by_parser(create_db, ["--img_size", "0"], "0 is not between 16 and 1024", capsys)
    refused_by_parser(create_db, ["--min_age", "50", "--max_age", "20"], "--min_age 50 is above --max_age 20", capsys)
    refused_by_parser(create_db, ["-o", drawn / "wiki_db.mat"], "--overwrite replaces it", capsys)
    crop = drawn / "wiki_crop"
    refused(create_db, ["--data_dir", crop, "--exclude", "missing.txt"], "--exclude missing.txt cannot be read")
    refused(create_db, ["--data_dir", crop, "--min_score", "1e9"], "nothing is left of 80 records after cleaning")
    (tmp_path / "wiki.mat").write_bytes((crop / "wiki.mat").read_bytes()[:-100])
    refused(create_db, ["--data_dir", tmp_path], "wiki.mat cannot be read as a MATLAB 5 file")
    shutil.copy(crop / "wiki.mat", tmp_path / "wiki.mat")
    refused(
        create_db,
        ["--data_dir", tmp_path],
        "none of the .* photos could be used, such as .*: file missing.*does --data_dir name the folder",
    )
    assert not list(tmp_path.rglob("*_db.mat")) and not list(tmp_path.rglob(".new-*"))


def test_train_keeps_what_explains_itself(trained, drawn):
    checkpoints = sorted(trained.glob("weights.*.hdf5"))
    assert checkpoints
    checkpoint = inspect(checkpoints[-1])
    assert (checkpoint.network, checkpoint.arguments) == (
        "wide_resnet",
        {"depth": 10, "width": 1, "stages": 3, "stem_stride": 1},
    )
    assert (checkpoint.image_size, checkpoint.margin, checkpoint.genders) == (32, 0.4, ("F", "M"))
    assert checkpoint.split["databases"] == [open_database(drawn / "wiki_db.mat").fingerprint()]
    assert checkpoint.training["arguments"]["input"] == [str((drawn / "wiki_db.mat").absolute())]
    with open(trained / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert checkpoints[-1].name == f"weights.{int(best['epoch']):02d}-{float(best['val_loss']):.2f}.hdf5"
    assert checkpoint.training["metrics"]["val_loss"] == pytest.approx(float(best["val_loss"]))
    assert cv2.imread(str(trained / "training_curve.png")) is not None
    assert not (trained / RESUME_FILE).exists()


def test_the_newest_checkpoint_is_so_by_its_own_word(trained, tmp_path):
    from networks.checkpoints import choose

    last = choose(trained, tmp_path)
    shutil.copytree(trained, tmp_path / "copied")
    names = sorted(path.name for path in (tmp_path / "copied").glob("weights.*"))
    for age, name in enumerate(names):  # the copies' times run backwards
        os.utime(tmp_path / "copied" / name, (1e9 - age, 1e9 - age))
    assert choose(tmp_path / "copied", tmp_path).name == last.name == names[-1]


def test_resumed_dropout_goes_on_with_its_own_random_numbers(drawn, tmp_path):
    from training.resume import dropout_seeds, set_dropout_seeds
    from wide_resnet import wide_resnet

    model = wide_resnet(32, depth=10, width=1, dropout=0.5)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    model(images, training=True)
    kept = dropout_seeds(model)
    assert len(kept) == 3
    first = np.asarray(model(images, training=True)[1])
    assert not np.array_equal(first, np.asarray(model(images, training=True)[1]))
    set_dropout_seeds(model, kept)
    assert np.array_equal(first, np.asarray(model(images, training=True)[1]))


def test_train_that_goes_to_nan_says_so_and_fails(drawn, tmp_path, quick_runs, capsys):
    status = train.main(
        [
            "-i",
            str(drawn / "wiki_db.mat"),
            "--nb_epochs",
            "2",
            *SMALL_RUN,
            "--lr",
            "1e38",
            "--output_dir",
            str(tmp_path),
        ]
    )
    assert status == 1
    said = capsys.readouterr().err
    assert "not a number in epoch 1: " in said and "try a tenth of the rate (--lr 1e+37)" in said
    assert not (tmp_path / RESUME_FILE).exists()


def test_a_head_that_answers_every_face_alike_is_called_collapsed(drawn):
    database = open_database(drawn / "wiki_db.mat")
    rows = np.arange(len(database))
    labels = database.age, database.gender, rows, rows, rows[:0], np.full(len(rows), np.nan)
    data = Data([database], database.image, *labels)
    learned = {"val_pred_age_spread": 9.0, "val_pred_gender_male_share": 0.5}
    assert collapsed_heads(learned, data, YEARS) == []
    assert collapsed_heads({**learned, "val_pred_age_spread": 0.2}, data, YEARS) == ["age"]
    assert collapsed_heads({**learned, "val_pred_gender_male_share": 1.0}, data, YEARS) == ["gender"]
    one_gender = replace(data, gender=np.full(len(database), MALE))
    assert collapsed_heads({**learned, "val_pred_gender_male_share": 1.0}, one_gender, YEARS) == []


def test_a_collapsed_run_exits_with_1_once_it_had_steps_enough(drawn, tmp_path, quick_runs, monkeypatch, capsys):
    monkeypatch.setattr(training_reports, "collapsed_heads", lambda values, data, scale: ["age"])
    arguments = ["-i", str(drawn / "wiki_db.mat"), "--nb_epochs", "1", *SMALL_RUN, "--output_dir", str(tmp_path)]
    assert train.main(arguments) == 0
    assert "train longer" in capsys.readouterr().out
    monkeypatch.setattr(training_reports, "LEARNING_STEPS", 1)
    assert train.main(arguments) == 1
    assert "the training collapsed: every face gets the same age: try" in capsys.readouterr().err
    monkeypatch.setattr(training_reports, "collapsed_heads", lambda values, data, scale: ["gender"])
    assert train.main([*arguments, "--gender_weight", "0"]) == 0  # it was not to learn genders


def test_train_refuses(drawn, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(train, [], "there is no database in data/")
    refused(train, ["-i", "nowhere.mat"], "nowhere.mat is not there; create_db.py makes databases")
    refused(
        train, ["-i", drawn / "wiki_crop" / "wiki.mat"], "wiki.mat is no face database: it lacks image, age, gender"
    )
    refused(train, ["--resume"], "there is no database in data/")  # as without it
    refused_by_parser(train, ["--depth", "12"], "argument --depth: invalid choice", capsys)
    refused_by_parser(train, ["--validation_split", "1"], "1.0 is not strictly between 0 and 1", capsys)
    refused_by_parser(train, ["@recipes/none.args"], "recipes/none.args, a file of arguments, is not there", capsys)
    refused_by_parser(train, ["recipes/strong.args"], "did you mean @recipes/strong.args?", capsys)
    refused_by_parser(train, ["--resume", "--restart"], "--resume and --restart exclude each other", capsys)
    (tmp_path / "cut.mat").write_bytes((drawn / "wiki_db.mat").read_bytes()[:50_000])
    refused(train, ["-i", "cut.mat"], "cut.mat cannot be read .* cut off or damaged")
    assert not (tmp_path / "checkpoints").exists()


def test_train_on_two_databases_at_once(drawn, tmp_path, quick_runs, quick_report):
    half = tmp_path / "half.mat"
    create_db.main(["--data_dir", str(drawn / "wiki_crop"), "-o", str(half), "--img_size", "32", "--max_age", "40"])
    train.main(
        ["-i", str(drawn / "wiki_db.mat"), str(half), "--nb_epochs", "1", *SMALL_RUN, "--output_dir", str(tmp_path)]
    )
    assert len(inspect(next(tmp_path.glob("weights.*"))).split["databases"]) == 2
    evaluate.main(["--weight_file", str(tmp_path), "--output_dir", str(tmp_path / "both")])
    held_out = json.loads((tmp_path / "both" / "metrics.json").read_text())["n"]
    # The second database repeats photos of the first: repeats stand on one side, so the shares agree only roughly.
    assert held_out == pytest.approx(
        0.3 * (len(open_database(half)) + len(open_database(drawn / "wiki_db.mat"))), abs=3
    )
    # Of one of them alone, the faces held out are told too.
    evaluate.main(["--weight_file", str(tmp_path), "-i", str(half), "--output_dir", str(tmp_path / "half")])
    sides = inspect(next(tmp_path.glob("weights.*"))).sides[open_database(half).fingerprint()]
    assert json.loads((tmp_path / "half" / "metrics.json").read_text())["n"] == np.sum(sides == VALIDATION) > 0


def test_evaluate_scores_the_faces_held_out(trained, drawn, tmp_path, capsys):
    evaluate.main(["--weight_file", str(trained), "--output_dir", str(tmp_path)])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    recorded = inspect(sorted(trained.glob("weights.*"))[-1]).training["metrics"]
    assert metrics["n"] == pytest.approx(0.3 * len(open_database(drawn / "wiki_db.mat")), abs=0.5)
    assert metrics["age_mae"]["value"] == pytest.approx(recorded["val_pred_age_mae"], rel=1e-3)
    assert metrics["gender_accuracy"]["value"] == pytest.approx(recorded["val_pred_gender_accuracy"], rel=1e-3)
    for name in ("age_mae", "cs5", "gender_accuracy"):
        assert metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"]
        assert metrics[name]["trivial"] >= 0
    with open(tmp_path / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    errors = [abs(float(row["expected_age"]) - float(row["age"])) for row in rows]
    assert len(rows) == metrics["n"] and np.mean(errors) == pytest.approx(metrics["age_mae"]["value"], abs=1e-3)
    assert sum(group["n"] for group in metrics["groups"] if group["by"] == "age") == metrics["n"]
    assert inspect(sorted(trained.glob("weights.*"))[-1]).calibration.ages > 0  # train.py calibrated it at its end
    plots = [
        *("true_against_expected", "error_by_decade", "cs_curve", "age_confusion", "mean_distributions", "samples"),
        *("interval_width", "interval_coverage", "gender_confusion", "gender_roc", "gender_reliability"),
        *("best", "worst"),
    ]
    assert sorted(path.stem for path in tmp_path.glob("*.png")) == sorted(plots)
    assert all(cv2.imread(str(tmp_path / f"{name}.png")) is not None for name in plots)
    assert "(they chose the checkpoint" in capsys.readouterr().out


TRAINED_WITH = {"validation_split": 0.2, "seed": 3}


def rows_and_words(databases, checkpoint, part):
    """The rows of the only set of faces, and what it is in words."""
    (found,) = protocols.kept_out(databases, checkpoint, part)
    return found.rows, found.says


def of_training_on(databases, **split):
    """A checkpoint that was trained on these databases."""
    known = [database.fingerprint() for database in databases]
    return Description("wide_resnet", {}, 8, split={**TRAINED_WITH, "databases": known, **split})


@pytest.mark.parametrize(
    ("part", "test_split", "side", "said"),
    [
        ("auto", 0.1, 2, "the 10 faces of 100 that were kept for a test"),
        ("test", 0.1, 2, "the 10 faces of 100 that were kept for a test"),
        ("validation", 0.1, 1, "the 20 faces held out of 100 (they chose the checkpoint"),
        ("auto", 0.0, 1, "the 20 faces held out of 100 (they chose the checkpoint"),
        ("validation", 0.0, 1, "the 20 faces held out of 100 (they chose the checkpoint"),
        ("auto", None, 1, "the 20 faces held out of 100 (they chose the checkpoint"),
    ],
)
def test_evaluate_scores_the_part_that_the_training_kept(part, test_split, side, said):
    databases = [make_database(60, seed=1), make_database(40, seed=2)]
    older = {} if test_split is None else {"test_split": test_split}  # a checkpoint from before there were test parts
    rows, words = rows_and_words(databases, of_training_on(databases, **older), part)
    assert rows.tolist() == split(databases, 0.2, 3, test_split or 0.0)[side].tolist()
    assert words.startswith(said)


def test_evaluate_on_every_face_or_on_other_faces_knows_no_parts():
    databases = [make_database(60, seed=1)]
    checkpoint = of_training_on(databases, test_split=0.1)
    rows, words = rows_and_words(databases, checkpoint, "all")
    assert len(rows) == 60 and "training faces among them" in words
    others = [make_database(30, seed=9)]
    rows, words = rows_and_words(others, checkpoint, "auto")
    assert len(rows) == 30 and words == "all 30 faces"
    for trained_on in ({"split": {"datasets": ["wiki"]}}, {"training": {"arguments": {"input": ["data/wiki_db.mat"]}}}):
        _, words = rows_and_words(others, Description("wide_resnet", {}, 8, **trained_on), "auto")
        assert (
            words == "all 30 faces, training faces perhaps among them: another database of the same people trained it"
        )
    own = of_training_on(databases, test_split=0.1, datasets=["wiki"])
    said = {each.name: each.says for each in protocols.kept_out([*databases, *others], own)}
    assert "perhaps" not in said["test"] and len(said) == 2  # the set made again is doubted beside the training's own
    assert sum("another database of the same people trained it" in words for words in said.values()) == 1
    for part in ("test", "validation"):
        with pytest.raises(ValueError, match="the faces held out can be told only with all the databases"):
            rows_and_words(others, checkpoint, part)


@pytest.mark.parametrize("older", [{}, {"test_split": 0.0}])
def test_evaluate_says_that_there_is_no_test_part(older):
    databases = [make_database(60, seed=1)]
    with pytest.raises(ValueError, match=r"trained without a test part \(train.py --test_split, --fold"):
        rows_and_words(databases, of_training_on(databases, **older), "test")


def test_a_test_part_is_kept_out_of_training_and_scored(drawn, trained, tmp_path, quick_runs, quick_report, capsys):
    arguments = ["-i", str(drawn / "wiki_db.mat"), "--nb_epochs", "1", *SMALL_RUN, "--test_split", "0.2", "--mirror"]
    train.main([*arguments, "--output_dir", str(tmp_path)])
    database = open_database(drawn / "wiki_db.mat")
    sides = split([database], 0.3, 0, 0.2)
    training, validation, test = map(len, sides)
    said = capsys.readouterr().out
    assert f"{training} to train, {validation} to validate, {test} kept for a test; " in said
    evaluate.main(["--weight_file", str(tmp_path), "--output_dir", str(tmp_path / "scores")])
    with open(tmp_path / "scores" / "predictions.csv", newline="", encoding="utf-8") as file:
        scored = [row["path"] for row in csv.DictReader(file)]
    paths = read_paths(drawn / "wiki_db.mat")
    assert scored == [paths[row] for row in sides[2]]
    refused(evaluate, ["--weight_file", trained, "--part", "test"], "without a test part")


def test_evaluate_says_when_training_faces_are_among_those_scored(trained, tmp_path, quick_report, capsys):
    evaluate.main(["--weight_file", str(trained), "--part", "all", "--output_dir", str(tmp_path)])
    assert "training faces among them: the scores flatter" in capsys.readouterr().out


def test_evaluate_reports_races_and_unknown_labels(trained, tmp_path, quick_report):
    from conftest import noise, write_database

    database = write_database(
        tmp_path / "races.mat",
        noise(12, 32),
        age=np.array([5, 15, -1] * 4),
        gender=np.array([0, 1, 1, -1] * 3),
        race=np.array([0, 1, -1, 1, 0, 0] * 2),
        texts={"db": "utkface", "detector": "none", "race_names": ("White", "Black")},
        scalars={"margin": 0.4},
    )
    evaluate.main(["--weight_file", str(trained), "-i", str(database), "--output_dir", str(tmp_path / "out")])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    counts = {(group["by"], group["name"]): group["n"] for group in metrics["groups"]}
    crossed = {name: n for (by, name), n in counts.items() if by == "age, gender and race"}
    pairs = ("0-9 F White", "0-9 M White", "0-9 M Black", "10-19 F White", "10-19 M White", "10-19 M Black")
    assert crossed == dict.fromkeys(pairs, 1)
    assert {key: n for key, n in counts.items() if key[0] != "age, gender and race"} == {
        ("age", "0-9"): 4, ("age", "10-19"): 4, ("gender", "F"): 3, ("gender", "M"): 6,
        ("race", "White"): 6, ("race", "Black"): 4,
    }  # fmt: skip


def test_demo_writes_a_row_for_each_face_and_one_for_each_image(trained, drawn, tmp_path, capsys):
    photos = tmp_path / "photos"
    shutil.copytree(drawn / "photos", photos)
    (photos / "bröken.jpg").write_bytes(b"\xff\xd8 not much of a picture")
    (photos / "empty.png").write_bytes(b"")
    (photos / "notes.txt").write_text("no image")
    output = photos / "found"  # within the folder searched: a second run must not find its own results
    for _ in range(2):
        demo.main(
            ["--weight_file", str(trained), "--image_dir", str(photos), "--output_dir", str(output), "--no_display"]
        )
    with open(output / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(photos / "truth.csv", newline="", encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    statuses = {row["input"]: row["status"] for row in rows}
    images = {path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg") if output not in path.parents}
    assert set(statuses) == images | {"empty.png"}
    assert statuses["bröken.jpg"] == statuses["empty.png"] == "unreadable"
    assert statuses["landscape.jpg"] == "no_face"
    for face in truth:
        centre_x, centre_y = (float(face["x1"]) + float(face["x2"])) / 2, (float(face["y1"]) + float(face["y2"])) / 2
        hits = [
            row for row in rows if row["input"] == face["file"] and row["status"] == "ok"
            and float(row["x1"]) < centre_x < float(row["x2"]) and float(row["y1"]) < centre_y < float(row["y2"])
        ]  # fmt: skip
        assert len(hits) == 1, face
        assert 0 <= float(hits[0]["age"]) <= 100 and hits[0]["gender"] == (
            "M" if float(hits[0]["p_male"]) >= 0.5 else "F"
        )
        annotated = cv2.imdecode(np.fromfile(output / face["file"], np.uint8), cv2.IMREAD_COLOR)
        original = cv2.imdecode(np.fromfile(photos / face["file"], np.uint8), cv2.IMREAD_COLOR)
        height, width, _ = original.shape
        assert height < len(annotated) < 1.2 * height and annotated.shape[1] == width  # a line below explains
        assert np.abs(annotated[:height].astype(int) - original).max() > 100
    assert len([row for row in rows if row["status"] == "ok"]) == len(truth)
    told = json.loads((output / "predictions.json").read_text(encoding="utf-8"))
    assert [row["input"] for row in told] == [row["input"] for row in rows]
    header = "input,frame,face,status,x1,y1,x2,y2,score,age,gender,p_male,age_low,age_high,unsure"
    header += ",age_group,p_age_group,p_between_groups"
    assert ",".join(told[0]) == header == (output / "predictions.csv").read_text(encoding="utf-8").splitlines()[0]


def test_demo_on_a_video_writes_every_frame(trained, drawn, tmp_path):
    picture = cv2.resize(cv2.imread(str(drawn / "photos" / "couple.jpg")), (320, 240))
    video = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 20.0, (320, 240))
    for shift in range(5):
        writer.write(np.roll(picture, shift, axis=1))
    writer.release()
    demo.main(
        ["--weight_file", str(trained), "--video", str(video), "--output_dir", str(tmp_path / "out"), "--no_display"]
    )
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert sorted({row["frame"] for row in rows}) == [0, 1, 2, 3, 4]
    capture = cv2.VideoCapture(str(tmp_path / "out" / "film.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 5
    assert round(capture.get(cv2.CAP_PROP_FPS)) == 20


def test_demo_never_overwrites_what_it_reads(trained, drawn, tmp_path, capsys, monkeypatch):
    shutil.copy(drawn / "photos" / "girl.jpg", tmp_path / "girl.jpg")
    before = (tmp_path / "girl.jpg").read_bytes()
    weights = ["--weight_file", trained, "--no_display"]
    monkeypatch.chdir(tmp_path)
    for arguments in (["--image", "girl.jpg", "--output_dir", "."], ["--image_dir", ".", "--output_dir", tmp_path]):
        refused_by_parser(demo, [*weights, *arguments], "would overwrite what they are made of", capsys)
    refused_by_parser(demo, [*weights, "--video", "film.mp4", "--output_dir", "."], "would overwrite", capsys)
    assert (tmp_path / "girl.jpg").read_bytes() == before


def test_demo_gives_the_ages_that_the_network_gives_to_the_crop(trained, drawn, tmp_path):
    from age_gender.faces import crop_face, read_image
    from age_gender.intervals import tempered
    from age_gender.labels import expected_age
    from networks.backend import compiled_predict

    name = "father.jpg"
    demo.main(
        [
            "--weight_file",
            str(trained),
            "--image",
            str(drawn / "photos" / name),
            "--output_dir",
            str(tmp_path),
            "--no_display",
        ]
    )
    (row,) = json.loads((tmp_path / "predictions.json").read_text())
    model, checkpoint = load(sorted(trained.glob("weights.*"))[-1])
    box = tuple(row[side] for side in ("x1", "y1", "x2", "y2"))
    crop = crop_face(read_image(drawn / "photos" / name), box, checkpoint.margin, checkpoint.image_size)
    gender, age = compiled_predict(model)(crop[None])
    assert row["age"] == pytest.approx(float(expected_age(age)[0]), abs=0.01)
    expected = tempered(gender[:, MALE], checkpoint.calibration.temperature)[0]
    assert row["p_male"] == pytest.approx(expected, abs=1e-3)


def test_demo_refuses(trained, drawn, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("networks.checkpoints.SHIPPED", tmp_path / "none_is_shipped.hdf5")
    weights = ["--weight_file", trained, "--no_display"]
    refused(demo, ["--image_dir", drawn], "there is no checkpoint in checkpoints/: train one with train.py")
    refused(demo, ["--weight_file", "none.hdf5"], "none.hdf5 is not there")
    refused(demo, [*weights, "--image_dir", "nowhere"], "nowhere is not there")
    (tmp_path / "empty").mkdir()
    refused(demo, [*weights, "--image_dir", "empty"], "empty holds no image, nor do its subfolders")
    refused(demo, [*weights, "--image", "empty"], "empty holds no image, nor do its subfolders")
    refused(demo, [*weights, "nowhere.jpg"], "nowhere.jpg is not there")
    (tmp_path / "text.mp4").write_text("no film")
    refused(demo, [*weights, "--video", "text.mp4"], "text.mp4 cannot be played")
    refused(demo, [*weights, "--camera", "77"], "there is no camera 77")
    (tmp_path / "bad.jpg").write_text("no image")
    refused(demo, [*weights, "--image", "bad.jpg"], "nothing could be read")
    assert json.loads((tmp_path / "demo_output" / "predictions.json").read_text())[0]["status"] == "unreadable"
    refused_by_parser(demo, [*weights, "--depth", "16", "--image_dir", drawn], "has depth 10; leave it out", capsys)
    refused_by_parser(demo, ["--image", "a", "--video", "b"], "not allowed with argument", capsys)
    whole = sorted(trained.glob("weights.*"))[-1].read_bytes()
    (tmp_path / "cut.hdf5").write_bytes(whole[: len(whole) // 2])
    refused(
        demo,
        ["--weight_file", "cut.hdf5", "--image_dir", drawn / "photos"],
        "cut.hdf5 is no checkpoint, or it is cut off",
    )


def test_errors_are_one_line_and_exit_2(drawn, tmp_path):
    (tmp_path / "text.hdf5").write_text("not a checkpoint")
    for command, said in (
        (("create_db.py",), "is not there"),
        (("train.py", "-i", "no.mat"), "no.mat is not there"),
        (("evaluate.py", "--weight_file", "text.hdf5"), "text.hdf5 is no checkpoint"),
        (("demo.py", "--weight_file", "none.hdf5"), "none.hdf5 is not there"),
    ):
        result = run(*command, folder=tmp_path)
        assert result.returncode == 2, result.stderr
        assert result.stderr.count("\n") == 1 and said in result.stderr, result.stderr
        assert result.stderr.startswith(f"{command[0]}: error: ")


def test_three_bare_commands_one_after_the_other(drawn, tmp_path):
    """create_db, train --aug, demo with their defaults, but for a small network: WRN-16-8 takes minutes an epoch.

    The demo has no display, and among its photos a name that is no text and a picture of one row: both stop nothing.
    """
    shutil.copytree(drawn / "wiki_crop", tmp_path / "data" / "wiki_crop")
    (tmp_path / "photos").mkdir()
    shutil.copy(drawn / "photos" / "couple.jpg", tmp_path / "photos")
    cv2.imwrite(str(tmp_path / "photos" / "row.png"), np.full((1, 3000, 3), 90, np.uint8))
    odd = "caf\udce9.jpg" if sys.platform == "linux" else "caf\u00e9.jpg"  # other systems allow no such name
    shutil.copy(drawn / "photos" / "girl.jpg", os.fsencode(tmp_path / "photos") + b"/" + os.fsencode(odd))
    for command in (
        ("create_db.py",),
        ("train.py", "--aug", "--depth", "10", "--width", "1", "--nb_epochs", "1"),
        ("demo.py", "--image_dir", "photos"),
    ):
        result = run(*command, folder=tmp_path, DISPLAY="", WAYLAND_DISPLAY="")
        assert result.returncode == 0, result.stderr
    assert "no display to open a window on: results go to demo_output/" in result.stdout and result.stderr == ""
    with h5py.File(tmp_path / "data" / "wiki_db.mat") as file:
        assert file["image"].shape[1:] == (64, 64, 3)
    assert list((tmp_path / "checkpoints" / "tensorboard" / "validation").glob("events.*"))
    assert (tmp_path / "demo_output" / "couple.jpg").is_file() and (tmp_path / "demo_output" / odd).is_file()
    rows = json.loads((tmp_path / "demo_output" / "predictions.json").read_text(encoding="utf-8"))
    found = {name: [row["status"] for row in rows if row["input"] == name] for name in ("couple.jpg", odd, "row.png")}
    assert found == {"couple.jpg": ["ok", "ok"], odd: ["ok"], "row.png": ["no_face"]}


def test_the_worst_group_of_each_axis_is_named_with_its_distance_from_the_best():
    def scores(error, count):
        return Scores(count, count, {"age_mae": Estimate(error, error - 1, error + 1, 15.0)})

    groups = [
        *[("age", "0-9", scores(2.5, 40)), ("age", "80-89", scores(9.0, 20)), ("age", "90-100", scores(30.0, 19))],
        *[("gender", "F", scores(math.nan, 50)), ("gender", "M", scores(5.0, 50))],
        *[("race", "Black", scores(5.0, 60)), ("race", "Asian", scores(3.75, 60)), ("race", "White", scores(4.0, 60))],
    ]
    assert score_tables.worst_groups(groups).splitlines() == [
        "worst by age (groups of 20 faces or more): 80-89, 9.00 years (8.00-10.00) over 20 faces, 6.50 more than 0-9; "
        "worst by age (groups of any size): 90-100, 30.00 years (29.00-31.00) over 19 faces, too few to be sure",
        "worst by race: Black, 5.00 years (4.00-6.00) over 60 faces, 1.25 more than Asian",
    ]
    few = [("race", "Black", scores(5.0, 4)), ("race", "Asian", scores(3.75, 60))]  # one large group alone
    (line,) = score_tables.worst_groups(few).splitlines()
    assert line == "worst by race (groups of any size): Black, 5.00 years (4.00-6.00) over 4 faces, too few to be sure"
    shares = [
        ("age", name, Scores(50, 50, {"exact": Estimate(share, share - 0.1, share + 0.1, 0.2)}))
        for name, share in (("0-2", 0.8), ("4-6", 0.5), ("8-12", 0.65))
    ]
    (line,) = score_tables.worst_groups(shares).splitlines()
    assert (
        line == "worst by age: 4-6, 50.0% in the right age group (40.0-60.0) over 50 faces, 30.0 points less than 0-2"
    )
    assert score_tables.worst_groups([]) == ""


def test_numbers_of_faces_have_thousands_commas_in_every_table():
    assert [score_tables.faces_of(Scores(n, aged, {})) for n, aged in ((1400, 1400), (1400, 1026), (1400, 0))] == [
        *("1,400", "1,400, 1,026 by age", "1,400")
    ]


# ------------------------------------------------------------------------------------------------ benchmarks


def test_the_calibration_says_what_is_lacking_before_it_loads_tensorflow(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import calibration

    made = []
    makers = {name: lambda name=name: made.append(name) for name in calibration.DETECTORS}
    monkeypatch.setattr(calibration, "DETECTORS", makers)
    monkeypatch.setattr(calibration, "look", lambda *given: [])
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        calibration.main(["--data_dir", str(tmp_path / "nowhere")])
    assert not made
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="no face was found by dlib"):
        calibration.main(["--data_dir", str(tmp_path)])
    assert sorted(made) == sorted(["dlib", *calibration.WITH_LANDMARKS]) and made[-1] == "mtcnn"
