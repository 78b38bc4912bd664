"""A page as one HTML file that needs no other: style and figures are inside, and nothing is loaded or run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from analysis.page.blocks import Block, Chapter, Folded, Page, Picture, Pictures, Words
from analysis.report import Section, Table
from trainables.files import write_whole

HERE = Path(__file__).parent
MOST_ROWS = 12  # of a table of an analysis that is not folded


def html(page: Page) -> str:
    """Return a page as HTML, all text escaped. Raises OSError where a picture cannot be read."""
    return _template().render(page=page, style=(HERE / "style.css").read_text(encoding="utf-8"))


def table_html(table: Table) -> str:
    """Return a table as an HTML element, all text escaped; the best as <td class="best">."""
    return str(_template().make_module({"page": Page("", ()), "style": ""}).table(table)).strip()  # type: ignore[attr-defined]


def write_page(path: Path, page: Page) -> None:
    """Write a page, at once whole. Raises OSError."""
    write_whole(path, html(page).encode())


def of_section(section: Section, *, fold: bool = False) -> Chapter:
    """Return a section as a chapter: what was found first, then the pictures, the tables last.

    Long tables are folded, with `fold` all.
    """
    words = tuple(Words(line) for line in section.text)
    pictures = tuple(Picture(file, caption, section.captioned) for file, caption in section.figures)
    drawn: tuple[Block, ...] = (Pictures(pictures),) if pictures else ()
    return Chapter(section.title, (*words, *drawn, *(_table(each, fold) for each in section.tables)))


def _table(table: Table, fold: bool) -> Block:
    long = fold or table.folded or len(table.rows) > MOST_ROWS
    return Folded(f"{table.title} ({len(table.rows)} rows)", (table,)) if long else table


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html")
