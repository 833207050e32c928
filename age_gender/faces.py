"""Faces in pictures: reading a photo whatever its kind, boxes and the one crop.

Every picture is uint8, BGR, height x width x 3. A box is x1, y1, x2, y2 in pixels, x2 and y2 exclusive.
"""

import io
import os
import stat
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from age_gender.files import NO_ROOM

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels, x2 and y2 exclusive
Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | np.ndarray | Image.Image

HEIC_SUFFIXES = (".heic", ".heif")  # read where the package pillow-heif is installed
IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", *HEIC_SUFFIXES, ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)

MOST_BYTES = 512 << 20  # of a photo's file
MOST_PIXELS = 180_000_000  # of a photo: more than any camera's, and half a gigabyte decoded

# How a photo is opened: no pipe waits for who writes to it, no terminal becomes ours; on Windows, bytes as they are.
_TO_READ = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))

# Up to this factor linear interpolation comes as near to a photo's area average as INTER_AREA, in a sixth of the time.
LINEAR_SHRINK = 1.6

# Start-of-frame markers of JPEG: the segments that hold the picture's size (ITU-T T.81, table B.1).
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ORIENTATION = 0x0112  # EXIF's tag
_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE = 258, (341, 281)  # TIFF's tags
_OF_OPENCV = ("JPEG", "PNG", "BMP", "TIFF")  # formats that every OpenCV reads, damaged or not as well as can be
# What IMAGE_SUFFIXES mean, as Pillow calls it. It knows more: an EPS file is a program, which it has Ghostscript run.
_FORMATS = (*_OF_OPENCV, "PPM", "GIF", "WEBP", "JPEG2000", "AVIF", "HEIF", "MPO")
_REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def picture_of(picture: Picture) -> np.ndarray:
    """A picture in whatever form another program has it, as (height, width, 3) uint8 BGR.

    >>> picture_of(np.zeros((20, 30), np.uint8)).shape
    (20, 30, 3)

    Args:
        picture: a path, the bytes of an image file, a PIL image, or a uint8 array: (height, width) or (height, width,
            1) grey, (height, width, 3) BGR, (height, width, 4) BGRA, whose alpha is left out.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no picture, with what came and what is allowed.
    """
    if isinstance(picture, str | os.PathLike):
        name = os.fsdecode(picture)
        image = read_image(Path(name))
        if image is not None:
            return image
        if not os.path.exists(name):
            raise FileNotFoundError(f"{name or 'a picture without a name'} is not there")
        if os.path.isdir(name):
            raise ValueError(f"{name} is a folder, no picture")
        raise ValueError(f"{name} is no picture that can be read, or it is damaged{heic_remedy(name)}")
    if isinstance(picture, bytes | bytearray | memoryview):
        content = bytes(picture)
        image = decode(content)
        if image is None:
            remedy = heic_remedy(".heic") if content[4:10] == b"ftyphe" else ""  # heic, heix, hevc
            raise ValueError(
                f"these {len(content):,} bytes are no picture that can be read, or they are damaged{remedy}"
            )
        return image
    if isinstance(picture, Image.Image):
        try:
            if not all(picture.size):
                raise ValueError(f"it has no area, {picture.size}")
            image = _bgr_of(picture)
        except Exception as error:  # Pillow raises many types; the file is decoded only now
            raise ValueError(f"this PIL image cannot be read: {error}") from None
        return _turned(image, _orientation(picture.getexif))  # as `read_image` turns files
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.size:
        channels = picture.shape[2] if picture.ndim == 3 else 1
        if picture.ndim == 2 or (picture.ndim == 3 and channels == 1):
            return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_GRAY2BGR)
        if picture.ndim == 3 and channels in (3, 4):
            return np.ascontiguousarray(picture[:, :, :3])
    came = f"an array {picture.shape} {picture.dtype}" if isinstance(picture, np.ndarray) else repr(type(picture))
    raise ValueError(
        "a picture is a path, the bytes of an image file, a PIL image, or a uint8 array of the shape (h, w) grey, "
        f"(h, w, 3) BGR or (h, w, 4) BGRA, 0..255; received {came}"
    )


def read_image(path: Path) -> np.ndarray | None:
    """Reads a photo: grey, alpha and 16-bit files become 8-bit BGR, and EXIF's orientation is applied.

    Returns:
        (height, width, 3) uint8, BGR; None if the file is not there or is no picture.
    """
    content = read_bytes(path)
    return None if content is None else decode(content)


def read_bytes(path: Path) -> bytes | None:
    """The content of a regular file of at most MOST_BYTES; None of anything else, such as a pipe or a device, and of
    what cannot be read. (cv2.imread fails on some names beyond ASCII.)

    Raises:
        OSError: if no more files can be open: that is no fault of this one.
    """
    try:
        opened = os.open(path, _TO_READ)  # with few calls: each lets another thread take Python's lock
        try:
            found, content = os.fstat(opened), b""
            if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
                return None
            while len(content) < found.st_size and (more := os.read(opened, found.st_size - len(content))):
                content += more
            return content
        finally:
            os.close(opened)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        return None


def decode(content: bytes, at_least: int | None = None) -> np.ndarray | None:
    """Decodes the content of an image file and turns it as its EXIF orientation says, whatever OpenCV would do.

    Args:
        content: the file's bytes.
        at_least: a JPEG may be decoded at a half, a quarter or an eighth of its size, which is much faster, as long
            as its shorter side keeps this many pixels. None decodes it whole.

    Returns:
        (height, width, 3) uint8, BGR; None if it is no picture, or if it would have more than MOST_PIXELS, of JPEG 2000
        half as many.
    """
    # By hand no size is found in a JPEG with stray bytes between its segments, which OpenCV reads.
    header = (_jpeg_header(content) if content[:2] == b"\xff\xd8" else None) or _header(content)
    if header is None or not header.height or not header.width:
        return None
    factor, flag = 1, cv2.IMREAD_COLOR
    if at_least and header.format == "JPEG":
        sides = min(header.height, header.width)
        factor, flag = next(((factor, flag) for factor, flag in _REDUCED if sides >= at_least * factor), (factor, flag))
    most = MOST_PIXELS // 2 if header.format == "JPEG2000" else MOST_PIXELS  # whose decoder takes 4 bytes a sample
    if header.height * header.width > most * factor**2:
        return None
    image = None
    if header.format != "PPM":  # of which OpenCV takes the numbers as they are, though 15 may be white, or 1023
        with suppress(cv2.error):
            deep = cv2.IMREAD_ANYDEPTH if header.bits else 0
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION | deep)
            if header.bits and image is not None and image.dtype == np.uint16:
                image = _eight_bits(image, header)
    if image is None and header.format not in _OF_OPENCV:
        image = _decoded_by_pillow(content)
    if image is None or header.format == "TIFF":  # whose decoder turns by itself
        return image
    return _turned(image, header.orientation)


class _Header(NamedTuple):
    """What a picture's file says of it before anything is decoded."""

    format: str  # as Pillow calls it
    height: int
    width: int
    orientation: int  # EXIF's, 1 to 8; 1 is upright
    bits: int = 0  # of 16 that a sample has, where the file says that it has fewer


def _jpeg_header(content: bytes) -> _Header | None:
    """Of a JPEG, read by hand, since it is most photos; None if no size is found in it."""
    orientation, position = 1, 2
    while position + 9 < len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:  # these have no length, and none stands before the size
            return None
        length = int.from_bytes(content[position + 2 : position + 4])
        if marker in _FRAME_MARKERS:
            height = int.from_bytes(content[position + 5 : position + 7])
            return _Header("JPEG", height, int.from_bytes(content[position + 7 : position + 9]), orientation)
        if marker == 0xE1 and content[position + 4 : position + 10] == b"Exif\0\0":
            orientation = _orientation(partial(_exif, content[position + 4 : position + 2 + length]))
        position += 2 + length
    return None


def _exif(content: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(content)
    return exif


def _orientation(exif: Callable[[], Image.Exif]) -> int:
    """The orientation that EXIF says, 1 to 8; 1 where it says none or nothing sensible."""
    try:
        found = exif().get(_ORIENTATION)
    except Exception:  # Pillow raises many types for damaged metadata, without which the picture still is one
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _header(content: bytes) -> _Header | None:
    """Of any other picture; None if it is none of _FORMATS."""
    if content[4:8] == b"ftyp":  # the box that HEIC begins with (ISO/IEC 14496-12, section 4.3), AVIF too
        _register_heic()
    try:
        with _open(content) as picture:
            width, height = picture.size
            return _Header(str(picture.format), height, width, _orientation(picture.getexif), _bits(content, picture))
    except Exception:  # Pillow raises many types for what is no picture
        return None


def _bits(content: bytes, picture: Image.Image) -> int:
    """How many bits of 16 a file says that its samples have, as cameras of 10 to 14 write; 0 where it does not say."""
    bits, tags = 0, getattr(picture, "tag_v2", {})
    if picture.format == "PNG" and content[24] == 16:
        before, _, after = content.partition(b"IDAT")[0].partition(b"sBIT")
        bits = max(after[: int.from_bytes(before[-4:])], default=0)  # of each channel
    elif picture.format == "TIFF" and set(tags.get(_BITS_PER_SAMPLE, ())) == {16}:
        values = [value for tag in _MAX_SAMPLE_VALUE for value in tags.get(tag, ())]
        with suppress(ArithmeticError, TypeError, ValueError):  # NaN, or a text
            white = int(max(values, default=0))
            if white & (white + 1) == 0:  # else it is the brightest of this picture
                bits = white.bit_length()
    return bits if 8 < bits < 16 else 0


def _eight_bits(image: np.ndarray, header: _Header) -> np.ndarray:
    """16 bits a sample reduced to 8. The `header.bits` that are used may be the lower ones or, as PNG demands, the
    upper ones. A PNG of small values has used the upper ones where all bits below these are 0."""
    bits = header.bits
    low = image.max() < 1 << bits and (header.format != "PNG" or (image & ((1 << (16 - bits)) - 1)).any())
    return (image >> ((bits if low else 16) - 8)).astype(np.uint8)


def _open(content: bytes) -> Image.Image:
    """A picture of one of _FORMATS that this Pillow knows, not decoded."""
    # Of sizes, which are bounded here, and of metadata. For good: to undo it is not safe beside other threads.
    # Only where another filter has come first since: to set one has all warnings shown anew.
    if not warnings.filters or getattr(warnings.filters[0][3], "pattern", "") != "PIL":
        warnings.filterwarnings("ignore", module="PIL")
    Image.init()
    return Image.open(io.BytesIO(content), formats=[name for name in _FORMATS if name in Image.OPEN])


@cache
def _register_heic() -> bool:
    """Has Pillow read HEIC, where pillow-heif is installed; whether it is."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def heic_remedy(name: str) -> str:
    """What is to be said besides of a photo that cannot be read: where it is HEIC, whose package is lacking."""
    lacking = name.lower().endswith(HEIC_SUFFIXES) and not _register_heic()
    return ": HEIC needs pip install pillow-heif" if lacking else ""


def _decoded_by_pillow(content: bytes) -> np.ndarray | None:
    """A picture of a format that this OpenCV lacks or gets wrong, not turned; the first frame of several."""
    try:
        with _open(content) as picture:
            return _bgr_of(picture)
    except Exception:  # as in `_header`
        return None


def _bgr_of(picture: Image.Image) -> np.ndarray:
    """A PIL image as (h, w, 3) uint8 BGR. Pillow's own conversion makes white of all that is beyond 8 bits."""
    if picture.mode == "F":
        raise ValueError("a picture of floating-point numbers does not say which of them is white")
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if picture.mode != "I" or values.max() > 255:  # 16 bits
            values >>= 8
        return picture_of(np.clip(values, 0, 255).astype(np.uint8))
    return np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """A picture upright, from its EXIF orientation (CIPA DC-008, tag 0x0112)."""
    if orientation in (5, 6, 7, 8):
        image = cv2.transpose(image)
    if orientation in (2, 3, 6, 7):
        image = cv2.flip(image, 1)
    if orientation in (3, 4, 7, 8):
        image = cv2.flip(image, 0)
    return image


def resize_square(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes to size x size: by area where a side shrinks by more than LINEAR_SHRINK, else linearly."""
    much = max(image.shape[:2]) > LINEAR_SHRINK * size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if much else cv2.INTER_LINEAR)


def box_problem(box: Box, width: int, height: int) -> str:
    """Why `crop_face` does not cut a box from a picture of this size; "" if it does."""
    x1, y1, x2, y2 = box
    if not (x1 < x2 and y1 < y2 and x1 < width and y1 < height and x2 > 0 and y2 > 0):
        return f"the box {box} has no area within a picture of {width} x {height} pixels"
    if x2 - x1 > 1.5 * width or y2 - y1 > 1.5 * height:
        return f"the box {box} is much larger than the picture of {width} x {height} pixels"
    return ""


def crop_face(image: np.ndarray, box: Box, margin: float, size: int, eyes: np.ndarray | None = None) -> np.ndarray:
    """The one crop: box and margin, cut out and resized to a square, for databases and the demo alike.

    What lies outside the picture repeats its edge, as IMDB-WIKI's own crops do.

    Args:
        image: (height, width, 3) uint8, BGR.
        box: x1, y1, x2, y2 in pixels; may reach beyond the picture.
        margin: added on the left and the right as a share of the box's width, above and below of its height.
        size: of the result, in pixels.
        eyes: (2, 2) float, x and y in pixels of the person's right and left eye, to turn the picture about the point
            between them, and the box's centre with it, so that they are level and the right one is on the left; None
            cuts the picture as it stands.

    Returns:
        (size, size, 3) uint8, BGR.

    Raises:
        ValueError: if the box is empty, lies wholly outside the picture, or is half as large again as it or more.
    """
    height, width = image.shape[:2]
    if problem := box_problem(box, width, height):
        raise ValueError(problem)
    turn, (x1, y1, x2, y2) = (None, box) if eyes is None else _levelled(box, eyes)
    grow_x, grow_y = margin * (x2 - x1), margin * (y2 - y1)
    left, right = round(x1 - grow_x), max(round(x2 + grow_x), round(x1 - grow_x) + 1)
    top, bottom = round(y1 - grow_y), max(round(y2 + grow_y), round(y1 - grow_y) + 1)
    if turn is not None:
        turn[:, 2] -= left, top
        cut = cv2.warpAffine(image, turn, (right - left, bottom - top), borderMode=cv2.BORDER_REPLICATE)
        return resize_square(cut, size)
    # At least one row and one column of the picture, whose edge the rest repeats.
    first_row, last_row = min(max(top, 0), height - 1), max(min(bottom, height), 1)
    first_column, last_column = min(max(left, 0), width - 1), max(min(right, width), 1)
    inside = image[first_row:last_row, first_column:last_column]
    beyond = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    if any(beyond):
        inside = cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE)
    return resize_square(inside, size)


def _levelled(box: Box, eyes: np.ndarray) -> tuple[np.ndarray, Box]:
    """The (2, 3) affine map that turns a picture so that its eyes are level, and the box that turned along, upright."""
    across, down = eyes[1] - eyes[0]
    length, middle = np.hypot(across, down), eyes.mean(axis=0)
    turn = np.array([[across, down], [-down, across]]) / length if length else np.eye(2)
    x1, y1, x2, y2 = box
    x, y = middle + turn @ (np.array([x1 + x2, y1 + y2]) / 2 - middle)
    half_width, half_height = (x2 - x1) / 2, (y2 - y1) / 2
    return (
        np.column_stack([turn, middle - turn @ middle]),
        (x - half_width, y - half_height, x + half_width, y + half_height),
    )


def cut_face(
    image: np.ndarray, box: Box | None, margin: float, size: int, eyes: np.ndarray | None = None
) -> np.ndarray | None:
    """A dataset's face: `crop_face` or, where the box is None, the whole picture, which is cut already; None if the box
    does not fit the picture, or is of NaN, since it is not known."""
    if box is None:
        return resize_square(image, size)
    try:
        return crop_face(image, box, margin, size, eyes)
    except (ValueError, cv2.error):
        return None
