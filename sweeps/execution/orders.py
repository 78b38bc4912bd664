"""From a task of the agenda to the order that a worker gets."""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.decisions.records import Task
from sweeps.execution.messages import Order
from sweeps.tracking.entry import Entry, params


def order(task: Task, device: str, tags: Mapping[str, str]) -> Order:
    """Return the order for a task that trains on this kind of device; `tags` are those that all runs of the command
    share.
    """
    run_id = (task.known.run_id or None) if task.known else None
    entry = Entry(task.name, params(task.cell.trial), _tags(task) | dict(tags), run_id)
    return Order(task.key, task.stage, task.cell.trial, tuple(task.seeds), device, entry)


def _tags(task: Task) -> dict[str, str]:
    return {"stage": task.stage, "value": task.cell.label, "dataset": task.cell.trial.dataset} | dict(task.tags)
