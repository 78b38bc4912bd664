"""From a task of the agenda to the order that a worker gets."""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.decisions.records import Task
from sweeps.execution.messages import Order
from sweeps.tracking.entry import Entry, params


def order(task: Task, device: str, tags: Mapping[str, str]) -> Order:
    """Return the order for a task that trains on this kind of device; `tags` as in entry()."""
    return Order(task.key, task.stage, task.cell.trial, tuple(task.seeds), device, entry(task, tags))


def entry(task: Task, tags: Mapping[str, str]) -> Entry:
    """Return what MLflow is to know of a task; `tags` are those that all runs of the command share.

    A search goes on from another study's trial in a run of its own, which begins as a copy.
    """
    known = task.known
    found = (known.run_id or None) if known else None
    copied = known is not None and task.drawn is not None and known.study not in ("", tags["study"])
    run_id, source = (None, found) if copied else (found, None)
    return Entry(task.name, params(task.cell.trial), _tags(task) | dict(tags), run_id, source)


def _tags(task: Task) -> dict[str, str]:
    return {"stage": task.stage, "value": task.cell.label, "dataset": task.cell.trial.dataset} | dict(task.tags)
