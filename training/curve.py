"""The picture of a run: losses, age error and gender accuracy by epoch."""

import math
from itertools import pairwise
from pathlib import Path

from age_gender.files import replacing

TRAINING_COLOUR, VALIDATION_COLOUR, BEST_COLOUR = "#808080", "#3b6ea5", "#c0504d"


def save_training_curve(rows: list[dict], path: Path, best: int, trivial: tuple[float, float]) -> None:
    """Losses, age error and gender accuracy by epoch, training and validation, as a PNG.

    Args:
        rows: as Journal keeps them; where `trained_parameters` changes, a phase of the run begins.
        path: of the PNG.
        best: the epoch of the best checkpoint, 0 where there is none.
        trivial: age error in years and share of right genders of the answer that uses no picture, NaN unknown.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), dpi=110, layout="constrained")
    axes = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in rows]
    panels = (
        ("loss", "loss", 1, math.nan),
        ("pred_age_mae", "age error (years)", 1, trivial[0]),
        ("pred_gender_accuracy", "gender accuracy (%)", 100, trivial[1]),
    )
    trained = "trained_parameters"
    begins = [later["epoch"] for earlier, later in pairwise(rows) if earlier[trained] != later[trained]]
    for axis, (name, title, scale, without_picture) in zip(axes, panels, strict=True):
        for prefix, label, colour in (("", "training", TRAINING_COLOUR), ("val_", "validation", VALIDATION_COLOUR)):
            values = [row[prefix + name] * scale for row in rows]
            axis.plot(epochs, values, color=colour, label=label, marker="o" if len(rows) < 3 else None)
        if not math.isnan(without_picture):
            axis.axhline(scale * without_picture, color=TRAINING_COLOUR, linestyle=":", label="one answer for all")
        if best:
            axis.axvline(best, color=BEST_COLOUR, linewidth=1, label=f"best checkpoint: epoch {best}")
        for place, epoch in enumerate(begins):
            label = "other layers are trained from here" if place == 0 else None
            axis.axvline(epoch - 0.5, color="black", linestyle="--", linewidth=1, label=label)
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.grid(alpha=0.3)
    axes[2 if math.isnan(trivial[0]) else 1].legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
