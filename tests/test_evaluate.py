"""evaluate.py on several checkpoints and several sets of faces: which faces, pairs, calibration, and what it writes."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import give_every_weight_a_value, make_database, noise, posix, predict_eagerly, write_database

import evaluate
from age_gender import __version__, runtimes
from age_gender.description import Description
from age_gender.files import alone
from age_gender.intervals import Calibration, age_interval, tempered
from age_gender.labels import AGE_SCALES, YEARS, expected_age
from age_gender.predictor import Predictor
from evaluation import pictures, protocols, reports, tables
from evaluation.calibration import fit
from evaluation.scoring import calibrated, identities
from networks import checkpoints, open_model
from networks.split import split
from utils import ImageStack, open_database

HOW = {"validation_split": 0.3, "seed": 3, "test_split": 0.2}


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    """Three databases: one to be trained on, one of another dataset in parts, and Adience in folds."""
    folder = tmp_path_factory.mktemp("databases")
    rng = np.random.default_rng(0)

    def made(name, count, db, part_names=(), **columns):
        labels = {"age": rng.integers(0, 101, count), "gender": rng.integers(0, 2, count), **columns}
        if part_names:
            labels["part"] = np.arange(count) % len(part_names)
        texts = {"db": db, "detector": "none", **({"part_names": part_names} if part_names else {})}
        names = [f"{name}/{number}.jpg" for number in range(count)]
        return write_database(
            folder / f"{name}_db.mat", noise(count, 32, seed=count), **labels, path=names, texts=texts
        )

    return {
        "utkface": made("utkface", 80, "utkface"),
        "appa_real": made("appa_real", 30, "appa_real", ("train", "valid", "test")),
        "appa_real_apparent": made("appa_real_apparent", 24, "appa_real_apparent", ("train", "valid", "test")),
        "adience": made("adience", 50, "adience", tuple(f"fold_{number}" for number in range(5))),
    }


@pytest.fixture(scope="module")
def runs(databases, tmp_path_factory):
    """Two checkpoints with other weights that one split of one database made."""
    from wide_resnet import wide_resnet

    folder = tmp_path_factory.mktemp("runs")
    how = {**HOW, "databases": [open_database(databases["utkface"]).fingerprint()], "datasets": ["utkface"]}
    paths = []
    for epoch in (2, 1):
        training = {"epoch": epoch, "arguments": {"input": [str(databases["utkface"])]}}
        checkpoint = Description("wide_resnet", {"depth": 10, "width": 1}, 32, split=how, training=training)
        paths.append(folder / f"weights.{epoch:02d}-4.00.hdf5")
        checkpoints.save(give_every_weight_a_value(wide_resnet(32, depth=10, width=1), epoch), paths[-1], checkpoint)
    return paths


def copy_of(path, folder):
    return shutil.copy(path, folder / path.name)


def test_a_face_is_the_same_whatever_database_stands_before_its_own():
    one, other = make_database(3, 4), make_database(2, 4, seed=1)
    names = [f"{each.fingerprint()} {row}" for each in (one, other) for row in range(len(each))]
    assert identities([one, other], np.arange(5)).tolist() == names
    assert identities([other, one], np.arange(5)).tolist() == names[3:] + names[:3]


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------------------------------------ which faces


def trained_on(*chosen, **more):
    known = [database.fingerprint() for database in chosen]
    return Description("wide_resnet", {}, 8, split={**HOW, "databases": known, "datasets": ["wiki"], **more})


def test_databases_of_the_training_are_one_set_and_each_other_one_another():
    one, two = make_database(60, seed=1), make_database(40, seed=2)
    other, third = make_database(10, seed=3, db="afad"), make_database(5, seed=4, db="fgnet")
    checkpoint = trained_on(one, two)
    expected = split([one, two], 0.3, 3, 0.2)[2]
    # whatever else is there and in whatever order
    sets = protocols.kept_out([other, two, third, one], checkpoint)
    assert [each.name for each in sets] == ["test", "drawn_3", "drawn_4"]
    place = np.where(expected < 60, expected + 55, expected - 60 + 10)
    assert sets[0].rows.tolist() == sorted(place.tolist())
    assert [each.rows.tolist() for each in sets[1:]] == [list(range(10)), list(range(50, 55))]
    assert sets[1].says == "10 faces"
    with pytest.raises(ValueError, match="only with all the databases of the training"):
        protocols.kept_out([one, other], checkpoint)


def test_training_faces_among_those_scored_are_counted():
    one, other = make_database(60, seed=1), make_database(10, seed=3, db="afad")
    training, validation, test = split([one], 0.3, 3, 0.2)
    (found,) = protocols.kept_out([one], trained_on(one), "all")
    assert found.says == (
        f"all 60 faces, {len(validation)} faces that chose the checkpoint among them, {len(training)} training faces "
        "among them: the scores flatter"
    )
    assert np.flatnonzero(found.chose).tolist() == validation.tolist()
    # of a training that this one went on from
    later = replace(trained_on(other), training={"start": {"split": trained_on(one).split}})
    (_, found) = protocols.kept_out([other, one], later)
    assert f"{len(training)} training faces among them" in found.says
    # and of an earlier one with another seed, on the same database
    how = {**trained_on(one).split, "test_split": 0.0, "seed": 4}
    again = replace(trained_on(one), training={"teachers": [{"split": how}]})
    earlier = np.intersect1d(test, split([one], 0.3, 4)[0])
    (found,) = protocols.kept_out([one], again)
    assert f"{len(earlier)} training faces of an earlier training among them" in found.says and len(earlier) > 3
    # and of one that cannot be told, whose other database is not there: the own test part is known all the same
    both = replace(trained_on(other), training={"start": {"split": trained_on(one, other).split}})
    (found,) = protocols.kept_out([other], both)
    assert found.rows.tolist() == split([other], 0.3, 3, 0.2)[2].tolist()
    assert found.says.endswith("perhaps training faces of an earlier training among them, which cannot be told")


def test_appa_real_has_two_parts_and_two_ages(databases):
    opened = [open_database(databases[name]) for name in ("appa_real", "appa_real_apparent")]
    sets = protocols.published("appa_real", opened, Description("wide_resnet", {}, 32))
    assert [each.name for each in sets] == [
        *("valid, real age", "test, real age", "valid, apparent age", "test, apparent age"),
    ]
    assert sets[1].rows.tolist() == list(range(2, 30, 3)) and sets[3].rows.tolist() == list(range(32, 54, 3))
    parts = protocols.published("parts", opened[:1], Description("wide_resnet", {}, 32))
    assert [(each.name, len(each.rows)) for each in parts] == [
        *[("train, appa_real", 10), ("valid, appa_real", 10), ("test, appa_real", 10)],
    ]


def test_protocols_refuse_what_is_not_theirs(databases, runs):
    utkface, real = (open_database(databases[name]) for name in ("utkface", "appa_real"))
    plain = Description("wide_resnet", {}, 32)
    with pytest.raises(ValueError, match="takes its databases; .*utkface_db.mat is of utkface"):
        protocols.published("appa_real", [real, utkface], plain)
    with pytest.raises(ValueError, match="no database has parts"):
        protocols.published("parts", [utkface], plain)
    with pytest.raises(ValueError, match="trained on Adience with --fold"):
        protocols.published("adience", [utkface], plain)
    for folds in ([0, 1, 2, 3], [0, 1, 2, 3, 3], [0, 1, 2, 3, 4, 4], [0, 1, 2, 3, None]):
        with pytest.raises(ValueError, match="five checkpoints, .* received folds 0, 1, 2, 3"):
            protocols.check_folds([Description("wide_resnet", {}, 8, split={"fold": fold}) for fold in folds])
    protocols.check_folds([Description("wide_resnet", {}, 8, split={"fold": fold}) for fold in (3, 1, 0, 4, 2)])
    with pytest.raises(ValueError, match="received folds none, none"):  # of --folds 5: not its authors'
        protocols.check_folds([Description("wide_resnet", {}, 8, split={"fold": n, "folds": 5}) for n in range(5)])


def test_adience_is_five_folds_each_by_the_one_that_did_not_see_it(
    tiny_model, databases, tmp_path, capsys, quick_report
):
    database = open_database(databases["adience"])
    paths = []
    for fold in range(5):
        how = {"validation_split": 0.3, "seed": 0, "fold": fold, "databases": [database.fingerprint()]}
        training = {"arguments": {"input": [str(databases["adience"])]}}
        checkpoint = Description("wide_resnet", {"depth": 10, "width": 1}, 32, split=how, training=training)
        paths.append(str(tmp_path / f"{fold}.hdf5"))
        checkpoints.save(tiny_model, tmp_path / f"{fold}.hdf5", checkpoint)
    evaluate.main(["--weight_file", *paths, "--protocol", "adience", "--output_dir", str(tmp_path / "out")])
    said = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [each["age_scale"] for each in said["evaluations"]] == ["adience"] * 5
    for number in range(5):
        rows = rows_of(tmp_path / "out" / f"{number + 1}_own_fold" / "predictions.csv")
        assert [row["path"] for row in rows] == [f"adience/{row}.jpg" for row in range(number, 50, 5)]
    (spread,) = said["over_checkpoints"]
    assert spread["checkpoints"] == 5 and not said["comparisons"]
    said = capsys.readouterr().out
    assert "± " in said and said.count("for want of faces in common") == 1


def test_a_list_names_the_faces(databases, runs, tmp_path, capsys, quick_report):
    lists = tmp_path / "half.txt", tmp_path / "some.csv"
    lists[0].write_text("utkface/3.jpg\n./utkface/40.jpg\n7.jpg\nnowhere.jpg\n")
    lists[1].write_text("path,age\nutkface/5.jpg,3\n")
    evaluate.main(
        ["--weight_file", str(runs[0]), "--split_file", *map(str, lists), "--output_dir", str(tmp_path / "out")]
    )
    named = [row["path"] for row in rows_of(tmp_path / "out" / "1_half" / "predictions.csv")]
    assert named == [f"utkface/{row}.jpg" for row in (3, 7, 40)]
    assert len(rows_of(tmp_path / "out" / "1_some" / "predictions.csv")) == 1
    said = capsys.readouterr().out
    assert "3 faces that" in said and "(1 of its 4 names are in no database)" in said
    (tmp_path / "none.txt").write_text("a.jpg\nb.jpg\n")
    with pytest.raises(ValueError, match="none of its 2 names is in the databases"):
        evaluate.main(["--weight_file", str(runs[0]), "--split_file", str(tmp_path / "none.txt")])
    (tmp_path / "two.txt").write_text("utkface/3.jpg,utkface/5.jpg\n")
    with pytest.raises(ValueError, match="two.txt, line 1: utkface/5.jpg is a photo too; write one name a line"):
        evaluate.main(["--weight_file", str(runs[0]), "--split_file", str(tmp_path / "two.txt")])
    with pytest.raises(ValueError, match="nowhere.txt cannot be read as a table: it is not there$"):
        evaluate.main(["--weight_file", str(runs[0]), "--split_file", "nowhere.txt"])


def test_only_one_way_of_choosing_faces(runs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--weight_file", str(runs[0]), "--part", "test", "--protocol", "parts"])
    assert "--part and --protocol each say which faces to score: choose one" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ several


@pytest.fixture(scope="module")
def several(runs, databases, tmp_path_factory):
    """Two checkpoints on two databases, one of them calibrated."""
    folder = tmp_path_factory.mktemp("several")
    runs = [copy_of(runs[0], folder), runs[1]]
    checkpoints.store_calibration(runs[0], Calibration(widen=2.0, ages=30, genders=30))
    inputs = [str(databases["utkface"]), str(databases["appa_real"])]
    evaluate.main(["--weight_file", *map(str, runs), "-i", *inputs, "--output_dir", str(folder)])
    return folder


def test_every_checkpoint_is_scored_on_every_set(several, runs):
    said = json.loads((several / "metrics.json").read_text())
    found = [(each["weight_file"].rsplit("/", 1)[-1], each["set"], each["n"]) for each in said["evaluations"]]
    assert found == [(path.name, name, n) for path in runs for name, n in (("test", 16), ("appa_real", 30))]
    assert ["interval_width" in each for each in said["evaluations"]] == [True, True, False, False]
    assert {path.name for path in several.iterdir() if path.is_dir()} == {
        *("1_test", "1_appa_real", "2_test", "2_appa_real"),
    }
    for number, each in enumerate(said["evaluations"]):
        rows = rows_of(several / f"{number // 2 + 1}_{each['set']}" / "predictions.csv")
        errors = [abs(float(row["expected_age"]) - int(row["age"])) for row in rows]
        assert each["age_mae"]["value"] == pytest.approx(np.mean(errors), abs=1e-3)


def test_pairs_are_the_differences_on_the_same_faces(several, runs):
    said = json.loads((several / "metrics.json").read_text())
    assert [(each["weight_file"], each["less"], each["set"]) for each in said["comparisons"]] == [
        (str(runs[1]), str(several / runs[0].name), name) for name in ("test", "appa_real")
    ]
    values = {(each["weight_file"], each["set"]): each for each in said["evaluations"]}
    for each in said["comparisons"]:
        mine, other = (values[path, each["set"]] for path in (each["weight_file"], each["less"]))
        for name in ("age_mae", "gender_accuracy", "age_bias"):
            found = each["differences"][name]
            assert found["value"] == pytest.approx(mine[name]["value"] - other[name]["value"])
            assert found["low"] <= found["value"] <= found["high"] and 0 < found["p"] <= 1


def test_the_report_is_one_file_with_everything_in_it(several):
    page = (several / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "http" not in page
    assert page.count("<figure>") == page.count("data:image/png;base64,") >= 4 * 6
    assert len(re.findall("<h2[^>]*>2_appa_real: ", page)) >= 4 and "on the same faces" in page
    links, places = re.findall('href="#([^"]*)"', page), re.findall(' id="([^"]*)"', page)
    assert len(links) >= 6 and len(set(places)) == len(places) and set(links) <= set(places)
    said = json.loads((several / "metrics.json").read_text())["evaluations"][0]
    sentence = f"{said['n']} faces: the age is off by {said['age_mae']['value']:.2f} years ("
    assert (
        page.index(sentence) < page.index("<table>")
        and f"where one answer for all gives {said['age_mae']['trivial']:.2f} years; the gender" in page
    )
    assert f"version {__version__}: evaluate.py --weight_file" in page and "<dt>MAE</dt>" in page
    assert page.count("data:image/jpeg;base64,") == 2 * (16 + 30)  # no face twice
    assert "of each true age, by each checkpoint" in page and (several / "separation.png").stat().st_size > 5000


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    assert [tables.number("age_mae", value, signed=True) for value in (-0.001, 0.001, -0.01)] == [
        "+0.00",
        "+0.00",
        "-0.01",
    ]
    assert tables.number("age_mae", float("nan")) == "-"


def test_checkpoints_of_one_run_are_drawn_in_the_order_of_its_epochs_others_as_they_are_named(monkeypatch):
    monkeypatch.setattr(pictures.plots, "draw_separation", lambda panels: [name for name, *_ in panels])
    scored = {"identity": np.arange(1), "scale": YEARS, "faces": pd.DataFrame({"age": [5]}), "p_age": np.ones((1, 101))}
    score = {"age_mae": SimpleNamespace(value=4.0)}

    def drawn(*files):
        evaluations = [SimpleNamespace(**scored, weight_file=file, epoch=n, overall=score) for file, n in files]
        [picture] = pictures.separation(evaluations)
        return picture.png, "as training goes on" in picture.says

    run = [("a/weights.05-2.hdf5", 5), ("a/weights.03-3.hdf5", 3)]
    names = ["weights.03-3.hdf5\nepoch 3, MAE 4.00", "weights.05-2.hdf5\nepoch 5, MAE 4.00"]
    assert drawn(*run) == (names, True)
    assert drawn(run[0], ("b/weights.03-3.hdf5", 3), ("c/m.onnx", None)) == (
        ["a\nMAE 4.00", "b\nMAE 4.00", "m\nMAE 4.00"],
        False,
    )


def test_the_table_of_scores_has_every_statistic(several):
    rows = rows_of(several / "scores.csv")
    said = json.loads((several / "metrics.json").read_text())
    for each in said["evaluations"]:
        mine = [row for row in rows if (row["weight_file"], row["set"]) == (each["weight_file"], each["set"])]
        overall = {row["statistic"]: row for row in mine if row["by"] == "all"}
        for name in ("age_mae", "age_rmse", "age_bias", "cs5", "gender_f1", "gender_auc", "gender_unsure"):
            assert float(overall[name]["value"]) == pytest.approx(each[name]["value"], rel=1e-4), name
        assert [float(overall[f"cs{k}"]["value"]) for k in range(21)] == pytest.approx(
            [point["value"] for point in each["cs_curve"]], rel=1e-4, abs=1e-6
        )
        assert {row["by"] for row in mine} == {"all", "age", "gender", "age and gender"}


def test_checkpoints_are_compared_on_the_faces_they_share_however_these_are_called(
    runs, databases, tiny_checkpoint_file, tmp_path, capsys, quick_report
):
    inputs = ["-i", str(databases["utkface"]), str(databases["utkface"])]
    files = [
        "--weight_file",
        str(tiny_checkpoint_file),
        str(runs[0]),
        str(runs[0]),
    ]  # what is named twice is taken once
    evaluate.main([*files, *inputs, "--output_dir", str(tmp_path)])
    said = json.loads((tmp_path / "metrics.json").read_text())
    assert [(each["set"], each["n"]) for each in said["evaluations"]] == [("utkface", 80), ("test", 16)]
    ((pair,),) = [said["comparisons"]]
    assert (pair["set"], pair["n"]) == ("test", 16) and said["over_checkpoints"] == []
    everyone = rows_of(tmp_path / "1_utkface" / "predictions.csv")
    one = {row["path"]: abs(float(row["expected_age"]) - int(row["age"])) for row in everyone}
    own = rows_of(tmp_path / "2_test" / "predictions.csv")
    expected = np.mean([abs(float(row["expected_age"]) - int(row["age"])) - one[row["path"]] for row in own])
    assert pair["differences"]["age_mae"]["value"] == pytest.approx(expected, abs=1e-3)


def test_databases_of_other_sizes_stand_beside_each_other(databases, runs, tmp_path, quick_report):
    small = write_database(tmp_path / "small_db.mat", noise(6, 16), texts={"db": "fgnet", "detector": "none"})
    inputs = ["-i", str(databases["utkface"]), str(small)]
    words = ["--weight_file", str(runs[0]), *inputs, "--output_dir", str(tmp_path / "out")]
    with alone(tmp_path / "out" / "evaluate"), pytest.raises(ValueError, match="another run is at work on .*out; wait"):
        evaluate.main(words)
    evaluate.main(words)
    said = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [(each["set"], each["n"]) for each in said["evaluations"]] == [("test", 16), ("small", 6)]


def test_lists_of_one_name_have_folders_of_their_own(databases, runs, tmp_path, quick_report):
    lists = [tmp_path / name / "test.txt" for name in ("a", "b")]
    for number, path in enumerate(lists):
        path.parent.mkdir()
        path.write_text("".join(f"{row}.jpg\n" for row in range(number, 80, 2 + number)))
    files = ["--weight_file", *map(str, runs)]
    evaluate.main([*files, "--split_file", *map(str, lists), "--output_dir", str(tmp_path / "out")])
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {
        *("1_test", "1_test__2_", "2_test", "2_test__2_"),
    }
    said = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [(each["set"], each["n"]) for each in said["comparisons"]] == [("test", 40), ("test (2)", 27)]
    assert [(each["set"], each["checkpoints"]) for each in said["over_checkpoints"]] == [("test", 2), ("test (2)", 2)]


def test_an_exported_file_is_scored_as_a_checkpoint_is(databases, tmp_path, capsys, quick_report):
    utkface, shipped = str(databases["utkface"]), Path(runtimes.__file__).with_name("age_gender.onnx")
    path = str(shutil.copy(shipped, tmp_path / "model.onnx"))
    (tmp_path / "some.txt").write_text("".join(f"{row}.jpg\n" for row in range(0, 80, 8)))
    some = ["--split_file", str(tmp_path / "some.txt"), "--output_dir", str(tmp_path / "out")]
    evaluate.main(["--weight_file", path, "-i", utkface, *some])
    model = open_model(path)
    images = ImageStack([open_database(utkface)], model.description.image_size)[np.arange(0, 80, 8)]
    gender, age = model(images)
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert [row["path"] for row in rows] == [f"utkface/{row}.jpg" for row in range(0, 80, 8)]
    np.testing.assert_allclose([float(row["expected_age"]) for row in rows], expected_age(age), atol=1e-3)
    np.testing.assert_allclose([float(row["p_male"]) for row in rows], gender[:, 1], atol=1e-4)  # calibrated already
    ends = age_interval(age, model.description.calibration)
    assert [[int(row[name]) for row in rows] for name in ("age_low", "age_high")] == [end.tolist() for end in ends]
    said = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert any("is not known: faces that trained it cannot be told" in note for note in said["notes"])
    for options, reason in (
        ([], "does not know its training: name databases with --input"),
        (["-i", utkface, "--calibrate"], "takes the checkpoint that it was made from"),
        (["-i", utkface, "--part", "test"], "the faces held out can be told only with"),
    ):
        with pytest.raises(ValueError, match=reason):
            evaluate.main(["--weight_file", path, *options, "--output_dir", str(tmp_path / "out")])


def test_results_of_an_earlier_evaluation_go_as_a_whole_and_nothing_else_does(tmp_path):
    def results(**texts):
        finished = tmp_path / ".new"
        for name, text in texts.items():
            path = finished / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        reports._put_in_place(finished, tmp_path / "out")
        shutil.rmtree(finished)

    def there():
        return {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}

    results(table="1", one__table="1", two__table="1")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "one" / "mine.txt").write_text("mine")
    (tmp_path / "outside").write_text("not in the folder")
    with open(tmp_path / "out" / "results.txt", "a") as file:
        file.write("../outside\n")
    results(table="2", three__table="2")
    assert there() == {"results.txt", "table", "notes.txt", "one", "one/mine.txt", "three", "three/table"}
    assert (tmp_path / "out" / "table").read_text() == "2" and (tmp_path / "outside").exists()


def test_files_of_another_program_are_not_replaced(tmp_path):
    (tmp_path / "predictions.csv").write_text("a year's work")
    with pytest.raises(ValueError, match=r"predictions\.csv is not of evaluate\.py; name another folder"):
        reports.refuse_foreign(tmp_path)
    for name in ("report.html", "metrics.json"):  # of a version before 0.7
        (tmp_path / name).write_text("")
    reports.refuse_foreign(tmp_path)


def test_no_cell_of_a_table_is_a_formula():
    frame = tables.guarded_cells(pd.DataFrame({"race": ["=1+1", "White", None], "n": [1, -2, 3]}))
    assert frame.race.tolist()[:2] == ["'=1+1", "White"] and frame.n.tolist() == [1, -2, 3]


def test_a_list_of_results_that_is_somebody_elses_is_refused(tmp_path):
    reports.refuse_foreign(tmp_path)
    (tmp_path / "results.txt").write_bytes(b"table.csv\nresults.txt\n")
    reports.refuse_foreign(tmp_path)
    (tmp_path / "results.txt").write_bytes("Müller: 3.4\nlabels.csv\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"results\.txt is not of evaluate\.py; name another folder"):
        reports.refuse_foreign(tmp_path)


def test_what_cannot_be_scored_is_refused(runs, databases, tmp_path):
    from wide_resnet import wide_resnet

    broken = wide_resnet(32, depth=10, width=1)
    broken.get_layer("pred_age").set_weights([array * np.nan for array in broken.get_layer("pred_age").get_weights()])
    checkpoints.save(broken, tmp_path / "nan.hdf5", Description("wide_resnet", {"depth": 10, "width": 1}, 32))
    (tmp_path / "file").write_text("")
    races = write_database(tmp_path / "races.mat", noise(3, 32), race=np.array([0, 1, 2]))
    utkface = str(databases["utkface"])
    for options, reason in (
        (["--weight_file", str(tmp_path / "nan.hdf5"), "-i", utkface], "nan.hdf5 answers what is no number"),
        (["--weight_file", str(runs[0]), "--output_dir", str(tmp_path / "file")], "file is a file; --output_dir names"),
        (["--weight_file", str(runs[0]), "-i", str(races)], "'race' has numbers beyond the 0 of its 'race_names'"),
    ):
        with pytest.raises(ValueError, match=reason):
            evaluate.main(["--output_dir", str(tmp_path / "out"), *options])


def test_labels_that_are_intervals_are_spoken_of_and_shown(runs, tmp_path, quick_report):
    path = copy_of(runs[0], tmp_path)
    checkpoints.store_calibration(path, Calibration(widen=2.0, ages=30, genders=30))
    labels = {"age": np.full(3, -1), "age_low": np.array([25, -1, 38]), "age_high": np.array([32, -1, 43])}
    database = write_database(tmp_path / "a_db.mat", noise(3, 32), **labels, gender=np.array([0, 1, 1]))
    evaluate.main(["--weight_file", str(path), "-i", str(database), "--output_dir", str(tmp_path / "out")])
    text = (tmp_path / "out" / "table.txt").read_text(encoding="utf-8")
    note = "3 of 3 faces have no age in years: not scored by age; --age_scale scores the intervals of 2, where"
    assert note in text and "ages within their interval (%)  " not in text  # as a column's heading
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "age intervals" not in page and all(f"<div>{label} → " in page for label in ("25-32, F", "?, M", "38-43, M"))
    assert [row["label_low"] for row in rows_of(tmp_path / "out" / "predictions.csv")] == ["25", "-1", "38"]
    (row,) = rows_of(tmp_path / "out" / "table.csv")
    assert (row["n"], row["n by age"], row["age MAE (years)"], row["CS@5 (%) low"]) == ("3", "0", "", "")


def test_one_face_is_no_faces(runs, tmp_path, capsys, quick_report):
    database = write_database(tmp_path / "a_db.mat", noise(1, 32), age=np.array([30]), gender=np.array([0]))
    evaluate.main(["--weight_file", str(runs[0]), "-i", str(database), "--output_dir", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "a_db.mat: 1 face\n" in said and "1 faces" not in said
    assert "<b>1 face: the age is off by" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------ calibration


def test_calibration_is_fitted_on_the_validation_part_and_stored(runs, databases, tmp_path, capsys, quick_report):
    path = copy_of(runs[0], tmp_path)
    before = checkpoints.load(path)[0].get_weights()
    evaluate.main(["--weight_file", str(path), "--calibrate", "--output_dir", str(tmp_path / "out")])
    model, checkpoint = checkpoints.load(path)
    database = open_database(databases["utkface"])
    _, validation, test = split([database], 0.3, 3, 0.2)
    p_gender, p_age = predict_eagerly(model)(database.image[validation])
    expected = fit(p_age, p_gender[:, 1], database.age[validation], database.gender[validation])
    assert checkpoint.calibration._replace(widen=0, temperature=0) == expected._replace(widen=0, temperature=0)
    assert checkpoint.calibration.widen == pytest.approx(expected.widen, abs=1e-3)
    assert checkpoint.calibration.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    assert "90% age intervals" in capsys.readouterr().out
    # and is what the scores are made with
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    p_gender, p_age = predict_eagerly(model)(database.image[test])
    first, last = age_interval(p_age, checkpoint.calibration)
    assert [float(row["age_low"]) for row in rows] == first.tolist()
    assert [float(row["age_high"]) for row in rows] == last.tolist()
    np.testing.assert_allclose(
        [float(row["p_male"]) for row in rows], tempered(p_gender[:, 1], checkpoint.calibration.temperature), atol=1e-3
    )
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    inside = (database.age[test] >= first) & (database.age[test] <= last)
    assert metrics["interval_coverage"]["value"] == pytest.approx(inside.mean())
    assert metrics["interval_width"]["value"] == pytest.approx((last - first).mean())
    assert set(metrics["reliability"]) == {"calibrated", "the network's own"}


def test_faces_that_calibrated_are_judged_by_the_other_half_of_them():
    rng = np.random.default_rng(0)
    age, gender = rng.integers(20, 80, 100), rng.integers(0, 2, 100)
    p_age = np.exp(-((np.arange(101) - (age + rng.normal(0, 6, 100))[:, None]) ** 2) / 30)
    p_age /= p_age.sum(axis=1, keepdims=True)
    p_male = np.clip(rng.random(100), 0.01, 0.99)
    own = fit(p_age, p_male, age, gender)
    faces = pd.DataFrame({"age": age, "gender": gender, "p_male": p_male})
    seen, notes = calibrated(faces, p_age, own, np.zeros(100, bool), 1)
    assert notes == []
    np.testing.assert_allclose(seen.p_male, tempered(p_male, own.temperature))
    crossed, (note,) = calibrated(faces, p_age, own, np.ones(100, bool), 1)
    assert faces.equals(pd.DataFrame({"age": age, "gender": gender, "p_male": p_male}))  # as it was
    assert "each half of these faces is judged by the calibration of the other" in note
    one, other = np.array_split(np.random.default_rng(1).permutation(100), 2)
    for half, rest in ((one, other), (other, one)):
        others = fit(p_age[rest], p_male[rest], age[rest], gender[rest])
        first, last = age_interval(p_age[half], others)
        assert crossed.age_low[half].tolist() == first.tolist() and crossed.age_high[half].tolist() == last.tolist()
        np.testing.assert_allclose(crossed.p_male[half], tempered(p_male[half], others.temperature))


def test_among_others_they_are_told_apart_and_groups_have_calibrated_genders_too():
    rng = np.random.default_rng(2)
    age, gender, p_male = rng.integers(20, 80, 60), rng.integers(0, 2, 60), rng.uniform(0.05, 0.95, 60)
    p_age = np.full((60, 101), 1 / 101)
    calibration = Calibration(widen=1.0, temperature=2.0)
    own = np.arange(60) % 3 == 0
    table = pd.DataFrame({"age": age, "gender": gender, "p_male": p_male})
    faces, (note,) = calibrated(table, p_age, calibration, own, 1)
    assert "the 20 faces that calibrated the checkpoint" in note
    np.testing.assert_allclose(faces.p_male[~own], tempered(p_male[~own], 2.0))
    assert not np.allclose(faces.p_male[own], tempered(p_male[own], 2.0), atol=1e-3)
    assert faces.age_low.notna().all()
    groups, _ = calibrated(table, p_age[:, :8], calibration, np.zeros(60, bool), 1, intervals=False)
    np.testing.assert_allclose(groups.p_male, tempered(p_male, 2.0))
    assert "age_low" not in groups


def test_the_demo_shows_what_the_checkpoint_has(runs, drawn, tmp_path, capsys):
    import demo

    path = copy_of(runs[0], tmp_path)
    photo = str(drawn / "photos" / "family.jpg")
    options = ["--weight_file", str(path), "--image", photo, "--no_display", "--output_dir", str(tmp_path / "found")]
    demo.main(options)
    without = rows_of(tmp_path / "found" / "predictions.csv")
    assert {row["age_low"] for row in without} == {""} and ", " in capsys.readouterr().out
    checkpoints.store_calibration(path, Calibration(widen=2.0, temperature=3.0, ages=100, genders=100))
    demo.main([*options, "--unsure_below", "1"])
    said = capsys.readouterr().out
    rows = rows_of(tmp_path / "found" / "predictions.csv")
    assert len(rows) == len(without) == 3
    for row, before in zip(rows, without, strict=True):
        assert row["age"] == before["age"] and int(row["age_low"]) <= int(row["age_high"])
        assert f"{float(row['age']):.0f} unsure ({row['age_low']}-{row['age_high']})" in said
        expected = tempered(np.array([float(before["p_male"])]), 3.0)[0]
        assert float(row["p_male"]) == pytest.approx(expected, abs=2e-3) and row["unsure"] == "1"
    predictor = Predictor(open_model(path), age_scale=AGE_SCALES["adult_child"], unsure_below=0.5)
    from age_gender.faces import read_image

    assert all(face.interval is None and not face.unsure for face in predictor(read_image(photo)))


@posix
def test_a_read_only_checkpoint_stays_as_it_is_and_a_link_leads_to_its_file(runs, tmp_path):
    path = copy_of(runs[0], tmp_path)
    link = tmp_path / "link.hdf5"
    link.symlink_to(path)
    checkpoints.store_calibration(link, Calibration(widen=1.0))
    assert link.is_symlink() and checkpoints.inspect(path).calibration.widen == 1.0
    path.chmod(0o444)
    with pytest.raises(ValueError, match="is read-only"):
        checkpoints.store_calibration(link, Calibration(widen=2.0))
    assert checkpoints.inspect(path).calibration.widen == 1.0


def test_calibrating_refuses_what_has_no_validation_part(tiny_checkpoint_file, runs, databases, tmp_path):
    path = copy_of(tiny_checkpoint_file, tmp_path)
    for options, reason in (
        (["--weight_file", path], "does not say what it was trained on"),
        (["--weight_file", path, "-i", databases["utkface"]], "the faces held out can be told only with all"),
        (["--weight_file", copy_of(runs[0], tmp_path), "-i", databases["adience"]], "only with all the databases"),
    ):
        content = tmp_path.joinpath(options[1].name).read_bytes()
        with pytest.raises(ValueError, match=reason):
            evaluate.main([*map(str, options), "--calibrate", "--output_dir", str(tmp_path / "out")])
        assert tmp_path.joinpath(options[1].name).read_bytes() == content


# ------------------------------------------------------------------------------------------------ runs in one table


def test_five_folds_have_a_mean_and_a_deviation_whatever_their_databases_are_called(tmp_path, quick_report):
    from wide_resnet import wide_resnet

    model, paths = give_every_weight_a_value(wide_resnet(32, depth=10, width=1), 3), []
    for fold in range(3):
        database = tmp_path / f"fold_{fold}.mat"
        write_database(
            database, noise(30, 32, seed=fold), age=np.roll(np.arange(30) * 3, fold), gender=np.arange(30) % 2
        )
        how = {**HOW, "databases": [open_database(database).fingerprint()], "datasets": ["wiki"]}
        said = Description("wide_resnet", {"depth": 10, "width": 1}, 32, split=how,
                           training={"arguments": {"input": [str(database)]}})  # fmt: skip
        paths.append(tmp_path / f"{fold}.hdf5")
        checkpoints.save(model, paths[-1], said)
    evaluate.main(["--weight_file", *map(str, paths), "--output_dir", str(tmp_path / "out")])
    said = json.loads((tmp_path / "out" / "metrics.json").read_text())
    (spread,) = said["over_checkpoints"]
    errors = [each["age_mae"]["value"] for each in said["evaluations"]]
    assert (spread["set"], spread["checkpoints"]) == ("test", 3) and len(set(errors)) == 3
    assert spread["mean"]["age_mae"] == pytest.approx(np.mean(errors))
    assert spread["standard_deviation"]["age_mae"] == pytest.approx(np.std(errors, ddof=1))
    mean, *each = rows_of(tmp_path / "out" / "table.csv")
    assert mean["model"] == "mean of 3" and [row["model"] for row in each] == ["0", "1", "2"]
    assert float(mean["age MAE (years)"]) == pytest.approx(np.mean(errors), abs=0.006)
    assert float(mean["age MAE (years) deviation"]) == pytest.approx(np.std(errors, ddof=1), abs=0.006)
    assert [float(row["age MAE (years)"]) for row in each] == pytest.approx(errors, abs=0.006)
    tex = (tmp_path / "out" / "table.tex").read_text(encoding="utf-8")
    assert tex.startswith("\\begin{tabular}") and "CS@5 (\\%)" in tex and "--" in tex
    assert f"{np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f}" in tex
    # Each fold's faces are others, though they are said in the same words.
    evaluate.main(["--compare", *map(str, paths), "--output_dir", str(tmp_path / "out")])
    table = (tmp_path / "out" / "table.txt").read_text()
    legend = re.findall(r"^(.*): the 6 faces of 30 that were kept for a test$", table, re.MULTILINE)
    assert sorted(legend) == ["0", "1", "2"]


def test_runs_are_one_table_best_first_and_what_is_no_run_is_passed_over(
    runs, databases, tiny_checkpoint_file, tmp_path, capsys, quick_report
):
    folder = tmp_path / "checkpoints"
    for name, source in (("one", runs[0]), ("two", runs[1])):
        (folder / name).mkdir(parents=True)
        shutil.copy(source, folder / name / "weights.01-4.00.hdf5")
        shutil.copy(source, folder / name / "best.hdf5")
    (folder / "tensorboard").mkdir()
    (folder / "history.csv").write_text("epoch\n")
    shutil.copy(tiny_checkpoint_file, folder / "tiny.hdf5")
    words = ["--input", str(databases["utkface"]), "--part", "all", "--output_dir", str(tmp_path / "out")]
    evaluate.main(["--compare", str(folder / "*"), str(folder / "one" / "*"), *words])
    said = capsys.readouterr().out
    assert f"passed over, no runs: {folder / 'history.csv'}, {folder / 'tensorboard'}\n" in said
    rows = rows_of(tmp_path / "out" / "table.csv")
    assert sorted(row["model"] for row in rows) == ["one", "tiny", "two"]
    same = [row for row in rows if row["model"] in ("one", "two")]
    assert float(same[0]["age MAE (years)"]) < float(same[1]["age MAE (years)"])
    # The second is beside its difference from the first, by the bootstrap of pairs.
    table = (tmp_path / "out" / "table.txt").read_text()
    away = float(same[1]["age MAE (years)"]) - float(same[0]["age MAE (years)"])
    line = next(line for line in table.splitlines() if line.startswith(same[1]["model"]))
    other = next(line for line in table.splitlines() if line.startswith("tiny"))
    assert len(re.findall(r"\([+-]\d+\.\d+ to ", other)) == 1  # on the same faces, whatever these are called
    assert "training faces among them: the scores flatter" in table
    assert any(f"{away + rounded:+.2f} (" in line for rounded in (-0.01, 0, 0.01))
    assert not (tmp_path / "out" / "report.html").exists()
    # Of a run on more faces than the first, the difference says of how many it is.
    evaluate.main(["--compare", str(folder / "*"), "--input", words[1], "--output_dir", words[-1]])
    lines = (tmp_path / "out" / "table.txt").read_text().splitlines()
    assert [len(re.findall(", 16 in common", line)) for line in lines if re.match("one|tiny|two", line)][:3] == [
        0,
        0,
        1,
    ]
    with pytest.raises(ValueError, match="--compare: there is no run among .*tensorboard"):
        evaluate.main(["--compare", str(folder / "tensorboard"), *words])
    with pytest.raises(SystemExit):
        evaluate.main(["--compare", str(folder), "--weight_file", str(runs[0])])
    assert "--compare names the runs and changes none" in capsys.readouterr().err


def test_runs_whose_databases_are_not_here_are_passed_over_before_anything_is_scored(
    runs, tmp_path, capsys, monkeypatch, quick_report
):
    folder, words = tmp_path / "checkpoints", ["--output_dir", str(tmp_path / "out")]
    (folder / "here").mkdir(parents=True)
    shutil.copy(runs[0], folder / "here" / "weights.02-4.00.hdf5")
    shipped, exported = folder / "age_gender.hdf5", folder / "a.onnx"
    checkpoints.describe_anew(copy_of(runs[1], folder), with_inputs(runs[1], ["data/people_db.mat"]))
    (folder / runs[1].name).rename(shipped)
    shutil.copy(runtimes.SHIPPED, exported)
    monkeypatch.chdir(tmp_path)
    evaluate.main(["--compare", str(folder / "*"), *words])
    said = capsys.readouterr().out
    for path in (shipped, exported):
        assert said.count(f"passed over, its databases are not here: {path} (--input names some)\n") == 1
    assert [row["model"] for row in rows_of(tmp_path / "out" / "table.csv")] == ["here"]
    with pytest.raises(ValueError, match="none of these runs has its databases here: name some with --input"):
        evaluate.main(["--compare", str(shipped), *words])
    # One that is named is refused before another one is scored, and so is the one that is taken.
    with pytest.raises(
        ValueError, match=r"^\S+age_gender.hdf5 was .*\(data.people_db.mat\): name databases with --input"
    ):
        evaluate.main(["--weight_file", str(folder / "here"), str(shipped), *words])
    assert "computing on" not in capsys.readouterr().out
    shutil.rmtree(folder)
    monkeypatch.setattr(checkpoints, "SHIPPED", shutil.copy(runs[1], tmp_path / "shipped.hdf5"))
    checkpoints.describe_anew(checkpoints.SHIPPED, with_inputs(runs[1], ["data/people_db.mat"]))
    with pytest.raises(ValueError, match=r"^there is no run in checkpoints/, so \S+ was taken, which was .*--input"):
        evaluate.main(words)


def with_inputs(checkpoint, inputs):
    """What a checkpoint says of itself, but for its databases."""
    said = checkpoints.inspect(checkpoint)
    return replace(said, training={**said.training, "arguments": {"input": inputs}})
