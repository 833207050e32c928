"""The drawn dataset: laid out as WIKI is, dirty as WIKI is, the same for the same seed, and read as it was drawn."""

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import loadmat

import draw_portraits
import sample_sets
from age_gender.faces import read_image
from make_samples import main, write_samples
from readers import clean
from readers.imdb_wiki import read_wiki

DTYPES = {
    "dob": "int32",
    "photo_taken": "uint16",
    "full_path": "object",
    "gender": "float64",
    "name": "object",
    "face_location": "object",
    "face_score": "float64",
    "second_face_score": "float64",
}


def content_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def columns_of(path):
    struct = loadmat(path)["wiki"]
    return {name: struct[name][0, 0] for name in struct.dtype.names}


def test_the_same_seed_gives_the_same_bytes(drawn, tmp_path):
    write_samples(str(tmp_path), count=24, seed=0)
    first, again = content_of(drawn), content_of(tmp_path)
    assert first.keys() == again.keys() and all(first[name] == again[name] for name in first)
    assert len(first) == 23 + 1 + 8 + 1  # one record's photo is missing; wiki.mat; photos; truth.csv


def test_another_seed_gives_other_records():
    first, other = (sample_sets.draw_records(24, seed) for seed in (0, 1))
    assert first == sample_sets.draw_records(24, 0)
    assert not {record.path for record in first} & {record.path for record in other}


def test_wiki_mat_has_the_fields_types_and_shapes_of_the_genuine_file(drawn):
    columns = columns_of(drawn / "wiki_crop" / "wiki.mat")
    assert {name: str(column.dtype) for name, column in columns.items()} == DTYPES
    assert {column.shape for column in columns.values()} == {(1, 24)}
    assert columns["face_location"][0, 0].shape == (1, 4)


def test_those_fields_and_types_are_indeed_the_genuine_ones(shared, drawn):
    genuine, ours = columns_of(shared / "data" / "wiki.mat"), columns_of(drawn / "wiki_crop" / "wiki.mat")
    assert {name: str(column.dtype) for name, column in genuine.items()} == DTYPES
    assert list(genuine) == list(ours)
    for name in ("full_path", "face_location"):
        assert genuine[name][0, 0].shape == ours[name][0, 0].shape


def test_every_kind_of_dirt_is_there_and_is_dropped_for_its_reason(drawn):
    drawn_records = sample_sets.draw_records(24, 0)
    kinds = Counter(record.kind for record in drawn_records)
    assert set(kinds) == {sample_sets.CLEAN, *sample_sets.DIRT}
    records = read_wiki(drawn / "wiki_crop")
    kept, dropped = clean(records, min_score=1.0, min_age=0, max_age=100, excluded=set())
    assert dropped == {
        "face score below 1": kinds["no face"] + kinds["poor face"],
        "second face": kinds["second face"],
        "age outside 0..100": kinds["born after the photo"] + kinds["birth date impossible"],
        "gender unknown": kinds["gender unknown"],
    }
    unreadable = {"not an image", "file missing"}
    assert {drawn_records[row].kind for row in kept} == {sample_sets.CLEAN, *unreadable}
    for row in kept:
        path = drawn / "wiki_crop" / records.path[row]
        assert (read_image(path) is None) == (drawn_records[row].kind in unreadable)
        assert path.exists() == (drawn_records[row].kind != "file missing")


def test_the_labels_that_are_read_are_those_that_were_drawn(drawn):
    records = read_wiki(drawn / "wiki_crop")
    for row, record in enumerate(sample_sets.draw_records(24, 0)):
        assert records.path[row] == record.path
        if record.kind in (sample_sets.CLEAN, "no face", "poor face", "second face", "gender unknown"):
            assert records.age[row] == record.age
        if record.kind != "gender unknown":
            assert records.gender[row] == record.gender


def test_ages_and_dates_agree_for_many_records():
    from readers.imdb_wiki import age_in_year

    records = [record for record in sample_sets.draw_records(3000, 5) if record.kind == sample_sets.CLEAN]
    ages = age_in_year(np.array([record.birth_serial for record in records]), np.array([r.taken for r in records]))
    assert ages.tolist() == [record.age for record in records]
    assert len(set(ages.tolist())) > 70 and 0.45 < np.mean([record.gender for record in records]) < 0.55


def test_truth_lists_every_face_of_every_photo(drawn):
    with open(drawn / "photos" / "truth.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    listed = Counter(row["file"] for row in rows)
    assert listed == Counter({name: len(people) for name, (_, people) in sample_sets.PHOTOS.items() if people})
    for row in rows:
        width, height = sample_sets.PHOTOS[row["file"]][0]
        x1, y1, x2, y2 = (int(row[name]) for name in ("x1", "y1", "x2", "y2"))
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        assert read_image(drawn / "photos" / row["file"]).shape == (height, width, 3)


def test_nothing_is_overwritten(drawn):
    before = content_of(drawn)
    with pytest.raises(FileExistsError, match="wiki_crop exists already. Remove it or choose another --output_dir"):
        write_samples(str(drawn), count=24, seed=1)
    assert content_of(drawn) == before


def test_too_few_records_for_every_kind_of_dirt_are_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="count must be 16 or more, to hold every kind of dirt. Received: 15"):
        write_samples(str(tmp_path), count=15, seed=0)
    with pytest.raises(SystemExit) as ended:
        main(["--output_dir", str(tmp_path / "new"), "--seed", "-1"])
    assert ended.value.code == 2 and "--seed: -1 is not 0 or more" in capsys.readouterr().err


def test_the_portraits_are_those_of_their_table_and_evenly_of_both_genders():
    portraits = draw_portraits.read_portraits()
    assert {row["path"] for row in portraits} == set(draw_portraits.PORTRAITS.glob("*.jpg"))
    assert Counter(row["gender"] for row in portraits) == {"F": 12, "M": 12}
    assert [row["age"] for row in portraits] == sorted(row["age"] for row in portraits)
    assert all(row["subject"] == row["path"].stem for row in portraits)


def test_the_portraits_are_drawn_with_the_models_answers(tmp_path, capsys):
    draw_portraits.main(["--output", str(tmp_path / "portraits.jpg")])
    said = capsys.readouterr().out
    assert "24 of 24 faces found; ages off by 6.6 years" in said and "24 genders as labelled" in said
    picture = read_image(tmp_path / "portraits.jpg")
    shown = read_image(Path(__file__).parent.parent / "docs" / "portraits.jpg")
    assert picture.shape == shown.shape and np.abs(picture.astype(int) - shown).mean() < 2


def test_the_teacher_answers_for_faces_that_it_did_not_learn_from(tmp_path, monkeypatch, capsys):
    from conftest import noise, write_database

    import teach
    from training.teachers import read_answers
    from utils import open_database

    rng = np.random.default_rng(0)

    def database(name, count, **columns):
        columns = {"gender": rng.integers(0, 2, count), "path": [f"{row}.jpg" for row in range(count)], **columns}
        return write_database(tmp_path / f"{name}_db.mat", noise(count, 32, seed=len(name)), **columns)

    ages = rng.integers(1, 90, 120)
    own = database("utkface", 120, age=ages)
    cut = database("utkface_dlib", 100, age=ages[:100])
    low = rng.integers(0, 40, 200)
    grouped = database("grouped", 200, age=np.full(200, -1), age_low=low, age_high=low + 20)

    def ask(_network, given):  # a network that sees the middle of the age's interval, and the gender
        middle = np.where(given.age >= 0, given.age, 0 if given.label_low is None else given.label_low + 10)
        seen = rng.normal(0, 0.01, (len(given), 1125)) + middle[:, None] / 100
        seen[:, 1000:1025], seen[:, teach.AGES] = 4 * given.gender[:, None] - 2, 0.01
        return seen.astype(np.float16)

    head = teach.small_head

    def eager(inputs, steps):
        model = head(inputs, steps)
        model.run_eagerly = True  # a compiler takes longer than so few steps
        return model

    monkeypatch.setattr(teach, "small_head", eager)
    monkeypatch.setattr(teach, "ask", ask)
    outputs = [SimpleNamespace(shape=(None, count)) for count in (1024, 1, 100)]
    monkeypatch.setattr(teach, "frozen", lambda *_: SimpleNamespace(outputs=outputs))
    output = tmp_path / "people_db.mat"
    inputs = ["--network", "x.json", "--utkface", str(own), str(cut), "--input", str(grouped)]
    teach.main([*inputs, "--output", str(output), "--epochs", "5"])
    assert "grouped test: " in capsys.readouterr().out
    joined = open_database(output)
    genders, years = read_answers(tmp_path / "people_db.answers.h5", [joined])
    assert set(joined.part_names) == {"train", "valid", "test"} and set(joined.part) == {0, 1, 2}
    first, rest = joined.part[:120], joined.part[320:]
    assert (first == 2).sum() == 10 and (rest == 0).all()  # 8% of 120; cut again, the training faces alone
    assert len(rest) == (first[:100] == 0).sum()
    apart = (joined.part == 2) & (np.arange(len(joined)) >= 120)
    assert np.mean(genders[apart].argmax(axis=1) == joined.gender[apart]) > 0.75
    inside = (joined.label_low[:, None] <= np.arange(101)) & (np.arange(101) <= joined.label_high[:, None])
    intervals = joined.label_low >= 0
    assert intervals.sum() == 200 and (years * inside).sum(axis=1)[intervals].min() > 0.69  # 0.7 of the answer and more
    # Every part has people of the others, and every fold trains four heads of five.
    faces = [teach.utkface(open_database(own)), teach.people(open_database(grouped))]
    assert np.bincount(faces[1].side).min() > 0 and set(faces[1].fold) == set(range(teach.FOLDS))


def test_the_teachers_network_is_the_mobilenet_that_its_file_holds(tmp_path):
    import keras
    from conftest import noise

    import face_res

    rng = np.random.default_rng(0)
    whole = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(224, 224, 3), pooling="avg")
    tensors = {"feats/kernel": rng.normal(0, 0.05, (1024, 256)), "feats/bias": rng.normal(0, 1, 256)}
    for name, classes in (("gender_pred", 1), ("age_pred", 100)):
        tensors |= {f"{name}/kernel": rng.normal(0, 0.05, (256, classes)), f"{name}/bias": rng.normal(0, 1, classes)}
    for layer in whole.layers:
        if layer.name.endswith("_bn"):  # as TensorFlow.js folds them: into pointwise kernels, beside depthwise ones
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
            gamma, beta, mean, variance = layer.get_weights()
            scale = gamma / np.sqrt(variance + layer.epsilon)
            before = layer.name.removesuffix("_bn")
            (kernel,) = whole.get_layer(before).get_weights()
            if before.startswith("conv_dw"):
                tensors |= {f"{before}/depthwise_kernel": kernel, f"{layer.name}/batchnorm_1/mul": scale}
            else:
                tensors[f"{before}/convolution/merged_input"] = kernel * scale
            tensors[f"{layer.name}/batchnorm_1/sub"] = beta - mean * scale
    listed = [{"name": name, "shape": value.shape, "dtype": "float32"} for name, value in tensors.items()]
    (tmp_path / "x.json").write_text(json.dumps({"weightsManifest": [{"weights": listed}]}))
    (tmp_path / "x.bin").write_bytes(b"".join(value.astype("<f4").tobytes() for value in tensors.values()))
    features, gender, age = face_res.face_res(face_res.read_tensors(tmp_path / "x.json")).predict_on_batch(
        noise(3, 224)
    )
    expected = whole.predict_on_batch(noise(3, 224) - np.array(face_res.MEANS_BGR))
    np.testing.assert_allclose(features, expected, atol=1e-3 * np.abs(expected).max())
    hidden = np.maximum(features @ tensors["feats/kernel"] + tensors["feats/bias"], 0)
    np.testing.assert_allclose(gender, hidden @ tensors["gender_pred/kernel"] + tensors["gender_pred/bias"], atol=1e-3)
    assert age.shape == (3, 100)
    np.testing.assert_allclose(age.sum(axis=1), 1, rtol=1e-5)


def test_a_person_of_the_teachers_faces_stands_on_one_side(tmp_path):
    from conftest import noise, write_database

    import teach
    from utils import open_database

    subject = np.repeat(np.arange(50), 4)
    columns = {"age": np.full(200, 30), "gender": np.zeros(200, int), "subject": subject}
    faces = teach.people(open_database(write_database(tmp_path / "x_db.mat", noise(200, 32), **columns)))
    for column in (faces.side, faces.fold):
        assert (column.reshape(50, 4) == column.reshape(50, 4)[:, :1]).all()
    columns["subject"] = np.full(200, -1)
    faces = teach.people(open_database(write_database(tmp_path / "x_db.mat", noise(200, 32), **columns)))
    assert set(faces.side) == {0, 1, 2} and len(set(faces.fold)) == 5  # who is not known stands alone


def test_genders_and_ages_are_evened_on_the_faces_that_chose_the_checkpoint(tmp_path, capsys):
    from conftest import noise, write_database

    import even
    from age_gender.description import Description
    from networks.backbones import build
    from networks.checkpoints import load, save
    from networks.split import sides_of
    from utils import open_database

    rng = np.random.default_rng(0)
    gender = rng.integers(0, 2, 4000)
    odds = 3 * (2 * gender - 1) + rng.logistic(size=4000) + 0.7  # men are said too often
    assert even.even_genders(1 / (1 + np.exp(-odds)), gender) == pytest.approx(-0.7, abs=0.1)
    years, age = np.arange(101), np.repeat([25, 75], 1000)
    blurred = np.exp(-0.5 * ((years - age[:, None] - rng.normal(0, 30, (2000, 1))) / 30) ** 2)
    said = blurred * np.exp(-0.5 * ((years - 25) / 15) ** 2)  # the old are said too seldom
    share, rarity = even.even_ages(said / said.sum(axis=1, keepdims=True), age)
    assert 0.1 < share < 1 and rarity[25] < rarity[75]

    file = write_database(tmp_path / "faces_db.mat", noise(40, 32), age=np.full(40, 30), gender=np.arange(40) % 2)
    database, description = open_database(file), Description("wide_resnet", {"depth": 10, "width": 1}, 32)
    rows = np.arange(20), np.arange(20, 40), np.arange(0)
    sides, _ = sides_of([database], rows)
    model = build(description)
    kernel, bias = model.get_layer("pred_gender").get_weights()
    model.get_layer("pred_gender").set_weights([kernel, bias + [0, 1.5]])
    before = model.get_layer("pred_age").get_weights()[1]
    save(model, tmp_path / "m.hdf5", replace(description, sides=sides, split={"databases": [database.fingerprint()]}))
    words = ["--weight_file", str(tmp_path / "m.hdf5"), "--input", str(file)]
    even.main(words)
    assert "to the log odds of male, from 20 faces" in capsys.readouterr().out
    after, said = load(tmp_path / "m.hdf5")
    moved = after.get_layer("pred_gender").get_weights()[1] - (bias + [0, 1.5])
    assert moved[1] - moved[0] == pytest.approx(said.training["gender_shift"], abs=1e-5) and said.calibration is None
    more = after.get_layer("pred_age").get_weights()[1] - before
    assert np.any(more) == (said.training["age_share"] > 0)
    with pytest.raises(ValueError, match="is even already"):
        even.main(words)
    save(model, tmp_path / "m.hdf5", replace(description, sides=sides, split={"databases": [database.fingerprint()]}))
    (tmp_path / "other").mkdir()
    other = write_database(tmp_path / "other" / "x_db.mat", noise(8, 32), age=np.full(8, 30), gender=np.zeros(8, int))
    with pytest.raises(ValueError, match="have no women, men and ages that chose"):
        even.main(["--weight_file", str(tmp_path / "m.hdf5"), "--input", str(other)])


def test_the_models_card_counts_the_faces_kept_apart(tmp_path, tiny_checkpoint_file, capsys):
    from conftest import noise, write_database

    import card
    import teach
    from utils import open_database

    low = np.tile([0, 13, 20, 66], 100)
    columns = {"age": np.full(400, -1), "age_low": low, "age_high": low + 6, "gender": np.arange(400) % 2}
    grouped = write_database(tmp_path / "grouped_db.mat", noise(400, 32), texts={"db": "csv"}, **columns)
    whole = write_database(tmp_path / "whole_db.mat", noise(30, 32), age=np.arange(30), gender=np.arange(30) % 2)
    models = ["--weight_file", str(tiny_checkpoint_file), "--before", str(tiny_checkpoint_file)]
    card.main([*models, "--input", str(grouped), "--whole", str(whole)])
    said = capsys.readouterr().out
    kept = len(teach.kept_apart(open_database(grouped)))
    assert 40 < kept < 120
    assert re.findall(r"^\| (grouped|whole) +\| (\d+) +\|", said, re.M) == [("grouped", str(kept)), ("whole", "30")]
    assert said.count("+0.0 (+0.0 to +0.0)") == 2  # a model differs in nothing from itself
    assert re.findall(r"^\| grouped \| (\d+-\d+|all) ", said, re.M) == ["0-2", "13-19", "20-36", "66-100", "all"]
