"""A run that begins as a copy of another study's, through the Tracker, on a real sqlite store."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from sweeps.decisions.status import Status
from sweeps.tracking import delivery
from sweeps.tracking.entry import Entry
from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker
from tests.sweeps.tracking.trials import KEY, NOBODY, in_mlflow, snapshot, start
from trainables.snapshot import STATE

if TYPE_CHECKING:
    from mlflow.entities import Run

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

SCORES = {"best_val_accuracy": 0.5}


@pytest.fixture
def source(tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """The run of a trial that another study has trained for two epochs, with a snapshot after each."""
    monkeypatch.setattr(delivery, "FILES_EVERY", 0.0)
    writer = tracker()
    writer.experiment = "grid"
    start(writer)
    for epoch, loss in ((1, 1.0), (2, 0.5)):
        writer.epoch(KEY, epoch, {"train_loss": loss}, snapshot(epoch))
        assert writer.drain(20) == []
    writer.finish(KEY, Status.DONE, scores={"best_val_accuracy": 0.4, "best_val_accuracy_sd": 0.1})
    assert writer.drain(20) == []
    return runs(store, "grid")[0].info.run_id


def runs(store: Store, study: str) -> list[Run]:
    found = store.client.get_experiment_by_name(study)
    return list(store.client.search_runs([found.experiment_id])) if found else []


def entry(source: str) -> Entry:
    return Entry("find: #3", {"depth": 2}, {"study": "study", "draw": "{}"}, source=source)


def seen(store: Store, run_id: str) -> tuple[Any, ...]:
    run = store.client.get_run(run_id)
    return run.data.tags, run.data.metrics, losses(store, run_id), store.files(run_id), run.info.status


def losses(store: Store, run_id: str) -> list[tuple[int, float, int]]:
    return [(each.step, each.value, each.timestamp) for each in store.client.get_metric_history(run_id, "train_loss")]


def test_the_copy_has_all_that_the_other_has_and_that_one_stays_as_it_is(
    tracker: Callable[..., Tracker], store: Store, source: str
) -> None:
    before = seen(store, source)
    writer = tracker()
    writer.copy(KEY, entry(source), Status.CENSORED, {})
    assert writer.drain(20) == []
    assert seen(store, source) == before
    [run] = runs(store, "study")
    assert store.files(run.info.run_id) == store.files(source) == in_mlflow(snapshot(2), "b")
    assert losses(store, run.info.run_id) == losses(store, source)
    assert [each[:2] for each in losses(store, source)] == [(1, 1.0), (2, 0.5)]
    tags = run.data.tags
    assert (tags["copy_of"], tags["newest_state"], tags["draw"]) == (source, "state/b.zip", "{}")
    assert not {"to_copy", "copy_went_on"} & tags.keys()
    assert (tags["status"], run.info.status) == ("censored", "KILLED")
    stored = store.trials([KEY], "study")[KEY]
    assert (stored.run_id, stored.curves and len(stored.curves["seeds"]["0"])) == (run.info.run_id, 2)
    assert writer.run_ids() == {KEY: run.info.run_id}


def test_one_that_ran_in_full_has_its_summary_as_its_own_study_counts_it(
    tracker: Callable[..., Tracker], store: Store, source: str
) -> None:
    writer = tracker()
    writer.copy(KEY, entry(source), Status.DONE, SCORES)
    writer.copy(KEY, entry(source), Status.DONE, SCORES)
    assert writer.drain(20) == []
    [run] = runs(store, "study")
    assert run.data.metrics["best_val_accuracy"] == 0.5
    assert math.isnan(run.data.metrics["best_val_accuracy_sd"])  # of more seeds than the search has
    assert run.info.status == "FINISHED"


def test_a_copy_that_goes_on_starts_from_the_others_state_and_never_from_an_older_one_than_its_own(
    tracker: Callable[..., Tracker], store: Store, source: str
) -> None:
    away = tracker(NOBODY)
    away.start(KEY, entry(source), "1")
    with pytest.raises(ConnectionError):
        away.state(KEY)  # asked again by the worker
    writer = tracker()
    writer.start(KEY, entry(source), "1")
    writer.copy(KEY, entry(source), Status.CENSORED, {})  # the driver's word comes late: a worker has it
    assert writer.state(KEY) == snapshot(2)[STATE]
    assert writer.drain(20) == []
    assert writer.state(KEY) == snapshot(2)[STATE]
    writer.epoch(KEY, 3, {"train_loss": 0.25}, snapshot(3), "1")
    assert writer.drain(20) == []
    writer.start(KEY, entry(source), "2")
    assert writer.drain(20) == []
    assert writer.state(KEY) == snapshot(3)[STATE]
    writer.finish(KEY, Status.DONE, scores=SCORES)
    assert writer.drain(20) == []
    [run] = runs(store, "study")
    assert run.data.tags["copy_went_on"] == "yes"
    assert store.files(run.info.run_id) == in_mlflow(snapshot(3), "a")  # the older state, of the copy, is gone
    assert store.files(source) == in_mlflow(snapshot(2), "b")


@pytest.mark.parametrize("at", ["files", "attach"])
def test_a_copy_that_broke_off_is_completed(
    tracker: Callable[..., Tracker], store: Store, source: str, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    with monkeypatch.context() as broken:

        def fails(*_: Any) -> None:
            raise ConnectionError("MLflow is away")

        broken.setattr(Store, at, fails)
        writer = tracker()
        writer.copy(KEY, entry(source), Status.CENSORED, {})
        assert len(writer.drain(0.5)) == 1
        [run] = runs(store, "study")
        assert run.data.tags["to_copy"] == source
    again = tracker()
    assert again.drain(20) == []
    [run] = runs(store, "study")
    assert store.files(run.info.run_id) == store.files(source)
    assert "to_copy" not in run.data.tags


def test_where_the_other_is_gone_the_trial_starts_anew_and_it_is_said(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    writer = tracker()
    writer.start(KEY, entry("f" * 32), "1")
    assert writer.state(KEY) == b""
    assert writer.drain(20) == []
    assert len(runs(store, "study")) == 1
    [line] = writer.problems()
    assert "f" * 32 in line
    assert "cannot be copied" in line
