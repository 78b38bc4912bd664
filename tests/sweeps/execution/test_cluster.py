import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from sweeps import interruption
from sweeps.execution import cluster, gpus
from sweeps.execution.background import Background
from sweeps.execution.cluster import connect
from sweeps.execution.machines import Machines
from trainables.errors import UserError

SEEN = torch.cuda.device_count()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            Machines(num_gpus=SEEN + 1),
            rf"^--num-gpus is {SEEN + 1}, but this machine has {SEEN} that torch can use$",
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
    def running(machines):
        try:
            did.start()
            did.machines = machines
            yield
        finally:
            did.left.append(True)

    monkeypatch.setattr(cluster.local_ray, "running", running)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    interruption.listen()
    return did


def test_without_a_word_ray_gets_all_gpus_of_this_machine(ray_starts, monkeypatch):
    monkeypatch.setattr(gpus, "count", lambda: 2)
    with connect(Machines(num_cpus=4)) as found:
        assert found == ray_starts.machines == Machines(num_gpus=2, num_cpus=4)
    with connect(Machines(num_gpus=0)) as found:
        assert found == ray_starts.machines == Machines(num_gpus=0)


@pytest.mark.parametrize(("resources", "count"), [({"CPU": 8.0, "GPU": 4.0}, 4), ({"CPU": 8.0}, 0)])
def test_without_a_word_the_gpus_count_that_the_cluster_has(resources, count, monkeypatch):
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: resources)
    asked = Machines(address="head:1")
    with connect(asked) as found:
        assert found == asked.with_gpus(count)
    with connect(asked.with_gpus(9)) as found:  # an autoscaler may bring them
        assert found == asked.with_gpus(9)


@pytest.mark.parametrize("by", interruption.SIGNALS)
def test_whoever_asks_to_stop_while_ray_starts_is_heard_once_it_has(ray_starts, by):
    done = []
    ray_starts.start = lambda: signal.raise_signal(by) or done.append("started")
    with pytest.raises(KeyboardInterrupt), connect(Machines()):
        done.append("worked")
    assert (done, ray_starts.left) == (["started"], [True])


def test_ray_s_own_answer_to_sigterm_is_the_same_request(monkeypatch):
    """As it sets it where it connects to a cluster in this thread."""

    def start(*_, **__):
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)

    interruption.listen()
    monkeypatch.setattr(cluster.ray, "init", start)
    ours = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), connect(Machines(address="auto")):
        pass
    assert signal.getsignal(signal.SIGTERM) == ours


def test_a_ray_that_is_starting_already_is_waited_for_and_ended(ray_starts):
    may_start = threading.Event()
    ray_starts.start = lambda: may_start.wait(10)
    here = Background(lambda: cluster.local_ray.running(Machines(num_gpus=0)))
    here.begin()
    threading.Timer(0.1, may_start.set).start()
    with connect(Machines(num_gpus=0), here) as found:
        assert found == ray_starts.machines
        assert ray_starts.left == []
    assert ray_starts.left == [True]
    here.end()
    assert ray_starts.left == [True]


def test_one_that_does_not_start_is_told_as_it_is_waited_for(ray_starts):
    def fail():
        raise UserError("Ray does not start on this machine: no room")

    ray_starts.start = fail
    here = Background(lambda: cluster.local_ray.running(Machines(num_gpus=0)))
    with pytest.raises(UserError, match=r"no room$"), connect(Machines(num_gpus=0), here):
        pass


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
