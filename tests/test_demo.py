"""The demo on the model that comes with the suite: no Keras is needed, unless Keras alone has a GPU."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import damaged_jpeg, noise

import age_gender.__main__
import demo
from age_gender import cli, results, runtimes, sources
from age_gender.predictor import Face, Result
from networks.checkpoints import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_KERAS = """
import sys
for name in ("keras", "tensorflow", "jax", "scipy", "pandas"):
    sys.modules[name] = None
import runpy
sys.argv = ["demo.py", *sys.argv[1:]]
runpy.run_path("demo.py", run_name="__main__")
"""


def test_the_shipped_model_answers_without_keras(drawn, tmp_path):
    command = ["--image_dir", drawn / "photos", "--output_dir", tmp_path / "found", "--no_display"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KERAS, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    assert "age_gender.onnx (exported from age_gender.hdf5)" in done.stdout and "ONNX Runtime" in done.stdout
    assert (tmp_path / "found" / "predictions.csv").is_file()


@pytest.mark.parametrize(
    ("options", "keras_alone", "wanted"),
    [
        ([], False, runtimes.SHIPPED),
        ([], True, SHIPPED),
        (["--weight_file", str(SHIPPED)], False, SHIPPED),
        (["--depth", "10"], False, None),
    ],
)
def test_which_model_is_taken(monkeypatch, tmp_path, options, keras_alone, wanted):
    monkeypatch.chdir(tmp_path)  # no run is here
    monkeypatch.setattr(demo, "keras_alone_has_a_gpu", lambda: keras_alone)
    parser = demo.build_parser()
    if wanted:
        assert demo.choose_weights(parser, parser.parse_args(options)) == wanted
    else:
        with pytest.raises(SystemExit):
            demo.choose_weights(parser, parser.parse_args(options))


@pytest.mark.parametrize(("card", "onnx", "wanted"), [(None, False, False), ("x", False, True), ("x", True, False)])
def test_keras_is_taken_where_it_alone_has_a_gpu(monkeypatch, card, onnx, wanted):
    monkeypatch.setattr(demo.shutil, "which", lambda name: card)
    monkeypatch.setattr(runtimes, "runs_on_gpu", lambda: onnx)
    assert demo.keras_alone_has_a_gpu() is wanted


# ----------------------------------------------------------------------------------------------------- what is kept


def film(path, frames: int, size=(64, 48), rate: float = 25.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 5 * number % 250, np.uint8))
    writer.release()
    return path


def frames_in(path) -> int:
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))


def run_demo(*options) -> int:
    return demo.main([*map(str, options), "--detector", "none", "--no_display"])


def test_results_in_the_default_folder_replace_nothing_else_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "demo_output"):
        os.mkdir(folder)
        cv2.imwrite(f"{folder}/a.png", noise(1, 40)[0])
    with pytest.raises(ValueError, match=r"demo_output/a\.png is there, and is no result"):
        run_demo("photos/a.png")


@pytest.mark.parametrize("name", ["predictions.csv", "predictions.json", "a.gif.png"])
def test_files_of_another_program_are_not_replaced(name, tmp_path):
    from PIL import Image

    Image.fromarray(noise(1, 40)[0]).save(tmp_path / "a.gif")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("id,label\n1,2\n")
    with pytest.raises(ValueError, match=f"mine/{name} is there, and is no result"):
        run_demo(tmp_path / "a.gif", "--output_dir", tmp_path / "mine")
    assert run_demo(tmp_path / "a.gif", "--output_dir", tmp_path / "new") == 0
    assert run_demo(tmp_path / "a.gif", "--output_dir", tmp_path / "new") == 0  # results of an earlier run


def test_no_group_of_a_model_is_a_formula(tmp_path):
    face = Face((0, 0, 4, 4), 1.0, 30, "F", 0.1, group="=1+1")
    result = Result(sources.Frame("a.jpg", 0, None), np.zeros((4, 4, 3), np.uint8), [face])
    with open(tmp_path / "a.csv", "w", newline="") as file:
        results.write_csv(file, results.rows_of(result))
    assert "'=1+1" in (tmp_path / "a.csv").read_text() and ",=1+1" not in (tmp_path / "a.csv").read_text()


def test_each_column_has_what_it_is_named_for():
    face = Face((1.04, 2.0, 30.06, 40.0), 0.98765, 31.456, "M", 0.87654, True, (25, 39), "adult", 0.76543, 0.01234)
    frame = sources.Frame("film.mp4", 7, None, 1.23456)
    [row] = results.rows_of(Result(frame, np.zeros((4, 4, 3), np.uint8), [face]))
    assert row == {
        **{"input": "film.mp4", "frame": 7, "face": 0, "status": "ok", "x1": 1.0, "y1": 2.0, "x2": 30.1, "y2": 40.0},
        **{"score": 0.9877, "age": 31.46, "gender": "M", "p_male": 0.8765, "age_low": 25, "age_high": 39, "unsure": 1},
        **{"age_group": "adult", "p_age_group": 0.7654, "p_between_groups": 0.0123, "seconds": 1.235},
    }


def test_what_another_program_leaves_unfinished_is_no_sign_of_results(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), noise(1, 40)[0])
    (tmp_path / "mine").mkdir()
    for name in ("a.png", ".new-host-99-abcd.mat", ".new-host-99-abcd.csv"):
        (tmp_path / "mine" / name).write_bytes(b"mine")
    with pytest.raises(ValueError, match="mine/a.png is there, and is no result"):
        run_demo(tmp_path / "a.png", "--output_dir", tmp_path / "mine")


def test_a_film_in_folders_with_colons_is_read_and_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "12:30.mp4", 5)
    assert run_demo("12:30.mp4", "--output_dir", "10:15") == 0
    assert frames_in(Path(os.path.abspath("10:15/12:30.mp4"))) == 5


def test_a_film_whose_name_is_no_utf_8_is_refused_where_opencv_would_end_the_process(tmp_path):
    name = os.fsdecode(b"caf\xe9.mp4")
    shutil.copy(film(tmp_path / "film.mp4", 3), tmp_path / name)
    with pytest.raises(ValueError, match="the name is not UTF-8, and OpenCV opens no video so called"):
        run_demo(tmp_path / name, "--output_dir", tmp_path / "out")
    with pytest.raises(ValueError, match="the name is not UTF-8"):
        run_demo(tmp_path / "film.mp4", "--output_dir", tmp_path / os.fsdecode(b"\xe9"))


def test_the_page_takes_no_other_option(capsys):
    for words in (["--unsure_below", "0.9"], ["--scheduler", "local"], ["a.jpg"], ["--track"]):
        with pytest.raises(SystemExit):
            demo.main(["--browser", "--no_display", *words])
        assert "give it no other option" in capsys.readouterr().err


def test_a_picture_that_its_format_cannot_hold_is_written_as_png(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.webp"), noise(1, 40)[0])
    encode = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda end, *more: (False, None) if end == ".webp" else encode(end, *more))
    assert run_demo(tmp_path / "a.webp", "--output_dir", tmp_path / "out") == 0
    assert (tmp_path / "out" / "a.webp.png").is_file() and not (tmp_path / "out" / "a.webp").exists()


def test_names_with_control_characters_keep_json_and_csv_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = "it\u0092s.png"
    cv2.imwrite("a.png", noise(1, 40)[0])
    os.rename("a.png", name)
    assert age_gender.__main__.main([name, "--detector", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.translate(cli.SHOWN))["input"] == name
    assert age_gender.__main__.main([name, "--detector", "none"]) == 0
    assert "\r" not in capsys.readouterr().out


def test_two_pictures_whose_results_have_one_name_stay_two(tmp_path):
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("f.ppm", "f.ppm.png")):
        cv2.imwrite(str(tmp_path / "in" / name), np.full((20, 20, 3), 100 * number, np.uint8))
    assert run_demo("--image_dir", tmp_path / "in", "--output_dir", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"f.ppm.png", "f.ppm (2).png"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_the_name_of_a_file_is_told_on_one_line_whatever_is_in_it(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a\nb.jpg").write_bytes(cv2.imencode(".jpg", np.full((20, 20, 3), 100, np.uint8))[1].tobytes())
    (tmp_path / "in" / "c\rd\te.txt").write_bytes(b"")
    assert run_demo("--image_dir", tmp_path / "in", "--output_dir", tmp_path / "out") == 0
    lines = capsys.readouterr().out.split("\n")
    assert any(line.startswith("a\\nb.jpg: ") for line in lines)
    assert f"{tmp_path / 'in'}: passed over 1 .txt (such as c\\rd\\te.txt)" in lines
    assert table_of(tmp_path / "out" / "predictions.csv")[0]["input"] == "a\nb.jpg"  # the table has the name itself


def test_a_video_that_is_cut_off_is_read_as_far_as_it_goes_and_says_what_is_lost(tmp_path, monkeypatch, capsys):
    whole = film(tmp_path / "whole.mp4", 30)
    real = cv2.VideoCapture

    class Damaged:  # frames 10 to 19 cannot be decoded
        def __init__(self, *arguments):
            self.capture, self.number = real(*arguments), -1

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def read(self):
            self.number += 1
            good, image = self.capture.read()
            return (False, None) if 10 <= self.number < 20 else (good, image)

    monkeypatch.setattr(sources.cv2, "VideoCapture", Damaged)
    source = sources.Video(whole)
    assert len(list(source)) == 20 and source.lost == 10
    assert run_demo("--video", whole, "--output_dir", tmp_path / "out") == 1
    assert "10 of the video's frames are missing: it is cut off or damaged" in capsys.readouterr().err
    monkeypatch.undo()
    assert frames_in(tmp_path / "out" / "whole.mp4") == 20
    assert run_demo("--video", whole, "--output_dir", tmp_path / "out") == 0


def test_a_film_that_lacks_frames_gets_no_name_and_the_old_one_stays(tmp_path, monkeypatch):
    whole = film(tmp_path / "whole.mp4", 12)
    assert run_demo("--video", whole, "--output_dir", tmp_path / "out") == 0
    before = (tmp_path / "out" / "whole.mp4").read_bytes()

    class Full:  # a disk that takes no frame any more
        def __init__(self, *arguments):
            self.writer = cv2.VideoWriter(*arguments)
            self.isOpened, self.release = self.writer.isOpened, self.writer.release

        def write(self, frame):
            pass

    monkeypatch.setattr(results, "cv2", SimpleNamespace(**{**vars(cv2), "VideoWriter": Full}))
    Full.fourcc = staticmethod(cv2.VideoWriter.fourcc)
    with pytest.raises(OSError, match="whole.mp4 was not written: 0 of its 12 frames are in it; is the disk full"):
        run_demo("--video", whole, "--output_dir", tmp_path / "out")
    assert (tmp_path / "out" / "whole.mp4").read_bytes() == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"whole.mp4", "predictions.csv", "predictions.json"}


def test_results_replace_no_picture_and_no_film_that_is_none(tmp_path, capsys):
    own = tmp_path / "own"
    (own / "new").mkdir(parents=True)
    for path in (own / "a.png", own / "new" / "a.png"):
        cv2.imwrite(str(path), noise(1, 20)[0])
    os.rename(film(tmp_path / "b.mp4", 3), own / "new" / "b.mp4")
    (own / "b.mp4").write_bytes(b"mine")
    before = (own / "a.png").read_bytes()
    for words in (["--image_dir", own / "new"], ["--image", own / "new" / "a.png"], ["--video", own / "new" / "b.mp4"]):
        with pytest.raises(ValueError, match=r"own/[ab]\.(png|mp4) is there, and is no result: name another folder"):
            run_demo(*words, "--output_dir", own)
    assert (own / "a.png").read_bytes() == before and (own / "b.mp4").read_bytes() == b"mine"
    for _ in range(2):  # of its own results a run takes the place
        assert run_demo("--image_dir", own / "new", "--output_dir", tmp_path / "out") == 0


@pytest.mark.parametrize("rate", [1e-9, 1e6])
def test_the_film_of_a_video_whose_rate_makes_no_sense_has_its_frames(rate, tmp_path):
    video = sources.Video(film(tmp_path / "odd.mp4", 4))
    video.frames_per_second = rate
    output = results.Output(tmp_path / "out", video)
    for frame in video:
        output.add(results.Result(frame, frame.read(), []), frame.read())
    output.close()
    assert frames_in(tmp_path / "out" / "odd.mp4") == 4


@pytest.mark.parametrize(
    ("rate", "seconds", "lasts"),
    [
        (30, [number / 30 + 3 * (number >= 20) for number in range(40)], 4.33),  # a pause
        (10, [number / 10 + 3 * (number >= 7) for number in range(14)], 4.4),  # the same, each third frame
        (1000, [0.09 * number + 0.05 * (number % 2) for number in range(20)], 1.76),  # a rate that is none
        (9.3, [number / 30 + 3 * (number >= 20) for number in range(40)], 4.33),  # the mean rate
        (200, [number / 200 for number in range(30)], 0.15),  # steady
        (25, [0, 0.04, 1e12, 1e12 + 0.04], 3603 / 25),  # times that make no sense
        (25, [0.4, 0.4, 0.2, 0.44], 0.28),
    ],
)
def test_a_film_takes_as_long_as_a_video_whose_frames_come_unevenly(rate, seconds, lasts, tmp_path):
    video = sources.Video(film(tmp_path / "odd.mp4", 1))
    video.frames_per_second, video.lists_frames = rate, False
    output = results.Output(tmp_path / "out", video)
    picture = np.zeros((48, 64, 3), np.uint8)
    for number, second in enumerate(seconds):
        frame = sources.Frame("odd.mp4", number, lambda: picture, second)
        output.add(results.Result(frame, picture, []), picture)
    output.close()
    kept = cv2.VideoCapture(str(tmp_path / "out" / "odd.mp4"))
    frames = kept.get(cv2.CAP_PROP_FRAME_COUNT)
    assert frames >= len(seconds) and frames / kept.get(cv2.CAP_PROP_FPS) == pytest.approx(lasts, abs=0.05)


def test_a_film_that_opencv_cannot_write_gets_no_name_and_costs_no_row(tmp_path, monkeypatch):
    source = film(tmp_path / "a.mp4", 4)
    monkeypatch.setattr(results.cv2.VideoWriter, "fourcc", lambda *letters: 1)
    with pytest.raises(OSError, match=r"a\.mp4 was not written: 0 of its 4 frames are in it"):
        run_demo("--video", source, "--output_dir", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.csv", "predictions.json"}
    assert len(table_of(tmp_path / "out" / "predictions.csv")) == 4


def test_a_rate_that_the_film_cannot_hold_is_rounded(tmp_path):
    source = film(tmp_path / "slow.mp4", 8)
    video = sources.Video(source)
    video.frames_per_second = 105611 / 500  # whose numerator has more than 16 bits
    output = results.Output(tmp_path / "out", video)
    for _ in range(8):
        output.add(
            results.Result(sources.Frame("slow.mp4", 0, lambda: None), None, []), np.zeros((48, 64, 3), np.uint8)
        )
    output.close()
    kept = cv2.VideoCapture(str(tmp_path / "out" / "slow.mp4"))
    assert kept.get(cv2.CAP_PROP_FPS) == pytest.approx(105611 / 500, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["a.jpg"], {"pictures": ["a.jpg"]}),
        (["photos"], {"pictures": ["photos"]}),
        (["film.MP4"], {"video": "film.MP4"}),
        (["2"], {"camera": 2}),
        (["rtsp://me:secret@192.0.2.1/live"], {"camera": "rtsp://me:secret@192.0.2.1/live"}),
        (["nowhere.jpg"], {"pictures": ["nowhere.jpg"]}),
        (["a.jpg", "photos"], {"pictures": ["a.jpg", "photos"]}),
        (["*.jpg"], {"pictures": ["a.jpg", "b.jpg"]}),
        (["a.jpg", "stills.mp4"], {"pictures": ["a.jpg", "stills.mp4"]}),
        (["--image_dir", "photos"], {"pictures": ["photos"]}),
        (["--image", "a.jpg"], {"pictures": ["a.jpg"]}),
        ([], {}),
    ],
)
def test_what_is_named_without_an_option_is_understood(words, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "stills.mp4"):
        (tmp_path / name).mkdir()
    for name in ("a.jpg", "b.jpg", "film.MP4"):
        (tmp_path / name).write_bytes(b"x")
    args = demo.build_parser().parse_args(words)
    demo.understand_paths(demo.build_parser(), args)
    kinds = {"pictures": lambda names: list(map(Path, names)), "video": Path, "camera": lambda name: name}
    expected = {
        "pictures": [],
        "video": None,
        "camera": None,
        **{name: kinds[name](value) for name, value in found.items()},
    }
    assert {name: getattr(args, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.jpg", "--video", "b.mp4"], "by paths, or by --image_dir, --image, --video or --camera, not by both"),
        (["--camera", "3", "b.jpg"], "by paths, or by --image_dir, --image, --video or --camera, not by both"),
        (["a.mp4", "b.jpg"], "one video at a time: run demo.py once for each"),
        (["--image", "film.mp4"], "film.mp4 is a video: name it by --video"),
    ],
)
def test_what_cannot_be_read_together_is_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        demo.main(words)
    assert message in capsys.readouterr().err


def test_images_and_folders_are_read_together_and_none_is_written_over(tmp_path, tiny_checkpoint_file, monkeypatch):
    for name in ("one.png", "holiday/a.png", "holiday/deep/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), noise(1, 40)[0])
    before = (tmp_path / "one.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    options = ["--no_display", "--detector", "none", "--weight_file", str(tiny_checkpoint_file), "--output_dir", "out"]
    assert demo.main(["one.png", "holiday", *options]) == 0
    rows = list(csv.DictReader(open("out/predictions.csv")))
    assert [row["input"] for row in rows] == ["one.png", "holiday/a.png", "holiday/deep/b.png"]
    assert (tmp_path / "out" / "holiday" / "deep" / "b.png").is_file() and (tmp_path / "one.png").read_bytes() == before
    with pytest.raises(SystemExit):
        demo.main(["one.png", "holiday", *options[:-1], "."])


# ---------------------------------------------------------------------------------------------------------- video


def table_of(path) -> list[dict]:
    return list(csv.DictReader(open(path, encoding="utf-8")))


def test_the_table_of_photos_has_the_columns_it_always_had_and_json_the_same_rows(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png", "zwei\nZeilen.png", "é.png"):
        cv2.imwrite(str(folder / "x.png"), noise(1, 40)[0])
        (folder / "x.png").rename(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG")
    assert run_demo("--image_dir", folder, "--output_dir", tmp_path / "out") == 0
    columns = (
        "input,frame,face,status,x1,y1,x2,y2,score,age,gender,p_male,age_low,age_high,unsure,"
        "age_group,p_age_group,p_between_groups"
    )
    assert (tmp_path / "out" / "predictions.csv").read_bytes().startswith(columns.encode() + b"\r\n")
    text = (tmp_path / "out" / "predictions.json").read_text(encoding="utf-8")
    rows = json.loads(text)
    assert len(rows) == 5 and text == json.dumps(rows, indent=1, ensure_ascii=False)
    assert list(rows[0]) == columns.split(",")


@pytest.mark.parametrize("every", [1, 4])
def test_a_video_has_seconds_and_only_the_frames_that_are_wanted(tmp_path, every):
    source = film(tmp_path / "film.mp4", 30, rate=10)
    assert run_demo("--video", source, "--output_dir", tmp_path / "out", "--every", every) == 0
    rows = table_of(tmp_path / "out" / "predictions.csv")
    numbers = range(0, 30, every)
    assert [int(row["frame"]) for row in rows] == list(numbers)
    assert [float(row["seconds"]) for row in rows] == pytest.approx([number / 10 for number in numbers])
    assert list(rows[0])[-1] == "seconds"
    kept = cv2.VideoCapture(str(tmp_path / "out" / "film.mp4"))
    assert kept.get(cv2.CAP_PROP_FRAME_COUNT) == len(numbers)
    assert kept.get(cv2.CAP_PROP_FPS) == pytest.approx(10 / every)  # it takes as long as the video
    assert kept.get(cv2.CAP_PROP_FRAME_HEIGHT) == 48  # a film keeps its size


def test_people_of_a_video_have_numbers_and_a_summary(tmp_path, capsys):
    pytest.importorskip("trackers")
    source = film(tmp_path / "film.mp4", 20, rate=10)
    assert run_demo("--video", source, "--output_dir", tmp_path / "out", "--track") == 0
    rows = table_of(tmp_path / "out" / "predictions.csv")
    assert list(rows[0])[-5:] == ["seconds", "track", "track_age", "track_gender", "track_p_male"]
    assert [row["track"] for row in rows] == [""] + ["1"] * 19
    ages = [float(row["age"]) for row in rows[1:]]
    assert float(rows[-1]["track_age"]) == pytest.approx(np.mean(ages), abs=0.02) and len(set(ages)) > 1
    [person] = table_of(tmp_path / "out" / "summary.csv")
    assert (person["track"], person["frames"], person["first_second"]) == ("1", "19", "0.1")
    assert float(person["last_second"]) == pytest.approx(1.9) and float(person["seconds_in_view"]) == pytest.approx(1.9)
    said = capsys.readouterr().out
    assert "20 frames, 20 faces, 1 person followed, 0 unreadable" in said and "predictions.json, summary.csv" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.jpg", "--track"], "--track is for a video or a camera; in photos nobody is followed"),
        (["a.jpg", "--every", "2"], "--every is for a video file"),
        (["--every", "2"], "--every is for a video file"),
        (["a.mp4", "--every", "0"], "0 is not 1 or more"),
    ],
)
def test_what_is_for_videos_is_refused_elsewhere(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        demo.main(words)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_progress_is_told_with_the_time_left(tmp_path, monkeypatch):
    import tqdm as package

    made = {}

    def bar(frames, **options):
        made.update(options)
        return frames

    monkeypatch.setattr(package, "tqdm", bar)
    assert run_demo(film(tmp_path / "film.mp4", 30), "--every", 7, "--output_dir", tmp_path / "out") == 0
    assert made["total"] == 5 and made["unit"] == "frame"


def test_a_photo_that_is_damaged_is_named_and_not_complained_of_without_a_name(tmp_path, capfd):
    cv2.imwrite(str(tmp_path / "good.png"), noise(1, 64)[0])
    damaged_jpeg(tmp_path / "bad.jpg")
    (tmp_path / "gone.jpg").write_bytes((tmp_path / "bad.jpg").read_bytes()[:300])
    demo.main([str(tmp_path), "--detector", "none", "--no_display", "--output_dir", str(tmp_path / "out")])
    said, warned = capfd.readouterr()
    assert said.count("is damaged but was read") == 1 and "bad.jpg is damaged but was read: Corrupt JPEG" in said
    assert "JPEG" not in warned
    assert age_gender.__main__.main([str(tmp_path / "bad.jpg"), "--detector", "none"]) == 0
    said, warned = capfd.readouterr()
    assert warned.startswith(f"age-gender: {tmp_path}/bad.jpg is damaged but was read: Corrupt JPEG data")
    assert len(warned.splitlines()) == 1
    assert len(said.splitlines()) == 2


def test_a_damaged_photo_is_named_before_the_summary_of_a_run_that_was_stopped(tmp_path, capfd, monkeypatch):
    def stop(result):
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "in_words", stop)
    damaged_jpeg(tmp_path / "bad.jpg")
    with pytest.raises(KeyboardInterrupt):
        demo.main([str(tmp_path), "--detector", "none", "--no_display", "--output_dir", str(tmp_path / "out")])
    _, named, summary, _ = capfd.readouterr().out.splitlines()
    assert named.startswith("bad.jpg is damaged but was read") and summary.startswith("1 image, 1 face")


def test_a_signal_whose_exception_is_lost_stops_the_demo_at_the_next_photo(tmp_path, monkeypatch):
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), noise(1, 64)[0])
    monkeypatch.setattr(cli, "_asked", [])
    monkeypatch.setattr(results, "in_words", lambda result: cli._asked.append(signal.SIGTERM) or "")
    with pytest.raises(cli.Stopped):
        demo.main([str(tmp_path), "--detector", "none", "--no_display", "--output_dir", str(tmp_path / "out")])
    assert [row["input"] for row in table_of(tmp_path / "out" / "predictions.csv")] == ["a.jpg"]


def test_paths_above_the_current_folder_are_named_below_a_common_one(tmp_path, monkeypatch):
    for name in ("in/a.jpg", "here/b/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name), noise(1, 64)[0])
    monkeypatch.chdir(tmp_path / "here")
    photo = tmp_path / "in" / "a.jpg"
    before = photo.read_bytes()
    demo.main(["../in", "b", "--detector", "none", "--no_display", "--output_dir", "../found"])
    assert photo.read_bytes() == before
    assert {name for name in (tmp_path / "found").rglob("*.jpg")} == {
        tmp_path / "found" / "in" / "a.jpg",
        tmp_path / "found" / "here" / "b" / "c.jpg",
    }
