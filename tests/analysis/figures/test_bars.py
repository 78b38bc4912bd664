"""Bars: heights, errors, order and words."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures import bars
from analysis.figures.page import FULL, HALF
from tests.analysis.figures.layout import LONG, boxes, outside, overlapping


def columns(labels: list[str], series: dict, **options) -> Figure:
    return bars.__wrapped__(labels, series, **{"title": "t", "caption": "c", "ylabel": "y"} | options)


def test_bars_are_as_high_as_their_values_and_gaps_stay_gaps():
    series = {"a": np.array([0.1, np.nan, 0.3]), "b $": np.array([0.2, -0.1, np.inf])}
    axes = columns(["x", "y", "z $"], series, percent=True, errors={"b $": np.array([0.01, 0.02, np.nan])}).axes[0]
    first, second = [
        [patch.get_height() for patch in container] for container in axes.containers if hasattr(container, "patches")
    ]
    np.testing.assert_allclose(first, [10, np.nan, 30])
    np.testing.assert_allclose(second, [20, -10, np.nan])
    [bar] = [container for container in axes.containers if hasattr(container, "has_yerr")]
    segments = bar.lines[2][0].get_segments()
    np.testing.assert_allclose([segment[:, 1] for segment in segments[:2]], [[19, 21], [-12, -8]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", r"z \$"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", r"b \$"]
    assert len({patch.get_hatch() for patch in axes.get_legend().get_patches()}) == 2
    assert axes.get_ylim()[0] < -10


def test_bars_are_sorted_by_the_first_series_the_unknown_last():
    series = {"a": np.array([1, np.nan, 3]), "b": np.array([7, 8, 9])}
    axes = columns(["x", "y", "z"], series, sort=True).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["z", "x", "y"]
    assert [patch.get_height() for patch in axes.containers[1]] == [9, 7, 8]
    assert columns(["x"], {"a": np.array([np.nan])}).axes[0].get_legend() is None


def test_a_band_shows_what_chance_makes_to_either_side():
    axes = columns(["x", "y"], {"a": np.array([0.1, -0.3])}, percent=True, band=0.2).axes[0]
    [band] = [patch for patch in axes.patches if patch.get_width() == 1 and patch.get_height() == 40]
    assert band.get_y() == -20
    assert band.get_zorder() < min(patch.get_zorder() for patch in axes.containers[0])
    assert len(columns(["x", "y"], {"a": np.array([0.1, -0.3])}).axes[0].patches) == 2


@pytest.mark.parametrize(("number", "series"), [(1, 1), (10, 3), (64, 1), (64, 8)])
def test_words_of_bars_do_not_overlap(number: int, series: int):
    values = {f"series {i} with a name": np.linspace(-1000, 2000, number) for i in range(series)}
    figure = columns(
        [f"conv2 filter {i}" for i in range(number)], values, title=LONG[:150], caption=LONG, ylabel=LONG[:150]
    )
    found = boxes(figure)
    assert not overlapping([(name, box) for name, box in found if not name.startswith("conv2")])
    assert not outside(figure, found)
    ticks = [box for name, box in found if name.startswith("conv2")]
    assert len(ticks) == number
    assert min(box.y0 for box in ticks) > max(
        box.y1 for name, box in found if name.startswith("a caption") and box.y0 < 100
    )


@pytest.mark.parametrize(("number", "series", "width"), [(2, 4, HALF), (10, 2, HALF), (20, 3, FULL), (80, 1, 11)])
def test_bars_are_as_wide_as_half_a_page_or_a_page_or_what_their_labels_need(number, series, width):
    values = {f"s{i}": np.ones(number) for i in range(series)}
    figure = columns([str(i) for i in range(number)], values)
    assert figure.get_size_inches()[0] == pytest.approx(width, abs=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: columns([], {}), "no bars"),
        (lambda: columns(["a"], {"s": np.zeros(2)}), r"'s' has the shape \(2,\), but there are 1 labels"),
        (lambda: columns(["a"], {"s": np.zeros(1)}, errors={"t": np.zeros(1)}), r"errors of \['t'\]"),
        (lambda: columns(["a"], {"s": np.zeros(1)}, errors={"s": -np.ones(1)}), "below 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()
