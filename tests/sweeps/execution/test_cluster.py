import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from sweeps import interruption
from sweeps.execution import cluster
from sweeps.execution.cluster import connect, trial_resources
from sweeps.execution.machines import Machines
from trainables.errors import UserError


def test_a_trial_takes_a_core_and_its_share_of_a_gpu():
    assert trial_resources(Machines()) == {"cpu": 1}
    assert trial_resources(Machines(num_gpus=2, trials_per_gpu=4)) == {"cpu": 1, "gpu": 0.25}
    assert trial_resources(Machines(num_gpus=1, num_cpus=3)).get("gpu", 0) >= 1 / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            Machines(num_gpus=torch.cuda.device_count() + 1),
            "--num-gpus is .*, but this machine has .* that torch can use",
        ),
        (Machines(address="127.0.0.1:9"), "no Ray cluster answers at 127.0.0.1:9: "),
        (Machines(address="ray://127.0.0.1:head"), "no Ray cluster answers at ray://127.0.0.1:head: "),
    ],
)
def test_what_is_not_there_is_said_at_once(options, message):
    with pytest.raises(UserError, match=message), connect(options):
        pass


@pytest.fixture
def ray_starts(monkeypatch):
    """Stands for Ray: what it does as it starts, and whether it was left."""
    did = SimpleNamespace(start=lambda: None, left=[])

    @contextmanager
    def started(_):
        try:
            did.start()
            yield
        finally:
            did.left.append(True)

    monkeypatch.setattr(cluster, "_started", started)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    interruption.listen()
    return did


def test_ray_s_processes_do_not_end_with_a_terminal(ray_starts):
    def start():
        assert signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, ())

    ray_starts.start = start
    with connect(Machines()):
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("by", interruption.SIGNALS)
def test_whoever_asks_to_stop_while_ray_starts_is_heard_once_it_has(ray_starts, by):
    done = []
    ray_starts.start = lambda: signal.raise_signal(by) or done.append("started")
    with pytest.raises(KeyboardInterrupt), connect(Machines()):
        done.append("worked")
    assert (done, ray_starts.left) == (["started"], [True])


def test_ray_s_own_answer_to_sigterm_is_the_same_request(ray_starts):
    def start():
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)

    ray_starts.start = start
    ours = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), connect(Machines()):
        pass
    assert signal.getsignal(signal.SIGTERM) == ours
    assert ray_starts.left


def test_a_driver_that_is_told_to_stop_is_interrupted():
    code = """
import os, signal, sys, time
from sweeps.main import guarded

def command():
    from sweeps.execution.cluster import connect
    from sweeps.execution.machines import Machines
    with connect(Machines(num_cpus=1)):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(30)

sys.exit(guarded(command))
"""
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (end.returncode, end.stdout) == (130, "")
    assert end.stderr == "interrupted: each trial's last snapshot is kept; the same command goes on from there\n"
