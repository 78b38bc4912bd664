"""What a search has ahead of it, estimated: nobody knows which trials it will draw. Pure."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

from sweeps.decisions.drawing import SCREENING
from sweeps.decisions.search_run import SearchRun
from sweeps.decisions.stage_run import StageRun
from sweeps.decisions.stages import Search
from trainables.config import Trial

Work = Callable[[Trial], float]  # of an epoch with one seed, in any unit


class Ahead(NamedTuple):
    """Trials that are not under way, and their work; `again`: how many were screened before and count once more."""

    trials: int
    work: float
    again: int = 0


def of_search(stage: Search, run: StageRun | None, start: Trial, work: Work) -> Ahead:
    """Estimate what a search from `start` has ahead, with the rest of the trials that are screened now.

    Trials that are yet to be drawn take as long as those so far, on average; then the best run in full with all seeds.
    Before the first has ended, each is taken to run in full and to be like `start`.
    """
    if not isinstance(run, SearchRun):
        full = work(start) * start.training.epochs
        return Ahead(stage.trials + stage.confirm, full * (stage.trials + stage.confirm * stage.seeds))
    if run.confirmed is not None:
        return _confirmation(run, work)
    epoch = fmean([work(draw.cell.trial) for draw in list(run.draws.values())] or [work(start)])
    ended = [draw for draw in list(run.draws.values()) if draw.scores and not draw.running]
    full = epoch * start.training.epochs
    each = fmean(work(draw.cell.trial) * len(draw.scores) for draw in ended) if ended else full
    running = [draw for draw in list(run.draws.values()) if draw.running]
    rest = sum(max(0.0, each - work(draw.cell.trial) * len(draw.scores)) for draw in running)
    to_draw = run.drawing.left
    confirmed = min(stage.confirm, to_draw + len(run.draws))
    return Ahead(to_draw + confirmed, to_draw * each + rest + confirmed * len(run.seeds) * full)


def is_screened(seeds: tuple[int, ...]) -> bool:
    """Tell whether a trial under way with these seeds is one that a search screens."""
    return seeds == SCREENING


def _confirmation(run: SearchRun, work: Work) -> Ahead:
    confirmed = run.confirmed or []
    missing = (draw for draw in confirmed if not draw.history.covers(run.seeds, draw.epochs))
    due = [draw for draw in missing if not draw.running and not draw.reason]
    each = (work(draw.cell.trial) * draw.epochs for draw in due)
    return Ahead(len(due), sum(each) * len(run.seeds), len(confirmed) - len(due))
