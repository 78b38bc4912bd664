"""What MLflow is to know of a trial before it trains; and from that, where in a search's space it lies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.decisions.dimensions import Choice, Dimension, Real
from sweeps.decisions.space import Space
from trainables.config import CNN, Trial

PARENT = "mlflow.parentRunId"
TO_COPY = "to_copy"  # the tag of a run that begins as a copy of another, while that is not copied in whole
COPY_OF = "copy_of"  # and thereafter
WENT_ON = "copy_went_on"  # and of one that has been trained on since: it has more than the other
PLACE = ("stage", "value", PARENT)  # the tags that say where a trial belongs
BETWEEN = re.compile("(?<=[^e])-")  # a tuple's entries; the dash of 1e-05 is none


@dataclass(frozen=True)
class Entry:
    """A trial's run: its name, its params, its tags. `run_id` is the run to go on in; None: the one with its key.

    Where a new one is begun, it begins as a copy of the run `source`, where that is given.
    """

    name: str
    params: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None
    source: str | None = None


def continued(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that a run with those of `before` is to have as a trial goes on in it.

    What a search drew stays its own, and among its trials, as it goes on from them; a grid may go on with it too.
    """
    stays = "draw" in before and "draw" not in now
    return {**now, **{name: before[name] for name in PLACE if stays and name in before}}


def params(trial: Trial) -> dict[str, str | int | float | bool]:
    """Return a trial's config as MLflow's params: flattened, only what matters.

    The number of epochs is not among them: it may be raised later, and params never change.
    """
    flat: dict[str, Any] = {"dataset": trial.dataset, "weights": trial.weights}
    flat |= trial.model.canonical() | trial.training.canonical()
    if isinstance(trial.model, CNN) and trial.model.blocks:
        flat.setdefault("pooling", "none")  # its key goes without, but a stage that varies it is read by it
    plain = {name: _joined(value) for name, value in flat.items()}
    return {name: value for name, value in plain.items() if value not in ("", None)}


def point(space: Space, start: Trial, params: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the point of a space that a trial with these params is: params() backwards. None where it is none.

    A field that is not among them has its default, or does not matter to the trial: any value gives the same. Fields
    that the space does not draw are not looked at: whether `start` leads to the same trial is left to the caller.
    """
    default = Trial(model=type(start.model)())

    def read(name: str, dimension: Dimension) -> Any:
        path, _, entry = name.partition("[")
        text = params.get(path.rpartition(".")[2])
        if text is None:
            return default.get(path) if dimension.has(default.get(path)) else dimension.at(0.5)
        if entry:
            text = BETWEEN.split(text)[int(entry.rstrip("]"))]
        return _read(dimension, text)

    try:
        return space.draw(read)
    except (ValueError, IndexError):
        return None


def _joined(value: Any) -> Any:
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


def _read(dimension: Dimension, text: str) -> Any:
    """Return the value of a single draw that gives this param. Raises ValueError where none does."""
    entries = BETWEEN.split(text)
    if isinstance(dimension, Choice):
        for value in dimension.values:
            if text == str(_joined(value)) or entries == _spread(value, len(entries)):
                return value
        raise ValueError(f"{text!r} is none of {dimension}")
    number = (float if isinstance(dimension, Real) else int)(entries[0])
    if len(set(entries)) > 1 or not dimension.has(number):
        raise ValueError(f"{text!r} is not in {dimension}")
    return number


def _spread(value: Any, length: int) -> Sequence[str]:
    """Return what a value for all layers, or for some of them, is for each of so many."""
    entries = value if isinstance(value, tuple) and value else (value,)
    return [str(entries[min(at, len(entries) - 1)]) for at in range(length)]
