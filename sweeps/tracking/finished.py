"""Finished trials: choosing those that evaluation and analyses ask, and loading their models."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.stages import RECHECK, UNVARIED
from sweeps.decisions.status import Status
from sweeps.tracking.store import TAG_LENGTH, Store, StoredTrial
from trainables.errors import UserError, suggest
from trainables.files import parsed
from trainables.history import History
from trainables.snapshot import CURVES

if TYPE_CHECKING:
    from trainables.checkpoint import Checkpoint

WINNERS = "winners"  # the experiment's tag
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


def note_winners(store: Store, study: str, winners: Mapping[str, Outcome]) -> None:
    """Have the study's experiment say who won its stages; those decided before that are not among these stay."""
    if winners:
        noted = {stage: (outcome.key, outcome.score) for stage, outcome in winners.items()}
        text = json.dumps(_winners(store, study) | noted)
        if len(text) <= TAG_LENGTH:
            store.client.set_experiment_tag(store.experiment_id(study), WINNERS, text)


def winner(store: Store, what: str, stage: str | None = None) -> StoredTrial:
    """Return the trial of a run (its id); or of a study (its name) the best winner, with `stage` that stage's.

    Of a study that does not say who won, as an earlier version left it, it is the best trial on validation. Raises
    UserError where there is none.
    """
    if re.fullmatch("[0-9a-f]{32}", what):
        return store.finished(what)[0]
    with store.readable():
        noted = _winners(store, what)
    if not noted:
        everyone = store.finished(what)  # if there is such a study
        if stage is None:
            return best(everyone, 1)[0]
        raise UserError(
            f"{what} does not say who won its stages; the study's command notes it, and trains nothing again"
        )
    if stage is not None and stage not in noted:
        raise UserError(f"{what} has no stage {stage!r} with a winner{suggest(stage, noted)}")
    key, _ = noted[stage] if stage else max(noted.values(), key=lambda each: each[1])
    found = store.trials([key]).get(key)
    if found and found.status == Status.DONE:
        return found
    if stage:
        raise UserError(f"MLflow at {store.uri} has lost the run of the winner of {what}, {stage}")
    return best(store.finished(what), 1)[0]


def _winners(store: Store, study: str) -> dict[str, tuple[str, float]]:
    """Return who won a study's stages: key and validation score, by stage; nothing where it does not say so."""
    experiment = store.client.get_experiment_by_name(study)
    try:
        noted = parsed(experiment.tags[WINNERS]) if experiment else {}
        return {stage: (str(key), float(score)) for stage, (key, score) in noted.items()}
    except (KeyError, ValueError, TypeError, AttributeError):  # of an earlier version, or another's
        return {}


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
    """Return what tables and figures call a trial's model: `part_a, channels = 32-64-256`.

    It follows from the run's name, `channels: 32-64-256`, in stores of every version.
    """
    stage, colon, value = trial.name.partition(": ")
    if "=" in value:  # a value for each of several fields
        named = re.sub(r"(\w)=", r"\1 = ", value)
    elif value == UNVARIED:
        named = stage
    elif not colon or value.startswith("#") or stage == RECHECK:
        named = trial.name
    else:
        named = f"{stage} = {value}"
    return f"{trial.experiment}, {named}"


def folder_of(trial: StoredTrial) -> str:
    """Return the name of the folder that people find what was asked of a trial's model in."""
    return folder_name(f"{trial.experiment}, {trial.name}")


def folder_name(text: str) -> str:
    """Return a name that is safe as a folder's, on every system and in MLflow; a long one ends in its hash."""
    name = re.sub(r"[^A-Za-z0-9._=-]+", "_", text).strip("._-") or "unnamed"
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{name[: LONGEST - len(digest) - 1]}-{digest}"
