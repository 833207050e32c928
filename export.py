# PYTHON_ARGCOMPLETE_OK
"""Writes a checkpoint as a file for other runtimes, and proves that it says the same as Keras.

    python export.py                                          # ONNX -> exported/age_gender.onnx
    python export.py --format litert --output phone/faces.tflite
    python export.py --format litert --precision int8         # its ranges are those of samples/portraits
    python export.py --format openvino --precision float32 float16 int8 --input data/utkface_db.mat

A file takes `image`, any number of faces (n, size, size, 3), uint8 BGR, cut as its metadata say, and returns by name
`pred_gender` (n, 2), female and male, `pred_age` (n, 101), `expected_age` (n,) in years and, of a calibrated
checkpoint, `age_low` and `age_high` (n,), the interval's whole years. demo.py takes it as --weight_file.

The proof: the same faces through Keras and through the file's own runtime; of the training's databases the faces kept
out of it, without a database drawn patterns, and for int8 the portraits that come with the suite, of which MAE and
gender accuracy are not known. Allowed are

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
from contextlib import ExitStack
from pathlib import Path

from age_gender import cli
from age_gender.files import alone
from age_gender.runtimes import FORMATS

OUTPUT = Path("exported")
PORTRAITS = Path(__file__).resolve().parent / "samples" / "portraits"
PRECISIONS = ("float32", "float16", "int8")
SUFFIXES = {name: form.suffix for name, form in FORMATS.items()} | {"saved_model": ""}  # "": a folder


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "export.py [--format FORMAT] [--weight_file FILE] [--output FILE] [options]")
    parser.add_argument("--format", choices=SUFFIXES, default="onnx", help="of the file")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        nargs="+",
        help="float16 stores weights in half the space; int8 computes convolutions in whole numbers, their ranges "
        "measured on a database or on photos; each beside float32 is a file of its own, NAME.int8.onnx "
        "(default: float32)",
    )
    parser.add_argument(
        "--weight_file",
        **cli.FILE,
        help="checkpoint of this suite or of the original one, or a folder: its newest (default: checkpoints, and "
        "before there is a run the model that comes with the suite)",
    )
    parser.add_argument(
        "--output", "-o", **cli.FILE, help=f"file, or a SavedModel's folder (default: {OUTPUT}/age_gender)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    proof = parser.add_argument_group("proof")
    cli.add_databases(proof, "databases (default: those the checkpoint was trained on, if they are there)")
    proof.add_argument(
        "--image_dir",
        **cli.FOLDER,
        help="photos whose faces are taken in place of a database's (default for int8 without a database: "
        "samples/portraits)",
    )
    proof.add_argument("--faces", **cli.numeric("N", int, 1, default=300), help="faces that are compared")
    proof.add_argument("--seed", **cli.numeric("N", int, 0, default=0), help="random seed of their choice")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, load, write, prove, report."""
    parser = build_parser()
    args = parser.parse_args(argv)
    args.precision = args.precision or ["float32"]
    if args.input and args.image_dir:
        parser.error("--input and --image_dir each say which faces are compared: choose one")
    paths = choose_outputs(parser, args)
    from networks.checkpoints import choose, inspect, load

    weight_file = choose(args.weight_file)
    start_tensorflow(args)
    description = inspect(weight_file)
    faces = choose_faces(args, description)

    from networks import backend, proof

    model, description = load(weight_file)
    run = proof.reference(backend.compiled_predict(model), description)
    keras = proof.measure(run, faces.image, weight_file)
    print(f"{weight_file} through Keras and through {args.format}'s own runtime: {faces.words}", flush=True)
    results = [("Keras", keras, [])]
    with ExitStack() as locks:
        for path in paths.values():
            locks.enter_context(alone(path))
            refuse_what_is_there(path, args.overwrite)
        for precision, path in paths.items():
            print(f"{args.format} {precision} ...", flush=True)
            made = export(model, description, weight_file.name, args.format, precision, path, faces, keras)
            results.append((precision, *made))
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
        if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").is_file():
            raise ValueError(f"{path} is a folder of something else, which would be lost; name another with --output")
        refuse_what_is_there(path, args.overwrite)
    return paths


def refuse_what_is_there(path: Path, overwrite: bool) -> None:
    """Refuses to replace files that are there, also those that another run has made meanwhile."""
    if not overwrite and (there := next((each for each in files_of(path) if each.exists()), None)):
        raise ValueError(f"{there} is there already; --overwrite replaces it")


def start_tensorflow(args: argparse.Namespace) -> None:
    """Has Keras compute with TensorFlow, whatever it is set to; what is lacking is said before any work."""
    from networks.export import check

    for precision in args.precision:
        check(args.format, precision)
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    from networks import backend

    backend.start()
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"Keras exports with TensorFlow, and this process computes with {keras.backend.backend()}")
    backend.in_full_precision()


def choose_faces(args: argparse.Namespace, description):
    """Faces that trained nothing, of the databases named or of the training's own; without these those of the photos
    named, or for int8 of the portraits that come with the suite; else drawn ones."""
    from networks.proof import drawn_faces, held_out_faces, photographed_faces
    from readers.parts import require_parts
    from utils import open_database

    if args.image_dir:
        return photographed_faces(args.image_dir, description, args.faces)
    paths = args.input or description.inputs
    require_parts([path for path in paths if path.is_file()])
    if not args.input and not (paths and all(path.is_file() for path in paths)):
        if "int8" in args.precision:
            return photographed_faces(PORTRAITS, description, args.faces)
        return drawn_faces(args.faces, description.image_size, args.seed)
    faces = held_out_faces([open_database(path) for path in paths], description, args.faces, args.seed)
    if "int8" in args.precision and faces.ranging is None:
        raise ValueError(
            f"{len(faces.image)} faces are too few: int8's ranges are measured on others than those compared"
        )
    return faces


def export(model, description, source: str, form: str, precision: str, path: Path, faces, keras):
    """Writes one file and compares it: what it says, and in what it differs too much."""
    from age_gender.files import reserve, scratch
    from networks import open_model
    from networks.checkpoints import size_of
    from networks.export import convert, deployable
    from networks.proof import LIMITS, differences, measure, too_far

    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch(path.parent) as folder:
        made = folder / path.name
        # TensorFlow says in many words that a disk is full; some formats are written by way of another file.
        reserve(folder / "room", 2 * size_of(model.variables), path)
        text = description.exported_json(source, precision)
        convert(deployable(model, description), made, form, precision, text, faces.ranging)
        found = measure(open_model(made, trust=True).run, faces.image, made)
        failures = too_far(differences(found.said, keras.said, faces), LIMITS[precision])
        put(made, failed_name(path) if failures else path)
    return found, failures


def failed_name(path: Path) -> Path:
    """Where a file goes that did not pass."""
    return path.with_name(f"{path.stem}.failed{path.suffix}")


def files_of(path: Path) -> list[Path]:
    """What a model is written to: OpenVINO's is two files."""
    return [path.with_suffix(".bin"), path] if path.suffix == ".xml" else [path]


def put(made: Path, path: Path) -> None:
    """Moves a file, a folder, or OpenVINO's two files into place; what is there goes only when all is written."""
    for source, target in zip(files_of(made), files_of(path), strict=True):
        if target.is_dir():
            target.rename(made.with_name("replaced"))
        source.replace(target)


def report(results: list, faces, paths: dict[str, Path]) -> int:
    """Prints the table and where the files are; the exit status."""
    from tabulate import tabulate

    from age_gender.machine import available_cores
    from networks.proof import RUNS

    keras = results[0][1]
    rows = [(name, *columns(found, keras, faces)) for name, found, _ in results]
    headings = (
        *("", "MB", "ms a face", "age differs by, years: most", "mean", "P(male): most", "same interval"),
        *("MAE", "gender"),
    )

    print(f"\n{tabulate(rows, headings, stralign='right', colalign=('left',), disable_numparse=True)}")
    print(f"\nms: median of {RUNS} runs of one face on {available_cores()} cores")
    failed = {paths[precision]: failures for precision, _, failures in results[1:]}
    cli.result(files=[path for path, failures in failed.items() if not failures])
    for path, failures in failed.items():
        print(f"{failed_name(path)} FAILED: {'; '.join(failures)}" if failures else f"{path} passed")
    return int(any(failed.values()))


def columns(found, keras, faces) -> list[str]:
    """A row of the table: size, latency, differences from Keras, scores."""
    from networks.proof import differences, scores

    by = differences(found.said, keras.said, faces)
    mae, accuracy = scores(found.said, faces)
    size = [f"{found.megabytes:.1f}", f"{found.milliseconds:.1f}"]
    if found is keras:
        known = f"{mae:.3f}" if mae == mae else "-", f"{accuracy:.1%}" if accuracy == accuracy else "-"
        return [*size, "", "", "", "", *known]
    return [
        *size,
        f"{by['age']:.4f}",
        f"{by['mean_age']:.4f}",
        f"{by['p_male']:.5f}",
        f"{by['same']:.1%}" if "same" in by else "-",
        f"{mae:.3f} ({by['mae']:+z.3f})" if mae == mae else "-",  # z: what rounds to nothing is +0.000
        f"{accuracy:.1%} ({-100 * by['accuracy']:+z.1f})" if accuracy == accuracy else "-",
    ]


if __name__ == "__main__":
    cli.run(main)
