"""Where, when and with what a study's trials ran, as far as the store has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from trainables.files import parsed


@dataclass(frozen=True)
class Provenance:
    """What a report says of the runs beside their numbers; what is not known is empty."""

    began: float | None = None  # seconds since 1970, of the first trial
    ended: float | None = None  # of the last one
    command: str = ""
    machine: str = ""
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def date(self) -> str:
        """When the last trial ended, in UTC; empty where that is not known."""
        return _moment(self.ended) if self.ended is not None else ""

    @property
    def time(self) -> str:
        """From when to when trials ran, in UTC; empty where that is not known."""
        return f"{_moment(self.began)} to {self.date}" if self.began is not None and self.ended is not None else ""

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """Build it again from to_json(). What is damaged counts as not known."""
        try:
            form = parsed(text)
        except ValueError:
            return cls()
        if not isinstance(form, dict):
            return cls()
        command, machine, commit = (str(form.get(name) or "") for name in ("command", "machine", "commit"))
        began, ended = (_number(form.get(name)) for name in ("began", "ended"))
        versions = form.get("versions")
        known = versions.items() if isinstance(versions, dict) else ()
        return cls(began, ended, command, machine, commit, {name: str(version) for name, version in known})


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
