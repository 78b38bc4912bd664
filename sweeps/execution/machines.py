"""Which machines a command may use, and how much of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machines:
    """What a command may use; None leaves it to the machine: to this one, or where `address` is given to a Ray cluster."""

    num_gpus: int = 0
    trials_per_gpu: int | None = None
    num_cpus: int | None = None
    address: str | None = None
