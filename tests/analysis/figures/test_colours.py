"""What tells things apart, and scales."""

import itertools

import numpy as np
import pytest

from analysis.figures.colours import CLASSES, COLOURS, LINES, MARKERS, dot, fill, finite, line, scale

# What is left of linear red, green and blue where one kind of cones is missing. Machado, Oliveira and Fernandes, "A
# physiologically-based model for simulation of color vision deficiency", IEEE TVCG 2009, severity 1.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
# OKLab: https://bottosson.github.io/posts/oklab/
CONES = [
    [0.41222147, 0.53633254, 0.05144599],
    [0.21190350, 0.68069955, 0.10739696],
    [0.08830246, 0.28171884, 0.62997870],
]
LAB = [
    [0.21045426, 0.79361779, -0.00407205],
    [1.97799850, -2.42859221, 0.45059371],
    [0.02590404, 0.78277177, -0.80867577],
]


def linear(colour: str) -> np.ndarray:
    """Return linear red, green and blue of a colour like #f54204."""
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def oklab(colour: str, vision: str = "normal") -> np.ndarray:
    seen = np.clip(np.array(VISIONS[vision]) @ linear(colour), 0, 1)
    return np.array(LAB) @ np.cbrt(np.array(CONES) @ seen)


def least(colours: tuple[str, ...], vision: str) -> float:
    """Return the distance of those two that are most alike."""
    return min(
        float(np.linalg.norm(oklab(one, vision) - oklab(other, vision)))
        for one, other in itertools.combinations(colours, 2)
    )


def test_the_measure_of_colours_is_that_of_its_author():
    np.testing.assert_allclose(oklab("#ffffff"), [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(oklab("#ff0000"), [0.628, 0.225, 0.126], atol=1e-3)


@pytest.mark.parametrize("vision", VISIONS)
def test_ten_classes_are_told_apart_by_their_colours_with_any_colour_vision(vision: str):
    assert len(set(CLASSES)) == 10
    assert least(CLASSES, vision) > 0.14
    assert least((*COLOURS, "#000000", "#0072B2"), vision) < 0.14  # such as came again after eight


@pytest.mark.parametrize("colour", CLASSES)
def test_the_colours_of_classes_are_seen_on_white(colour: str):
    assert 1.05 / (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05) > 1.9


def test_points_come_again_only_after_all_pairs_of_colour_and_marker():
    looks = [(dot(number)["color"], dot(number)["marker"]) for number in range(71)]
    assert len(set(looks)) == 70
    assert looks[0] == looks[70] == (CLASSES[0], MARKERS[0])


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
