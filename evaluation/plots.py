"""Every figure. Matplotlib is imported when one is made, and never opens a window."""

import math
import textwrap
import warnings
from io import BytesIO

import cv2
import numpy as np

from age_gender.captions import drawable
from age_gender.labels import DECADES, FEMALE, GENDERS, MALE, NUM_AGES, UNKNOWN, decade_of
from evaluation.metrics import Estimate, Reliability

FEMALE_COLOUR, MALE_COLOUR, GREY, BLACK = "#c0504d", "#3b6ea5", "#808080", "#000000"
LEAST_IN_BIN = 10  # faces, of a bin that is drawn
LETTER = 0.085  # inches that a letter is wide, more or less
NAME, TITLE = 16, 40  # letters in a line of the name of an age group, and of a checkpoint
TILE, LINE, GAP = 120, 18, 8  # of a grid of faces, in pixels: a face's side, a line of text, and what is between


def _figure(rows: int, columns: int, width: float, height: float):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _axis(width: float = 6.4, height: float = 4.4, grid: bool = True):
    axis = _figure(1, 1, width, height)[1][0][0]
    if grid:
        axis.grid(alpha=0.3)
    return axis


def _plain(text: str) -> str:
    """A text that Matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def _wrapped(text: str, letters: int) -> str:
    """A text in lines of at most so many letters."""
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))


def _png(figure) -> bytes:
    buffer = BytesIO()
    with warnings.catch_warnings():  # a name in letters that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def draw_ages(age: np.ndarray, gender: np.ndarray, kept: np.ndarray) -> bytes | None:
    """Histograms of ages by gender, before and after cleaning, as a PNG; None where no age is on the axis.

    Args:
        age, gender: (n,) years and genders of all records, -1 unknown; ages beyond the axis are left out.
        kept: (k,) places of those that are kept.
    """
    if not ((age >= 0) & (age < NUM_AGES)).any():
        return None
    figure, axes = _figure(1, 2, width=11, height=3.6)
    bins = np.arange(0, NUM_AGES + 1) - 0.5
    kinds = [(0, GENDERS[0], FEMALE_COLOUR), (1, GENDERS[1], MALE_COLOUR), (UNKNOWN, "unknown", GREY)]
    numbers, names, colours = zip(*(kind for kind in kinds if (gender == kind[0]).any()), strict=True)
    for axis, rows, title in zip(axes[0], (slice(None), kept), ("before", "after cleaning"), strict=True):
        years, known = age[rows], (age[rows] >= 0) & (age[rows] < NUM_AGES)
        chosen = [years[known & (gender[rows] == number)] for number in numbers]
        axis.hist(chosen, bins, stacked=True, histtype="stepfilled", color=colours, label=names)
        axis.set(title=title, xlabel="age (years)", xlim=(-1, NUM_AGES))
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0][0].set(ylabel="records")
    axes[0][1].legend()
    return _png(figure)


def draw_face_scores(scores: np.ndarray, least: float) -> bytes:
    """Histogram of a detector's face scores, (n,) floats, and the least that is kept, as a PNG."""
    axis = _axis(height=3.2)
    axis.hist(scores[np.isfinite(scores)], 80, histtype="stepfilled", color=MALE_COLOUR)
    axis.axvline(least, color=FEMALE_COLOUR, label=f"kept from {least:g} on")
    axis.set(xlabel="face score", ylabel="records")
    axis.legend()
    return _png(axis.figure)


def draw_true_against_expected(age: np.ndarray, predicted: np.ndarray, gender: np.ndarray) -> bytes:
    """Each face's expected age over its true age, (n,) years each, coloured by true gender, as a PNG."""
    axis = _axis(width=5.6, height=5.4)
    years = (0, NUM_AGES - 1)
    axis.plot(years, years, color=GREY, linewidth=1, label="no error")
    size = float(np.clip(4000 / max(len(age), 1), 2, 16))
    for kind, colour in ((FEMALE, FEMALE_COLOUR), (MALE, MALE_COLOUR), (UNKNOWN, GREY)):
        if not (chosen := gender == kind).any():
            continue
        name = GENDERS[kind] if kind != UNKNOWN else "unknown"
        look = {"s": size, "alpha": 0.5, "color": colour, "linewidths": 0, "label": name}
        axis.scatter(age[chosen], predicted[chosen], **look)
    axis.set(xlabel="true age (years)", ylabel="expected age (years)", xlim=years, ylim=years, aspect="equal")
    axis.legend(loc="upper left", markerscale=5 / size**0.5)  # dots as large for any number of faces
    return _png(axis.figure)


def draw_by_band(bands: list[tuple[str, int, Estimate]], overall: float, what: str, aim: float | None = None) -> bytes:
    """A statistic of each age band with its interval, as a PNG.

    Args:
        bands: name, number of faces and estimate of each.
        overall: the statistic of all faces.
        what: it is, with its unit.
        aim: what it should be.
    """
    axis = _axis(height=4.2, grid=False)
    values = np.array([estimate.value for *_, estimate in bands])
    reach = np.array([[estimate.low, estimate.high] for *_, estimate in bands]).T
    axis.bar(range(len(bands)), values, color=MALE_COLOUR, alpha=0.8)
    axis.errorbar(range(len(bands)), values, np.abs(reach - values), fmt="none", ecolor="black", capsize=3)
    axis.axhline(overall, color=GREY, linestyle="--", label=f"all faces: {overall:.3g}")
    if aim is not None:
        axis.axhline(aim, color=FEMALE_COLOUR, label=f"asked for: {aim:g}")
    axis.set_xticks(range(len(bands)), [f"{name}\nn = {count}" for name, count, _ in bands], fontsize=8)
    axis.set(xlabel="true age (years)", ylabel=what)
    axis.legend()
    return _png(axis.figure)


def draw_cs_curve(curve: list[Estimate]) -> bytes:
    """CS@0, CS@1, ... (shares) with their intervals and the trivial answer's, as a PNG."""
    axis = _axis(height=4.0)
    value, low, high, trivial = (100 * np.array(column) for column in zip(*curve, strict=True))
    axis.plot(trivial, color=GREY, linestyle="--", label="one answer for all")
    axis.fill_between(range(len(curve)), low, high, color=MALE_COLOUR, alpha=0.25, linewidth=0)
    axis.plot(value, color=MALE_COLOUR, label="expected age")
    axis.set(xlabel="within k years", ylabel="CS@k (%)", xlim=(0, len(curve) - 1), ylim=(0, 100))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend()
    return _png(axis.figure)


def draw_roc(women: np.ndarray, men: np.ndarray, area: Estimate) -> bytes:
    """Shares of women and of men that are called male at each threshold, and the area below, as a PNG."""
    axis = _axis(width=4.8, height=4.6)
    axis.plot([0, 100], [0, 100], color=GREY, linewidth=1)
    label, ends = f"area {area.value:.3f}", (-2, 102)
    if not math.isnan(area.low):
        label += f" ({area.low:.3f}-{area.high:.3f})"
    axis.plot(100 * women, 100 * men, color=MALE_COLOUR, label=label)
    axis.set(xlabel="women called male (%)", ylabel="men called male (%)", xlim=ends, ylim=ends, aspect="equal")
    axis.legend(loc="lower right")
    return _png(axis.figure)


def draw_reliability(bins: dict[str, Reliability]) -> bytes | None:
    """Share of men over the mean probability of male, of each bin of each of some probabilities, as a PNG.

    Bins of fewer than LEAST_IN_BIN faces say nothing, and are left out; None where all are.
    """
    if not any((found.count >= LEAST_IN_BIN).any() for found in bins.values()):
        return None
    axis = _axis(width=4.8, height=4.6)
    axis.plot([0, 100], [0, 100], color=GREY, linewidth=1, label="as said")
    for (name, found), colour in zip(bins.items(), (MALE_COLOUR, FEMALE_COLOUR), strict=False):
        filled = found.count >= LEAST_IN_BIN
        if not filled.any():
            continue
        size = 6 + 90 * found.count[filled] / found.count.max()
        axis.plot(100 * found.said[filled], 100 * found.true[filled], color=colour, linewidth=1)
        label = f"{name}: off by {100 * found.error:.1f} points"
        axis.scatter(100 * found.said[filled], 100 * found.true[filled], s=size, color=colour, label=label)
    axis.set(xlabel="probability of male (%)", ylabel="are male (%)", xlim=(-3, 103), ylim=(-3, 103), aspect="equal")
    axis.legend(fontsize=8)
    return _png(axis.figure)


def draw_confusion(true: np.ndarray, predicted: np.ndarray, names: tuple[str, ...], what: str) -> bytes:
    """True against predicted classes, (n,) indices each into `names`: counts and shares of each true class, a PNG."""
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (true, predicted), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.0, 0.75 * len(names))
    labels = [_plain(_wrapped(name, NAME)) for name in names]
    longest = LETTER * max(len(line) for label in labels for line in label.split("\n"))  # inches
    turned = longest > 0.8 * side / len(names)
    axis = _axis(width=side + 0.2 + longest, height=side + 0.7 * turned * longest, grid=False)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        count = counts[row, column]
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{count}\n{shares[row, column]:.1%}"
        axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=10 if len(names) < 4 else 8)
    turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    axis.set_xticks(range(len(names)), labels, **turn)
    axis.set_yticks(range(len(names)), labels)
    axis.set(xlabel=f"predicted {what}", ylabel=f"true {what}")
    return _png(axis.figure)


def draw_mean_distributions(age: np.ndarray, probabilities: np.ndarray) -> bytes:
    """The mean predicted age distribution of each true decade, one above the other and each as high as the others:
    (n,) years, (n, 101) -> a PNG."""
    decade = decade_of(age)
    there = [index for index in range(len(DECADES)) if (decade == index).any()]
    means = {index: probabilities[decade == index].mean(0) for index in there}
    axis = _axis(height=max(2.8, 1.2 + 0.5 * len(there)), grid=False)  # as high as the axis's title
    for row, index in enumerate(there):
        low, high = DECADES[index]
        axis.fill_between([low - 0.5, high + 0.5], row, row + 0.9, color=FEMALE_COLOUR, alpha=0.2, linewidth=0)
        height = 0.9 * means[index] / means[index].max()
        axis.fill_between(range(NUM_AGES), row, row + height, color=MALE_COLOUR, linewidth=0)
    names = ["{}-{}\nn = {}".format(*DECADES[index], (decade == index).sum()) for index in there]
    axis.set_yticks([row + 0.4 for row in range(len(there))], names, fontsize=8)
    axis.tick_params(axis="y", length=0)
    axis.set(xlabel="predicted age (years)", ylabel="true age (years), shaded", xlim=(0, NUM_AGES - 1))
    axis.set_ylim(0, len(there))
    axis.grid(axis="x", alpha=0.3)
    return _png(axis.figure)


def draw_separation(panels: list[tuple[str, np.ndarray, np.ndarray]], columns: int = 4) -> bytes:
    """How the ages separate from one checkpoint to the next: the mean distribution of each true age, as a PNG.

    Args:
        panels: name, true ages (n,) and distributions (n, 101) of each checkpoint, in the order of training.
        columns: panels in a row.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    titles = [_wrapped(name, TITLE) for name, *_ in panels]
    lines = max(title.count("\n") for title in titles)
    figure, axes = _figure(rows, columns, width=3.1 * columns + 0.6, height=(3.3 + 0.15 * lines) * rows + 0.4)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, title, (_, age, probabilities) in zip(axes.flat, titles, panels, strict=False):
        means = np.full((NUM_AGES, NUM_AGES), np.nan)
        for year in np.unique(age):
            means[year] = probabilities[age == year].mean(0)
        axis.imshow(np.sqrt(means), cmap="viridis", origin="lower", vmin=0, vmax=0.4)  # roots, to see small ones too
        axis.plot([0, NUM_AGES - 1], [0, NUM_AGES - 1], color="white", linewidth=0.5, alpha=0.6)
        axis.set_title(_plain(title), fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("true age (years)")
    for axis in axes.flat[max(0, len(panels) - columns) : len(panels)]:
        axis.set_xlabel("predicted age (years)")
    return _png(figure)


def draw_samples(images: np.ndarray, true: list[str], said: list[str], wrong: np.ndarray, columns: int = 8) -> bytes:
    """A grid of faces, each with what it is above and what was said of it below, as a PNG.

    OpenCV draws it, in a hundredth of the time that Matplotlib takes for as many axes.

    Args:
        images: (n, h, w, 3) uint8, BGR.
        true, said: n texts each.
        wrong: (n,) bool, whose text below is of another colour.
        columns: faces in a row.
    """
    columns = min(columns, len(images))
    height, width = TILE + 2 * LINE + GAP, TILE + GAP
    across = max(columns, 3) * width  # that the line above can be read
    grid = np.full((LINE + -(-len(images) // columns) * height, across, 3), 255, np.uint8)
    _write(grid, "above: true, below: predicted" + " (red: wrong gender)" * bool(wrong.any()), 0, across, GREY)
    for place, (image, above, below, off) in enumerate(zip(images, true, said, wrong, strict=True)):
        top, left = LINE + place // columns * height, place % columns * width
        face = grid[top + LINE :, left + GAP // 2 :][:TILE, :TILE]
        face[:] = cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA)
        cell = grid[top : top + height, left : left + width]
        _write(cell, above, 0, width, BLACK)
        _write(cell, below, LINE + TILE, width, FEMALE_COLOUR if off else MALE_COLOUR)
    return cv2.imencode(".png", grid)[1].tobytes()


def _write(picture: np.ndarray, text: str, top: int, width: int, colour: str) -> None:
    """Writes a line in the middle of a picture, smaller where it is too long: (h, w, 3) uint8 BGR, changed."""
    text = drawable(text)
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    while (across := cv2.getTextSize(text, font, size, 1)[0][0]) > width - 4 and size > 0.2:
        size *= 0.95
    bgr = tuple(int(colour[place : place + 2], 16) for place in (5, 3, 1))
    cv2.putText(picture, text, ((width - across) // 2, top + LINE - 5), font, size, bgr, 1, cv2.LINE_AA)
