"""Where pictures come from: a file, a folder, a video or a camera, all as an iterator of frames."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

import cv2
import numpy as np

from age_gender.faces import IMAGE_SUFFIXES, read_image
from age_gender.files import files_below, is_hidden, real
from age_gender.machine import held_back_stderr, native_stderr_from, native_stderr_size, silent_opencv

TABLE, TABLE_BEGINS = "predictions.csv", b"input,frame,face,"  # a folder that holds one is of results
VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts"),
    *(".vob", ".webm", ".wmv"),
)


def is_video(path: Path) -> bool:
    """Whether a path is named as a video is, and is no folder."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()


class Frame(NamedTuple):
    """One picture.

    Attributes:
        name: of its file, relative to the folder searched; of the video's file; or "camera 0".
        number: of the frame in a video or from a camera, from 0; 0 for an image.
        read: returns (height, width, 3) uint8 BGR, or None if unreadable. Any thread may call it, once.
        seconds: since the video began, or the camera; None of an image.
    """

    name: str
    number: int
    read: Callable[[], np.ndarray | None]
    seconds: float | None = None


class Found(NamedTuple):
    """What a folder holds."""

    images: list[Path]  # the image files, sorted
    passed_over: dict[str, list[str]]  # what sort of file was not taken -> names, relative to the folder

    def __str__(self) -> str:
        """'3 .mp4 (such as a.mp4), 2 results of an earlier run (such as found/b.jpg)'; '' where all was taken."""
        return ", ".join(f"{len(names):,} {sort} (such as {names[0]})" for sort, names in self.passed_over.items())


def find_images(folder: Path, leave_out: Path | None = None) -> Found:
    """All image files in a folder and the folders below it, links to folders among them.

    Not taken are hidden files, what is in `leave_out`, and the folders of an earlier run's results.

    Raises:
        FileNotFoundError: if there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        wrong = "is no folder of images"
        raise FileNotFoundError(f"{folder} {wrong if folder.exists() else 'is not there'}")
    avoided = real(leave_out or folder)
    within = real(folder) in avoided.parents  # results beside or above the images hide none of them
    names = files_below(folder)
    tables = {name.rpartition("/")[0] for name in names if name.endswith("/" + TABLE)}
    results = tuple(f"{parent}/" for parent in tables if is_table(folder / parent / TABLE))
    found = Found([], {})
    for name in names:
        path = folder / name
        if name.endswith("/"):
            sort = "folder that cannot be read"
        elif is_hidden(name):
            sort = "hidden"
        elif name.startswith(results) or within and real(path).is_relative_to(avoided):
            sort = "results of an earlier run"
        elif path.suffix.lower() not in IMAGE_SUFFIXES:
            sort = path.suffix.lower() or "without a suffix"
        elif not path.is_file():
            sort = "no files"
        else:
            found.images.append(path)
            continue
        found.passed_over.setdefault(sort, []).append(name)
    if not found.images:
        there = f", but {found}" if found.passed_over else ""
        film = next((names[0] for sort, names in found.passed_over.items() if sort in VIDEO_SUFFIXES), "")
        ways = f"; demo.py reads one video at a time, as {folder / film}" if film else ""
        raise FileNotFoundError(
            f"{folder} holds no image, nor do its subfolders{there}; images end in {', '.join(IMAGE_SUFFIXES)}{ways}"
        )
    found.images.sort()
    return found


def is_table(path: Path) -> bool:
    """Whether a file is the table of an earlier run."""
    try:
        with open(path, "rb") as file:
            return file.readline().startswith(TABLE_BEGINS)
    except OSError:
        return False


def images(paths: Iterable[str | os.PathLike[str]], folder: Path | None = None) -> Iterator[Frame]:
    """Image files, named relative to a folder, or by their whole paths where none is given."""
    for path in map(Path, paths):
        name = path.relative_to(folder).as_posix() if folder else str(path)
        yield Frame(name, 0, partial(read_image, path))


def complaints(folder: Path, names: Iterable[str]) -> dict[str, list[str]]:
    """The lines that decoders write to stderr of some photos, decoded one at a time; silent ones are left out.

    These photos are damaged, and read as well as can be, or not at all. No other thread may decode meanwhile.
    """
    found = {}
    for name in names:
        with held_back_stderr() as said:
            read_image(folder / name)
            lines = said().splitlines()
        if lines:
            found[name] = lines
    return found


FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"  # where it is set, FFmpeg may say less than that something is wrong


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps back OpenCV's and FFmpeg's own complaints of a video; the caller says what failed. Where native code's
    words are kept anyway, FFmpeg's come there."""
    if native_stderr_size() is None:
        os.environ.setdefault(FFMPEG_LEVEL, "-8")  # AV_LOG_QUIET, for the whole process
    with silent_opencv():
        yield


def open_capture(what: int | str) -> cv2.VideoCapture:
    """Opens a camera, a stream or a video, quietly."""
    with quiet():
        return cv2.VideoCapture(what)


def film_name(path: Path) -> str:
    """A video's name as OpenCV takes it: whole, since FFmpeg takes what stands before a colon for a protocol.

    Raises:
        ValueError: if it is not UTF-8, with which OpenCV ends the process.
    """
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{path}: the name is not UTF-8, and OpenCV opens no video so called; rename it") from None
    return name


LISTS = (b"#EXTM3U", b"ffconcat")  # how lists of other files begin, which FFmpeg would play
PROLOGUE = 1024  # bytes: none of a video's so many first ones are text alone
# What the first box of an MP4 or a QuickTime file is called. They list each frame, and their rate is the mean. Other
# files' count is their length times a rate, or, as that of AVI, has empty frames in it.
BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
MATROSKA = b"\x1aE\xdf\xa3"  # how .mkv and .webm begin
OGG = b"OggS"  # each page has a checksum; an empty packet repeats the frame before, and OpenCV reads none
# Of these the length is the last time that stands in them, of sound too, and not what they promised: .ogv; .mpg, .vob;
# .wmv (whose length is no longer known once it is cut off). TS has a mark each so many bytes instead.
MEASURED = (OGG, b"\0\0\1\xba", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
TS_MARK, TS_PACKETS = b"G", ((0, 188), (4, 192))
NOT_CONVERTED = b"Cannot convert interlaced"  # as FFmpeg says where OpenCV gives a picture that is none
LEAST_BYTES = 8  # of a frame in a file: its place in the index takes them. More frames than that are not waited for
LONGEST = 7 * 24 * 3600  # seconds: who promises more knows nothing
SLACK = 2  # frames by which a file's own count may be off, as an estimate from its length is


def _broken_fragments(file: BinaryIO) -> str:
    """What is wrong with the boxes of a fragmented MP4 (ISO/IEC 14496-12, section 4.2), whose fragments behind that
    FFmpeg leaves out in silence; "" of nothing, and of other files."""
    end, place, fragmented = file.seek(0, os.SEEK_END), 0, False
    while place + 8 <= end:
        file.seek(place)
        head = file.read(16)
        size, name = int.from_bytes(head[:4]), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:])
        elif not size:
            size = end - place
        if size < 8 or not (name.isascii() and name.decode().isprintable()) or place + size > end:
            return f"a fragment is broken at byte {place:,}" if fragmented else ""
        fragmented |= name == b"moof"
        place += size
    return ""


class Video:
    """A video file, frame by frame, as it is shown: its pixels are made square.

    Args:
        path: of the file.
        every: 1 yields each frame, 2 every second one, from the first.

    Attributes:
        frames_per_second: of what is yielded.
        total: how many frames are yielded, as the file promises; 0 where it does not say, or cannot hold so many.
        size: width and height of the frames.
        lists_frames: whether the file lists each frame, so that its rate is the mean, however unevenly they come.
        lost: when all was read, how many frames the file promised that could not be read. Where it does not list each
            frame, reading never failed on the way and the decoder did not complain, those after the last one: a gap
            may be a pause. Where `machine.native_lines` keeps what FFmpeg says, silence means that an MP4 or a Matroska
            file is whole: what its start was cut off by an edit list, or how much longer its sound is, counts as
            promised too; so are other files whose length is measured at their end (MEASURED, TS).
        complaint: when all was read and none is `lost`, what the decoder said of it first, "" of nothing: frames may be
            missing or damaged.
        counted: whether the file promised as many frames as were read, or more.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if OpenCV cannot play it, or it is empty or text; while it is read, if not one frame can be read, or
            if it is interlaced and OpenCV gives other pictures for its frames (known where FFmpeg's words are kept).
    """

    def __init__(self, path: Path, every: int = 1):
        self.path, self.every = Path(path), every
        if not self.path.is_file():
            raise FileNotFoundError(f"{path} is not there")
        with open(self.path, "rb") as file:
            head = file.read(PROLOGUE)
            if head.startswith(LISTS) or (head.isascii() and b"\0" not in head):
                raise ValueError(f"{path} cannot be played: it is empty or text, no video")
            self._broken = _broken_fragments(file)
        self.lost, self.complaint, self.counted, self._begun = 0, "", True, False
        self.lists_frames = head[4:8] in BOXES
        self._capture = open_capture(film_name(self.path))
        packets = any(head[start : start + 3 * step : step] == 3 * TS_MARK for start, step in TS_PACKETS)
        self._tells_its_end = self.lists_frames or packets or head.startswith((MATROSKA, *MEASURED))
        self._repeats_frames = head.startswith(OGG)
        self._rate = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        self.frames_per_second = self._rate / every
        width, height = (int(self._capture.get(each)) for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if not self._capture.isOpened() or not width or not height:
            raise ValueError(f"{path} cannot be played: it is no video, or of a kind that OpenCV does not know")
        wide, high = (self._capture.get(each) or 1 for each in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
        self.size = max(1, round(width * wide / high)), height
        promised = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._promised = promised if promised <= LONGEST * self._rate else 0
        self._waited_for = self._promised if self._promised * LEAST_BYTES <= self.path.stat().st_size else 0
        self.total = max(0, -(-self._waited_for // every))

    def __iter__(self) -> Iterator[Frame]:
        if self._begun:
            raise ValueError(f"{self.path} was read already: open it again")
        self._begun = True
        number = failed = skipped = 0
        seconds, said = -1 / self._rate, native_stderr_size()
        heard = said
        try:
            while number + failed < max(self._waited_for, 1) or not failed:
                wanted = not number % self.every
                good, image = self._capture.read() if wanted else (self._capture.grab(), None)
                if not good:  # a damaged stretch may have good frames behind it
                    failed += 1
                    continue
                if native_stderr_size() != heard:
                    self._refuse_interlaced(native_stderr_from(heard))
                    heard = native_stderr_size()
                skipped = failed
                # The frame's own time, as phones' videos have no steady rate; not every reader knows it.
                seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 or number / self._rate
                if image is not None:
                    if image.shape[1::-1] != self.size:  # pixels that are not square, as on a DVD
                        image = cv2.resize(image, self.size, interpolation=cv2.INTER_LINEAR)
                    yield Frame(self.path.name, number, partial(np.asarray, image), seconds)
                number += 1
            if not number and self._promised:
                raise ValueError(
                    f"{self.path} cannot be played: none of its {self._promised:,} frames can be read; it is damaged, "
                    f"or its codec, {self._codec()}, is none that this OpenCV knows: have ffmpeg make another file"
                )
            speaks = FFMPEG_LEVEL not in os.environ and self._capture.getBackendName() == "FFMPEG"
            heard_all = said is not None and speaks
            damaged = native_stderr_size() != said or (skipped > 0 and not (heard_all and self._repeats_frames))
            silent = number and heard_all and not damaged
            missing = 0 if silent and self._tells_its_end else self._missing(number, seconds, damaged)
            exact = damaged and self.lists_frames  # of a whole one the decoder would have been silent
            self.lost = missing if missing > (0 if exact else SLACK) else 0
            self.counted = 0 < number <= self._promised and not self._broken
            if not self.lost:
                words = native_stderr_from(said).decode(errors="replace").strip()
                self.complaint = re.sub(" @ 0x[0-9a-f]+", "", words.partition("\n")[0]) or self._broken
        finally:
            self._capture.release()

    def _refuse_interlaced(self, words: bytes) -> None:
        """Raises ValueError if FFmpeg's words say that the frames are none; OpenCV says that it read them."""
        if NOT_CONVERTED in words:
            raise ValueError(
                f"{self.path} cannot be played: it is interlaced, of which OpenCV {cv2.__version__} makes no pictures; "
                "have ffmpeg make another file, with -vf yadif"
            )

    def _codec(self) -> str:
        """Four letters, such as AV01."""
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        return repr(code.to_bytes(4, "little").decode("latin-1"))

    def _missing(self, read: int, seconds: float, damaged: bool) -> int:
        """How many frames are missing after so many were read, the last at these seconds; `damaged`, whether reading
        failed on the way, or the decoder complained."""
        missing = self._promised - read
        if self.lists_frames or damaged:
            return missing
        step = seconds / (read - 1) if read > 1 and seconds > 0 else 1 / self._rate
        return min(missing, round((self._promised / self._rate - seconds) / step) - 1)


def _host(address: str) -> str:
    """The host in a stream's address."""
    try:
        return urlsplit(address).hostname or "stream"
    except ValueError:  # such as of a bracket in a password
        return "stream"


class Camera:
    """A camera's or a stream's newest frame each time: what comes while the last one is worked on is passed over.

    Raises:
        ValueError: if there is no such camera or stream.
    """

    frames_per_second = 10.0  # of a recording: about what is worked on, not what the camera sends

    def __init__(self, index: int | str, width: int = 640, height: int = 480):
        # Of a stream's address the host alone: the rest may hold a password, or be long.
        self.name = f"camera {index}" if isinstance(index, int) else _host(index)
        self._capture = open_capture(index)
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        if not self._capture.isOpened() or not self._capture.read()[0]:
            self._capture.release()
            raise ValueError(
                f"there is no {self.name}; choose another with --camera, or use --image_dir, --image or --video"
            )
        self.size = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def __iter__(self) -> Iterator[Frame]:
        newest: list[np.ndarray] = []
        arrived = threading.Condition()
        ended = threading.Event()

        def watch() -> None:
            """Puts the newest frame in place of the one before, until the camera ends or nobody looks any more."""
            try:
                while not ended.is_set():
                    good, image = self._capture.read()
                    if not good:
                        break
                    with arrived:
                        newest[:] = [image]
                        arrived.notify()
            finally:  # also where OpenCV raises
                with arrived:
                    ended.set()
                    arrived.notify()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        number, began = 0, time.monotonic()
        try:
            while True:
                with arrived:
                    arrived.wait_for(lambda: newest or ended.is_set())
                    if not newest:
                        return
                    image = newest.pop()
                yield Frame(self.name, number, partial(np.asarray, image), time.monotonic() - began)
                number += 1
        finally:
            ended.set()
            thread.join(timeout=2)
            self._capture.release()
