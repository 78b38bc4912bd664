"""A command's progress for programs (`--json`): a line of JSON for each event, on standard output.

This is a contract. VERSION is raised where an event or an entry goes, or means something else; others may be added.
Every event has `event`; those of a trial have its `key`. Scores are fractions, 0..1, or mAP; what is not known is null.

    begin      version, study, dataset, stages, trials (also those to be drawn), epochs, seeds, report, mlflow; told
               again where an act has changed the plan
    stored     trials: how many are done already
    started    trial, stage, value, epochs, seeds, known (the epochs that it has already)
    epoch      epoch, seed, train_loss, validation, images_per_second: of its first seed
    restarted  reason, times
    warning    text
    paused     it goes on later, in this command or in another
    ended      trial, status (done, censored, failed, dropped), epochs, validation, test, reason; validation and test,
               at the chosen epochs, have mean, sd and n, or are null
    decided    stage, winner (value, key, validation, test; null where there is none), may_be_best, skipped (why)
    closed     reason: nothing more begins, as a bound (`--for`, `--budget`, `--until`) or an act asks
    act        act, argument, user, reason, answer: what somebody asked for with `steer.py` is done
    left       trials, epochs, seconds: for the same command to go on with
    end        study, status (complete, unfinished, failed, refused, interrupted, crashed), exit_status, report, text
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.report import Measured
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.planning import PlannedStage, in_all
from sweeps.decisions.records import StageResult, Task
from sweeps.decisions.study import Study
from trainables.history import Record

VERSION = 1


class Feed:
    """Writes events, a line each; without a `write` nowhere."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write

    def tell(self, event: str, **facts: Any) -> None:
        """Write an event."""
        if self._write:
            self._write(json.dumps({"event": event, **facts}, default=str) + "\n")

    def begin(self, study: Study, planned: Sequence[PlannedStage], seeds: int, report: Path, uri: str) -> None:
        """Tell what is to run, and where its results are."""
        if not self._write:  # counting the trials takes a moment
            return
        about = {"version": VERSION, "study": study.name, "dataset": study.baseline.dataset}
        about |= {"stages": [entry.stage.name for entry in planned], "trials": in_all(planned)}
        about |= {"epochs": study.baseline.training.epochs, "seeds": seeds}
        self.tell("begin", **about, report=str(report.absolute()), mlflow=uri)

    def started(self, task: Task, known: int) -> None:
        """Tell that a worker has taken up a trial, of which so many epochs are known."""
        about = {"key": task.key, "trial": task.name, "stage": task.stage, "value": task.cell.label}
        self.tell("started", **about, epochs=task.cell.trial.training.epochs, seeds=task.seeds, known=known)

    def epoch(self, task: Task, epoch: int, record: Record) -> None:
        """Tell of an epoch, with the record of the trial's first seed."""
        numbers = {"train_loss": record.train_loss, "validation": record.val_score}
        numbers |= {"images_per_second": record.images_per_second}
        known = {name: finite(number) for name, number in numbers.items()}
        self.tell("epoch", key=task.key, epoch=epoch, seed=task.seeds[0], **known)

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Tell of a trial's end."""
        about = {"trial": task.name, "status": outcome.status.value, "epochs": outcome.history.epochs}
        self.tell("ended", key=outcome.key, **about, **_scores(outcome), reason=outcome.reason)

    def decided(self, result: StageResult) -> None:
        """Tell what a stage has come to."""
        won = result.winner.outcome if result.winner else None
        winner = {"value": won.cell.label, "key": won.key, **_scores(won)} if won else None
        best = [outcome.cell.label for outcome in result.contest.best_set] if result.contest else []
        self.tell("decided", stage=result.stage.name, winner=winner, may_be_best=best, skipped=result.skipped)


def _scores(outcome: Outcome) -> dict[str, dict[str, float | int | None] | None]:
    if not outcome.history.epochs:
        return {"validation": None, "test": None}
    found = (outcome.chosen("val_score"), outcome.chosen("test_score"))
    return {name: _measured(Measured.of(of)) for name, of in zip(("validation", "test"), found, strict=True)}


def _measured(score: Measured) -> dict[str, float | int | None]:
    return {name: finite(value) for name, value in asdict(score).items()}


def finite(value: float | None) -> float | None:
    """Return a number as JSON has it, which knows none that is not finite."""
    return value if value is not None and math.isfinite(value) else None
