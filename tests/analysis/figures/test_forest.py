"""Effects: each point and its interval at its place."""

import numpy as np
import pytest

from analysis.figures import Effect, colours, forest
from tests.analysis.figures.layout import LONG, boxes, outside, overlapping

EFFECTS = [Effect("a = 1", -2.0, -3.0, -0.5, 4, "70.0 %"), Effect("a = 2", 0.0, number=2, note="72.0 %")]


def test_a_point_stands_at_its_value_in_its_look_with_its_interval():
    axes = forest.__wrapped__(EFFECTS, title="t", xlabel="points").axes[0]
    zero, interval, first, winner = axes.lines
    assert set(zero.get_xdata()) == {0}
    np.testing.assert_array_equal(interval.get_xydata(), [[-3.0, 0], [-0.5, 0]])
    np.testing.assert_array_equal(first.get_xydata(), [[-2.0, 0]])
    np.testing.assert_array_equal(winner.get_xydata(), [[0.0, 1]])
    assert (first.get_color(), first.get_marker()) == tuple(colours.dot(4).values())
    assert (winner.get_color(), winner.get_marker()) == tuple(colours.dot(2).values())
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a = 1", "a = 2"]
    assert axes.get_ylim() == (1.5, -0.5)  # the first one at the top
    assert {"70.0 %", "72.0 %"} <= {text.get_text() for text in axes.texts}


@pytest.mark.parametrize("labels", [("a", "b"), (LONG[:60], "costs $5, $6")])
def test_words_do_not_overlap_and_stay_on_the_page(labels):
    effects = [Effect(label, at, at - 1.0, at + 1.0, at, f"{at} %") for at, label in enumerate(labels)]
    figure = forest.__wrapped__(effects, title=LONG, xlabel=LONG[:90], caption=LONG)
    found = [(name, box) for name, box in boxes(figure) if name != "axes"]
    assert overlapping(found) == []
    assert outside(figure, found) == []


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="no effects"):
        forest([], title="t", xlabel="x")
    with pytest.raises(ValueError, match="'a': the interval has one end"):
        Effect("a", 0.0, -1.0)
