"""Reading pictures of every kind and the one crop, against exact slices, np.pad and cv2.imread."""

import io
import math
import os
import warnings
import zlib

import cv2
import numpy as np
import pytest
from conftest import noise, posix
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from age_gender import faces
from age_gender.faces import IMAGE_SUFFIXES, crop_face, decode, picture_of, read_bytes, read_image, resize_square


def gradient(height: int = 60, width: int = 90) -> np.ndarray:
    """(height, width, 3) uint8 whose blue is x, green y, red x + y: every pixel tells where it is."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, x + y], axis=2).astype(np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture with structure at the scale of a face and none finer."""
    return cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8), (0, 0), 9) * 3 // 2


def encoded(image: np.ndarray, suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


def turned(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF segment that holds nothing but the orientation (EXIF 2.3, tag 0x0112, one SHORT)."""
    entry = b"\x12\x01\x03\x00" + (1).to_bytes(4, "little") + orientation.to_bytes(2, "little") + b"\0\0"
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0" + b"\x01\0" + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


# EXIF's orientation -> what must be done to the stored pixels to see the picture upright.
UPRIGHT = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).transpose(1, 0, 2),
    8: lambda image: np.rot90(image, 1),
}


# ------------------------------------------------------------------------------------------------- the crop


def test_the_crop_of_a_box_without_margin_is_that_box():
    image = gradient()
    assert np.array_equal(crop_face(image, (10, 20, 34, 44), 0.0, 24), image[20:44, 10:34])


def test_the_margin_is_a_share_of_width_and_height_on_every_side():
    image = gradient()
    assert np.array_equal(crop_face(image, (30, 20, 50, 40), 0.4, 36), image[12:48, 22:58])
    # 10 wide and 20 high: 5 pixels left and right, 10 above and below; then halved in height alone.
    tall = crop_face(image, (40, 20, 50, 40), 0.5, 20)
    halved = image[10:50, 35:55].reshape(20, 2, 20, 3).mean(axis=1)
    assert np.abs(tall - halved).max() <= 0.5


@pytest.mark.parametrize(
    "box",
    [(-5, -5, 15, 15), (80, -5, 100, 15), (-5, 50, 15, 70), (80, 50, 100, 70), (-19, 20, 1, 40), (20, 59, 40, 79)],
)
@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_outside_the_picture_its_edge_is_repeated(box, margin):
    image, size = gradient(), round(20 * (1 + 2 * margin))
    wide = np.pad(image, ((100, 100), (100, 100), (0, 0)), mode="edge")
    left, top = (round(value - margin * 20) + 100 for value in box[:2])
    assert np.array_equal(crop_face(image, box, margin, size), wide[top : top + size, left : left + size])


@given(st.integers(-15, 38), st.integers(-15, 28), st.integers(16, 45), st.integers(0, 60))
def test_any_square_crop_is_a_window_of_the_picture_with_its_edges_repeated(x, y, side, grow):
    image, margin = gradient(30, 40), grow / side
    size = side + 2 * grow
    wide = np.pad(image, ((150, 150), (150, 150), (0, 0)), mode="edge")
    expected = wide[150 + y - grow : 150 + y - grow + size, 150 + x - grow : 150 + x - grow + size]
    assert np.array_equal(crop_face(image, (x, y, x + side, y + side), margin, size), expected)


@pytest.mark.parametrize(
    "box", [(39.8, 0, 50, 10), (5, 29.7, 15, 40), (-10, 3, 0.3, 13), (3, -10, 13, 0.3), (39.9, 29.9, 60, 60)]
)
def test_a_box_that_touches_the_picture_by_less_than_half_a_pixel_shows_its_edge(box):
    image = np.full((30, 40, 3), 77, np.uint8)
    for _ in range(5):
        assert np.all(crop_face(image, box, 0.0, 16) == 77)


def test_a_large_crop_shrinks_by_area_and_a_small_one_grows_linearly():
    image = noise(1, 64)[0]
    quarter = crop_face(image, (0, 0, 64, 64), 0.0, 16)
    assert np.abs(quarter - image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))).max() <= 0.5
    low = crop_face(image, (0, 0, 64, 16), 0.0, 16)
    assert np.abs(low - image[:16].reshape(16, 16, 4, 3).mean(axis=2)).max() <= 0.5
    grown = crop_face(gradient(8, 8) * 8, (0, 0, 8, 8), 0.0, 16).astype(int)
    assert np.all(np.diff(grown[..., 0], axis=1) >= 0) and set(np.diff(grown[4, 2:-2, 0])) == {4}


def test_a_box_smaller_than_a_pixel_is_one_pixel():
    image = gradient()
    assert np.array_equal(crop_face(image, (10.6, 20.6, 10.9, 20.9), 0.0, 4), np.tile(image[21, 11], (4, 4, 1)))


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 20),
        (10, 10, 20, 10),
        (20, 10, 10, 20),
        (-20, 0, 0, 10),
        (0, -20, 10, 0),
        (90, 0, 100, 10),
        (0, 60, 10, 70),
        (float("nan"), 0, 10, 10),
    ],
)
def test_a_box_without_area_in_the_picture_is_refused(box):
    with pytest.raises(ValueError, match=r"the box \(.*\) has no area within a picture of 90 x 60 pixels"):
        crop_face(gradient(), box, 0.4, 16)


def turned_about(image, centre, degrees):
    """The picture turned clockwise as one looks at it, and the map that turned it, (2, 3)."""
    turn = cv2.getRotationMatrix2D(centre, -degrees, 1.0)
    return cv2.warpAffine(image, turn, image.shape[1::-1], flags=cv2.INTER_CUBIC), turn


def test_level_eyes_change_nothing():
    image, box = smooth(120, 160), (50, 40, 90, 80)
    for margin, where in ((0.0, box), (0.4, box), (0.6, (-10, 90, 30, 130))):
        upright = crop_face(image, where, margin, 40)
        assert np.array_equal(crop_face(image, where, margin, 40, np.array([[60.0, 55], [80, 55]])), upright)
        assert np.array_equal(crop_face(image, where, margin, 40, np.array([[60.0, 55], [60, 55]])), upright)


@pytest.mark.parametrize("degrees", [-30, 10, 45, 90, 170])
def test_a_tilted_face_is_cut_as_it_would_be_upright(degrees):
    image = cv2.normalize(smooth(300, 300), None, 0, 255, cv2.NORM_MINMAX)
    box, eyes = np.array([110.0, 105, 190, 185]), np.array([[130.0, 130], [170, 130]])
    upright = crop_face(image, tuple(box), 0.3, 128)
    tilted, turn = turned_about(image, (140, 160), degrees)
    points = np.array([eyes[0], eyes[1], (box[:2] + box[2:]) / 2]) @ turn[:, :2].T + turn[:, 2]
    moved = (*(points[2] - 40), *(points[2] + 40))
    aligned = crop_face(tilted, moved, 0.3, 128, points[:2])
    assert np.abs(aligned.astype(int) - upright).mean() < 4
    assert np.abs(crop_face(tilted, moved, 0.3, 128).astype(int) - upright).mean() > 15  # what level eyes are for


def test_beyond_the_picture_a_turned_crop_repeats_the_edge():
    image = np.full((60, 60, 3), 90, np.uint8)
    aligned = crop_face(image, (-10, -10, 30, 30), 0.5, 48, np.array([[5.0, 5], [15, 12]]))
    assert aligned.shape == (48, 48, 3) and np.all(aligned == 90)


def test_the_picture_is_not_changed_by_a_crop():
    image = gradient()
    crop_face(image, (10, 10, 40, 40), 0.0, 30)[...] = 0
    assert np.array_equal(image, gradient())


def test_resize_square_to_the_same_size_changes_nothing():
    image = noise(1, 32)[0]
    assert np.array_equal(resize_square(image, 32), image)
    assert resize_square(gradient(), 16).shape == (16, 16, 3)


# -------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_kind_of_file_is_read_as_opencv_reads_it(tmp_path, suffix):
    kind = {".jpe": ".jpg", ".jfif": ".jpg"}.get(suffix, suffix)
    if not cv2.haveImageWriter(f"picture{kind}"):
        pytest.skip(f"this OpenCV writes no {kind}")
    path = tmp_path / f"picture{suffix}"
    picture = smooth(40, 50)
    path.write_bytes(encoded(picture[:, :, 0] if suffix == ".pgm" else picture, kind))
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape == (40, 50, 3)
    assert np.array_equal(image, cv2.imread(str(path)))


def test_a_lossless_file_comes_back_as_it_was():
    assert np.array_equal(decode(encoded(noise(1, 20)[0], ".png")), noise(1, 20)[0])


def test_a_grey_picture_gets_three_equal_channels():
    grey = noise(1, 20)[0, :, :, 0]
    assert np.array_equal(decode(encoded(grey, ".png")), np.repeat(grey[..., None], 3, axis=2))
    image = decode(encoded(grey, ".jpg"))
    assert image.shape == (20, 20, 3) and np.all(image == image[:, :, :1])


def test_alpha_is_dropped_and_the_colours_stay():
    colour = noise(1, 20)[0]
    alpha = np.full((20, 20, 1), 255, np.uint8)
    assert np.array_equal(decode(encoded(np.concatenate([colour, alpha], axis=2), ".png")), colour)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_become_eight(suffix):
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 30, 3), np.uint16)
    image = decode(encoded(deep, suffix))
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - deep / 257).max() <= 1


def with_significant_bits(content: bytes, bits: int) -> bytes:
    """A PNG of three channels that says how many of its samples' bits are significant."""
    chunk = b"sBIT" + bytes([bits] * 3)
    return content[:33] + (3).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + content[33:]


def test_a_file_that_says_that_it_has_ten_or_twelve_bits_of_sixteen_is_not_dark():
    colour = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    colour[0, 0] = 255
    fine = np.random.default_rng(1).integers(0, 16, colour.shape, np.uint16)
    low = (colour.astype(np.uint16) << 4) + fine  # 12 bits in the lower ones; PNG has them in the upper ones
    assert np.array_equal(decode(with_significant_bits(encoded(low, ".png"), 12)), colour)
    assert np.array_equal(decode(with_significant_bits(encoded(low << 4, ".png"), 12)), colour)
    assert np.array_equal(decode(encoded(low, ".png")), colour >> 4)  # it may be dark
    assert not decode(with_significant_bits(encoded(fine << 4, ".png"), 12)).any()  # as this one is
    grey = Image.fromarray(low[:, :, 0] >> 2)
    for tag, white, shown in ((281, 1023, 0), (341, 1023.0, 0), (281, 1000, 6), (281, 65535, 6), (341, math.nan, 6)):
        file = io.BytesIO()
        grey.save(file, "TIFF", tiffinfo={tag: white})
        assert np.array_equal(decode(file.getvalue())[:, :, 0], colour[:, :, 0] >> shown), (tag, white)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("at_least", [None, 16])
def test_exifs_orientation_is_applied(orientation, at_least):
    content = encoded(smooth(64, 96), ".jpg")
    upright = decode(turned(content, orientation), at_least)
    assert np.array_equal(upright, UPRIGHT[orientation](decode(content, at_least)))
    assert upright.shape[:2] != (64, 96) or at_least is None


@pytest.mark.parametrize("name", ["Gesicht ä ö.jpg", "лицо.jpg", "顔.png", "visage 😀.png", "a%20b#c.jpg"])
def test_names_beyond_ascii_are_read(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded(smooth(30, 30), path.suffix))
    assert np.array_equal(read_image(path), decode(path.read_bytes()))
    assert read_image(path).shape == (30, 30, 3)


def test_what_is_no_picture_is_none(tmp_path):
    text, empty = tmp_path / "text.jpg", tmp_path / "empty.jpg"
    text.write_text("no picture at all " * 20)
    empty.touch()
    for path in (text, empty, tmp_path / "nowhere.jpg", tmp_path):
        assert read_image(path) is None
    assert read_bytes(tmp_path / "nowhere.jpg") is None and read_bytes(tmp_path) is None
    assert read_bytes(empty) == b""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("at_least", [None, 16])
def test_a_file_that_is_cut_off_is_none(suffix, share, at_least):
    content = encoded(smooth(300, 200), suffix)
    assert decode(content[: int(len(content) * share)], at_least) is None


@pytest.mark.parametrize(
    ("height", "width", "at_least", "factor"),
    [
        (512, 512, 64, 8),
        (511, 800, 64, 4),
        (800, 511, 64, 4),
        (256, 256, 64, 4),
        (255, 255, 64, 2),
        (128, 128, 64, 2),
        (127, 300, 64, 1),
        (64, 64, 64, 1),
        (40, 40, 64, 1),
    ],
)
def test_a_jpeg_is_decoded_as_small_as_allowed_and_no_smaller(height, width, at_least, factor):
    image = decode(encoded(smooth(height, width), ".jpg"), at_least)
    assert image.shape == (-(-height // factor), -(-width // factor), 3)
    assert min(image.shape[:2]) >= min(at_least, height, width)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)])
def test_a_reduced_jpeg_makes_the_same_face(options):
    content = encoded(smooth(400, 480), ".jpg", *options)
    content = content[:2] + b"\xff\xfe" + (40_000).to_bytes(2, "big") + bytes(39_998) + content[2:]  # a long comment
    whole, reduced = decode(content), decode(content, at_least=50)
    assert whole.shape == (400, 480, 3) and reduced.shape == (50, 60, 3)
    difference = np.abs(resize_square(whole, 50).astype(int) - resize_square(reduced, 50))
    assert difference.mean() < 1 and difference.max() <= 6


def test_other_files_than_jpegs_are_decoded_whole():
    image = noise(1, 256)[0]
    assert np.array_equal(decode(encoded(image, ".png"), at_least=16), image)


# ------------------------------------------------------------------------------- what a photo's file may be and say


def saved(kind: str, orientation: int) -> bytes:
    """A smooth picture of 48 x 32 pixels in a format of Pillow's, with an EXIF orientation."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(cv2.resize(rng.integers(0, 256, (4, 6, 3), np.uint8), (48, 32)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    picture.save(content, kind, exif=exif, **{"WEBP": {"lossless": True}}.get(kind, {}))
    return content.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "GIF", "PPM", "BMP"])
def test_a_photo_stands_upright_whatever_its_format_and_the_version_of_opencv(kind):
    from PIL import ImageOps

    for orientation in range(1, 9):
        content = saved(kind, orientation)
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
        wanted = np.asarray(upright)[:, :, ::-1].astype(int)
        image = decode(content)
        assert image is not None and image.shape == wanted.shape, orientation
        assert np.abs(image - wanted).mean() < 4, orientation


def test_an_orientation_that_makes_no_sense_turns_nothing():
    plain, odd = decode(saved("PNG", 1)), decode(saved("PNG", 200))
    assert np.array_equal(plain, odd)


@pytest.mark.parametrize("white", [1, 15, 255, 1023, 65535])
@pytest.mark.parametrize("kind", ["P5", "P6", "P2"])
def test_white_is_what_a_ppm_says_it_is(kind, white):
    values = np.repeat([0, white // 2, white], 3 if kind == "P6" else 1)
    numbers = " ".join(map(str, values)).encode() if kind == "P2" else values.astype(">u2" if white > 255 else "u1")
    image = decode(f"{kind}\n3 1\n{white}\n".encode() + bytes(numbers))
    assert np.abs(image.astype(int) - [[[0] * 3, [255 * (white // 2) // white] * 3, [255] * 3]]).max() <= 1


def test_a_pil_image_of_16_bits_is_not_white_and_one_without_a_white_is_refused():
    grey = np.array([[0, 128 * 257, 65535]], np.uint16)
    assert picture_of(Image.fromarray(grey))[0, :, 0].tolist() == [0, 128, 255]
    assert picture_of(Image.fromarray(grey.astype(np.int32)))[0, :, 0].tolist() == [0, 128, 255]
    floats = Image.fromarray(np.array([[0, 0.5, 1]], np.float32))
    with pytest.raises(ValueError, match="does not say which of them is white"):
        picture_of(floats)
    floats.save(content := io.BytesIO(), "PPM")
    assert decode(content.getvalue()) is None


def test_no_program_of_ghostscript_runs_for_a_picture_of_any_name(monkeypatch):
    from PIL import EpsImagePlugin

    Image.new("RGB", (20, 20)).save(content := io.BytesIO(), "EPS")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **more: pytest.fail("it ran"))
    assert decode(content.getvalue()) is None


@posix
def test_pipes_devices_and_folders_are_no_photos_and_nothing_waits_for_them(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "lost.jpg").symlink_to("nowhere")
    for path in tmp_path.iterdir():
        assert read_bytes(path) is None and read_image(path) is None, path


def test_a_file_that_is_too_large_for_a_photo_is_not_read(tmp_path, monkeypatch):
    content = saved("PNG", 1)
    (tmp_path / "a.png").write_bytes(content)
    monkeypatch.setattr(faces, "MOST_BYTES", len(content))
    assert read_image(tmp_path / "a.png") is not None
    monkeypatch.setattr(faces, "MOST_BYTES", len(content) - 1)
    assert read_image(tmp_path / "a.png") is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "JPEG2000"])
def test_a_photo_that_says_it_has_too_many_pixels_is_not_decoded(kind, monkeypatch):
    content, pixels = saved(kind, 1), 48 * 32 * (2 if kind == "JPEG2000" else 1)  # whose decoder takes more memory
    monkeypatch.setattr(faces, "MOST_PIXELS", pixels)
    assert decode(content) is not None
    monkeypatch.setattr(faces, "MOST_PIXELS", pixels - 1)
    monkeypatch.setattr(faces.cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    assert decode(content) is None


def test_a_huge_jpeg_is_decoded_where_it_may_be_reduced(monkeypatch):
    content = cv2.imencode(".jpg", np.full((160, 240, 3), 90, np.uint8))[1].tobytes()
    monkeypatch.setattr(faces, "MOST_PIXELS", 40 * 60)
    assert decode(content) is None
    assert decode(content, at_least=40).shape == (40, 60, 3)
    monkeypatch.setattr(faces, "MOST_PIXELS", 40 * 60 - 1)
    assert decode(content, at_least=40) is None


def test_a_jpeg_with_stray_bytes_between_its_segments_is_read_as_opencv_reads_it():
    picture = noise(1, 40)[0]
    _, content = cv2.imencode(".jpg", picture)
    content = content.tobytes()
    after_first = 4 + int.from_bytes(content[4:6])
    stray = content[:after_first] + b"\x00\x00" + content[after_first:]
    assert np.array_equal(decode(stray), cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))


def test_a_jpeg_hides_its_size_behind_no_marker_without_length(monkeypatch):
    _, content = cv2.imencode(".jpg", noise(1, 400)[0])
    content = content.tobytes()
    false = b"\xff\xc0\x00\x11\x08\x00\x14\x00\x1e\x03" + bytes(20)  # 20 x 30, within a comment
    comment = b"\xff\xfe" + (len(false) + 2).to_bytes(2) + false
    for marker in (0x01, 0xD0):
        hidden = content[:2] + bytes([0xFF, marker]) + (4 + 2 + 2).to_bytes(2) + bytes(4) + comment + content[2:]
        monkeypatch.setattr("age_gender.faces.MOST_PIXELS", 1000)
        assert decode(hidden) is None


def test_pillows_warnings_lose_no_photo_where_warnings_are_errors(monkeypatch):
    from PIL import Image

    _, content = cv2.imencode(".png", noise(1, 12)[0])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # beyond which it warns, and beyond twice which it refuses
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(content.tobytes()).shape == (12, 12, 3)
