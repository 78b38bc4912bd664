"""What MLflow keeps of a study beside its trials: where and when they ran, as text in a tag of the experiment."""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.tracking.connection import pages
from sweeps.tracking.store import TAG_LENGTH, Store, counts

NOTE = "cnn_sweeps.provenance"


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
