"""What a model says of itself: one record and one codec, for checkpoints and exported files alike."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from age_gender.detectors import NO_DETECTOR, found_by
from age_gender.files import reading
from age_gender.intervals import Calibration
from age_gender.labels import AGE_SCALES, GENDERS, YEARS, AgeScale, check_groups

KEY = "age_gender"  # under which a file holds its description: an HDF5 attribute, an ONNX property, ...
VERSION = 1  # of an exported file's description
MOST_MARGIN = 3  # a share of the face box
ORIGINAL_MARGIN = 0.4  # of the original suite, which trained on IMDB-WIKI's crops and did not say so
ORIGIN_OURS, ORIGIN_ORIGINAL, ORIGIN_KERAS = "this suite", "the original suite", "Keras"

# Where a face stood in a training, one byte a face. EARLIER is added where the face trained before: the
# model that this training started from, or a teacher.
TRAINING, VALIDATION, TEST, ON_NO_SIDE = range(4)
EARLIER = 4


@dataclass(frozen=True)
class Description:
    """What a model says of itself.

    Attributes:
        network: a name in networks.BACKBONES; "" for a foreign Keras file.
        arguments: the network's arguments beside the image size, such as depth and width.
        image_size: height and width of its input, in pixels.
        margin: of its training crops, as a share of the face box.
        detector: what found the training faces; NO_DETECTOR where the dataset came cropped.
        align: whether the training faces were turned until their eyes were level.
        mirror: whether it averages what the network says of an image and of its mirror image.
        age_scale: the classes of its age head; YEARS are 0..100.
        genders: the order of its gender head.
        trivial: the answers that use no picture: the training faces' median age (years) and commoner gender (index).
        split: how the faces were split, and which datasets they are of; {} unknown.
        calibration: what makes intervals and calibrated probabilities of its outputs; None where it was never fitted.
        training: all arguments of the training, its epoch and metrics (of the network itself, not of the mirrored one),
            and the versions it ran on.
        origin: who wrote the file.
        sides: a database's fingerprint -> (n,) uint8, where each of its faces stood: TRAINING, VALIDATION, TEST or
            ON_NO_SIDE, plus EARLIER. Not part of the JSON text; {} unknown.
        path: the file it was read from; None before it is written. Not part of the JSON text.
    """

    network: str
    arguments: Mapping[str, Any]
    image_size: int
    margin: float = ORIGINAL_MARGIN
    detector: str = NO_DETECTOR
    align: bool = False
    mirror: bool = False
    age_scale: AgeScale = YEARS
    genders: tuple[str, ...] = GENDERS
    trivial: Mapping[str, int] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ORIGIN_OURS
    sides: Mapping[str, np.ndarray] = field(default_factory=dict)
    path: Path | None = field(default=None, compare=False)

    @property
    def inputs(self) -> list[Path]:
        """The databases that it was trained on, by their paths then, or beside the file itself where they are gone from
        there; [] unknown."""
        paths = [Path(path) for path in self.training.get("arguments", {}).get("input") or []]
        folder = self.path.parent if self.path else Path()
        pairs = ((path, folder / path.name) for path in paths)
        return [there if there.is_file() and not path.is_file() else path for path, there in pairs]

    def differs_from(self, margin: float, detector: str, align: bool) -> list[str]:
        """In what faces, with these attributes, differ from those that the model was trained on, a phrase each."""
        said = []
        if margin != self.margin:
            said.append(f"cut with a margin of {margin:g}, those of the training with {self.margin:g}")
        if (detector, align) != (self.detector, self.align):
            found, own = found_by(detector, align), found_by(self.detector, self.align)
            said.append(f"found by {found}, those of the training by {own}")
        return said

    def refuse_scale(self, onto: AgeScale) -> None:
        """Raises ValueError, with the file's name, if its age groups cannot be folded onto those of a scale."""
        try:
            self.age_scale.folds_onto(onto)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def to_json(self) -> str:
        """The description as text, without the sides."""
        return json.dumps(self._plain())

    def exported_json(self, source: str, precision: str) -> str:
        """What a file made from this model, in a file named `source`, says: all that a program must know to cut faces
        for it and to read its answers, and nothing of the training. Precisions: "float32", "float16" and "int8"."""
        said = self._plain("trivial", "split", "training", "origin") | {"age_scale": self.age_scale._asdict()}
        more = {"version": VERSION, "source": source, "precision": precision, "colours": "BGR"}
        return json.dumps(said | more)

    def _plain(self, *without: str) -> dict[str, Any]:
        left_out = (*without, "sides", "path")
        said = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in left_out}
        scale, calibration = self.age_scale, self.calibration
        return said | {
            "age_scale": scale.name if scale == YEARS else scale._asdict(),
            "calibration": calibration and calibration._asdict(),
        }

    @classmethod
    def from_json(cls, text: str, path: Path) -> "Description":
        """The inverse of `to_json` and of `exported_json`; of an exported model, whose probabilities of gender are
        calibrated already, the temperature is 1. `path` is for messages.

        Raises:
            ValueError: if it cannot be understood.
        """
        with reading(path, f"{path}: what it says of itself cannot be understood"):
            said = json.loads(text)
            if not isinstance(said, dict):
                raise ValueError("it is no JSON object")
            exported = "precision" in said
            if exported:
                if said.get("version") != VERSION:
                    raise ValueError(f"version {said.get('version')} is not known here")
                said["origin"] = f"exported from {said['source']}"
                for name in ("version", "source", "precision", "colours"):
                    said.pop(name, None)
            description = checked(cls(**{**said, **_decoded(said)}, path=Path(path)))
        if description.genders != GENDERS:
            raise ValueError(
                f"{path} was trained for genders {description.genders}; this version reads genders {GENDERS} in this "
                "order"
            )
        if exported and description.calibration:
            return replace(description, calibration=description.calibration._replace(temperature=1.0))
        return description


def _decoded(said: dict[str, Any]) -> dict[str, Any]:
    """The fields that JSON cannot hold as they are."""
    scale, calibration = said.get("age_scale", YEARS.name), said.get("calibration")
    if isinstance(scale, str):
        scale = AGE_SCALES[scale]
    else:
        groups = tuple((str(name), low, high) for name, low, high in scale["groups"])
        check_groups(groups)
        scale = YEARS if groups == YEARS.groups else AgeScale(str(scale["name"]), groups, bool(scale["exact"]))
    if calibration:
        bands = tuple((first, years) for first, years in calibration.get("bands", ()))
        calibration = Calibration(**calibration | {"bands": bands})
    return {"genders": tuple(said["genders"]), "age_scale": scale, "calibration": calibration}


_TYPES = {"network": str, "detector": str, "origin": str, "align": bool, "mirror": bool} | dict.fromkeys(
    ("arguments", "trivial", "split", "training"), dict
)


def checked(description: Description) -> Description:
    """The description, whose fields are of their types and within bounds; raises ValueError."""
    for name, kind in _TYPES.items():
        if not isinstance(value := getattr(description, name), kind):
            raise ValueError(f"{name} is {value!r}, not of the type {kind.__name__}")
    size, margin, calibration = description.image_size, description.margin, description.calibration
    if type(size) is not int or not 8 <= size <= 1024:
        raise ValueError(f"image_size is {size!r}, not a number of pixels from 8 to 1024")
    if type(margin) not in (int, float) or not 0 <= margin <= MOST_MARGIN:
        raise ValueError(f"margin is {margin!r}, not a share from 0 to {MOST_MARGIN}")
    if not all(type(value) is int for value in description.trivial.values()):
        raise ValueError(f"trivial is {description.trivial!r}, not whole numbers")
    _check_history(description.split, description.training)
    if calibration:
        starts, years = zip(*calibration.bands, strict=True) if calibration.bands else ((), ())
        numbers = (calibration.level, calibration.temperature, calibration.widen or 0, *starts, *years)
        if not (
            all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
            and 0 < calibration.level < 1
            and 0.01 <= calibration.temperature <= 100
            and all(abs(number) < 1000 for number in (calibration.widen or 0, *years))
            and list(starts) == sorted(set(starts))
        ):
            raise ValueError(f"{calibration} calibrates nothing")
    return description


def _check_history(split: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    """Raises ValueError, TypeError or AttributeError if a training, or one before it, does not say what it is to."""
    inputs, databases = training.get("arguments", {}).get("input") or [], split.get("databases", [])
    for name, values in (("input", inputs), ("databases", databases), ("datasets", split.get("datasets", []))):
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ValueError(f"{name} is {values!r}, not a list of names")
    for earlier in (*training.get("teachers", []), *filter(None, [training.get("start")])):
        _check_history(earlier["split"], earlier)
