"""A study that does not run for a while: Ctrl-Z, a laptop that sleeps, a machine that is paused."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.site import FAULT, Site, until

pytestmark = FAULT
# a trial hangs after four seconds of silence: a stop of twenty is far beyond
IMPATIENT = "sweeps.execution.watchdog.PATIENCE = sweeps.execution.watchdog.Patience(first=120, least=4, factor=3)"


@contextlib.contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Stop these processes meanwhile."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("what", ["driver", "everything"])
def test_a_study_that_stands_still_for_a_while_blames_no_trial(tmp_path, undisturbed, what):
    """Ctrl-Z stops the driver alone, as Ray's processes have groups of their own; a sleeping machine stops them all."""
    site = Site(tmp_path, before=IMPATIENT, epochs=12)
    process = site.start()
    until(lambda: site.trained() > 5)
    with stopped([process.pid] if what == "driver" else [process.pid, *everything_below(site, process)]):
        time.sleep(20)
    status, said = site.end(process)
    assert status == 0, said
    assert "starts again" not in said
    assert site.outcome() == undisturbed


def test_one_that_stands_still_for_longer_than_its_lease_gives_way_to_another_and_spoils_nothing(tmp_path, undisturbed):
    first, second = Site(tmp_path, epochs=12), None
    process = first.start()
    until(lambda: first.delivered() > 5)
    until(lambda: stops_without_a_lock(first, process))
    with stopped([process.pid, *everything_below(first, process)]):
        second = Site(tmp_path / "second", first.uri)
        shutil.copy(first.script, second.script)
        other = second.start(said="second.txt")
        until(lambda: "watching for 25 s" in (second.folder / "second.txt").read_text())
        until(lambda: second.trained() > 20)
    status, said = first.end(process)
    assert status == 2, said
    assert said.splitlines()[-1].startswith(f"error: this study is being run by process {other.pid} on ")
    status, said = second.end(other, said="second.txt")
    assert status == 0, said
    assert once(second.outcome()) == once(undisturbed)
    status, said = first.run()  # what was left in its spool is older than what MLflow has by now
    assert status == 0, said
    assert "nothing to run" in said
    assert once(second.outcome()) == once(undisturbed)


def once(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return an outcome with each epoch once: the one that gives way may repeat some before it notices."""
    return outcome | {"runs": [(name, status, sorted(set(steps))) for name, status, steps in outcome["runs"]]}


def stops_without_a_lock(site: Site, process: subprocess.Popen) -> bool:
    """Stop everything; where that was in the middle of a write to the database, which nobody could read then, go on."""
    pids = [process.pid, *everything_below(site, process)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(map(stands_still, pids)))  # one that waits for the disk goes on until it has it
    try:
        with closing(sqlite3.connect(site.uri.removeprefix("sqlite:///"), timeout=0.1)) as database:
            database.execute("begin exclusive")
            database.rollback()
    except sqlite3.OperationalError:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        return False
    return True


def stands_still(pid: int) -> bool:
    """Tell whether a process is stopped, or gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def everything_below(site: Site, process: subprocess.Popen) -> list[int]:
    return [pid for pid in site.processes(process, "") if pid != process.pid]
