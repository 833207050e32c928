"""Checkpoints that explain themselves: save, load, inspect, choose.

A checkpoint is one HDF5 file: Keras's model and weights, one JSON attribute, `age_gender`, that says how to build the
network again and how its faces were cropped, and in the group `age_gender_sides` where each face stood in the training.
Files of the original suite (Keras 2) load by their path too.
"""

import hashlib
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from age_gender.description import KEY, ORIGIN_KERAS, ORIGIN_ORIGINAL, ORIGIN_OURS, Description
from age_gender.files import newest, reading, real, replacing, reserve, why_absent
from age_gender.hdf5 import refuse_what_lies_elsewhere
from age_gender.intervals import Calibration
from age_gender.labels import NUM_AGES, NUM_GENDERS
from age_gender.runtimes import format_of
from networks import original, original_efficientnet
from networks.backbones import build

CHECKPOINTS = Path("checkpoints")  # where runs go, and where the newest is looked for
BEST, ARGUMENTS = "best.hdf5", "args.json"  # in the folder of a run that has a name
DIGEST = "_digest"  # what the name of an attribute's digest ends in
SIDES = f"{KEY}_sides"  # the group of sides in the file
MOST_FACES = 1 << 30  # that a database is believed to have
SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints" / "age_gender.hdf5"  # docs/MODEL_CARD.md


def save(model, path: Path, description: Description) -> None:
    """Writes a checkpoint; the file appears under its name only when it is complete."""
    import h5py

    with replacing(path) as temporary:
        reserve(temporary, size_of(model.variables), path)
        logging.disable(logging.WARNING)  # Keras calls HDF5 a legacy; it is the one format both suites can read
        try:
            model.save(temporary, include_optimizer=False)
        finally:
            logging.disable(logging.NOTSET)
        with h5py.File(temporary, "r+") as file:
            for fingerprint, sides in description.sides.items():
                file.create_dataset(f"{SIDES}/{fingerprint}", data=sides, compression="gzip")
            seal(file, KEY, description.to_json())


def size_of(variables: list) -> int:
    """Bytes, or a few more, of a file of some Keras variables."""
    return (1 << 20) + sum(4096 + 4 * int(np.prod(variable.shape)) for variable in variables)


def store_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration into a checkpoint of this suite. Raises as `describe_anew` does."""
    describe_anew(path, replace(inspect(path), calibration=calibration))


def describe_anew(path: Path, description: Description) -> None:
    """Writes another description into a checkpoint of this suite; whatever interrupts it, the file stays whole.

    Raises:
        ValueError: if the file must not be written.
    """
    import h5py

    path = real(path)  # of a link, what it leads to
    mode = path.stat().st_mode
    if not mode & 0o200:
        raise ValueError(f"{path} is read-only: what it says of itself cannot be changed")
    with replacing(path) as temporary:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "r+") as file:
            seal(file, KEY, description.to_json())
    path.chmod(mode)


def seal(file, name: str, text: str) -> None:
    """Stores a text as an attribute of an open HDF5 file, and beside it a digest of the text and of all numbers."""
    file.attrs[name] = text
    file.attrs[f"{name}{DIGEST}"] = _digest_of(file, text)


def check_seal(file, name: str) -> None:
    """Raises ValueError if an open HDF5 file is not as `seal` left it; files of earlier versions have no seal."""
    if f"{name}{DIGEST}" in file.attrs and file.attrs[f"{name}{DIGEST}"] != _digest_of(file, file.attrs[name]):
        raise ValueError("its content is not what was written, by its own digest")


def _digest_of(file, text: str) -> str:
    import h5py

    content = hashlib.sha256(text.encode())

    def add(name: str, item) -> None:
        if isinstance(item, h5py.Dataset):
            content.update(f"{name} {item.shape} {item.dtype}".encode())
            content.update(np.ascontiguousarray(item[()]).tobytes())

    file.visititems(add)
    return content.hexdigest()[:32]


def load(path: Path, mirror: bool = True):
    """Loads a checkpoint.

    Files of this suite build their network from what they say; files of the original suite, whole models and bare
    weights, build the original's network, whose depth, width and size are read from the weights; other Keras models
    are taken as they are where their outputs are two genders and 101 ages.

    Args:
        path: an HDF5 file, or a Keras model file.
        mirror: False leaves out the average with the mirror image where the checkpoint asks for it.

    Returns:
        model: (n, size, size, 3) uint8 BGR -> [pred_gender (n, 2), pred_age (n, k)], k classes of its age scale.
        checkpoint: what the file says of itself.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or is no model for ages and genders.
    """
    import h5py

    path = Path(path)
    description, model = _opened(path)
    if model is not None:
        return model, description
    if description.origin == ORIGIN_OURS and (path.suffix not in (".hdf5", ".h5") or path.name.endswith(".weights.h5")):
        raise ValueError(f"Keras tells formats by the name's end: rename {path} to end in .hdf5")
    _refuse_more_than_the_file(path, description)
    with reading(path, f"{path} is damaged"), h5py.File(path, "r") as file:
        check_seal(file, KEY)
    model = build(description)
    with reading(path, f"the weights in {path} do not fit the network it names"):
        if description.origin == ORIGIN_ORIGINAL:
            source = original if description.network == "wide_resnet" else original_efficientnet
            source.load_weights(model, path)
        else:
            model.load_weights(path)
    return (mirrored(model) if mirror and description.mirror else model), description


def _refuse_more_than_the_file(path: Path, description: Description) -> None:
    """Refuses a wide residual network that has more weights than the file has bytes for, before it is built."""
    if description.network != "wide_resnet":
        return
    depth, width, stages = (description.arguments.get(name, 0) for name in ("depth", "width", "stages"))
    if not all(type(number) is int for number in (depth, width, stages)):
        raise ValueError(f"{path}: depth, width and stages are whole numbers; it says {depth!r}, {width!r}, {stages!r}")
    channels = 16 * 2 ** ((min(max(stages, 3), 4)) - 1) * width
    least = 4 * 9 * channels**2 * max((depth - 4) // 3 - 1, 1)  # bytes of the last stage's convolutions
    if least > path.stat().st_size:
        raise ValueError(
            f"the weights in {path} do not fit the network it names: a WRN-{depth}-{width} has more than the whole file"
        )


def mirrored(model):
    """A model that averages what `model` says of an image and of its mirror image: a face has no handedness."""
    import keras

    image = keras.Input(model.input_shape[1:], dtype="uint8", name="image")
    twins = model(keras.ops.concatenate([image, keras.ops.flip(image, axis=2)]))
    means = [sum(keras.ops.split(output, 2)) / 2 for output in twins]
    pairs = zip(model.output_names, means, strict=True)
    return keras.Model(image, [keras.layers.Identity(name=name)(mean) for name, mean in pairs])


def inspect(path: Path) -> Description:
    """What a checkpoint says of itself, without building the network. Raises as `load` does."""
    return _opened(Path(path))[0]


def _opened(path: Path) -> tuple[Description, object | None]:
    """What a checkpoint says of itself, and its model where that had to be loaded to know."""
    import h5py

    if is_exported(path):
        raise ValueError(f"{path} is an exported model, which demo.py runs; this takes the checkpoint it was made from")
    if not path.is_file():
        raise _not_there(path)
    if path.suffix != ".keras":
        with reading(path, f"{path} is no checkpoint, or it is cut off or damaged"), h5py.File(path, "r") as file:
            refuse_what_lies_elsewhere(path, file)
            if KEY in file.attrs:
                description = Description.from_json(file.attrs[KEY], path)
                return replace(description, sides=_sides_in(file)), None
            if original_efficientnet.is_later_original(file):
                return original_efficientnet.describe(file, path), None
            if original.is_original(layers := original.layers_of(file)):
                return original.describe(path, layers, file.attrs.get("model_config", "")), None
    model = _load_keras(path)
    return Description("", {}, int(model.input_shape[1]), origin=ORIGIN_KERAS), model


def _sides_in(file) -> dict[str, np.ndarray]:
    """Where each face stood, by database; {} in files of version 0.5.0 and before."""
    sides = {}
    for fingerprint, dataset in file[SIDES].items() if SIDES in file else ():
        if dataset.dtype != np.uint8 or dataset.ndim != 1 or dataset.size > MOST_FACES:
            raise ValueError(
                f"the sides of {fingerprint} are {dataset.shape} {dataset.dtype}, not a byte for each face"
            )
        sides[fingerprint] = dataset[()]
    return sides


# ------------------------------------------------------------------------------------------- other Keras models


def _load_keras(path: Path):
    """A model of one square image and two outputs; these are put in our order where it is reversed."""
    import keras

    with reading(path, f"{path} is neither a checkpoint of this suite nor of the original one, nor a model for Keras"):
        model = keras.models.load_model(path, compile=False)
    shapes = [tuple(output.shape) for output in model.outputs]
    by_size = {shape[-1]: output for shape, output in zip(shapes, model.outputs, strict=True)}
    shape = model.inputs[0].shape
    if len(model.inputs) != 1 or len(shape) != 4 or shape[1] is None or shape[1] != shape[2] or shape[3] != 3:
        raise ValueError(f"{path}: a model takes one square colour image of fixed size; this one takes {shape}")
    if len(shapes) != 2 or set(by_size) != {NUM_GENDERS, NUM_AGES}:
        raise ValueError(
            f"{path}: a model has two outputs, {NUM_GENDERS} genders and {NUM_AGES} ages; this one has {shapes}"
        )
    image = keras.Input(shape[1:], dtype="uint8", name="image")
    pixels = keras.layers.Rescaling(1.0, name="pixels")(image)
    body = keras.Model(model.inputs, [by_size[NUM_GENDERS], by_size[NUM_AGES]])
    return keras.Model(image, body(pixels))


def is_exported(path: Path) -> bool:
    """Whether a path is an exported model's: by how its name ends, of a folder by what is in it."""
    path = Path(path)
    return (path / "saved_model.pb").is_file() if path.is_dir() else bool(format_of(path)) and path.is_file()


def choose(weight_file: Path | None = None, folder: Path = CHECKPOINTS) -> Path:
    """The checkpoint a user means: the file named; of the folder named, or of `folder`, the newest run's best.

    A run writes only when it improves, so the newest `weights.*` is the best of its run. Where there is no run, it is
    the model that comes with the suite: of the folder, or, where nothing is named, SHIPPED.

    Raises:
        FileNotFoundError: if there is no checkpoint.
    """
    path = Path(weight_file or folder)
    if path.is_file() or is_exported(path):
        return path
    if weight_file and not path.is_dir():
        raise _not_there(path)
    if written := newest(filter(None, map(best_of, runs_in(path))), _saved):
        return written
    for shipped in (path / BEST, path / SHIPPED.name, *([] if weight_file else [SHIPPED])):
        if shipped.is_file():
            return shipped
    raise FileNotFoundError(
        f"there is no checkpoint in {path}/: train one with train.py, or name one with --weight_file"
    )


def runs_in(folder: Path) -> list[Path]:
    """The folders that hold a run's checkpoints: the folder itself, those in it, as of `train.py --run`, and those one
    deeper, as of `train.py --run --fold all`."""
    levels = ("", "*/", "*/*/")
    return sorted({file.parent for level in levels for file in folder.glob(f"{level}weights.*.hdf5")})


def best_of(run: Path) -> Path | None:
    """The best checkpoint of the run whose folder this is; None where it has none."""
    return newest(run.glob("weights.*.hdf5"), _saved)


def _not_there(path: Path) -> FileNotFoundError:
    return FileNotFoundError(
        f"{path} {why_absent(path)}; train.py makes checkpoints, and one comes with the suite: "
        f"checkpoints/{SHIPPED.name}"
    )


def _saved(path: Path) -> float:
    """When a checkpoint was saved, in seconds; by its own word, since copies have other times than their originals."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return float(json.loads(file.attrs[KEY])["training"]["saved"])
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return path.stat().st_mtime
