"""What tells things apart, and scales."""

import numpy as np
import pytest

from analysis.figures.colours import COLOURS, LINES, MARKERS, dot, fill, finite, line, scale


def test_points_come_again_only_after_all_pairs_of_colour_and_marker():
    looks = [(dot(number)["color"], dot(number)["marker"]) for number in range(57)]
    assert len(set(looks)) == 56
    assert looks[0] == looks[56] == (COLOURS[0], MARKERS[0])


def test_a_curve_changes_its_line_style_when_the_colours_are_used_up():
    assert line(9) == {"color": COLOURS[1], "marker": MARKERS[2], "linestyle": LINES[1]}
    assert line(24)["linestyle"] == LINES[0]
    assert "--" not in LINES


def test_bars_differ_in_colour_and_hatch():
    assert len({(fill(number)["facecolor"], fill(number)["hatch"]) for number in range(8)}) == 8
    assert len({fill(number)["hatch"] for number in range(7)}) == 7


def test_what_is_not_finite_is_unknown():
    np.testing.assert_array_equal(finite(np.array([1.0, np.inf, -np.inf, np.nan])), [1, np.nan, np.nan, np.nan])


@pytest.mark.parametrize(
    ("maps", "options", "ends"),
    [
        ([[-1.0, 3.0], [np.inf, 4.0]], {}, (-1, 4)),
        ([[-5.0, 3.0]], {"symmetric": True}, (-5, 5)),
        ([[-1.0, 3.0]], {"symmetric": True}, (-3, 3)),
        ([[4.0]], {}, (0, 8)),
        ([[-4.0]], {}, (-8, 0)),
        ([[0.0]], {}, (-1, 1)),
        ([[np.nan]], {}, (-1, 1)),
        ([], {}, (-1, 1)),
        ([[-1.0, 3.0]], {"limits": (0.0, 1.0), "symmetric": True}, (0, 1)),
    ],
)
def test_a_scale_spans_the_finite_values_or_the_limits(maps, options, ends):
    found = scale([np.array(values) for values in maps], **{"limits": None} | options)
    assert (found.vmin, found.vmax) == ends


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (0, np.inf), (np.nan, 1)])
def test_limits_that_do_not_rise_are_refused(limits):
    with pytest.raises(ValueError, match="are not two numbers, the lower one first"):
        scale([], limits)
