"""Strips: points where their values are, medians, marks and words."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures import strips
from tests.analysis.figures.layout import LONG, boxes, outside, overlapping


def drawn(rows: dict, **options) -> Figure:
    return strips.__wrapped__(rows, **{"title": "t", "caption": "c", "xlabel": "x"} | options)


def test_points_are_at_their_values_in_their_row_and_gaps_are_left_out():
    axes = drawn({"a": np.array([3.0, 1.0, np.nan, 2.0]), "b $": np.array([5.0]), "none": np.array([np.inf])}).axes[0]
    first, second, third = (points.get_offsets() for points in axes.collections)
    assert first[:, 0].tolist() == [1, 2, 3]
    assert (np.abs(first[:, 1]) <= 0.3).all()
    assert len(set(first[:, 1].tolist())) == 3  # apart
    assert second[:, 0].tolist() == [5]
    assert abs(second[0, 1] - 1) <= 0.3
    assert len(third) == 0
    medians = [line.get_xdata()[0] for line in axes.lines]
    assert medians == [2, 5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", r"b \$", "none"]


def test_marks_are_told_apart_and_named():
    axes = drawn({"a": np.arange(4.0)}, marks={"one": 1.5, "two": 9.0}).axes[0]
    lines = axes.lines[1:]
    assert [line.get_xdata()[0] for line in lines] == [1.5, 9.0]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    assert axes.get_xlim()[1] > 9
    assert drawn({"a": np.arange(4.0)}).axes[0].get_legend() is None


@pytest.mark.parametrize("number", [1, 9])
def test_words_do_not_overlap(number: int):
    rows = {f"row {i} with a name of some length": np.linspace(0, 1000, 300) for i in range(number)}
    marks = {f"mark {i} with a name": 100.0 * i for i in range(5)}
    figure = drawn(rows, title=LONG[:150], caption=LONG, xlabel=LONG[:200], marks=marks)
    found = boxes(figure)
    assert not overlapping(found)
    assert not outside(figure, found)


def test_no_row_is_refused():
    with pytest.raises(ValueError, match="no strips to draw"):
        drawn({})
