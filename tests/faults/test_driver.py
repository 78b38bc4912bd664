"""The driver is killed, or asked to stop."""

import os
import signal
import time

import pytest

from tests.faults.site import FAULT, TRIALS, until

pytestmark = FAULT


def test_a_driver_that_was_killed_goes_on_with_the_same_command(site, undisturbed):
    process = site.start()
    until(lambda: site.trained() > 15)
    process.kill()
    site.end(process)
    had = site.trained()
    status, said = site.run()
    assert status == 0, said
    assert site.outcome() == undisturbed
    assert had < 12 * TRIALS


def test_trials_that_wait_for_each_other_as_the_driver_is_killed_go_on_too(site, undisturbed):
    process = site.start("--early-stopping")
    until(lambda: site.trained() > 8)  # two have had three epochs, after which they wait
    process.kill()
    site.end(process)
    status, said = site.run("--early-stopping")
    assert status == 0, said
    assert '"decision": "wait"' in (site.results / "lr-decisions.jsonl").read_text()
    trials, whole = site.outcome()["trials"], undisturbed["trials"]
    assert trials.keys() == whole.keys()
    assert {status for _, status, _ in trials.values()} <= {"done", "censored"}
    assert all(trial == whole[key] for key, trial in trials.items() if trial[1] == "done")
    assert sum(trial[1] == "done" for trial in trials.values()) > 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_study_that_is_asked_to_stop_says_how_to_go_on(site, undisturbed, how):
    process = site.start()
    until(lambda: site.trained() > 15)
    os.kill(process.pid, how)
    status, said = site.end(process, timeout=60)
    assert status == 130, said
    assert "interrupted: each trial's last snapshot is kept; the same command goes on from there" in said
    assert not list(site.spool.glob("*/trial.json"))  # MLflow has it all
    assert "RUNNING" not in {status for _, status, _ in site.outcome()["runs"]}
    assert site.run()[0] == 0
    assert site.outcome() == undisturbed


def test_the_second_interruption_ends_at_once(site, undisturbed):
    process = site.start()
    until(lambda: site.trained() > 15)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.3)
    began = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    status, said = site.end(process, timeout=60)
    assert status == 130, said
    assert time.monotonic() - began < 5
    assert site.run()[0] == 0
    assert site.outcome() == undisturbed
