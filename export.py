"""Writes a checkpoint as a file for other runtimes, and proves that it says the same as Keras.

    python export.py                                          # ONNX -> exported/age_gender.onnx
    python export.py --format litert --output phone/faces.tflite
    python export.py --format openvino --precision float32 float16 int8 --input data/utkface_db.mat

A file takes `image`, any number of faces (n, size, size, 3), uint8 BGR, cut as its metadata say, and returns by name
`pred_gender` (n, 2), female and male, `pred_age` (n, 101), `expected_age` (n,) in years and, of a calibrated
checkpoint, `age_low` and `age_high` (n,), the interval's whole years. demo.py takes it as --weight_file.

The proof: the same faces through Keras and through the file's own runtime; of the training's databases the faces kept
out of it, without a database drawn patterns, of which MAE and gender accuracy are not known. Allowed are

    float32   expected ages that differ by 0.01 years, probabilities of gender by 0.001, intervals by a year at an end
    float16   a mean difference of 0.05 years, an MAE worse by 0.02 years, 0.5% more genders wrong
    int8      a mean difference of 1 year, an MAE worse by 0.2 years, 1% more genders wrong

A file that exceeds them is kept as NAME.failed, and what was there before stays.

Always computed by TensorFlow, whatever trained the model. What a format needs: pip install ".[export]"

Exit status: 0 all files passed, 1 one of them differs too much, 2 something is wrong, 130 stopped.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender import cli
from age_gender.labels import MALE, UNKNOWN, YEARS
from age_gender.machine import available_cores
from age_gender.runtimes import FORMATS

CHECKPOINTS = Path("checkpoints")
OUTPUT = Path("exported")
PRECISIONS = ("float32", "float16", "int8")
CALIBRATION_FACES = 256  # that int8's ranges are measured on
BATCH = 32
WARM_UP, RUNS = 5, 40  # of one face, for the latency
SUFFIXES = {name: form.suffix for name, form in FORMATS.items()} | {"saved_model": ""}  # "": a folder


class Limits(NamedTuple):
    """How far a file may be from Keras; None where it does not matter.

    Attributes:
        age: greatest difference of an expected age, years.
        p_male: greatest difference of a probability of male.
        interval: greatest difference of an interval's end, years.
        mean_age: mean difference of the expected ages, years.
        mae: by how much the mean absolute error may be worse, years.
        accuracy: by how much the share of right genders may be worse.
    """

    age: float | None = None
    p_male: float | None = None
    interval: int | None = None
    mean_age: float | None = None
    mae: float | None = None
    accuracy: float | None = None


LIMITS = {
    "float32": Limits(age=0.01, p_male=0.001, interval=1),
    "float16": Limits(mean_age=0.05, mae=0.02, accuracy=0.005),
    "int8": Limits(mean_age=1.0, mae=0.2, accuracy=0.01),
}


class Faces(NamedTuple):
    """What the proof is made with.

    Attributes:
        image: (n, size, size, 3) uint8 BGR.
        age, gender: (n,) labels, -1 unknown.
        calibration: (m, size, size, 3) uint8 BGR, other faces, for int8; None where there are none.
        words: which they are.
    """

    image: np.ndarray
    age: np.ndarray
    gender: np.ndarray
    calibration: np.ndarray | None
    words: str


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "export.py [--format FORMAT] [--weight_file FILE] [--output FILE] [options]")
    parser.add_argument("--format", choices=SUFFIXES, default="onnx", help="of the file")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        nargs="+",
        help="float16 stores weights in half the space; int8 computes convolutions in whole numbers, their ranges "
        "measured on a database; each beside float32 is a file of its own, NAME.int8.onnx (default: float32)",
    )
    parser.add_argument(
        "--weight_file",
        type=Path,
        metavar="FILE",
        help="checkpoint of this suite or of the original one, or a folder: its newest (default: checkpoints, and "
        "before there is a run the model that comes with the suite)",
    )
    parser.add_argument(
        "--output",
        "-o",
        type=Path,
        metavar="FILE",
        help=f"file, or a SavedModel's folder (default: {OUTPUT}/age_gender)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    proof = parser.add_argument_group("proof")
    proof.add_argument(
        "--input",
        "-i",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="databases (default: those the checkpoint was trained on, if they are there)",
    )
    proof.add_argument(
        "--faces", type=cli.number(int, 1), default=300, metavar="N", help="that both must say the same of"
    )
    proof.add_argument("--seed", type=cli.number(int, 0), default=0, metavar="N", help="of their choice")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, load, write, prove, report."""
    parser = build_parser()
    args = parser.parse_args(argv)
    args.precision = args.precision or ["float32"]
    paths = choose_outputs(parser, args)
    from networks.models import choose, inspect

    weight_file = choose(args.weight_file, CHECKPOINTS)
    checkpoint = inspect(weight_file)
    start_tensorflow(args)
    faces = choose_faces(args, checkpoint)

    model, checkpoint, keras = load(weight_file, faces)
    print(f"{weight_file} through Keras and through {args.format}'s own runtime: {faces.words}", flush=True)
    results = [("Keras", keras, [])]
    for precision, path in paths.items():
        results.append((precision, *export(model, checkpoint, weight_file, args.format, precision, path, faces, keras)))
    return report(results, faces, paths)


def choose_outputs(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, Path]:
    """precision -> the file to write; one that is there already is refused."""
    suffix = SUFFIXES[args.format]
    path = args.output or OUTPUT / f"age_gender{suffix}"
    if suffix and path.suffix != suffix:
        parser.error(f"--output {path}: the name of a file in the format {args.format} ends in {suffix}")
    if not suffix and args.precision != ["float32"]:
        parser.error("--format saved_model is written in float32 alone; leave --precision out")
    names = {precision: "" if precision == "float32" else f".{precision}" for precision in args.precision}
    paths = {precision: path.with_name(path.stem + name + path.suffix) for precision, name in names.items()}
    for path in paths.values():
        if suffix and path.is_dir() or not suffix and path.is_file():
            raise ValueError(f"{path} is a {'folder' if suffix else 'file'}; name another with --output")
        if path.exists() and not args.overwrite:
            raise ValueError(f"{path} is there already; --overwrite replaces it")
    return paths


def start_tensorflow(args: argparse.Namespace) -> None:
    """Has Keras compute with TensorFlow, whatever it is set to; what is lacking is said before any work."""
    from networks import converters

    for precision in args.precision:
        converters.check(args.format, precision)
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    from networks import backend

    backend.start()
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"Keras exports with TensorFlow, and this process computes with {keras.backend.backend()}")


def choose_faces(args: argparse.Namespace, checkpoint) -> Faces:
    """Faces that trained nothing, of the databases named or of the training's own; drawn ones where there are none."""
    paths = args.input or checkpoint.inputs
    if not args.input and not (paths and all(Path(path).is_file() for path in paths)):
        if "int8" in args.precision:
            raise ValueError("int8's ranges are measured on faces: name a database with --input")
        drawn = drawn_patterns(args.faces, checkpoint.image_size, args.seed)
        unknown = np.full(args.faces, UNKNOWN)
        words = f"{args.faces} drawn patterns; with a database, --input, errors and genders are compared too"
        return Faces(drawn, unknown, unknown, None, words)
    from utils import ImageStack, labels_of, open_database, split_again

    databases = [open_database(path) for path in paths]
    count = sum(map(len, databases))
    pool, rest, kind = np.arange(count), np.arange(count), ""
    if [database.fingerprint() for database in databases] == checkpoint.split.get("databases"):
        rest, validation, test = split_again(databases, checkpoint.split)
        pool, kind = (test, "that were kept for a test") if len(test) else (validation, "that chose the checkpoint")
    rng = np.random.default_rng(args.seed)
    rows = np.sort(rng.choice(pool, min(args.faces, len(pool)), replace=False))
    rest = np.setdiff1d(rest, rows)
    if "int8" in args.precision and not len(rest):
        raise ValueError(
            f"{count} faces are too few: int8's ranges are measured on others than the {len(rows)} compared"
        )
    others = np.sort(rng.choice(rest, min(CALIBRATION_FACES, len(rest)), replace=False))
    image = ImageStack(databases, checkpoint.image_size)
    words = f"{len(rows)} of {len(pool):,} faces {kind}".rstrip() + f" in {', '.join(map(str, paths))}"
    return Faces(image[rows], *labels_of(databases, rows), image[others], words)


def drawn_patterns(count: int, size: int, seed: int) -> np.ndarray:
    """(count, size, size, 3) uint8: soft patches of colour with some noise, no two alike."""
    import cv2

    rng = np.random.default_rng(seed)
    patches = rng.uniform(0, 255, (count, 6, 6, 3))
    soft = np.stack([cv2.resize(patch, (size, size), interpolation=cv2.INTER_CUBIC) for patch in patches])
    return np.clip(soft + rng.normal(0, 8, soft.shape), 0, 255).astype(np.uint8)


def load(weight_file: Path, faces: Faces):
    """The model to export, what its checkpoint says, and what Keras and NumPy say of the faces."""
    from age_gender.intervals import Calibration, age_interval, tempered
    from age_gender.labels import expected_age
    from networks import backend, converters
    from networks.models import load

    model, checkpoint = load(weight_file)
    predict = backend.compiled_predict(model)
    calibration = checkpoint.calibration or Calibration()

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        gender, age = predict(images)
        p_male = tempered(gender[:, MALE], calibration.temperature)
        said = {"pred_gender": np.stack([1 - p_male, p_male], axis=1), "pred_age": age}
        said["expected_age"] = expected_age(age, checkpoint.age_scale.centres)
        if checkpoint.age_scale == YEARS and (interval := age_interval(age, calibration)):
            said["age_low"], said["age_high"] = interval
        return said

    return converters.deployable(model, checkpoint), checkpoint, measure(run, faces.image, weight_file)


class Measured(NamedTuple):
    """What a model says of the faces, how long it takes for one, and how large its files are."""

    said: dict[str, np.ndarray]
    milliseconds: float
    megabytes: float


def measure(run, images: np.ndarray, path: Path) -> Measured:
    """Runs a model on all faces, in batches, and on one face many times."""
    batches = [run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    said = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    seconds = []
    for _ in range(WARM_UP + RUNS):
        started = time.perf_counter()
        run(images[:1])
        seconds.append(time.perf_counter() - started)
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
    else:
        files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    size = sum(file.stat().st_size for file in files)
    return Measured(said, 1000 * float(np.median(seconds[WARM_UP:])), size / 1e6)


def export(
    model, checkpoint, weight_file: Path, form: str, precision: str, path: Path, faces: Faces, keras: Measured
) -> tuple[Measured, list[str]]:
    """Writes one file and compares it; in what it differs too much."""
    from networks import converters, open_model

    print(f"{form} {precision} ...", flush=True)
    metadata = checkpoint.exported_json(weight_file.name, precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        converters.convert(model, made, form, precision, metadata, faces.calibration)
        found = measure(open_model(made).run, faces.image, made)
        failures = too_far(differences(found.said, keras.said, faces), LIMITS[precision])
        put(made, failed_name(path) if failures else path)
    return found, failures


def failed_name(path: Path) -> Path:
    """Where a file goes that did not pass."""
    return path.with_name(f"{path.stem}.failed{path.suffix}")


def put(made: Path, path: Path) -> None:
    """Moves a file, a folder, or OpenVINO's two files into place; what is there goes only when all is written."""
    for suffix in (".bin", ".xml") if made.suffix == ".xml" else (made.suffix,):
        source, target = made.with_suffix(suffix), path.with_suffix(suffix)
        if target.is_dir():
            target.rename(made.with_name("replaced"))
        source.replace(target)


def differences(said: dict[str, np.ndarray], wanted: dict[str, np.ndarray], faces: Faces) -> dict[str, float]:
    """How far a file's answers are from Keras's: the fields of Limits, and `same`, the share of equal intervals.

    Raises:
        ValueError: if an output is missing, has another shape or is no number.
    """
    for name, values in wanted.items():
        if name not in said or said[name].shape != values.shape:
            raise ValueError(f"the exported model's {name} is not there, or not of the shape {values.shape}")
    age = np.abs(said["expected_age"] - wanted["expected_age"])
    male = np.abs(said["pred_gender"] - wanted["pred_gender"])
    found = {"age": age.max(), "mean_age": age.mean(), "p_male": male.max()}
    if "age_low" in wanted:
        ends = np.stack([np.abs(said[name] - wanted[name]) for name in ("age_low", "age_high")])
        found |= {"interval": ends.max(), "same": np.mean(ends.max(axis=0) == 0)}
    now, before = scores(said, faces), scores(wanted, faces)
    return found | {"mae": now[0] - before[0], "accuracy": before[1] - now[1]}


def scores(said: dict[str, np.ndarray], faces: Faces) -> tuple[float, float]:
    """Mean absolute error in years and share of right genders; NaN where no label is known."""
    aged, gendered = faces.age != UNKNOWN, faces.gender != UNKNOWN
    error = np.abs(said["expected_age"] - faces.age)[aged]
    right = ((said["pred_gender"][:, MALE] >= 0.5) == faces.gender)[gendered]
    return float(error.mean()) if len(error) else np.nan, float(right.mean()) if len(right) else np.nan


def too_far(found: dict[str, float], limits: Limits) -> list[str]:
    """What exceeds its limit, in words; a value that is no number exceeds it, but where there are no labels."""
    over = []
    for name, limit in limits._asdict().items():
        value = found.get(name)
        unknown = value is None or (np.isnan(value) and name in ("mae", "accuracy"))
        if limit is not None and not unknown and not value <= limit + 1e-9:
            over.append(f"{name} {value:.3g}, and {limit:g} is allowed")
    return over


def report(results: list, faces: Faces, paths: dict[str, Path]) -> int:
    """Prints the table and where the files are; the exit status."""
    from tabulate import tabulate

    keras = results[0][1]
    rows = [(name, *columns(found, keras, faces)) for name, found, _ in results]
    headings = (
        *("", "MB", "ms a face", "age differs by, years: most", "mean", "P(male): most", "same interval"),
        *("MAE", "gender"),
    )

    print(f"\n{tabulate(rows, headings, stralign='right', colalign=('left',), disable_numparse=True)}")
    print(f"\nms: median of {RUNS} runs of one face on {available_cores()} cores")
    failed = False
    for precision, _, failures in results[1:]:
        path = paths[precision]
        if failures:
            failed = True
            print(f"{failed_name(path)} FAILED: {'; '.join(failures)}")
        else:
            print(f"{path} passed")
    return int(failed)


def signed(value: float, digits: int) -> str:
    """'+0.1', '-0.1', and '+0.0' for what rounds to nothing."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def columns(found: Measured, keras: Measured, faces: Faces) -> list[str]:
    """A row of the table: size, latency, differences from Keras, scores."""
    by = differences(found.said, keras.said, faces)
    mae, accuracy = scores(found.said, faces)
    size = [f"{found.megabytes:.1f}", f"{found.milliseconds:.1f}"]
    if found is keras:
        return [*size, "", "", "", "", *([f"{mae:.3f}", f"{accuracy:.1%}"] if mae == mae else ["-", "-"])]
    return [
        *size,
        f"{by['age']:.4f}",
        f"{by['mean_age']:.4f}",
        f"{by['p_male']:.5f}",
        f"{by['same']:.1%}" if "same" in by else "-",
        f"{mae:.3f} ({signed(by['mae'], 3)})" if mae == mae else "-",
        f"{accuracy:.1%} ({signed(-100 * by['accuracy'], 1)})" if accuracy == accuracy else "-",
    ]


if __name__ == "__main__":
    cli.run(main)
