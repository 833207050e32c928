"""Labels that models doubt: how likely a label is, who may judge it, and check_dataset.py's list and page."""

import csv

import numpy as np
import pytest
from conftest import give_every_weight_a_value, noise, write_database
from scipy.stats import norm

import check_dataset
import create_db
from age_gender.description import EARLIER, TRAINING, VALIDATION, Description
from evaluation import doubts
from evaluation.doubts import Judgement, doubted, judge, probability_of_age
from networks.checkpoints import save
from utils import open_database

YEARS = np.arange(101)


def bell(middle, sigma):
    return norm.cdf(YEARS + 0.5, middle, sigma) - norm.cdf(YEARS - 0.5, middle, sigma)


def test_an_age_is_as_unlikely_as_both_tails_of_what_is_said():
    p_age = np.stack([bell(40, 5)] * 6)
    low = np.array([40, 50, 30, 45, -1, 20])
    high = np.array([40, 50, 30, 60, -1, 39])
    found = probability_of_age(p_age, low, high)
    # An age of 50 is 49.5 or more of a continuous one.
    expected = [1, 2 * norm.sf(49.5, 40, 5), 2 * norm.cdf(30.5, 40, 5), 2 * norm.sf(44.5, 40, 5), 1]
    np.testing.assert_allclose(found[:5], expected, rtol=1e-3)
    assert found[5] == pytest.approx(2 * norm.cdf(39.5, 40, 5), rel=1e-3)
    ends = probability_of_age(np.eye(101)[[0, 100, 0]], np.array([0, 100, 100]), np.array([0, 100, 100]))
    assert ends.tolist() == [1, 1, 0]


def test_the_least_likely_label_is_the_first_and_what_nobody_judged_is_none(tmp_path):
    path = write_database(tmp_path / "a.mat", noise(5, 32), age=np.array([30, 60, -1, 30, 90]),
                          gender=np.array([0, 1, 1, -1, 0]), path=[f"{row}.jpg" for row in range(5)])  # fmt: skip
    said = Judgement(
        np.array([1, 1, 1, 1, 0], bool), np.array([0.01, 0.999, 0.0001, 0.5, 0.99]), np.stack([bell(30, 4)] * 5)
    )
    table = doubted(said, [open_database(path)], 0.02)
    assert [tuple(row) for row in table[["path", "reason", "age", "gender"]].values] == [
        ("1.jpg", "age doubted", "60", "M"),
        ("2.jpg", "gender doubted", "", "M"),
    ]
    assert table.index.tolist() == [1, 2] and table.probability.iloc[1] == pytest.approx(0.0001)
    assert not len(doubted(said, [open_database(path)], 1e-30))


@pytest.fixture
def two_folds(tmp_path):
    """12 faces and two checkpoints: each trained on others of them, both on the last and none on the
    one before; the start of one on the first."""
    from wide_resnet import wide_resnet

    path = write_database(tmp_path / "utkface_db.mat", noise(12, 32), age=np.arange(12) * 8, gender=np.arange(12) % 2,
                          path=[f"{row}.jpg" for row in range(12)],
                          texts={"db": "utkface", "detector": "none"})  # fmt: skip
    name, files = open_database(path).fingerprint(), []
    for fold in range(2):
        sides = np.where(np.arange(12) % 2 == fold, TRAINING, VALIDATION).astype(np.uint8)
        sides[10:] = VALIDATION, TRAINING
        sides[0] |= EARLIER * (fold == 1)
        said = Description("wide_resnet", {"depth": 10, "width": 1}, 32, sides={name: sides},
                           split={"databases": [name], "datasets": ["utkface"]},
                           training={"arguments": {"input": [str(path)]}})  # fmt: skip
        files.append(tmp_path / f"{fold}.hdf5")
        save(give_every_weight_a_value(wide_resnet(32, depth=10, width=1), fold), files[-1], said)
    return path, files


def test_no_model_judges_a_face_that_trained_it(two_folds, monkeypatch):
    path, files = two_folds
    database = open_database(path)
    asked = []

    def predict_rows(model, images, rows):
        asked.append(rows.tolist())
        fold = files.index(model.path)
        return np.tile(np.float32([0.8, 0.2] if fold else [0.4, 0.6]), (len(rows), 1)), np.full(
            (len(rows), 101), 1 / 101
        )

    monkeypatch.setattr(doubts, "predict_rows", predict_rows)
    from networks.checkpoints import inspect

    said = judge({file: inspect(file) for file in files}, [database])
    assert asked == [[1, 3, 5, 7, 9, 10], [2, 4, 6, 8, 10]]
    assert np.flatnonzero(~said.judged).tolist() == [0, 11]
    np.testing.assert_allclose(said.p_male[1:11], [*[0.6, 0.2] * 4, 0.6, 0.4], atol=1e-6)
    np.testing.assert_allclose(said.p_age[1:11].sum(axis=1), 1)


def test_who_cannot_tell_what_trained_it_does_not_judge(two_folds, tiny_checkpoint_file, tmp_path):
    path, files = two_folds
    other = write_database(tmp_path / "b.mat", noise(9, 32, 3), texts={"db": "utkface", "detector": "none"})
    own = write_database(tmp_path / "c.mat", noise(9, 32, 4), texts={"db": "csv", "detector": "none"})
    out = ["--output", str(tmp_path / "out.csv")]
    for words, message in (
        (["--weight_file", tiny_checkpoint_file, "--input", path], "does not tell which of these faces trained it"),
        (["--weight_file", files[0], "--input", other], "was trained on another database of utkface than .*b.mat"),
        (["--weight_file", tiny_checkpoint_file], "do not say what they were trained on"),
    ):
        with pytest.raises(ValueError, match=message):
            check_dataset.main([*map(str, words), *out])
    assert not (tmp_path / "out.csv").exists()
    from networks.checkpoints import inspect

    assert judge({files[0]: inspect(files[0])}, [open_database(own)]).judged.all()  # of faces that it never saw


def test_the_list_leaves_out_what_it_names_and_the_page_shows_it(two_folds, tmp_path, capsys, monkeypatch):
    path, files = two_folds
    output = tmp_path / "doubts.csv"
    words = ["--weight_file", *map(str, files), "--doubt_below", "0.9", "--output", str(output)]
    assert check_dataset.main(words) == 0
    said = capsys.readouterr().out
    assert "10 of 12 faces were judged, each by models that had not trained on it" in said
    assert "; every model had trained on the other 2. The models find the age or the gender of" in said
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    probabilities = [float(row["probability"]) for row in rows]
    assert probabilities == sorted(probabilities) and 0 < len(rows) <= 10 and max(probabilities) < 0.9
    assert not {"0.jpg", "11.jpg"} & {row["path"] for row in rows}
    page = output.with_suffix(".html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == len(rows) and all(row["path"] in page for row in rows)
    assert page.index(rows[0]["path"]) < page.index(rows[-1]["path"])
    # create_db.py takes the list.
    photos = tmp_path / "photos"
    photos.mkdir()
    import cv2

    for row in range(12):
        cv2.imwrite(str(photos / f"{row}.jpg"), noise(1, 32, row)[0])
    (photos / "t.csv").write_text("path,age\n" + "".join(f"{row}.jpg,30\n" for row in range(12)))
    create_db.main(["--db", "csv", "--table", str(photos / "t.csv"), "--exclude", str(output), "--output",
                    str(tmp_path / "new.mat"), "--img_size", "32"])  # fmt: skip
    assert len(open_database(tmp_path / "new.mat")) == 12 - len(rows)
    monkeypatch.setattr("evaluation.pages.write_page", lambda *given, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        check_dataset.main([*words[:-1], str(tmp_path / "other.csv")])
    assert not [*tmp_path.glob("other.*"), *tmp_path.glob(".new-*")]  # both or neither
    with pytest.raises(SystemExit):
        check_dataset.main(words)
    assert "doubts.csv is there already; --overwrite replaces it" in capsys.readouterr().err
