"""Where a command's trials run, and how many of them share a GPU: from what one takes of it, and what it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sweeps.decisions.planning import PlannedStage
from sweeps.decisions.space import unbuildable
from sweeps.decisions.stages import Search
from sweeps.execution import gpus
from sweeps.execution.machines import Machines
from trainables.config import Trial
from trainables.footprint import Footprint, Images, examination, footprint

SAMPLES = 1000  # points of a search's space, of which the largest counts: those that planning has looked at

# How many trials may share a GPU, however large it is. Without MPS their kernels run in turn, so that little is gained
# beyond about three processes, which fill each other's pauses. Both are to be measured.
MOST, MOST_WITH_MPS = 3, 8


class Need(NamedTuple):
    """What the largest of some trials takes of a GPU, as estimated."""

    trial: str  # which one, in words
    takes: Footprint


@dataclass(frozen=True)
class Sharing:
    """Where trials run: `gpus` in all, so many `trials` on each of them; on the CPU where there are none."""

    gpus: int
    trials: int
    words: str  # what was chosen, and why
    warnings: tuple[str, ...] = ()

    @property
    def resources(self) -> dict[str, float]:
        """What one trial takes: a core, and with GPUs its share of one."""
        return {"cpu": 1, "gpu": 1 / self.trials} if self.gpus else {"cpu": 1}


def largest(planned: Sequence[PlannedStage], images: Images, replicates: int) -> Need:
    """Return what the largest trial takes that the stages can come to, with so many replicates."""
    needs = (
        Need(f"a trial of stage {stage.stage.name}", footprint(trial, images, replicates))
        for stage in planned
        for trial in trials_of(stage, images)
    )
    return max(needs, key=lambda need: need.takes.total)


def largest_examined(trials: Mapping[str, Trial], images: Images) -> Need:
    """Return what the largest analysis of the models of these trials takes, which have names."""
    needs = (Need(f"an analysis of {name}", examination(trial, images)) for name, trial in trials.items())
    return max(needs, key=lambda need: need.takes.total)


def trials_of(planned: PlannedStage, images: Images) -> Iterator[Trial]:
    """Go through the trials that a stage can come to; of a search through some that it could draw."""
    if not isinstance(planned.stage, Search):
        yield from planned.reachable
        return
    rng = np.random.default_rng(0)
    for _ in range(SAMPLES):
        values = planned.stage.space.random(rng)
        if unbuildable(planned.reachable[0], values, images.shape, images.classes) is None:
            yield planned.reachable[0].with_values(values)


def share_out(machines: Machines, need: Callable[[], Need], *, all_of_them: bool) -> Sharing:
    """Return how these machines are shared, whose GPUs are counted.

    `need` returns that of the largest trial; `all_of_them`: nobody said how many GPUs to use.
    """
    count = machines.num_gpus
    if count is None:
        cluster = f"the Ray cluster at {machines.address}"
        return Sharing(0, 1, f"on the GPUs that {cluster} has when trials start, or its cores where it has none")
    where = _where(count, machines, all_of_them)
    if not count:
        return Sharing(0, 1, where)
    if machines.address or gpus.count() < count:  # a cluster's, or those of another machine in a plan made here
        trials = machines.trials_per_gpu or 1
        unknown = "" if machines.trials_per_gpu else ", as its memory is not known here: --trials-per-gpu says it"
        return Sharing(count, trials, f"{where}: {_beside(trials)}{unknown}")
    room, found, with_mps = gpus.memory(count), need(), gpus.mps()
    most = _most(room // found.takes.total, machines.cores // count, with_mps=with_mps)
    trials = machines.trials_per_gpu or most.trials
    why = "" if machines.trials_per_gpu else most.reason
    data = "" if found.takes.data else " and the data set"
    size = f"at most {gigabytes(found.takes.total)}{data} each of {gigabytes(room)}"
    words = f"{where}: {_beside(trials)}{why}: {size}; MPS is {'running' if with_mps else 'not running'}"
    return Sharing(count, trials, words, tuple(_warnings(machines.trials_per_gpu, found, room)))


class _Most(NamedTuple):
    trials: int
    reason: str


def _most(by_memory: int, by_cores: int, *, with_mps: bool) -> _Most:
    """Return how many trials share a GPU, and what sets that limit."""
    limits = (
        _Most(by_memory, ", as many as its memory holds" if by_memory else ", which may hold it only in part"),
        _Most(by_cores, ", as many as there are cores for it"),
        _Most(MOST_WITH_MPS, ", the most with MPS") if with_mps else _Most(MOST, ", the most without MPS"),
    )
    most = min(limits, key=lambda limit: limit.trials)
    return most._replace(trials=max(1, most.trials))


def _where(count: int, machines: Machines, all_of_them: bool) -> str:
    if not count:
        return "on the CPU" + (", as the cluster has no GPU now" if machines.address and all_of_them else "")
    told = f" (all that {'the cluster has' if machines.address else 'torch sees'})" if all_of_them else ""
    return f"on {count} GPU{'s' if count > 1 else ''}{told}"


def _beside(count: int) -> str:
    return f"{count} share each" if count > 1 else "one at a time on each"


def _warnings(given: int | None, need: Need, room: int) -> Iterator[str]:
    total, least = need.takes.total, need.takes.without_data
    takes, fit = f"{need.trial} takes an estimated", max(1, room // total)
    if least > room:
        yield f"{takes} {gigabytes(least)} of a GPU, even without its data, but one has {gigabytes(room)}: it may fail"
    if given and given > fit:
        fits = f"{fit} fit{'s' if fit == 1 else ''}"
        yield f"--trials-per-gpu is {given}, but {takes} {gigabytes(total)} of a GPU's {gigabytes(room)}: {fits}"


def gigabytes(size: int) -> str:
    """Return a number of bytes in words, `0.9 GB`."""
    return f"{size / 1e9:.1f} GB"
