"""The predictor against its parts: detector, crop at the checkpoint's margin, network; and the stream's order."""

import numpy as np
import pytest
from conftest import predict_eagerly

from age_gender.description import Description
from age_gender.detectors import DETECTORS
from age_gender.faces import crop_face, read_image
from age_gender.predictor import Predictor
from age_gender.sources import Frame, find_images, images
from networks import checkpoints, open_model


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint_file):
    return Predictor(open_model(tiny_checkpoint_file))


def expected_by_hand(checkpoint_file, image, margin):
    """(age, probability of male) of each face of a picture, part by part."""
    model, checkpoint = checkpoints.load(checkpoint_file)
    boxes = [detection.box for detection in DETECTORS["dlib"]()(image)]
    crops = np.stack([crop_face(image, box, margin, checkpoint.image_size) for box in boxes])
    gender, age = predict_eagerly(model)(crops)
    return boxes, age @ np.arange(101), gender[:, 1]


@pytest.mark.parametrize("margin", [None, 0.0])
def test_faces_are_cropped_at_the_checkpoints_margin_or_the_one_asked_for(tiny_checkpoint_file, drawn, margin):
    image = read_image(drawn / "photos" / "family.jpg")
    used = 0.25 if margin is None else margin
    boxes, ages, p_male = expected_by_hand(tiny_checkpoint_file, image, used)
    predictor = Predictor(open_model(tiny_checkpoint_file), margin=margin)
    faces = predictor(image)
    assert predictor.margin == used and len(faces) == 3
    assert [face.box for face in faces] == boxes
    np.testing.assert_allclose([face.age for face in faces], ages, rtol=1e-4)
    np.testing.assert_allclose([face.p_male for face in faces], p_male, rtol=1e-4)
    assert np.ptp(ages) > 0.01  # the network does tell faces apart
    assert all(face.gender == ("M" if face.p_male >= 0.5 else "F") for face in faces)
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)


def test_predict_takes_crops_as_they_are(predictor, tiny_model):
    crops = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    age, p_male = predictor.predict(crops)
    gender, distribution = predict_eagerly(tiny_model)(crops)
    np.testing.assert_allclose(age, distribution @ np.arange(101), rtol=1e-4)
    np.testing.assert_allclose(p_male, gender[:, 1], rtol=1e-4)


def test_a_picture_without_a_face_is_an_empty_list(predictor, drawn):
    assert predictor(read_image(drawn / "photos" / "landscape.jpg")) == []


@pytest.mark.parametrize("ahead", [None, 1])
def test_the_stream_keeps_the_order_and_equals_single_calls(predictor, drawn, ahead):
    folder = drawn / "photos"
    names = ["family.jpg", "landscape.jpg", "girl.jpg", "father.jpg", "couple.jpg"]
    results = list(predictor.stream(images([folder / name for name in names], folder), ahead))
    assert [result.frame.name for result in results] == names
    for result in results:
        assert np.array_equal(result.image, read_image(folder / result.frame.name))
        alone = predictor(result.image)
        assert [face.box for face in result.faces] == [face.box for face in alone]
        np.testing.assert_allclose([face.age for face in result.faces], [face.age for face in alone], rtol=1e-5)
    assert [len(result.faces) for result in results] == [3, 0, 1, 1, 2]


def test_an_unreadable_frame_has_no_image_and_no_faces_and_the_rest_goes_on(predictor, drawn, tmp_path):
    (tmp_path / "a.jpg").write_text("no picture")
    (tmp_path / "b.jpg").write_bytes((drawn / "photos" / "father.jpg").read_bytes())
    (tmp_path / "c.jpg").touch()
    results = list(predictor.stream(images(find_images(tmp_path).images, tmp_path)))
    assert [(result.frame.name, result.image is None, len(result.faces)) for result in results] == [
        ("a.jpg", True, 0),
        ("b.jpg", False, 1),
        ("c.jpg", True, 0),
    ]


def test_an_empty_stream_has_no_results(predictor):
    assert list(predictor.stream([])) == []


def test_frames_are_read_no_further_ahead_than_asked(predictor):
    taken = []

    def frames():
        for number in range(50):
            taken.append(number)
            yield Frame("x", number, lambda: np.zeros((40, 40, 3), np.uint8))

    stream = predictor.stream(frames(), ahead=2)
    assert next(stream).frame.number == 0
    assert taken == [0, 1, 2]
    stream.close()
    assert taken == [0, 1, 2]


def test_an_error_while_reading_reaches_the_caller(predictor):
    def broken():
        raise OSError("the camera fell down")

    with pytest.raises(OSError, match="the camera fell down"):
        list(predictor.stream([Frame("x", 0, broken)]))


def test_the_detector_is_the_one_asked_for_else_the_checkpoints_else_dlib(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setitem(DETECTORS, "other", lambda: lambda image: [])
    path = tmp_path / "weights.hdf5"
    for trained_with, asked, expected in (
        ("none", None, "dlib"),
        ("other", None, "other"),
        ("vanished", None, "dlib"),
        ("other", "dlib", "dlib"),
    ):
        checkpoints.save(
            tiny_model, path, Description("wide_resnet", {"depth": 10, "width": 1}, 32, detector=trained_with)
        )
        assert Predictor(open_model(path), asked).detector == expected


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there; train.py makes checkpoints"):
        Predictor(open_model(tmp_path / "nowhere.hdf5"))
