# PYTHON_ARGCOMPLETE_OK
"""Finds faces and writes age and gender on them: webcam, video, an image or a folder of images.

    python demo.py                                         # webcam
    python demo.py photo.jpg photos/                       # images, and folders of images
    python demo.py --image_dir photos --output_dir found   # annotated images, predictions.csv and .json
    python demo.py film.mp4 --no_display --output_dir found
    python demo.py rtsp://192.0.2.1/stream
    python demo.py --browser                               # a page that reads photos, videos and the webcam

Without --weight_file it takes the best checkpoint of the newest run in checkpoints/, and before there is any the model
that comes with the suite, checkpoints/age_gender.hdf5 (docs/MODEL_CARD.md). It runs on a GPU where there is one. In the
window, ESC or q ends it, and any other key shows the next image. Files are written with --output_dir, or where there
is no display.
"""

import argparse
import os
import shutil
import sys
import time
from contextlib import ExitStack, closing, nullcontext
from importlib.util import find_spec
from pathlib import Path

from age_gender import cli, window
from age_gender.cluster import connected
from age_gender.description import MOST_MARGIN
from age_gender.detectors import DETECTORS, NO_DETECTOR
from age_gender.files import alone, plainly, real
from age_gender.intervals import UNSURE_BELOW, UNSURE_WITHIN
from age_gender.machine import available_cores, native_lines

DEFAULT_OUTPUT = Path("demo_output")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(
        __doc__, "demo.py [PATH ... | --image_dir DIR | --image FILE | --video FILE | --camera N] [options]"
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="images and folders of images, or one video, the number of a webcam, or the address of a stream",
    )
    source = parser.add_argument_group("source (the webcam, if none is given)").add_mutually_exclusive_group()
    source.add_argument("--image_dir", **cli.FOLDER, help="folder of images, searched with its subfolders")
    source.add_argument("--image", **cli.FILE, help="one image")
    source.add_argument("--video", **cli.FILE, help="video file")
    source.add_argument("--camera", **cli.numeric("N", int, 0), help="number of the webcam (default: 0)")
    source.add_argument("--browser", action="store_true", help="open a page on this machine that reads all of these")
    parser.add_argument(
        "--every", **cli.numeric("N", int, 1, default=1), help="of a video file, read each Nth frame alone"
    )
    parser.add_argument(
        "--track",
        action="store_true",
        help="of a video or a camera, number the people, average each one's answers, and write summary.csv",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--weight_file",
        **cli.FILE,
        help="checkpoint of this suite or of the original one, or a folder: its newest (default: checkpoints)",
    )
    cli.add_trust(network)
    text = "{} the checkpoint must have; it is read from the file"
    network.add_argument("--depth", type=int, metavar="N", help=text.format("depth"))
    network.add_argument("--width", type=int, metavar="K", help=text.format("width"))
    cli.add_age_scale(network, "write age groups with their probability")
    network.add_argument(
        "--unsure_below",
        **cli.numeric("P", float, *UNSURE_WITHIN, default=UNSURE_BELOW),
        help="write 'unsure' where the likelier gender has a smaller probability; 0.5: never",
    )
    faces = parser.add_argument_group("faces")
    faces.add_argument(
        "--detector",
        choices=DETECTORS,
        help="face detector; none: each picture is a face, cut already "
        "(default: what the checkpoint's faces were found with, else dlib)",
    )
    faces.add_argument(
        "--margin",
        **cli.numeric("SHARE", float, 0, MOST_MARGIN),
        help="around the face, as a share of its size (default: what the checkpoint was trained with, "
        "0.4 for IMDB-WIKI)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output_dir", **cli.FOLDER, help="folder for annotated images or video, predictions.csv and predictions.json"
    )
    output.add_argument("--no_display", action="store_true", help="open no window")
    cli.add_scheduler(parser, more=". The tables alone are written: no picture is annotated")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, choose, run, report."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.detector == NO_DETECTOR and args.margin is not None:
        parser.error("--margin is for faces that are found; with --detector none each picture is cut already")
    if args.browser:
        from age_gender import browser

        others = {name for name, value in vars(args).items() if value not in (parser.get_default(name), [])}
        if others - {"browser", "no_display"}:
            parser.error("--browser reads what is dropped on its page, with the shipped model; give it no other option")
        return browser.serve(Path(__file__).resolve().parent / "web" / "dist", print, not args.no_display)
    understand_paths(parser, args)
    if args.scheduler and not args.pictures:
        parser.error("--scheduler is for images and folders of images")
    refuse_to_overwrite(parser, args)
    weight_file = choose_weights(parser, args)
    if args.every > 1 and not args.video:
        parser.error("--every is for a video file")
    if args.track and args.pictures:
        parser.error("--track is for a video or a camera; in photos nobody is followed")
    args.no_display |= bool(args.scheduler)
    with native_lines() if args.video else nullcontext():  # what tells a damaged video from one that pauses
        return open_and_run(args, weight_file)


def open_and_run(args: argparse.Namespace, weight_file: Path) -> int:
    """Opens what is to be read and where results go, and reads it."""
    live = not (args.pictures or args.video)
    shown = not args.no_display and window.display_works()
    source, total = open_source(args, args.output_dir or (None if shown else DEFAULT_OUTPUT))
    if not shown and not args.output_dir:
        args.output_dir = output_without_display(live, args.no_display)

    from age_gender.results import Output, naming_damaged
    from age_gender.tracks import Tracker
    from networks.workers import Reading, results_of_workers

    how = Reading(weight_file.absolute(), args.trust, args.detector, args.margin, args.age_scale, args.unsure_below)
    predictor = how.predictor()
    origin = predictor.description.origin
    print(f"{weight_file} ({origin}), {faces_in_words(predictor)}, on {predictor.device}", flush=True)
    for difference in warnings(predictor):
        print(f"warning: the faces here are {difference}: ages may be worse", file=sys.stderr)
    tracker = Tracker(source.frames_per_second, args.unsure_below) if args.track else None
    with ExitStack() as stack:
        if args.output_dir:
            stack.enter_context(alone(args.output_dir / "demo", what=args.output_dir))
        output = Output(args.output_dir, source, args.track) if args.output_dir else None
        client = stack.enter_context(connected(args.scheduler, "networks.workers", available_cores()))
        if client:
            found = results_of_workers(client, how, source, top_folder(args))
        else:
            found = predictor.stream(source, ahead=1 if live else None)
        if args.pictures:
            found = naming_damaged(found, top_folder(args), print)
        return run(found, source, total, output, None if client else shown, tracker)


def faces_in_words(predictor) -> str:
    """'yunet faces with a margin of 0.4, their eyes level'."""
    margin = f"with a margin of {predictor.margin:g}"
    if predictor.detector == NO_DETECTOR:
        return f"each picture a face that was cut {margin}"
    return f"{predictor.detector} faces {margin}{', their eyes level' if predictor.align else ''}"


def warnings(predictor) -> list[str]:
    """In what the faces here differ from those of the training, whose crops, where they came cropped, count as found
    by any detector."""
    description = predictor.description
    detector = NO_DETECTOR if description.detector == NO_DETECTOR else predictor.detector
    return description.differs_from(predictor.margin, detector, predictor.align)


def understand_paths(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Puts what is to be read where it is looked for, whether by an option or without: images and folders of images
    go to `args.pictures`, else it is `args.video`, or `args.camera`."""
    from age_gender.sources import is_video

    args.pictures = [path for path in (args.image_dir, args.image) if path]
    if videos := list(filter(is_video, args.pictures)):
        parser.error(f"{videos[0]} is a video: name it by --video")
    if not args.paths:
        return
    if args.pictures or args.video or args.camera is not None:
        parser.error("name what to read by paths, or by --image_dir, --image, --video or --camera, not by both")
    paths = [path for text in args.paths for path in cli.expanded(text)]
    word, first, alone = args.paths[0], paths[0], len(paths) == 1
    if any(map(is_video, paths)) and not alone:
        parser.error("one video at a time: run demo.py once for each")
    if alone and ("://" in word or (word.isdigit() and not first.exists())):
        args.camera = int(word) if word.isdigit() else word
    elif is_video(first):
        args.video = first
    else:
        args.pictures = paths


def refuse_to_overwrite(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Results keep the names of their inputs, so they must not go where the inputs are."""
    source, output = top_folder(args), args.output_dir or DEFAULT_OUTPUT
    if source and real(source) == real(output):
        parser.error(f"results in {output} would overwrite what they are made of; --output_dir names another folder")


def choose_weights(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Path:
    """The checkpoint to use; a depth or width that is not the checkpoint's is refused."""
    from age_gender import runtimes
    from networks.checkpoints import SHIPPED, choose, inspect

    weight_file = choose(args.weight_file)
    if args.depth or args.width:
        arguments = inspect(weight_file).arguments
        for name in ("depth", "width"):
            asked, has = getattr(args, name), arguments.get(name)
            if asked and asked != has:
                parser.error(
                    f"--{name} {asked}, but {weight_file} has {name} {has}; leave it out: it is read from the file"
                )
    if real(weight_file) == SHIPPED and not args.weight_file and not keras_alone_has_a_gpu():
        return runtimes.SHIPPED  # the same model, ready in a second
    return weight_file


def keras_alone_has_a_gpu() -> bool:
    """Whether there is a GPU here that Keras may use and ONNX Runtime, in the package installed, may not."""
    from age_gender import runtimes

    return bool(shutil.which("nvidia-smi") and find_spec("keras") and not runtimes.runs_on_gpu())


def open_source(args: argparse.Namespace, output: Path | None):
    """The frames and, where it is known, how many; an output in which something else would be replaced is refused."""
    from age_gender import results, sources

    if args.pictures:
        top, images = top_folder(args), found_in(args.pictures, output or DEFAULT_OUTPUT)
        results.refuse_to_replace(output, [results.file_of(path.relative_to(top).as_posix()) for path in images])
        return sources.images(images, top), len(images)
    source = sources.Video(args.video, args.every) if args.video else sources.Camera(args.camera or 0)
    results.refuse_to_replace(output, [results.film_of(source)])
    return source, None


def found_in(paths: list[Path], results: Path) -> list[Path]:
    """The images that are named, and those in the folders that are named, but for results; absolute paths."""
    from age_gender.sources import find_images

    images = []
    for path in paths:
        if path.is_file():
            images.append(plainly(path))
        elif not path.is_dir():
            raise FileNotFoundError(f"{path} is {'neither a file nor a folder' if path.exists() else 'not there'}")
        else:
            found = find_images(plainly(path), leave_out=results)
            if found.passed_over:
                print(cli.one_line(f"{path}: passed over {found}"))
            images += found.images
    return images


def top_folder(args: argparse.Namespace) -> Path | None:
    """The folder below which all that is named lies: results are named relative to it; None of a camera."""
    if len(args.pictures) == 1 and args.pictures[0].is_dir():
        return plainly(args.pictures[0])
    files = args.pictures or [args.video] * bool(args.video)
    try:
        return Path(os.path.commonpath([plainly(path).parent for path in files])) if files else None
    except ValueError:  # of Windows's drives
        raise ValueError("these lie on several drives: run demo.py once for each") from None


def output_without_display(live: bool, wanted: bool) -> Path:
    """Where results go if no window shows them and no folder was named."""
    reason = "no window is wanted" if wanted else "there is no display to open a window on"
    if live:
        raise ValueError(f"{reason}: name a folder for the recording with --output_dir")
    print(f"{reason}: results go to {DEFAULT_OUTPUT}/, or where --output_dir says")
    return DEFAULT_OUTPUT


def run(stream, source, total: int | None, output, shown: bool | None, tracker) -> int:
    """Works through the results; what was found by then is written however it ends. `shown` None: tables alone."""
    from tqdm import tqdm

    from age_gender import captions, results, sources

    still, pictures = total is not None, shown is not None and bool(output or shown)
    read = unreadable = faces = 0
    stopped = None
    started = time.perf_counter()
    if isinstance(source, sources.Video):
        stream = tqdm(stream, total=source.total or None, unit="frame", disable=None)
    try:
        with closing(stream):  # damaged photos are named before the summary, however it ends
            for result in stream:
                cli.heed()
                read += 1
                unreadable += result.image is None
                faces += len(result.faces)
                tracked = tracker.add(result.faces, result.frame.seconds) if tracker else None
                drawn = pictures and result.image is not None
                picture = captions.annotated(result.image, result.faces, tracked) if drawn else None
                if output:
                    film = drawn and not still  # which keeps its size, without the line below
                    output.add(result, picture[: result.image.shape[0]] if film else picture, tracked)
                if still:  # what has been said is in the table, however it ends
                    print(cli.one_line(f"{result.frame.name}: {results.in_words(result)}"), flush=True)
                if shown and picture is not None and window.ended_by_key(picture, wait=still):
                    break
    except KeyboardInterrupt as error:
        stopped = error
    finally:
        people = tracker and tracker.summary()
        if output:
            output.close(people)
    seconds = time.perf_counter() - started
    kind = "images" if still else "frames"
    counts = [cli.counted(read, kind[:-1]), cli.counted(faces, "face")]
    counts += [f"{cli.counted(len(people), 'person')} followed"] if tracker else []
    print(f"{', '.join(counts)}, {unreadable} unreadable, {seconds:.1f} s, {read / max(seconds, 1e-9):.1f} {kind}/s")
    cli.result(read=read, faces=faces, unreadable=unreadable, output_dir=output and output.folder)
    if output:
        tables = f"predictions.csv, predictions.json{', summary.csv' if tracker else ''}"
        print(f"results in {output.folder}/: {f'annotated {kind}, ' * pictures}{tables}")
    if not faces and read > unreadable:
        print("no face found; another --detector may find more: see docs/detectors.md")
    if stopped:
        raise stopped
    if lost := getattr(source, "lost", 0):
        print(f"demo.py: {lost} of the video's frames are missing: it is cut off or damaged", file=sys.stderr)
        return 1
    if complaint := getattr(source, "complaint", ""):
        known = "frames may be damaged" if source.counted else "frames may be missing, how many is not known"
        print(cli.one_line(f"demo.py: {known}: the decoder complains of the video: {complaint}"), file=sys.stderr)
        return 0 if source.counted else 1
    if unreadable == read:
        raise ValueError("nothing could be read: are these images in a format that OpenCV knows, and whole?")
    return 0


if __name__ == "__main__":
    cli.run(main)
