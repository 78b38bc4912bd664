"""Points and steps: what is drawn is what was given."""

import numpy as np
import pytest

from analysis.figures import points
from tests.analysis.figures.layout import LONG, boxes, outside, overlapping

ONE, OTHER = np.array([[1.0, 50.0], [10.0, 60.0]]), np.array([[5.0, 40.0], [6.0, np.nan]])
SAID = {"title": "t", "xlabel": "trial", "ylabel": "score, %"}


def test_the_first_group_is_filled_and_the_others_are_open():
    axes = points.__wrapped__({"full": ONE, "stopped": OTHER}, **SAID).axes[0]
    full, stopped = axes.lines
    np.testing.assert_array_equal(full.get_xydata(), ONE)
    np.testing.assert_array_equal(stopped.get_xydata(), OTHER[:1])  # what is not finite is left out
    assert full.get_markerfacecolor() == full.get_color()
    assert stopped.get_markerfacecolor() == "none"
    assert axes.get_xscale() == "linear"


def test_steps_hold_each_height_up_to_the_next():
    axes = points.__wrapped__({"full": ONE}, steps=("best", ONE), log=True, **SAID).axes[0]
    line = axes.lines[-1]
    assert (line.get_drawstyle(), axes.get_xscale()) == ("steps-post", "log")
    np.testing.assert_array_equal(line.get_xydata(), ONE)


def test_words_do_not_overlap_and_stay_on_the_page():
    figure = points.__wrapped__(
        {"full": ONE, LONG[:40]: OTHER}, steps=("$5", ONE), title=LONG, xlabel=LONG[:90], ylabel=LONG[:40], caption=LONG
    )
    found = [(name, box) for name, box in boxes(figure) if name != "axes"]
    assert overlapping(found) == []
    assert outside(figure, found) == []


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no points"):
        points({"a": np.empty((0, 2))}, **SAID)
