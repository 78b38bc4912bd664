"""Two workers train one trial, and one of them is killed."""

import os
import signal

import pytest

from tests.faults.site import FAULT, TRAINING, Site, until

pytestmark = FAULT

# from the first epoch on, whatever there is to gain; each is noted in a file
EAGER = """
from pathlib import Path
from sweeps.execution import helpers
helpers.WORTH = 0.0

class Noted(helpers.Helpers):
    def send(self, device):
        job = super().send(device)
        with Path("{file}").open("a") as file:
            file.write("sent " if job else "")
        return job

import sweeps.execution.dispatcher
sweeps.execution.dispatcher.Helpers = Noted
"""
NOBODY = """
from sweeps.execution.helpers import Helpers
Helpers.wanted, Helpers.send = lambda *_: False, lambda *_: None
"""
SEEDS = ("--seeds", "3")


@pytest.fixture(scope="module")
def in_turn(tmp_path_factory):
    """What the study comes to where each worker trains its trial's replicates in turn."""
    site = Site(tmp_path_factory.mktemp("in_turn"), before=NOBODY)
    status, said = site.run(*SEEDS)
    assert status == 0, said
    return site.outcome()


def eager(folder):
    file = folder / "sent.txt"
    return Site(folder, before=EAGER.format(file=file)), lambda: file.read_text().count("sent") if file.exists() else 0


def test_trials_with_helpers_come_to_the_same_bit_by_bit(tmp_path, in_turn):
    site, sent = eager(tmp_path)
    status, said = site.run(*SEEDS)
    assert status == 0, said
    assert sent() >= 2  # with the last trial of each stage
    assert site.outcome() == in_turn
    assert "starts again" not in said


@pytest.mark.parametrize("which", [0, 1])
def test_where_either_of_two_workers_is_killed_the_trial_goes_on(tmp_path, in_turn, which):
    site, sent = eager(tmp_path)
    process = site.start(*SEEDS)
    until(lambda: sent() > 0)
    before = site.trained()
    until(lambda: site.trained() > before + 2)
    training = site.processes(process, TRAINING)
    os.kill(training[min(which, len(training) - 1)], signal.SIGKILL)
    status, said = site.end(process)
    assert status == 0, said
    assert "process was lost; it starts again from its last snapshot (1 of at most 2)" in said
    assert site.outcome() == in_turn
