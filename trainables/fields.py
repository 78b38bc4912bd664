"""How a config declares its fields: the default, the rule and, for a value per layer, the layers, all in one place.

@dataclass(frozen=True)
class Net(Config):
    layers: int = whole(3, 1, 64)
    kernel: PerLayer = per_layer(3, low=1, layers="layers")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar

from trainables.errors import UserError

PerLayer = int | tuple[int, ...]  # one number for all layers, or one each; where too short, the last one repeats
Check = Callable[[str, Any], Any]  # a field's name and value → the value to keep; raises UserError


@dataclass(frozen=True)
class Config:
    """A frozen dataclass that checks its fields by their rules, and knows which of them its identity rests on.

    A field that is not among `first_fields` was added after results had been stored. At its default it is left out of
    the canonical form, so that the trials of before keep their keys. So never add a name to `first_fields`, and never
    change the default of a field that was added: the default means "as before".
    """

    first_fields: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for entry in fields(self):
            if "check" in entry.metadata:
                object.__setattr__(self, entry.name, entry.metadata["check"](entry.name, getattr(self, entry.name)))

    def spread(self, name: str) -> tuple[int, ...]:
        """Return a field that holds a value per layer as one number for each layer."""
        [entry] = [entry for entry in fields(self) if entry.name == name]
        return self._spread(entry, getattr(self, name))

    def canonical(self) -> dict[str, Any]:
        """Return what tells this config from others: the first fields, and added ones that are not at their default.

        Values per layer are spread over the layers.
        """
        first = {entry.name: self._spread(entry, getattr(self, entry.name)) for entry in self._fields(added=False)}
        return first | self.added()

    def added(self) -> dict[str, Any]:
        """Return those of the added fields that are not at their default, spread over the layers."""
        form = {}
        for entry in self._fields(added=True):
            default = entry.default if entry.default_factory is MISSING else entry.default_factory()
            value = self._spread(entry, getattr(self, entry.name))
            if value != self._spread(entry, default):
                form[entry.name] = value
        return form

    def _fields(self, *, added: bool) -> list[Field[Any]]:
        return [entry for entry in fields(self) if (entry.name not in self.first_fields) == added]

    def _spread(self, entry: Field[Any], value: Any) -> Any:
        if "layers" not in entry.metadata:
            return value
        count = getattr(self, entry.metadata["layers"])
        given = (value,) if isinstance(value, int) else value
        return (given + given[-1:] * count)[:count]


def whole(default: int | None, low: int, high: int | None = None) -> Any:
    """Declare a whole number from `low` to `high`. As with every rule here, None is allowed where it is the default."""
    return _declared(default, lambda name, value: _whole(name, value, low, high))


def wholes(default: tuple[int, ...] | None, low: int, high: int) -> Any:
    """Declare any number of whole numbers from `low` to `high`."""
    return _declared(default, lambda name, value: _wholes(name, value, low, high))


def per_layer(default: PerLayer, low: int, layers: str) -> Any:
    """Declare whole numbers from `low` on, one per layer; `layers` names the config's attribute that counts them."""
    return _declared(default, lambda name, value: _per_layer(name, value, low), layers=layers)


def number(default: float, low: float, high: float) -> Any:
    """Declare a number from `low` to `high`."""
    return _declared(default, lambda name, value: _number(name, value, low, high))


def switch(default: bool) -> Any:
    """Declare a field that is True or False."""
    return _declared(default, _switch)


def one_of(default: Any, known: Iterable[Any]) -> Any:
    """Declare a field that has one of the values `known`."""
    return _declared(default, lambda name, value: check_known(name, value, known))


def check_known(name: str, value: Any, known: Iterable[Any]) -> Any:
    """Return `value`. Raises UserError, naming what there is, where it is not one of `known`."""
    if value not in (known := tuple(known)):
        raise UserError(f"{name} is {value!r}, but must be one of {', '.join(map(str, known))}")
    return value


def _declared(default: Any, check: Check, **metadata: str) -> Any:
    def checked(name: str, value: Any) -> Any:
        return None if value is None and default is None else check(name, value)

    return dataclasses.field(default=default, metadata={"check": checked, **metadata})


def _whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    rule = f"a whole number of at least {low}" if high is None else f"{low}..{high}"
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise UserError(f"{name} is {value!r}, but must be {rule}")
    return value


def _wholes(name: str, value: Any, low: int, high: int | None = None) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise UserError(f"{name} is {value!r}, but must be a tuple of whole numbers")
    return tuple(_whole(name, entry, low, high) for entry in value)


def _per_layer(name: str, value: Any, low: int) -> PerLayer:
    if not isinstance(value, list | tuple):
        return _whole(name, value, low)
    if not value:
        raise UserError(f"{name} is empty, but must be a number or a tuple of at least one")
    return _wholes(name, value, low)


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UserError(f"{name} is {value!r}, but must be {low:g}..{high:g}")
    return value


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}, but must be True or False")
    return value
