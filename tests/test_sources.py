"""Where pictures come from: folders with junk in them, a film that the test makes, a camera that it plays."""

import os
import shutil
import time
from contextlib import nullcontext

import cv2
import numpy as np
import pytest

from age_gender import sources
from age_gender.machine import native_lines
from age_gender.sources import Camera, Video, find_images, images


def plant(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found_in(folder, **arguments):
    return [path.relative_to(folder).as_posix() for path in find_images(folder, **arguments).images]


def test_images_are_found_below_the_folder_too_sorted_and_junk_is_passed_over(tmp_path):
    plant(tmp_path, "b.jpg", "a.PNG", "sub/deep/c.Jpeg", "sub/ä ö.tiff", "x.webp")
    plant(tmp_path, "notes.txt", "jpg", "a.jpg.part", "Thumbs.db", "film.mp4")
    (tmp_path / "folder.jpg").mkdir()
    assert found_in(tmp_path) == sorted(["b.jpg", "a.PNG", "sub/deep/c.Jpeg", "sub/ä ö.tiff", "x.webp"])


def test_hidden_files_and_folders_are_left_out_unless_the_folder_itself_is_hidden(tmp_path):
    plant(tmp_path, ".cache/seen.jpg", ".cache/.thumbs/small.jpg", ".cache/._seen.jpg", "open.jpg", ".one.jpg")
    assert found_in(tmp_path) == ["open.jpg"]
    assert found_in(tmp_path / ".cache") == ["seen.jpg"]


def test_the_output_folder_is_left_out(tmp_path):
    plant(tmp_path, "a.jpg", "found/a.jpg", "found/sub/b.jpg", "found_too/c.jpg")
    assert found_in(tmp_path, leave_out=tmp_path / "found") == ["a.jpg", "found_too/c.jpg"]
    assert found_in(tmp_path, leave_out=tmp_path / "not_yet") == [
        "a.jpg",
        "found/a.jpg",
        "found/sub/b.jpg",
        "found_too/c.jpg",
    ]


def test_an_output_folder_around_the_images_leaves_none_out(tmp_path):
    plant(tmp_path, "photos/a.jpg", "photos/sub/b.jpg")
    assert found_in(tmp_path / "photos", leave_out=tmp_path / "photos") == ["a.jpg", "sub/b.jpg"]
    assert found_in(tmp_path / "photos", leave_out=tmp_path) == ["a.jpg", "sub/b.jpg"]


def test_a_relative_output_folder_is_left_out(tmp_path, monkeypatch):
    plant(tmp_path, "photos/a.jpg", "photos/found/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert [path.as_posix() for path in find_images("photos", sources.Path("photos/found")).images] == ["photos/a.jpg"]


def test_a_folder_without_images_is_refused(tmp_path):
    plant(tmp_path, "notes.txt")
    with pytest.raises(
        FileNotFoundError,
        match=r"holds no image, nor do its subfolders, but 1 .txt .*; images end in \.avif, .*\.webp",
    ):
        find_images(tmp_path)


def test_a_folder_of_videos_is_met_by_the_way_on(tmp_path):
    plant(tmp_path, "beach.mp4", "dunes.MOV")
    with pytest.raises(FileNotFoundError, match="but 1 .mp4 .*; demo.py reads one video at a time, as .*beach.mp4"):
        find_images(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path):
    plant(tmp_path, "a.jpg")
    with pytest.raises(FileNotFoundError, match="a.jpg is no folder of images"):
        find_images(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        find_images(tmp_path / "nowhere")


def test_each_frame_reads_its_own_image_when_it_is_asked_to(tmp_path):
    names = ["a.png", "sub/b.png", "c.png"]
    frames = list(images([tmp_path / name for name in names], tmp_path))
    for value, name in enumerate(names):  # after the frames were listed
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(cv2.imencode(".png", np.full((4, 5, 3), 50 * value, np.uint8))[1].tobytes())
    assert [frame.name for frame in frames] == names and {frame.number for frame in frames} == {0}
    assert [int(frame.read()[0, 0, 0]) for frame in frames] == [0, 50, 100]
    plant(tmp_path, "a.png")
    assert frames[0].read() is None


@pytest.fixture
def film(tmp_path):
    """Twelve frames of 96 x 64 pixels at 10 a second, each 20 brighter than the one before."""
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    if not writer.isOpened():
        pytest.skip("OpenCV cannot write mp4 files here")
    for number in range(12):
        writer.write(np.full((64, 96, 3), 20 * number, np.uint8))
    writer.release()
    return path


def test_a_video_gives_its_frames_in_order(film):
    video = Video(film)
    assert video.size == (96, 64) and video.frames_per_second == pytest.approx(10)
    frames = list(video)
    assert [frame.number for frame in frames] == list(range(12)) and {frame.name for frame in frames} == {"film.mp4"}
    pictures = [frame.read() for frame in frames]
    assert all(picture.shape == (64, 96, 3) and picture.dtype == np.uint8 for picture in pictures)
    np.testing.assert_allclose([picture.mean() for picture in pictures], np.arange(12) * 20, atol=4)


def test_a_video_that_promises_more_frames_than_it_has_bytes_ends(film, monkeypatch):
    real = cv2.VideoCapture

    class Boaster:
        def __init__(self, *arguments):
            self.capture = real(*arguments)

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def get(self, what):
            return 2.0**31 if what == cv2.CAP_PROP_FRAME_COUNT else self.capture.get(what)

    monkeypatch.setattr(cv2, "VideoCapture", Boaster)
    video = Video(film)
    assert (len(list(video)), video.total, video.lost) == (12, 0, 0)


MATROSKA, MP4, AVI = b"\x1aE\xdf\xa3", b"\0\0\0\x20ftypisom", b"RIFF\0\0\0\0AVI LIST"
TS, M2TS = (b"G" + bytes(187)) * 6, (bytes(4) + b"G" + bytes(187)) * 6
MEASURED_HEADS = (TS, M2TS, b"OggS\0\2", b"\0\0\1\xbaD\0", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9")
PAUSE = [number / 30 + 3 * (number >= 20) for number in range(40)]
UNEVEN = [0.09 * number + 0.05 * (number % 2) for number in range(20)]
EVEN = [number / 30 for number in range(120)]


def played(path, head, times, rate, promised, monkeypatch):
    """A video whose decoder gives a grey frame at each of these seconds (None: one that cannot be read)."""

    class Decoder(PlayedCamera):
        def get(self, name):
            if name == cv2.CAP_PROP_POS_MSEC:
                return 1000 * times[self.number - 1]
            return {cv2.CAP_PROP_FPS: rate, cv2.CAP_PROP_FRAME_COUNT: promised}.get(name, 4)

        def read(self):
            self.number += 1
            good = self.number <= len(times) and times[self.number - 1] is not None
            return good, np.zeros((4, 4, 3), np.uint8) if good else None

        def grab(self):
            return self.read()[0]

    if not path.exists():
        path.write_bytes(head + bytes(100_000))
    monkeypatch.setattr(cv2, "VideoCapture", Decoder)
    return path


def test_where_a_reader_does_not_know_the_time_it_comes_from_the_rate(tmp_path, monkeypatch):
    for times in ([0.0] * 4, [0.0, 0.04, 0.08, 0.12]):
        video = Video(played(tmp_path / "v", AVI, times, 25, 4, monkeypatch))
        assert [frame.seconds for frame in video] == pytest.approx([0, 0.04, 0.08, 0.12])


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    ("head", "times", "rate", "promised", "lost"),
    [
        (MATROSKA, PAUSE, 30, 130, 0),  # a count that is the length times the rate
        (MATROSKA, UNEVEN, 1000, 1840, 0),
        (AVI, PAUSE, 30, 130, 0),  # whose empty frames count
        (MATROSKA, EVEN, 30, 120, 0),
        (MATROSKA, EVEN[:72], 30, 120, 48),
        (AVI, EVEN[:72], 30, 120, 48),
        (MATROSKA, [*EVEN[:30], *[None] * 20, *EVEN[50:]], 30, 120, 20),  # reading failed: that gap is no pause
        (MP4, [*EVEN[:30], *EVEN[50:]], 30, 120, 20),  # its own count
        (MP4, PAUSE, 9.3, 40, 0),
    ],
)
def test_frames_are_missing_where_a_file_ends_early_and_not_where_they_come_unevenly(
    head, times, rate, promised, lost, every, tmp_path, monkeypatch
):
    video = Video(played(tmp_path / "a.bin", head, times, rate, promised, monkeypatch), every)
    assert len(list(video)) == len([each for each in times if each is not None][::every]) and video.lost == lost


@pytest.mark.parametrize(
    ("head", "promised", "lost"),
    [
        *(
            (MP4, 150, 0),
            (MATROSKA, 150, 0),
            (AVI, 150, 30),
        ),  # an edit list, sound that is longer, a file that is cut off
        *((head, 150, 0) for head in MEASURED_HEADS),  # whose length is that of the sound, if it is longer
    ],
)
def test_what_ffmpeg_reads_in_silence_is_whole_where_it_would_say_so(head, promised, lost, tmp_path, monkeypatch):
    path = played(tmp_path / "a.bin", head, EVEN, 30, promised, monkeypatch)
    monkeypatch.delenv(sources.FFMPEG_LEVEL, raising=False)
    with native_lines():
        video = Video(path)
        assert (len(list(video)), video.lost) == (120, lost)


@pytest.mark.parametrize(("head", "lost"), [(MEASURED_HEADS[2], 0), (MATROSKA, 20)])
def test_empty_packets_of_an_ogg_file_repeat_a_frame_and_are_no_damage(head, lost, tmp_path, monkeypatch):
    times = [*EVEN[:30], *[None] * 20, *EVEN[50:]]
    path = played(tmp_path / "a.bin", head, times, 30, 120, monkeypatch)
    monkeypatch.delenv(sources.FFMPEG_LEVEL, raising=False)
    with native_lines():
        video = Video(path)
        assert (len(list(video)), video.lost) == (100, lost)
    video = Video(path)  # whose decoder is not heard
    assert (len(list(video)), video.lost) == (100, 20)


def complaining(monkeypatch, words):
    """The decoder of `played` writes this at its 21st frame."""
    read = cv2.VideoCapture.read

    def read_and_complain(self):
        if self.number == 20:
            os.write(2, words)
        return read(self)

    monkeypatch.setattr(cv2.VideoCapture, "read", read_and_complain)


@pytest.mark.parametrize(
    ("head", "promised", "lost", "counted"),
    [
        *((MATROSKA, 0, 0, False), (MATROSKA, 121, 0, True)),  # a live recording; one that was finished
        *((MP4, 15, 0, False), (MP4, 121, 1, True)),  # a count of the first fragment alone; of all frames, to the frame
    ],
)
def test_of_what_promises_nothing_a_complaint_is_all_that_tells_of_damage(
    head, promised, lost, counted, tmp_path, monkeypatch
):
    path = played(tmp_path / "a.bin", head, EVEN, 30, promised, monkeypatch)
    complaining(monkeypatch, b"[matroska,webm @ 0x55d32cc3b080] File ended prematurely\nmore\n")
    with native_lines():
        video = Video(path)
        assert (len(list(video)), video.lost, video.counted) == (120, lost, counted)
    assert video.complaint == ("" if lost else "[matroska,webm] File ended prematurely")


def test_an_interlaced_video_of_which_opencv_makes_no_pictures_is_refused(tmp_path, monkeypatch):
    path = played(tmp_path / "a.bin", MATROSKA, EVEN, 30, 120, monkeypatch)
    complaining(monkeypatch, b"[swscaler @ 0x1] Cannot convert interlaced to progressive frames or vice versa.\n")
    with native_lines(), pytest.raises(ValueError, match="a.bin cannot be played: it is interlaced, .* -vf yadif"):
        list(Video(path))


def box(name, content=b""):
    return (8 + len(content)).to_bytes(4) + name + content


@pytest.mark.parametrize(
    ("after", "wrong"),
    [
        (b"", ""),
        (box(b"moof") + box(b"mdat", b"frames"), ""),
        (box(b"moof") + b"\0\0\0\1mdat" + (22).to_bytes(8) + b"frames", ""),
        (box(b"moof") + b"\0\0\0\0mdatframes", ""),
        (box(b"moof") + box(b"mdat", b"frames")[:-1], "a fragment is broken at byte 1,016"),
        (box(b"moof") + bytes(8) + box(b"moof"), "a fragment is broken at byte 1,016"),  # a hole
        (box(b"moof") + box(b"\xff\1\2\3") + box(b"moof"), "a fragment is broken at byte 1,016"),
        (box(b"\xff\1\2\3"), ""),  # no fragments: what follows is nobody's
    ],
)
def test_fragments_that_ffmpeg_would_leave_out_in_silence_are_told(after, wrong, tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(box(b"ftyp", bytes(992)) + box(b"moov") + after)
    video = Video(played(path, MP4, EVEN, 30, 120, monkeypatch))
    assert len(list(video)) == 120 and (video.complaint, video.counted) == (wrong, not wrong and not video.lost)


def test_a_video_of_which_no_frame_can_be_read_names_its_codec(tmp_path, monkeypatch):
    path = played(tmp_path / "a.bin", MP4, [], 30, 120, monkeypatch)
    decoder = cv2.VideoCapture
    read = decoder.get
    monkeypatch.setattr(
        decoder,
        "get",
        lambda self, name: cv2.VideoWriter.fourcc(*"AV01") if name == cv2.CAP_PROP_FOURCC else read(self, name),
    )
    with pytest.raises(ValueError, match="none of its 120 frames can be read; .* its codec, 'AV01', is none"):
        list(Video(path))


@pytest.mark.parametrize("kept", [True, False])
def test_a_genuine_film_that_is_cut_off_lacks_frames(kept, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "a.mkv"), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 64))
    for number in range(60):
        writer.write(np.full((64, 64, 3), 4 * number, np.uint8))
    writer.release()
    whole = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    with native_lines() if kept else nullcontext():
        films = [Video(tmp_path / name) for name in ("a.mkv", "cut.mkv")]
        read = [len(list(film)) for film in films]
    assert read[0] == 60 and films[0].lost == 0
    assert read[1] < 60 and abs(films[1].lost - (60 - read[1])) <= 1


def test_a_gap_is_damage_where_the_decoder_complains_and_the_complaint_is_kept_back(tmp_path, monkeypatch, capfd):
    path = played(tmp_path / "a.bin", MATROSKA, PAUSE, 30, 130, monkeypatch)
    read = cv2.VideoCapture.read

    def complaining(self):
        if self.number == 20:
            os.write(2, b"[h264] error while decoding\n")
        return read(self)

    monkeypatch.setattr(cv2.VideoCapture, "read", complaining)
    with native_lines():
        video = Video(path)
        assert (len(list(video)), video.lost) == (40, 90)
    assert capfd.readouterr().err == ""
    with pytest.raises(ValueError, match="a.bin was read already: open it again"):
        list(video)


@pytest.mark.parametrize("head", [MATROSKA, MP4])
def test_a_video_that_is_cut_off_early_says_what_is_lost_and_is_not_waited_for(head, tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(head + bytes(5000))  # too short to hold so many frames
    video = Video(played(tmp_path / "a.bin", head, [0.0], 25, 800, monkeypatch))
    assert (len(list(video)), video.total, video.lost) == (1, 0, 799)
    assert video._capture.number == 2


def test_what_is_no_video_is_refused(tmp_path, film):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4 is not there"):
        Video(tmp_path / "nowhere.mp4")
    (tmp_path / "text.mp4").write_text("no film at all\n" * 100)
    (tmp_path / "empty.mp4").touch()
    shutil.copy(film, tmp_path / "other.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")  # FFmpeg would play the other one
    for name in ("text.mp4", "empty.mp4", "list.mp4"):
        with pytest.raises(ValueError, match=f"{name} cannot be played: it is empty or text, no video"):
            Video(tmp_path / name)
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cut\.mp4 cannot be played: it is no video, or of a kind that OpenCV"):
        Video(tmp_path / "cut.mp4")


def test_the_genuine_video_is_played(shared):
    video = Video(shared / "data" / "photos" / "three_faces_640x360.mp4")
    assert video.size == (640, 360)
    frames = iter(video)
    pictures = [next(frames).read() for _ in range(3)]
    assert {picture.shape for picture in pictures} == {(360, 640, 3)} and pictures[0].std() > 10
    frames.close()


class PlayedCamera:
    """Stands for cv2.VideoCapture: 30 frames, the n-th all of value n, then the camera is unplugged."""

    def __init__(self, index):
        self.number, self.released, self.properties = 0, False, {}

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return True

    def set(self, name, value):
        self.properties[name] = value

    def get(self, name):
        return self.properties[name]

    def getBackendName(self):  # noqa: N802 - OpenCV's name
        return "FFMPEG"

    def read(self):
        time.sleep(0.002)
        self.number += 1
        return self.number <= 30, np.full((4, 4, 3), self.number, np.uint8)

    def release(self):
        self.released = True


def test_a_camera_passes_over_what_comes_while_one_works_and_ends_when_it_is_unplugged(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", PlayedCamera)
    camera = Camera(3, width=320, height=200)
    assert camera.size == (320, 200)
    seen, numbers = [], []
    for frame in camera:
        seen.append(int(frame.read()[0, 0, 0]))
        numbers.append(frame.number)
        assert frame.name == "camera 3"
        if len(seen) == 3:
            time.sleep(0.03)  # slower than the camera
    assert seen == sorted(set(seen)) and seen[0] >= 2  # none twice, none out of order
    assert len(seen) < 29 and numbers == list(range(len(seen)))
    assert camera._capture.released


def test_a_camera_is_let_go_when_the_caller_stops(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", PlayedCamera)
    camera = Camera(0)
    frames = iter(camera)
    next(frames)
    frames.close()
    assert camera._capture.released


def test_a_camera_that_is_not_there_is_refused(monkeypatch):
    class NoCamera(PlayedCamera):
        def isOpened(self):  # noqa: N802 - OpenCV's name
            return False

    monkeypatch.setattr(cv2, "VideoCapture", NoCamera)
    with pytest.raises(ValueError, match="there is no camera 7; choose another with --camera, or use --image_dir"):
        Camera(7)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://me:secret@192.0.2.1:554/live", "192.0.2.1"),
        ("rtsp://192.0.2.1/user=me&password=secret&channel=1.sdp", "192.0.2.1"),
        ("rtsp://me:pa[ss@192.0.2.1/live", "stream"),
        ("https://cameras.example/live.m3u8?token=" + "s" * 300, "cameras.example"),
    ],
)
def test_a_stream_is_named_by_its_host_alone(address, name, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", PlayedCamera)
    assert Camera(address).name == name


def test_a_video_that_begins_with_zeros_is_no_text(tmp_path):
    path = tmp_path / "a.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for value in range(5):
        writer.write(np.full((48, 64, 3), 40 * value, np.uint8))
    writer.release()
    content = path.read_bytes()
    start, size = int.from_bytes(content[:4]), 3072
    offset = content.index(b"stco") + 12  # of the one chunk, which moves by the box that is put in
    moved = int.from_bytes(content[offset : offset + 4]) + size
    content = content[:offset] + moved.to_bytes(4) + content[offset + 4 :]
    path.write_bytes(content[:start] + size.to_bytes(4) + b"free" + bytes(size - 8) + content[start:])
    assert len(list(Video(path))) == 5


@pytest.mark.parametrize(
    "content", ["ffconcat version 1.0\n# é\nfile a.mp4\n", "#EXTM3U\n#EXTINF:1,é\na.mp4\n#EXT-X-ENDLIST\n"]
)
def test_a_list_of_videos_is_no_video_whatever_else_is_in_it(content, tmp_path):
    (tmp_path / "list.mp4").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be played: it is empty or text, no video"):
        Video(tmp_path / "list.mp4")
