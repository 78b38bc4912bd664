import os

import pytest

from sweeps.execution import gpus
from sweeps.execution.machines import Machines
from sweeps.options import RunOptions
from trainables.errors import UserError


def test_without_a_word_it_is_this_machine_with_all_its_gpus(monkeypatch):
    assert Machines() == Machines(num_gpus=None, trials_per_gpu=None, num_cpus=None, address=None)
    monkeypatch.setattr(gpus, "count", lambda: 3)
    assert Machines(num_cpus=4).here() == Machines(num_gpus=3, num_cpus=4)
    assert Machines(num_gpus=0).here() == Machines(num_gpus=0)
    assert Machines(num_gpus=1).here() == Machines(num_gpus=1)


def test_how_many_a_cluster_has_is_not_known_here(monkeypatch):
    monkeypatch.setattr(gpus, "count", lambda: 3)
    assert Machines(address="head:1").here() == Machines(num_gpus=None, address="head:1")


def test_more_gpus_than_there_are_is_a_mistake_and_of_a_cluster_nothing_is_known(monkeypatch):
    monkeypatch.setattr(gpus, "count", lambda: 1)
    for machines in (Machines(), Machines(0), Machines(1), Machines(2, address="head:1")):
        machines.check()
    with pytest.raises(UserError, match=r"^--num-gpus is 2, but this machine has 1 that torch can use$"):
        Machines(2).check()


def test_its_cores_are_all_or_those_named(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert (Machines().cores, Machines(num_cpus=4).cores) == (16, 4)


def test_the_options_name_the_machines():
    options = RunOptions(num_gpus=2, trials_per_gpu=3, num_cpus=4, address="head:1")
    assert options.machines == Machines(2, 3, 4, "head:1")
