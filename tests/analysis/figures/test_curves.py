"""Curves: what is drawn is what was measured."""

import struct

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from analysis.figures import Curve, curves

VALUES = np.array([[0.1, 0.4, 0.5], [0.3, 0.4, 0.9]])  # means .2 .4 .7; sd √2/10, 0, √8/10
MEAN, SD = np.array([0.2, 0.4, 0.7]), np.sqrt([0.02, 0.0, 0.08])


def drawn(items: list[Curve], **options) -> Axes:
    return curves.__wrapped__(items, title="title", ylabel="accuracy", caption="caption", **options).axes[0]


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_lines_are_means_and_bands_one_standard_deviation_in_percent_where_asked():
    axes = drawn([Curve("a", VALUES)], percent=True)
    [line], [band] = axes.lines, axes.collections
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(line.get_ydata(), 100 * MEAN)
    corners = band.get_paths()[0].vertices
    for epoch, mean, sd in zip((1, 2, 3), 100 * MEAN, 100 * SD, strict=True):
        heights = corners[corners[:, 0] == epoch, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [mean - sd, mean + sd])


def test_one_replicate_has_no_band():
    assert not drawn([Curve("a", VALUES[:1])]).collections


def test_what_is_not_finite_is_a_gap_even_in_one_replicate():
    values = VALUES.copy()
    values[0, 1], values[1, 2] = np.nan, np.inf
    np.testing.assert_allclose(drawn([Curve("a", values)]).lines[0].get_ydata(), [0.2, np.nan, np.nan])


def test_a_curve_that_stopped_early_is_dashed_ends_in_a_marker_and_says_so():
    axes = drawn([Curve("a", VALUES), Curve("b", VALUES[:, :2], censored=True)])
    whole, early, end = axes.lines
    assert (whole.get_linestyle(), early.get_linestyle()) == ("-", "--")
    np.testing.assert_allclose(end.get_xydata(), [[2, 0.4]])
    assert end.get_marker() == "X"
    assert words(axes) == ["a", "b (stopped early)"]


def test_published_points_are_open_in_their_curves_colour_and_named_once():
    axes = drawn([Curve("a", VALUES), Curve("b", VALUES)], percent=True, reference=[("b", 5, 0.6), ("else", 4, 0.5)])
    _, b, point, other = axes.lines
    np.testing.assert_allclose(point.get_xydata(), [[5, 60]])
    assert (point.get_color(), point.get_marker(), point.get_markerfacecolor()) == (
        b.get_color(),
        b.get_marker(),
        "none",
    )
    assert other.get_color() not in {line.get_color() for line in axes.lines[:2]}
    assert words(axes) == ["a", "b", "published best"]
    assert axes.get_xlim() == (0.5, 5.5)


def test_many_curves_stay_apart_in_colour_and_in_gray():
    lines = drawn([Curve(str(number), VALUES) for number in range(24)]).lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 24
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 24
    assert "--" not in {line.get_linestyle() for line in lines}


@pytest.mark.parametrize("epochs", [1, 3, 20, 37, 100])
def test_epoch_ticks_are_whole_numbers(epochs: int):
    ticks = np.asarray(drawn([Curve("a", np.zeros((1, epochs)))]).get_xticks())
    np.testing.assert_array_equal(ticks, ticks.round())


def test_the_same_input_gives_the_same_bytes_and_names_no_program_or_date():
    items = [Curve("costs $5, $6", VALUES), Curve("b", np.full((2, 2), np.nan), censored=True)]
    one, other = (
        curves(items, title="t $", ylabel="y", percent=True, caption="c", reference=[("b", 2, 0.3)]) for _ in range(2)
    )
    assert one == other
    assert one.startswith(b"\x89PNG")
    assert struct.unpack(">II", one[16:24]) == (930, 480)
    assert not any(chunk in one for chunk in (b"tEXt", b"iTXt", b"tIME"))


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no curves"):
        curves([], title="t", ylabel="y")
    with pytest.raises(ValueError, match=r"'a' has the shape \(3,\)"):
        Curve("a", np.zeros(3))


def test_a_pair_is_solid_and_dashed_in_one_colour_and_the_names_are_in_the_legend():
    items = [Curve("a", VALUES, beside=VALUES + 0.1), Curve("b", VALUES[:, :2], censored=True, beside=VALUES[:, :2])]
    axes = drawn(items, pair=("validation", "train"), head="depth")
    a, a_train, b, b_train, end = axes.lines
    assert [line.get_linestyle() for line in (a, a_train, b, b_train)] == ["-", "--", "-", "--"]
    assert (a.get_color(), b.get_color()) == (a_train.get_color(), b_train.get_color())
    np.testing.assert_allclose(a_train.get_ydata(), MEAN + 0.1)
    assert end.get_marker() == "X"
    assert words(axes) == ["a", "b (stopped early)", "validation", "train"]
    assert axes.get_legend().get_title().get_text() == "depth"


def test_a_curve_keeps_its_look_whatever_stands_beside_it():
    alone = drawn([Curve("a", VALUES, number=5)]).lines[0]
    beside = drawn([Curve("b", VALUES, number=0), Curve("a", VALUES, number=5)]).lines[1]
    assert (alone.get_color(), alone.get_marker()) == (beside.get_color(), beside.get_marker())
    assert alone.get_color() == drawn([Curve(str(at), VALUES) for at in range(6)]).lines[5].get_color()


def test_a_second_metric_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\), but beside it is one of \(2, 2\)"):
        Curve("a", VALUES, beside=VALUES[:, :2])


def test_behind_the_curves_others_are_shaded_by_how_many_are_where():
    others = np.array([[0.2, 0.8], [0.2, np.nan], [0.2, np.inf], [0.8, np.nan]])
    axes = drawn([Curve("a", VALUES)], others=others, percent=True)
    [shaded] = [each for each in axes.collections if isinstance(each, QuadMesh)]
    shades = shaded.get_array()
    heights = shaded.get_coordinates()[:, 0, 1]
    at = [int(np.searchsorted(heights, score, "right")) - 1 for score in (20, 79.9)]
    assert [(shades[at[0], 0], shades[at[1], 0]), shades[at[1], 1]] == [
        (pytest.approx(0.55), pytest.approx(0.08 + 0.47 / 3**0.5)),  # three are here, of all the most, and one there
        pytest.approx(0.08 + 0.47 / 3**0.5),
    ]
    assert int((~np.ma.getmaskarray(shades)).sum()) == 3  # else nobody is anywhere
    np.testing.assert_array_equal(shaded.get_coordinates()[0, :, 0], [0.5, 1.5, 2.5])
    assert words(axes) == ["a", "4 others: the darker, the more"]


def test_others_of_which_nothing_is_finite_are_not_shaded():
    axes = drawn([Curve("a", VALUES[:1])], others=np.full((2, 3), np.nan))
    assert (list(axes.collections), words(axes)) == ([], ["a"])
