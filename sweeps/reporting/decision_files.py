"""What stages decided, a line each, in results/<study>/<stage>-decisions.jsonl: kept from one start to the next. And
what others have asked for while it ran, in acts.jsonl: kept in MLflow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from sweeps.decisions.acts import Act
from sweeps.decisions.records import Decision
from trainables.files import parsed, write_whole

MOST_BYTES = 256 * 2**20  # of a file that is read back; a decision has about a hundred


def write(folder: Path, decisions: Mapping[str, Sequence[Decision]]) -> None:
    """Write each stage's decisions. Raises OSError."""
    for stage, made in decisions.items():
        write_whole(_place(folder, stage), "".join(json.dumps(each) + "\n" for each in made).encode())


def write_acts(folder: Path, acts: Sequence[Act]) -> None:
    """Write what was asked for and carried out; no file where that is nothing. Raises OSError."""
    if acts:
        write_whole(folder / "acts.jsonl", "".join(act.to_json() + "\n" for act in acts).encode())


def read(folder: Path, stages: Iterable[str], say: Callable[[str], None]) -> dict[str, list[Decision]]:
    """Return the decisions of earlier starts, by stage. What is damaged is left out, and `say` is told of it."""
    found: dict[str, list[Decision]] = {}
    for stage in stages:
        place = _place(folder, stage)
        try:
            lines = _lines(place)
        except (OSError, ValueError) as error:
            say(f"warning: {place} cannot be read, and is begun anew: {error}")
            continue
        made = [each for each in map(_decision, lines) if each is not None]
        if len(made) < len(lines):
            say(f"warning: {place}: {len(lines) - len(made)} of {len(lines)} lines are damaged, and are left out")
        found[stage] = made
    return found


def _place(folder: Path, stage: str) -> Path:
    return folder / f"{stage}-decisions.jsonl"


def _lines(place: Path) -> list[bytes]:
    if not place.exists():
        return []
    if (size := place.stat().st_size) > MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes, but may have {MOST_BYTES:,} at most")
    return place.read_bytes().splitlines()


def _decision(line: bytes) -> Decision | None:
    try:
        form = parsed(line)
    except ValueError:
        return None
    return form if isinstance(form, dict) and isinstance(form.get("decision"), str) else None
