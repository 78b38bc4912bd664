"""The rule by which a stage's winner is chosen. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweeps.decisions.outcome import Outcome, Winner, Yardstick
from sweeps.decisions.status import Status


def choose(outcomes: Sequence[Outcome], by: Yardstick) -> Winner | None:
    """Return the winner among the trials that ran in full: the highest mean validation score. None where none did.

    The test set is not looked at. Exact ties go to the cell declared first. A rival is level with the winner where the
    difference is below twice its standard error: from the spread over replicates where both have several, else the
    binomial error of a validation accuracy; a mean average precision of one replicate has no error, and no rival of it
    is called level.
    """
    full = [outcome for outcome in outcomes if outcome.status == Status.DONE]
    if not full:
        return None
    best = max(full, key=lambda outcome: outcome.score)
    rivals = [outcome for outcome in full if outcome is not best]
    level = tuple(o.cell.label for o in rivals if best.score - o.score < 2 * (_standard_error(best, o, by) or 0.0))
    return Winner(best, _why(best, rivals, level, by), level)


def _why(best: Outcome, rivals: Sequence[Outcome], level: tuple[str, ...], by: Yardstick) -> str:
    score = f"validation {by.metric} {100 * best.score:.2f} %"
    if not rivals:
        return f"{best.cell.label}: {score}, the only trial that is ranked"
    second = max(rivals, key=lambda outcome: outcome.score)
    error = _standard_error(best, second, by)
    spread = " (spread unknown)" if error is None else f" ± {100 * error:.2f}"
    ahead = f"{100 * (best.score - second.score):.2f}{spread} points ahead of {second.cell.label}"
    return f"{best.cell.label}: {score}, {ahead}" + (f"; not told apart from {', '.join(level)}" if level else "")


def _standard_error(a: Outcome, b: Outcome, by: Yardstick) -> float | None:
    """Return the standard error of the difference of two scores, None where nothing tells it."""
    ours, theirs = a.chosen("val_score"), b.chosen("val_score")
    if min(len(ours), len(theirs)) > 1:
        return math.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs))
    if by.metric != "accuracy":
        return None
    return math.sqrt(sum(score * (1 - score) for score in (a.score, b.score)) / by.images)
