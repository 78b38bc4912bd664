"""A stage in short: its trials on a phone's width, their classes as a heat map, published numbers beside ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.page import Heat
from analysis.report import Column, Measured, Table, Value
from sweeps.decisions.labels import points
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import Stage
from sweeps.decisions.status import Status
from sweeps.reporting.material import Material, seconds
from sweeps.reporting.tables import MOST_CLASSES
from trainables.plan import parameters

MOST_ROWS = 20  # of a table that people read; the CSV has all
BEST, WORST = 10, 5  # rows that a terminal shows of a stage with more


def leaders(result: StageResult, most: int = MOST_ROWS) -> list[Outcome]:
    """Return a stage's trials in its order; where there are more than `most`, the best of them."""
    outcomes = list(result.outcomes)
    return outcomes if len(outcomes) <= most else [outcomes[at] for at in sorted(_ranked(outcomes)[:most])]


def best_and_worst(result: StageResult) -> list[Outcome]:
    """Return a stage's trials in its order; where there are more than a screenful, the best of them and the worst of
    those that ran, the best first.
    """
    outcomes = list(result.outcomes)
    if len(outcomes) <= MOST_ROWS:
        return outcomes
    ranked = _ranked(outcomes)
    return [outcomes[at] for at in dict.fromkeys([*ranked[:BEST], *ranked[-WORST:]])]


def short_table(result: StageResult, material: Material) -> Table:
    """Return a stage's trials with their scores, how far they are from the winner, and what they cost."""
    shown, score = leaders(result), material.facts.score
    contest = result.contest
    columns = (
        Column(head(result), best="marked"),
        Column(f"validation {score} %", best="marked", digits=1),
        Column("to the winner, points"),
        Column(f"test {score} %", digits=1),
        Column("parameters"),
        Column("training, s", digits=0),
    )
    rows = tuple(_row(outcome, result, material) for outcome in shown)
    eligible = tuple(outcome.status == Status.DONE for outcome in shown)
    marked = tuple(contest is not None and contest.may_be_best(outcome) for outcome in shown)
    return Table(_title(result, shown), columns, rows, eligible, marked)


def class_heat(result: StageResult, material: Material) -> Heat | None:
    """Return the test scores per class at the chosen epochs; None where there are none, or too many to be seen."""
    names = material.facts.class_names
    rows = [(outcome.cell.label, _classes(outcome)) for outcome in leaders(result) if outcome.history.epochs]
    if not rows or len(names) > MOST_CLASSES:
        return None
    return Heat(f"Test {material.facts.score} per class, %", names, tuple(rows), head(result))


def beside_published(result: StageResult, material: Material) -> Table | None:
    """Return a report's numbers beside ours by its own protocol: the best epoch on `part`; None where it has none."""
    rows: list[tuple[Value | Measured, ...]] = []
    part = "test"
    for outcome in result.outcomes:
        found = outcome.cell.published
        if not found or not outcome.history.epochs:
            continue
        part = found.part
        curve = outcome.history.curve("val_score" if found.part == "validation" else "test_score")
        ours = 100 * curve.max(axis=1)
        at = _epochs(curve.argmax(axis=1) + 1)
        lead = points(float(ours.mean() - found.score) / 100) if outcome.status == Status.DONE else None
        rows.append((outcome.cell.label, found.score, found.epoch, Measured.of(ours), at, lead))
    if not rows:
        return None
    columns = (
        Column(head(result)),
        Column("published"),
        Column("at epoch"),
        Column("ours", digits=1),
        Column("at epoch"),
        Column("difference"),
    )
    title = f"Best {part} {material.facts.score} %: published, and ours by the same protocol"
    return Table(title, columns, tuple(rows))


def head(result: StageResult) -> str:
    """Return what a stage's labels are values of."""
    fields = result.stage.fields if isinstance(result.stage, Stage) else ()
    return next(iter(fields)) if len(fields) == 1 else "trial"


def ending(outcome: Outcome) -> str:
    """Say how a trial ended that did not run in full; nothing of one that did."""
    if outcome.status == Status.DONE:
        return ""
    if outcome.status == Status.CENSORED:
        return f" (stopped at epoch {outcome.history.epochs})"
    return f" ({outcome.status.value})"


def _ranked(outcomes: Sequence[Outcome]) -> list[int]:
    """Return the places of the trials that ran, the best first, and those in full before the others."""
    ended = [at for at, outcome in enumerate(outcomes) if outcome.history.epochs]
    rank = {at: (outcomes[at].status == Status.DONE, outcomes[at].score) for at in ended}
    return sorted(ended, key=lambda at: rank[at], reverse=True)


def _title(result: StageResult, shown: Sequence[Outcome]) -> str:
    several = any(len(each.history.seeds) > 1 for each in shown)
    spread = "a ± b (n): mean, sd, seeds; " if several else ""
    which = f"The best {len(shown)} of {len(result.outcomes)} trials" if len(shown) < len(result.outcomes) else "Trials"
    return f"{which}. {spread}[a, b]: 95 % interval"


def _row(outcome: Outcome, result: StageResult, material: Material) -> tuple[Value | Measured, ...]:
    name = f"{outcome.cell.label}{ending(outcome)}"
    size = parameters(material.layers(outcome))
    if not outcome.history.epochs:
        return name, None, None, None, size, None
    val, test = (Measured.of(100 * outcome.chosen(metric)) for metric in ("val_score", "test_score"))
    return name, val, _to_winner(outcome, result), test, size, seconds(outcome)


def _to_winner(outcome: Outcome, result: StageResult) -> str | None:
    if result.winner is None or outcome.status != Status.DONE:
        return None
    best = result.winner.outcome
    if outcome.key == best.key:
        return "winner"
    found = result.winner.contest.difference(outcome, best)
    return found.words if found else points(outcome.score - best.score)


def _classes(outcome: Outcome) -> tuple[float | None, ...]:
    per_class = zip(*(record.class_score for record in outcome.history.chosen()), strict=True)
    return tuple(None if None in values else 100 * float(np.mean(values)) for values in per_class)


def _epochs(values: np.ndarray) -> Value:
    low, high = int(values.min()), int(values.max())
    return low if low == high else f"{low}–{high}"
