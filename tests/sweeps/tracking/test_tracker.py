"""sweeps.tracking.tracker against a real sqlite store, and against one that does not answer. No Ray, no server."""

from __future__ import annotations

import errno
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker, deliver
from trainables.errors import UserError
from trainables.files import STATE, unzipped, zipped
from trainables.history import History, Record

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

NOBODY = "http://127.0.0.1:1"  # refuses connections
KEY, OTHER = "a" * 64, "b" * 64
RECORD = Record(1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 0.1, 1000.0, 1.0, (0.5, None))


def snapshot(epochs: int, weights: bytes = bytes(range(256))) -> dict[str, bytes]:
    curves = json.dumps(History({0: (RECORD,) * epochs}).to_dict()).encode()
    return {
        "curves.json": curves,
        "checkpoint/weights.safetensors": weights,
        STATE: zipped({"curves.json": curves, "weights": weights}),
    }


FILES = snapshot(1)


def in_mlflow(files: dict[str, bytes], slot: str = "a", **others: bytes) -> dict[str, bytes]:
    """Return what Store.files shows of the newest snapshot."""
    states = {f"state/{slot}.zip": files[STATE]} | {f"state/{name}.zip": content for name, content in others.items()}
    return {name: content for name, content in files.items() if name != STATE} | states


@pytest.fixture
def tracker(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Tracker]]:
    """Return a function that opens a Tracker on the one spool, as the next process would: the one before is closed, without a drain."""
    monkeypatch.setattr(Tracker, "PAUSE", 0.05)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    opened: list[Tracker] = []

    def close() -> None:
        if opened:
            opened.pop().close()

    def open_next(uri: str = store.uri) -> Tracker:
        close()
        opened.append(Tracker(uri, "study", tmp_path / "spool"))
        return opened[0]

    yield open_next
    close()


def start(tracker: Tracker, key: str = KEY, **changes: Any) -> None:
    told: dict[str, Any] = {
        "name": "depth=2",
        "params": {"depth": 2, "lr": 0.1, "skip": True},
        "tags": {"study": "study", "stage": "depth"},
    }
    tracker.start(key, **(told | changes))


def run_of(store: Store, key: str = KEY) -> Any:
    experiment = store.experiment_id("study")
    (run,) = store.client.search_runs([experiment], f"tags.key = '{key}'")
    return run


def points(store: Store, name: str, key: str = KEY) -> list[tuple[int, float]]:
    return sorted(
        (each.step, each.value) for each in store.client.get_metric_history(run_of(store, key).info.run_id, name)
    )


def folders(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "spool").iterdir() if path.is_dir()]


def test_a_trial_arrives_exactly_as_told_and_leaves_the_spool(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    writer = tracker()
    start(writer)
    for step in range(1, 4):
        writer.epoch(KEY, step, {"loss": 1 / step, "accuracy": step / 10}, FILES)
    writer.finish(KEY, "done")
    assert writer.drain(20) == []
    assert folders(tmp_path) == []
    run = run_of(store)
    assert points(store, "loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert points(store, "accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert run.data.params == {"depth": "2", "lr": "0.1", "skip": "True"}
    assert run.data.tags == {"key": KEY, "status": "done", "study": "study", "stage": "depth"} | {
        "mlflow.runName": "depth=2",
        "newest_state": "state/a.zip",
    }
    assert run.info.status == "FINISHED"
    assert run.info.start_time <= run.info.end_time
    assert writer.run_ids() == {KEY: run.info.run_id}
    assert writer.problems() == []


def test_one_run_per_key_however_often_it_is_started(tracker: Callable[..., Tracker], store: Store) -> None:
    first = tracker()
    start(first)
    start(first)
    assert first.drain(20) == []
    run_id = run_of(store).info.run_id
    second = tracker()
    start(second)
    second.epoch(KEY, 1, {"loss": 1.0}, {})
    second.finish(KEY, "done")
    assert second.drain(20) == []
    assert run_of(store).info.run_id == run_id


def test_a_given_run_is_continued_and_repeated_epochs_add_nothing(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    first = tracker()
    start(first)
    first.epoch(KEY, 1, {"loss": 1.0}, {})
    first.epoch(KEY, 2, {"loss": 0.5}, {})
    first.finish(KEY, "failed", "out of memory")
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


def test_what_a_worker_says_that_was_cut_off_and_replaced_is_not_taken(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    writer = tracker()
    start(writer, worker="first")
    writer.epoch(KEY, 1, {"loss": 1.0}, snapshot(1), worker="first")
    start(writer, worker="second")
    for step in (2, 3):
        writer.epoch(KEY, step, {"loss": 1 / step}, snapshot(step), worker="second")
    writer.epoch(KEY, 2, {"loss": 7.0}, snapshot(2), worker="first")  # comes late
    assert writer.drain(20) == []
    assert points(store, "loss") == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
    assert writer.state(KEY) == snapshot(3)[STATE]


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


def test_an_outage_neither_delays_nor_loses_anything(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    crashed = tracker(NOBODY)
    start(crashed)
    start(crashed, OTHER, name="depth=3")
    metrics = {f"metric_{number}": 1.0 for number in range(8)}  # in all more than MLflow takes in one call
    slowest = 0.0
    for step in range(1, 131):
        begin = time.perf_counter()
        crashed.epoch(KEY, step, metrics | {"loss": 1 / step}, snapshot(1, bytes([step])))
        slowest = max(slowest, time.perf_counter() - begin)
    crashed.finish(KEY, "done")
    left = crashed.drain(0.2)
    assert slowest < 0.5
    assert sorted(line[:7] for line in left) == ["depth=2", "depth=3"]
    assert any("127.0.0.1" in line for line in crashed.problems())

    after = tracker()
    assert after.drain(20) == []
    assert folders(tmp_path) == []
    assert points(store, "loss") == [(step, 1 / step) for step in range(1, 131)]
    assert len(points(store, "metric_7")) == 130
    assert run_of(store, OTHER).info.status == "KILLED"  # was running when its process ended
    assert store.files(run_of(store).info.run_id) == in_mlflow(snapshot(1, bytes([130])))
    assert {key: trial.status for key, trial in store.trials([KEY, OTHER]).items()} == {
        KEY: "done",
        OTHER: "interrupted",
    }


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
    second.finish(KEY, "done")
    assert second.drain(20) == []
    assert points(store, "loss") == [(1, 1.0), (2, 0.5)]


def test_what_a_crash_left_is_delivered(tracker: Callable[..., Tracker], store: Store, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    assert deliver(store, spool) == ([], [])
    crashed = tracker(NOBODY)
    start(crashed)
    crashed.epoch(KEY, 1, {"loss": 1.0}, FILES)
    crashed.finish(KEY, "done")
    crashed.close()
    (spool / "not-begun").mkdir()
    (spool / "damaged").mkdir()
    (spool / "damaged" / "trial.json").write_text("{")
    left, problems = deliver(store, spool)
    assert left == []
    assert [line for line in problems if "damaged cannot be read and is left alone" in line] == problems != []
    assert History.from_dict(store.trials([KEY])[KEY].curves or {}) == History({0: (RECORD,)})
    assert folders(tmp_path) == [spool / "damaged"]  # not ours to throw away


def test_a_state_comes_back_from_the_spool_and_from_mlflow(tracker: Callable[..., Tracker], store: Store) -> None:
    writer = tracker()
    start(writer)
    assert writer.drain(20) == []
    assert writer.state(KEY) == b""
    writer.epoch(KEY, 1, {}, FILES)
    writer.epoch(KEY, 2, {}, snapshot(2))
    assert writer.state(KEY) == snapshot(2)[STATE]  # from the spool
    writer.finish(KEY, "interrupted")
    assert writer.drain(20) == []
    assert writer.state(KEY) == snapshot(2)[STATE]  # from its run
    again = tracker()
    again.start(KEY, "again", {}, {}, run_of(store).info.run_id)
    assert again.state(KEY) == snapshot(2)[STATE]  # from the run that it continues
    away = tracker(NOBODY)
    start(away, run_id=run_of(store).info.run_id)
    with pytest.raises(ConnectionError, match="MLflow does not answer"):
        away.state(KEY)
    store.client.log_dict(run_of(store).info.run_id, {}, "findings/effects.json")
    assert store.files(run_of(store).info.run_id).keys() == in_mlflow(FILES).keys()


def test_the_state_before_stays_whole_while_the_next_one_is_written(
    tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tracker, "FILES_EVERY", 0.0)
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
    after.finish(KEY, "done")
    assert after.drain(20) == []
    assert store.files(run_id) == in_mlflow(snapshot(4), "b")


@pytest.mark.parametrize("how", ["truncated", "garbled", "gone"])
def test_of_a_damaged_state_the_one_before_is_used_and_it_is_said(
    tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(Tracker, "FILES_EVERY", 0.0)
    writer = tracker()
    start(writer)
    for epochs in (1, 2):
        writer.epoch(KEY, epochs, {}, snapshot(epochs))
        assert writer.drain(20) == []
    writer.finish(KEY, "interrupted")
    assert writer.drain(20) == []
    run_id = run_of(store).info.run_id

    def damage(slot: str) -> None:
        path = Path(store.client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / "state" / slot
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if how == "truncated" else whole[:60] + bytes(20) + whole[80:])

    damage("b.zip")
    if how == "gone":
        damage("a.zip")
    again = tracker()
    again.start(KEY, "again", {}, {}, run_id)
    assert again.state(KEY) == (b"" if how == "gone" else snapshot(1)[STATE])
    (line,) = again.problems()
    told = "state/b.zip is damaged"
    assert told in line
    assert (
        "no other is there, and the trial starts anew" if how == "gone" else "state/a.zip, the one before, is used"
    ) in line
    again.epoch(KEY, 2, {}, snapshot(2))
    assert again.drain(20) == []
    assert told in run_of(store).data.tags["checkpoint_damaged"]
    expected = in_mlflow(snapshot(2), "b", a=snapshot(1)[STATE])
    if how != "gone":
        assert store.files(run_id) == expected  # the damaged one was written over, not the whole one


def test_a_damaged_snapshot_in_the_spool_is_not_used_and_it_is_said(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    first = tracker()
    start(first)
    first.epoch(KEY, 1, {"loss": 1.0}, FILES)
    assert first.drain(20) == []
    crashed = tracker(NOBODY)
    start(crashed)
    crashed.epoch(KEY, 2, {"loss": 0.5}, snapshot(2))
    crashed.close()
    digests = json.loads((tmp_path / "spool" / KEY / "files.json").read_bytes())
    (tmp_path / "spool" / KEY / "blobs" / digests["curves.json"]).write_bytes(b"{}")
    after = tracker()
    start(after)
    assert after.state(KEY) in (b"", FILES[STATE])  # b"": its run is not looked up yet
    assert after.drain(20) == []
    assert after.state(KEY) == FILES[STATE]
    assert [
        "checkpoint: curves.json in the spool is damaged; what MLflow has from before is used" in line
        for line in after.problems()
    ] == [True]
    assert store.trials([KEY])[KEY].curves == json.loads(FILES["curves.json"])
    assert points(store, "loss") == [(1, 1.0), (2, 0.5)]


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


def test_a_state_of_the_layout_before_is_still_read(tracker: Callable[..., Tracker], store: Store) -> None:
    run = store.client.create_run(store.experiment_id("study"), tags={"key": KEY, "status": "interrupted"})
    old = {"curves.json": FILES["curves.json"], "state/seed-0.safetensors": b"state"}
    store.attach(run.info.run_id, "", {"curves.json": old["curves.json"]})
    store.attach(run.info.run_id, "state", {"seed-0.safetensors": b"state"})
    writer = tracker()
    start(writer, run_id=run.info.run_id)
    assert unzipped(writer.state(KEY)) == old


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
    again.finish(KEY, "done")
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
    log_artifact = writer.store.client.log_artifact
    monkeypatch.setattr(
        writer.store.client, "log_artifact", lambda *call: (sent.append(Path(call[1]).name), log_artifact(*call))
    )
    start(writer)
    writer.epoch(KEY, 1, {}, FILES)
    assert writer.drain(20) == []
    writer.epoch(KEY, 2, {}, FILES | {"curves.json": b"{}"})
    time.sleep(0.5)
    assert sent == ["curves.json", "weights.safetensors", "a.zip"]  # the state last; and the next upload is not due yet
    writer.finish(KEY, "done")
    assert writer.drain(20) == []
    assert sent[3:] == ["curves.json"]


@pytest.mark.parametrize(
    ("status", "shown"),
    [("done", "FINISHED"), ("censored", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")],
)
def test_statuses(tracker: Callable[..., Tracker], store: Store, status: str, shown: str) -> None:
    writer = tracker()
    start(writer)
    writer.finish(KEY, status, "because")
    assert writer.drain(20) == []
    assert run_of(store).info.status == shown
    stored = store.trials([KEY])[KEY]
    assert (stored.status, stored.reason, stored.curves) == (status, "because", None)
    with pytest.raises(ValueError, match="must be one of done, censored, failed, interrupted"):
        writer.finish(KEY, "running")


def test_a_late_epoch_of_an_interrupted_trial_is_dropped_and_of_an_ended_one_kept(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    writer = tracker()
    for key, status in ((KEY, "interrupted"), (OTHER, "censored")):
        start(writer, key)
        writer.epoch(key, 1, {"loss": 1.0}, FILES)
        writer.finish(key, status)
    assert writer.drain(20) == []
    for key in (KEY, OTHER):
        writer.epoch(key, 2, {"loss": 0.5}, {"curves.json": b"late"})
    assert writer.drain(20) == []
    assert points(store, "loss", KEY) == [(1, 1.0)]
    assert points(store, "loss", OTHER) == [(1, 1.0), (2, 0.5)]
    assert store.files(run_of(store).info.run_id) == in_mlflow(FILES)
    start(writer)  # taken up again
    writer.epoch(KEY, 2, {"loss": 0.5}, {})
    assert writer.drain(20) == []
    assert points(store, "loss", KEY) == [(1, 1.0), (2, 0.5)]


@pytest.mark.parametrize("meanwhile", ["delivered", "not delivered"])
def test_a_tracker_that_was_killed_and_started_again_takes_its_trials_on(
    tracker: Callable[..., Tracker], store: Store, meanwhile: str
) -> None:
    killed = tracker(NOBODY)
    start(killed)
    killed.epoch(KEY, 1, {"loss": 1.0}, FILES)
    again = tracker()
    if meanwhile == "delivered":
        assert again.drain(20) == []
        assert store.trials([KEY])[KEY].status == "interrupted"
    again.epoch(KEY, 1, {"loss": 1.0}, FILES)  # its answer was lost
    again.epoch(KEY, 2, {"loss": 0.5}, FILES)
    assert again.drain(20) == []
    assert store.trials([KEY])[KEY].status == "running"
    assert run_of(store).info.status == "RUNNING"
    again.finish(KEY, "done")
    assert again.drain(20) == []
    assert points(store, "loss") == [(1, 1.0), (2, 0.5)]
    assert run_of(store).info.status == "FINISHED"


def test_what_a_full_disk_does_not_take_is_raised_told_and_can_be_repeated(
    tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/spool")

    writer = tracker()
    start(writer)
    with monkeypatch.context() as patch:
        patch.setattr("sweeps.tracking.spool.write_whole", full)
        with pytest.raises(OSError, match=r"No space left on device: '/spool'"):
            writer.epoch(KEY, 1, {"loss": 1.0}, FILES)
        assert [line for line in writer.problems() if "epoch 1 is not kept: OSError: [Errno 28]" in line]
    writer.epoch(KEY, 1, {"loss": 1.0}, FILES)
    assert writer.problems() == []
    with monkeypatch.context() as patch:
        patch.setattr("sweeps.tracking.spool.write_whole", full)
        writer.finish(KEY, "failed", "because", {"error.txt": b"why"})
    assert writer.drain(20) == []
    assert points(store, "loss") == [(1, 1.0)]
    assert store.trials([KEY])[KEY].reason == "because"
    assert ["its end is not kept" in line for line in writer.problems()] == [True]


def test_what_is_not_finite_stays_missing(tracker: Callable[..., Tracker], store: Store) -> None:
    writer = tracker()
    start(writer)
    writer.epoch(KEY, 1, {"loss": math.nan, "accuracy": math.inf}, {})
    writer.epoch(KEY, 2, {"loss": 0.5, "accuracy": -math.inf}, {})
    assert writer.drain(20) == []
    assert points(store, "loss") == [(2, 0.5)]
    assert points(store, "accuracy") == []


def test_a_refused_item_costs_only_itself(tracker: Callable[..., Tracker], store: Store, tmp_path: Path) -> None:
    writer = tracker()
    start(writer, params={"depth": 2, "bad?name": 1})
    writer.epoch(KEY, 1, {"loss": 1.0, "bad?metric": 1.0}, {})
    writer.finish(KEY, "done")
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
    writer.finish(KEY, "done")
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
    writer.finish(KEY, "done")
    (line,) = writer.drain(20)
    assert f"`mlflow experiments restore -x {experiment}`" in line
    store.client.restore_experiment(experiment)
    assert writer.drain(20) == []
    assert run_of(store).info.status == "FINISHED"


@pytest.mark.parametrize("name", ["../curves.json", "/curves.json", "state/../../x", "state//x", "", ".", "state\\x"])
def test_file_names_that_escape_are_refused(tracker: Callable[..., Tracker], name: str) -> None:
    writer = tracker(NOBODY)
    start(writer)
    with pytest.raises(ValueError, match="must be a relative path"):
        writer.epoch(KEY, 1, {"loss": 1.0}, {name: b""})


def test_keys_are_checked(tracker: Callable[..., Tracker]) -> None:
    writer = tracker(NOBODY)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        start(writer, "../" + KEY[3:])
    with pytest.raises(ValueError, match="was not started"):
        writer.epoch(KEY, 1, {"loss": 1.0}, {})


def test_two_processes_cannot_share_a_spool(
    tracker: Callable[..., Tracker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker(NOBODY)
    monkeypatch.setattr(Tracker, "PATIENCE", 0.1)
    with pytest.raises(UserError, match=rf"in use by process {os.getpid()} on {socket.gethostname()}, since 20\d\d-"):
        Tracker(NOBODY, "study", tmp_path / "spool")


def test_importing_it_does_not_import_mlflow() -> None:
    code = "import sys, sweeps.tracking.tracker; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0
