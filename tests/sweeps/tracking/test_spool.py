"""sweeps.tracking.spool: what is on the disk, whatever happened to it."""

import errno
import hashlib
import json
import math
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.decisions.status import Status
from sweeps.tracking.spool import (
    About,
    Line,
    Spooled,
    Standing,
    check_name,
    holder,
    is_key,
    lock,
    locked,
    milliseconds,
    trials_in,
)
from tests.damage import any_of, flipped, make_huge, survey, swapped
from tests.sweeps.tracking.trials import KEY, OLD_TRIAL, OTHER
from trainables.errors import UserError
from trainables.files import SEAL
from trainables.snapshot import STATE

ABOUT = About(KEY, "study", "depth=2", {"depth": "2"}, {"stage": "depth"}, None, 1700000000000, "worker")
RUNNING = Standing(Status.RUNNING, None, 1700000000000)


@pytest.fixture
def trial(tmp_path):
    kept = Spooled(tmp_path / KEY, ABOUT, RUNNING)
    kept.save()
    return kept


def seal(form):
    """Return the checksum that a JSON should have: that of its entries in alphabetic order."""
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()


def metrics(trial):
    return [Line.parse(line) for line in (trial.folder / "metrics.jsonl").read_bytes().splitlines()]


def test_what_is_on_disk_has_the_form_that_it_always_had(trial):
    trial.append(Line(1, 1700000001000, {"loss": 0.5}))
    trial.put({"curves.json": b"{}"})
    form = json.loads((trial.folder / "trial.json").read_bytes())
    assert form.pop(SEAL) == seal(form)
    assert form == {
        "about": {
            "key": KEY,
            "experiment": "study",
            "name": "depth=2",
            "params": {"depth": "2"},
            "tags": {"stage": "depth"},
            "run_id": None,
            "time": 1700000000000,
            "worker": "worker",
            "dataset": {},
            "source": None,
        },
        "outcome": {"status": "running", "reason": None, "time": 1700000000000, "scores": {}},
    }
    [line] = (trial.folder / "metrics.jsonl").read_bytes().splitlines()
    form = json.loads(line)
    assert form.pop(SEAL) == seal(form)
    assert form == {"step": 1, "time": 1700000001000, "metrics": {"loss": 0.5}}
    digest = hashlib.sha256(b"{}").hexdigest()
    form = json.loads((trial.folder / "files.json").read_bytes())
    assert form.pop(SEAL) == seal(form)
    assert form == {"curves.json": digest}
    assert (trial.folder / "blobs" / digest).read_bytes() == b"{}"


def test_what_is_saved_comes_back(trial):
    trial.standing = Standing(Status.FAILED, "out of memory", 1700000060000)
    trial.save()
    trial.append(Line(1, 1700000001000, {"loss": 0.5}))
    trial.put({"curves.json": b"{}"})
    back = Spooled.left_in(trial.folder)
    assert (back.about, back.standing, back.files, back.size, back.left) == (
        ABOUT,
        trial.standing,
        trial.files,
        trial.size,
        False,
    )


def test_a_trial_of_an_earlier_version_is_read(tmp_path):
    folder = tmp_path / KEY
    folder.mkdir()
    (folder / "trial.json").write_text(OLD_TRIAL)
    old = Spooled.left_in(folder)
    assert old.about == replace(ABOUT, worker="")
    assert old.standing == Standing(Status.FAILED, "out of memory", 1700000060000)
    assert old.standing.status is Status.FAILED


def test_what_was_running_is_interrupted_as_of_its_last_epoch(trial):
    trial.append(Line(1, 1, {"loss": 0.5}))
    for path in trial.folder.iterdir():
        os.utime(path, (1700000000, 1700000000))
    os.utime(trial.folder / "metrics.jsonl", (1700000030.25, 1700000030.25))
    left = Spooled.left_in(trial.folder)
    assert (left.standing, left.left, left.running) == (Standing(Status.INTERRUPTED, None, 1700000030250), True, False)
    left.save()
    before = milliseconds()
    left.go_on()
    assert (left.standing.status, left.left, left.running) == (Status.RUNNING, False, True)
    assert before <= left.standing.time <= milliseconds()
    assert json.loads((trial.folder / "trial.json").read_bytes())["outcome"]["status"] == "running"


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", '{"about": 1}', "[" * 100_000),
        OLD_TRIAL.replace("failed", "lost"),
        OLD_TRIAL.replace("failed", "superseded"),
        OLD_TRIAL.replace('"name"', '"title"'),
        OLD_TRIAL.replace('"study"', '"../study"'),
        OLD_TRIAL.replace(KEY, OTHER),
        OLD_TRIAL.replace('"about"', '"above"'),
        OLD_TRIAL.replace("}}", '}, "more": 1}'),
    ],
)
def test_a_trial_that_cannot_be_read_is_an_error(trial, text):
    (trial.folder / "trial.json").write_text(text)
    _, refused = survey([("it", trial.folder)], Spooled.left_in)
    assert refused.keys() == {"it"}


def test_a_trial_in_a_linked_or_huge_file_is_an_error(trial, tmp_path):
    link = tmp_path / OTHER
    link.symlink_to(trial.folder)
    with pytest.raises(ValueError, match=r"^it is a link$"):
        Spooled.left_in(link)
    for name in ("metrics.jsonl", "files.json", "trial.json"):
        make_huge(trial.folder / name)
        with pytest.raises(ValueError, match=rf"^{name} has 1,099,511,627,776 bytes"):
            Spooled.left_in(trial.folder)


@pytest.mark.parametrize("name", ["trial.json", "files.json"])
def test_every_flipped_bit_is_seen_or_changes_nothing(trial, name):
    trial.put({"curves.json": b"{}", "checkpoint/weights.safetensors": b"1"})
    path = trial.folder / name
    content = path.read_bytes()

    def read(damaged):
        path.write_bytes(damaged)
        left = Spooled.left_in(trial.folder)
        return left.about, left.files

    whole, refused = survey(flipped(content), read)
    assert set(map(str, whole.values())) <= {str((ABOUT, trial.files))}
    assert len(refused) > 7 * len(content)


@pytest.mark.parametrize("name", ["trial.json", "files.json"])
def test_whatever_is_done_to_a_trial_s_files_is_seen(trial, name):
    trial.put({"curves.json": b"{}"})
    path = trial.folder / name
    path.write_bytes(without_seal(path.read_bytes()))  # as an earlier version left it, with nothing but its form

    def read(damaged):
        path.write_bytes(damaged)
        left = Spooled.left_in(trial.folder)
        texts = (left.about.name, *left.about.tags.values(), *left.about.params.values(), left.standing.reason or "")
        return [text.encode() for text in (*texts, *left.files, *left.files.values())]

    whole, refused = survey(any_of(path.read_bytes()), read)
    assert len(refused) > len(whole)


def without_seal(content):
    form = json.loads(content)
    del form[SEAL]
    return json.dumps(form).encode()


def test_swapped_files_are_seen(trial, tmp_path):
    other = Spooled(tmp_path / OTHER, replace(ABOUT, key=OTHER), RUNNING)
    other.save()
    trial.put({"curves.json": b"{}"})
    files = {name: (trial.folder / name).read_bytes() for name in ("trial.json", "files.json")}
    files["another trial.json"] = (other.folder / "trial.json").read_bytes()
    for _, changed in swapped(files):
        for name in ("trial.json", "files.json"):
            (trial.folder / name).write_bytes(changed[name])
        if changed["trial.json"] != files["trial.json"] or changed["files.json"] != files["files.json"]:
            with pytest.raises(ValueError, match=r"entries|of the trial|relative path|digest"):
                Spooled.left_in(trial.folder)


def test_every_flipped_bit_of_a_line_of_metrics_is_seen_or_changes_nothing():
    line = Line(3, 1700000001000, {"val_loss": 0.5, "lr": 1e-05})
    whole, refused = survey(flipped(line.packed()[:-1]), Line.parse)
    assert all(read == line for read in whole.values())
    assert len(refused) > 1000
    old = without_seal(line.packed())
    whole, refused = survey(any_of(old), Line.parse)
    assert all(math.isfinite(value) for read in whole.values() for value in read.metrics.values())
    assert Line.parse(old) == line
    assert len(refused) > len(whole)


def test_half_a_line_after_a_power_cut_is_cut_off(trial):
    trial.append(Line(1, 1, {"loss": 0.5}))
    whole = trial.size
    with (trial.folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 2, "ti')
    left = Spooled.left_in(trial.folder)
    assert left.size == whole == len(Line(1, 1, {"loss": 0.5}).packed())
    left.append(Line(2, 2, {"loss": 0.25}))
    assert metrics(trial) == [Line(1, 1, {"loss": 0.5}), Line(2, 2, {"loss": 0.25})]


def test_half_a_line_that_a_full_disk_took_is_cut_off(trial, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            trial.append(Line(1, 1, {"loss": 0.5}))
    trial.append(Line(1, 2, {"loss": 0.5}))
    assert metrics(trial) == [Line(1, 2, {"loss": 0.5})]


def test_a_line_is_on_the_disk_before_it_counts(trial, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    trial.append(Line(1, 1, {"loss": 0.5}))
    assert synced == [trial.size]


def test_lines_are_read_from_where_one_stopped(trial):
    sizes = [0]
    for step in (1, 2, 3):
        trial.append(Line(step, step, {"loss": 1.0}))
        sizes.append(trial.size)
    assert [Line.parse(line).step for line in trial.lines(0, trial.size)] == [1, 2, 3]
    assert [Line.parse(line).step for line in trial.lines(sizes[1], sizes[2])] == [2]


@pytest.mark.parametrize(
    "text", [b"", b"garbled", b"[]", b"1", b'{"step": 1}', b'{"step": 1, "time": 1, "metrics": 7}']
)
def test_a_damaged_line_is_an_error(text):
    with pytest.raises(ValueError, match=r"Expecting|not a line of metrics|must have entries"):
        Line.parse(text)


def test_a_new_snapshot_replaces_files_of_its_names_and_nothing_is_kept_twice(trial):
    trial.put({"curves.json": b"1", "weights": b"same", STATE: b"state 1"})
    kept = (trial.folder / "blobs" / trial.files["weights"]).stat().st_mtime_ns
    trial.put({"curves.json": b"2", "weights": b"same", STATE: b"state 2"})
    trial.put({"curves.json": b"3"})
    assert {name: trial.blob(digest).read_bytes() for name, digest in trial.files.items()} == {
        "curves.json": b"3",
        "weights": b"same",
        STATE: b"state 2",
    }
    assert len(list((trial.folder / "blobs").iterdir())) == 3
    assert (trial.folder / "blobs" / trial.files["weights"]).stat().st_mtime_ns == kept
    assert Spooled.left_in(trial.folder).files == trial.files
    assert trial.state() == b"state 2"


def test_a_trial_without_a_state_has_an_empty_one(trial):
    trial.put({"curves.json": b"1"})
    assert trial.state() == b""


@pytest.mark.parametrize("how", ["garbled", "truncated", "gone", "huge", "a folder", "a pipe"])
def test_contents_that_are_not_what_was_written_are_named(trial, how):
    trial.put({"curves.json": b"12345", "weights": b"whole"})
    assert trial.garbled() == []
    blob = trial.blob(trial.files["curves.json"])
    if how in ("garbled", "truncated"):
        blob.write_bytes(b"12x45" if how == "garbled" else b"123")
    else:
        blob.unlink()
        make = {"gone": str, "huge": make_huge, "a folder": Path.mkdir, "a pipe": os.mkfifo}[how]
        make(blob)
    assert trial.garbled() == ["curves.json"]
    if how != "a folder":
        trial.put({"curves.json": b"6"})
        assert trial.garbled() == []


def test_what_is_cleared_can_begin_again(trial):
    trial.append(Line(1, 1, {"loss": 0.5}))
    trial.put({STATE: b"1"})
    trial.clear()
    assert not trial.folder.exists()
    assert (trial.files, trial.size, trial.state()) == ({}, 0, b"")
    trial.save()
    trial.append(Line(2, 2, {"loss": 0.25}))
    assert metrics(trial) == [Line(2, 2, {"loss": 0.25})]


def test_trials_are_folders_that_have_begun(trial, tmp_path):
    assert trials_in(tmp_path / "nowhere") == []
    (tmp_path / OTHER).mkdir()
    for name in ("findings", "A" * 64, "a" * 63):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trial.json").touch()
    assert trials_in(tmp_path) == [trial.folder]
    assert [is_key(text) for text in (KEY, "", KEY + "\n", KEY.upper())] == [True, False, False, False]


@pytest.mark.parametrize("name", ["curves.json", "state/seed-0.safetensors", "a b", "..x", "x..", "größe"])
def test_file_names_below_the_folder_are_taken(name):
    check_name(name)


@pytest.mark.parametrize(
    "name", ["../x", "/x", "state/../../x", "state//x", "./x", "x/", "", ".", "..", "a\\b", "a\0b"]
)
def test_file_names_that_escape_are_refused(name):
    with pytest.raises(ValueError, match=r"must be a relative path without '\.\.'"):
        check_name(name)


def test_one_process_at_a_time_holds_a_lock_and_is_named(tmp_path):
    path = tmp_path / "new" / "driver.lock"
    with locked(path):
        assert path.read_text() == holder()
        assert holder().startswith(f"process {os.getpid()} on {socket.gethostname()}, since 20")
        message = rf"{path.parent} is in use by process {os.getpid()} on .*; wait for its end, or give another --output"
        with pytest.raises(UserError, match=message), locked(path):
            pass
    with locked(path):
        pass


def test_a_lock_is_waited_for_and_goes_with_its_process(tmp_path):
    path = tmp_path / "tracker.lock"
    code = (
        f"import time; from pathlib import Path; from sweeps.tracking.spool import lock; lock(Path({str(path)!r}), 0)"
    )
    code += "; print('held', flush=True); time.sleep(60)"
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"in use by process {other.pid} on"):
            lock(path, 0.3)
        other.kill()
        began = time.monotonic()
        os.close(lock(path, 20))
        assert time.monotonic() - began < 10
