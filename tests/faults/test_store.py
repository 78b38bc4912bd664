"""What lies between a worker's epoch and MLflow is hurt: server, database, Tracker, disk, checkpoints.

And two commands start at once.
"""

import contextlib
import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from sweeps.tracking.store import Store
from tests.faults.site import FAULT, TRIALS, Server, Site, command, until

pytestmark = FAULT


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def served(tmp_path, server) -> Site:
    return Site(tmp_path, server.uri)


def sync(site: Site) -> tuple[int, str]:
    return command("sync.py", "--output", str(site.folder / "results"), "--tracking-uri", site.uri)


def run_ids(site: Site) -> list[str]:
    rows = [
        row
        for stage in ("lr", "width")
        for row in csv.DictReader((site.results / f"{stage}.csv").read_text().splitlines())
    ]
    return [row["MLflow run"] for row in rows]


def test_a_server_that_is_away_for_a_minute_loses_nothing(served, server, undisturbed):
    server.start()
    process = served.start()
    until(lambda: served.trained() > 5)
    server.kill()
    time.sleep(60)
    server.start()
    status, said = served.end(process)
    assert status == 0, said
    assert served.outcome() == undisturbed


def test_a_server_that_is_away_at_the_start_is_waited_for(served, server, undisturbed):
    process = served.start()
    until(lambda: "does not answer; waiting for it, up to 60 s" in served.said.read_text())
    server.start()
    status, said = served.end(process)
    assert status == 0, said
    assert served.outcome() == undisturbed


def test_a_server_that_does_not_come_is_one_line(served):
    status, said = served.run()
    assert status == 2, said
    *_, waiting, error = said.splitlines()  # after the plan
    assert "waiting for it, up to 60 s" in waiting
    assert error.startswith(f"error: cannot read MLflow at {served.uri}: ")


def test_what_a_server_that_died_for_good_did_not_get_is_delivered_by_sync(served, server, undisturbed):
    server.start()
    process = served.start()
    until(lambda: served.trained() > 5)
    server.kill()
    status, said = served.end(process, timeout=400)
    assert status == 1, said
    assert "MLflow does not have everything yet" in said
    assert f"python sweeps/sync.py --output {served.folder / 'results'} --tracking-uri {served.uri}" in said
    server.start()
    status, said = sync(served)
    assert (status, said.splitlines()) == (0, [f"hurt: {TRIALS} of {TRIALS} trials delivered to {served.uri}"])
    assert served.outcome() == undisturbed
    assert sync(served)[1].endswith("nothing is left to deliver\n")


def test_a_database_that_another_process_locks_for_40_seconds_loses_nothing(site, undisturbed):
    process = site.start()
    until(lambda: site.delivered() > 0)
    with contextlib.closing(sqlite3.connect(site.uri.removeprefix("sqlite:///"), timeout=60)) as database:
        database.execute("begin exclusive")
        time.sleep(40)
        database.rollback()
    status, said = site.end(process)
    assert status == 0, said
    assert site.outcome() == undisturbed


def test_a_tracker_that_is_killed_twice_loses_nothing(site, undisturbed):
    process = site.start()
    for trained in (5, 25):
        until(lambda at=trained: site.trained() > at and site.processes(process, "ray::Tracker"))
        os.kill(site.processes(process, "ray::Tracker")[0], signal.SIGKILL)
    status, said = site.end(process)
    assert status == 0, said
    assert site.outcome() == undisturbed
    assert all(run_ids(site))


class Disk:
    """A disk of a few MB in the place of the spool."""

    def __init__(self, folder: Path):
        self.filler = folder / "filler"
        folder.mkdir(parents=True)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"a disk of its own cannot be mounted: {mounted.stderr.strip()}")

    def fill(self):
        with contextlib.suppress(OSError), self.filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 12)):
                pass


@pytest.fixture
def disk(site):
    disk = Disk(site.spool)
    yield disk
    subprocess.run(["umount", "--lazy", str(site.spool)], check=True)


def test_a_disk_that_is_full_for_20_seconds_loses_nothing(site, disk, undisturbed):
    process = site.start()
    until(lambda: site.trained() > 5)
    disk.fill()
    time.sleep(20)
    disk.filler.unlink()
    status, said = site.end(process)
    assert status == 0, said
    assert site.outcome() == undisturbed


def test_a_disk_that_stays_full_ends_trials_with_the_reason(site, disk, undisturbed):
    process = site.start()
    until(lambda: site.trained() > 5)
    disk.fill()
    stopping = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < stopping:  # what is delivered makes room: not here
        disk.fill() if not disk.filler.exists() else _grow(disk.filler)
        time.sleep(0.2)
    status, said = site.end(process)
    assert status == 1, said
    assert "OSError: [Errno 28] No space left on device" in said
    assert "Traceback" not in said
    disk.filler.unlink()
    status, said = site.run()
    assert status == 0, said
    assert site.outcome() == undisturbed


def _grow(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(bytes(1 << 12)):
            pass


def test_of_a_damaged_checkpoint_the_one_before_is_used_and_said_so(site, undisturbed):
    process = site.start()
    until(lambda: site.trained() > 1, pause=0.01)
    os.kill(process.pid, signal.SIGINT)
    assert site.end(process)[0] == 130
    client, damaged = Store(site.uri).client, 0
    for run in (site.folder / "mlruns" / "hurt").iterdir():
        if client.get_run(run.name).info.status == "KILLED":  # as if it had written another one, which is damaged
            [state] = (run / "artifacts" / "state").iterdir()
            content = state.read_bytes()
            state.with_name("b.zip").write_bytes(
                content[: len(content) // 2] if damaged else content[:500] + bytes(9) + content[509:]
            )
            client.set_tag(run.name, "newest_state", "state/b.zip")
            damaged += 1
    assert damaged
    status, said = site.run()
    assert status == 0, said
    assert said.count("state/b.zip is damaged") == said.count("state/a.zip, the one before, is used") == damaged
    assert site.outcome() == undisturbed


@pytest.mark.parametrize("share", ["results and MLflow", "MLflow"])
def test_of_two_that_start_at_once_one_runs_and_the_other_says_who_does(tmp_path, undisturbed, share):
    site = Site(tmp_path)
    other = site if share == "results and MLflow" else Site(tmp_path / "other", site.uri)
    if other is not site:
        shutil.copy(site.script, other.script)
    first, second = site.start(), other.start(said="second.txt")
    ends = {site: site.end(first), "second": other.end(second, said="second.txt")}
    assert sorted(status for status, _ in ends.values()) == [0, 2], ends
    (said,) = [said for status, said in ends.values() if status == 2]
    winner = first if ends[site][0] == 0 else second
    assert f"by process {winner.pid} on " in said.splitlines()[-1]
    assert (site if winner is first else other).outcome() == undisturbed
