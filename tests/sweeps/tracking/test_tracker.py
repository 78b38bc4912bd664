"""sweeps.tracking.tracker against a real sqlite store, and against one that does not answer. No Ray, no server."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from sweeps.decisions.status import Status
from sweeps.tracking import delivery
from sweeps.tracking.entry import Entry
from sweeps.tracking.findings import findings_in, keep
from sweeps.tracking.spool import About, Line, Spooled, Standing
from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker, deliver
from tests.damage import any_of, make_huge
from tests.sweeps.tracking.trials import (
    FILES,
    KEY,
    NOBODY,
    OLD_TRIAL,
    OTHER,
    RECORD,
    folders,
    in_mlflow,
    points,
    run_of,
    snapshot,
    start,
)
from trainables.errors import UserError
from trainables.history import History
from trainables.snapshot import STATE

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

ENDED = Standing(Status.FAILED, "out of memory", 1700000060000)


def test_a_trial_arrives_exactly_as_told_and_leaves_the_spool(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    writer = tracker()
    start(writer)
    for step in range(1, 4):
        writer.epoch(KEY, step, {"loss": 1 / step, "accuracy": step / 10}, FILES)
    writer.finish(KEY, Status.DONE)
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
    crashed.finish(KEY, Status.DONE)
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


def test_what_a_crash_left_is_delivered(tracker: Callable[..., Tracker], store: Store, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    assert deliver(store, spool) == ([], [])
    crashed = tracker(NOBODY)
    start(crashed)
    crashed.epoch(KEY, 1, {"loss": 1.0}, FILES)
    crashed.finish(KEY, Status.DONE)
    crashed.close()
    not_begun, damaged = spool / ("c" * 64), spool / ("d" * 64)
    for folder in (not_begun, damaged, spool / "findings", spool / "findings" / KEY):
        folder.mkdir()
    for folder in (damaged, spool / "findings"):
        (folder / "trial.json").write_text("{")
    left, problems = deliver(store, spool)
    assert left == []
    assert [line for line in problems if f"{damaged} cannot be read and is left alone" in line] == problems != []
    assert History.from_dict(store.trials([KEY])[KEY].curves or {}) == History({0: (RECORD,)})
    assert sorted(folders(tmp_path)) == [damaged, spool / "findings"]  # not ours to throw away
    assert (spool / "findings" / KEY).is_dir()


def test_what_an_earlier_version_left_is_delivered(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "spool" / KEY
    (folder / "blobs").mkdir(parents=True)
    (folder / "trial.json").write_text(OLD_TRIAL)
    (folder / "metrics.jsonl").write_text('{"step": 1, "time": 1700000030000, "metrics": {"loss": 0.5}}\n')
    digest = hashlib.sha256(b"{}").hexdigest()
    (folder / "files.json").write_text(json.dumps({"curves.json": digest}))
    (folder / "blobs" / digest).write_bytes(b"{}")
    assert deliver(store, tmp_path / "spool") == ([], [])
    run = run_of(store)
    assert (run.data.params, run.data.tags["stage"], run.info.run_name) == ({"depth": "2"}, "depth", "depth=2")
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FAILED", 1700000000000, 1700000060000)
    assert (run.data.tags["status"], run.data.tags["failure_reason"]) == ("failed", "out of memory")
    assert points(store, "loss") == [(1, 0.5)]
    assert store.files(run.info.run_id) == {"curves.json": b"{}"}
    assert folders(tmp_path) == []


def numbered(number: int) -> str:
    return f"{number:064x}"


def spooled(spool: Path, key: str, trial: bytes, files: bytes | None = None, metrics: bytes | None = None) -> None:
    """Put a trial into a spool as another hand might."""
    (spool / key).mkdir(parents=True)
    for name, content in (("trial.json", trial), ("files.json", files), ("metrics.jsonl", metrics)):
        if content is not None:
            (spool / key / name).write_bytes(content)


def test_whatever_is_done_to_a_spool_its_trackers_live_and_tell(store: Store, tmp_path: Path) -> None:
    """Of each kind of damage to each file a trial: it is delivered, or left alone in one line."""
    spool = tmp_path / "spool"
    whole = Spooled(tmp_path / KEY, About(KEY, "study", "depth=2", {"a": "b"}, {}, None, 1700000000000), ENDED)
    whole.save()
    whole.append(Line(1, 1700000001000, {"loss": 0.5}))
    whole.put({"curves.json": FILES["curves.json"]})
    content = {name: (whole.folder / name).read_bytes() for name in ("trial.json", "files.json", "metrics.jsonl")}
    old = OLD_TRIAL.encode()  # without a checksum, so that some damage changes what it says
    number = 0
    for name, original in (*content.items(), ("trial.json", old)):
        for _, damaged in any_of(original, most=40):
            key = numbered(number := number + 1)
            changed = {**content, "trial.json": old, name: damaged}
            changed["trial.json"] = changed["trial.json"].replace(KEY.encode(), key.encode())
            spooled(spool, key, *changed.values())
            if number % 3:
                shutil.copytree(whole.folder / "blobs", spool / key / "blobs")
    make_huge(spool / numbered(1) / "trial.json")
    make_huge(spool / numbered(2) / "metrics.jsonl")
    with contextlib.closing(Tracker(NOBODY, "", spool)) as tracker:
        left, problems = sorted(trial.key for trial in tracker._left()), tracker.problems()
    refused = [line for line in problems if "cannot be read and is left alone: " in line]
    assert len(left) + len(refused) == number > 500
    assert len(refused) > 200
    assert len(left) > 100
    assert all(len(line.splitlines()) == 1 and len(line) < 1000 for line in problems)
    for key in left[:: len(left) // 40]:  # to MLflow goes what each is: thousands of runs would take minutes
        shutil.move(spool / key, tmp_path / "some" / key)
    left, problems = deliver(store, tmp_path / "some")
    assert left == []
    assert all(len(line.splitlines()) == 1 for line in problems)


def test_a_state_comes_back_from_the_spool_and_from_mlflow(tracker: Callable[..., Tracker], store: Store) -> None:
    writer = tracker()
    start(writer)
    assert writer.drain(20) == []
    assert writer.state(KEY) == b""
    writer.epoch(KEY, 1, {}, FILES)
    writer.epoch(KEY, 2, {}, snapshot(2))
    assert writer.state(KEY) == snapshot(2)[STATE]  # from the spool
    writer.finish(KEY, Status.INTERRUPTED)
    assert writer.drain(20) == []
    assert writer.state(KEY) == snapshot(2)[STATE]  # from its run
    again = tracker()
    again.start(KEY, Entry("again", run_id=run_of(store).info.run_id))
    assert again.state(KEY) == snapshot(2)[STATE]  # from the run that it continues
    away = tracker(NOBODY)
    start(away, run_id=run_of(store).info.run_id)
    with pytest.raises(ConnectionError, match="MLflow does not answer"):
        away.state(KEY)
    store.client.log_dict(run_of(store).info.run_id, {}, "findings/effects.json")
    assert store.files(run_of(store).info.run_id).keys() == in_mlflow(FILES).keys()


def test_a_trial_that_has_no_state_yet_begins_anew_without_asking_an_mlflow_that_may_be_away(
    tracker: Callable[..., Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = tracker()
    start(writer, worker="1")
    writer.epoch(KEY, 1, {"loss": 1.0}, {}, worker="1")
    assert writer.drain(20) == []  # its run is known by now
    monkeypatch.setattr(Store, "state", lambda *_: pytest.fail("MLflow was asked"))
    start(writer, worker="2")
    assert writer.state(KEY) == b""


@pytest.mark.parametrize("how", ["truncated", "garbled", "gone"])
def test_of_a_damaged_state_the_one_before_is_used_and_it_is_said(
    tracker: Callable[..., Tracker], store: Store, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(delivery, "FILES_EVERY", 0.0)
    writer = tracker()
    start(writer)
    for epochs in (1, 2):
        writer.epoch(KEY, epochs, {}, snapshot(epochs))
        assert writer.drain(20) == []
    writer.finish(KEY, Status.INTERRUPTED)
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
    again.start(KEY, Entry("again", run_id=run_id))
    assert again.state(KEY) == (b"" if how == "gone" else snapshot(1)[STATE])
    (line,) = again.problems()
    told = "state/b.zip is damaged"
    assert told in line
    assert ("there is no other, so it starts anew" if how == "gone" else "state/a.zip, the one before, is used") in line
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


def test_a_late_epoch_of_an_interrupted_trial_is_dropped_and_of_an_ended_one_kept(
    tracker: Callable[..., Tracker], store: Store
) -> None:
    writer = tracker()
    for key, status in ((KEY, Status.INTERRUPTED), (OTHER, Status.CENSORED)):
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
    again.finish(KEY, Status.DONE)
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
        writer.finish(KEY, Status.FAILED, "because", {"error.txt": b"why"})
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


def test_trials_and_findings_that_were_left_are_delivered_together(
    tracker: Callable[..., Tracker], store: Store, tmp_path: Path
) -> None:
    left = tracker(NOBODY)
    start(left)
    left.finish(KEY, Status.DONE)
    left.close()
    run_id = store.client.create_run(store.experiment_id("study")).info.run_id
    for where in (run_id, "0" * 32):
        keep(tmp_path / "spool", (where, "analysis/x"), {"finding.json": b"{}"})
    lines, problems = deliver(store, tmp_path / "spool", 20)
    assert (run_of(store).info.status, store.attached(run_id, "analysis/x")) == ("FINISHED", {"finding.json": b"{}"})
    assert [line.partition(" and ")[0] for line in lines] == [f"analysis/x of run {'0' * 32} is refused by MLflow"]
    assert problems == []
    [path] = findings_in(tmp_path / "spool")
    path.write_bytes(b"")
    [problem] = deliver(store, tmp_path / "spool")[1]
    assert problem.startswith(f"{path} cannot be read and is left alone: ")


def test_importing_it_does_not_import_mlflow() -> None:
    code = "import sys, sweeps.tracking.tracker; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0


def test_a_run_that_was_to_be_continued_and_is_gone_is_no_new_beginning(
    tracker: Callable[..., Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery.Delivery, "deliver", lambda *_: None)
    writer = tracker()
    start(writer, run_id="f" * 32)
    with pytest.raises(MlflowException, match="not found"):
        writer.state(KEY)
