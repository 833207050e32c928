"""Which faces does each detector find, how fast, and do the ages agree whichever of them found the face?

    python benchmarks/detectors_compared.py --photos photos                                  # found, missed, extra, ms
    python benchmarks/detectors_compared.py --data_dir data/UTKFace --input data/utkface_db.mat         # ages

The photos have known boxes in lists boxes*.xml, as dlib's imglab writes them; a photo that no list names has no face.
A face is found where a box overlaps it by 0.4 (intersection over union). Times are of one photo after the other.

The ages are those that the checkpoint gives to faces that it has not seen, each found by every detector and cut at the
checkpoint's margin. Peer: the whole photo, which is the dataset's own crop (the detector none). Two detectors differ by
less than the network errs, or their boxes do not mean the same.
"""

import argparse
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import common  # makes the suite's modules importable
import numpy as np
from crop import add_kept_out, detect, faces_kept_out

from age_gender import cli, sources
from age_gender.detectors import DETECTORS, NO_DETECTOR, overlap
from age_gender.faces import crop_face, read_image
from age_gender.predictor import Predictor
from networks import checkpoints, open_model

LEAST_OVERLAP = 0.4


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "detectors_compared.py")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photos with known boxes")
    add_kept_out(parser)
    parser.set_defaults(faces=600)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Photos, ages, or both; report."""
    parser = build_parser()
    args = common.parse(parser, argv, {"faces": 40, "repeats": 2})
    if not (args.photos or args.data_dir):
        parser.error("name photos with known boxes by --photos, or a dataset by --data_dir, or both")
    rows = on_photos(args) if args.photos else []
    device = None
    if args.data_dir:
        ages, device = on_faces(args)
        rows += ages
    common.report("detectors_compared", args, rows, device)


def on_photos(args) -> list[dict]:
    """Found, missed, extra and milliseconds of each detector."""
    known = known_boxes(args.photos)
    images = {name: read_image(args.photos / name) for name in known}
    rows = []
    detectors = {name: load() for name, load in DETECTORS.items() if name != NO_DETECTOR}
    tasks = {name: lambda find=find: list(map(find, images.values())) for name, find in detectors.items()}
    seconds = common.interleaved(tasks, args.repeats)
    total = sum(map(len, known.values()))
    for name, find in detectors.items():
        hits, extra = [], 0
        for photo, boxes in known.items():
            faces = find(images[photo])
            pairs = matched(boxes, faces)
            hits += pairs
            extra += len(faces) - len(pairs)
        found = {
            "detector": name,
            "photos": len(known),
            "faces": total,
            "found": len(hits),
            "missed": total - len(hits),
            "extra": extra,
            "overlap": common.spread(hits) if hits else None,
            "milliseconds": common.spread(1000 * value / len(known) for value in seconds[name]),
        }
        rows.append(found)
    counts = {name: (name, "") for name in ("found", "missed", "extra")}
    common.show(rows, {f"{len(known)} photos": ("detector", ""), **counts, "ms a photo": ("milliseconds", ",.0f")})
    return rows


def known_boxes(folder: Path) -> dict[str, list[tuple[int, ...]]]:
    """File name -> boxes x1, y1, x2, y2 of the photos in a folder."""
    boxes = {path.name: [] for path in sources.find_images(folder).images}
    lists = sorted(folder.glob("boxes*.xml"))
    if not lists:
        raise ValueError(f"{folder} has no list of known boxes, boxes*.xml as dlib's imglab writes it")
    for listing in lists:
        for image in ElementTree.parse(listing).iter("image"):
            if image.get("file") in boxes:
                for box in image.iter("box"):
                    x, y, width, height = (int(box.get(name)) for name in ("left", "top", "width", "height"))
                    boxes[image.get("file")].append((x, y, x + width, y + height))
    return boxes


def matched(boxes: list, faces: list) -> list[float]:
    """The overlaps of known boxes with the faces found for them, each face for one box at most."""
    left, pairs = list(faces), []
    for box in boxes:
        best = max(left, key=lambda face: overlap(face.box, box), default=None)
        if best and overlap(best.box, box) >= LEAST_OVERLAP:
            pairs.append(overlap(best.box, box))
            left = [face for face in left if face is not best]
    return pairs


def on_faces(args) -> tuple[list[dict], str]:
    """Ages by each detector on faces that all of them found, and what computed."""
    weight_file = checkpoints.choose(args.weight_file, Path("checkpoints"))
    predictor = Predictor(open_model(weight_file))
    _, age, _, paths = faces_kept_out(args, predictor.description)
    found = {}
    for name in DETECTORS:  # one detector is let go before the next is made
        photos, found[name] = detect(args.data_dir, paths, name)
    by_all = np.array([all(faces) for faces in zip(*found.values(), strict=True)])
    size, ages = predictor.description.image_size, {}
    for name, boxes in found.items():
        margin = 0 if name == NO_DETECTOR else predictor.margin
        crops = [crop_face(photos[row], boxes[row], margin, size) for row in np.flatnonzero(by_all)]
        ages[name], _ = predictor.predict(np.stack(crops))
    rows = [compared(name, ages, age[by_all], sum(map(bool, found[name])), len(photos)) for name in ages]
    columns = {
        "": ("detector", ""),
        f"found of {len(photos)}": ("found", ""),
        "age MAE": ("age_mae", ".2f"),
        "more than by dlib, mean": ("to_dlib_mean", "+.2f"),
        "median": ("to_dlib_median", "+.2f"),
        "apart, mean": ("to_dlib_absolute_mean", ".2f"),
        "apart, median": ("to_dlib_absolute_median", ".2f"),
    }
    print(f"\n{by_all.sum()} faces that all found:")
    common.show(rows, columns, disable_numparse=True)
    return rows, predictor.device


def compared(name: str, ages: dict, truth, found: int, photos: int) -> dict:
    """A detector's own error and how its ages differ from those by dlib."""
    error, difference = np.abs(ages[name] - truth), ages[name] - ages["dlib"]
    return {
        "detector": name,
        "photos": photos,
        "found": found,
        "faces_of_all": len(truth),
        **common.mean_of("age_mae", error),
        **common.mean_of("to_dlib_mean", difference),
        "to_dlib_median": float(np.median(difference)),
        "to_dlib_absolute_mean": float(np.abs(difference).mean()),
        "to_dlib_absolute_median": float(np.median(np.abs(difference))),
    }


if __name__ == "__main__":
    cli.run(main)
