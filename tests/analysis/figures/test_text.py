"""Words on a figure: their room, and where lines end."""

import pytest

from analysis.figures.text import LEADING, height, plain, tallest, widest, width, wrap


def test_words_are_wrapped_to_a_width_and_keep_their_line_ends():
    text = wrap("costs $5\n\nand anextraordinarilylongwordthatfitsnoline at all", 0.8, 7)
    assert all(width(line, 7) <= 0.8 for line in text.splitlines())
    assert text.startswith("costs $5\n\nand\n")
    assert text.replace("\n", "").replace(" ", "") == "costs$5andanextraordinarilylongwordthatfitsnolineatall"
    assert wrap("", 1, 7) == ""
    assert wrap("within 95 % (of 5 %), say", 0.45, 7).count(" %") == 2  # a number keeps its sign


def test_a_line_ends_only_where_the_next_word_does_not_fit():
    room = width("one two", 8)
    assert wrap("one two three", room, 8) == "one two\nthree"
    assert wrap("one two three", room - 0.001, 8) == "one\ntwo\nthree"


def test_the_width_is_that_of_the_longest_line_in_inches():
    assert width("", 8) == 0
    assert width("wide\nw", 8) == width("wide", 8) == widest(["w", "wide"], 8)
    assert width("wide", 16) == pytest.approx(2 * width("wide", 8), rel=0.05)
    assert width("wide", 8, bold=True) > width("wide", 8)
    assert width("0" * 10, 10) == pytest.approx(10 * 0.636 * 10 / 72, rel=0.03)  # a digit of DejaVu Sans: 0.636 em
    assert widest([], 8) == 0


def test_the_height_is_that_of_all_lines_in_inches():
    assert height("one\ntwo", 36) == pytest.approx(LEADING)
    assert height("", 36) == 0
    assert tallest(["one", "one\ntwo", ""], 36) == pytest.approx(LEADING)
    assert tallest([], 36) == 0


def test_a_dollar_starts_no_formula():
    assert plain("$5 and $6") == r"\$5 and \$6"
