"""Finished trials: choosing those that evaluation and analyses ask, and loading their models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.tracking.store import Store, StoredTrial
from trainables.errors import UserError
from trainables.history import History
from trainables.snapshot import CURVES

if TYPE_CHECKING:
    from trainables.checkpoint import Checkpoint

LONGEST = 120  # characters of a folder's name


def best(trials: Sequence[StoredTrial], count: int) -> list[StoredTrial]:
    """Return the `count` best of trials with curves, by validation_score(); of equals, the one named first."""
    return sorted(trials, key=lambda trial: (-validation_score(trial), trial.name))[:count]


def validation_score(trial: StoredTrial) -> float:
    """Return the mean over replicates of the validation score at the chosen epoch.

    Raises UserError where the run has lost its curves.
    """
    if trial.curves is None:
        raise UserError(f"run {trial.run_id} ({trial.name}) has no readable {CURVES}")
    return History.from_dict(trial.curves).score()


def load(store: Store, trial: StoredTrial) -> Checkpoint:
    """Return a trial's models. Raises UserError, naming the run, where its files are damaged or cannot be had."""
    from trainables.checkpoint import CheckpointError, load  # imports torch, which takes seconds

    with store.readable():
        files = store.checkpoint(trial.run_id)
    try:
        return load(files)
    except CheckpointError as error:
        raise CheckpointError(f"run {trial.run_id} ({trial.name}) has no model that can be read: {error}") from error


def model_name(trial: StoredTrial) -> str:
    """Return what tables and figures call a trial's model."""
    return f"{trial.experiment}, {trial.name}"


def folder_name(text: str) -> str:
    """Return a name that is safe as a folder's, on every system and in MLflow; a long one ends in its hash."""
    name = re.sub(r"[^A-Za-z0-9._=-]+", "_", text).strip("._-") or "unnamed"
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{name[: LONGEST - len(digest) - 1]}-{digest}"
