"""Which run of MLflow is a trial's: the one that it has, or none yet. Asked from several threads.

A trial that begins has no run, as a rule, and to ask for it each time takes MLflow longer the more runs it has. So the
keys that an experiment has are asked for once; what is not among them has no run until this process makes one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sweeps.decisions.status import Status
from sweeps.tracking.connection import is_refusal, pages
from sweeps.tracking.spool import About
from sweeps.tracking.store import ENDED, Store, counts
from trainables.history import History
from trainables.snapshot import records

if TYPE_CHECKING:
    from mlflow.entities import Run

# What MLflow's own column shows of a trial that has ended. One that was stopped early is not shown as finished.
MLFLOW_STATUS = {
    Status.DONE: "FINISHED",
    Status.CENSORED: "KILLED",
    Status.FAILED: "FAILED",
    Status.DROPPED: "KILLED",
    Status.INTERRUPTED: "KILLED",
}


class Runs:
    """The runs of trials."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._experiments: dict[str, str] = {}  # name → id
        self._keys: dict[str, set[str]] = {}  # by experiment's id, the trials that may have a run there

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created if need be."""
        with self._lock:
            if name not in self._experiments:
                self._experiments[name] = self._store.experiment_id(name)
            return self._experiments[name]

    def forget(self) -> None:
        """Ask for the experiments again: MLflow has refused, one may be gone."""
        with self._lock:
            self._experiments.clear()

    def find(self, about: About) -> Run | None:
        """Return a trial's run, if there is one that is not deleted."""
        client = self._store.client
        if about.run_id is not None:
            try:
                run = client.get_run(about.run_id)
            except Exception as error:
                if not is_refusal(error):
                    raise
            else:
                if run.info.lifecycle_stage == "active":
                    return run
        experiment = self.experiment(about.experiment)
        if about.run_id is None and not self._may_have(experiment, about.key):
            return None
        runs = client.search_runs([experiment], f"tags.key = '{about.key}'", order_by=["attributes.start_time DESC"])
        return next(filter(counts, runs), None)

    def _may_have(self, experiment: str, key: str) -> bool:
        """Tell whether an experiment may have a run of a trial.

        It may from now on: whoever asks makes one, and may not learn that MLflow has made it.
        """
        with self._lock:
            if experiment not in self._keys:
                runs = pages(
                    self._store.client.search_runs, experiment_ids=[experiment], filter_string="tags.key LIKE '%'"
                )
                self._keys[experiment] = {run.data.tags["key"] for run in runs}
            known = key in self._keys[experiment]
            self._keys[experiment].add(key)
            return known


def is_ahead(store: Store, run: Run, state: bytes) -> bool:
    """Whether MLflow has a trial further than the state that was left here, or as far and at its end.

    Then another command has gone on with it, on another machine maybe.
    """
    ended = _has_ended(run)
    if not (state or ended):
        return False
    left = records(state) if state else 0
    stored = History.from_dict(store.curves(run).form or {"seeds": {}}).count
    if ended or stored <= left:
        return ended and stored >= left
    # a trial that failed has left records that its state lacks: from those alone nobody has gone on
    newest = store.state(run.info.run_id).content
    return bool(newest) and records(newest) > left


def _has_ended(run: Run) -> bool:
    """Whether a run is shown as ended by its tag and by MLflow's own column: a delivery may have died between them.

    Earlier versions had that column show those that were stopped early as finished too.
    """
    status = run.data.tags["status"]
    return status in ENDED and run.info.status in (MLFLOW_STATUS[Status.DONE], MLFLOW_STATUS[Status(status)])
