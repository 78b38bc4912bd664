"""What one factor at a time may have missed: the final winner once more, with other stages' values in it. Pure.

The final winner is the best on validation of the winners in the baseline's lineage. It takes, one at a time, the best
value of each stage there that it does not have: of a stage that led to it that of the second best trial, of a branch
that did not maybe the winner's. Chosen by these very scores, the final winner is flattered: what is ahead of it is so
all the more.
"""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.decisions.records import StageResult, Terms
from sweeps.decisions.stages import Cell, Stage, Swap
from sweeps.decisions.status import Status
from sweeps.decisions.study import Study
from sweeps.decisions.winner import Winner
from trainables.config import Trial
from trainables.errors import UserError
from trainables.plan import plan_of


def final_winner(study: Study, results: Mapping[str, StageResult]) -> tuple[StageResult, Winner] | None:
    """Return the final winner and its stage, of equals the last; None where no stage in the lineage has a winner.

    All of these are decided.
    """
    lineage = (results[stage.name] for stage in study.lineage)
    won = [(result, result.winner) for result in lineage if result.winner]
    return max(reversed(won), key=lambda each: each[1].outcome.score, default=None)


def in_words(study: Study, results: Mapping[str, StageResult], last: str) -> str:
    """Return the winners that lead to that of the stage `last`, and itself: `depth 2, lr 0.1`."""
    [end] = [stage for stage in study.lineage if stage.name == last]
    path = [(stage, results[stage.name].winner) for stage in study.path(end) if isinstance(stage, Stage) and stage.vary]
    return ", ".join(f"{stage.name} {won.outcome.cell.label}" for stage, won in path if won) or "the baseline"


def swaps(study: Study, results: Mapping[str, StageResult], start: Trial, terms: Terms) -> list[Swap | str]:
    """Return what to try for each stage in the lineage that varies something; a text where it has nothing, and why."""
    return [_swap(stage, results[stage.name], start, terms) for stage in study.lineage if stage.vary]


def _swap(stage: Stage, result: StageResult, start: Trial, terms: Terms) -> Swap | str:
    ranked = [outcome for outcome in result.outcomes if outcome.status == Status.DONE]
    for outcome in sorted(ranked, key=lambda each: each.score, reverse=True):
        values, label = outcome.cell.values, f"{stage.name} {outcome.cell.label}"
        try:
            trial = start.with_values(dict(zip(stage.vary, values, strict=True)))
            plan_of(trial, terms.image_shape, terms.classes)
        except UserError as error:
            return f"{label} ({error})"
        if terms.key(trial) != terms.key(start):
            lead = result.winner and result.winner.contest.difference(result.winner.outcome, outcome)
            return Swap(Cell(label, values, trial), behind=bool(lead and lead.ahead))
    return f"{stage.name} (no other value of it ran in full)"
