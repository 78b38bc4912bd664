"""A trial's process is killed, hangs, or takes too much memory; what a study is made of changes between two starts."""

import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faults.site import FAULT, TRAINING, TRIALS, Site, until

pytestmark = FAULT
MEMORY = Path("/sys/fs/cgroup/memory")


def test_a_trial_whose_process_is_killed_goes_on_elsewhere(site, undisturbed):
    process = site.start()
    until(lambda: site.trained() > 15)
    os.kill(worker(site, process), signal.SIGKILL)
    status, said = site.end(process)
    assert status == 0, said
    assert "its process was lost; it starts again from its last snapshot (1 of at most 2)" in said
    assert site.outcome() == undisturbed
    assert "Restarted from its last snapshot" in (site.results / "report.html").read_text()


def test_a_trial_that_hangs_is_killed_and_goes_on(tmp_path, undisturbed):
    site = Site(
        tmp_path,
        before="sweeps.execution.watchdog.PATIENCE = sweeps.execution.watchdog.Patience(first=60, least=4, factor=3)",
    )
    process = site.start()
    until(lambda: site.trained() > 15)
    hung = worker(site, process)
    os.kill(hung, signal.SIGSTOP)
    try:
        status, said = site.end(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(hung, signal.SIGKILL)
    assert status == 0, said
    assert re.search(
        r"it hung: \d+ s without an epoch, its longest so far having taken [\d.]+ s; it starts again", said
    )
    assert site.outcome() == undisturbed


def test_a_trial_that_always_dies_fails_with_its_reason_after_two_restarts(site):
    process = site.start("--stages", "lr")

    def kill() -> bool:
        for each in site.processes(process, TRAINING):
            os.kill(each, signal.SIGKILL)
        return process.poll() is not None

    until(kill, seconds=200, pause=0.5)
    status, said = site.end(process)
    assert status == 1, said
    assert "failed: lr: 0.05: its process was lost, again after 2 restarts" in said
    assert {row["status"] for row in csv.DictReader((site.results / "lr.csv").read_text().splitlines())} == {"failed"}
    assert "RUNNING" not in {status for _, status, _ in site.outcome()["runs"]}


def test_ray_s_memory_monitor_does_not_take_the_study_down(site, undisturbed):
    """Where a cluster has it on.

    Here it kills what runs as long as a hog takes the machine's memory over its threshold.
    """
    used = 1 - available() / total()
    process = site.start(RAY_memory_monitor_refresh_ms="100", RAY_memory_usage_threshold=f"{used + 0.2:.3f}")
    until(lambda: site.trained() > 15)
    hog = subprocess.Popen(
        ["python3", "-c", f"import time; x = bytearray(b'x') * {int(0.22 * total())}; time.sleep(60)"]
    )
    try:
        until(lambda: "its process was killed (OutOfMemoryError)" in site.said.read_text())
    finally:
        hog.kill()
        hog.wait()
    status, said = site.end(process)
    assert status == 0, said
    assert site.outcome() == undisturbed


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="needs a writable memory cgroup (version 1)")
def test_a_trial_that_the_kernel_kills_for_its_memory_goes_on(site, undisturbed):
    group = MEMORY / f"cnn-sweeps-{os.getpid()}"
    process = site.start(
        MALLOC_MMAP_THRESHOLD_="4096"
    )  # so that every tensor takes new pages, which alone count in the group
    until(lambda: site.trained() > 15)
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(worker(site, process)))
        (group / "memory.limit_in_bytes").write_text("65536")
        status, said = site.end(process)
        assert "its process was lost; it starts again" in said
        assert int(re.search(r"oom_kill (\d+)", (group / "memory.oom_control").read_text())[1]) >= 1
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), seconds=20)
        group.rmdir()
    assert status == 0, said
    assert site.outcome() == undisturbed


def test_data_that_changes_mid_study_changes_nothing_until_the_next_start_which_tells_old_from_new(site, undisturbed):
    process = site.start()
    until(lambda: site.trained() > 15)
    images = sorted((site.images / "train").rglob("*.png"))
    shutil.copyfile(images[0], images[1])
    status, said = site.end(process)
    assert status == 0, said
    assert site.outcome() == undisturbed

    status, said = site.run("--stages", "lr")
    assert (status, "3 trials run, 0 taken from earlier runs" in said) == (0, True)
    assert len(site.outcome()["trials"]) == TRIALS + 3  # the old ones are kept, under their keys

    shutil.rmtree(site.images)
    status, said = site.run()
    assert (status, len(said.splitlines())) == (2, 1)
    assert said.startswith("error: ")


def test_a_config_that_changes_between_two_starts_makes_new_trials_and_keeps_the_old(site, undisturbed):
    site.run()
    site.script.write_text(site.script.read_text().replace("batch_size=4", "batch_size=8"))
    status, said = site.run()
    assert (status, "4 trials run, 0 taken from earlier runs" in said) == (0, True)
    outcome = site.outcome()
    assert len(outcome["trials"]) == 2 * TRIALS
    assert outcome["trials"].items() >= undisturbed["trials"].items()


def worker(site: Site, driver: subprocess.Popen) -> int:
    """Return the process of a trial at work."""
    until(lambda: site.processes(driver, TRAINING))
    return site.processes(driver, TRAINING)[0]


def total() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available() -> int:
    return int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
