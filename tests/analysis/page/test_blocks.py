"""What blocks say of themselves: a picture's own size, the depth of a colour."""

import io
from functools import partial

import pytest
from PIL import Image

from analysis import figures
from analysis.page import Beside, Chapter, Folded, Heat, Page, Picture, Words
from analysis.report import Column, Table

TABLE = Table("t", (Column("a"),), ((1,),))


def picture(tmp_path, wide, high):
    Image.new("RGB", (wide, high)).save(tmp_path / "a.png")
    return Picture(tmp_path / "a.png", "c")


def test_a_png_has_its_own_size_at_150_dots_an_inch(tmp_path):
    found = picture(tmp_path, 300, 150)
    assert (found.width, found.height, found.wide) == (192, 96, False)
    assert picture(tmp_path, 1200, 10).wide
    with Image.open(io.BytesIO(found.content)) as image:
        assert image.size == (300, 150)


def test_an_svg_has_the_size_of_its_figure(tmp_path):
    effects = [figures.Effect("a", 0.0), figures.Effect("b", -1.0, -2.0, 0.5)]
    call = partial(figures.forest, effects, title="t", xlabel="x")
    (tmp_path / "a.png").write_bytes(call())
    (tmp_path / "a.svg").write_bytes(figures.svg(call))
    png, svg = (Picture(tmp_path / f"a.{end}", "c") for end in ("png", "svg"))
    assert (svg.width, svg.height) == (pytest.approx(png.width, abs=1), pytest.approx(png.height, abs=1))
    assert svg.data.startswith("data:image/svg+xml;base64,")
    assert figures.svg(call) == svg.content
    assert b"http://www.w3.org/2000/svg" in svg.content
    assert b"<dc:date>" not in svg.content


@pytest.mark.parametrize("content", [b"", b"short", b"\x89PNG"])
def test_a_file_that_does_not_tell_its_size_has_none(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    assert (Picture(tmp_path / "a.png", "c").width, Picture(tmp_path / "a.png", "c").wide) == (None, False)


def test_a_colour_is_as_deep_as_its_value_is_high():
    heat = Heat("t", ("a", "b", "c"), (("r", (20.0, 40.0, 30.0)), ("s", (None, float("nan"), 25.0))))
    assert [heat.depth(value) for value in (20.0, 40.0, 30.0, 25.0, None, float("nan"))] == [0, 100, 50, 25, 0, 0]
    assert [heat.text(value) for value in (20.4, None)] == ["20", "–"]
    assert Heat("t", ("a",), (("r", (7.0,)),)).depth(7.0) == 50


def test_a_page_has_tables_also_where_they_are_folded():
    for block in (TABLE, Folded("f", (TABLE,)), Beside((Words("w"), TABLE))):
        assert Page("t", [Chapter("c", (block,))]).has_tables
    assert not Page("t", [Chapter("c", (Words("w"), Folded("f", (Words("w"),))))]).has_tables
