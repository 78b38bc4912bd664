"""Pages: room by the inch, legends and slanting labels."""

import numpy as np
import pytest
from matplotlib.lines import Line2D

from analysis.figures.page import (
    FULL,
    GAP,
    HALF,
    MARGIN,
    NARROWEST,
    WIDEST,
    check_labels,
    in_lines,
    legend,
    legend_size,
    page,
    slant,
    tick_words,
)
from analysis.figures.text import LEADING, NOTE, SMALL, TITLE, height, widest


def inches(figure, axes):
    return axes.get_position().bounds * np.tile(figure.get_size_inches(), 2)


def test_axes_lie_in_the_room_above_the_caption_and_below_the_title():
    figure, place = page(6, 3, "title", "caption")
    foot = 2 * MARGIN + LEADING * NOTE / 72
    np.testing.assert_allclose(figure.get_size_inches(), [6 + 2 * MARGIN, foot + 3 + 2 * MARGIN + LEADING * TITLE / 72])
    np.testing.assert_allclose(inches(figure, place(1, 0.5, 2, 1.5)), [MARGIN + 1, foot + 0.5, 2, 1.5])
    assert [text.get_text() for text in figure.texts] == ["title", "caption"]


def test_a_page_is_wide_enough_for_words_and_wastes_nothing_on_an_empty_caption():
    figure, place = page(1, 3, "title", "")
    np.testing.assert_allclose(
        figure.get_size_inches(), [NARROWEST + 2 * MARGIN, 3 + 3 * MARGIN + LEADING * TITLE / 72]
    )
    np.testing.assert_allclose(inches(figure, place(0, 0, 1, 1))[:2], MARGIN)


def test_two_narrow_pages_lie_side_by_side_on_one_of_full_width():
    figure, _ = page(1, 3, "title", "")
    assert figure.get_size_inches()[0] == pytest.approx(HALF)
    assert 2 * HALF <= FULL == pytest.approx(WIDEST + 2 * MARGIN)
    assert FULL <= (210 - 2 * 12) / 25.4  # A4, with margins of 12 mm


def test_a_legend_has_as_many_columns_as_fit():
    names = ["one", "two", "three"]
    each = widest(names, NOTE) + 0.5
    assert legend_size(names, 2.5 * each) == (pytest.approx(2 * 0.165 + MARGIN), 2)
    assert legend_size(names, 9 * each) == (pytest.approx(0.165 + MARGIN), 3)
    assert legend_size(names, 0.1) == (pytest.approx(3 * 0.165 + MARGIN), 1)


@pytest.mark.parametrize("below", [True, False])
def test_a_legend_lies_outside_of_its_axes(below: bool):
    figure, place = page(5, 3, "", "")
    axes = place(0, 1, 5, 1)
    legend(axes, [Line2D([], [], label="one")], 1, below)
    figure.draw_without_rendering()
    box, frame = axes.get_legend().get_window_extent(), axes.get_window_extent()
    assert box.y1 <= frame.y0 + 1 if below else box.y0 >= frame.y1 - 1


def test_labels_go_into_lines_where_their_words_fit():
    room = widest(["longer"], SMALL) + GAP + 1e-9
    assert in_lines(["a longer one", "b"], room) == ["a\nlonger\none", "b"]
    assert in_lines(["a longer one two", "b"], room) == ["a longer one two", "b"]  # four lines
    assert in_lines(["a longest one", "b"], room) == ["a longest one", "b"]  # a word that would be broken


def test_labels_slant_only_where_they_do_not_fit():
    labels = ["short", "longer one"]
    room = widest(labels, SMALL) + GAP
    assert slant(labels, room + 1e-9) == (False, height("x", SMALL) + GAP, 0)
    slanted, away, sideways = slant(labels, room - 1e-3)
    assert slanted
    assert (away, sideways) == pytest.approx(((room - GAP) * 0.71 + 0.15, (room - GAP) * 0.71 + GAP))  # 45°: √½
    assert tick_words(False, "left") == {"fontsize": SMALL}
    assert tick_words(True, "left") == {"fontsize": SMALL, "rotation": 45, "ha": "left", "rotation_mode": "anchor"}


def test_labels_are_counted():
    check_labels("row labels", ["a"], 1)
    with pytest.raises(ValueError, match="there are 1 row labels, but must be 2"):
        check_labels("row labels", ["a"], 2)
