"""What one factor at a time missed, in sentences that say no more than the data carries."""

from __future__ import annotations

from sweeps.decisions.inference import Difference
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import Recheck
from sweeps.decisions.status import Status
from sweeps.reporting.winner_words import not_compared, seeds, what_is_told

AHEAD, LEVEL, BEHIND = "ahead of it", "no significant difference", "behind it"


def recheck_sentences(stage: Recheck, result: StageResult, by: Yardstick) -> list[str]:
    """Return how each rechecked value compares with the final winner's, what was not rechecked, and what follows."""
    best, *rechecked = result.outcomes
    if result.winner is None or best.status != Status.DONE:
        return ["The final winner did not run in full here, so nothing can be compared."]
    contest = result.winner.contest
    found = [(each, contest.difference(each, best)) for each in rechecked]
    leads = {each.cell.label: lead for each, lead in found if lead}
    lines = [f"{_about(stage, best, by)}{_standing(leads)}."]
    if leads:
        lines += what_is_told(contest)
    lines += not_compared(rechecked, best, contest)
    if stage.left_out:
        lines.append(f"Not rechecked: {'; '.join(stage.left_out)}.")
    return [*lines, *_conclusion(stage, leads)]


def _about(stage: Recheck, best: Outcome, by: Yardstick) -> str:
    return (
        f"Final winner on validation ({by.images:,} images): {stage.winner} at "
        f"{100 * best.score:.1f} % {by.metric} ({seeds(best)})"
    )


def _standing(leads: dict[str, Difference]) -> str:
    """Say which values are ahead of the final winner, not significantly different, and behind it."""
    words = ""
    for place in (AHEAD, LEVEL, BEHIND):
        those = [f"{label} ({lead.words})" for label, lead in leads.items() if _place(lead) == place]
        words += f"; {place}: {', '.join(those)}" if those else ""
    return words


def _place(lead: Difference) -> str | None:
    if lead.low is None or lead.high is None:
        return None
    return AHEAD if lead.low > 0 else BEHIND if lead.high < 0 else LEVEL


def _conclusion(stage: Recheck, leads: dict[str, Difference]) -> list[str]:
    if not any(map(_place, leads.values())):
        return ["Whether varying one factor at a time missed an interaction cannot be tested."]
    ahead = [label for label, lead in leads.items() if lead.ahead]
    if not ahead:
        return ["No interaction seen: no rechecked value is ahead of the final winner."]
    was_behind = {swap.cell.label for swap in stage.swaps if swap.behind}
    return [
        f"{label} is ahead of the final winner but was behind in its own stage: varying one factor at a time missed an "
        "interaction."
        if label in was_behind
        else f"{label} is ahead of the final winner: varying one factor at a time missed it. Whether that is an "
        "interaction is open, as it was not significantly behind in its own stage."
        for label in ahead
    ]
