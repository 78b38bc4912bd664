"""What commands print, and what becomes of it where the terminal cannot show it, is full, or is gone.

Output that cannot be written is lost, and stops nothing; a character that cannot be shown is replaced by one near it.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import os
import select
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# one for one where a table's columns depend on it
NEAR = {"→": ">", "×": "x", "·": "-", "±": "+-", "–": "-", "—": "-", "−": "-", "≤": "<=", "≥": ">=", "…": "."} | dict(
    zip("“”„‘’‚", "\"\"\"'''", strict=True)
)


class Outlet(io.FileIO):
    """A file descriptor of the process, for writing. What it does not take, as it is full or gone, is lost."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, content: object) -> int:
        """Write what can be written, and return the number of bytes that need not be written again."""
        content = memoryview(content).cast("B")  # type: ignore[arg-type]
        try:
            while (written := super().write(content)) is None:  # another process has set it to not block
                select.select([], [self], [])
        except OSError:
            return len(content)
        return written


class PlainLines(logging.Formatter):
    """Formats what libraries and the uploader log: names in it are a user's, and command no terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text."""
        return printable(super().format(record))


def endure() -> None:
    """Have standard output and standard error lose what they cannot write; those of whoever replaced them are kept."""
    _fill()
    codecs.register_error("near", near)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream: TextIO | None = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _enduring(stream, descriptor))
    if logging.lastResort:
        logging.lastResort.setFormatter(PlainLines())


def near(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks, as codecs' error handlers do: by an ASCII form near it, else by a "?"."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_near, error.object[error.start : error.end])), error.end


def printable(text: str) -> str:
    """Return the text without what could command a terminal; lines stay lines."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def console(*, aside: bool = False) -> Console:
    """Return the console that commands print to: `aside`, on standard error, where standard output is a program's.

    It shows text as it stands: "[/]" in a name is not markup.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Plain(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else printable(text), style, control)

    # in a notebook lines, too: a panel's are drawn by a thread of its own, whose output no cell shows
    shown = Plain(stderr=aside, markup=False, emoji=False, force_jupyter=False)
    if not shown.width:  # COLUMNS=0
        shown.width = 80
    return shown


@contextlib.contextmanager
def busy(console: Console, at: str) -> Iterator[None]:
    """Show in a terminal what a command is at, for as long as it is; what is printed meanwhile goes above it."""
    if not console.is_interactive:
        yield
        return
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    shape = "line" if console.options.ascii_only else "dots"
    with Live(Spinner(shape, Text(f"{at} …"), style="green"), console=console, refresh_per_second=10, transient=True):
        yield


def _near(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return NEAR.get(character) or plain or "?"


def _fill() -> None:
    """Open those of the three standard descriptors that are closed: a file that is opened later would take its place,
    and get what is printed.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _enduring(stream: TextIO | None, descriptor: int) -> TextIO:
    encoding = "utf-8"
    if stream is None:  # it was closed from the start; whatever has its number since is not for what is printed
        descriptor = os.open(os.devnull, os.O_WRONLY)
    else:
        encoding = stream.encoding
        with contextlib.suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(io.BufferedWriter(Outlet(descriptor)), encoding, "near", line_buffering=True)
