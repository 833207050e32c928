"""Folds: seeded ones, a benchmark's, and the trainings of all of them in turn."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_database, noise, training_options, write_database

import evaluate
import train
from age_gender.description import Description
from age_gender.intervals import Calibration
from networks import benchmark
from networks.checkpoints import describe_anew, inspect, store_calibration
from networks.split import split
from training.data import load_data
from training.reports import announce
from utils import open_database

TINY = ["--depth", "10", "--width", "1"]


def test_folds_are_disjoint_whole_people_and_the_same_whatever_the_seed():
    subject = np.r_[np.repeat(np.arange(20), 5), np.full(23, -1)]  # 20 people with 5 photos each, and 23 strangers
    database = make_database(123, subject=subject)
    tests = []
    for fold in range(4):
        training, validation, test = split([database], 0.2, 1, fold=fold, folds=4)
        again = split([database], 0.2, 7, fold=fold, folds=4)
        assert np.array_equal(test, again[2]) and not np.array_equal(validation, again[1])
        assert sorted([*training, *validation, *test]) == list(range(123))
        people = [set(subject[rows]) - {-1} for rows in (training, validation, test)]
        assert not (people[0] & people[1] | people[0] & people[2] | people[1] & people[2])
        tests.append(test)
    assert sorted(np.concatenate(tests)) == list(range(123)) and {len(test) for test in tests} <= {
        28,
        29,
        30,
        31,
        32,
        33,
    }


def entries(names, folders):
    return [{"img_path": f"AFAD/AFAD-Full/{name}", "age": 20, "folder": int(folder), "database": "AFAD"}
            for name, folder in zip(names, folders, strict=True)]  # fmt: skip


@pytest.fixture
def benchmark_faces(tmp_path):
    """A database of 60 faces, and a benchmark's file in which 50 of them stand in ten folders."""
    names = [f"{15 + row % 30}/{111 + row % 2}/{row}-0.jpg" for row in range(60)]
    path = write_database(tmp_path / "afad_db.mat", noise(60, 32), age=np.arange(60), gender=np.arange(60) % 2,
                          path=names, texts={"db": "afad", "detector": "none"})  # fmt: skip
    file = tmp_path / "AFAD-Full.json"
    file.write_text(json.dumps(entries(names[:50], np.arange(50) % 10)))
    return path, file


# The authors' own table: databases repository, README, "Data Splits".
AUTHORS = [("012345", "67", "89"), ("234567", "89", "01"), ("456789", "01", "23"), ("567890", "12", "34"),
           ("678901", "23", "45")]  # fmt: skip


def test_the_benchmarks_splits_are_its_authors(benchmark_faces, capsys):
    path, file = benchmark_faces
    assert benchmark.splits_in(file) == len(AUTHORS)
    for number, folders in enumerate(AUTHORS):
        data = load_data(training_options("-i", path, "--folds", file, "--fold", number, *TINY))
        sides = data.training, data.validation, data.test
        for rows, wanted in zip(sides, folders, strict=True):
            assert rows.tolist() == [row for row in range(50) if str(row % 10) in wanted]  # no face that it lacks
    description = Description("wide_resnet", {}, 32, trivial={"age": 30, "gender": 1})
    announce(data, description, SimpleNamespace(name="net", count_params=lambda: 5))
    assert "30 to train, 10 to validate, 10 kept for a test, 10 left out; net" in capsys.readouterr().out


def test_adiences_five_folders_are_five_splits(tmp_path):
    """As the benchmark's Adience.yaml has them."""
    file, names = tmp_path / "Adience.json", [f"{row}.jpg" for row in range(5)]
    file.write_text(json.dumps(entries(names, range(5))))
    found = [benchmark.sides_in(names, file, number).tolist() for number in range(benchmark.splits_in(file))]
    assert found == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 0], [0, 1, 2, 0, 0], [1, 2, 0, 0, 0], [2, 0, 0, 0, 1]]


def test_photos_are_found_by_the_end_of_their_path_and_by_nothing_that_two_share(tmp_path):
    file = tmp_path / "CLAP2016.json"
    file.write_text(json.dumps(entries(["a/1.jpg", "b/1.jpg", "b/2.jpg", "c/3.jpg"], [0, 2, 1, 2])))
    assert benchmark.splits_in(file) == 1
    assert benchmark.sides_in(["a/1.jpg", "b/1.jpg", "1.jpg", "2.jpg", "x/2.jpg", ""], file, 0).tolist() == [
        *(0, 2, -1, 1, -1, -1),
    ]
    for names, number, message in ((["x.jpg"], 0, "has none of the photos of the databases, such as x.jpg"),
                                   (["2.jpg"], 1, "has splits 0 to 0")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            benchmark.sides_in(names, file, number)
    for text in ("{", "[]", "{}", '[{"img_path": "a"}]', '[{"img_path": "a", "folder": -1}]', "[3]"):
        file.write_text(text)
        with pytest.raises(ValueError, match="CLAP2016.json is no database of the Facial Age Estimation Benchmark: "):
            benchmark.folders_in(file)
    for folder, message in (
        (1.5, "folder 1.5; folders are numbers"),
        (10**30, "folder 10+;"),
        (2, "two folders, 0 and 2"),
    ):
        twice = entries(["a/1.jpg", "b/1.jpg", "a/1.jpg"], [0, 1, 0])
        twice[2]["folder"] = folder
        file.write_text(json.dumps(twice))
        with pytest.raises(ValueError, match=f"AFAD/AFAD-Full/a/1.jpg is in {message}"):
            benchmark.folders_in(file)
    with pytest.raises(ValueError, match="is a folder"):
        benchmark.folders_in(tmp_path)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:f9\nsize 120121422\n")
    with pytest.raises(ValueError, match="CLAP2016.json is a Git LFS pointer of .* bytes, not the file: git lfs pull"):
        benchmark.folders_in(file)


def test_a_benchmark_is_scored_split_by_split(benchmark_faces, tiny_checkpoint_file, tmp_path, quick_report):
    path, file = benchmark_faces
    people = tmp_path / "FG-Net.json"
    people.write_text(
        json.dumps(entries([f"{15 + row % 30}/{111 + row % 2}/{row}-0.jpg" for row in [*range(9), 77]], range(1, 11)))
    )
    people.write_text(people.read_text().replace('"folder": 10', '"folder": 82'))
    words = ["--weight_file", str(tiny_checkpoint_file), "-i", str(path), "--output_dir", str(tmp_path / "out")]
    evaluate.main([*words, "--split_file", str(file), str(people)])
    said = json.loads((tmp_path / "out" / "metrics.json").read_text())["evaluations"]
    assert [(each["set"], each["n"]) for each in said] == [
        *((f"AFAD-Full split {number}", 10) for number in range(5)),
        ("FG-Net", 9),
    ]
    assert said[-1]["faces"].startswith(f"9 faces that {people} has for its test (1 of its 10 are in no database)")
    assert "are in no database" not in said[0]["faces"]
    with pytest.raises(ValueError, match="has no splits to train on"):
        train.main(["-i", str(path), "--folds", str(people), "--fold", "all", *TINY])


def test_all_folds_are_trained_in_turn_and_a_finished_one_not_again(
    faces, tmp_path, tiny_checkpoint_file, monkeypatch, capsys
):
    runs = []

    def trained(data, options, folder, stopped):
        shutil.copy(tiny_checkpoint_file, folder / "weights.01-1.00.hdf5")
        store_calibration(folder / "weights.01-1.00.hdf5", Calibration(0.9, 1.0, 1.0))
        runs.append((folder.relative_to(tmp_path).as_posix(), options.run, options.fold, data.test.tolist()))
        return 0

    monkeypatch.setattr(train, "train", trained)
    words = ["-i", str(faces), *TINY, "--folds", "3", "--fold", "all", "--output_dir", str(tmp_path)]
    assert train.main([*words, "--run", "mine"]) == 0
    assert f"python evaluate.py --weight_file {tmp_path / 'mine' / 'fold_*'}" in capsys.readouterr().out
    assert [run[:3] for run in runs] == [(f"mine/fold_{fold}", f"fold_{fold}", fold) for fold in range(3)]
    assert sorted(sum((run[3] for run in runs), [])) == list(range(40))
    (tmp_path / "mine" / "fold_1" / "weights.01-1.00.hdf5").unlink()
    assert train.main([*words, "--run", "mine", "--resume"]) == 0
    assert [run[2] for run in runs[3:]] == [1]
    shutil.copy(tiny_checkpoint_file, tmp_path / "mine" / "fold_2" / "weights.01-1.00.hdf5")  # broken off before that
    assert train.main([*words, "--run", "mine", "--resume"]) == 0
    assert [run[2] for run in runs[4:]] == [2]
    elsewhere = tmp_path / "start"
    elsewhere.mkdir()
    shutil.copy(tiny_checkpoint_file, elsewhere / "weights.01-1.00.hdf5")
    assert train.main([*words, "--teacher", str(elsewhere)]) == 0  # a folder that the folds do not lie in
    assert [run[:2] for run in runs[5:]] == [(f"fold_{fold}", None) for fold in range(3)]
    done = inspect(tmp_path / "fold_0" / "weights.01-1.00.hdf5")
    split = {"folds": 3, "databases": [open_database(faces).fingerprint()]}
    describe_anew(tmp_path / "fold_0" / "weights.01-1.00.hdf5", replace(done, split=split))
    assert train.main([*words, "--resume"]) == 0 and len(runs) == 8
    with pytest.raises(SystemExit):
        train.main([*words, "--resume", "--folds", "2"])
    assert "fold_0 has a fold of other databases or another --folds" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--weight_file", "--teacher"])
def test_folds_do_not_start_from_the_fold_before(option, faces, tmp_path, capsys):
    with pytest.raises(SystemExit):
        words = ["-i", str(faces), *TINY, "--folds", "3", "--fold", "all", "--output_dir", str(tmp_path / "runs")]
        train.main([*words, option, str(tmp_path)])
    assert f"--fold all: {option} must name a file" in capsys.readouterr().err


def test_finished_folds_of_a_benchmark_are_known_wherever_its_file_lies(
    benchmark_faces, tiny_checkpoint_file, tmp_path, monkeypatch, capsys
):
    path, file = benchmark_faces
    monkeypatch.chdir(file.parent)
    for number in range(5):
        best = tmp_path / "runs" / f"fold_{number}" / "weights.01-1.00.hdf5"
        best.parent.mkdir(parents=True)
        shutil.copy(tiny_checkpoint_file, best)
        split = {"folds": f"/elsewhere/{file.name}", "databases": [open_database(path).fingerprint()]}
        describe_anew(best, replace(inspect(best), split=split, calibration=Calibration(0.9, 1.0, 1.0)))
    words = ["-i", str(path), *TINY, "--folds", file.name, "--fold", "all", "--output_dir", str(tmp_path / "runs")]
    assert train.main([*words, "--resume"]) == 0
    assert capsys.readouterr().out.count("is finished") == 5


def test_too_few_people_for_the_folds_are_refused_before_any_is_trained(tmp_path):
    subject = np.repeat(np.arange(3), 4)
    path = write_database(
        tmp_path / "a.mat", noise(12, 32), age=np.arange(12), gender=np.arange(12) % 2, subject=subject
    )
    with pytest.raises(ValueError, match="3 people, .* do not make 5 folds"):
        train.main(["-i", str(path), *TINY, "--folds", "5", "--fold", "all", "--output_dir", str(tmp_path / "run")])


def test_the_datasets_own_folds_are_those_that_are_trained(tmp_path, capsys):
    texts = {"db": "adience", "detector": "none", "part_names": ("fold_0", "fold_1", "fold_4")}
    path = write_database(tmp_path / "a.mat", noise(9, 32), part=np.arange(9) % 3, texts=texts)
    found = train.every_fold(train.build_parser(), ["-i", str(path), "--fold", "all", "--output_dir", "out"])
    assert [str(folder) for folder, _ in found] == ["out/fold_0", "out/fold_1", "out/fold_4"]
    assert training_options(*found[2][1]).fold == 4
    none = write_database(tmp_path / "b.mat", noise(9, 32))
    with pytest.raises(ValueError, match="no database has folds of its own; --folds 5 makes five"):
        train.main(["-i", str(none), "--fold", "all"])
    for words, message in ((["--folds", "3"], "--folds makes folds: --fold says which"),
                           (["--folds", "3", "--fold", "3"], "--fold 3 is none of the 3 of --folds"),
                           (["--folds", "1"], "'1' is neither a number of folds, 2 to 100, nor a .json file"),
                           (["--fold", "some"], "argument --fold")):  # fmt: skip
        with pytest.raises(SystemExit):
            train.main(["-i", str(none), *words])
        assert message in capsys.readouterr().err.splitlines()[-1]
