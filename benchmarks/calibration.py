"""Which factor draws dlib's box around another detector's landmarks, and how near to it does that come?

    python download.py yunet && pip install "mtcnn>=1,<2"
    python benchmarks/calibration.py --data_dir data/UTKFace

Takes faces of a dataset, puts each into a picture with room around it (its edge is repeated) of a random size, and lets
every detector look for it. Half of the faces give the factor: the median of dlib's side over the landmarks' spread. It
goes into the detector's module by hand. The other half checks the boxes that the module draws with the factor that is
there now. Sides and shifts are shares of dlib's box. Peer: dlib itself on the same picture a tenth larger; so much do
its boxes depend on chance.
"""

import argparse
from pathlib import Path

import common  # makes the suite's modules importable
import cv2
import numpy as np
from tqdm import tqdm

from age_gender import cli, sources
from age_gender.detectors import DETECTORS, WITH_LANDMARKS, overlap
from age_gender.faces import read_image

LARGER = 1.1
SCALES = (0.4, 1.0)  # of the pictures, with as many small ones as large ones: faces of some 60 to 160 pixels
LEAST_OVERLAP = 0.3  # of two boxes of the same face


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.parser_for(__doc__, "calibration.py")
    parser.add_argument("--data_dir", **cli.FOLDER, default=Path("data/UTKFace"), help="photos of one face")
    parser.add_argument("--faces", **cli.numeric("N", int, 4, default=1600), help="how many")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Pictures, detections, factors, checks, report."""
    args = common.parse(build_parser(), argv, {"faces": 40})
    photos = sources.find_images(args.data_dir).images
    slow_last = ("dlib", *reversed(WITH_LANDMARKS))  # mtcnn brings TensorFlow: what another one lacks is said before
    detectors = {name: DETECTORS[name]() for name in slow_last}
    faces = list(look(detectors, photos, args.faces))
    rows = [{"faces": len(faces), "found_by_dlib": sum(face["dlib"] is not None for face in faces)}]
    rows.append(check("dlib, a tenth larger", faces, "larger"))
    for name in WITH_LANDMARKS:
        rows.append({**check(name, faces, name), **factors(name, faces)})
    columns = {
        "": ("detector", ""),
        "faces": ("checked_on", ""),
        "factor": ("factor", ".3f"),
        "side, log": ("side", apart),
        "to the right": ("right", apart),
        "down": ("down", apart),
        "overlap": ("overlap", ".2f"),
    }
    common.show(rows[1:], columns)
    common.report("calibration", args, rows)


def look(detectors: dict, photos: list[Path], count: int):
    """Yields for each face, by detector, the surest detection that overlaps dlib's surest, or None."""
    rng = np.random.default_rng(0)
    paths = [photos[row] for row in rng.permutation(len(photos))[:count]]
    scales = np.exp(rng.uniform(*np.log(SCALES), len(paths)))
    for path, scale in zip(tqdm(paths, unit="face", disable=None), scales, strict=True):
        photo = read_image(path)
        if photo is None:
            raise ValueError(f"{path} cannot be read")
        room = (max(photo.shape[:2]) // 2,) * 4
        photo = cv2.copyMakeBorder(photo, *room, cv2.BORDER_REPLICATE)
        image = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found = {name: detect(image) for name, detect in detectors.items()}
        larger = detectors["dlib"](cv2.resize(image, None, fx=LARGER, fy=LARGER, interpolation=cv2.INTER_CUBIC))
        found["larger"] = [face._replace(box=tuple(value / LARGER for value in face.box)) for face in larger]
        reference = found["dlib"][0].box if found["dlib"] else None
        yield {
            name: next((face for face in faces if reference and overlap(face.box, reference) > LEAST_OVERLAP), None)
            for name, faces in found.items()
        }


def found_by_both(name: str, faces: list[dict], key: str) -> list[tuple]:
    """dlib's and another's detection of each face that both have found."""
    found = [(face["dlib"], face[key]) for face in faces if face["dlib"] and face[key]]
    if not found:
        raise ValueError(f"no face was found by dlib and by {name}; --data_dir names a folder of upright faces")
    return found


def factors(name: str, faces: list[dict]) -> dict:
    """dlib's side over the spread of the landmarks, in the half that fits."""
    both = [(reference.box, other.landmarks) for reference, other in found_by_both(name, faces[::2], name)]
    boxes, points = (np.array(part) for part in zip(*both, strict=True))
    centres = points.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(points - centres).sum(axis=2).mean(axis=1))
    quarters = np.quantile((boxes[:, 2] - boxes[:, 0]) / spread, (0.25, 0.5, 0.75))
    return {"fitted_on": len(both), "factor": quarters[1], "factor_quarters": [quarters[0], quarters[2]]}


def check(name: str, faces: list[dict], key: str) -> dict:
    """How a detector's boxes differ from dlib's, in the half that checks: medians and standard deviations."""
    both = [(reference.box, other.box) for reference, other in found_by_both(name, faces[1::2], key)]
    boxes, others = np.array(both).transpose(1, 0, 2)
    side = boxes[:, 2] - boxes[:, 0]
    differences = {
        "side": np.log((others[:, 2] - others[:, 0]) / side),
        "right": ((others[:, 0] + others[:, 2]) - (boxes[:, 0] + boxes[:, 2])) / 2 / side,
        "down": ((others[:, 1] + others[:, 3]) - (boxes[:, 1] + boxes[:, 3])) / 2 / side,
    }
    return {
        "detector": name,
        "checked_on": len(both),
        "overlap": float(np.median([overlap(*boxes) for boxes in both])),
        **{part: {"median": float(np.median(d)), "deviation": float(d.std())} for part, d in differences.items()},
    }


def apart(figure: dict[str, float]) -> str:
    """A difference for the table."""
    return f"{figure['median']:+.3f} (sd {figure['deviation']:.3f})"


if __name__ == "__main__":
    cli.run(main)
