"""The figures of a report, each drawn again only where what it shows has changed, by whichever command drew it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from pathlib import Path

from analysis.page import Picture
from sweeps.reporting.drawn import Drawn
from trainables.files import write_whole


class Album:
    """A folder of figures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures: dict[str, Picture] = {}  # by the file's name without its ending
        self._shown: dict[str, Hashable] = {}  # likewise, what the picture shows
        self._drawn = Drawn(folder)  # by this command or one before

    def add(
        self, name: str, caption: str, shows: Hashable, draw: Callable[[], partial[bytes]], *, vector: bool = True
    ) -> Picture:
        """Have a figure that `shows` this in the folder, as PNG and, of lines and words, as SVG; return the smaller.

        `draw` returns the call of a function of analysis/figures. It is not asked where the picture is there. Raises
        OSError.
        """
        png, svg = (self.folder / f"{name}.{end}" for end in ("png", "svg"))
        files = [png, svg] if vector else [png]
        if self._shown.get(name, draw) != shows or not png.exists():
            call = draw()
            if not self._drawn.has(name, call, files):
                _draw(call, files)
                self._drawn.note(name, call, files)
            self._shown[name] = shows
        smaller = svg if vector and svg.stat().st_size < png.stat().st_size else png
        self.pictures[name] = Picture(smaller, caption)
        return self.pictures[name]


def _draw(call: partial[bytes], files: Sequence[Path]) -> None:
    from analysis import figures  # imports Matplotlib, which a plan does not need

    for file in files:
        write_whole(file, figures.svg(call) if file.suffix == ".svg" else call())
