"""What MLflow keeps of a study beside its trials: where and when they ran, as text in a tag of the experiment; and what
a report needs of the data, as a file of the run of one of its stages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sweeps.tracking.artifacts import Artifacts
from sweeps.tracking.connection import pages
from sweeps.tracking.store import TAG_LENGTH, Store, counts

NOTE = "cnn_sweeps.provenance"
DATA = "data"  # the folder of a run's files, and the beginning of its tag


@dataclass(frozen=True)
class Times:
    """From when to when a study's trials ran, in seconds since 1970, and from which commit the first one came."""

    began: float
    ended: float | None
    commit: str


def write_note(store: Store, study: str, text: str) -> None:
    """Keep the text. Raises ValueError where it is too long for a tag, UserError where MLflow does not take it."""
    if len(text) > TAG_LENGTH:
        raise ValueError(f"a note of {len(text):,} characters is too long for a tag")
    with store.readable():
        store.client.set_experiment_tag(store.experiment_id(study), NOTE, text)


def read_note(store: Store, study: str) -> str:
    """Return the text that was kept; empty where there is none. Raises UserError."""
    with store.readable():
        known = store.client.get_experiment_by_name(study)
    return str(known.tags.get(NOTE, "")) if known else ""


def write_data(store: Store, study: str, dataset: str, run_id: str, content: bytes) -> None:
    """Keep what is to be known of a data set: in the run that has it already, else in this one. Raises UserError."""
    with store.readable():
        name = _name(dataset)
        run_id = _holder(store, study, name) or run_id
        store.attach(run_id, DATA, {f"{name}.zip": content})
        store.client.set_tag(run_id, f"{DATA}.{name}", dataset[:TAG_LENGTH])


def read_data(store: Store, study: str, dataset: str) -> bytes | None:
    """Return what was kept of a data set; None where nothing was.

    Raises Unreadable where it cannot be read, whatever is asked again; UserError where MLflow is away.
    """
    with store.readable():
        name = _name(dataset)
        run_id = _holder(store, study, name)
        if run_id is None:
            return None
        files = Artifacts.of(store.client, run_id)
        found = [each for each in files.listed(DATA) if each.path == f"{DATA}/{name}.zip"]
        return files.fetch(found[0]) if found else None


def times(store: Store, study: str) -> Times | None:
    """Return what the study's own runs tell; None where it has none. Raises UserError."""
    with store.readable():
        known = store.client.get_experiment_by_name(study)
        found = pages(store.client.search_runs, experiment_ids=[known.experiment_id]) if known else ()
        runs = sorted((run for run in found if counts(run)), key=lambda run: (run.info.start_time, run.info.run_id))
    if not runs:
        return None
    ends = [run.info.end_time for run in runs if run.info.end_time]
    commit = runs[0].data.tags.get("git_commit", "")
    return Times(runs[0].info.start_time / 1000, max(ends) / 1000 if ends else None, str(commit))


def _name(dataset: str) -> str:
    """Return what is a name for a file and a tag, whatever the way to a folder of images holds."""
    return hashlib.sha256(dataset.encode(errors="surrogateescape")).hexdigest()[:12]


def _holder(store: Store, study: str, name: str) -> str | None:
    """Return the run that has the file of this name; None where none has."""
    known = store.client.get_experiment_by_name(study)
    if known is None:
        return None
    has = f"tags.`{DATA}.{name}` LIKE '%'"
    runs = store.client.search_runs([known.experiment_id], has, max_results=1)
    return str(runs[0].info.run_id) if runs else None
