"""Which machines a command may use, and how much of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machines:
    """What a command may take. None leaves it to the machine; without `address` that is this one, else a Ray cluster."""

    num_gpus: int = 0
    trials_per_gpu: int | None = None
    num_cpus: int | None = None
    address: str | None = None
