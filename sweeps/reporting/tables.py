"""A decided stage as tables, curves and words: what the reports print, with spread and n, beside their published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.figures import Curve
from analysis.report import Cell as Entry
from analysis.report import Column, Measured, Table
from sweeps.decisions.agenda import StageResult
from sweeps.decisions.space import shown
from sweeps.decisions.stages import Search, Stage
from sweeps.decisions.winner import Outcome, Yardstick
from sweeps.reporting.leaderboard import account
from trainables.plan import flops, parameters, plan

LEADERS = 8  # of a search whose curves are drawn


@dataclass(frozen=True)
class Facts:
    """What the tables say of the data and the store: class names, image shape (C, H, W), what winners are chosen by, MLflow run by key."""

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    yardstick: Yardstick
    runs: Mapping[str, str]

    @property
    def score(self) -> str:
        """The metric's name in a column's head."""
        return {"accuracy": "acc"}.get(self.yardstick.metric, self.yardstick.metric)


def stage_table(result: StageResult, facts: Facts) -> Table:
    """Return a stage's table, a row per trial. Scores are in percent, per class at the best validation epoch."""
    drawn = [Column(path) for path in _drawn(result.stage)]
    columns = [
        *_columns(result.stage, facts.score),
        *drawn,
        *(Column(name, best="max", digits=0) for name in facts.class_names),
        *_costs(),
    ]
    rows = [tuple(_row(outcome, result.stage, facts)) for outcome in result.outcomes]
    eligible = tuple(outcome.status == "done" for outcome in result.outcomes)
    return Table(title(result), tuple(columns), tuple(rows), eligible)


def published_table(result: StageResult, facts: Facts) -> Table | None:
    """Return the report's own table, with its scores per class; None where it gives none."""
    pairs = [(outcome.cell.label, result.stage.published_for(outcome.cell)) for outcome in result.outcomes]
    rows = [
        (label, found.loss, found.score, found.epoch, *found.classes)
        for label, found in pairs
        if found and found.classes
    ]
    columns = [
        Column(result.stage.name),
        Column("final loss", best="min"),
        Column(f"best test {facts.score} %", best="max"),
    ]
    columns.append(Column("at epoch"))
    columns += [Column(name, best="max") for name in facts.class_names]
    return Table("As published", tuple(columns), tuple(rows)) if rows else None


def title(result: StageResult) -> str:
    """Return the stage's name with the fields that it varies."""
    fields = ", ".join(path.rpartition(".")[2] for path in result.stage.vary)
    return result.stage.name if fields in ("", result.stage.name) else f"{result.stage.name} ({fields})"


def words(result: StageResult, by: Yardstick) -> list[str]:
    """Return what there is to say of a stage: the winner and why, what was stopped early, what was restarted, what failed and how."""
    if result.skipped:
        return [f"Not run: {result.skipped}."]
    lines = [result.stage.note] if result.stage.note else []
    if result.search:
        lines += account(result.search)
    if result.winner:
        lines.append(f"Winner on validation ({by.images:,} images): {result.winner.why}.")
    else:
        lines.append("No winner: no trial ran in full.")
    censored = [o.cell.label for o in result.outcomes if o.status == "censored"]
    if censored and not result.search:
        lines.append(
            f"Stopped early, and not ranked: {', '.join(censored)}. Their later epochs are unknown "
            "(--no-early-stopping runs them)."
        )
    again = [f"{o.cell.label} ({'; '.join(o.restarts)})" for o in result.outcomes if o.restarts]
    if again:
        lines.append(f"Started again, from the last epoch: {', '.join(again)}.")
    return lines + [f"Failed: {o.cell.label}: {o.reason}." for o in result.outcomes if o.status == "failed"]


def stage_curves(result: StageResult, metric: str) -> list[Curve]:
    """Return one metric's curves, a trial each; a trial that failed is shown as far as it came."""
    some = result.outcomes[:LEADERS] if result.search else result.outcomes
    trials = [outcome for outcome in some if outcome.history.epochs]
    failed = {"failed": " (failed)"}
    return [
        Curve(
            outcome.cell.label + failed.get(outcome.status, ""),
            outcome.history.curve(metric),
            outcome.status == "censored",
        )
        for outcome in trials
    ]


def reference(result: StageResult) -> list[tuple[str, int, float]]:
    """Return the published best test scores of a stage: label, epoch, score as a fraction."""
    pairs = [(outcome.cell.label, result.stage.published_for(outcome.cell)) for outcome in result.outcomes]
    known = [(label, found) for label, found in pairs if found and found.part == "test"]
    return [(label, found.epoch, found.score / 100) for label, found in known if found.epoch is not None]


def _drawn(stage: Stage | Search) -> tuple[str, ...]:
    """Return the fields that a search draws."""
    return tuple(stage.space.fields) if isinstance(stage, Search) else ()


def _columns(stage: Stage | Search, score: str) -> list[Column]:
    own = [
        Column(stage.name),
        Column("status"),
        Column("epochs"),
        Column("final train loss", best="min", digits=3),
        Column(f"best test {score} %", best="max", digits=1),
        Column("at epoch"),
        Column(f"validation {score} %", best="max", digits=1),
        Column("chosen epoch"),
        Column(f"test {score} % (chosen epoch)", best="max", digits=1),
    ]
    if not stage.published:
        return own
    part = next(iter(stage.published.values())).part
    return [
        *own,
        Column("published loss", digits=3),
        Column(f"published best {part} {score} %"),
        Column("published epoch"),
    ]


def _costs() -> list[Column]:
    return [
        Column("images/s", best="max", digits=0),
        Column("s/epoch", best="min", digits=2),
        Column("parameters"),
        Column("FLOPs", show=False),
        Column("MLflow run", show=False),
        Column("key", show=False),
    ]


def _row(outcome: Outcome, stage: Stage | Search, facts: Facts) -> Sequence[Entry | Measured]:
    trial = outcome.cell.trial
    layers = plan(trial.model, trial.training.input_shape(facts.image_shape), len(facts.class_names))
    published = (stage.published_for(outcome.cell) or (None, None, None))[:3]
    head: list[Entry | Measured] = [outcome.cell.label, outcome.status, outcome.history.epochs or None]
    drawn: list[Entry | Measured] = [shown(trial.get(path)) for path in _drawn(stage)]
    costs: list[Entry | Measured] = [parameters(layers), flops(layers), facts.runs.get(outcome.key), outcome.key]
    missing: list[Entry | Measured] = [None] * 6
    if not outcome.history.epochs:
        return [
            *head,
            *missing,
            *(published if stage.published else ()),
            *drawn,
            *([None] * len(facts.class_names)),
            None,
            None,
            *costs,
        ]
    return [
        *head,
        *_scores(outcome),
        *(published if stage.published else ()),
        *drawn,
        *_classes(outcome),
        *_speeds(outcome),
        *costs,
    ]


def _scores(outcome: Outcome) -> list[Entry | Measured]:
    history = outcome.history
    test = history.curve("test_score")
    return [
        _measured(history.curve("train_loss")[:, -1]),
        _measured(100 * test.max(axis=1)),
        _each(test.argmax(axis=1) + 1),
        _measured(100 * outcome.chosen("val_score")),
        _each(np.array(history.chosen_epochs())),
        _measured(100 * outcome.chosen("test_score")),
    ]


def _classes(outcome: Outcome) -> list[Entry | Measured]:
    per_class = zip(*(record.class_score for record in outcome.history.chosen()), strict=True)
    return [None if None in values else _measured(100 * np.array(values, dtype=float)) for values in per_class]


def _speeds(outcome: Outcome) -> list[Entry | Measured]:
    """Return the medians over epochs: the first ones include warming up."""
    medians = [np.median(outcome.history.curve(metric), axis=1) for metric in ("images_per_second", "seconds")]
    return [_measured(values) for values in medians]


def _measured(values: np.ndarray) -> Measured:
    return Measured(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))


def _each(values: np.ndarray) -> Entry:
    """Return one whole number, or one per replicate."""
    return int(values[0]) if len(values) == 1 else ", ".join(map(str, values.tolist()))
