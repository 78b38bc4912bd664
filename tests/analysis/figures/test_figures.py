"""What is drawn is what was measured."""

import struct
import time

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from analysis.figures import Curve, Panel, _width, _wrap, bars, curves, matrix, panels, scatter

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
    assert struct.unpack(">II", one[16:24]) == (1200, 675)
    assert not any(chunk in one for chunk in (b"tEXt", b"iTXt", b"tIME"))


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no curves"):
        curves([], title="t", ylabel="y")
    with pytest.raises(ValueError, match=r"'a' has the shape \(3,\)"):
        Curve("a", np.zeros(3))


# --- grids of pictures, matrices, bars, scatter plots: the figure that becomes the PNG is in reach as `__wrapped__`

GRAY, COLOUR, MAP = (
    np.arange(12, dtype=np.uint8).reshape(3, 4),
    np.full((4, 4, 3), 200, np.uint8),
    np.linspace(-1, 3, 16).reshape(4, 4),
)
LONG = "a caption that costs $5 and $6 and goes on for long enough to need several lines of any page, " * 5


def grid(rows: list, **options) -> Figure:
    return panels.__wrapped__(rows, **{"title": "t", "caption": "c"} | options)


def table(values: np.ndarray, **options) -> Figure:
    labels = {
        "row_labels": [f"r{i}" for i in range(len(values))],
        "column_labels": [f"c{i}" for i in range(values.shape[1])],
    }
    return matrix.__wrapped__(values, **labels | {"title": "t", "caption": "c", "xlabel": "x", "ylabel": "y"} | options)


def columns(labels: list[str], series: dict, **options) -> Figure:
    return bars.__wrapped__(labels, series, **{"title": "t", "caption": "c", "ylabel": "y"} | options)


def clouds(plots: list, names: list[str], **options) -> Figure:
    return scatter.__wrapped__(plots, class_names=names, **{"title": "t", "caption": "c"} | options)


def strings(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Where everything that is drawn ends up, in dots: words, pictures, the insides of axes."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    beyond = set()  # ticks outside of the view keep their words, but are not drawn
    for axes in figure.axes:
        low, high = sorted(axes.get_ylim())
        beyond |= {
            label for label in axes.get_yticklabels() if not (axes.axison and low <= label.get_position()[1] <= high)
        }
    shown = [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in beyond
    ]
    found = [(text.get_text(), text.get_window_extent(renderer)) for text in shown]
    for axes in figure.axes:
        found += [
            ("picture", Bbox(axes.transData.transform(np.reshape(image.get_extent(), (2, 2)).T)))
            for image in axes.images
        ]
        found += [] if axes.images else [("axes", axes.get_window_extent(renderer))]
    return found


def overlapping(found: list[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    """Pairs that share more than a dot in both directions."""
    low, high = (np.array([corner(box) for _, box in found]) for corner in (lambda box: box.min, lambda box: box.max))
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    return [(found[one][0], found[other][0]) for one, other in np.argwhere((shared > 1).all(axis=2)) if one < other]


def outside(figure: Figure, found: list[tuple[str, Bbox]]) -> list[str]:
    page = figure.bbox
    return [name for name, box in found if box.x0 < -1 or box.y0 < -1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1]


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


def test_words_are_wrapped_to_a_width_and_keep_their_line_ends():
    text = _wrap("costs $5\n\nand anextraordinarilylongwordthatfitsnoline at all", 0.8, 7)
    assert all(_width(line, 7) <= 0.8 for line in text.splitlines())
    assert text.startswith("costs $5\n\nand\n")
    assert text.replace("\n", "").replace(" ", "") == "costs$5andanextraordinarilylongwordthatfitsnolineatall"
    assert _wrap("", 1, 7) == ""


def test_two_hundred_pictures_are_drawn_in_seconds():
    start = time.process_time()
    panels([[Panel(COLOUR, "cat", flag="right", overlay=MAP)] * 20] * 10, title="t", caption="c")
    assert time.process_time() - start < 10  # 2 s where nothing else runs


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


def test_scatter_draws_each_class_to_one_scale_and_names_it_at_its_median():
    points = np.array([[0, 0], [2, 0], [1, 3], [50, 20], [52, 20], [51, 23], [np.nan, 1]], dtype=np.float32)
    figure = clouds([("one $", points, np.array([0, 0, 0, 2, 2, 2, 2]))], ["cat", "dog", "ship $"])
    [axes] = figure.axes
    drawn = [collection.get_offsets() for collection in axes.collections]
    np.testing.assert_allclose(np.concatenate(drawn), points[:6])
    assert [text.get_text() for text in axes.texts] == ["cat", r"ship \$"]
    np.testing.assert_allclose([text.get_position() for text in axes.texts], [(2, 0), (51, 20)], atol=1.5)
    assert axes.get_aspect() == 1
    np.testing.assert_allclose(np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim()))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cat", r"ship \$"]
    assert axes.get_title(loc="left") == r"one \$"
    assert not len(axes.get_xticks())


def test_names_of_classes_in_one_place_are_drawn_apart():
    rng = np.random.default_rng(0)
    points, classes = rng.normal(size=(2000, 2)), rng.permutation(np.arange(2000) % 20)
    plots = [("same place", points, classes), (LONG[:120], points * 0, classes)]
    figure = clouds(plots, [f"class {i} $" for i in range(20)], title=LONG[:150], caption=LONG)
    found = boxes(figure)
    assert not outside(figure, found)
    assert not [pair for pair in overlapping(found) if pair[1] != "axes"]


def test_every_picture_is_the_same_bytes_twice():
    points, classes = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 3
    calls = [
        lambda: panels([[Panel(COLOUR, "$", overlay=MAP, box=(0, 0, 2, 2))]], title="$", caption="", colour_label="x"),
        lambda: matrix(MAP, row_labels="abcd", column_labels="efgh", title="$", caption="", xlabel="x", ylabel="y"),
        lambda: bars(["a", "$"], {"a": np.ones(2)}, title="$", caption="c", ylabel="y"),
        lambda: scatter([("a", points, classes)], class_names=["a", "b", "$"], title="$", caption="c"),
    ]
    for call in calls:
        one = call()
        assert one.startswith(b"\x89PNG")
        assert one == call()
        assert not any(chunk in one for chunk in (b"tEXt", b"iTXt", b"tIME"))


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
        (lambda: table(np.zeros((0, 3))), r"shape \(0, 3\)"),
        (lambda: table(MAP, row_labels=["a"]), "1 row labels, but must be 4"),
        (lambda: table(MAP, text=[["a"]]), r"the text has rows of \[1\] cells"),
        (lambda: columns([], {}), "no bars"),
        (lambda: columns(["a"], {"s": np.zeros(2)}), r"'s' has the shape \(2,\), but there are 1 labels"),
        (lambda: columns(["a"], {"s": np.zeros(1)}, errors={"t": np.zeros(1)}), r"errors of \['t'\]"),
        (lambda: columns(["a"], {"s": np.zeros(1)}, errors={"s": -np.ones(1)}), "below 0"),
        (lambda: clouds([], []), "no plots"),
        (lambda: clouds([("p", np.zeros((2, 3)), np.zeros(2, int))], ["a"]), r"'p' has points \(2, 3\)"),
        (lambda: clouds([("p", np.zeros((2, 2)), np.array([0, 1]))], ["a"]), "'p' has classes beyond"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()
