"""What is known of the trials that a search has drawn: what samplers learn from, and what is worth its price. Pure."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sweeps.decisions.status import Status
from trainables.errors import UserError, suggest

OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "score": "maximize",
    "parameters": "minimize",
    "seconds": "minimize",
}


@dataclass(frozen=True)
class Told:
    """What is known of a trial that was drawn."""

    number: int  # from 0, in the order drawn
    values: Mapping[str, Any]  # by field, as Space.draw() returns them
    state: Status  # running, done, failed, or censored: stopped early, so far
    scores: Mapping[int, float]  # epoch → the best validation score up to it
    objectives: tuple[float, ...] | None = None  # of a trial that is done, in the search's order
    # how far what it costs is from each bound of the search: the logarithm of their ratio, above 0 beyond the bound
    beyond: Mapping[str, float] = field(default_factory=dict)

    @property
    def violation(self) -> float:
        """How far it is beyond its bounds, all together; 0 where it is within them."""
        return sum(max(0.0, ratio) for ratio in self.beyond.values())

    @property
    def merit(self) -> tuple[float, bool, int, float]:
        """What trials of different lengths are ranked by: those within the bounds (Deb 2000), done or paused, how far
        they came, and the score there.
        """
        last = max(self.scores, default=0)
        return -self.violation, self.state == Status.DONE, last, self.scores.get(last, 0.0)


def check_objectives(objectives: Sequence[str]) -> None:
    """Raise UserError where these cannot be a search's objectives."""
    for name in objectives:
        if name not in OBJECTIVES:
            raise UserError(f"there is no objective {name!r}{suggest(name, OBJECTIVES)}")
    if "score" not in objectives or len(set(objectives)) < len(objectives):
        raise UserError(f"the objectives are {', '.join(objectives) or 'none'}, but must all differ and include score")


def standing(told: Sequence[Told]) -> list[Told]:
    """Return the trials by number; running ones that came past an epoch at which others paused stand as paused there.

    Otherwise those that run on because they are good would count as the bad ones that a sampler keeps away from.
    """
    rungs = {max(trial.scores) for trial in told if trial.state == Status.CENSORED and trial.scores}

    def stand(trial: Told) -> Told:
        passed = max(rungs & trial.scores.keys(), default=0)
        if trial.state != Status.RUNNING or not passed:
            return trial
        scores = {epoch: score for epoch, score in trial.scores.items() if epoch <= passed}
        return replace(trial, state=Status.CENSORED, scores=scores)

    return [stand(trial) for trial in sorted(told, key=lambda trial: trial.number)]


def pareto(told: Sequence[Told], objectives: Sequence[str]) -> list[Told]:
    """Return the trials done that no other beats in one objective without losing in another.

    Best in the first objective first.
    """
    signs = [1 if OBJECTIVES[name] == "maximize" else -1 for name in objectives]

    def gain(trial: Told) -> tuple[float, ...]:
        return tuple(sign * value for sign, value in zip(signs, trial.objectives or (), strict=True))

    done = {trial.number: (trial, gain(trial)) for trial in told if trial.state == Status.DONE}
    gains = {gain for _, gain in done.values()}
    front = [
        (trial, own)
        for trial, own in done.values()
        if not any(g != own and all(map(operator.ge, g, own)) for g in gains)
    ]
    return [trial for trial, _ in sorted(front, key=lambda pair: pair[1], reverse=True)]
