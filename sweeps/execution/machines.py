"""Which machines a command may use, and how much of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machines:
    """What a command may use of this machine, or of the Ray cluster at `address`. None leaves it to the machine."""

    num_gpus: int = 0
    trials_per_gpu: int | None = None
    num_cpus: int | None = None
    address: str | None = None
