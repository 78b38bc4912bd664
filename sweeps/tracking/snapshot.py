"""How a trial's snapshot lies in its MLflow run, and how it is read from there.

curves.json, per_class.json, checkpoint/   as in the snapshot (trainables/snapshot.py)
state/a.zip, state/b.zip                   the newest state and the one before, by turns: while one is written the
                                           other is there whole; the tag `newest_state` says which one is newer
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.tracking.connection import one_line
from trainables.snapshot import CHECKPOINT, CURVES, PER_CLASS, STATE, curves, records

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATES = "state"
SLOTS = (f"{STATES}/a.zip", f"{STATES}/b.zip")
NEWEST = "newest_state"  # the tag
ARTIFACTS = (CURVES, PER_CLASS, CHECKPOINT, STATES)  # a run's artifacts beside these are findings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredState:
    """What a run has for training to go on from: the newest state that is whole, and its slot; empty where none is."""

    content: bytes
    slot: str | None
    damaged: tuple[str, ...]  # a line for each that is damaged


def next_slot(slot: str | None) -> str:
    """Return the slot that the next state goes to: not the one that holds the newest."""
    return SLOTS[slot == SLOTS[0]]


def place(name: str, slot: str) -> str:
    """Return the artifact that a snapshot's file becomes, the state being for `slot`."""
    return slot if name == STATE else name


def read_files(client: MlflowClient, run_id: str) -> dict[str, bytes]:
    """Return a run's snapshot: artifact → content."""
    with tempfile.TemporaryDirectory() as folder:
        for artifact in client.list_artifacts(run_id):
            if artifact.path in ARTIFACTS:
                client.download_artifacts(run_id, artifact.path, folder)
        return contents(Path(folder))


def read_state(client: MlflowClient, run_id: str) -> StoredState:
    """Return the newest state that a run has whole, and what of the others is damaged."""
    newest, kept, damaged = -1, (b"", None), []
    places = {artifact.path for artifact in client.list_artifacts(run_id, STATES)}
    for slot in sorted(places & set(SLOTS)):
        with tempfile.TemporaryDirectory() as folder:
            content = Path(client.download_artifacts(run_id, slot, folder)).read_bytes()
        try:
            count = records(content)
        except ValueError as error:
            damaged.append(f"{slot} is damaged ({one_line(error)})")
            continue
        if count > newest:
            newest, kept = count, (content, slot)
    return StoredState(*kept, tuple(damaged))


def read_curves(client: MlflowClient, run_id: str) -> dict[str, Any] | None:
    """Return a run's curves.json, or where it is damaged what the state says; None where there is neither."""
    if all(artifact.path != CURVES for artifact in client.list_artifacts(run_id)):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_artifacts(run_id, CURVES, folder)
        try:
            return json.loads(Path(path).read_bytes())
        except ValueError:
            log.warning("run %s: its %s is damaged; those of its state are taken", run_id, CURVES)
    state = read_state(client, run_id).content
    return curves(state) if state else None


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder: relative path → content."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
