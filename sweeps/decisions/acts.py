"""What somebody asks of a study while it runs, and what such acts have set by now. Pure."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from trainables.errors import UserError, suggest
from trainables.files import parsed

NONE, NUMBER, TRIAL, VALUES = "", "N", "KEY", "VALUES"
ACTS = {  # each with what its argument is
    "stop": NONE,
    "pause": NONE,
    "resume": NONE,
    "drop": TRIAL,
    "add": NUMBER,
    "seeds": NUMBER,
    "epochs": NUMBER,
    "first": VALUES,
}
MOST_CHARACTERS = 300  # of an argument, and of a reason: with the answer, which may repeat it, a tag holds them
MOST = 1_000_000  # that a number may be
LATEST = 1e11  # seconds since 1970: later years than dates have are damage
COUNTS = ("seeds", "epochs", "trials")  # what acts raise


@dataclass(frozen=True)
class Act:
    """What somebody asks. `answer` is what the command that runs the study says to it, None before it has; `effect` is
    what the act has set, and None where it was refused.
    """

    what: str
    argument: str
    user: str
    reason: str = ""
    time: float = field(default_factory=time.time)  # seconds since 1970, by the clock of whoever asks
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    answer: str | None = None
    effect: Mapping[str, Any] | None = None

    def check(self) -> None:
        """Raise UserError, in one line, for an act that there is not, or an argument that it cannot have."""
        if self.what not in ACTS:
            raise UserError(f"{self.what!r} is not an act{suggest(self.what, list(ACTS))}")
        takes = ACTS[self.what]
        if bool(self.argument) != bool(takes):
            needs = f"needs {takes} after it" if takes else f"takes nothing after it, but got {self.argument!r}"
            raise UserError(f"{self.what} {needs}")
        for name, text in (("what is after it", self.argument), ("the reason", self.reason)):
            if len(text) > MOST_CHARACTERS or not text.isprintable():
                raise UserError(f"{self.what}: {name} must be printable, and at most {MOST_CHARACTERS:,} characters")
        if takes == NUMBER and not (re.fullmatch("[0-9]{1,7}", self.argument) and 1 <= self.number <= MOST):
            raise UserError(f"{self.what} is {self.argument!r}, but must be a whole number from 1 to {MOST:,}")

    @property
    def number(self) -> int:
        """The argument of an act that takes a number."""
        return int(self.argument)

    @property
    def asked(self) -> str:
        """The act as it was typed."""
        return f"{self.what} {self.argument}".rstrip()

    @property
    def by(self) -> str:
        """Who asked for it and when, and why if that was said."""
        moment = datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{self.user}, {moment}" + (f": {self.reason}" if self.reason else "")

    def answered(self, answer: str, effect: Mapping[str, Any] | None) -> Act:
        """Return the act with its answer."""
        return replace(self, answer=answer, effect=effect)

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Act:
        """Build it again from to_json(). Raises ValueError for anything else."""
        form = parsed(text)
        try:
            act = cls(**form)
            act.check()
        except (TypeError, AttributeError, UserError) as error:
            raise ValueError(f"it is no act: {' '.join(str(error).split()):.200}") from error
        texts = isinstance(act.user, str) and isinstance(act.id, str) and isinstance(act.answer, str | None)
        timed = type(act.time) in (int, float) and 0 <= act.time < LATEST
        if not (texts and timed and act.user.isprintable() and isinstance(act.effect, dict | None)):
            raise ValueError("it is no act: an entry is of another type")
        return act


@dataclass(frozen=True)
class Steered:
    """What acts have set by now, which a command that goes on with the study keeps to."""

    seeds: int = 0  # at least; 0: nobody has asked
    epochs: int = 0  # likewise
    trials: int = 0  # of a search, likewise
    dropped: Mapping[str, str] = field(default_factory=dict)  # by key, who dropped it, when and why
    first: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)  # by search, what it draws next

    @property
    def plan(self) -> tuple[int, int, int]:
        """What changes the plan; the rest only changes what is run of it."""
        return self.seeds, self.epochs, self.trials

    @classmethod
    def of(cls, acts: Iterable[Act]) -> Steered:
        """Return what these acts have set, in their order."""
        steered = cls()
        for act in acts:
            if act.effect is not None:
                steered = steered.after(act)
        return steered

    def after(self, act: Act) -> Steered:
        """Return what holds after one more act. Of its effect, what has another form sets nothing."""
        effect: Mapping[str, Any] = act.effect or {}
        counts = {name: max(getattr(self, name), _count(effect.get(name))) for name in COUNTS}
        dropped, first = dict(self.dropped), dict(self.first)
        if isinstance(key := effect.get("dropped"), str):
            dropped[key] = act.by
        if isinstance(stage := effect.get("stage"), str) and isinstance(values := effect.get("values"), dict):
            first[stage] = (*first.get(stage, ()), values)
        return Steered(**counts, dropped=dropped, first=first)


def _count(value: Any) -> int:
    return value if type(value) is int and 0 < value <= MOST else 0


def point(text: str) -> dict[str, Any]:
    """Return the values that `first` names: `lr=0.1 channels=16-32 pooling=none`, by field. Raises UserError."""
    pairs = [word.partition("=") for word in text.split()]
    for name, sign, value in pairs:
        if not (name and sign and value):
            raise UserError(f"{name + sign + value!r} must be a field and its value, such as lr=0.1")
    return {name: _value(value) for name, _, value in pairs}


def _value(text: str) -> Any:
    """Return a value as labels write it: a number, `yes`, `no`, `16-32-64`; else the text."""
    if text in ("yes", "no"):
        return text == "yes"
    if re.fullmatch(r"[0-9]+(-[0-9]+)+", text):
        return tuple(map(int, text.split("-")))
    try:
        value = parsed(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text
