"""The hosts of a Ray cluster, each asked by a task of its own: their memory, and what lies on their disks."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.execution.memory import Demand
from trainables import memory
from trainables.errors import UserError

PATIENCE = 60  # seconds for all hosts to answer: a process has to start on each


class Host(NamedTuple):
    """What a host of the cluster says of itself."""

    name: str
    memory: int  # bytes
    has: bool  # whether it sees the file that it was asked for


def check_all_have(place: Path) -> None:
    """Raise UserError where a host of the cluster does not see this folder."""
    for host, _ in _asked(place):
        if not host.has:
            raise UserError(
                f"{host.name} does not see {place}: images that are too many for memory must lie where every host of "
                "the cluster finds them; name a shared folder with --data-dir"
            )


def check_memory(demand: Demand) -> None:
    """Raise UserError where a host of the cluster has too little memory for the trials that its cores would run."""
    for host, cores in _asked(Path()):
        demand.check(host.memory, cores, host.name)


def _asked(place: Path) -> list[tuple[Host, int]]:
    """Return what the hosts say, each with the cores that trials can have there. Hosts that do not answer are left out.

    Whether these can run a trial shows when one is sent there.
    """
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    ask = ray.remote(num_cpus=0, max_retries=0)(_look)
    answers = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(place)
        for node in nodes
    ]
    ready, _ = ray.wait(answers, num_returns=len(answers), timeout=PATIENCE)
    cores = {answer: int(node["Resources"]["CPU"]) for answer, node in zip(answers, nodes, strict=True)}
    return [(ray.get(answer), cores[answer]) for answer in answers if answer in ready]


def _look(place: Path) -> Host:
    return Host(socket.gethostname(), memory.total(), place.exists())
