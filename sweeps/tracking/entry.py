"""What MLflow is to know of a trial before it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainables.config import CNN, Trial


@dataclass(frozen=True)
class Entry:
    """A trial's run: its name, its params, its tags. `run_id` is the run to go on in; None: the one with its key."""

    name: str
    params: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None


def params(trial: Trial) -> dict[str, str | int | float | bool]:
    """Return a trial's config as MLflow's params: flattened, only what matters.

    The number of epochs is not among them: it may be raised later, and params never change.
    """
    flat: dict[str, Any] = {"dataset": trial.dataset, "weights": trial.weights}
    flat |= trial.model.canonical() | trial.training.canonical()
    if isinstance(trial.model, CNN) and trial.model.blocks:
        flat.setdefault("pooling", "none")  # its key goes without, but a stage that varies it is read by it
    plain = {name: "-".join(map(str, value)) if isinstance(value, tuple) else value for name, value in flat.items()}
    return {name: value for name, value in plain.items() if value not in ("", None)}
