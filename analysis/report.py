"""Tables and the report's parts: one description of what was measured, for the terminal, the page (analysis/page), and
other programs.

A number that is not known stays unknown on every way out: "–" for people, empty in CSV, null in JSON.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import rich.box
import rich.table
from rich.text import Text

from trainables.files import write_whole

Value = str | int | float | None

MISSING = "–"
WORDY = 2  # columns of words that a phone has room for beside each other
SIDE_BY_SIDE, SCREENFUL = 5, 10  # columns that a phone shows beside each other, and below each other
TERMINAL_COLUMNS = 12  # more than these do not fit in a line, so that the table is turned


@dataclass(frozen=True)
class Column:
    """A column's header, and how its cells are printed and compared."""

    name: str
    best: str | None = None  # what is highlighted: "max" or "min", the best; "marked", the marked rows; None: nothing
    digits: int | None = None  # decimals of its floats
    show: bool = True  # False: in CSV and JSON only

    def __post_init__(self) -> None:
        if self.best not in ("max", "min", "marked", None):
            raise ValueError(f'column {self.name!r}: best is {self.best!r}, but must be "max", "min", "marked" or None')


@dataclass(frozen=True)
class Measured:
    """A mean over n replicates with its standard deviation. One replicate has no spread: its sd is None, never 0."""

    mean: float
    sd: float | None
    n: int

    def __post_init__(self) -> None:
        if self.n < 1 or (self.n == 1 and self.sd is not None):
            raise ValueError(
                f"n is {self.n} with sd {self.sd}, but n must be at least 1, and the sd of a single value is None"
            )

    def __format__(self, form: str) -> str:
        """Return mean ± sd (n) in words, each number in a form such as `.2f`; of one replicate the mean alone."""
        spread = "" if self.sd is None else f" ± {self.sd:{form}} ({self.n})"
        return f"{self.mean:{form}}{spread}"

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Measured:
        """Return the mean of values (n,) and their standard deviation, with the divisor n − 1.

        All count: one that is not finite makes the mean so, too. Raises ValueError where there are none.
        """
        replicates = np.asarray(values)
        if not replicates.size:
            raise ValueError("there are no values, but at least one is needed for a mean")
        sd = float(replicates.std(ddof=1)) if len(replicates) > 1 else None
        return cls(float(replicates.mean()), sd, len(replicates))

    @classmethod
    def of_finite(cls, values: np.ndarray) -> Measured | None:
        """Return what of() returns for the finite ones of values (n,); None where there are none."""
        known = values[np.isfinite(values)]
        return cls.of(known) if known.size else None


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns.

    Rows that are not eligible (stopped early, failed) are printed but never best. Rows that are `marked` are those that
    may be best, as far as the data can tell.
    """

    block: ClassVar[str] = "table"  # of a page, see analysis/page

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value | Measured, ...], ...]
    eligible: tuple[bool, ...] | None = None  # one per row; None: all are
    marked: tuple[bool, ...] | None = None  # one per row; None: none is
    folded: bool = False  # raw rows, which a reader opens where they are wanted; the text says what they come to

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                there_are = f"row {number} has {len(row)} cells, but there are {len(self.columns)} columns"
                raise ValueError(f"table {self.title!r}: {there_are}")
        for name, entries in (("eligible", self.eligible), ("marked", self.marked)):
            if entries is not None and len(entries) != len(self.rows):
                raise ValueError(
                    f"table {self.title!r}: {name} has {len(entries)} entries, but there are {len(self.rows)} rows"
                )

    def text(self, row: int, col: int) -> str:
        """Return a cell as it is printed."""
        cell, digits = self.rows[row][col], self.columns[col].digits
        if cell is None:
            return MISSING
        if isinstance(cell, str):
            return cell
        if not isinstance(cell, Measured):
            return _number(cell, digits)
        spread = "" if cell.sd is None else f" ± {_number(cell.sd, digits)}"
        return f"{_number(cell.mean, digits)}{spread}" + (f" ({cell.n})" if cell.n > 1 else "")

    @cached_property
    def best(self) -> frozenset[tuple[int, int]]:
        """The (row, column) of the highlighted cells: of marked rows, or those that tie for best before rounding."""
        return frozenset((row, col) for col in range(len(self.columns)) for row in self._best_rows(col))

    def to_csv(self) -> str:
        """Return all columns in full precision; one with a Measured in it becomes three: "name", "name_sd", "name_n".

        Words that a spreadsheet would take for a formula get an apostrophe in front.
        """
        measured = [any(isinstance(row[col], Measured) for row in self.rows) for col in range(len(self.columns))]
        names = [column.name for column in self.columns]
        headers: list[tuple[Value, Value, Value]] = [(name, f"{name}_sd", f"{name}_n") for name in names]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        for row in (headers, *([_parts(cell) for cell in row] for row in self.rows)):
            kept = [parts[: 3 if three else 1] for parts, three in zip(row, measured, strict=True)]
            writer.writerow([_no_formula(part) for parts in kept for part in parts])
        return out.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Return all columns as data; rows are lists, as headers (class names among them) may repeat."""
        return {
            "title": self.title,
            "columns": [column.name for column in self.columns],
            "rows": [[_data(cell) for cell in row] for row in self.rows],
            "eligible": [self.ranked(row) for row in range(len(self.rows))],
            "best": sorted(self.best),
        }

    def to_rich(self) -> rich.table.Table:
        """Return the table for a terminal: the best in bold green, rows that are not ranked dimmed.

        One with many more columns than a terminal is wide lies on its side: a column per row.
        """
        shown = self.shown
        turned = len(shown) > max(TERMINAL_COLUMNS, len(self.rows))
        lines = [[Text(self.columns[col].name) for col in shown]]  # Text everywhere: a label in brackets is no markup
        lines += [
            [Text(self.text(row, col), style=self._rich_style(row, col)) for col in shown]
            for row in range(len(self.rows))
        ]
        numeric = [col > 0 for col in range(len(lines))] if turned else [self.numeric[col] for col in shown]
        headers, *body = zip(*lines, strict=True) if turned else lines
        table = rich.table.Table(title=Text(self.title, style="bold"), title_justify="left", box=rich.box.SIMPLE_HEAD)
        for header, right in zip(headers, numeric, strict=True):
            # fold: a number cut short is a wrong number
            table.add_column(header, justify="right" if right else "left", overflow="fold")
        for cells in body:
            table.add_row(*cells)
        return table

    def _best_rows(self, col: int) -> list[int]:
        if self.columns[col].best is None:
            return []
        if self.columns[col].best == "marked":
            return [row for row, marked in enumerate(self.marked or ()) if marked]
        values = {row: _rank(cells[col]) for row, cells in enumerate(self.rows) if self.ranked(row)}
        known = [value for value in values.values() if value is not None]
        top = (max if self.columns[col].best == "max" else min)(known, default=None)
        return [row for row, value in values.items() if value is not None and value == top]

    def _rich_style(self, row: int, col: int) -> str:
        if (row, col) in self.best:
            return "bold green"
        return "" if self.ranked(row) else "dim"

    def ranked(self, row: int) -> bool:
        """Tell whether a row counts."""
        return self.eligible is None or self.eligible[row]

    @property
    def shown(self) -> list[int]:
        """The numbers of the columns that people see."""
        return [col for col, column in enumerate(self.columns) if column.show]

    @property
    def by_row(self) -> bool:
        """Whether on a phone each row is better read by itself: its columns do not fit, and are not a screenful."""
        words = sum(not self.numeric[col] for col in self.shown)
        return words > WORDY or SIDE_BY_SIDE < len(self.shown) <= SCREENFUL

    @cached_property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column is free of words."""
        return tuple(not any(isinstance(row[col], str) for row in self.rows) for col in range(len(self.columns)))


@dataclass(frozen=True)
class Section:
    """A part of the report: words, tables, and figures as (PNG file, caption)."""

    title: str
    text: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    figures: tuple[tuple[Path, str], ...] = ()
    captioned: bool = False  # whether the pictures bear their captions themselves


def write_json(
    path: Path, title: str, intro: Sequence[str], sections: Sequence[Section], more: Mapping[str, Any] | None = None
) -> None:
    """Write the content of the report as data, and `more` of it; figures by their file names."""
    content = {
        "title": title,
        "intro": list(intro),
        **(more or {}),
        "sections": [
            {
                "title": section.title,
                "text": section.text,
                "tables": [table.to_json() for table in section.tables],
                "figures": [{"file": file.name, "caption": caption} for file, caption in section.figures],
            }
            for section in sections
        ],
    }
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _number(value: float, digits: int | None) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if digits is None else f"{value:z,.{digits}f}"  # z: no "-0.0"


def _rank(cell: Value | Measured) -> float | None:
    """Return what a cell is ranked by; None for words, the unknown, and what is not finite.

    (A diverged loss is nobody's best.)
    """
    number = cell.mean if isinstance(cell, Measured) else cell
    return number if isinstance(number, int | float) and math.isfinite(number) else None


def _parts(cell: Value | Measured) -> tuple[Value, Value, Value]:
    return (cell.mean, cell.sd, cell.n) if isinstance(cell, Measured) else (cell, None, None)


def _no_formula(cell: Value) -> Value:
    """Return a cell that no spreadsheet takes for a formula.

    Numbers, also those in words (the label "-0.1"), stay what they are.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r", " ")  # which the csv module does not quote before Python 3.13
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _data(cell: Value | Measured) -> Any:
    """Return a cell for JSON, which has no NaN and no infinity: they become null."""
    if isinstance(cell, Measured):
        return {name: _data(part) for name, part in asdict(cell).items()}
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
