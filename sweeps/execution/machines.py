"""Which machines a command may use, and how much of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from sweeps.execution import gpus
from trainables.errors import UserError


@dataclass(frozen=True)
class Machines:
    """What a command may use of this machine, or of the Ray cluster at `address`. None leaves it to the machine."""

    num_gpus: int | None = None  # None: all that there are; 0: the CPU
    trials_per_gpu: int | None = None
    num_cpus: int | None = None
    address: str | None = None

    @property
    def cores(self) -> int:
        """The CPU cores to use of this machine."""
        return self.num_cpus or os.cpu_count() or 1

    def check(self) -> None:
        """Raise UserError where this machine has fewer GPUs than asked for; what a cluster has is not known here."""
        if not self.address and self.num_gpus and self.num_gpus > (found := gpus.count()):
            raise UserError(f"--num-gpus is {self.num_gpus}, but this machine has {found} that torch can use")

    def here(self) -> Machines:
        """Return the same with the number of GPUs filled in, where this machine knows it."""
        return self if self.address or self.num_gpus is not None else self.with_gpus(gpus.count())

    def with_gpus(self, count: int) -> Machines:
        """Return the same with this number of GPUs."""
        return replace(self, num_gpus=count)
