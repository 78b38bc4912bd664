"""What an onlooker sees of a study: where a command that runs it stands, and whether there is a report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from sweeps.decisions.labels import counted, span
from sweeps.reporting.board import FILE
from sweeps.reporting.display import WORDS
from trainables.files import LARGEST_JSON, read

SILENT = 15.0  # seconds without a sign of life, after which a command is taken to be gone
REPORT = "report.html"
UNITS = {"GPU": "GPUs", "CPU": "cores"}


@dataclass(frozen=True)
class Sight:
    """What is there of a study: the newest `state` that a command wrote of itself, and when its report was written."""

    study: str
    state: Mapping[str, Any] | None
    report: float | None  # seconds since 1970
    now: float

    @property
    def runs(self) -> bool:
        """Whether a command is at it."""
        return self.state is not None and not self.state["over"] and self.now - self.state["written"] < SILENT

    @property
    def line(self) -> str:
        """Where it stands, in a line."""
        if self.state is None:
            return "no command has run it here since its folder was made"
        done = f"{self.state['trials']['done']} of {counted(self.state['trials']['total'], 'trial')} done"
        if self.runs:
            left = self.state["seconds_left"]
            return f"running: {done}" + ("" if left is None else f", about {span(left)} left")
        ago = f"{span(max(0.0, self.now - self.state['written']))} ago"
        return f"ended {ago}: {done}" if self.state["over"] else f"no sign of life since {ago}: {done}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, for the page."""
        return {"study": self.study, "runs": self.runs, "line": self.line, "report": self.report, "state": self.state}


def look(folder: Path) -> Sight:
    """Look at a study's folder of results. A state that cannot be read counts as none."""
    report = folder / REPORT
    return Sight(folder.name, _state(folder / FILE), report.stat().st_mtime if report.exists() else None, time.time())


def _state(file: Path) -> dict[str, Any] | None:
    try:
        state = json.loads(read(file, LARGEST_JSON))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and {"over", "written", "trials"} <= state.keys() else None


def in_words(sight: Sight) -> list[Text | Table | str]:
    """Return what a terminal shows of it."""
    shown: list[Text | Table | str] = [Text.assemble((sight.study, "bold"), f": {sight.line}")]
    if sight.state and sight.runs:
        shown += [_about(sight.state), _running(sight.state["running"]), *_traffic(sight.state.get("traffic", []))]
        shown += [f"warning: {line}" for line in sight.state["warnings"]]
        shown += [f"started again: {line}" for line in sight.state["restarts"]]
    return shown


def _about(state: Mapping[str, Any]) -> str:
    ended = [f"{state['ended'][name]} {word}" for name, word in WORDS.items() if name in state["ended"]]
    waiting = [f"{state[name]} {name}" for name in ("waiting", "paused") if state[name]]
    best = state["best"]
    so_far = [f"best so far {100 * best['validation']:.1f} % ({best['trial']})"] if best else []
    stages = [f"stage {', '.join(state['stages']['open'])}"] if state["stages"]["open"] else []
    return " · ".join([*stages, state["where"], *ended, *waiting, *so_far, *filter(None, [state["closed"]])])


def _running(trials: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("trial")
    for name in ("epoch", "train loss", "validation", "images/s", "memory", "host"):
        table.add_column(name, justify="right", style="dim")
    for each in trials:
        table.add_row(
            each["trial"],
            f"{each['epoch']}/{each['epochs']}",
            _number(each["train_loss"], "{:.3f}"),
            _number(each["validation"], "{:.1%}"),
            _number(each["images_per_second"], "{:,.0f}"),
            _number(each["memory"] and each["memory"] / 1e9, "{:.1f} GB"),
            each["host"] or "",
        )
    return table


def _traffic(claims: list[Mapping[str, Any]]) -> list[str]:
    """Tell who has how much of the cluster, where several want it."""
    if len(claims) < 2:
        return []
    return [
        f"{each['study']} ({each['user']}): {each['has']:g} of {each['wants']:g} {UNITS[each['kind']]} that it wants"
        + (f", priority {each['priority']}" if each["priority"] else "")
        + (f", share {each['share']:g}" if each["share"] is not None else "")
        for each in claims
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
