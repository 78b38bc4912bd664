"""Words on a figure: how much room they take, in inches, and how they are broken into lines."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

DPI = 150
SMALL, NOTE, TITLE = 7, 8, 10  # font sizes in points
LEADING = 1.3  # the height of a line, in font sizes
DESCENT = 0.032  # inches below the line that a small text stands on, so that "cat" stands as high as "ship"

_WORD = re.compile(r"\S+(?: %\S*)?")  # a percentage stays whole
_RULER = RendererAgg(1, 1, DPI)


def plain(text: str) -> str:
    """Return text that is drawn as it stands: a dollar starts no formula."""
    return text.replace("$", r"\$")


def write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Write a small text, centred on a point unless `look` says otherwise."""
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL, "linespacing": 1.1}
    axes.text(x, y, plain(text), **(style | look))


def wrap(text: str, room: float, size: float, bold: bool = False) -> str:
    """Return text in lines no wider than `room` inches.

    Its own line ends stay; a word too long for a line is broken.
    """
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in _WORD.findall(paragraph):
            if line and width(f"{line} {word}", size, bold) > room:
                lines.append(line)
                line = ""
            line = f"{line} {word}" if line else word
            while len(line) > 1 and width(line, size, bold) > room:
                cut = next((end for end in range(len(line) - 1, 1, -1) if width(line[:end], size, bold) <= room), 1)
                lines.append(line[:cut])
                line = line[cut:]
        lines.append(line)
    return "\n".join(lines)


@functools.lru_cache(maxsize=10_000)
def width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of drawn text in inches, that of its longest line."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    lines = [_RULER.get_text_width_height_descent(line, font, ismath=False)[0] for line in text.splitlines()]
    return max(lines, default=0.0) / DPI


def height(text: str, size: float) -> float:
    """Return inches enough for the lines of a text."""
    return len(text.splitlines()) * LEADING * size / 72


def widest(texts: Iterable[str], size: float, bold: bool = False) -> float:
    """Return the width of the widest text in inches, 0 where there is none."""
    return max((width(text, size, bold) for text in texts), default=0.0)


def tallest(texts: Iterable[str], size: float) -> float:
    """Return inches enough for the text of most lines, 0 where there is none."""
    return max((height(text, size) for text in texts), default=0.0)
