"""What a trial's run is sent: what MLflow refuses of it costs only itself, and what it takes is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeps.tracking.connection import is_refusal, one_line
from sweeps.tracking.shared import Shared, Tracked
from sweeps.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag

ITEMS_PER_CALL, PARAMS_PER_CALL = 1000, 100  # MLflow's own limits: all items, and params or tags, in one call

Metrics = Mapping[tuple[str, int], "Metric"]  # by name and step


@dataclass(frozen=True)
class Sending:
    """Sends to the run of one trial."""

    store: Store
    shared: Shared
    trial: Tracked

    def entries(self, params: Sequence[Param], metrics: Metrics, tags: Sequence[RunTag]) -> None:
        """Send what a run is to have beside files, at once if MLflow takes it so."""
        client, run_id, values = self.store.client, self.trial.run_id, list(metrics.values())
        items = [*params, *values, *tags]
        if len(params) <= PARAMS_PER_CALL and 0 < len(items) <= ITEMS_PER_CALL:
            try:
                client.log_batch(run_id, values, params, tags)
                self.answered(f"{len(items)} from {items[0]!r} to {items[-1]!r}")
                return
            except Exception as error:
                if not is_refusal(error):
                    raise
        self.send(params, lambda some: client.log_batch(run_id, params=some))
        self.send(values, lambda some: client.log_batch(run_id, metrics=some), ITEMS_PER_CALL)
        if tags:
            client.log_batch(run_id, tags=tags)
            self.answered(f"{len(tags)} from {tags[0]!r}")

    def send(self, items: Sequence[Any], send: Callable[[Any], None], at_once: int = PARAMS_PER_CALL) -> None:
        """Send the items. Where MLflow refuses a batch, they go one by one, so that a bad one costs only itself."""
        for begin in range(0, len(items), at_once):
            some = items[begin : begin + at_once]
            try:
                send(some)
                self.answered(f"{len(some)} from {some[0]!r}")
            except Exception as error:
                if not is_refusal(error):
                    raise
                if len(some) > 1:
                    self.send(some, send, at_once=1)
                else:
                    self._refused(repr(getattr(some[0], "key", some[0])), error)

    def answered(self, item: str) -> None:
        """Count an item as progress. One that is sent again and again is none, so that what fails for good is seen."""
        self.trial.answered.add(item)

    def _refused(self, item: str, error: Exception) -> None:
        self.trial.sent.refused.add(item)
        self.shared.note(self.trial, item, f"is refused by MLflow: {one_line(error)}")
