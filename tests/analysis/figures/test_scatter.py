"""Scatter plots: points, scale and the names of classes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures import scatter
from analysis.figures.page import FULL, HALF
from analysis.figures.scatter import apart
from tests.analysis.figures.layout import LONG, boxes, outside, overlapping


def clouds(plots: list, names: list[str], **options) -> Figure:
    return scatter.__wrapped__(plots, class_names=names, **{"title": "t", "caption": "c"} | options)


def test_scatter_draws_each_class_to_one_scale_and_names_it_at_its_median():
    points = np.array([[0, 0], [2, 0], [1, 3], [50, 20], [52, 20], [51, 23], [np.nan, 1]], dtype=np.float32)
    figure = clouds([("one $", points, np.array([0, 0, 0, 2, 2, 2, 2]))], ["cat", "dog", "ship $"])
    [axes] = figure.axes
    drawn = [collection.get_offsets() for collection in axes.collections]
    np.testing.assert_allclose(np.concatenate(drawn), points[:6])
    assert [text.get_text() for text in axes.texts] == ["cat", r"ship \$"]
    np.testing.assert_allclose([text.get_position() for text in axes.texts], [(2, 0), (51, 20)], atol=1.5)
    assert axes.get_aspect() == 1
    np.testing.assert_allclose(np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim()))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cat", r"ship \$"]
    assert axes.get_title(loc="left") == r"one \$"
    assert not len(axes.get_xticks())


def test_names_of_classes_in_one_place_are_drawn_apart():
    rng = np.random.default_rng(0)
    points, classes = rng.normal(size=(2000, 2)), rng.permutation(np.arange(2000) % 20)
    plots = [("same place", points, classes), (LONG[:120], points * 0, classes)]
    figure = clouds(plots, [f"class {i} $" for i in range(20)], title=LONG[:150], caption=LONG)
    found = boxes(figure)
    assert not outside(figure, found)
    assert not [pair for pair in overlapping(found) if pair[1] != "axes"]


@pytest.mark.parametrize(("plots", "width"), [(1, HALF), (2, FULL), (3, FULL)])
def test_two_plots_lie_side_by_side_and_further_ones_below(plots: int, width: float):
    points, classes = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 10
    figure = clouds([(f"model {n}", points, classes) for n in range(plots)], [f"class {n}" for n in range(10)])
    assert width - 0.3 < figure.get_size_inches()[0] <= width + 1e-9
    found = boxes(figure)
    assert not outside(figure, found)
    assert not [pair for pair in overlapping(found) if pair[1] != "axes"]


def test_boxes_move_up_and_down_by_half_of_what_they_share():
    sizes = np.array([[1.0, 0.5], [1.0, 0.5], [1.0, 0.5]])
    centres = np.array(
        [[0.0, 0.1], [0.5, -0.1], [1.2, 0.1]]
    )  # the first two share 0.3, the last touches only the second
    np.testing.assert_allclose(apart(centres[:2], sizes[:2], 3), [[0, 0.25], [0.5, -0.25]])
    np.testing.assert_allclose(apart(centres[[0, 2]], sizes[:2], 3), centres[[0, 2]])  # side by side
    moved = apart(centres, sizes, 3)
    assert (moved[0, 1] - moved[1, 1], moved[2, 1] - moved[1, 1]) >= (0.5 - 1e-9, 0.5 - 1e-9)
    np.testing.assert_array_equal(moved[:, 0], centres[:, 0])


def test_boxes_stay_within_reach():
    np.testing.assert_allclose(apart(np.array([[2.0, -9.0]]), np.array([[1.0, 0.5]]), 2), [[1.5, -1.75]])
    np.testing.assert_allclose(apart(np.array([[2.0, 0.0]]), np.array([[9.0, 0.5]]), 2), [[0, 0]])  # too wide to fit


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: clouds([], []), "no plots"),
        (lambda: clouds([("p", np.zeros((2, 3)), np.zeros(2, int))], ["a"]), r"'p' has points \(2, 3\)"),
        (lambda: clouds([("p", np.zeros((2, 2)), np.array([0, 1]))], ["a"]), "'p' has classes beyond"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("classes", "named"), [(40, True), (41, False)])
def test_more_classes_than_there_is_room_for_are_not_named(classes: int, named: bool):
    points = np.random.default_rng(0).normal(size=(classes, 2))
    figure = clouds([("model", points, np.arange(classes))], [f"class {n}" for n in range(classes)])
    [axes] = figure.axes
    assert len(axes.collections) == classes
    assert len(axes.texts) == (classes if named else 0)
    assert (axes.get_legend() is not None) is named
    said = [text.get_text() for text in figure.texts]
    assert any("The 41 classes are too many to be named." in text for text in said) is not named
