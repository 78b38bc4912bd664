"""What the folder offers, and that it repeats to the bit."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from analysis import figures
from analysis.figures import Panel, bars, matrix, panels, scatter
from analysis.figures.page import HALF
from analysis.figures.text import DPI

COLOUR = np.full((4, 4, 3), 200, np.uint8)
MAP = np.linspace(-1, 3, 16).reshape(4, 4)


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


def test_all_that_is_offered_is_there_and_pyplot_is_not():
    assert all(callable(getattr(figures, name)) for name in figures.__all__)
    code = "import sys, analysis.figures; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_picture_states_how_large_it_is_on_paper():
    png = bars(["a"], {"a": np.ones(1)}, title="t", caption="", ylabel="y")
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.width / HALF == pytest.approx(DPI, rel=0.01)
        assert picture.info["dpi"][0] == pytest.approx(DPI, rel=0.001)
