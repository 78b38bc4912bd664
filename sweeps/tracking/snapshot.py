"""How a trial's snapshot lies in its MLflow run, and how it is read from there.

curves.json, per_class.json, checkpoint/   as in the snapshot (trainables/snapshot.py)
state/a.zip, state/b.zip                   the newest state and the one before, by turns: while one is written the
                                           other is there whole; the tag `newest_state` says which one is newer
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sweeps.tracking.artifacts import Artifacts, Unreadable
from sweeps.tracking.connection import one_line
from trainables.files import unsealed
from trainables.history import Epoch, History
from trainables.snapshot import CHECKPOINT, CURVES, PER_CLASS, STATE, curves, records

STATES = "state"
SLOTS = (f"{STATES}/a.zip", f"{STATES}/b.zip")
NEWEST = "newest_state"  # the tag
ARTIFACTS = (CURVES, PER_CLASS, CHECKPOINT, STATES)  # a run's artifacts beside these are findings
WITNESS = "train_loss"  # the record that MLflow has as a metric too, by the same name: a mean over the replicates


@dataclass(frozen=True)
class Witness:
    """What a run's metrics say of where its records end."""

    newest: float | None = None  # None: nothing, or it is not to be asked
    at: Callable[[int], Collection[float]] = lambda _: ()  # all values that the metric of an epoch has had

    def has_as_newest(self, history: History) -> bool:
        """Whether a history's last epoch is the newest that MLflow has as metrics."""
        return self.newest in (None, _last_epoch(history).mean(WITNESS))

    def has(self, history: History) -> bool:
        """Whether MLflow has a history's last epoch as it is there."""
        last = _last_epoch(history)
        return last.mean(WITNESS) in self.at(last.number)


@dataclass(frozen=True)
class StoredState:
    """What a run has for training to go on from: the newest state that is whole, and its slot; empty where none is."""

    content: bytes
    slot: str | None
    damaged: tuple[str, ...]  # a line for each that is damaged


@dataclass(frozen=True)
class StoredCurves:
    """What a run has of curves, in the form of History.to_dict()."""

    form: dict[str, Any] | None  # None: none that can be read
    wrong: str | None = None  # what is wrong with the run's own file
    from_state: bytes | None = None  # what that file should be, where the form is the state's


def next_slot(slot: str | None) -> str:
    """Return the slot that the next state goes to: not the one that holds the newest."""
    return SLOTS[slot == SLOTS[0]]


def place(name: str, slot: str) -> str:
    """Return the artifact that a snapshot's file becomes, the state being for `slot`."""
    return slot if name == STATE else name


def read_files(run: Artifacts) -> dict[str, bytes]:
    """Return a run's snapshot: artifact → content. Raises Unreadable."""
    files: dict[str, bytes] = {}
    for artifact in run.listed():
        if artifact.path in ARTIFACTS and artifact.is_dir:
            below = run.below(artifact.path)
            files |= {f"{artifact.path}/{name}": content for name, content in below.items()}
        elif artifact.path in ARTIFACTS:
            files[artifact.path] = run.fetch(artifact)
    return files


def read_state(run: Artifacts) -> StoredState:
    """Return the newest state that a run has whole, and what of the others is damaged."""
    newest, kept, damaged = -1, (b"", None), []
    try:
        slots = [artifact for artifact in run.listed(STATES) if artifact.path in SLOTS]
    except Unreadable as error:
        return StoredState(b"", None, (f"{STATES} cannot be read ({error})",))
    for artifact in slots:
        try:
            content = run.fetch(artifact)
            count = records(content)
        except ValueError as error:
            damaged.append(f"{artifact.path} is damaged ({one_line(error)})")
            continue
        if count > newest:
            newest, kept = count, (content, artifact.path)
    return StoredState(*kept, tuple(damaged))


def read_curves(run: Artifacts, witness: Witness) -> StoredCurves:
    """Return a run's curves: its curves.json, or where something is wrong with that, the state's.

    Wrong is also one that does not end in the newest of the run's metrics, as it is when records are missing; then the
    state's are taken if they are no fewer, and not wrong in this way.

    A trial that lost epochs since its last snapshot, and was then stopped before it came to them again, has metrics
    beyond its end. So where neither ends in the newest, both may end in the metric of their own last epoch.
    """
    form, own, wrong = _own_curves(run)
    if form and witness.has_as_newest(own):
        return StoredCurves(form)
    wrong = wrong or f"its {CURVES} does not fit its metrics"
    state = read_state(run)
    if state.content:
        content = curves(state.content)
        other = History.from_dict(unsealed(content))
        no_fewer = other.count >= max(own.count, 1)
        if no_fewer and (witness.has_as_newest(other) or witness.has(other)):
            if form and other.count == own.count and witness.has(own):
                return StoredCurves(form)
            return StoredCurves(unsealed(content), wrong, content)
    return StoredCurves(form, f"{wrong}, and {'; '.join(state.damaged) or 'it has no state with them'}")


def _own_curves(run: Artifacts) -> tuple[dict[str, Any] | None, History, str | None]:
    """Return a run's curves.json, None where it holds no record, the same as a history, and what is wrong with it."""
    nothing = History({})
    try:
        content = run.at_once(CURVES)
        if content is None:
            found = next((each for each in run.listed() if each.path == CURVES), None)
            if found is None:
                return None, nothing, f"its {CURVES} is missing"
            content = run.fetch(found)
        form = unsealed(content)
        own = History.from_dict(form)
    except ValueError as error:
        return None, nothing, f"its {CURVES} is damaged ({one_line(error)})"
    return (form, own, None) if own.count else (None, nothing, f"its {CURVES} holds no record")


def _last_epoch(history: History) -> Epoch:
    """Return the last epoch, over the replicates that have come so far."""
    last = max(map(len, history.records.values()))
    ended = {seed: rows[-1] for seed, rows in sorted(history.records.items()) if len(rows) == last}
    return Epoch(last, tuple(ended), tuple(ended.values()))
