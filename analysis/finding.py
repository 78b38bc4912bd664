"""What comes out of an analysis: words, tables, figures and the numbers behind them, as files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from analysis.report import Column, Measured, Table

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Figure:
    """A picture (PNG) with its caption, which names model, data set, layer and choice."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Finding:
    """An analysis' result. Tables and figures go by the stem of their file's name; `arrays` become one NPZ."""

    job: str
    title: str
    text: tuple[str, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """Return everything as files: name → content. `finding.json` has what from_files() needs beside the figures."""
        files = {f"{stem}.png": figure.png for stem, figure in self.figures.items()}
        files |= {f"{stem}.csv": table.to_csv().encode() for stem, table in self.tables.items()}
        if self.arrays:
            packed = io.BytesIO()
            np.savez_compressed(packed, **self.arrays)  # type: ignore[arg-type]
            files[f"{self.job}.npz"] = packed.getvalue()
        captions = {stem: figure.caption for stem, figure in self.figures.items()}
        tables = {stem: asdict(table) for stem, table in self.tables.items()}
        form = {"job": self.job, "title": self.title, "text": self.text, "tables": tables, "captions": captions}
        return files | {"finding.json": json.dumps(form, indent=1).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Finding:
        """Build a finding again from files(), without its arrays."""
        form = json.loads(files["finding.json"])
        tables = {stem: _table(entry) for stem, entry in form["tables"].items()}
        figures = {stem: Figure(files[f"{stem}.png"], caption) for stem, caption in form["captions"].items()}
        return cls(form["job"], form["title"], tuple(form["text"]), tables, figures)


def _table(form: Mapping[str, Any]) -> Table:
    columns = tuple(Column(**column) for column in form["columns"])
    rows = tuple(tuple(Measured(**cell) if isinstance(cell, dict) else cell for cell in row) for row in form["rows"])
    return Table(form["title"], columns, rows, None if form["eligible"] is None else tuple(form["eligible"]))
