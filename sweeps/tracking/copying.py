"""A trial's run that begins as a copy of another study's: its snapshot, its epochs' metrics, and where they are from.

The other run is only read. While the copy is under way a tag of the new one says what it is to be a copy of, so that a
process that dies meanwhile costs a repetition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sweeps.tracking.artifacts import folder_of
from sweeps.tracking.connection import is_refusal, one_line
from sweeps.tracking.entry import COPY_OF, TO_COPY
from sweeps.tracking.sending import ITEMS_PER_CALL, Sending
from sweeps.tracking.snapshot import NEWEST

if TYPE_CHECKING:
    from mlflow.entities import Run


def tags(source: str | None) -> dict[str, str]:
    """Return what a new run is to be tagged with that begins as a copy of `source`; None: it does not."""
    return {TO_COPY: source} if source else {}


def completed(sending: Sending, run: Run) -> Run:
    """Return a run once it is the copy that it is to be, if any.

    Where MLflow does not have the other run any more, that is noted, and it stays as it is. Raises what MLflow does
    where that is away.
    """
    source = run.data.tags.get(TO_COPY)
    if source is None:
        return run
    store, run_id = sending.store, run.info.run_id
    try:
        found, files = store.client.get_run(source), store.files(source)
    except Exception as error:
        if not is_refusal(error):
            raise
        sending.shared.note(sending.trial, f"run {source}", f"cannot be copied: {one_line(error)}")
    else:
        _copy(sending, run_id, found, files)
    store.client.delete_tag(run_id, TO_COPY)
    return store.client.get_run(run_id)


def _copy(sending: Sending, run_id: str, found: Run, files: Mapping[str, bytes]) -> None:
    from mlflow.entities import RunTag

    client, source = sending.store.client, found.info.run_id
    for name, content in files.items():
        sending.store.attach(run_id, folder_of(name), {name.rpartition("/")[2]: content})
        sending.answered(f"a copy of {name}")
    metrics = [each for name in found.data.metrics for each in client.get_metric_history(source, name)]
    sending.send(metrics, lambda some: client.log_batch(run_id, metrics=some), ITEMS_PER_CALL)
    newest = {NEWEST: found.data.tags[NEWEST]} if NEWEST in found.data.tags else {}
    client.log_batch(run_id, tags=[RunTag(*tag) for tag in {COPY_OF: source, **newest}.items()])
