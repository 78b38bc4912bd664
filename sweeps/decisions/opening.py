"""Where a stage starts, once that is known. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sweeps.decisions.recheck import final_winner, in_words, swaps
from sweeps.decisions.records import StageResult, Terms
from sweeps.decisions.stages import AnyStage, Recheck, Swap
from sweeps.decisions.study import Study
from trainables.config import Trial


@dataclass(frozen=True)
class Opening:
    """A stage that can be opened, and its start, which is the winner of the stage `before`, or a trial of its own."""

    stage: AnyStage
    start: Trial
    before: StageResult | None = None


def opening(
    stage: AnyStage, study: Study, results: Mapping[str, StageResult], terms: Terms
) -> Opening | StageResult | None:
    """Return where a stage starts, by the results so far, by name.

    None where they do not tell it yet; where it never will start, its result, which says why it is skipped.
    """
    if isinstance(stage, Recheck):
        return _of_recheck(stage, study, results, terms) if len(results) == len(study.stages) else None
    parent = study.parent(stage)
    if parent is None:
        return Opening(stage, study.base(stage))
    before = results.get(parent)
    if before is None:
        return None
    if before.winner is None:
        return StageResult(stage, skipped=f"stage {parent} has no winner to start from")
    return Opening(stage, before.winner.outcome.cell.trial, before)


def _of_recheck(
    stage: Recheck, study: Study, results: Mapping[str, StageResult], terms: Terms
) -> Opening | StageResult:
    """Return the recheck with its trials: all other stages are decided."""
    found = final_winner(study, results)
    if found is None:
        return StageResult(stage, skipped="no stage that descends from the baseline has a winner")
    before, winner = found
    start = winner.outcome.cell.trial
    tried = swaps(study, results, start, terms)
    known = replace(
        stage,
        winner=in_words(study, results, before.stage.name),
        swaps=tuple(each for each in tried if isinstance(each, Swap)),
        left_out=tuple(each for each in tried if isinstance(each, str)),
    )
    return Opening(known, start, before)
