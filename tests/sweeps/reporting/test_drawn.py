from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from sweeps.reporting import drawn
from sweeps.reporting.drawn import LIST, Drawn


@dataclass(frozen=True)
class Point:
    x: float
    y: object = None


def draw(*_, **__):
    return b""


def other(*_, **__):
    return b""


CALLS = (
    partial(draw, 1),
    partial(other, 1),
    partial(draw, "1"),
    partial(draw, 1.0),
    partial(draw, [1, 2]),
    partial(draw, [1], 2),
    partial(draw, [[1], 2]),
    partial(draw, title=1),
    partial(draw, name=1),
    partial(draw, Point(1)),
    partial(draw, Point(1, Point(2))),
    partial(draw, np.array([1.0, 2.0])),
    partial(draw, np.array([1, 2])),
    partial(draw, np.array([[1.0, 2.0]])),
    partial(draw, np.array([2.0, 1.0])),
)


@pytest.mark.parametrize("at", range(len(CALLS)))
def test_a_figure_is_known_by_all_that_it_shows(tmp_path, at):
    file = tmp_path / "a.png"
    file.write_bytes(b"png")
    Drawn(tmp_path).note("a", CALLS[at], [file])
    assert [Drawn(tmp_path).has("a", call, [file]) for call in CALLS] == [at == each for each in range(len(CALLS))]
    assert not Drawn(tmp_path).has("b", CALLS[at], [file])


def test_what_is_drawn_by_other_code_is_drawn_again(tmp_path, monkeypatch):
    file = tmp_path / "a.png"
    file.write_bytes(b"png")
    Drawn(tmp_path).note("a", CALLS[0], [file])
    monkeypatch.setattr(drawn, "_code", lambda: b"another version")
    assert not Drawn(tmp_path).has("a", CALLS[0], [file])


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": 1}', b'{"a": {"shows": 1}}'])
def test_a_list_that_makes_no_sense_is_none(tmp_path, content):
    (tmp_path / LIST).write_bytes(content)
    assert not Drawn(tmp_path).has("a", CALLS[0], [])
