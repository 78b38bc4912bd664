"""Matrices: numbers, colours and words in their cells."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures import matrix
from tests.analysis.figures.layout import LONG, boxes, outside, overlapping

MAP = np.linspace(-1, 3, 16).reshape(4, 4)


def table(values: np.ndarray, **options) -> Figure:
    labels = {
        "row_labels": [f"r{i}" for i in range(len(values))],
        "column_labels": [f"c{i}" for i in range(values.shape[1])],
    }
    return matrix.__wrapped__(values, **labels | {"title": "t", "caption": "c", "xlabel": "x", "ylabel": "y"} | options)


def strings(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_matrix_writes_a_number_into_each_finite_cell():
    values = np.array([[0.5, 0.25, 0.25], [0.0, np.nan, 1.0]])
    figure = table(values, percent=True, emphasise_rows=True)
    words = {
        text.get_position(): (text.get_text(), text.get_fontweight(), text.get_color()) for text in figure.axes[0].texts
    }
    assert words == {
        (0.5, 0.5): ("50.0", "bold", "black"),
        (1.5, 0.5): ("25.0", "normal", "black"),
        (2.5, 0.5): ("25.0", "normal", "black"),
        (0.5, 1.5): ("0.0", "normal", "black"),
        (2.5, 1.5): ("100.0", "bold", "white"),
    }
    [mesh] = figure.axes[0].collections
    np.testing.assert_allclose(mesh.get_array().filled(-1), [[50, 25, 25], [0, -1, 100]])
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0, 100)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["r0", "r1"]


def test_a_matrix_counts_in_whole_numbers_measures_in_three_digits_or_says_what_it_is_told():
    assert strings(table(np.array([[1200, 3]]))) == ["1,200", "3"]
    assert strings(table(np.array([[0.12345, 3]]))) == ["0.123", "3"]
    assert strings(table(np.array([[1.0, np.inf]]), text=[["$1", "never"]])) == [r"\$1"]
    assert {text.get_fontweight() for text in table(np.zeros((2, 2)), emphasise_rows=True).axes[0].texts} == {"normal"}


@pytest.mark.parametrize("percent", [False, True])
def test_of_very_many_cells_the_colours_alone_are_drawn_and_their_scale_is_told(percent: bool):
    values = np.eye(300) / 2
    values[0, 5] = np.nan
    figure = table(values, xlabel="predicted", ylabel="true", percent=percent)
    assert max(figure.get_size_inches()) < 11  # as large as a page, however many there are
    [axes] = figure.axes
    [mesh] = axes.collections
    most = 50 if percent else 0.5
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0, most)
    assert np.array_equal(mesh.get_array().filled(-1), np.where(np.isnan(values), -1, values * (100 if percent else 1)))
    assert strings(figure) == []
    assert not axes.get_xticklabels()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    said = " ".join(figure.texts[1].get_text().split())
    assert said == f"c 300 × 300 cells: white is 0, the darkest blue {most}{' %' if percent else ''}."
    assert len(strings(table(np.ones((40, 100))))) == 4000
    assert strings(table(np.ones((4001, 1)))) == []


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (10, 10), (64, 10), (3, 20)])
def test_words_of_a_matrix_do_not_overlap(rows: int, cols: int):
    labels = {
        "row_labels": [f"conv2 filter {row}" for row in range(rows)],
        "xlabel": "a long label of x",
        "ylabel": "a long label of y",
    }
    figure = table(
        np.full((rows, cols), 0.123),
        title=LONG[:150],
        caption=LONG,
        percent=True,
        column_labels=["tv"] * cols,
        **labels,
    )
    found = boxes(figure)
    assert not [pair for pair in overlapping(found) if pair != ("12.3", "axes")]
    assert not outside(figure, found)
    slanted = table(np.full((rows, cols), 0.1), title="t", caption=LONG, column_labels=["pottedplant"] * cols)
    found = boxes(slanted)
    words = [(name, box) for name, box in found if name != "pottedplant"]
    assert not [pair for pair in overlapping(words) if pair != ("0.1", "axes")]
    assert not outside(slanted, found)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: table(np.zeros((0, 3))), r"shape \(0, 3\)"),
        (lambda: table(MAP, row_labels=["a"]), "1 row labels, but must be 4"),
        (lambda: table(MAP, text=[["a"]]), r"the text has rows of \[1\] cells"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()
