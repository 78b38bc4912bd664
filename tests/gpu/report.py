"""What came of the rows, as lines, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.gpu.rows import FAST, RATE, RIGHT, Result, Row, Setting
from trainables.files import write_whole

RIGHT_NOW, FAILED, MEASURED, LEFT_OUT = "ok", "FAILED", "measured", "left out"
JSON, MARKDOWN = "verify.json", "verify.md"
TITLES = {RIGHT: "Right", FAST: "Fast"}


@dataclass(frozen=True)
class Outcome:
    """What came of a row."""

    name: str
    group: str
    claim: str
    state: str
    seconds: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    peer: str | None = None
    ratio: float | None = None  # of its speed to that of its peer, None where one of them has none

    @classmethod
    def of(cls, row: Row, result: Result, seconds: float, setting: Setting) -> Outcome:
        """Return what a row that ran came to."""
        state = {True: RIGHT_NOW, False: FAILED, None: MEASURED}[result.ok]
        mine, peers = result.values.get(RATE), setting.figure(row.peer) if row.peer else None
        ratio = mine / peers if mine and peers else None
        note = result.note
        if row.peer and not ratio:
            note = "; ".join(filter(None, (note, f"no ratio: {row.peer} was not measured")))
        return cls(row.name, row.group, row.claim, state, seconds, result.values, note, row.peer, ratio)

    @classmethod
    def without(cls, row: Row, state: str, note: str, seconds: float = 0.0) -> Outcome:
        """Return that of a row that has no result."""
        return cls(row.name, row.group, row.claim, state, seconds, note=note, peer=row.peer)

    @property
    def figures(self) -> str:
        """Its numbers in one line, the ratio first."""
        ratio = [f"{shown(self.ratio)} × {self.peer}"] if self.ratio else []
        return " · ".join([*ratio, *(f"{name} {shown(value)}" for name, value in self.values.items())])

    @property
    def line(self) -> str:
        """It as a line of the printed table."""
        words = " — ".join(filter(None, (self.figures, self.note)))
        return f"{self.state:8}  {self.name:24}  {self.seconds:5.1f} s  {words}".rstrip()


@dataclass(frozen=True)
class Report:
    """All rows so far, and what they ran on."""

    hardware: Mapping[str, Any]
    outcomes: Sequence[Outcome]

    @property
    def failed(self) -> list[Outcome]:
        """Those that failed."""
        return [each for each in self.outcomes if each.state == FAILED]

    @property
    def summary(self) -> str:
        """How many rows came to what."""
        counts = {state: sum(each.state == state for each in self.outcomes) for state in STATES}
        return ", ".join(f"{count} {state}" for state, count in counts.items())

    def markdown(self) -> str:
        """Return the tables, with the hardware above them."""
        machine = _table(("machine", ""), [(name, shown(value)) for name, value in self.hardware.items()])
        parts = [f"# The GPU path, {self.hardware['date']}", machine, self.summary + "."]
        for group, title in TITLES.items():
            rows = [
                (each.name, each.claim, each.state, f"{each.seconds:.1f}", each.figures, each.note)
                for each in self.outcomes
                if each.group == group
            ]
            parts += [f"## {title}", _table(("row", "claim", "state", "s", "figures", "note"), rows)]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> None:
        """Write both files."""
        form = {"hardware": dict(self.hardware), "rows": [asdict(each) for each in self.outcomes]}
        write_whole(folder / JSON, json.dumps(form, indent=1, default=str).encode())
        write_whole(folder / MARKDOWN, self.markdown().encode())


STATES = (RIGHT_NOW, MEASURED, FAILED, LEFT_OUT)


def read(folder: Path) -> list[Outcome]:
    """Return the outcomes that write() has written, none where there is no file."""
    path = folder / JSON
    return [Outcome(**form) for form in json.loads(path.read_bytes())["rows"]] if path.exists() else []


def shown(value: Any) -> str:
    """Return a value as it is printed."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
