"""Lines: what is drawn is what was measured, and words have room."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures import lines
from analysis.figures.page import FULL, HALF
from tests.analysis.figures.layout import LONG, boxes, outside, overlapping

VALUES = np.array([[0.1, 0.4, 0.5], [0.3, 0.4, 0.9]])  # means .2 .4 .7; sd √2/10, 0, √8/10


def drawn(plots: list, x: list, **options) -> Figure:
    return lines.__wrapped__(plots, x, **{"title": "t", "caption": "c", "xlabel": "x", "ylabel": "y"} | options)


def test_lines_are_means_in_bands_of_one_standard_deviation():
    first, second, _ = drawn([("one", {"a": VALUES}), ("two", {"a": VALUES[:1]})], [0, 0.5, 2]).axes
    np.testing.assert_allclose(first.lines[0].get_xydata(), [[0, 0.2], [0.5, 0.4], [2, 0.7]])
    [band] = first.collections
    corners = band.get_paths()[0].vertices
    np.testing.assert_allclose(corners[corners[:, 0] == 2, 1].max(), 0.7 + 0.08**0.5)
    assert not second.collections
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[0] == 0
    assert first.get_ylim()[1] > 0.7 + 0.08**0.5


def test_words_are_ticks_and_what_is_not_finite_is_a_gap():
    values = np.array([[1.0, np.nan, -0.2]])
    [axes, _] = drawn([("", {"a": values, "b": values[:, ::-1]})], ["none", "fc2", "conv1 $"]).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "fc2", r"conv1 \$"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, np.nan, -0.2])
    assert axes.get_ylim()[0] < -0.2


LAYERS = [f"layer{number}.{number % 2}" for number in range(12)]


@pytest.mark.parametrize("plots", [1, 2])
@pytest.mark.parametrize("words", [LAYERS, np.linspace(0, 1, 21).tolist()])
def test_words_do_not_overlap(plots: int, words: list):
    rng = np.random.default_rng(0)
    values = {f"an order with a long name {number}": rng.random((3, len(words))) for number in range(4)}
    figure = drawn(
        [(f"plot {number} with a name", values) for number in range(plots)],
        words,
        title=LONG[:150],
        caption=LONG,
        xlabel="random from the logits down to here",
        ylabel=LONG[:90],
    )
    found = boxes(figure)
    assert not overlapping([(name, box) for name, box in found if not name.startswith("layer")])
    assert not outside(figure, found)


@pytest.mark.parametrize(("plots", "width"), [(1, HALF), (2, FULL), (3, FULL)])
def test_one_plot_is_half_a_page_and_several_are_one(plots: int, width: float):
    figure = drawn([(f"plot {number}", {"a": VALUES}) for number in range(plots)], [0, 0.5, 2])
    assert figure.get_size_inches()[0] == pytest.approx(width)


def test_the_same_input_gives_the_same_bytes():
    one, other = (
        lines([("p", {"a": VALUES})], [1, 2, 3], title="t", caption="c", xlabel="x", ylabel="y") for _ in range(2)
    )
    assert one == other
    assert one.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("plots", "message"),
    [
        ([], "no lines"),
        ([("p", {})], "no lines"),
        ([("p", {"a": VALUES}), ("q", {"b": VALUES})], r"plot 'q' has the lines \['b'\], but must have \['a'\]"),
        ([("p", {"a": VALUES[:, :2]})], r"'a' has the shape \(2, 2\), but must have \(replicates, 3\)"),
    ],
)
def test_what_does_not_match_is_refused(plots: list, message: str):
    with pytest.raises(ValueError, match=message):
        drawn(plots, [1, 2, 3])
