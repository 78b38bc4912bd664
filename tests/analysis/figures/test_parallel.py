"""Parallel coordinates: where values stand on their axes, and which line is on top."""

import numpy as np
import pytest

from analysis.figures import Coordinate, parallel
from tests.analysis.figures.layout import boxes, outside


def test_numbers_stand_by_their_size_and_steep_ones_by_their_logarithm():
    np.testing.assert_allclose(Coordinate("n", [1, 3, 2]).places, [0, 1, 0.5])
    np.testing.assert_allclose(Coordinate("lr", [0.001, 0.1, 0.01]).places, [0, 1, 0.5])
    np.testing.assert_allclose(Coordinate("d", [0.0, 0.5, 0.25]).places, [0, 1, 0.5])  # 0 has no logarithm


def test_words_stand_at_equal_distances_and_what_is_missing_nowhere():
    axis = Coordinate("pooling", ["max", None, "average", "none"])
    np.testing.assert_allclose(axis.places, [0.5, np.nan, 0.0, 1.0])
    assert axis.ticks == [(0.0, "average"), (0.5, "max"), (1.0, "none")]
    assert Coordinate("same", ["a", "a"]).places.tolist() == [0, 0]
    assert np.isnan(Coordinate("none", [None]).places).all()


def test_an_axis_is_labelled_at_both_ends_and_not_too_often():
    ticks = Coordinate("x", [0.0, 0.01, 0.02, 0.5, 0.99, 1.0]).ticks
    assert ticks == [(0.0, "0"), (0.5, "0.5"), (1.0, "1")]


def test_the_best_line_is_drawn_last_and_each_through_its_places():
    axes = [Coordinate("a", [1, 2, 3]), Coordinate("b", [3, None, 1])]
    plot = parallel.__wrapped__(axes, np.array([0.9, 0.1, 0.5]), title="t", colour_label="score, %").axes[0]
    worst, middle, best = (line for line in plot.lines if list(line.get_xdata()) == [0, 1] and line.get_alpha())
    np.testing.assert_allclose(best.get_ydata(), [0, 1])
    np.testing.assert_allclose(middle.get_ydata(), [1, 0])
    np.testing.assert_allclose(worst.get_ydata(), [0.5, np.nan])
    assert sum(best.get_color()[:3]) < sum(worst.get_color()[:3])  # the better the darker


def test_what_is_drawn_stays_on_the_page():
    axes = [Coordinate("a long name of a field $", ["16-32-64-128", "8-8"])] * 13
    figure = parallel.__wrapped__(axes, np.array([1.0, 2.0]), title="t", colour_label="validation accuracy, %")
    assert outside(figure, boxes(figure)) == []


def test_what_does_not_match_is_refused():
    with pytest.raises(ValueError, match="'a' has 1 values, but there are 2 lines"):
        parallel([Coordinate("a", [1])], np.zeros(2), title="t", colour_label="c")
    with pytest.raises(ValueError, match="nothing to draw"):
        parallel([], np.zeros(2), title="t", colour_label="c")
