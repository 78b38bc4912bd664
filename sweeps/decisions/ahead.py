"""What a search has ahead of it, estimated: nobody knows which trials it will draw. Pure."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

from sweeps.decisions.agenda import Agenda, searches, to_come, under_way
from sweeps.decisions.confirmation import Confirmation
from sweeps.decisions.drawing import SCREENING
from sweeps.decisions.ledger import Ledger
from sweeps.decisions.race import epochs_of_race
from sweeps.decisions.records import StageResult, Task
from sweeps.decisions.search_run import SearchRun
from sweeps.decisions.stage_run import StageRun
from sweeps.decisions.stages import Search
from sweeps.decisions.status import Status
from trainables.config import Trial
from trainables.history import History

Work = Callable[[Trial], float]  # of an epoch with one seed, in any unit


class Ahead(NamedTuple):
    """Trials that are not under way, and their work; `again`: how many were screened before and count once more."""

    trials: int
    work: float
    again: int = 0


def of_search(stage: Search, run: StageRun | None, start: Trial, work: Work) -> Ahead:
    """Estimate what a search from `start` has ahead, with the rest of its trials that are under way.

    Trials that are yet to be drawn take as long as those so far, on average; then the best run with all seeds, as far
    as their race takes them. Before the first has ended, each is taken to run in full and to be like `start`.
    """
    epochs = start.training.epochs
    if not isinstance(run, SearchRun):
        in_race = stage.seeds * epochs_of_race(stage.confirm, epochs, raced=stage.raced)
        return Ahead(stage.trials + stage.confirm, work(start) * (stage.trials * epochs + in_race))
    if run.confirmation:
        return _confirmation(run, run.confirmation, work)
    epoch = fmean([work(draw.cell.trial) for draw in list(run.draws.values())] or [work(start)])
    ended = [draw for draw in list(run.draws.values()) if draw.scores and not draw.running]
    full = epoch * epochs
    each = fmean(work(draw.cell.trial) * len(draw.scores) for draw in ended) if ended else full
    running = [draw for draw in list(run.draws.values()) if draw.running]
    rest = sum(max(0.0, each - work(draw.cell.trial) * len(draw.scores)) for draw in running)
    to_draw = run.drawing.left
    confirmed = min(stage.confirm, to_draw + len(run.draws))
    in_race = len(run.seeds) * epochs_of_race(confirmed, epochs, raced=run.raced)
    return Ahead(to_draw + confirmed, to_draw * each + rest + epoch * in_race)


def of_study(agenda: Agenda) -> Ahead:
    """Return the trials that a study has left when none is under way, and their epochs, each with one seed, if no trial
    of a grid is stopped early.
    """
    ledger, beyond = agenda.ledger, to_come(agenda)
    found = [of_search(stage, run, agenda.study.base(stage), lambda _: 1.0) for stage, run in searches(agenda)]
    trials = len(ledger.ahead) + len(beyond) + sum(each.trials for each in found)
    epochs = sum(_left(task, ledger) for task in ledger.ahead if not task.drawn)  # a search's are in its own estimate
    epochs += len(agenda.terms.seeds) * sum(trial.training.epochs for trial in beyond)
    if agenda.terms.seeding:
        epochs += sum(_seeds_left(each, agenda) for each in under_way(agenda))
    return Ahead(trials, epochs + sum(each.work for each in found))


def _left(task: Task, ledger: Ledger) -> int:
    """Return the epochs that a trial has left, each with one seed."""
    laid_aside = ledger.waiting.get(task.key)
    reached = laid_aside.history if laid_aside else task.known.history if task.known else History({})
    seeds = ledger.terms.seeds if ledger.terms.seeding else task.seeds
    return sum(task.cell.trial.training.epochs - len(reached.records.get(seed, ())) for seed in seeds)


def _seeds_left(result: StageResult, agenda: Agenda) -> int:
    """Return the epochs that a stage's trials take at most that have ended with some of their seeds."""
    if result.stage.open_ended:
        return 0
    full = [each for each in result.outcomes if each.status == Status.DONE]
    seeds = len(agenda.terms.seeds)
    return sum(each.cell.trial.training.epochs * (seeds - len(each.history.seeds)) for each in full)


def is_screened(seeds: tuple[int, ...]) -> bool:
    """Tell whether a trial under way with these seeds is one that a search screens."""
    return seeds == SCREENING


def _confirmation(run: SearchRun, course: Confirmation, work: Work) -> Ahead:
    whole = epochs_of_race(len(course.candidates), course.epochs, raced=course.raced)
    left = max(0, whole - sum(map(course.reached, course.candidates)))
    each = fmean([work(draw.cell.trial) for draw in course.candidates] or [0.0])
    due = len(course.due())
    return Ahead(due, each * left * len(run.seeds), len(course.candidates) - due)
