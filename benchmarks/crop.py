"""Do the demo's crops serve the network as well as those it was trained on: by which detector, with which margin?

    python benchmarks/crop.py --data_dir data/UTKFace --input data/utkface_db.mat
    python benchmarks/crop.py --data_dir data/UTKFace --detectors dlib yunet mtcnn --margins 0.1

Takes faces of a dataset that came cropped, here UTKFace's, which the checkpoint has not seen. In each the detector
looks for the face; what it finds is cropped as demo.py crops, at several margins, and predicted beside the dataset's
own crop of the same face. Peer: that crop. Intervals: 95%, bootstrap over faces, of the paired difference.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common  # makes the suite's modules importable
import numpy as np
from tqdm import tqdm

from age_gender import cli
from age_gender.detectors import DETECTORS, NO_DETECTOR, in_any_thread
from age_gender.faces import crop_face, read_image
from age_gender.labels import UNKNOWN
from age_gender.machine import available_cores
from age_gender.predictor import Predictor
from evaluation.metrics import Difference, Outcomes, age_sums, compare, gender_sums, values
from networks import checkpoints, open_model
from networks.split import past_of
from utils import ImageStack, labels_of, open_database, paths_of

MARGINS = (-0.05, 0.0, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4)
COLUMNS = {
    "": ("crop", ""),
    "found": ("found", ","),
    "age MAE": ("age_mae", ".2f"),
    "more than the dataset's own crop": ("age_mae_difference", "+.2f"),
    "older than by it": ("older", "+.2f"),
    "CS@5": ("cs5", ".1%"),
    "gender": ("gender_accuracy", ".1%"),
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "crop.py")
    parser.add_argument("--data_dir", **cli.FOLDER, default=Path("data/UTKFace"), help="its photos")
    parser.add_argument("--input", **cli.FILE, nargs="+", help="its databases (default: as it says)")
    parser.add_argument("--weight_file", **cli.FILE, help="checkpoint (default: checkpoints)")
    parser.add_argument("--faces", **cli.numeric("N", int, 2), help="of the part kept out (default: all)")
    names = [name for name in DETECTORS if name != NO_DETECTOR]
    parser.add_argument("--detectors", nargs="+", choices=names, help="(default: the checkpoint's)")
    parser.add_argument(
        "--margins", nargs="+", **cli.numeric("SHARE", float, -0.4, default=MARGINS), help="of the crops"
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Detect, crop at each margin, predict, compare, report."""
    args = common.parse(build_parser(), argv, {"faces": 50})
    weight_file = checkpoints.choose(args.weight_file, Path("checkpoints"))
    predictor = Predictor(open_model(weight_file))
    checkpoint = predictor.description
    own, age, gender, paths = faces_kept_out(args, checkpoint)
    print(f"{weight_file}: {len(paths):,} faces")

    def judge(crops, among) -> Outcomes:
        ages, p_male = predictor.predict(crops)
        return Outcomes({**age_sums(age[among], ages), **gender_sums(gender[among], p_male)}, gender[among])

    rows = []
    for detector in args.detectors or [predictor.detector]:
        photos, boxes = detect(args.data_dir, paths, detector)
        found = np.flatnonzero([box is not None for box in boxes])
        if not len(found):
            raise ValueError(f"{detector} finds no face in the {len(paths):,} photos")
        reference = judge(own[found], found)
        rows.append(row(f"{detector}: the dataset's own crop", None, reference, reference))
        for margin in args.margins:
            crops = np.stack([crop_face(photos[index], boxes[index], margin, checkpoint.image_size) for index in found])
            rows.append(row(f"{detector}, margin {margin:g}", margin, judge(crops, found), reference))
    common.show(rows, COLUMNS, disable_numparse=True, colalign=("left", *["right"] * (len(COLUMNS) - 1)))
    print(f"the checkpoint's margin is {checkpoint.margin:g}")
    common.report(
        "crop", args, [{"faces": len(paths), "margin_of_checkpoint": checkpoint.margin}, *rows], predictor.device
    )


def faces_kept_out(args: argparse.Namespace, checkpoint):
    """Images, ages, genders and paths of the checkpoint's test part."""
    databases = [open_database(path) for path in args.input or checkpoint.inputs]
    rows = np.flatnonzero(past_of(databases, checkpoint).test)
    if not len(rows):
        raise ValueError("none of these faces was kept for a test of the checkpoint: name its databases with --input")
    paths = paths_of(databases, "this benchmark")
    rows = np.sort(np.random.default_rng(0).permutation(rows)[: args.faces])
    age, gender = labels_of(databases, rows)
    if UNKNOWN in age or UNKNOWN in gender:
        raise ValueError("this benchmark needs faces whose age and gender are all known")
    return ImageStack(databases)[rows], age, gender, [paths[row] for row in rows]


def detect(folder: Path, paths: list[str], detector: str):
    """The photos and the surest box in each, None where no face is found; on all cores."""
    find = in_any_thread(detector)

    def task(path):
        photo = read_image(folder / path)
        if photo is None:
            raise ValueError(f"{folder / path} is not there or cannot be read; --data_dir names the dataset's folder")
        found = find(photo)
        return photo, found[0].box if found else None

    with ThreadPoolExecutor(available_cores()) as pool:
        photos, boxes = zip(*tqdm(pool.map(task, paths), total=len(paths), unit="photo", disable=None), strict=True)
    return photos, boxes


def row(name: str, margin: float | None, judged: Outcomes, reference: Outcomes) -> dict:
    """The figures of a crop, and what they exceed those of the dataset's own crop, `reference`, by."""
    found, more = values(judged), compare(judged, reference)
    return {
        "crop": name,
        "margin": margin,
        "found": len(judged.gender),
        **{key: found[key] for key in ("age_mae", "cs5", "gender_accuracy")},
        **with_interval("age_mae_difference", more["age_mae"]),
        **with_interval("older", more["age_bias"]),
        "gender_difference": more["gender_accuracy"].value,
    }


def with_interval(key: str, difference: Difference) -> dict[str, object]:
    """A difference and its interval, as common.show takes them."""
    return {key: difference.value, f"{key}_interval": (difference.low, difference.high)}


if __name__ == "__main__":
    cli.run(main)
