"""How much memory of the machine a study needs, and whether it is there: what will not fit is refused beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sweeps.decisions.labels import counted
from sweeps.decisions.planning import PlannedStage, in_all
from sweeps.execution.machines import Machines
from sweeps.execution.sharing import gigabytes, trials_of
from trainables import memory
from trainables.config import Trial
from trainables.datasets.folders import PREFIX
from trainables.errors import UserError
from trainables.footprint import Images, on_cpu

# What this command takes, with the Tracker and Ray's own processes. Measured 2026-11-26 with Ray 2.60: 1.4 GB, of which
# this command 0.9.
REST = 1_400_000_000
# Of the machine's memory. Decoded images on disk that are larger are mapped by each worker, not put into Ray's object
# store, for which Ray sets three times as much aside.
MAPPED_SHARE = 0.1
DRAWN = 100  # points of a search's space that are looked at


@dataclass(frozen=True)
class Demand:
    """What a study takes of a machine's memory: estimates, in bytes."""

    data: int  # all images, of which a machine holds one copy; 0 where only reading shows how many there are
    mapped: bool  # whether they stay on the disk, and the system keeps in memory what it has room for
    takes: tuple[int, ...]  # what a worker takes with each of the largest trials; none where trials run on GPUs
    largest: str  # the stage of the largest
    machines: Machines
    threads: int = 1  # that each of the trials takes at least

    def total(self, cores: int) -> int:
        """Return what is taken at most with so many cores in use."""
        return (0 if self.mapped else self.data) + sum(self.takes[: self._at_once(cores)]) + REST

    @property
    def words(self) -> str:
        """What is needed, in one sentence."""
        if self.machines.address or not self.takes:
            beside = (
                f"and at most {gigabytes(self.takes[0])} for each trial" if self.takes else "beside what trials take"
            )
            return f"{self._data}, once on each machine, {beside}"
        there, cores = memory.total(), self.machines.cores
        return f"at most {gigabytes(self.total(cores))} of {gigabytes(there)}: {self._parts(cores)}"

    def check_data(self) -> None:
        """Raise UserError where the data alone is larger than this machine's memory."""
        there = memory.total()
        if not self.mapped and self.data > there:
            raise UserError(
                f"the images take {gigabytes(self.data)} of memory, but this machine has {gigabytes(there)}; use fewer "
                "or smaller ones"
            )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What would be refused on this machine, for a plan."""
        try:
            self.check_data()
            if not self.machines.address:
                self.check()
        except UserError as error:
            return (str(error),)
        return ()

    def check(self, there: int | None = None, cores: int | None = None, host: str = "this machine") -> None:
        """Raise UserError where a machine with so much memory and so many cores has too little; by default this one."""
        there, cores = there or memory.total(), cores or self.machines.cores
        if not self.takes or (needed := self.total(cores)) <= there:
            return
        fitting = max((fewer for fewer in range(1, cores) if self.total(fewer) <= there), default=0)
        helps = (
            f"--num-cpus {fitting} fits"
            if fitting
            else f"a trial of stage {self.largest} alone does not fit: a smaller training.resize, a smaller batch or "
            "fewer images would help, or --stages without it"
        )
        raise UserError(
            f"the study needs an estimated {gigabytes(needed)} of memory, but {host} has {gigabytes(there)} "
            f"({self._parts(cores)}); {helps}"
        )

    @property
    def _data(self) -> str:
        size = f"{_in_words(self.data)} of data" if self.data else "the data"
        return f"{size}, mapped from the disk" if self.mapped else size

    def _at_once(self, cores: int) -> int:
        return max(1, cores // self.threads)

    def _parts(self, cores: int) -> str:
        workers = min(self._at_once(cores), len(self.takes))
        each = f"{counted(workers, 'trial')} at once with at most {gigabytes(self.takes[0])} each"
        return f"{self._data}; {each}; {gigabytes(REST)} for the rest"


def demand(dataset: str, planned: Sequence[PlannedStage], images: Images, seeds: int, machines: Machines) -> Demand:
    """Return what the study takes of these machines, whose GPUs are counted, or of each of a cluster's."""
    channels, height, width = images.shape
    data = (images.train + images.val + images.test) * channels * height * width
    mapped = dataset.startswith(PREFIX) and is_large(data)
    found = [] if machines.num_gpus else _largest(planned, images, seeds, mapped)
    threads = min((trial.training.threads for entry in planned for trial in entry.reachable), default=1)
    return Demand(data, mapped, tuple(size for size, _ in found), found[0][1] if found else "", machines, threads)


def _in_words(size: int) -> str:
    return gigabytes(size) if size >= 1e8 else f"{size / 1e6:.0f} MB"


def is_large(size: int) -> bool:
    """Tell whether images of so many bytes are mapped where they lie, if they lie decoded on the disk."""
    return size > MAPPED_SHARE * memory.total()


def _largest(planned: Sequence[PlannedStage], images: Images, seeds: int, mapped: bool) -> list[tuple[int, str]]:
    """Return what a worker takes with each of the largest trials, and their stages, the largest first.

    They are as many as the study has.
    """
    most = in_all(planned)
    stages: dict[Trial, str] = {}
    for entry in planned:
        for trial in islice(trials_of(entry, images), DRAWN if entry.to_draw else None):
            stages.setdefault(trial, entry.stage.name)
    return sorted(zip(_sizes(stages, images, seeds, mapped), stages.values(), strict=True), reverse=True)[:most]


def _sizes(trials: Iterable[Trial], images: Images, seeds: int, mapped: bool) -> Iterator[int]:
    known: dict[tuple[object, ...], int] = {}
    for trial in trials:
        recipe = trial.training
        like = (
            *(trial.model, recipe.batch_size, recipe.optimizer, recipe.momentum > 0),
            *(recipe.resize, recipe.crop, recipe.vary_split),
        )
        if like not in known:
            known[like] = on_cpu(trial, images, seeds, mapped=mapped).total
        yield known[like]
