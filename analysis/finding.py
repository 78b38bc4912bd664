"""What comes out of an analysis: words, tables, figures and the numbers behind them, as files."""

from __future__ import annotations

import hashlib
import io
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from analysis.report import Column, Measured, Table
from trainables.files import parsed

Arrays = dict[str, np.ndarray]

FORM = "finding.json"
LONGEST_LINE = 300  # characters
MOST_DIGITS = 30  # decimals that a column can ask for: more than any float has


@dataclass(frozen=True)
class Figure:
    """A picture (PNG) with its caption, which names model, data set, layer and choice."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Finding:
    """An analysis' result. Tables and figures go by the stem of their file's name; `arrays` become one NPZ.

    `title` says in a short sentence what was found, without the model's name.
    """

    job: str
    title: str
    text: tuple[str, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """Return everything as files: name → content.

        `finding.json` has what from_files() needs beside the figures, and by what it tells that nothing is damaged.
        """
        files = {f"{stem}.png": figure.png for stem, figure in self.figures.items()}
        files |= {f"{stem}.csv": table.to_csv().encode() for stem, table in self.tables.items()}
        if self.arrays:
            packed = io.BytesIO()
            np.savez_compressed(packed, **self.arrays)  # type: ignore[arg-type]
            files[f"{self.job}.npz"] = packed.getvalue()
        captions = {stem: figure.caption for stem, figure in self.figures.items()}
        tables = {stem: asdict(table) for stem, table in self.tables.items()}
        form = {"job": self.job, "title": self.title, "text": self.text, "tables": tables, "captions": captions}
        form["digests"] = {name: _digest(content) for name, content in files.items()}
        form["digest"] = _digest_of(form)
        return files | {FORM: json.dumps(form, indent=1).encode()}

    def _repr_html_(self) -> str:
        """Return what a notebook shows of it: words, figures, and the tables, folded."""
        words = "".join(f"<p>{escape(line)}</p>" for line in self.text)
        drawn = "".join(
            f'<figure><img src="data:image/png;base64,{b64encode(figure.png).decode()}" alt="{escape(figure.caption)}" '
            f'style="max-width:100%"><figcaption>{escape(figure.caption)}</figcaption></figure>'
            for figure in self.figures.values()
        )
        return f"<h3>{escape(self.title)}</h3>{words}{drawn}{''.join(map(_folded, self.tables.values()))}"

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Finding:
        """Build a finding again from files(), without its arrays. Raises ValueError where anything of it is damaged."""
        if FORM not in files:
            raise _Damaged(f"there is no {FORM}")
        try:
            return _built(parsed(files[FORM]), files)
        except _Damaged:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            line = " ".join(f"{FORM} describes no finding: {type(error).__name__}: {error}".split())
            raise _Damaged(line[:LONGEST_LINE]) from error


def _folded(table: Table) -> str:
    shown = [col for col, column in enumerate(table.columns) if column.show]
    heads = "".join(f"<th>{escape(table.columns[col].name)}</th>" for col in shown)
    rows = ("".join(f"<td>{escape(table.text(row, col))}</td>" for col in shown) for row in range(len(table.rows)))
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return f"<details><summary>{escape(table.title)}</summary><table><tr>{heads}</tr>{body}</table></details>"


class _Damaged(ValueError):
    """What is wrong with a finding's files, in a line."""


def _built(form: dict[str, Any], files: Mapping[str, bytes]) -> Finding:
    _check_digests(form, files)
    tables = {_stem(stem): _table(entry) for stem, entry in form["tables"].items()}
    if missing := [f"{stem}.csv" for stem in tables if f"{stem}.csv" not in files]:
        raise _Damaged(f"{missing[0]} is missing")
    figures = {_stem(stem): Figure(_png(files, stem), _words(caption)) for stem, caption in form["captions"].items()}
    text = tuple(_words(line) for line in _list(form["text"]))
    return Finding(_words(form["job"]), _words(form["title"]), text, tables, figures)


def _check_digests(form: dict[str, Any], files: Mapping[str, bytes]) -> None:
    """Raise ValueError where a file is not what was written. Findings of earlier versions do not tell."""
    stated = {name: value for name, value in form.items() if name != "digest"}
    if "digest" in form and form["digest"] != _digest_of(stated):
        raise _Damaged(f"{FORM} is not what was written")
    for name, digest in form.get("digests", {}).items():
        if name not in files or _digest(files[name]) != digest:
            raise _Damaged(f"{name} is {'not what was written' if name in files else 'missing'}")


def _table(form: Mapping[str, Any]) -> Table:
    columns = tuple(_column(column) for column in _list(form["columns"]))
    rows = tuple(tuple(_cell(cell) for cell in _list(row)) for row in _list(form["rows"]))
    eligible = form["eligible"]
    if eligible is not None and not all(isinstance(entry, bool) for entry in _list(eligible)):
        raise TypeError(f"eligible is {eligible!r}")
    marked = form.get("marked")  # tables of earlier versions have none
    if marked is not None and not all(isinstance(entry, bool) for entry in _list(marked)):
        raise TypeError(f"marked is {marked!r}")
    folded = form.get("folded", False)  # likewise
    if not isinstance(folded, bool):
        raise TypeError(f"folded is {folded!r}")
    return Table(
        _words(form["title"]),
        columns,
        rows,
        None if eligible is None else tuple(eligible),
        None if marked is None else tuple(marked),
        folded,
    )


def _column(form: Mapping[str, Any]) -> Column:
    column = Column(**form)
    digits = column.digits
    if digits is not None and (isinstance(digits, bool) or digits not in range(MOST_DIGITS + 1)):
        raise TypeError(f"digits is {digits!r}")
    if not isinstance(column.show, bool):
        raise TypeError(f"show is {column.show!r}")
    _words(column.name)
    return column


def _cell(form: Any) -> Any:
    if isinstance(form, dict):
        measured = Measured(**form)
        if (
            isinstance(measured.n, int)
            and _is_number(measured.mean)
            and (measured.sd is None or _is_number(measured.sd))
        ):
            return measured
    elif form is None or _is_number(form):
        return form
    elif isinstance(form, str):
        return _words(form)
    raise TypeError(f"a cell is {form!r}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    float(value)  # raises OverflowError for a whole number beyond all others: it could not be ranked
    return True


def _words(text: Any) -> str:
    """Return what is text, of characters that can be written."""
    if not isinstance(text, str):
        raise TypeError(f"text is {text!r}")
    text.encode()  # raises UnicodeEncodeError, a ValueError, for half a character
    return text


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list is {value!r}")
    return value


def _stem(text: str) -> str:
    """Return what can be the name of a file in the finding's own folder, without its ending."""
    if not text or {"/", "\\", "\0"} & set(_words(text)):
        raise ValueError(f"{text!r} is not a file name")
    return text


def _png(files: Mapping[str, bytes], stem: str) -> bytes:
    """Return a picture that is whole."""
    if f"{stem}.png" not in files:
        raise _Damaged(f"{stem}.png is missing")
    content = files[f"{stem}.png"]
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.verify()  # the checksums of all its parts; takes no memory for what it claims to hold
    except Exception as error:  # Pillow raises whatever it stumbles over
        raise _Damaged(f"{stem}.png is not a whole picture") from error
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(form: Mapping[str, Any]) -> str:
    """Return the digest of what a form says, however it is laid out."""
    return _digest(json.dumps(form).encode())
