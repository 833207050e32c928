"""The picture of a run: losses, age error and gender accuracy by epoch."""

from pathlib import Path

from age_gender.files import replacing

TRAINING_COLOUR, VALIDATION_COLOUR = "#808080", "#3b6ea5"


def save_training_curve(rows: list[dict], path: Path) -> None:
    """Losses, age error and gender accuracy by epoch, training and validation; rows as Journal keeps them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), dpi=110, layout="constrained")
    axes = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in rows]
    panels = (
        ("loss", "loss", 1),
        ("pred_age_mae", "age error (years)", 1),
        ("pred_gender_accuracy", "gender accuracy (%)", 100),
    )
    for axis, (name, title, scale) in zip(axes, panels, strict=True):
        for prefix, label, colour in (("", "training", TRAINING_COLOUR), ("val_", "validation", VALIDATION_COLOUR)):
            values = [row[prefix + name] * scale for row in rows]
            axis.plot(epochs, values, color=colour, label=label, marker="o" if len(rows) < 3 else None)
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
