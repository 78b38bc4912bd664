from functools import partial

from analysis import figures
from sweeps.reporting.album import Album


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
    assert {path.name for path in tmp_path.iterdir()} == {"effects.png", "effects.svg"}
    smaller = min(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    assert first.file == album.pictures["effects"].file == smaller


def test_a_picture_of_pixels_is_a_png_alone(tmp_path):
    call = partial(figures.forest, [figures.Effect("a", 1.0)], title="t", xlabel="x")
    picture = Album(tmp_path).add("samples", "caption", 1, lambda: call, vector=False)
    assert picture.file == tmp_path / "samples.png"
    assert [path.name for path in tmp_path.iterdir()] == ["samples.png"]
