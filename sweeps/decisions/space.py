"""A search space as data: which fields of a trial a search draws, and from what. Pure; it knows of no sampler.

Space({
    "model.conv_layers": Whole(1, 4),
    "model.channels": Each("model.conv_layers", Choice((16, 32, 64))),
    "model.pooling": Choice(("max", "none")),
    "model.stride": When({"model.pooling": "none"}, Choice((1, 2))),
    "training.lr": Real(1e-3, 0.3, log=True),
})
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sweeps.decisions.dimensions import Choice, Dimension, Each, Form, Real, When, Whole
from sweeps.decisions.labels import label
from trainables.config import Trial
from trainables.errors import UserError, suggest
from trainables.plan import plan_of


class Row(NamedTuple):
    """A field of a space in words. `when` is empty where every trial draws it."""

    field: str
    range: str
    when: str


@dataclass(frozen=True)
class Space:
    """What is drawn for each field, named as in a stage, and in this order: a field may only depend on those before it.

    Raises UserError where nothing is drawn, or a field depends on what it cannot, or can never be drawn.
    """

    fields: Mapping[str, Form]

    def __post_init__(self) -> None:
        if not self.fields:
            raise UserError("this search space is empty: it names no field to draw")
        for path, form in self.fields.items():
            if not isinstance(form, Form):
                raise UserError(f"{path} is {form!r}, but must be a Choice, Whole, Real, Each or When")
            self._check_conditions(path, form)
            self._check_count(path, form)
        for path in self.fields:
            if not any(self.parts(path, values) for values in self._walk(self._controlling)):
                raise UserError(f"{path} can never be drawn: its conditions and counts exclude one another")

    def check(self, start: Trial) -> None:
        """Raise UserError where `start` lacks a field that is to be drawn."""
        for path in self.fields:
            start.get(path)

    def parts(self, path: str, values: Mapping[str, Any]) -> tuple[tuple[str, Dimension], ...]:
        """Return the single draws, by name (`model.channels[0]`), that make a field, once `values` were drawn.

        That is one, or with an Each one per entry; none where the field is left out.
        """
        form = self.fields[path]
        if isinstance(form, When) and not form.holds(values):
            return ()
        inner = _inner(form)
        if isinstance(inner, Each):
            return tuple((f"{path}[{at}]", inner.of) for at in range(values[inner.count] - inner.fewer))
        return ((path, inner),)

    def draw(self, pick: Callable[[str, Dimension], Any]) -> dict[str, Any]:
        """Ask `pick` for each single draw by name, field by field; return values for Trial.with_values()."""
        values: dict[str, Any] = {}
        for path in self.fields:
            if parts := self.parts(path, values):
                values[path] = self._joined(path, tuple(pick(name, dimension) for name, dimension in parts))
        return values

    def random(self, rng: np.random.Generator) -> dict[str, Any]:
        """Return a point, each field drawn uniformly after those before it; in the logarithm where `log` says so."""
        return self.draw(lambda _, dimension: dimension.at(rng.random()))

    def flat(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the single draws, by name, that give the point `values`: draw() backwards.

        Raises UserError for one outside the space.
        """
        for path in values:
            if path not in self.fields:
                raise UserError(f"the search space has no field {path!r}{suggest(path, self.fields)}")
        point = {path: tuple(value) if isinstance(value, list) else value for path, value in values.items()}
        drawn: dict[str, Any] = {}
        for path, form in self.fields.items():
            parts = self.parts(path, point)
            if parts and path not in point:
                raise UserError(f"{path} is missing, but must be given{_where(form, ' where ')}")
            if path in point and not parts:
                raise UserError(f"{path} is {label(point[path])}, but must be left out{_where(form, ' unless ')}")
            if parts:
                drawn |= self._split(path, point[path], parts)
        return drawn

    def changed(self, point: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a point with other values for some fields, without those fields that it has for other values alone.

        Fields may be named by their last part. Raises UserError for one that there is not, or for the result where it
        is outside the space.
        """
        fields = {path.rpartition(".")[2]: path for path in self.fields} | {path: path for path in self.fields}
        for name in values:
            if name not in fields:
                raise UserError(f"the search space has no field {name!r}{suggest(name, fields)}")
        given = {fields[name]: value for name, value in values.items()}
        both = {**point, **given}
        changed = {path: value for path, value in both.items() if path in given or self.parts(path, both)}
        self.flat(changed)
        return changed

    @property
    def size(self) -> int | None:
        """The number of points, None where a real number is drawn."""
        if self.continuous:
            return None
        free = [path for path in self.fields if path not in self._controlling]
        return sum(
            math.prod(dimension.size or 0 for path in free for _, dimension in self.parts(path, values))
            for values in self._walk(self._controlling)
        )

    @property
    def continuous(self) -> tuple[str, ...]:
        """The fields that are real numbers."""
        return tuple(path for path, form in self.fields.items() if isinstance(_dimension(form), Real))

    def points(self) -> Iterator[dict[str, Any]]:
        """Go through all points, the last field changing fastest. Raises UserError where there are infinitely many."""
        if self.continuous:
            first = self.continuous[0]
            raise UserError(f"{first} is a real number, so there are infinitely many points; for a grid, use a Choice")
        return self._walk(tuple(self.fields))

    def describe(self) -> list[Row]:
        """Return the fields in words, in order."""
        return [
            Row(path, str(form.of), str(form)) if isinstance(form, When) else Row(path, str(form), "")
            for path, form in self.fields.items()
        ]

    @property
    def _controlling(self) -> tuple[str, ...]:
        """The fields that others depend on."""
        named = {name for form in self.fields.values() for name in _depends_on(form)}
        return tuple(path for path in self.fields if path in named)

    def _walk(self, paths: Sequence[str], values: Mapping[str, Any] = {}) -> Iterator[dict[str, Any]]:
        """Go through all values of some fields, which must all be discrete."""
        if not paths:
            yield dict(values)
            return
        ranges = [dimension.values for _, dimension in self.parts(paths[0], values) if not isinstance(dimension, Real)]
        for entries in itertools.product(*ranges):
            drawn = {paths[0]: self._joined(paths[0], entries)} if ranges else {}
            yield from self._walk(paths[1:], {**values, **drawn})

    def _joined(self, path: str, entries: tuple[Any, ...]) -> Any:
        return entries if isinstance(_inner(self.fields[path]), Each) else entries[0]

    def _split(self, path: str, value: Any, parts: Sequence[tuple[str, Dimension]]) -> dict[str, Any]:
        entries = value if isinstance(_inner(self.fields[path]), Each) else (value,)
        if not isinstance(entries, tuple) or len(entries) != len(parts):
            raise UserError(f"{path} is {label(value)}, but must be a tuple of {len(parts)}")
        for (name, dimension), entry in zip(parts, entries, strict=True):
            if not dimension.has(entry):
                raise UserError(
                    f"{name} is {label(entry)}, but must be "
                    f"{'one of ' if isinstance(dimension, Choice) else ''}{dimension}"
                )
        return {name: entry for (name, _), entry in zip(parts, entries, strict=True)}

    def _before(self, path: str, name: str) -> Form:
        earlier = dict(itertools.takewhile(lambda item: item[0] != path, self.fields.items()))
        if name not in earlier:
            late = " before it" if name in self.fields else suggest(name, earlier)
            raise UserError(f"{path} depends on {name!r}, which the search space does not draw{late}")
        return earlier[name]

    def _check_conditions(self, path: str, form: Form) -> None:
        for name, wanted in form.conditions.items() if isinstance(form, When) else ():
            other = self._before(path, name)
            dimension = _dimension(other)
            if isinstance(_inner(other), Each) or isinstance(dimension, Real):
                raise UserError(
                    f"{path} depends on {name}, but only a Choice or Whole has values that a condition can name"
                )
            for value in wanted:
                if not dimension.has(value):
                    raise UserError(
                        f"{path} is drawn where {name} is {label(value)}, but {name} is drawn from {dimension}"
                    )

    def _check_count(self, path: str, form: Form) -> None:
        each = _inner(form)
        if not isinstance(each, Each):
            return
        counted = self._before(path, each.count)
        if isinstance(counted, Whole | Choice) and all(Whole(each.fewer, 10**6).has(value) for value in counted.values):
            return
        raise UserError(
            f"{path} has an entry for each of {each.count}, which must be a whole number of at least {each.fewer} in "
            "every trial"
        )


class Buildable(NamedTuple):
    """How much of a space can be built, 0..1, and what most often keeps the rest from it."""

    share: float
    reason: str | None


def buildable(
    space: Space, start: Trial, image_shape: tuple[int, int, int], classes: int, samples: int = 1000, seed: int = 0
) -> Buildable:
    """Return what share of random points gives a network that can be built on images of `image_shape` (C, H, W)."""
    rng = np.random.default_rng(seed)
    found = (unbuildable(start, space.random(rng), image_shape, classes) for _ in range(samples))
    reasons = Counter(reason for reason in found if reason)
    return Buildable(1 - reasons.total() / samples, max(reasons, key=reasons.__getitem__, default=None))


def unbuildable(start: Trial, values: Mapping[str, Any], image_shape: tuple[int, int, int], classes: int) -> str | None:
    """Return what keeps a point from being trained: a value against its rule, or a window that does not fit.

    None where nothing does.
    """
    try:
        trial = start.with_values(values)
        plan_of(trial, image_shape, classes)
    except UserError as error:
        return str(error)
    return None


def _inner(form: Form) -> Dimension | Each:
    return form.of if isinstance(form, When) else form


def _dimension(form: Form) -> Dimension:
    inner = _inner(form)
    return inner.of if isinstance(inner, Each) else inner


def _depends_on(form: Form) -> tuple[str, ...]:
    if isinstance(form, When):
        return (*form.conditions, *_depends_on(form.of))
    return (form.count,) if isinstance(form, Each) else ()


def _where(form: Form, word: str) -> str:
    """Return the rule by which a field is drawn or left out, behind `word`; nothing where it is always drawn."""
    inner = _inner(form)
    rules = [str(form)] if isinstance(form, When) else []
    rules += [f"{inner.count} is above {inner.fewer}"] if isinstance(inner, Each) else []
    return word + " and ".join(rules) if rules else ""
