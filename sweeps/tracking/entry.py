"""What MLflow is to know of a trial before it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """A trial's run: its name, its params, its tags. `run_id` is the run to go on in; None: the one with its key."""

    name: str
    params: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None
