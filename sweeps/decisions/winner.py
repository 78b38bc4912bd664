"""The rule by which a stage's winner is chosen. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sweeps.decisions.contest import Contest, hold
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.scatter import Spread
from sweeps.decisions.status import Status

BEST, CHEAPEST = "best", "cheapest that may be best"
RULES = (BEST, CHEAPEST)


@dataclass(frozen=True, eq=False)
class Winner:
    """The chosen outcome, how it compares with the others that ran in full, and by which rule it was chosen."""

    outcome: Outcome
    contest: Contest
    rule: str = BEST


def choose(
    outcomes: Sequence[Outcome],
    by: Yardstick,
    *,
    rule: str = BEST,
    cost: Callable[[Outcome], float] | None = None,
    before: Mapping[str, Spread] | None = None,
) -> Winner | None:
    """Return the winner among the trials that ran in full, on validation. None where none did.

    By the rule "best" it has the highest mean score; by "cheapest that may be best" the lowest `cost` of those that
    the data cannot tell from the best, of equals the higher score. The test set is not looked at. Exact ties go to the
    cell declared first. `before` is how the trials scatter that lead to this stage (see hold()).
    """
    full = [outcome for outcome in outcomes if outcome.status == Status.DONE]
    if not full:
        return None
    contest = hold(full, by, before=before)
    winner = max(full, key=lambda outcome: outcome.score)
    if rule == CHEAPEST and cost and contest.may_be_best(winner):
        winner = min(contest.best_set, key=lambda outcome: (cost(outcome), -outcome.score))
    return Winner(winner, contest, rule)
