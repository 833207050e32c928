"""Everything that says what is trained and how: made once from the command line, and kept with the run as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from age_gender.labels import AgeScale, age_scale
from networks.applications import NETWORKS
from training.augmentations import AUGMENTATIONS

MONITORS = {  # is less better?
    "val_loss": True,
    "val_pred_age_mae": True,
    "val_pred_age_accuracy": False,  # of age groups alone
    "val_pred_gender_accuracy": False,
}
DEFAULT_RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.002}
DEFAULT_DECAYS = {"sgd": 5e-4, "adam": 5e-4, "adamw": 0.02}
WIDE_RESNET_ARGUMENTS = {"depth": 16, "width": 8, "stages": 3, "stem_stride": 1}  # and their defaults
FINE_TUNE_SHARE = 0.1  # of --lr, for what was frozen
AGE_LOSSES = ("cross_entropy", "ldl", "dldl_v2", "mean_variance", "coral")  # see losses.age_loss
SOFT_LOSSES = ("ldl", "dldl_v2")  # whose labels are distributions around the true age
TRACKERS = ("mlflow", "wandb")  # packages, see tracking.py
PUBLISHED = ("imagenet", "none")  # what --weight_file takes beside files


@dataclass(frozen=True)
class Options:
    """The options of a run, as `train.py --help-all` explains them, with every default filled in.

    `weights` and `teacher` are files; of a folder of runs that is named, `arguments.parse` takes the newest checkpoint.
    """

    input: tuple[Path, ...]
    validation_split: float
    test_split: float
    split: str
    fold: int | None
    folds: int | Path | None
    aug: str
    mixup_alpha: float
    seed: int
    model: str
    depth: int | None
    width: int | None
    stages: int | None
    stem_stride: int | None
    dropout: float
    weight_decay: float
    mirror: bool
    weights: str | None
    freeze_epochs: int
    fine_tune_lr: float | None
    unfreeze_stages: int | None
    age_scale: AgeScale
    teacher: tuple[Path, ...]
    teacher_weight: float
    age_loss: str
    age_sigma: float
    age_error_weight: float
    age_spread: bool
    gender_weight: float
    nb_epochs: int
    batch_size: int
    opt: str
    lr: float
    schedule: str
    ema: float | None
    monitor: str
    patience: int
    mixed_precision: str | None
    run: str | None
    keep: int
    track: str | None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Options":
        """The options of parsed arguments or of `plain`, with the defaults that hang on other options filled in."""
        chosen = {each.name: values[each.name] for each in fields(cls)}
        defaults = {
            "lr": DEFAULT_RATES[chosen["opt"]],
            "weight_decay": DEFAULT_DECAYS[chosen["opt"]],
            "mixup_alpha": AUGMENTATIONS[chosen["aug"]]["mixup_alpha"],
            "age_sigma": 2.0,
            "age_error_weight": 1.0,
            "teacher_weight": 0.5,
        }
        if chosen["model"] == "wide_resnet":
            defaults |= WIDE_RESNET_ARGUMENTS
        if chosen["model"] in NETWORKS:
            defaults["weights"] = "imagenet"
        if chosen["freeze_epochs"]:
            defaults["fine_tune_lr"] = FINE_TUNE_SHARE * (chosen["lr"] or defaults["lr"])
        chosen |= {name: value for name, value in defaults.items() if chosen[name] is None}
        scale = chosen["age_scale"]
        chosen |= {
            "input": tuple(map(Path, chosen["input"])),
            "teacher": tuple(map(Path, chosen["teacher"] or ())),
            "folds": Path(chosen["folds"]) if isinstance(chosen["folds"], str) else chosen["folds"],
            "age_scale": scale if isinstance(scale, AgeScale) else age_scale(scale),
        }
        return cls(**chosen)

    def plain(self) -> dict[str, Any]:
        """The options as JSON takes them; paths are absolute, so that they are found from anywhere."""
        weights = self.weights
        return vars(self) | {
            "input": [str(path.absolute()) for path in self.input],
            "weights": weights if weights in (None, *PUBLISHED) else str(Path(weights).absolute()),
            "folds": str(self.folds.absolute()) if isinstance(self.folds, Path) else self.folds,
            "age_scale": self.age_scale.name,
            "teacher": [str(path.absolute()) for path in self.teacher] or None,
        }
