from functools import partial

from analysis import figures
from sweeps.reporting.album import Album, _draw
from sweeps.reporting.drawn import LIST


def test_a_figure_is_drawn_once_as_long_as_it_shows_the_same(tmp_path):
    album, asked = Album(tmp_path), []

    def draw():
        asked.append(1)
        return partial(figures.forest, [figures.Effect("a", 1.0)], title="t", xlabel="x")

    first = album.add("effects", "caption", ("a", 1), draw)
    assert album.add("effects", "another", ("a", 1), draw).caption == "another"
    assert len(asked) == 1
    album.add("effects", "caption", ("a", 2), draw)
    assert len(asked) == 2
    (tmp_path / "effects.png").unlink()
    album.add("effects", "caption", ("a", 2), draw)
    assert len(asked) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"effects.png", "effects.svg", LIST}
    smaller = min(tmp_path.glob("effects.*"), key=lambda path: path.stat().st_size)
    assert first.file == album.pictures["effects"].file == smaller


def test_a_picture_of_pixels_is_a_png_alone(tmp_path):
    call = partial(figures.forest, [figures.Effect("a", 1.0)], title="t", xlabel="x")
    picture = Album(tmp_path).add("samples", "caption", 1, lambda: call, vector=False)
    assert picture.file == tmp_path / "samples.png"
    assert {path.name for path in tmp_path.iterdir()} == {"samples.png", LIST}


def test_another_command_draws_only_what_shows_something_else_or_is_not_whole(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("sweeps.reporting.album._draw", lambda call, files: drawn.append(call) or _draw(call, files))

    def add(value=1.0):
        call = partial(figures.forest, [figures.Effect("a", value)], title="t", xlabel="x")
        return Album(tmp_path).add("effects", "caption", value, lambda: call).file.read_bytes()

    first = add()
    assert add() == first
    assert len(drawn) == 1
    assert add(2.0) != first
    assert len(drawn) == 2
    for name in ("effects.png", "effects.svg", LIST):  # damaged
        (tmp_path / name).write_bytes(b"{")
        add(2.0)
    assert len(drawn) == 5
    (tmp_path / "effects.svg").unlink()
    add(2.0)
    assert len(drawn) == 6
