"""Age scales against hand-counted examples: labels, folding, the ordinal head, and a scale through all scripts."""

import csv
import json

import keras
import numpy as np
import pytest
from conftest import make_runs_plain, noise, predict_eagerly, training_options, write_database

import create_db
import demo
import evaluate
import train
from age_gender.faces import read_image
from age_gender.labels import AGE_SCALES, YEARS, AgeScale, age_scale, expected_age, fold_ages
from age_gender.predictor import Predictor
from evaluation.metrics import Outcomes, gender_sums, group_sums, score, trivial_answers
from mixup_generator import Labels, MixupGenerator
from networks import checkpoints, open_model
from readers import read_records
from training.data import load_data
from training.losses import age_loss
from training.metrics import AgeError, OneOff, weighted_metrics
from training.options import AGE_LOSSES
from training.teachers import ask_teachers
from wide_resnet import OrdinalAges, two_heads

ADIENCE, MINORS = AGE_SCALES["adience"], AGE_SCALES["adult_child"]
THREE = AgeScale("three", (("young", 0, 9), ("middle", 10, 59), ("old", 60, 100)))


# ------------------------------------------------------------------------------------------------------ scales


def test_the_scales_are_those_of_their_authors():
    said = {name: [(low, high) for _, low, high in scale.groups] for name, scale in AGE_SCALES.items()}
    assert said["years"] == [(year, year) for year in range(101)]
    assert said["adience"] == [(0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100)]
    assert said["nine_groups"] == [
        *[(0, 4), (5, 10), (11, 15), (16, 21), (22, 28), (29, 39), (40, 50), (51, 60), (61, 100)]
    ]
    assert said["adult_child"] == [(0, 17), (18, 100)]
    assert said["child_adolescent_adult"] == [(0, 12), (13, 17), (18, 100)]
    assert MINORS.names == ("under 18", "adult") and MINORS.centres.tolist() == [8.5, 59]


def test_years_fall_into_groups_or_between_them():
    ages = np.array([0, 2, 3, 4, 12, 13, 25, 33, 60, 100, -1])
    assert ADIENCE.group_of(ages).tolist() == [0, 0, -1, 1, 2, -1, 4, -1, 7, 7, -1]
    assert MINORS.group_of(np.array([17, 18, -1])).tolist() == [0, 1, -1]
    assert YEARS.group_of(np.arange(-1, 101)).tolist() == list(range(-1, 101))


def test_a_label_that_is_an_interval_is_a_group_of_adience_exactly_or_not_at_all():
    low = np.array([25, 27, 38, 8, 0, -1, -1, 60])
    high = np.array([32, 32, 48, 12, 2, -1, -1, 100])
    age = np.array([-1, -1, -1, -1, -1, 35, 29, -1])  # 29 lies in 25-32, but is no group of its authors
    assert ADIENCE.group_of(age, low, high).tolist() == [4, -1, -1, 2, 0, -1, -1, 7]
    # Elsewhere a group that holds all of the label is enough.
    assert MINORS.group_of(age, low, high).tolist() == [1, 1, 1, 0, 0, 1, 1, 1]
    assert THREE.group_of(age, low, high).tolist() == [1, 1, 1, -1, 0, 1, 1, 2]
    assert YEARS.group_of(age, low, high).tolist() == [-1, -1, -1, -1, -1, 35, 29, -1]


def test_scales_of_ones_own():
    assert age_scale("0-17,18-100").groups == (("0-17", 0, 17), ("18-100", 18, 100))
    assert age_scale(" minor : 0-17 , of age:18-64").groups == (("minor", 0, 17), ("of age", 18, 64))
    assert age_scale("adience") is ADIENCE
    for text, reason in (
        ("decades", "'decades' is no age scale: take years, adience"),
        ("", "'' is no age scale"),
        ("0-17", "two groups or more"),
        ("0-17,17-100", "the age group 17-100 must ascend"),
        ("20-10,30-40", "the age group 20-10 must ascend"),
        ("0-17,18-101", "the age group 18-101 must ascend within 0..100"),
        ("a:0-17,a:18-100", "each with a name of its own"),
    ):
        with pytest.raises(ValueError, match=reason):
            age_scale(text)


def test_folding_by_hand():
    years = np.zeros((3, 101))
    years[0, [16, 17, 18]] = [0.5, 0.25, 0.25]
    years[1, [3, 5, 13]] = [0.3, 0.6, 0.1]
    years[2, [3, 7]] = 0.5
    folded, between = fold_ages(years, YEARS, MINORS)
    np.testing.assert_allclose(folded, [[0.75, 0.25], [1, 0], [1, 0]])
    np.testing.assert_allclose(between, 0, atol=1e-12)
    folded, between = fold_ages(years, YEARS, ADIENCE)
    np.testing.assert_allclose(between, [0, 0.4, 1], atol=1e-12)
    np.testing.assert_allclose(folded[0], [0, 0, 0, 1, 0, 0, 0, 0])  # 15-20
    np.testing.assert_allclose(folded[1], [0, 1, 0, 0, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(folded[2], np.full(8, 1 / 8))  # all of it fell into gaps: nothing is known


def test_groups_fold_onto_coarser_ones_and_never_across_an_edge():
    finer = age_scale("0-2,3-12,13-17,18-64,65-100")
    p = np.array([[0.1, 0.2, 0.3, 0.4, 0.0]])
    np.testing.assert_allclose(fold_ages(p, finer, AGE_SCALES["child_adolescent_adult"])[0], [[0.3, 0.3, 0.4]])
    with pytest.raises(ValueError, match="nine_groups cannot be folded onto adult_child: its group 16-21 is partly in"):
        fold_ages(np.ones((1, 9)) / 9, AGE_SCALES["nine_groups"], MINORS)
    with pytest.raises(ValueError, match="adult_child cannot be folded onto years"):
        fold_ages(np.ones((1, 2)) / 2, MINORS, YEARS)


def test_the_expected_age_of_groups_is_that_of_their_centres():
    assert expected_age(np.array([[0.25, 0.75]]), MINORS.centres) == pytest.approx([0.25 * 8.5 + 0.75 * 59])


def test_genuine_adience_is_counted_as_its_authors_do(shared):
    records = read_records("adience", shared / "data" / "adience", {})
    groups = ADIENCE.group_of(records.age, records.label_low, records.label_high)
    low, high = records.label_low, records.label_high
    expected = [sum((low == start) & (high == end)) for _, start, end in ADIENCE.groups]
    assert np.bincount(groups[groups >= 0], minlength=8).tolist() == expected
    assert min(expected) > 500 and sum(expected) < len(records)
    single = (records.age != -1) & (low == -1)
    assert single.any() and np.all(groups[single] == -1)


# ------------------------------------------------------------------------------------------- head, losses, metrics


def ordinal_by_hand(x, kernel, threshold):
    """CORAL's probabilities in float64: descending thresholds, sigmoids, differences."""
    steps = np.log1p(np.exp(threshold[1:].astype(float)))
    thresholds = threshold[0] - np.r_[0, np.cumsum(steps)]
    above = 1 / (1 + np.exp(-(x.astype(float) @ kernel.astype(float) + thresholds)))
    return np.hstack([np.ones((len(x), 1)), above]) - np.hstack([above, np.zeros((len(x), 1))]), above


def test_the_ordinal_head_is_a_distribution_whatever_its_weights():
    rng = np.random.default_rng(0)
    layer = OrdinalAges(7)
    x = rng.normal(0, 3, (20, 5)).astype(np.float32)
    np.testing.assert_allclose(layer(x), np.full((20, 7), 1 / 7), atol=1e-6)  # before it has learned anything
    kernel, threshold = rng.normal(0, 1, (5, 1)).astype(np.float32), rng.normal(0, 2, 6).astype(np.float32)
    layer.set_weights([kernel, threshold])
    said = np.asarray(layer(x))
    expected, above = ordinal_by_hand(x, kernel, threshold)
    np.testing.assert_allclose(said, expected, atol=1e-6)
    assert np.all(said >= 0) and np.all(np.diff(above, axis=1) < 0)
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)


def test_coral_is_the_sum_of_the_binary_cross_entropies_of_its_paper():
    rng = np.random.default_rng(1)
    p, above = ordinal_by_hand(rng.normal(0, 1, (4, 3)), rng.normal(0, 1, (3, 1)), rng.normal(0, 1, 4))
    truth = np.array([0, 2, 4, 3])
    levels = truth[:, None] > np.arange(4)
    expected = -np.sum(levels * np.log(above) + (1 - levels) * np.log(1 - above), axis=1)
    scale = AgeScale("five", tuple((str(index), index, index) for index in range(5)))
    loss = age_loss("coral", 2.0, 1.0, scale)
    said = np.asarray(loss(np.eye(5, dtype=np.float32)[truth], p.astype(np.float32)))
    np.testing.assert_allclose(said, expected, rtol=1e-4)
    # It is linear in the labels, so that a mixture costs the mixture of the costs.
    mixed = 0.3 * np.eye(5, dtype=np.float32)[truth] + 0.7 * np.eye(5, dtype=np.float32)[truth[::-1]]
    both = [np.asarray(loss(np.eye(5, dtype=np.float32)[each], p.astype(np.float32))) for each in (truth, truth[::-1])]
    np.testing.assert_allclose(loss(mixed, p.astype(np.float32)), 0.3 * both[0] + 0.7 * both[1], rtol=1e-4)


@pytest.mark.parametrize("scale", [YEARS, ADIENCE], ids=["years", "adience"])
def test_mean_variance_is_the_sum_of_its_three_parts(scale):
    count = len(scale.groups)
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(count), 6)
    truth = np.eye(count)[rng.integers(0, count, 6)]
    truth[5] = 0.5 * truth[4] + 0.5 * truth[3]  # as mixup makes them
    mean, year = p @ scale.centres, truth @ scale.centres
    variance = np.array([np.sum(row * (scale.centres - m) ** 2) for row, m in zip(p, mean, strict=True)])
    expected = -np.sum(truth * np.log(p), axis=1) + 0.2 * (mean - year) ** 2 / 2 + 0.05 * variance
    said = age_loss("mean_variance", 2.0, 1.0, scale)(truth.astype(np.float32), p.astype(np.float32))
    np.testing.assert_allclose(said, expected, rtol=1e-4)


@pytest.mark.parametrize("name", AGE_LOSSES)
@pytest.mark.parametrize("scale", [YEARS, ADIENCE], ids=["years", "adience"])
def test_every_loss_is_finite_on_every_scale_and_a_missing_label_moves_no_age_weight(name, scale):
    count = len(scale.groups)
    keras.utils.set_random_seed(0)
    features = keras.Input((4,))
    body = keras.layers.Dense(4, activation="relu", name="body")(features)
    model = keras.Model(features, two_heads(body, num_ages=count, ordinal=name == "coral"))
    model.compile(
        keras.optimizers.SGD(0.01),
        loss=["categorical_crossentropy", age_loss(name, 2.0, 1.0, scale)],
        weighted_metrics=weighted_metrics(scale),
        run_eagerly=scale is not YEARS,  # that a loss can be compiled is shown on one scale
    )
    x = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    gender, ages = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], np.eye(count, dtype=np.float32)[[0, 1, count - 1, 2]]
    known, unknown = np.ones(4, np.float32), np.zeros(4, np.float32)
    before = model.get_layer("pred_age").get_weights()
    values = model.train_on_batch(x, (gender, np.zeros_like(ages)), (known, unknown), return_dict=True)
    assert np.isfinite(list(values.values())).all()
    for one, other in zip(before, model.get_layer("pred_age").get_weights(), strict=True):
        assert np.array_equal(one, other)
    model.train_on_batch(x, (gender, ages), (known, known))
    assert any(
        not np.array_equal(one, other)
        for one, other in zip(before, model.get_layer("pred_age").get_weights(), strict=True)
    )


def test_group_metrics_by_hand():
    truth, said = np.array([0, 1, 2, 0, 2]), np.array([0, 2, 0, 1, 2])
    metric = OneOff(name="one_off")
    metric.update_state(np.eye(3)[truth], np.eye(3)[said], np.array([1, 1, 1, 1, 0]))
    assert float(metric.result()) == pytest.approx(3 / 4)
    error = AgeError("mae", THREE.centres)
    error.update_state(np.eye(3)[truth], np.eye(3)[said])
    assert float(error.result()) == pytest.approx((0 + 45.5 + 75.5 + 30 + 0) / 5)
    gender = np.array([0, 1, 1, 1, -1, 0])

    def outcomes(group, p_male):
        p_male = np.full(6, p_male)
        return Outcomes({**group_sums(np.r_[truth, -1], group), **gender_sums(gender, p_male)}, gender, p_male)

    scores = score(outcomes(np.r_[said, 1], 0.9), outcomes(np.ones(6, int), 0.0))
    assert (scores["exact"].value, scores["one_off"].value, scores.n) == (2 / 5, 4 / 5, 6)
    assert (scores["exact"].trivial, scores["one_off"].trivial) == (1 / 5, 1.0)
    assert scores["gender_accuracy"].value == pytest.approx(3 / 5)
    assert trivial_answers(np.array([2, 0, 2, -1, 1]), np.array([0, 0, 1]), THREE) == {"age": 2, "gender": 0}


def test_batches_have_a_column_for_each_group():
    images = noise(4)
    batches = MixupGenerator(images, Labels(np.array([0, 1, 1, 0]), np.array([2, -1, 0, 1]), 3), shuffle=False)
    _, (_, age), (_, weight) = batches[0]
    assert age.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]] and weight.tolist() == [1, 0, 1, 1]


# ---------------------------------------------------------------------------------------- through all the scripts

SMALL = ["--depth", "10", "--width", "1", "--nb_epochs", "1", "--batch_size", "32", "--opt", "adam"]


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """A database as Adience's: intervals, a few years, some that are neither, in five folds."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 8, 60)
    low, high = (np.array([ADIENCE.groups[index][side] for index in group]) for side in (1, 2))
    low[:6], high[:6] = 27, 32  # in no group
    age = np.full(60, -1)
    age[6:10], low[6:10], high[6:10] = 35, -1, -1
    return write_database(
        tmp_path_factory.mktemp("grouped") / "adience_db.mat",
        noise(60, 32),
        age=age,
        age_low=low,
        age_high=high,
        gender=rng.integers(0, 2, 60),
        part=np.arange(60) % 5,
        texts={"db": "adience", "detector": "none", "part_names": [f"fold_{number}" for number in range(5)]},
    )


@pytest.fixture(scope="module")
def drawn_faces(drawn, tmp_path_factory):
    """The drawn dataset as a database, ages in years."""
    path = tmp_path_factory.mktemp("faces") / "wiki_db.mat"
    create_db.main(["--data_dir", str(drawn / "wiki_crop"), "-o", str(path), "--img_size", "32"])
    return path


@pytest.fixture(scope="module")
def fold_runs(grouped, tmp_path_factory):
    """Two folds' trainings on Adience's scale, one of them with the ordinal head."""
    folder = tmp_path_factory.mktemp("folds")
    for fold, loss in ((0, "cross_entropy"), (1, "coral")):
        options = [
            "--age_scale",
            "adience",
            "--fold",
            str(fold),
            "--age_loss",
            loss,
            "--aug",
            "--monitor",
            "val_pred_age_accuracy",
        ]
        with pytest.MonkeyPatch.context() as monkeypatch:
            make_runs_plain(monkeypatch)
            train.main(["-i", str(grouped), *SMALL, *options, "--output_dir", str(folder / str(fold))])
    return folder


def test_a_run_on_groups_says_what_it_leaves_out_and_counts_in_groups(grouped, tmp_path, capsys, plain_runs):
    options = ["--age_scale", "adience", "--fold", "0", "--output_dir", str(tmp_path)]
    assert train.main(["-i", str(grouped), *SMALL, *options]) == 0
    said = capsys.readouterr().out
    assert "10 of 60 faces have an age label that belongs to no class of adience" in said
    assert "for every face: age group " in said and "val age group" in said
    with open(tmp_path / "history.csv", newline="") as file:
        columns = set(csv.DictReader(file).fieldnames)
    assert {"val_pred_age_accuracy", "val_pred_age_one_off", "val_pred_age_mae"} <= columns


def test_a_checkpoint_knows_its_groups_and_its_ordinal_head(fold_runs):
    for fold, kind in ((0, keras.layers.Dense), (1, OrdinalAges)):
        path = checkpoints.choose(fold_runs / str(fold))
        model, checkpoint = checkpoints.load(path)
        assert checkpoint.age_scale == ADIENCE
        assert type(model.get_layer("pred_age")) is kind
        p = predict_eagerly(model)(noise(3, 32))[1]
        assert p.shape == (3, 8) and p.sum(axis=1) == pytest.approx(1)


def test_folds_are_scored_each_on_its_own_faces_with_mean_and_deviation(fold_runs, tmp_path, capsys):
    paths = [str(fold_runs / fold) for fold in ("0", "1")]
    evaluate.main(["--weight_file", *paths, "--output_dir", str(tmp_path)])
    said = json.loads((tmp_path / "metrics.json").read_text())
    (spread,) = said["over_checkpoints"]
    for name in ("exact", "one_off", "gender_accuracy"):
        values = [each[name]["value"] for each in said["evaluations"]]
        assert spread["mean"][name] == pytest.approx(np.mean(values))
        assert spread["standard_deviation"][name] == pytest.approx(np.std(values, ddof=1))
    assert [each["n"] for each in said["evaluations"]] == [12, 12]
    assert said["comparisons"] == []  # no face is in two folds
    for number in ("1", "2"):
        folder = tmp_path / f"{number}_test"
        with open(folder / "predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        hits = [row["group"] == row["said"] for row in rows if row["group"]]
        assert {row["group"] for row in rows} <= {"", *ADIENCE.names}
        one = said["evaluations"][int(number) - 1]
        assert one["exact"]["value"] == pytest.approx(np.mean(hits)) and one["aged"] == len(hits) < 12
        assert f" 12, {len(hits)} by age " in (tmp_path / "table.txt").read_text()
        assert (folder / "age_group_confusion.png").stat().st_size > 5000
    table = (tmp_path / "table.txt").read_text()
    assert "one-off (%)" in table and "standard deviation" in table
    assert "not scored by age" in (tmp_path / "1_test" / "table.txt").read_text()


def test_years_are_folded_in_evaluation_and_in_the_demo(drawn, drawn_faces, tiny_checkpoint_file, tmp_path, capsys):
    options = ["--weight_file", str(tiny_checkpoint_file), "-i", str(drawn_faces), "--output_dir", str(tmp_path)]
    evaluate.main([*options, "--age_scale", "adience"])
    assert "of the probability fell between its groups" in capsys.readouterr().out
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    ages = np.array([int(row["age"]) for row in rows])
    names = [*ADIENCE.names, ""]
    assert [row["group"] for row in rows] == [names[index] for index in ADIENCE.group_of(ages)]
    assert all(0 < float(row["p_between"]) < 1 for row in rows)

    found = tmp_path / "found"
    photos = ["--image_dir", str(drawn / "photos"), "--no_display", "--output_dir", str(found)]
    demo.main([*photos, "--weight_file", str(tiny_checkpoint_file), "--age_scale", "adult_child"])
    said = capsys.readouterr().out
    with open(found / "predictions.csv", newline="") as file:
        faces = [row for row in csv.DictReader(file) if row["status"] == "ok"]
    predictor = Predictor(open_model(tiny_checkpoint_file), age_scale=MINORS)
    plain = Predictor(open_model(tiny_checkpoint_file))
    image = read_image(drawn / "photos" / "family.jpg")
    for face, row in zip(predictor(image), [row for row in faces if row["input"] == "family.jpg"], strict=True):
        assert row["age_group"] == face.group and float(row["p_age_group"]) == pytest.approx(face.p_group, abs=1e-4)
        assert f"{face.group} {'unsure' if face.unsure else face.gender} ({face.p_group:.0%})" in said
    assert all(face.group is None and face.p_group is None for face in plain(image))


def test_scales_that_do_not_fit_are_refused(fold_runs, grouped, tmp_path, capsys):
    with pytest.raises(ValueError, match="adience cannot be folded onto adult_child: its group 15-20 is"):
        Predictor(open_model(checkpoints.choose(fold_runs / "0")), age_scale=MINORS)
    for options, reason in (
        (["--age_scale", "decades"], "'decades' is no age scale"),
        (["--monitor", "val_pred_age_accuracy"], "is for age groups"),
        (["--age_scale", "adience", "--age_loss", "ldl", "--age_spread"], "--age_spread is for ages in years"),
        (["--age_loss", "coral", "--age_sigma", "3"], "coral has hard labels"),
    ):
        with pytest.raises(SystemExit):
            train.main(["-i", str(grouped), *SMALL, *options, "--output_dir", str(tmp_path)])
        assert reason in capsys.readouterr().err


def test_scores_of_other_scales_are_neither_averaged_nor_made_up(
    fold_runs, drawn_faces, tiny_checkpoint_file, tmp_path
):
    grouped = str(checkpoints.choose(fold_runs / "0"))
    several = [
        "--weight_file",
        grouped,
        str(tiny_checkpoint_file),
        "-i",
        str(drawn_faces),
        "--output_dir",
        str(tmp_path),
    ]
    with pytest.raises(ValueError, match="these checkpoints have other age scales"):
        evaluate.main(several)
    with pytest.raises(ValueError, match=r"\.hdf5: the scale adience cannot be folded onto years"):
        evaluate.main(["--weight_file", grouped, *several[3:], "--age_scale", "years"])
    assert not any(tmp_path.iterdir())


def test_a_years_model_starts_and_teaches_a_run_on_groups(drawn_faces, tmp_path, capsys, plain_runs):
    run = ["-i", str(drawn_faces), *SMALL]
    assert train.main([*run, "--output_dir", str(tmp_path / "years")]) == 0
    capsys.readouterr()
    first = str(tmp_path / "years")
    options = ["--age_scale", "adult_child", "--weight_file", first, "--teacher", first]
    assert train.main([*run, *options, "--output_dir", str(tmp_path / "minors")]) == 0
    assert "new: pred_age" in capsys.readouterr().out
    chosen = training_options(*run, *options)
    data = load_data(chosen)
    _, ages = ask_teachers(data, chosen)
    model, _ = checkpoints.load(checkpoints.choose(tmp_path / "years"))
    years = predict_eagerly(model)(data.image[data.training])[1]
    np.testing.assert_allclose(ages[data.training, 0], years[:, :18].sum(axis=1), atol=1e-5)
