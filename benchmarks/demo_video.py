"""How fast does the demo work through a video, and how near is that to the face detector alone?

    python benchmarks/demo_video.py
    python benchmarks/demo_video.py --video film.mp4

Predictor.stream with the shipped model, without writing and with writing the annotated video as demo.py does. The peer
is the plain sequence, one step after the other: read a frame, detect, crop, model.predict of Keras. The physical limit
is the detector alone (dlib, one upsampling) on frames already in memory, in one thread and in as many as there are
cores. Without --video it draws one: 640 x 360 pixels, one to three moving portraits.
"""

import argparse
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import common  # makes the suite's modules importable
import cv2
import numpy as np

from age_gender import cli
from age_gender.captions import annotated
from age_gender.detectors import DEFAULT_DETECTOR, DETECTORS, in_any_thread
from age_gender.faces import crop_face, read_image
from age_gender.machine import available_cores
from age_gender.predictor import Predictor
from age_gender.results import Output
from age_gender.sources import Video
from networks import backend, checkpoints

WIDTH, HEIGHT, FRAMES_PER_SECOND = 640, 360, 25
PORTRAITS = sorted((common.ROOT / "samples" / "portraits").glob("*.jpg"))[:3]
PORTRAIT = 200  # pixels, of a side
READ, ONE_THREAD, ALL_CORES = "read the video", "limit: detector alone, one thread", "limit: detector alone, all cores"
STREAM, WRITTEN, PLAIN = "stream", "stream, written", "plain sequence, Keras"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "demo_video.py", repeats=3)
    parser.add_argument("--video", **cli.FILE, help="to work through (default: a drawn one)")
    parser.add_argument("--frames", **cli.numeric("N", int, 3, default=150), help="of the drawn one")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Draw, load, measure, report."""
    args = common.parse(build_parser(), argv, {"frames": 12, "repeats": 2})
    if args.video and not args.video.is_file():
        raise FileNotFoundError(f"--video {args.video} is not there")
    with common.work_folder() as folder:
        video = args.video or draw_video(folder / "drawn.mp4", args.frames)
        backend.start()
        predictor = Predictor()
        frames = [frame.read() for frame in Video(video)]
        found = sum(map(len, map(DETECTORS[DEFAULT_DETECTOR](), frames)))
        print(f"{len(frames)} frames, {found} faces found, on {predictor.device}", flush=True)
        seconds = common.interleaved(tasks(video, frames, predictor, folder), args.repeats)
    rows = rows_of(seconds, len(frames), found)
    limits = {"to detector, one thread": ("to_one_thread", ".2f"), "to detector, all cores": ("to_all_cores", ".2f")}
    common.show(rows, {"": ("what", ""), "frames/s": ("frames_per_second", ",.1f"), **limits})
    common.report("demo_video", args, rows, predictor.device)


def draw_video(path: Path, count: int) -> Path:
    """Writes a video of one portrait in its first third, two in its second and three in its last, all moving."""
    portraits = [cv2.resize(read_image(photo), (PORTRAIT, PORTRAIT)) for photo in PORTRAITS]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FRAMES_PER_SECOND, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise ValueError("OpenCV cannot write a video here; name one with --video")
    for number in range(count):
        image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        for place, portrait in enumerate(portraits[: 1 + number * len(portraits) // count]):
            left = round(WIDTH / len(portraits) * place + 5 + 5 * np.sin(number / 12 + 2 * place))
            top = round((HEIGHT - PORTRAIT) / 2 + 20 * np.sin(number / 12 + 2 * place))
            image[top : top + PORTRAIT, left : left + PORTRAIT] = portrait
        writer.write(image)
    writer.release()
    return path


def tasks(video: Path, frames: list, predictor, folder: Path) -> dict:
    """What is measured, by name; each task works through the whole video."""
    detect, pool = in_any_thread(DEFAULT_DETECTOR), ThreadPoolExecutor(available_cores())
    model = checkpoints.load(checkpoints.SHIPPED)[0]
    return {
        READ: lambda: deque((frame.read() for frame in Video(video)), maxlen=0),
        ONE_THREAD: lambda: deque(map(detect, frames), maxlen=0),
        ALL_CORES: lambda: deque(pool.map(detect, frames), maxlen=0),
        STREAM: lambda: deque(predictor.stream(Video(video)), maxlen=0),
        WRITTEN: partial(stream_and_write, video, predictor, folder / "found"),
        PLAIN: partial(plain, video, detect, model, predictor.margin),
    }


def stream_and_write(video: Path, predictor, folder: Path) -> None:
    """What demo.py does with --output_dir and --no_display."""
    source = Video(video)
    output = Output(folder, source)
    for result in predictor.stream(source):
        output.add(result, annotated(result.image, result.faces)[: result.image.shape[0]])
    output.close()


def plain(video: Path, detect, model, margin: float) -> None:
    """Read, detect, crop, predict, one after the other."""
    size = model.input_shape[1]
    for frame in Video(video):
        image = frame.read()
        crops = [crop_face(image, detection.box, margin, size) for detection in detect(image)]
        if crops:
            model.predict(np.stack(crops), verbose=0)


def rows_of(seconds: dict[str, list[float]], frames: int, faces: int) -> list[dict]:
    """Frames a second, and each turn's ratio to the detector alone in the same turn."""
    rows = []
    for name, values in seconds.items():
        row = {"what": name, "frames": frames, "faces": faces, "frames_per_second": common.rates(frames, values)}
        for limit, key in ((ONE_THREAD, "to_one_thread"), (ALL_CORES, "to_all_cores")) if name != READ else ():
            row[key] = common.spread(alone / value for alone, value in zip(seconds[limit], values, strict=True))
        rows.append(row)
    return rows


if __name__ == "__main__":
    cli.run(main)
