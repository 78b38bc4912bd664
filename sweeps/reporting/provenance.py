"""Where, when and with what a study's trials ran, as far as the store has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from sweeps.decisions.acts import Act
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
    restarts: Mapping[str, Sequence[str]] = field(default_factory=dict)  # why each was needed, by the trial's key
    acts: Sequence[Act] = ()  # that others have asked for while it ran; they are kept elsewhere

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
        return json.dumps(asdict(replace(self, acts=())))

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
        words = {name: str(version) for name, version in known}
        return cls(began, ended, command, machine, commit, words, _restarts(form.get("restarts")))


def _restarts(form: object) -> dict[str, tuple[str, ...]]:
    pairs = form.items() if isinstance(form, dict) else ()
    return {str(key): tuple(map(str, reasons)) for key, reasons in pairs if isinstance(reasons, list)}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
