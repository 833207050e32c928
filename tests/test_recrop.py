"""create_db.py --detector: which face is cut, what is counted, what the database and the checkpoint remember."""

import csv
import shutil
import threading

import cv2
import numpy as np
import pytest
from conftest import write_database
from test_scripts import refused, refused_by_parser

import create_db
import demo
from age_gender.description import Description
from age_gender.detectors import DETECTORS, Detection
from age_gender.faces import crop_face, read_image, resize_square
from age_gender.predictor import Predictor
from networks import checkpoints, open_model
from utils import open_database, read_paths

EYES = np.array([[6.0, 8], [14, 12], [10, 12], [7, 16], [13, 18]])  # in a face of 20 pixels, tilted


def picture(*corners, size=(80, 120)):
    """A grey picture with a red square of each side at (x, y, side), brighter towards its lower right."""
    image = np.full((*size, 3), 120, np.uint8)
    for x, y, side in corners:
        shade = np.linspace(130, 255, side)
        image[y : y + side, x : x + side] = np.dstack([np.zeros((side, side))] * 2 + [(shade + shade[:, None]) / 2])
    return image


def find_squares(image):
    """Stands for a detector: a Detection for each red square, with landmarks."""
    mask = ((image[..., 2] > 125) & (image[..., 0] < 60)).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    return [
        Detection((x, y, x + width, y + height), 0.9, np.array([x, y]) + EYES * width / 20)
        for x, y, width, height, area in stats[1:].tolist()
        if area > 9
    ]


@pytest.fixture
def squares(monkeypatch):
    """`find_squares` in place of yunet; the list of the threads that made one and of those that used it."""
    made, used = [], []

    def load():
        mine = threading.get_ident()
        made.append(mine)

        def detect(image):
            used.append((mine, threading.get_ident()))
            return find_squares(image)

        return detect

    monkeypatch.setitem(DETECTORS, "yunet", load)
    return made, used


@pytest.fixture
def photos(tmp_path):
    """A folder of photos and their table: two squares, one, none, no picture, not there."""
    folder = tmp_path / "photos"
    folder.mkdir()
    pictures = {
        "two.png": picture((4, 4, 40), (50, 30, 20)),
        "one.png": picture((70, 40, 24)),
        "none.png": picture(),
    }
    for name, image in pictures.items():
        cv2.imwrite(str(folder / name), image)
    (folder / "text.png").write_text("no picture")
    rows = [(name, 30, "f") for name in (*pictures, "text.png", "gone.png")]
    with open(folder / "faces.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "age", "gender"), *rows])
    return folder


def create(folder, tmp_path, *options):
    """Runs create_db.py on the table of a folder. Returns the database."""
    output = tmp_path / "out.mat"
    table = ["--db", "csv", "--data_dir", str(folder), "--table", str(folder / "faces.csv"), "--img_size", "32"]
    create_db.main([*table, "--output", str(output), "--overwrite", *options])
    return open_database(output)


@pytest.mark.parametrize(("options", "box"), [((), (4, 4, 44, 44)), (("--face", "central"), (50, 30, 70, 50))])
def test_the_largest_face_is_cut_or_the_most_central_and_photos_without_are_counted(
    photos, tmp_path, squares, capsys, options, box
):
    database = create(photos, tmp_path, "--detector", "yunet", "--margin", "0.25", *options)
    assert (database.detector, database.margin, database.align) == ("yunet", 0.25, False)
    assert read_paths(database.source) == ["two.png", "one.png"]
    assert np.array_equal(database.image[0], crop_face(read_image(photos / "two.png"), box, 0.25, 32))
    assert np.array_equal(database.image[1], crop_face(read_image(photos / "one.png"), (70, 40, 94, 64), 0.25, 32))
    said = capsys.readouterr().out
    assert "- no face found" in said and "none.png: no face found" in said and "is taken whole" not in said
    with open(tmp_path / "out.failed.csv", newline="") as file:
        assert sorted(csv.reader(file))[:3] == [
            ["gone.png", "file missing"],
            ["none.png", "no face found"],
            ["path", "reason"],
        ]
    create(photos, tmp_path)
    assert "each photo is taken whole, as a face that is cut already; --detector dlib" in capsys.readouterr().out


def test_a_photo_whose_box_is_not_known_is_searched_like_any_other(photos, tmp_path, squares, capsys):
    rows = [("two.png", 30, "f", 48, 28, 72, 52), ("one.png", 30, "f", "", "", "", "")]
    with open(photos / "faces.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "age", "gender", "x1", "y1", "x2", "y2"), *rows])
    assert read_paths(create(photos, tmp_path).source) == ["two.png"]  # without a detector it cannot be cut
    database = create(photos, tmp_path, "--detector", "yunet", "--margin", "0")
    assert read_paths(database.source) == ["two.png", "one.png"]
    assert np.array_equal(database.image[0], crop_face(read_image(photos / "two.png"), (50, 30, 70, 50), 0, 32))
    assert np.array_equal(database.image[1], crop_face(read_image(photos / "one.png"), (70, 40, 94, 64), 0, 32))
    whole = create(photos, tmp_path, "--detector", "none")
    assert (len(whole), whole.margin) == (2, 0.0)
    table = ["--db", "csv", "--data_dir", str(photos), "--table", str(photos / "faces.csv")]
    refused_by_parser(create_db, [*table, "--detector", "none", "--margin", "0.2"], "each photo is taken whole", capsys)


def test_a_known_box_chooses_the_face(photos, tmp_path, squares, capsys):
    rows = [
        ("two.png", 45, 25, 75, 55),  # the smaller square
        ("one.png", 0, 0, 30, 30),  # where nobody is
        ("none.png", 5, 5, 20, 20),
    ]
    with open(photos / "faces.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "x1", "y1", "x2", "y2", "age"), *((*row, 30) for row in rows)])
    database = create(photos, tmp_path, "--detector", "yunet")
    assert database.margin == 0.4 and len(database) == 1
    assert np.array_equal(database.image[0], crop_face(read_image(photos / "two.png"), (50, 30, 70, 50), 0.4, 32))
    assert capsys.readouterr().out.count("no face found at its box") == 3  # the table, and two listed
    # Without a detector the box is cut as it is, and with none the whole photo.
    assert np.array_equal(
        create(photos, tmp_path).image[0], crop_face(read_image(photos / "two.png"), (45, 25, 75, 55), 0.4, 32)
    )
    whole = create(photos, tmp_path, "--detector", "none")
    assert len(whole) == 3 and whole.detector == "none"
    assert np.array_equal(whole.image[0], resize_square(read_image(photos / "two.png"), 32))


def test_eyes_are_levelled_and_it_is_recorded(photos, tmp_path, squares):
    database = create(photos, tmp_path, "--detector", "yunet", "--align")
    assert database.align is True and database.detector == "yunet"
    image, box = read_image(photos / "two.png"), (4, 4, 44, 44)
    assert np.array_equal(database.image[0], crop_face(image, box, 0.4, 32, 4 + 2 * EYES[:2]))
    assert not np.array_equal(database.image[0], crop_face(image, box, 0.4, 32))


def test_each_thread_has_a_detector_of_its_own(photos, tmp_path, squares):
    made, used = squares
    rows = [(f"{number}.png", 30) for number in range(60)]
    for name, _ in rows:
        shutil.copy(photos / "one.png", photos / name)
    with open(photos / "faces.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "age"), *rows])
    assert len(create(photos, tmp_path, "--detector", "yunet", "--workers", "4")) == 60
    assert len(used) == 60 and all(maker == user for maker, user in used) and 1 < len(made) <= 5


def test_create_db_refuses(photos, tmp_path, squares, capsys, monkeypatch):
    table = ["--db", "csv", "--data_dir", photos, "--table", photos / "faces.csv", "-o", tmp_path / "x.mat"]
    needs = "--align needs landmarks, and {}: choose --detector mtcnn or yunet"
    refused_by_parser(create_db, [*table, "--align"], needs.format("the dataset's own faces have none"), capsys)
    for name in ("dlib", "none"):
        said = needs.format(f"--detector {name} gives none")
        refused_by_parser(create_db, [*table, "--align", "--detector", name], said, capsys)
        assert not (tmp_path / "x.mat").exists()
    refused_by_parser(create_db, [*table, "--face", "central"], "name one with --detector", capsys)
    refused_by_parser(create_db, [*table, "--min_score", "2"], "with face scores; csv has none", capsys)
    (photos / "faces.csv").write_text("path,age\nnone.png,3\n")
    refused(create_db, [*table, "--detector", "yunet"], "none of the 1 photos could be used.*none.png: no face found")
    monkeypatch.undo()  # the genuine yunet again
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("age_gender.detectors.yunet.FOLDERS", (tmp_path,))
    refused(create_db, [*table, "--detector", "yunet"], "is not there; python download.py yunet fetches it")


def test_older_databases_and_checkpoints_are_not_aligned(tmp_path, tiny_checkpoint_file):
    assert open_database(write_database(tmp_path / "old.mat", np.zeros((2, 8, 8, 3), np.uint8))).align is False
    assert checkpoints.inspect(tiny_checkpoint_file).align is False


# ------------------------------------------------------------------------------------------ predictor and demo


@pytest.fixture
def checkpoint(tiny_model, tmp_path):
    """Writes a checkpoint that says how its faces were found; returns its path."""

    def write(**how):
        path = tmp_path / "weights.hdf5"
        checkpoints.save(tiny_model, path, Description("wide_resnet", {"depth": 10, "width": 1}, 32, margin=0.3, **how))
        return path

    return write


def test_what_the_checkpoint_was_trained_with_is_applied_again(checkpoint, squares):
    image = picture((20, 20, 30))
    for align in (False, True):
        predictor = Predictor(open_model(checkpoint(detector="yunet", align=align)))
        assert (predictor.detector, predictor.margin, predictor.align) == ("yunet", 0.3, align)
        eyes = (20, 20) + 1.5 * EYES[:2] if align else None
        ages, _ = predictor.predict(crop_face(image, (20, 20, 50, 50), 0.3, 32, eyes)[None])
        (face,) = predictor(image)
        assert face.box == (20, 20, 50, 50) and face.age == pytest.approx(ages[0], abs=1e-4)
    assert Predictor(open_model(checkpoint(detector="yunet", align=True)), "dlib").align is False


def test_none_means_that_the_picture_is_the_face(checkpoint):
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    predictor = Predictor(open_model(checkpoint(detector="dlib")), "none")
    ages, _ = predictor.predict(resize_square(image, 32)[None])
    (face,) = predictor(image)
    assert face.box == (0, 0, 40, 50) and face.score == 1 and face.age == pytest.approx(ages[0], abs=1e-4)


@pytest.mark.parametrize(
    ("how", "options", "said"),
    [
        ({"detector": "yunet"}, [], []),
        ({"detector": "none"}, [], []),
        ({"detector": "none"}, ["--detector", "yunet"], []),
        (
            {"detector": "yunet"},
            ["--detector", "dlib"],
            ["found by dlib, those of the training by yunet: ages may be worse"],
        ),
        ({"detector": "gone"}, [], ["found by dlib, those of the training by gone: ages may be worse"]),
        (
            {"detector": "none"},
            ["--margin", "0.1"],
            ["cut with a margin of 0.1, those of the training with 0.3: ages may be worse"],
        ),
        (
            {"detector": "yunet", "align": True},
            ["--detector", "none"],
            ["found by the dataset itself, those of the training by yunet with level eyes: ages may be worse"],
        ),
    ],
)
def test_another_choice_is_warned_about(checkpoint, squares, tmp_path, capsys, how, options, said):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), picture((20, 20, 30)))
    command = ["--weight_file", checkpoint(**how), "--image_dir", tmp_path / "in", "--output_dir", tmp_path / "out"]
    demo.main([str(word) for word in (*command, "--no_display", *options)])
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == len(said) and all(part in line for part, line in zip(said, warnings, strict=True))


def test_demo_says_how_faces_are_found(checkpoint, squares, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), picture((20, 20, 30)))
    command = ["--image_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out"), "--no_display"]
    for how, options, words in (
        ({"detector": "yunet", "align": True}, [], "yunet faces with a margin of 0.3, their eyes level, on "),
        ({}, ["--detector", "none"], "each picture a face that was cut with a margin of 0.3, on "),
    ):
        demo.main(["--weight_file", str(checkpoint(**how)), *command, *options])
        assert words in capsys.readouterr().out
    refused_by_parser(demo, [*command, "--detector", "none", "--margin", "0.2"], "each picture is cut already", capsys)
