"""The Tracker as an actor of Ray: started on the driver's node, called from everywhere, emptied and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.interruption import asked, check, held
from sweeps.tracking.spool import locked
from sweeps.tracking.tracker import LOCK, Tracker

FIRST_DRAIN_SECONDS = 10.0  # at the end, for what MLflow does not have yet, before we say that we wait
DRAIN_SECONDS = 120.0  # while nothing moves; what is left then stays in the spool for the next start
LIGHT = "CNN_SWEEPS_LIGHT"  # set in the environment of a process that needs no torch

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Handover:
    """What the Tracker leaves behind: what MLflow did not get, what else went wrong, and the runs by key."""

    left: list[str]
    problems: list[str]
    runs: dict[str, str]


@dataclass(frozen=True)
class TrackerActor:
    """The Tracker, wherever one is. Calls go by its methods, `call(Tracker.state, key)`, so that types are checked."""

    handle: Any  # Ray's

    def call(self, method: Callable[Concatenate[Tracker, P], Any], *arguments: P.args, **named: P.kwargs) -> Any:
        """Call a method of the Tracker without waiting; return Ray's reference to the answer."""
        return getattr(self.handle, method.__name__).remote(*arguments, **named)

    def ask(self, method: Callable[Concatenate[Tracker, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """Call a method of the Tracker and return its answer."""
        answer: R = ray.get(self.call(method, *arguments, **named))
        return answer

    def end(self, say: Callable[[str], None]) -> Handover:
        """Wait while MLflow takes what it does not have yet, and end the actor.

        Whoever asks the command to stop does not wait long: what MLflow does not take then stays in the spool.
        """
        with held():
            left = self.ask(Tracker.drain, FIRST_DRAIN_SECONDS)
            if left and not asked():
                say(f"waiting for MLflow to take the rest, until {DRAIN_SECONDS:.0f} s pass in which it takes nothing")
                drained = self.call(Tracker.drain, DRAIN_SECONDS)
                while not ray.wait([drained], timeout=0.2)[0]:
                    check()
                left = ray.get(drained)
            handover = Handover(left, self.ask(Tracker.problems), self.ask(Tracker.run_ids))
            self.ask(Tracker.close)
            ray.kill(self.handle)
        return handover

    def stop_delivering(self) -> None:
        """Have nothing more sent to MLflow, from any thread and without waiting: another command has the trials."""
        self.call(Tracker.close)

    def abandon(self) -> Handover:
        """End the actor where another command has the trials: what MLflow does not have stays in the spool."""
        self.ask(Tracker.close)
        ray.kill(self.handle)
        return Handover([], [], {})


def start(uri: str, experiment: str, spool: Path, dataset: Mapping[str, str]) -> TrackerActor:
    """Start the Tracker as an actor on the driver's node, beside the workers' resources.

    It is started again however often it dies, and then gets the calls again that it had not answered. Raises UserError
    where the spool's last owner does not go.
    """
    # waited for here, as an actor whose constructor fails ends in a traceback of Ray's
    with locked(spool / LOCK, Tracker.PATIENCE):
        pass
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    lasting = ray.remote(Tracker).options(
        num_cpus=0, scheduling_strategy=here, runtime_env=own_process(), max_restarts=-1, max_task_retries=-1
    )
    return TrackerActor(lasting.remote(uri, experiment, spool, dataset))


def own_process() -> dict[str, Any]:
    """Return what has Ray start a process for an actor that needs no torch, and leave those to trials that have it."""
    return {"env_vars": {LIGHT: "1"}}
