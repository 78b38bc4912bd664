"""Pictures side by side: pixels, places, scale and words."""

import time

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures import Panel, Shades, in_rows, panels
from analysis.figures.page import FULL
from tests.analysis.figures.layout import LONG, boxes, outside, overlapping

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLOUR = np.full((4, 4, 3), 200, np.uint8)
MAP = np.linspace(-1, 3, 16).reshape(4, 4)


def grid(rows: list, **options) -> Figure:
    return panels.__wrapped__(rows, **{"title": "t", "caption": "c"} | options)


def test_pictures_keep_their_shape_pixels_and_places():
    [axes] = grid([[Panel(GRAY), None, Panel(COLOUR)], [Panel(GRAY[..., None]), Panel(MAP)]], panel_inches=1).axes
    gray, colour, channel, values = axes.images
    np.testing.assert_array_equal(gray.get_array(), GRAY)
    np.testing.assert_array_equal(channel.get_array(), GRAY)
    np.testing.assert_array_equal(colour.get_array(), COLOUR)
    np.testing.assert_array_equal(values.get_array(), MAP)
    assert (gray.norm.vmin, gray.norm.vmax, gray.get_cmap().name) == (0, 255, "gray")
    assert {image.get_interpolation() for image in axes.images} == {"nearest"}
    left, right, bottom, top = gray.get_extent()
    np.testing.assert_allclose([right - left, top - bottom], [1, 0.75])
    assert colour.get_extent()[0] > 2  # a gap of one picture lies between
    assert channel.get_extent()[3] < bottom
    np.testing.assert_allclose(channel.get_extent()[:2], (left, right))


def test_all_maps_and_overlays_share_one_scale():
    holes = MAP.copy()
    holes[0, 0] = np.nan
    figure = grid([[Panel(holes), Panel(COLOUR, overlay=10 * MAP)]], colour_label="gain, $")
    values, _, overlay = figure.axes[0].images
    assert values.norm is overlay.norm
    assert (values.norm.vmin, values.norm.vmax) == (-10, 30)
    assert overlay.get_extent() == figure.axes[0].images[1].get_extent()
    assert values.get_cmap()(np.ma.masked_invalid([np.nan])).tolist() == [[0.75, 0.75, 0.75, 1]]
    assert overlay.get_cmap()(np.ma.masked_invalid([np.nan]))[0, 3] == 0
    assert figure.axes[1].get_xlim() == (-10, 30)
    assert figure.axes[1].get_title(loc="left") == r"gain, \$"


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        (MAP, {"colormap": "RdBu_r"}, (-3, 3)),
        (MAP, {"colormap": "coolwarm", "limits": (0, 1)}, (0, 1)),
        (MAP, {}, (-1, 3)),
        (np.full((2, 2), np.nan), {}, (-1, 1)),
        (np.full((2, 2), 4.0), {}, (0, 8)),
        (np.array([[1.0, np.inf]], np.float32), {}, (0, 2)),
        (np.zeros((2, 2), np.float16), {"colormap": "RdBu_r"}, (-1, 1)),
    ],
)
def test_the_scale_is_that_of_the_finite_values_or_as_asked_for(values, options, expected):
    norm = grid([[Panel(values)]], colour_label="x", **options).axes[0].images[0].norm
    assert (norm.vmin, norm.vmax) == expected


def test_panels_with_shades_of_their_own_have_a_scale_and_a_bar_of_their_own():
    drop = Shades("magma_r", (0, 5), "drop")
    rows = [[Panel(MAP), Panel(MAP, shades=drop), Panel(2 * MAP, shades=Shades("magma_r", (0, 5), "drop"))]]
    axes, bar, other = grid(rows, colormap="autumn", limits=(0, 1), colour_label="p").axes
    own, first, second = axes.images
    assert [image.get_cmap().name for image in axes.images] == ["autumn", "magma_r", "magma_r"]
    assert (own.norm.vmax, first.norm.vmax) == (1, 5)
    assert first.norm is second.norm
    assert [each.get_title(loc="left") for each in (bar, other)] == ["p", "drop"]
    assert bar.get_position().x1 < other.get_position().x0


@pytest.mark.parametrize(("columns", "inches"), [(4, 1.1), (9, 1.1), (16, 0.4), (12, 2.0)])
def test_a_grid_is_no_wider_than_a_page(columns: int, inches: float):
    figure = grid([[Panel(COLOUR, "cat")] * columns], row_labels=["a row"], panel_inches=inches)
    assert figure.get_size_inches()[0] <= FULL + 1e-9


def test_a_grid_is_wider_than_a_page_only_where_a_word_needs_it():
    rows = [[Panel(COLOUR, "hippopotamus 1")] * 12]
    figure = grid(rows)
    assert figure.get_size_inches()[0] > FULL
    assert {text.get_text() for text in figure.axes[0].texts} == {"hippopotamus\n1"}


def test_a_box_is_drawn_at_its_pixels_and_cut_off_at_the_edge():
    [axes] = grid([[Panel(COLOUR, box=(1, 0, 3, 2)), Panel(COLOUR, box=(-5, 2, 2, 9))]], panel_inches=1).axes
    for image, patch, expected in zip(
        axes.images, axes.patches[1::2], [(0.25, 0.5, 0.75, 1), (0, 0, 0.5, 0.5)], strict=True
    ):
        left, _, bottom, _ = image.get_extent()
        box = patch.get_bbox()
        np.testing.assert_allclose(
            [box.x0 - left, box.y0 - bottom, box.x1 - left, box.y1 - bottom], expected, atol=1e-9
        )


def test_right_and_wrong_are_marked_in_words_and_colour():
    [axes] = grid(
        [[Panel(COLOUR, "cat", flag="right"), Panel(COLOUR, "dog $", flag="wrong"), Panel(COLOUR, "$1")]]
    ).axes
    assert [text.get_text() for text in axes.texts] == ["✓ cat", r"✗ dog \$", r"\$1"]
    assert len({text.get_color() for text in axes.texts}) == 3


@pytest.mark.parametrize(("height", "width", "inches"), [(1, 1, 1.1), (2, 3, 0.7), (10, 20, 1.1), (16, 16, 0.3)])
def test_words_and_pictures_of_a_grid_do_not_overlap(height: int, width: int, inches: float):
    title = "automobile 98 %, which is wrong\nis a truck" if inches > 1 else "7 $"
    tile = Panel(MAP[:3, :3], title, flag="wrong")
    rows = [[tile if (row + column + 1) % 5 else Panel(GRAY) for column in range(width)] for row in range(height)]
    labels = {
        "row_labels": [f"row {row} of this figure with a long name" for row in range(height)],
        "colour_label": LONG[:120],
    }
    figure = grid(
        rows,
        title=LONG[:150],
        caption=LONG,
        column_labels=[f"c {i}" for i in range(width)],
        panel_inches=inches,
        **labels,
    )
    found = boxes(figure)
    assert sum(name == "picture" for name, _ in found) == height * width
    assert not overlapping(found)
    assert not outside(figure, found)


def test_two_hundred_pictures_are_drawn_in_seconds():
    start = time.process_time()
    panels([[Panel(COLOUR, "cat", flag="right", overlay=MAP)] * 20] * 10, title="t", caption="c")
    assert time.process_time() - start < 10  # 2 s where nothing else runs


def test_items_are_put_in_rows_the_last_of_which_may_be_short():
    assert in_rows([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert in_rows([1, 2], 2) == [[1, 2]]
    assert in_rows([], 2) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Panel(np.zeros((2, 2, 2), np.uint8), "p"), r"'p': the image is \(2, 2, 2\) uint8"),
        (lambda: Panel(np.zeros((2, 2), np.int64)), r"the image is \(2, 2\) int64"),
        (lambda: Panel(np.zeros((2, 2, 3))), r"the image is \(2, 2, 3\) float64"),
        (lambda: Panel(np.zeros((0, 2))), r"the image is \(0, 2\)"),
        (lambda: Panel(GRAY, overlay=GRAY), r"the overlay is \(3, 4\) uint8"),
        (lambda: Panel(GRAY, box=(2, 0, 1, 1)), r"the box \(2, 0, 1, 1\)"),
        (lambda: Panel(GRAY, flag="maybe"), "the flag is 'maybe'"),
        (lambda: grid([]), "no panels"),
        (lambda: grid([[None]]), "no panels"),
        (lambda: grid([[Panel(GRAY)], []]), "no panels"),
        (lambda: grid([[Panel(GRAY)]], row_labels=["a", "b"]), "2 row labels, but must be 1"),
        (lambda: grid([[Panel(GRAY)]], column_labels=["a", "b"]), "2 column labels, but must be 1"),
        (lambda: grid([[Panel(GRAY)]], colour_label="x"), "'x' has nothing to measure"),
        (lambda: grid([[Panel(MAP)]], limits=(1, 1)), r"limits \(1, 1\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()
