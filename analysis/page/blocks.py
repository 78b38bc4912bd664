"""What a page is made of. A `Table` (analysis/report.py) is a block too. All text is shown as it stands."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from analysis.report import MISSING, Table

DOTS = 150  # an inch, of a PNG
WIDE = 6.7  # inches from which on a picture has a row for itself
PNG_SIZE = slice(16, 24)  # where a PNG has its width and height
SVG_SIZE = re.compile(rb'<svg [^>]*?width="([0-9.]+)pt" height="([0-9.]+)pt"')


@dataclass(frozen=True)
class Words:
    """A paragraph; `kind`: "lead" for a question, "note" for small print."""

    block: ClassVar[str] = "words"

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading inside a chapter; it stays with what follows."""

    block: ClassVar[str] = "heading"

    text: str


@dataclass(frozen=True)
class Code:
    """Lines to copy."""

    block: ClassVar[str] = "code"

    text: str


@dataclass(frozen=True)
class Picture:
    """A PNG or SVG file and its caption, which is its text for those who do not see it.

    `captioned`: it bears its caption.
    """

    file: Path
    caption: str
    captioned: bool = False

    @cached_property
    def content(self) -> bytes:
        """The file's bytes. Raises OSError."""
        return self.file.read_bytes()

    @property
    def data(self) -> str:
        """The file as the URL of a page that holds it."""
        kind = "svg+xml" if self.file.suffix == ".svg" else "png"
        return f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}"

    @property
    def width(self) -> int | None:
        """Its own width in CSS pixels; None where the file does not tell."""
        return round(96 * self._inches[0]) if self._inches else None

    @property
    def height(self) -> int | None:
        """Its own height in CSS pixels, likewise."""
        return round(96 * self._inches[1]) if self._inches else None

    @property
    def wide(self) -> bool:
        """Whether it has a row for itself."""
        return bool(self._inches and self._inches[0] > WIDE)

    @cached_property
    def _inches(self) -> tuple[float, float] | None:
        if self.file.suffix == ".svg":
            found = SVG_SIZE.search(self.content[:2000])
            return (float(found[1]) / 72, float(found[2]) / 72) if found else None
        head = self.content[PNG_SIZE]
        wide, high = struct.unpack(">II", head) if len(head) == 8 else (0, 0)
        return (wide / DOTS, high / DOTS) if wide else None


@dataclass(frozen=True)
class Pictures:
    """Pictures beside each other where there is room."""

    block: ClassVar[str] = "pictures"

    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Heat:
    """Numbers in a grid, each with its colour: the higher the deeper. None is not known."""

    block: ClassVar[str] = "heat"

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    head: str = ""  # of the row labels

    def text(self, value: float | None) -> str:
        """Return a cell as it is printed."""
        return MISSING if value is None else f"{value:.0f}"

    def depth(self, value: float | None) -> int:
        """Return how deep a cell's colour is, 0 to 100."""
        low, high = self._range
        if value is None or not math.isfinite(value):
            return 0
        return round(100 * (value - low) / (high - low)) if high > low else 50

    @cached_property
    def _range(self) -> tuple[float, float]:
        known = [each for _, row in self.rows for each in row if each is not None and math.isfinite(each)]
        return min(known, default=0.0), max(known, default=0.0)


@dataclass(frozen=True)
class Folded:
    """Blocks that are shown once they are asked for."""

    block: ClassVar[str] = "folded"

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Beside:
    """Blocks beside each other where there is room."""

    block: ClassVar[str] = "beside"

    blocks: tuple[Block, ...]


Block = Words | Heading | Code | Pictures | Heat | Folded | Beside | Table


@dataclass(frozen=True)
class Chapter:
    """A part of the page with a heading of its own; `short` stands for it in the contents."""

    title: str
    blocks: tuple[Block, ...]
    short: str = ""


@dataclass(frozen=True)
class Page:
    """A page: its title, the question that it answers, what is said under it, and its chapters."""

    title: str
    chapters: Sequence[Chapter]
    question: str = ""
    about: Sequence[str] = field(default_factory=tuple)

    @property
    def has_tables(self) -> bool:
        """Whether it needs a legend for tables."""
        return any(_has_table(chapter.blocks) for chapter in self.chapters)


def _has_table(blocks: Sequence[Block]) -> bool:
    return any(
        block.block == "table" or (isinstance(block, Folded | Beside) and _has_table(block.blocks)) for block in blocks
    )
