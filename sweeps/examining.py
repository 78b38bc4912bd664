"""Which finished models a study's analyses ask, and what has come of that, for the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.decisions.agenda import Agenda
from sweeps.tracking.store import Store, StoredTrial
from trainables.errors import UserError

if TYPE_CHECKING:  # what imports torch, or Ray
    from analysis.job import Job
    from analysis.report import Section
    from sweeps.execution.answers import Answer, Question


def winners(store: Store, agenda: Agenda) -> dict[str, StoredTrial]:
    """Return the winners of a study's stages, by key. Raises UserError where MLflow has lost one."""
    won = {result.winner.outcome.key for result in agenda.results if result.winner}
    trials = store.trials(won) if won else {}
    if gone := won - trials.keys():
        raise UserError(f"MLflow has lost the runs of {', '.join(key[:12] for key in sorted(gone))}")
    return trials


def questions(agenda: Agenda, jobs: Sequence[Job], trials: Mapping[str, StoredTrial]) -> list[Question]:
    """Return what analyses ask: the study's best trial on validation; those that compare models, all its winners."""
    from sweeps.execution.asking import about

    won = {result.winner.outcome.key: result.winner.outcome for result in agenda.results if result.winner}
    if not won or not jobs:
        return []
    best = max(won.values(), key=lambda outcome: outcome.score)
    asked = about([job for job in jobs if not job.together], [trials[best.key]])
    return asked + about([job for job in jobs if job.together], [trials[key] for key in won])


def known(asked: Sequence[Question], store: Store, folder: Path, say: Callable[[str], None]) -> list[Answer]:
    """Return the answers that there are already, in the order of the questions."""
    if not asked:
        return []
    from sweeps.execution.answers import Answers

    found = Answers(store, folder, say).known(asked)
    return [found[at] for at in sorted(found)]


def sections(answers: Sequence[Answer]) -> list[Section]:
    """Return the answers as sections of the report."""
    if not answers:
        return []
    from sweeps.execution.answers import sections as as_sections

    return as_sections(answers)
