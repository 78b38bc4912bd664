"""A decided stage as tables: what the reports print, with spread and n, beside their published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.report import Column, Measured, Table, Value
from sweeps.decisions.labels import label
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.status import Status
from trainables.plan import flops, parameters, plan_of

MOST_CLASSES = 40  # that a table shows, each in a row of its own; with more they are in the CSV alone


@dataclass(frozen=True)
class Facts:
    """What the tables say of the data and the store."""

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]  # (C, H, W)
    yardstick: Yardstick  # what winners are chosen by
    runs: Mapping[str, str]  # MLflow's run by key

    @property
    def score(self) -> str:
        """The metric's name in a column's head."""
        return {"accuracy": "acc"}.get(self.yardstick.metric, self.yardstick.metric)


def stage_table(result: StageResult, facts: Facts, fields: Sequence[str] = ()) -> Table:
    """Return a stage's table, a row per trial, with a column for each of `fields`.

    Scores are in percent, per class at the chosen epoch. Those that may be best are marked.
    """
    published = [outcome.cell.published for outcome in result.outcomes if outcome.cell.published]
    part = published[0].part if published else None
    shown = len(facts.class_names) <= MOST_CLASSES
    elsewhere = "" if shown else f"; the scores of its {len(facts.class_names)} classes are in {result.stage.name}.csv"
    columns = [
        *_columns(result.stage.name, facts.score, part),
        *(Column(path) for path in fields),
        *(Column(name, digits=0, show=shown) for name in facts.class_names),
        *_costs(),
    ]
    rows = [tuple(_row(outcome, fields, facts, bool(published))) for outcome in result.outcomes]
    eligible = tuple(outcome.status == Status.DONE for outcome in result.outcomes)
    contest = result.contest
    marked = tuple(contest is not None and contest.may_be_best(outcome) for outcome in result.outcomes)
    spread = "; ±: sd over seeds (n)" if any(len(each.history.seeds) > 1 for each in result.outcomes) else ""
    return Table(f"{result.stage.title}{elsewhere}{spread}", tuple(columns), tuple(rows), eligible, marked)


def published_table(result: StageResult, facts: Facts) -> Table | None:
    """Return the report's own table, with its scores per class; None where it gives none."""
    pairs = [(outcome.cell.label, outcome.cell.published) for outcome in result.outcomes]
    rows = [
        (name, found.loss, found.score, found.epoch, *found.classes) for name, found in pairs if found and found.classes
    ]
    columns = [
        Column(result.stage.name),
        Column("final loss"),
        Column(f"best test {facts.score} %"),
        Column("at epoch"),
        *(Column(name) for name in facts.class_names),
    ]
    return Table("As published", tuple(columns), tuple(rows)) if rows else None


def _columns(stage: str, score: str, published_part: str | None) -> list[Column]:
    own = [
        Column(stage, best="marked"),
        Column("status"),
        Column("epochs"),
        Column("final train loss", digits=3),
        Column(f"best test {score} %", digits=1),
        Column("at epoch"),
        Column(f"validation {score} %", best="marked", digits=1),
        Column("chosen epoch"),
        Column(f"test {score} % (chosen epoch)", digits=1),
    ]
    if published_part is None:
        return own
    return [
        *own,
        Column("published loss", digits=3),
        Column(f"published best {published_part} {score} %"),
        Column("published epoch"),
    ]


def _costs() -> list[Column]:
    return [
        Column("images/s", digits=0),
        Column("s/epoch", digits=2),
        Column("parameters"),
        Column("FLOPs", show=False),
        Column("MLflow run", show=False),
        Column("key", show=False),
    ]


def _row(outcome: Outcome, fields: Sequence[str], facts: Facts, with_published: bool) -> Sequence[Value | Measured]:
    trial = outcome.cell.trial
    layers = plan_of(trial, facts.image_shape, len(facts.class_names))
    published = (outcome.cell.published or (None, None, None))[:3] if with_published else ()
    head: list[Value | Measured] = [outcome.cell.label, outcome.status.value, outcome.history.epochs or None]
    drawn: list[Value | Measured] = [label(trial.get(path)) for path in fields]
    costs: list[Value | Measured] = [parameters(layers), flops(layers), facts.runs.get(outcome.key), outcome.key]
    if not outcome.history.epochs:
        missing: list[Value | Measured] = [None] * 6
        return [*head, *missing, *published, *drawn, *([None] * len(facts.class_names)), None, None, *costs]
    return [*head, *_scores(outcome), *published, *drawn, *_classes(outcome), *_speeds(outcome), *costs]


def _scores(outcome: Outcome) -> list[Value | Measured]:
    history = outcome.history
    test = history.curve("test_score")
    return [
        Measured.of(history.curve("train_loss")[:, -1]),
        Measured.of(100 * test.max(axis=1)),
        _per_replicate(test.argmax(axis=1) + 1),
        Measured.of(100 * outcome.chosen("val_score")),
        _per_replicate(np.array(history.chosen_epochs())),
        Measured.of(100 * outcome.chosen("test_score")),
    ]


def _classes(outcome: Outcome) -> list[Value | Measured]:
    per_class = zip(*(record.class_score for record in outcome.history.chosen()), strict=True)
    return [None if None in values else Measured.of(100 * np.array(values, dtype=float)) for values in per_class]


def _speeds(outcome: Outcome) -> list[Value | Measured]:
    """Return the medians over epochs: the first ones include warming up."""
    medians = [np.median(outcome.history.curve(metric), axis=1) for metric in ("images_per_second", "seconds")]
    return [Measured.of(values) for values in medians]


def _per_replicate(values: np.ndarray) -> Value:
    """Return one whole number, or one per replicate."""
    return int(values[0]) if len(values) == 1 else ", ".join(map(str, values.tolist()))
