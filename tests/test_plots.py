"""The figures: nothing in them is cut or printed over another thing, whatever the names are."""

import warnings

import cv2
import numpy as np
import pytest

from evaluation import plots
from evaluation.metrics import reliability

LONG = ("adolescent or younger (minor)", "fully grown adult of age 18+", "a_long_word_without_any_space")


@pytest.fixture()
def figures(monkeypatch):
    """The figures that are drawn."""
    drawn, png = [], plots._png
    monkeypatch.setattr(plots, "_png", lambda figure: (drawn.append(figure), png(figure))[1])
    return drawn


def extents(texts) -> list[np.ndarray]:
    """Where texts stand: x1, y1, x2, y2 in pixels."""
    return [text.get_window_extent().extents for text in texts]


def is_whole(figure, texts) -> bool:
    """Whether all of some texts lies in the figure."""
    wide, high = figure.get_size_inches() * figure.dpi
    return all(x1 >= 0 and y1 >= 0 and x2 <= wide and y2 <= high for x1, y1, x2, y2 in extents(texts))


def share_nothing(boxes) -> bool:
    """Whether no box lies on its neighbour to the right."""
    return all(first[2] < second[0] for first, second in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize("names", [LONG[:2], LONG, (*LONG, *LONG, "old"), ("F", "M"), ("子供", "$x$ <b>")])
def test_names_of_groups_stand_apart_and_are_whole(names, figures):
    true = np.arange(60) % len(names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of letters that the font lacks
        plots.draw_confusion(true, true[::-1], names, "age group")
    axis = figures[0].axes[0]
    below, beside = axis.get_xticklabels(), axis.get_yticklabels()
    assert is_whole(figures[0], [*below, *beside, axis.xaxis.label, axis.yaxis.label])
    assert below[0].get_rotation() or share_nothing(extents(below))
    assert axis.get_window_extent().width >= 0.5 * figures[0].get_size_inches()[0] * figures[0].dpi


@pytest.mark.parametrize("count", [2, 5])
def test_names_of_checkpoints_stand_apart_and_are_whole(count, figures):
    names = [f"checkpoints_2026/utkface_wide_resnet_lr0.1_batch32_seed_{n}/age_gender.hdf5" for n in range(count)]
    ages = np.arange(101)
    plots.draw_separation([(f"{name}\nMAE 4.50", ages, np.eye(101)) for name in names])
    titles = [axis.title for axis in figures[0].axes][:count]
    assert is_whole(figures[0], titles) and share_nothing(extents(titles[:4]))
    assert [title.get_text().replace("\n", "") for title in titles] == [f"{name}MAE 4.50" for name in names]


@pytest.mark.parametrize("decades", [1, 2, 3, 10])
def test_the_title_of_an_axis_is_whole_for_few_decades(decades, figures):
    plots.draw_mean_distributions(np.arange(decades) * 10, np.full((decades, 101), 1 / 101))
    axis = figures[0].axes[0]
    assert is_whole(figures[0], [axis.xaxis.label, axis.yaxis.label])


def test_ages_are_counted_from_0_up_and_none_is_drawn_where_none_is_known(figures):
    age, gender = np.array([24.5, 40, -1]), np.array([0, 1, 1])
    assert plots.draw_ages(age, gender, np.arange(0)) and len(figures) == 1
    assert all(axis.get_ylim()[0] == 0 for axis in figures[0].axes)
    assert plots.draw_ages(np.array([-1, 116, -1]), gender, np.arange(3)) is None


def test_no_reliability_is_drawn_of_bins_that_say_nothing():
    gender, p_male = np.arange(40) % 2, np.full(40, 0.6)
    few, many = (reliability(gender[:count], p_male[:count]) for count in (plots.LEAST_IN_BIN - 1, 40))
    assert plots.draw_reliability({"calibrated": few}) is None and plots.draw_reliability({}) is None
    assert plots.draw_reliability({"calibrated": few, "the network's own": many})


@pytest.mark.parametrize("count", [1, 9])
def test_a_grid_says_what_its_colours_mean_in_letters_of_any_script(count, monkeypatch):
    written, put = [], cv2.putText
    monkeypatch.setattr(
        cv2, "putText", lambda image, text, *how: (written.append((text, how[0])), put(image, text, *how))
    )
    wrong = np.arange(count) == 0
    faces = np.zeros((count, 20, 20, 3), np.uint8)
    png = plots.draw_samples(faces, ["über 18, M"] * count, ["大人\udcff, F"] * count, wrong)
    assert written[0][0] == "above: true, below: predicted (red: wrong gender)" and written[0][1][0] >= 0
    assert written[1][0] == "über 18, M" and written[2][0] == "大人?, F"  # what is no letter would crash OpenCV 5
    assert cv2.imdecode(np.frombuffer(png, np.uint8), 1).shape[1] >= 3 * (plots.TILE + plots.GAP)
    written.clear()
    plots.draw_samples(faces, ["1, M"] * count, ["2, M"] * count, ~wrong & wrong)
    assert written[0][0] == "above: true, below: predicted"
