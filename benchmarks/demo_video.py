"""How fast does the demo work through a video, and how near is that to the face detector alone?

    python benchmarks/demo_video.py
    python benchmarks/demo_video.py --video film.mp4

Predictor.stream with WRN-16-2, without writing and with writing the annotated video as demo.py does. The peer is the
plain sequence, one step after the other: read a frame, detect, crop, model.predict; once for each frame's faces
together and once for each face, with WRN-16-8, the original suite's network, and WRN-16-2. The physical limit is the
detector alone (dlib, one upsampling) on frames already in memory, in one thread and in as many as there are cores.
Without --video it draws one: 640 x 360 pixels, one to three moving faces. Weights are random: speed does not know.
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
from age_gender.description import Description
from age_gender.detectors import DEFAULT_DETECTOR, DETECTORS, in_any_thread
from age_gender.faces import crop_face
from age_gender.machine import available_cores
from age_gender.predictor import Predictor
from age_gender.results import Output
from age_gender.sources import Video
from networks import backbones, backend, checkpoints, open_model

WIDTH, HEIGHT, FRAMES_PER_SECOND = 640, 360, 25
BOX_WIDTH = 110  # pixels, of a drawn face
PEOPLE = ((31, 0), (45, 1), (9, 1))  # age and gender of the drawn faces, in the order in which they come
NETWORKS = {"WRN-16-2": (16, 2), "WRN-16-8": (16, 8)}  # depth, width
IMAGE_SIZE = 64
READ, ONE_THREAD, ALL_CORES = "read the video", "limit: detector alone, one thread", "limit: detector alone, all cores"
STREAM, WRITTEN = "stream, WRN-16-2", "stream, WRN-16-2, written"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "demo_video.py", repeats=3)
    parser.add_argument("--video", type=Path, metavar="FILE", help="to work through (default: a drawn one)")
    parser.add_argument("--frames", type=cli.number(int, 3), default=150, metavar="N", help="of the drawn one")
    parser.add_argument("--without_plain", action="store_true", help="leave out the plain sequence, which is slow")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Draw, load, measure, report."""
    args = common.parse(build_parser(), argv, {"frames": 12, "repeats": 2})
    if args.video and not args.video.is_file():
        raise FileNotFoundError(f"--video {args.video} is not there")
    with common.work_folder() as folder:
        video = args.video or draw_video(folder / "drawn.mp4", args.frames)
        backend.start()
        files = {name: save_network(folder / f"{name}.hdf5", *size) for name, size in NETWORKS.items()}
        predictor = Predictor(open_model(files["WRN-16-2"]))
        frames = [frame.read() for frame in Video(video)]
        found = sum(map(len, map(DETECTORS[DEFAULT_DETECTOR](), frames)))
        print(f"{len(frames)} frames, {found} faces found, on {predictor.device}", flush=True)
        seconds = common.interleaved(tasks(video, frames, predictor, files, folder, args), args.repeats)
    rows = rows_of(seconds, len(frames), found)
    limits = {"to detector, one thread": ("to_one_thread", ".2f"), "to detector, all cores": ("to_all_cores", ".2f")}
    common.show(rows, {"": ("what", ""), "frames/s": ("frames_per_second", ",.1f"), **limits})
    common.report("demo_video", args, rows, predictor.device)


def draw_video(path: Path, count: int) -> Path:
    """Writes a video of one face in its first third, two in its second and three in its last, all moving."""
    draw_face, _ = common.import_samples()
    rng = np.random.default_rng(0)
    scale = draw_face.SUPERSAMPLE
    backdrop = draw_face.paint_backdrop((WIDTH * scale, HEIGHT * scale), rng)
    people = [draw_face.draw_person(age, gender, rng) for age, gender in PEOPLE]

    def draw(number: int) -> np.ndarray:
        image = backdrop.copy()
        present = people[: 1 + number * len(people) // count]
        for place, person in enumerate(present):
            swing = np.sin(number / 12 + 2 * place)
            centre = np.float64((WIDTH * (place + 0.5) / len(people) + 25 * swing, HEIGHT * 0.45 + 20 * swing))
            draw_face.paint_person(image, person, centre * scale, BOX_WIDTH * scale)
        return draw_face.develop(image, np.random.default_rng(0))  # the same light and noise in all frames

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FRAMES_PER_SECOND, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise ValueError("OpenCV cannot write a video here; name one with --video")
    with ThreadPoolExecutor(available_cores()) as pool:
        for image in pool.map(draw, range(count)):
            writer.write(image)
    writer.release()
    return path


def save_network(path: Path, depth: int, width: int) -> Path:
    """Writes a checkpoint with random weights."""
    checkpoint = Description("wide_resnet", {"depth": depth, "width": width}, IMAGE_SIZE)
    checkpoints.save(backbones.build(checkpoint), path, checkpoint)
    return path


def tasks(video: Path, frames: list, predictor, files: dict[str, Path], folder: Path, args) -> dict:
    """What is measured, by name; each task works through the whole video. `files` are the networks' checkpoints."""
    detect, pool = in_any_thread(DEFAULT_DETECTOR), ThreadPoolExecutor(available_cores())
    chosen = {
        READ: lambda: deque((frame.read() for frame in Video(video)), maxlen=0),
        ONE_THREAD: lambda: deque(map(detect, frames), maxlen=0),
        ALL_CORES: lambda: deque(pool.map(detect, frames), maxlen=0),
        STREAM: lambda: deque(predictor.stream(Video(video)), maxlen=0),
        WRITTEN: partial(stream_and_write, video, predictor, folder / "found"),
    }
    if not args.without_plain:
        for name, file in files.items():
            sequence = partial(plain, video, detect, checkpoints.load(file)[0], predictor.margin)
            chosen[f"plain, {name}, a call for each frame"] = partial(sequence, face_by_face=False)
            chosen[f"plain, {name}, a call for each face"] = partial(sequence, face_by_face=True)
    return chosen


def stream_and_write(video: Path, predictor, folder: Path) -> None:
    """What demo.py does with --output_dir and --no_display."""
    source = Video(video)
    output = Output(folder, source)
    for result in predictor.stream(source):
        output.add(result, annotated(result.image, result.faces)[: result.image.shape[0]])
    output.close()


def plain(video: Path, detect, model, margin: float, face_by_face: bool) -> None:
    """Read, detect, crop, predict, one after the other."""
    for frame in Video(video):
        image = frame.read()
        crops = [crop_face(image, detection.box, margin, IMAGE_SIZE) for detection in detect(image)]
        if face_by_face:
            for crop in crops:
                model.predict(crop[None], verbose=0)
        elif crops:
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
