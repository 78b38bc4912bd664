"""sweeps.tracking.delivery against a real sqlite store, through the Tracker that it belongs to. No Ray, no server."""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeps.decisions.status import Status
from sweeps.tracking import delivery
from sweeps.tracking.artifacts import Artifacts
from sweeps.tracking.entry import PARENT, Entry
from sweeps.tracking.origin import data_set
from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker, deliver
from tests.sweeps.tracking.trials import (
    FILES,
    KEY,
    NOBODY,
    OTHER,
    RECORD,
    folders,
    in_mlflow,
    points,
    run_of,
    snapshot,
    start,
)
from trainables.files import zipped
from trainables.history import History
from trainables.snapshot import STATE

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_one_run_per_key_however_often_it_is_started(tracker: Callable[..., Tracker], store: Store) -> None:
    first = tracker()
    start(first)
    start(first)
    assert first.drain(20) == []
    run_id = run_of(store).info.run_id
    second = tracker()
    start(second)
    second.epoch(KEY, 1, {"loss": 1.0}, {})
    second.finish(KEY, Status.DONE)
    assert second.drain(20) == []
    assert run_of(store).info.run_id == run_id


def test_a_given_run_is_continued_and_repeated_epochs_add_nothing(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    first = tracker()
    start(first)
    first.epoch(KEY, 1, {"loss": 1.0}, {})
    first.epoch(KEY, 2, {"loss": 0.5}, {})
    first.finish(KEY, Status.FAILED, "out of memory")
    assert first.drain(20) == []
    stored = store.trials([KEY])[KEY]
    assert (stored.status, stored.reason) == ("failed", "out of memory")

    second = tracker()
    second.experiment = "another study"
    start(second, run_id=stored.run_id)
    second.epoch(KEY, 2, {"loss": 0.5}, {})
    second.epoch(KEY, 2, {"loss": 0.5}, {})
    second.epoch(KEY, 3, {"loss": 0.25}, {})
    assert second.drain(20) == []
    assert run_of(store).info.status == "RUNNING"
    stored = store.trials([KEY])[KEY]
    assert (stored.status, stored.reason, stored.experiment) == ("running", None, "study")
    assert points(store, "loss") == [(1, 1.0), (2, 0.5), (3, 0.25)]


@pytest.mark.parametrize("commands", [1, 2])
@pytest.mark.parametrize("drawn", [True, False])
def test_what_a_search_drew_stays_among_its_trials_where_a_grid_goes_on_with_it(
    drawn: bool, commands: int, tracker: Callable[..., Tracker], store: Store
) -> None:
    """In a next command, or in the same one, before MLflow has got anything of the first."""
    draw = {"number": "3", "attempt": "4", "draw": "{}"} if drawn else {}
    first = {"stage": "find", "value": "#3", PARENT: "a", "device": "cpu"}
    second = {"stage": "kernel", "value": "7", PARENT: "b", "device": "gpu"}
    writer = tracker()
    for tags in (first | draw, second):
        writer.start(KEY, Entry("find: #3", {}, tags, None))
        writer.finish(KEY, Status.DONE)
        if commands == 2:
            assert writer.drain(20) == []
            writer = tracker()
    assert writer.drain(20) == []
    tags = run_of(store).data.tags
    kept = (first if drawn else second) | draw | {"device": "gpu"}
    assert {name: tags.get(name) for name in kept} == kept


def test_a_mean_that_seeds_added_later_change_is_written_again_and_is_the_newest(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    writer = tracker()
    start(writer)
    for value in (0.5, 0.25):
        writer.epoch(KEY, 1, {"loss": value, "lr": 0.1}, {})
        assert writer.drain(20) == []
        time.sleep(0.002)  # MLflow counts in milliseconds
    history = store.client.get_metric_history(run_of(store).info.run_id, "loss")
    assert [each.value for each in sorted(history, key=lambda each: each.timestamp)] == [0.5, 0.25]
    assert run_of(store).data.metrics == {"loss": 0.25, "lr": 0.1}
    assert points(store, "lr") == [(1, 0.1)]


def test_a_crash_after_delivery_delivers_nothing_twice(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    first = tracker()
    start(first)
    first.epoch(KEY, 1, {"loss": 1.0}, FILES)
    assert first.drain(20) == []
    first.close()
    with (tmp_path / "spool" / KEY / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 2, "ti')  # a power cut
    second = tracker()
    start(second)
    second.epoch(KEY, 2, {"loss": 0.5}, {})
    second.finish(KEY, Status.DONE)
    assert second.drain(20) == []
    assert points(store, "loss") == [(1, 1.0), (2, 0.5)]


def test_the_state_before_stays_whole_while_the_next_one_is_written(
    tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FILES_EVERY", 0.0)
    writer = tracker()
    start(writer)
    for epochs in (1, 2, 3):
        writer.epoch(KEY, epochs, {}, snapshot(epochs))
        assert writer.drain(20) == []
    run_id = run_of(store).info.run_id
    assert store.files(run_id) == in_mlflow(snapshot(3), "a", b=snapshot(2)[STATE])
    after = tracker()  # the slot is known to the next process
    start(after)
    after.epoch(KEY, 4, {}, snapshot(4))
    assert after.drain(20) == []
    assert store.files(run_id) == in_mlflow(snapshot(4), "b", a=snapshot(3)[STATE])
    after.finish(KEY, Status.DONE)
    assert after.drain(20) == []
    assert store.files(run_id) == in_mlflow(snapshot(4), "b")


def test_a_damaged_line_of_metrics_costs_only_itself(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    crashed = tracker(NOBODY)
    start(crashed)
    for step in (1, 2, 3):
        crashed.epoch(KEY, step, {"loss": 1 / step}, FILES)
    crashed.close()
    metrics = tmp_path / "spool" / KEY / "metrics.jsonl"
    first, _, third = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(first + b"garbled\n" + third)
    after = tracker()
    assert after.drain(20) == []
    assert points(store, "loss") == [(1, 1.0), (3, 1 / 3)]
    assert ["a line in the spool is damaged" in line for line in after.problems()] == [True]


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_clock_that_jumps_changes_nothing(
    tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    writer = tracker()
    start(writer)
    writer.epoch(KEY, 1, {"loss": 1.0}, FILES)
    assert writer.drain(20) == []
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump)
    writer.epoch(KEY, 1, {"loss": 0.5}, FILES)
    writer.epoch(KEY, 2, {"loss": 0.25}, snapshot(2))
    assert writer.drain(20) == []
    again = tracker()
    start(again)
    again.epoch(KEY, 1, {"loss": 0.5}, {})
    again.finish(KEY, Status.DONE)
    assert again.drain(20) == []
    history = store.client.get_metric_history(run_of(store).info.run_id, "loss")
    in_order = sorted(history, key=lambda each: (each.step, each.timestamp))
    assert [(each.step, each.value) for each in in_order] == [(1, 1.0), (1, 0.5), (2, 0.25)]
    assert run_of(store).data.metrics == {"loss": 0.25}
    assert run_of(store).info.end_time >= run_of(store).info.start_time
    assert store.trials([KEY])[KEY].curves == json.loads(snapshot(2)["curves.json"])


def test_running_trials_send_only_files_that_changed(
    tracker: Callable[..., Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    writer = tracker()
    add = Artifacts.add
    monkeypatch.setattr(Artifacts, "add", lambda run, file, to: (sent.append(file.name), add(run, file, to)))
    start(writer)
    writer.epoch(KEY, 1, {}, FILES)
    assert writer.drain(20) == []
    writer.epoch(KEY, 2, {}, FILES | {"curves.json": b"{}"})
    time.sleep(0.5)
    assert sent == ["curves.json", "weights.safetensors", "a.zip"]  # the state last; and the next upload is not due yet
    writer.finish(KEY, Status.DONE)
    assert writer.drain(20) == []
    assert sent[3:] == ["curves.json"]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (Status.DONE, "FINISHED"),
        (Status.CENSORED, "KILLED"),
        (Status.FAILED, "FAILED"),
        (Status.DROPPED, "KILLED"),
        (Status.INTERRUPTED, "KILLED"),
    ],
)
def test_statuses(tracker: Callable[..., Tracker], store: Store, status: Status, shown: str) -> None:
    writer = tracker()
    start(writer)
    writer.finish(KEY, status, "because")
    assert writer.drain(20) == []
    assert run_of(store).info.status == shown
    stored = store.trials([KEY])[KEY]
    assert (stored.status, stored.reason, stored.curves) == (status, "because", None)
    with pytest.raises(ValueError, match="must be one of done, censored, failed, dropped, interrupted"):
        writer.finish(KEY, Status.RUNNING)


def test_a_summary_comes_with_the_end_and_is_withdrawn_where_the_trial_goes_on(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    first, scores = tracker(), {"chosen_val_accuracy": 0.75, "chosen_epoch": 3.0}
    start(first)
    first.epoch(KEY, 1, {"val_accuracy": 0.75}, {})
    first.finish(KEY, Status.DONE, scores=scores)
    assert first.drain(20) == []
    assert run_of(store).data.metrics == scores | {"val_accuracy": 0.75}
    second = tracker()
    start(second)
    assert second.drain(20) == []
    assert math.isnan(run_of(store).data.metrics["chosen_val_accuracy"])  # of fewer epochs than it is to have
    third = tracker()
    start(third)
    third.finish(KEY, Status.CENSORED)
    assert third.drain(20) == []
    assert [math.isnan(run_of(store).data.metrics[name]) for name in scores] == [True, True]
    assert len(points(store, "chosen_epoch")) == 2  # what is withdrawn already is not written again
    fourth = tracker()
    start(fourth)
    fourth.finish(KEY, Status.DONE, scores=scores)
    assert fourth.drain(20) == []
    assert run_of(store).data.metrics == scores | {"val_accuracy": 0.75}


def test_a_run_has_its_data_set_once_however_often_it_is_started(tracker: Callable[..., Tracker], store: Store) -> None:
    data = data_set("cifar10", "ab" * 32, (3, 32, 16), {"training": 45, "test": 10})
    away = tracker(NOBODY)
    away.dataset = data
    start(away)
    away.close()
    first = tracker()  # has it from the spool alone
    assert first.drain(20) == []
    again = tracker()
    again.dataset = data | {"name": "another"}
    start(again)
    assert again.drain(20) == []
    [found] = run_of(store).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("cifar10", "ab" * 6)
    assert json.loads(found.dataset.profile) == {"num_rows": 55, "training": 45, "test": 10}
    [features] = json.loads(json.loads(found.dataset.schema)["mlflow_tensorspec"]["features"])
    assert features["tensor-spec"] == {"dtype": "uint8", "shape": [-1, 32, 16, 3]}
    assert json.loads(found.dataset.source) == {"tags": {"name": "cifar10", "digest": "ab" * 32}}


def test_a_summary_waits_in_the_spool(tracker: Callable[..., Tracker], store: Store) -> None:
    away = tracker(NOBODY)
    start(away)
    away.finish(KEY, Status.DONE, scores={"chosen_epoch": 3.0})
    away.close()
    assert tracker().drain(20) == []
    assert run_of(store).data.metrics == {"chosen_epoch": 3.0}
    assert points(store, "chosen_epoch") == [(0, 3.0)]


def test_a_refused_item_costs_only_itself(tracker: Callable[..., Tracker], store: Store, tmp_path: Path) -> None:
    writer = tracker()
    start(writer, params={"depth": 2, "bad?name": 1})
    writer.epoch(KEY, 1, {"loss": 1.0, "bad?metric": 1.0}, {})
    writer.finish(KEY, Status.DONE)
    assert writer.drain(20) == []
    assert folders(tmp_path) == []
    assert points(store, "loss") == [(1, 1.0)]
    assert run_of(store).data.params == {"depth": "2"}
    assert [line.split(": ")[1] for line in writer.problems()] == [
        "'bad?name' is refused by MLflow",
        "'bad?metric' is refused by MLflow",
    ]


def test_a_deleted_run_is_made_again_with_all_its_epochs(tracker: Callable[..., Tracker], store: Store) -> None:
    writer = tracker()
    start(writer)
    writer.epoch(KEY, 1, {"loss": 1.0}, FILES)
    assert writer.drain(20) == []
    deleted = run_of(store).info.run_id
    store.client.delete_run(deleted)
    writer.epoch(KEY, 2, {"loss": 0.5}, FILES)
    writer.finish(KEY, Status.DONE)
    assert (writer.drain(20) and writer.drain(20)) == []  # refused; then the next try looks for the run, and finds none
    assert [f"run {deleted} was deleted in MLflow" in line for line in writer.problems()] == [True]
    assert run_of(store).info.run_id != deleted
    assert points(store, "loss") == [(1, 1.0), (2, 0.5)]
    assert store.files(run_of(store).info.run_id) == in_mlflow(FILES)


def test_a_deleted_experiment_is_named_and_nothing_is_lost(tracker: Callable[..., Tracker], store: Store) -> None:
    experiment = store.experiment_id("study")
    store.client.delete_experiment(experiment)
    writer = tracker()
    start(writer)
    writer.finish(KEY, Status.DONE)
    (line,) = writer.drain(20)
    assert f"`mlflow experiments restore -x {experiment}`" in line
    store.client.restore_experiment(experiment)
    assert writer.drain(20) == []
    assert run_of(store).info.status == "FINISHED"


def test_what_was_refused_is_said_of_the_run_that_the_trial_has_now(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    writer = tracker()
    start(writer, params={"depth": 2, "bad?name": 1})
    assert writer.drain(20) == []
    assert ["'bad?name' is refused by MLflow" in line for line in writer.problems()] == [True]
    store.client.delete_run(run_of(store).info.run_id)
    writer.epoch(KEY, 1, {"loss": 1.0}, {})
    writer.finish(KEY, Status.DONE)
    assert len(writer.drain(20)) == 1
    assert [line for line in writer.problems() if "is refused by MLflow" in line] == []  # they get another chance
    assert writer.drain(20) == []
    refused, deleted = sorted(writer.problems())
    assert "'bad?name' is refused by MLflow" in refused
    assert "was deleted in MLflow" in deleted
    assert points(store, "loss") == [(1, 1.0)]


def test_a_trial_that_alone_looks_like_an_outage_holds_up_no_other(
    tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = tracker()
    client = writer.store.client
    create = client.create_run

    def create_run(*given: Any, **named: Any) -> Any:
        if named["run_name"] == "depth=2":
            raise OSError("connection reset")
        return create(*given, **named)

    monkeypatch.setattr(client, "create_run", create_run)
    start(writer)
    start(writer, OTHER, name="depth=3")
    for key in (KEY, OTHER):
        writer.finish(key, Status.DONE)
    assert writer.drain(2) == ["depth=2 (aaaaaaaaaaaa): OSError: connection reset"]
    assert run_of(store, OTHER).info.status == "FINISHED"
    monkeypatch.undo()
    assert writer.drain(20) == []


@contextlib.contextmanager
def held_up(writer: Tracker) -> Iterator[None]:
    """Have nothing delivered meanwhile."""
    with writer._shared.lock:
        yield


def test_a_trial_that_has_ended_takes_few_requests_and_is_shown_as_ended_only_when_all_else_is_there(
    tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, calls = tracker(), []
    client = writer.store.client

    def noted(name: str) -> Callable[..., Any]:
        call = getattr(client, name)
        return lambda *given, **named: (calls.append(name), call(*given, **named))[1]

    methods = [name for name, _ in inspect.getmembers(type(client), inspect.isfunction) if not name.startswith("_")]
    for name in methods:
        monkeypatch.setattr(client, name, noted(name))
    add = Artifacts.add
    monkeypatch.setattr(Artifacts, "add", lambda run, file, to: (calls.append(file.name), add(run, file, to)))
    with held_up(writer):
        start(writer, tags={"stage": "depth"})
        writer.epoch(KEY, 1, {"loss": 1.0}, FILES)
        writer.finish(KEY, Status.DONE, scores={"chosen_epoch": 1.0})
    assert writer.drain(20) == []
    files = ["curves.json", "weights.safetensors", "a.zip"]
    # Params, metrics, and the tags of the newest state and of the status go at once; last the status that MLflow shows.
    assert calls[-6:] == ["create_run", *files, "log_batch", "set_terminated"]
    assert set(calls[:-6]) == {"get_experiment_by_name", "create_experiment", "search_runs"}  # once for all trials
    assert run_of(store).data.metrics == {"loss": 1.0, "chosen_epoch": 1.0}
    assert run_of(store).data.tags["newest_state"] == "state/a.zip"

    calls.clear()
    with held_up(writer):
        start(writer, OTHER)
        writer.finish(OTHER, Status.DONE)
    assert writer.drain(20) == []
    assert calls == ["create_run", "log_batch", "set_terminated"]


@pytest.mark.parametrize(
    ("status", "slots"), [(Status.FAILED, "ab"), (Status.INTERRUPTED, "ab"), (Status.CENSORED, "b")]
)
def test_the_older_state_is_deleted_only_where_none_is_needed_any_more(
    tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch, status: Status, slots: str
) -> None:
    monkeypatch.setattr(delivery, "FILES_EVERY", 0.0)
    writer = tracker()
    start(writer)
    for epochs in (1, 2):
        writer.epoch(KEY, epochs, {}, snapshot(epochs))
        assert writer.drain(20) == []
    writer.finish(KEY, status)
    assert writer.drain(20) == []
    states = store.client.list_artifacts(run_of(store).info.run_id, "state")
    assert [artifact.path for artifact in states] == [f"state/{slot}.zip" for slot in slots]


def test_a_long_reason_is_cut_to_what_servers_take(tracker: Callable[..., Tracker], store: Store) -> None:
    writer = tracker()
    start(writer)
    writer.finish(KEY, Status.FAILED, "x" * 6000)
    assert writer.drain(20) == []
    assert store.trials([KEY])[KEY].reason == "x" * 5000


class Slow:
    """An MLflow client of which every answer takes its time."""

    def __init__(self, client: Any, seconds: float) -> None:
        self._client, self._seconds, self.asked = client, seconds, 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if not callable(call):
            return call

        def later(*given: Any, **named: Any) -> Any:
            self.asked += 1
            time.sleep(self._seconds)
            return call(*given, **named)

        return later


def test_a_slow_mlflow_gets_everything_as_long_as_it_takes_something(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    """Each answer takes a tenth of the patience, each trial more than all of it: a param that is refused has all sent
    one by one."""
    before = tracker()
    start(before)
    before.epoch(KEY, 1, {f"metric_{number}": 1.0 for number in range(6)}, FILES)
    assert before.drain(20) == []
    crashed = tracker(NOBODY)
    for key in (KEY, OTHER):
        start(crashed, key, params={f"param_{number}": number for number in range(8)} | {"bad?name": 1})
        crashed.epoch(key, 2, {f"metric_{number}": 2.0 for number in range(6)}, snapshot(2))
        crashed.finish(key, Status.DONE)
    writer = tracker()
    slow = Slow(writer.store.client, 0.15)
    writer.store._client = slow
    began = time.monotonic()
    assert writer.drain(1.5) == []
    assert slow.asked > 2 * 15
    assert time.monotonic() - began > 2 * 15 * 0.15
    assert {trial.status for trial in store.trials([KEY, OTHER]).values()} == {"done"}


def test_what_is_delivered_again_and_again_is_no_progress(
    tracker: Callable[..., Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = tracker()
    monkeypatch.setattr(delivery, "LONGEST_PAUSE", 0.1)

    def away(*_: Any, **__: Any) -> None:
        raise OSError("connection reset")

    monkeypatch.setattr(writer.store.client, "set_terminated", away)
    start(writer)
    writer.epoch(KEY, 1, {"loss": 1.0}, FILES)
    writer.finish(KEY, Status.DONE)
    began = time.monotonic()
    assert writer.drain(1.0) == ["depth=2 (aaaaaaaaaaaa): OSError: connection reset"]
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("theirs", "status", "let_go"),
    [
        (3, Status.DONE, True),
        (2, Status.DONE, True),
        (1, Status.INTERRUPTED, False),
        (2, Status.INTERRUPTED, False),
        (3, Status.INTERRUPTED, True),
        (3, Status.FAILED, True),
    ],
)
def test_what_another_command_has_come_further_with_is_not_spoiled_by_what_was_left_here(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path, theirs: int, status: Status, let_go: bool
) -> None:
    """Two epochs lie here that MLflow never got; another command, with a spool of its own, has trained it meanwhile."""
    ours = tracker(NOBODY)
    ours.start(KEY, Entry("depth=2"), worker="ours")
    for epoch in (1, 2):
        ours.epoch(KEY, epoch, {"loss": 1.0 / epoch}, snapshot(epoch), worker="ours")
    with contextlib.closing(Tracker(store.uri, "study", tmp_path / "other")) as other:
        other.start(KEY, Entry("depth=2"), worker="theirs")
        for epoch in range(1, theirs + 1):
            other.epoch(KEY, epoch, {"loss": 1.0 / epoch}, snapshot(epoch), worker="theirs")
        other.finish(KEY, status)
        assert other.drain(20) == []
    ours.close()
    line = f"depth=2 ({KEY[:12]}): what was left of it is let go: another command has gone on with it"
    assert deliver(store, tmp_path / "spool") == ([], [line] if let_go else [])
    assert folders(tmp_path) == []
    run = run_of(store)
    assert run.data.tags["status"] == (status if let_go else "interrupted")
    assert points(store, "loss") == [(epoch, 1.0 / epoch) for epoch in range(1, max(2, theirs) + 1)]
    assert store.files(run.info.run_id)["curves.json"] == snapshot(max(2, theirs))["curves.json"]


def test_a_trial_that_failed_with_records_that_no_state_has_is_not_taken_for_another_command_s(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    """It failed in epoch 4, with its last snapshot of epoch 1, and ran again from there until this process died."""
    first = tracker()
    first.start(KEY, Entry("depth=2"))
    first.epoch(KEY, 1, {"loss": 1.0}, snapshot(1))
    first.epoch(KEY, 3, {}, {"curves.json": snapshot(3)["curves.json"]})
    first.finish(KEY, Status.FAILED, "Diverged")
    assert first.drain(20) == []
    assert store.trials([KEY])[KEY].curves == json.loads(snapshot(3)["curves.json"])
    first.start(KEY, Entry("depth=2"))
    first.epoch(KEY, 2, {"loss": 0.5}, snapshot(2))
    shutil.copytree(tmp_path / "spool" / KEY, tmp_path / "left")
    first.close()
    shutil.rmtree(tmp_path / "spool" / KEY, ignore_errors=True)
    shutil.copytree(tmp_path / "left", tmp_path / "spool" / KEY)
    assert deliver(store, tmp_path / "spool") == ([], [])
    assert points(store, "loss") == [(1, 1.0), (2, 0.5)]
    assert store.state(run_of(store).info.run_id).content == snapshot(2)[STATE]


def test_metrics_may_be_ahead_of_the_snapshot_and_come_again(tracker: Callable[..., Tracker], store: Store) -> None:
    """The process is lost after epoch 4 with a snapshot of epoch 2; then the trial is stopped after epoch 3."""
    first = tracker()
    first.start(KEY, Entry("depth=2"), worker="1")
    for epoch in (1, 2, 3, 4):
        first.epoch(KEY, epoch, {"train_loss": 1 / epoch}, snapshot_with_losses(epoch) if epoch == 2 else {}, "1")
    assert first.drain(20) == []
    first.close()
    second = tracker()
    assert store.trials([KEY])[KEY].curves == json.loads(snapshot_with_losses(2)["curves.json"])
    second.start(KEY, Entry("depth=2", run_id=run_of(store).info.run_id), worker="2")
    assert second.state(KEY) == snapshot_with_losses(2)[STATE]
    second.epoch(KEY, 3, {"train_loss": 1 / 3}, {}, worker="2")
    second.epoch(KEY, 3, {}, snapshot_with_losses(3), worker="2")
    second.finish(KEY, Status.CENSORED)
    assert (second.drain(20), second.problems()) == ([], [])
    assert points(store, "train_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]
    found = store.curves(run_of(store))
    assert (found.form, found.wrong) == (json.loads(snapshot_with_losses(3)["curves.json"]), None)


def snapshot_with_losses(epochs: int) -> dict[str, bytes]:
    """Return a snapshot whose training loss falls as 1, 1/2, 1/3, …."""
    rows = tuple(replace(RECORD, train_loss=1 / epoch) for epoch in range(1, epochs + 1))
    curves = json.dumps(History({0: rows}).to_dict()).encode()
    return {"curves.json": curves, STATE: zipped({"curves.json": curves})}


def test_a_tracker_that_is_started_again_in_the_middle_of_a_study_lets_nothing_go(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    """A trial goes on where an earlier worker has left it, and MLflow does not know of its new worker yet."""
    first = tracker()
    first.start(KEY, Entry("depth=2"), worker="before")
    first.epoch(KEY, 1, {"loss": 1.0}, snapshot(1), worker="before")
    first.finish(KEY, Status.DONE)
    assert first.drain(20) == []
    killed = tracker(NOBODY)
    killed.start(KEY, Entry("depth=2", run_id=run_of(store).info.run_id), worker="now")
    again = tracker()
    again.epoch(KEY, 2, {"loss": 0.5}, snapshot(2), worker="now")
    assert (again.drain(20), again.problems()) == ([], [])
    assert run_of(store).data.tags["status"] == "running"
    assert points(store, "loss") == [(1, 1.0), (2, 0.5)]


def delivered_and_kept(tracker: Callable[..., Tracker], tmp_path: Path) -> Tracker:
    """Return a Tracker with a running trial whose epoch MLflow has; what its spool had of it is kept in `left`."""
    first = tracker()
    first.start(KEY, Entry("depth=2"), worker="ours")
    first.epoch(KEY, 1, {"loss": 1.0}, snapshot(1), worker="ours")
    assert first.drain(20) == []
    shutil.copytree(tmp_path / "spool" / KEY, tmp_path / "left")
    return first


def test_what_was_left_by_whoever_had_the_trial_last_is_delivered(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    """MLflow has its epoch; what is left is how it ended, with no file."""
    first = delivered_and_kept(tracker, tmp_path)
    first.close()
    shutil.rmtree(tmp_path / "spool" / KEY)
    shutil.copytree(tmp_path / "left", tmp_path / "spool" / KEY)
    (tmp_path / "spool" / KEY / "files.json").unlink()
    assert deliver(store, tmp_path / "spool") == ([], [])
    assert run_of(store).data.tags["status"] == "interrupted"


def test_a_delivery_that_died_between_the_two_places_of_a_status_is_completed(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    first = delivered_and_kept(tracker, tmp_path)
    first.finish(KEY, Status.DONE)
    assert first.drain(20) == []
    first.close()
    shutil.copytree(tmp_path / "left", tmp_path / "spool" / KEY)
    store.client.update_run(run_of(store).info.run_id, status="RUNNING")  # the tag says done already
    assert deliver(store, tmp_path / "spool") == ([], [])
    assert run_of(store).info.status != "RUNNING"
