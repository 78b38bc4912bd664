"""What the fields of a search space are drawn from: choices, ranges, tuples of them, and conditions. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.decisions.labels import label
from trainables.errors import UserError


@dataclass(frozen=True)
class Choice:
    """One of several values without an order: None, True, False, numbers, strings, or tuples of such.

    Lists become tuples.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if isinstance(self.values, str) or not isinstance(self.values, Sequence):
            raise UserError(f"Choice({self.values!r}) must have a tuple of values")
        values = tuple(tuple(value) if isinstance(value, list) else value for value in self.values)
        object.__setattr__(self, "values", values)
        if not self.values:
            raise UserError("Choice(()) has nothing to choose from")
        for value in self.values:
            if not _plain(value):
                raise UserError(
                    f"Choice holds {value!r}, but must hold None, True, False, numbers, strings, or tuples of such"
                )
        for at, value in enumerate(self.values):
            if value in self.values[:at]:
                raise UserError(f"Choice holds {value!r} twice")

    @property
    def size(self) -> int:
        """The number of values."""
        return len(self.values)

    def at(self, share: float) -> Any:
        """Return the value at a share, 0 to below 1, of the values in order."""
        return self.values[min(int(share * self.size), self.size - 1)]

    def has(self, value: Any) -> bool:
        """Tell whether `value` is one of them."""
        return value in self.values

    def __str__(self) -> str:
        return ", ".join(map(label, self.values))


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, both included; with `log`, each doubling is as likely as the next."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        if not all(map(_is_whole, (self.low, self.high))):
            raise UserError(f"{self!r}: the ends must be whole numbers")
        _check_ends(self, self.low <= self.high)

    @property
    def size(self) -> int:
        """The number of values."""
        return self.high - self.low + 1

    @property
    def values(self) -> range:
        """All values, ascending."""
        return range(self.low, self.high + 1)

    def at(self, share: float) -> int:
        """Return the value at a share, 0..1, of the range."""
        point = _between(self.low - 0.5, self.high + 0.5, share, log=self.log)
        return min(max(math.floor(point + 0.5), self.low), self.high)

    def share(self, value: int) -> float:
        """Return where in the range a value lies, 0..1: at its own part's middle."""
        return _share(self.low - 0.5, self.high + 0.5, value, log=self.log)

    def has(self, value: Any) -> bool:
        """Tell whether `value` is a whole number in the range."""
        return _is_whole(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low}..{self.high}" + (" (log)" if self.log else "")


@dataclass(frozen=True)
class Real:
    """A real number from `low` to `high`; with `log`, each doubling is as likely as the next."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not all(_is_number(end) and math.isfinite(end) for end in (self.low, self.high)):
            raise UserError(f"{self!r}: the ends must be finite numbers")
        _check_ends(self, self.low < self.high)

    @property
    def size(self) -> None:
        """None: there are infinitely many."""

    def at(self, share: float) -> float:
        """Return the value at a share, 0..1, of the range."""
        return min(max(_between(self.low, self.high, share, log=self.log), self.low), self.high)

    def share(self, value: float) -> float:
        """Return where in the range a value lies, 0..1."""
        return _share(self.low, self.high, value, log=self.log)

    def has(self, value: Any) -> bool:
        """Tell whether `value` is a number in the range."""
        return _is_number(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}" + (" (log)" if self.log else "")


Dimension = Choice | Whole | Real  # what one draw is from


@dataclass(frozen=True)
class Each:
    """A tuple whose entries are all drawn from `of`: as many as the field `count` says, less `fewer`.

    Of the widths of FC layers there is one fewer than layers. Where no entry is left, the field stays as the start has
    it.
    """

    count: str
    of: Dimension
    fewer: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.of, Dimension):
            kind = type(self.of).__name__
            raise UserError(f"Each of {self.count} draws from {kind}, but must draw from a Choice, Whole or Real")
        if not Whole(0, 64).has(self.fewer):
            raise UserError(f"Each of {self.count}: fewer is {self.fewer!r}, but must be 0..64")

    def __str__(self) -> str:
        return f"{self.of}, for each of {self.count}" + (f" less {self.fewer}" if self.fewer else "")


@dataclass(frozen=True)
class When:
    """Drawn only where every field named in `conditions` was drawn with the value given there.

    Otherwise it stays as the start has it. A set means any of its values: `{"model.pooling": {"max", "average"}}`.
    Anything else, a tuple too, is one value.
    """

    conditions: Mapping[str, Any]
    of: Dimension | Each

    def __post_init__(self) -> None:
        if not isinstance(self.of, Dimension | Each):
            kind = type(self.of).__name__
            raise UserError(f"When draws from {kind}, but must draw from a Choice, Whole, Real or Each")
        if not self.conditions:
            raise UserError("When has no condition; without one, leave it out")
        wanted = {
            name: tuple(sorted(values, key=label)) if isinstance(values, set | frozenset) else (values,)
            for name, values in self.conditions.items()
        }
        object.__setattr__(self, "conditions", wanted)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the fields drawn so far fulfil it."""
        return all(name in values and values[name] in wanted for name, wanted in self.conditions.items())

    def __str__(self) -> str:
        return " and ".join(f"{name} is {' or '.join(map(label, wanted))}" for name, wanted in self.conditions.items())


Form = Dimension | Each | When  # what a field is drawn from


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_ends(form: Whole | Real, ordered: bool) -> None:
    if not ordered:
        raise UserError(f"{form!r}: low must be {'at most' if isinstance(form, Whole) else 'below'} high")
    if form.log and form.low <= 0:
        raise UserError(f"{form!r}: with log, low must be above 0")


def _between(low: float, high: float, share: float, *, log: bool) -> float:
    return low * (high / low) ** share if log else low + (high - low) * share


def _share(low: float, high: float, value: float, *, log: bool) -> float:
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
