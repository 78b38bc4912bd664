"""From a task of the agenda to the order that a worker gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.decisions.records import Task
from sweeps.execution.messages import Order
from sweeps.tracking.entry import Entry


def order(task: Task, device: str, tags: Mapping[str, str]) -> Order:
    """Return the order for a task that trains on this kind of device; `tags` are those that all runs of the command
    share.
    """
    run_id = task.known.run_id if task.known else None
    entry = Entry(task.name, _params(task), _tags(task) | dict(tags), run_id)
    return Order(task.key, task.stage, task.cell.trial, tuple(task.seeds), device, entry)


def _params(task: Task) -> dict[str, str | int | float | bool]:
    """Return the config as MLflow's params: flattened, only what matters.

    The number of epochs is not among them: it may be raised later, and params never change.
    """
    trial = task.cell.trial
    flat: dict[str, Any] = {"dataset": trial.dataset, "weights": trial.weights}
    flat |= trial.model.canonical() | trial.training.canonical()
    plain = {name: "-".join(map(str, value)) if isinstance(value, tuple) else value for name, value in flat.items()}
    return {name: value for name, value in plain.items() if value not in ("", None)}


def _tags(task: Task) -> dict[str, str]:
    return {"stage": task.stage, "value": task.cell.label, "dataset": task.cell.trial.dataset} | dict(task.tags)
