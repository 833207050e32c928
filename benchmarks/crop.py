"""Does the demo's crop serve the network as well as the crop it was trained on, and which margin serves it best?

    python benchmarks/crop.py --data_dir data/UTKFace --input data/utkface_db.mat

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
from age_gender.detectors import in_any_thread
from age_gender.faces import crop_face, read_image
from age_gender.labels import MALE, UNKNOWN
from age_gender.machine import available_cores
from age_gender.predictor import Predictor
from networks import checkpoints, open_model
from networks.split import past_of
from utils import ImageStack, labels_of, open_database, read_paths

MARGINS = (-0.05, 0.0, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "crop.py")
    add_kept_out(parser)
    parser.set_defaults(data_dir=Path("data/UTKFace"))
    return parser


def add_kept_out(parser: argparse.ArgumentParser) -> None:
    """The options that `faces_kept_out` takes."""
    parser.add_argument("--data_dir", type=Path, metavar="DIR", help="the photos of the checkpoint's dataset")
    parser.add_argument("--input", type=Path, nargs="+", metavar="FILE", help="its databases (default: as it says)")
    parser.add_argument("--weight_file", type=Path, metavar="FILE", help="checkpoint (default: checkpoints)")
    parser.add_argument("--faces", type=cli.number(int, 2), metavar="N", help="of the part kept out (default: all)")


def main(argv: list[str] | None = None) -> None:
    """Detect, crop at each margin, predict, compare, report."""
    args = common.parse(build_parser(), argv, {"faces": 50})
    weight_file = checkpoints.choose(args.weight_file, Path("checkpoints"))
    predictor = Predictor(open_model(weight_file))
    checkpoint = predictor.description
    own, age, gender, paths = faces_kept_out(args, checkpoint)
    photos, boxes = detect(args.data_dir, paths, predictor.detector)
    found = np.array([box is not None for box in boxes])
    if not found.any():
        raise ValueError(f"{predictor.detector} finds no face in the {len(found):,} photos")
    print(f"{weight_file}: {found.sum():,} of {len(found):,} faces found by {predictor.detector}; margin, errors:")

    def errors(crops):
        ages, p_male = predictor.predict(np.stack(crops))
        return np.abs(ages - age[found]), (p_male >= 0.5) == (gender[found] == MALE)

    reference = errors([image for image, there in zip(own, found, strict=True) if there])
    rows = [row("the dataset's own crop", None, *reference, *reference)]
    for margin in MARGINS:
        crops = [
            crop_face(photo, box, margin, checkpoint.image_size)
            for photo, box in zip(photos, boxes, strict=True)
            if box is not None
        ]
        rows.append(row(f"margin {margin:g}", margin, *errors(crops), *reference))
    columns = {
        "": ("crop", ""),
        "age MAE": ("age_mae", ".2f"),
        "more than the dataset's own crop": ("age_mae_difference", "+.2f"),
        "CS@5": ("cs5", ".1%"),
        "gender": ("gender_accuracy", ".1%"),
    }
    common.show(rows, columns, disable_numparse=True, colalign=("left", *["right"] * 4))
    print(f"the checkpoint's margin is {checkpoint.margin:g}")
    detector = {"faces": len(found), "found": int(found.sum()), "margin_of_checkpoint": checkpoint.margin}
    common.report("crop", args, [detector, *rows], predictor.device)


def faces_kept_out(args: argparse.Namespace, checkpoint):
    """Images, ages, genders and paths of the checkpoint's test part."""
    databases = [open_database(path) for path in args.input or checkpoint.inputs]
    rows = np.flatnonzero(past_of(databases, checkpoint).test)
    if not len(rows):
        raise ValueError("none of these faces was kept for a test of the checkpoint: name its databases with --input")
    paths = [path for database in databases for path in read_paths(database.source)]
    if len(paths) < sum(map(len, databases)):
        raise ValueError("the databases do not say which photos their faces come from")
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


def row(name: str, margin: float | None, error, hit, own_error, own_hit) -> dict:
    """Errors of a crop, and what they exceed those of the dataset's own crop by."""
    return {
        "crop": name,
        "margin": margin,
        "age_mae": float(error.mean()),
        "cs5": float((error <= 5).mean()),
        "gender_accuracy": float(hit.mean()),
        **common.mean_of("age_mae_difference", error - own_error),
        "gender_difference": float(hit.mean() - own_hit.mean()),
    }


if __name__ == "__main__":
    cli.run(main)
