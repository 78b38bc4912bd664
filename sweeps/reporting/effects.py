"""What a factor does: a table of its values, each against the one that the stage started with, and what it costs."""

from __future__ import annotations

import math

import numpy as np

from analysis.report import Column, Measured, Table, Value
from sweeps.decisions.contest import Contest
from sweeps.decisions.labels import points
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult, Terms
from sweeps.decisions.status import Status
from sweeps.reporting.tables import Facts
from trainables.plan import Layer, flops, parameters, plan_of

NEAR = 0.01  # a score within one point of another is near it
LEAST_DOUBLINGS = 0.5  # of a price: over less than that, what a doubling would bring is no more than noise


def effects_table(result: StageResult, facts: Facts) -> Table | None:
    """Return what each value does against the one that the stage started with, and against the value before it.

    With the fit's lead over validation, how fast it learns, and its price. None where fewer than two trials are ranked.
    """
    if result.winner is None or len(_ranked(result)) < 2:
        return None
    base, contest = _base(result), result.winner.contest
    target = result.winner.outcome.score - NEAR
    plans = {outcome.key: _plan(outcome, facts) for outcome in result.outcomes}
    before: list[Outcome | None] = [None, *result.outcomes[:-1]]
    rows = [
        (
            outcome.cell.label,
            _against(outcome, base, contest),
            _against(outcome, earlier, contest),
            _gap(outcome),
            _epochs_to(outcome, _best(outcome) - NEAR) if outcome.status == Status.DONE else None,
            _epochs_to(outcome, target),
            _seconds(outcome),
            flops(plans[outcome.key]) / 1e6,
            _per_doubling(outcome, base, flops(plans[outcome.key]), flops(plans[base.key])),
            _per_doubling(outcome, base, parameters(plans[outcome.key]), parameters(plans[base.key])),
        )
        for outcome, earlier in zip(result.outcomes, before, strict=True)
    ]
    eligible = tuple(outcome.status == Status.DONE for outcome in result.outcomes)
    title = f"{result.stage.title}: effects on validation {facts.score}"
    return Table(title, _columns(result, base, target, facts.score), tuple(rows), eligible)


HOLDS_FOR = "Each effect holds for the values that the other factors have in this stage."


def effects_sentences(result: StageResult, terms: Terms) -> list[str]:
    """Return what the table of effects holds for, and the cheapest of the values that may be best."""
    if result.winner is None or len(_ranked(result)) < 2:
        return []
    lines = [HOLDS_FOR]
    members = result.winner.contest.best_set
    prices = {outcome.key: terms.flops(outcome) for outcome in members}
    if len(set(prices.values())) > 1:
        cheapest = min(members, key=lambda outcome: prices[outcome.key])
        share = prices[cheapest.key] / max(prices.values())
        lines.append(
            f"The cheapest of those that may be best: {cheapest.cell.named}, with {prices[cheapest.key] / 1e6:.2f} "
            f"MFLOPs an image ({100 * share:.0f} % of the most expensive one)."
        )
    return lines


def _columns(result: StageResult, base: Outcome, target: float, metric: str) -> tuple[Column, ...]:
    return (
        Column(result.stage.name),
        Column(f"against {base.cell.named}, points"),
        Column("against the previous value, points"),
        Column("train − validation, points", digits=1),
        Column("epochs to within 1 point of its own best"),
        Column(f"epochs to {100 * target:.1f} % {metric}"),
        Column("training, s", digits=0),
        Column("MFLOPs", digits=2),
        Column("points per doubling of FLOPs", digits=1),
        Column("points per doubling of parameters", digits=1),
    )


def _ranked(result: StageResult) -> list[Outcome]:
    return [outcome for outcome in result.outcomes if outcome.status == Status.DONE]


def _base(result: StageResult) -> Outcome:
    """Return the trial with the stage's starting value, where that is ranked; else the first that is."""
    ranked = _ranked(result)
    return next((outcome for outcome in ranked if outcome.cell.trial == result.start), ranked[0])


def _plan(outcome: Outcome, facts: Facts) -> tuple[Layer, ...]:
    trial = outcome.cell.trial
    return plan_of(trial, facts.image_shape, len(facts.class_names))


def _against(outcome: Outcome, other: Outcome | None, contest: Contest) -> Value:
    """Return a difference in words: with its interval where both are compared, the difference alone where not."""
    if other is None or outcome is other or {outcome.status, other.status} != {Status.DONE}:
        return None
    difference = contest.difference(outcome, other)
    if difference is None:
        return points(outcome.score - other.score)
    return difference.words


def _gap(outcome: Outcome) -> Measured | None:
    """Return how much better the chosen networks are on the training images, seen as in evaluation, in points."""
    marks = outcome.history.chosen_marks() or ()
    pairs = [(each.fit, record.val_score) for each, record in zip(marks, outcome.history.chosen(), strict=False)]
    gaps = [100 * (fit - val) for fit, val in pairs if fit is not None]
    return Measured.of(gaps) if gaps and len(gaps) == len(outcome.history.seeds) else None


def _best(outcome: Outcome) -> float:
    """Return the highest of the mean validation scores, epoch by epoch."""
    return float(outcome.history.curve("val_score").mean(axis=0).max())


def _epochs_to(outcome: Outcome, target: float) -> Value:
    """Return after how many epochs the mean validation score is first at the target; `> n` where n did not do."""
    if not outcome.history.epochs:
        return None
    reached = np.flatnonzero(outcome.history.curve("val_score").mean(axis=0) >= target)
    return int(reached[0]) + 1 if len(reached) else f"> {outcome.history.epochs}"


def _seconds(outcome: Outcome) -> Measured | None:
    return Measured.of(outcome.history.curve("seconds").sum(axis=1)) if outcome.history.epochs else None


def _per_doubling(outcome: Outcome, base: Outcome, price: float, other: float) -> float | None:
    """Return the points gained for each doubling of the price against the base; None where it costs about the same."""
    if outcome.status != Status.DONE:
        return None
    doublings = math.log2(price / other)
    return 100 * (outcome.score - base.score) / doublings if abs(doublings) >= LEAST_DOUBLINGS else None
