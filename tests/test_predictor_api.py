"""The library as another program uses it: whatever a picture is, many of them, faces as JSON, and what is refused."""

import io
import json
import math
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import posix

from age_gender import Face, Model, Predictor, open_model
from age_gender.description import MOST_MARGIN, Description
from age_gender.faces import picture_of, read_image
from age_gender.intervals import UNSURE_WITHIN
from age_gender.labels import AGE_SCALES
from age_gender.runtimes import SHIPPED, exported_model


@pytest.fixture(scope="module")
def predict():
    return Predictor()


def close(faces, others):
    assert [face.box for face in faces] == [face.box for face in others] and len(faces) == 3
    np.testing.assert_allclose([face.age for face in faces], [face.age for face in others], atol=1e-3)


def test_a_notebook_offers_the_names_before_they_are_used():
    command = "import sys, age_gender; print({*age_gender.__all__} <= {*dir(age_gender)}, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.stdout == "True False\n"


def test_a_picture_may_be_a_path_bytes_a_pil_image_or_an_array(predict, drawn):
    from PIL import Image

    path = drawn / "photos" / "family.jpg"
    image = read_image(path)
    wanted = predict(image)
    for picture in (
        str(path),
        path,
        path.read_bytes(),
        bytearray(path.read_bytes()),
        np.dstack([image, image[:, :, 0]]),
    ):
        close(predict(picture), wanted)
    close(predict(Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))), wanted)  # PIL is RGB
    close(predict(image[:, ::-1][:, ::-1]), wanted)  # a view whose rows are not contiguous


def test_grey_is_three_times_the_same_and_colours_stay_in_place():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for picture in (grey, grey[:, :, None]):
        assert np.array_equal(picture_of(picture), np.dstack([grey] * 3))
    colour = np.random.default_rng(0).integers(0, 256, (5, 6, 4), np.uint8)
    assert np.array_equal(picture_of(colour), colour[:, :, :3])
    encoded = cv2.imencode(".png", colour[:, :, :3])[1].tobytes()
    assert np.array_equal(picture_of(encoded), colour[:, :, :3])
    assert np.array_equal(picture_of(memoryview(encoded)), colour[:, :, :3])


def test_a_pil_image_is_turned_by_its_orientation_as_a_file_is(tmp_path):
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    content = io.BytesIO()
    image.save(content, "png", exif=exif)
    (tmp_path / "a.png").write_bytes(content.getvalue())
    turned = picture_of(Image.open(tmp_path / "a.png"))
    assert turned.shape == (30, 20, 3)
    assert np.array_equal(turned, np.rot90(np.asarray(image)[:, :, ::-1], -1))


@pytest.mark.parametrize(
    ("picture", "came"),
    [
        (np.zeros((4, 4, 3)), r"received an array \(4, 4, 3\) float64"),
        (np.zeros((4, 4, 2), np.uint8), r"received an array \(4, 4, 2\) uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"received an array \(2, 4, 4, 3\) uint8"),
        (np.zeros((0, 4, 3), np.uint8), r"received an array \(0, 4, 3\) uint8"),
        (None, "received <class 'NoneType'>"),
        ([[1]], "received <class 'list'>"),
        (b"no picture", "these 10 bytes are no picture"),
        (b"", "these 0 bytes are no picture"),
        ("", "a picture without a name is not there"),
        (Path(__file__).parent, "tests is a folder, no picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_came_and_what_is_allowed(predict, picture, came):
    with pytest.raises((ValueError, FileNotFoundError), match=came):
        predict(picture)


@pytest.mark.parametrize("lacking", [True, False])
def test_a_photo_of_an_iphone_is_refused_with_what_reads_it(predict, lacking, tmp_path, monkeypatch):
    monkeypatch.setattr("age_gender.faces._register_heic", lambda: not lacking)
    content = b"\0\0\0\x18ftypheic\0\0\0\0 and no more"
    (tmp_path / "a.HEIC").write_bytes(content)
    for picture in (content, tmp_path / "a.HEIC"):
        with pytest.raises(ValueError, match="damaged: HEIC needs pip install pillow-heif$" if lacking else "damaged$"):
            predict(picture)


def test_a_pil_image_of_a_file_that_is_cut_off_is_refused_as_other_pictures_are(predict):
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(content, "jpeg")
    with pytest.raises(ValueError, match="this PIL image cannot be read: image file is truncated"):
        predict(Image.open(io.BytesIO(content.getvalue()[:900])))


def test_a_pil_image_with_damaged_metadata_is_turned_all_the_same(tmp_path):
    from PIL import Image

    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    found = bytearray(exif.tobytes())
    image.save(tmp_path / "a.jpg", exif=bytes(found))
    opened = Image.open(tmp_path / "a.jpg")

    def broken(*more):
        raise ValueError("tags that cannot be written anew")

    opened.getexif().tobytes = broken
    assert picture_of(opened).shape == (30, 20, 3)


def test_files_that_are_not_there_or_no_pictures_are_named(predict, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ValueError, match="text.jpg is no picture"):
        predict(tmp_path / "text.jpg")
    with pytest.raises(FileNotFoundError, match="nothing.jpg is not there"):
        predict(str(tmp_path / "nothing.jpg"))


def test_many_pictures_are_as_each_alone_in_their_order(predict, drawn, monkeypatch):
    monkeypatch.setattr("age_gender.predictor.BATCH", 3)
    names = ["family.jpg", "landscape.jpg", "girl.jpg", "father.jpg", "couple.jpg"]
    paths = [drawn / "photos" / name for name in names]
    results = predict.many(paths)
    assert [len(faces) for faces in results] == [3, 0, 1, 1, 2]
    for path, faces in zip(paths, results, strict=True):
        alone = predict(path)
        assert [face.box for face in faces] == [face.box for face in alone]
        np.testing.assert_allclose([face.age for face in faces], [face.age for face in alone], atol=1e-3)
    assert predict.many([]) == [] and predict.many([paths[1]]) == [[]]


def test_many_refuses_what_one_refuses(predict, drawn):
    with pytest.raises(ValueError, match="received <class 'int'>"):
        predict.many([drawn / "photos" / "girl.jpg", 3])


@pytest.mark.parametrize(
    "one",
    ["photo.jpg", Path("photo.jpg"), b"content", bytearray(b"content"), np.zeros((9, 9, 3), np.uint8), 5, io.BytesIO()],
)
def test_many_refuses_a_single_picture(predict, one):
    with pytest.raises(ValueError, match="many takes a list of pictures; received .*call the predictor itself"):
        predict.many(one)


def test_many_takes_an_array_of_pictures():
    predict = Predictor(detector="none")
    for pictures in (np.zeros((2, 9, 9, 3), np.uint8), np.zeros((2, 9, 9), np.uint8)):
        assert [len(faces) for faces in predict.many(pictures)] == [1, 1]


def test_a_face_is_strict_json(predict, drawn):
    for each in (predict, Predictor(age_scale=AGE_SCALES["adience"])):
        for face in each(drawn / "photos" / "family.jpg"):
            said = json.loads(json.dumps(face.to_dict(), allow_nan=False))
            assert said["box"] == list(face.box) and said["age"] == face.age
            assert (said["interval"] is None) == (each is not predict)
            assert (said["group"] is None) == (each is predict)
            assert set(said) == set(Face._fields)


@pytest.mark.parametrize("crops", [np.zeros((2, 64, 64, 3), np.uint8), np.zeros((1, 128, 128, 3)), None])
def test_crops_of_another_size_or_type_are_refused(predict, crops):
    with pytest.raises(ValueError, match=r"faces are \(n, 128, 128, 3\) uint8 BGR; received "):
        predict.predict(crops)
    assert [len(values) for values in predict.predict(np.empty((0, 128, 128, 3), np.uint8))] == [0, 0]


def test_pil_images_without_area_and_of_whole_numbers():
    Image = pytest.importorskip("PIL.Image")
    grey = Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20))
    assert np.array_equal(picture_of(grey.convert("I")), picture_of(grey))
    with pytest.raises(ValueError, match="it has no area"):
        picture_of(grey.crop((5, 5, 5, 9)))


def test_a_picture_shows_no_warning_of_another_program_again():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        png = cv2.imencode(".png", np.zeros((20, 20, 3), np.uint8))[1].tobytes()
        for _ in range(3):
            picture_of(png)
            warnings.warn("once", UserWarning, stacklevel=1)
    assert len(shown) == 1


def test_a_predictor_travels_to_other_processes(drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(SHIPPED.parent)
    predict = Predictor(SHIPPED.name, detector="none", margin=0.3, age_scale="adience", unsure_below=0.9)
    sent = pickle.dumps(predict)
    monkeypatch.chdir(tmp_path)
    photo = drawn / "photos" / "girl.jpg"
    assert pickle.loads(sent)(photo) == predict(photo)


def test_an_unknown_detector_is_refused():
    with pytest.raises(ValueError, match="'eyes' is no detector; there are dlib, mtcnn, yunet, none"):
        Predictor(detector="eyes")


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        *(("margin", value, "margin is a number from 0 to 3; received ") for value in (-1, 1e6, math.nan, "0.1")),
        *(("unsure_below", value, "unsure_below is a number from 0.5 to 1; received ") for value in (2, 0.4, math.nan)),
        ("age_scale", "teenagers", "'teenagers' is no age scale: take years, adience"),
        ("age_scale", "", "'' is no age scale"),
        ("age_scale", 18, "an age scale is an AgeScale, or its text as labels.age_scale takes it; received 18"),
        ("model", 5, "a model is the path of an exported file, or a Model; received 5"),
        ("model", b"a.onnx", "a model is the path of an exported file, or a Model; received b'a.onnx'"),
        ("model", Path(__file__).parent, r"tests is a folder; name the \.onnx, \.tflite or \.xml file in it"),
    ],
)
def test_arguments_are_refused_with_what_came_and_what_is_allowed(argument, value, message):
    with pytest.raises(ValueError, match=message):
        Predictor(**{argument: value})


@posix
def test_a_model_that_is_no_regular_file_is_not_called_missing():
    with pytest.raises(FileNotFoundError, match="null is no regular file; export.py makes it"):
        Predictor(os.devnull)


def test_margin_and_doubt_have_the_bounds_of_the_demo():
    import demo

    for name, ends in (("margin", (0, MOST_MARGIN)), ("unsure_below", UNSURE_WITHIN)):
        for end in ends:
            assert getattr(Predictor(**{name: end}), name) == end
            assert getattr(demo.build_parser().parse_args([f"--{name}", str(end)]), name) == end
        for beyond in (ends[0] - 0.01, ends[1] + 0.01):
            with pytest.raises(SystemExit):
                demo.build_parser().parse_args([f"--{name}", str(beyond)])


def test_an_age_scale_may_be_named_or_written_out():
    assert Predictor(age_scale="adult_child").age_scale == AGE_SCALES["adult_child"]
    assert Predictor(age_scale="minor:0-17,adult:18-100").age_scale.names == ("minor", "adult")


def test_a_checkpoint_is_refused_with_the_way_to_open_it(tiny_checkpoint_file):
    with pytest.raises(ValueError, match="no exported model.*networks.open_model"):
        Predictor(tiny_checkpoint_file)


# --------------------------------------------------------------------------------------------- models are tried once

DESCRIBED = Description("wide_resnet", {}, 32)


def model_that_says(gender, age):
    answers = [np.asarray(gender, np.float32), np.asarray(age, np.float32)]
    return Model(DESCRIBED, lambda images: [np.tile(answer, (len(images), 1)) for answer in answers], "here", SHIPPED)


EVEN = np.full(101, 1 / 101)


def test_a_model_that_answers_distributions_is_taken():
    gender, age = model_that_says([0.25, 0.75], EVEN)(np.zeros((3, 32, 32, 3), np.uint8))
    assert gender.shape == (3, 2) and age.shape == (3, 101)


@pytest.mark.parametrize(
    ("gender", "age", "message"),
    [
        (
            [0.5, 0.5],
            EVEN * 130,
            "its ages are no distributions: .*one sums to 130; does its last layer lack the softmax",
        ),
        ([0.9, 0.8], EVEN, "its genders are no distributions"),
        ([1.5, -0.5], EVEN, "its genders are no distributions"),
        ([math.nan, 0.5], EVEN, "answers what is no number"),
        ([0.5, 0.5], np.full(101, np.inf), "answers what is no number"),
        ([0.5, 0.5], np.full(8, 1 / 8), r"its ages are to be \(n, 101\); of two images it gives \(2, 8\)"),
        ([1.0], EVEN, r"its genders are to be \(n, 2\)"),
    ],
)
def test_a_model_that_answers_something_else_is_refused_when_it_is_opened(gender, age, message):
    with pytest.raises(ValueError, match=message):
        model_that_says(gender, age)


def of_two_alone(images):
    if len(images) != 2:
        raise RuntimeError(f"Got: {len(images)} Expected: 2")
    return of_two(images)


def of_two(images):
    return {"pred_gender": np.full((2, 2), 0.5), "pred_age": np.tile(EVEN, (2, 1))}


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (of_two_alone, "was not written by export.py, or it is damaged: Got: 1 Expected: 2"),
        (of_two, r"of one image it gives \[\(2, 2\), \(2, 101\)\]; it is to take any number of images"),
    ],
)
def test_a_model_of_a_fixed_number_of_images_is_refused_when_it_is_opened(tmp_path, run, message):
    with pytest.raises(ValueError, match=message):
        exported_model(tmp_path / "a.onnx", DESCRIBED, run, "CPU")


# ------------------------------------------------------------------------------------------- the model in the package


def test_the_packages_model_is_the_suites_checkpoint():
    from networks import open_model as open_any
    from networks.checkpoints import SHIPPED as CHECKPOINT

    exported, checkpoint = open_model(SHIPPED), open_any(CHECKPOINT)
    rng = np.random.default_rng(0)
    smooth = np.stack([cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (128, 128)) for _ in range(24)])
    for ours, theirs in zip(Predictor(exported).predict(smooth), Predictor(checkpoint).predict(smooth), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-2 if ours.max() > 1 else 1e-4)
    np.testing.assert_allclose(exported(smooth)[1], checkpoint(smooth)[1], atol=1e-4)
    for name in ("network", "arguments", "image_size", "margin", "detector", "align", "mirror", "age_scale"):
        assert getattr(exported.description, name) == getattr(checkpoint.description, name), name
    ours, theirs = exported.description.calibration, checkpoint.description.calibration
    assert ours == theirs._replace(temperature=1.0)  # its genders are calibrated already


def test_no_runtime_keeps_or_sends_reports(tmp_path):
    """ONNX Runtime 1.32 keeps what it will send in the user's cache: with the suite nothing is there."""
    script = (
        "import numpy as np; from age_gender import Predictor\n"
        "Predictor(detector='none')(np.zeros((40, 40, 3), np.uint8))\n"
    )
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", script], check=True, env=home, cwd=Path(__file__).parent.parent)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(os.name == "nt", reason="no fd 2 to close")
def test_a_program_without_stderr_reads_a_stream_too():
    code = (
        "import os, sys; os.close(2); from pathlib import Path; from age_gender import Predictor; "
        "from age_gender.sources import images; "
        "[found] = Predictor().stream(images([Path(sys.argv[1])])); print(found.doubted)"
    )
    portrait = next((Path(__file__).parent.parent / "samples" / "portraits").glob("*.jpg"))
    done = subprocess.run([sys.executable, "-c", code, portrait], stdout=subprocess.PIPE, text=True, timeout=100)
    assert not done.returncode and done.stdout == "False\n"


def test_a_runtime_is_asked_by_one_thread_at_a_time(tmp_path):
    import threading
    import time

    busy, mixed = [], []

    def run(images):
        mixed.extend(busy)
        busy.append(images)
        time.sleep(0.01)
        busy.clear()
        return {"pred_gender": np.full((len(images), 2), 0.5), "pred_age": np.full((len(images), 101), 1 / 101)}

    model = exported_model(tmp_path / "a.onnx", Description("wide_resnet", {}, 32), run, "CPU")
    threads = [threading.Thread(target=model, args=(np.zeros((1, 32, 32, 3), np.uint8),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not mixed
