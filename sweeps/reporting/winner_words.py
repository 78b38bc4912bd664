"""Who won a stage, in sentences that say no more than the data carries."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.decisions.contest import Contest
from sweeps.decisions.labels import listed
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import named_all
from sweeps.decisions.status import Status
from sweeps.decisions.winner import CHEAPEST, Winner

SEEN = 0.01  # the difference whose seeds are told: one point


def winner_sentences(result: StageResult, by: Yardstick) -> list[str]:
    """Return who won on validation, whom it is ahead of, who may be best, what the stage can show, and who was not
    compared.
    """
    says, leaves = winner_in_two(result, by)
    return [*says, *leaves]


def winner_in_two(result: StageResult, by: Yardstick) -> tuple[list[str], list[str]]:
    """Return the same in two parts: what the data says, and what it does not."""
    winner = result.winner
    if winner is None:
        return ["No winner: no trial ran in full."], []
    best, contest = winner.outcome, winner.contest
    score = f"{100 * best.score:.1f} % {by.metric} ({seeds(best)})"
    first = f"Winner on validation ({by.images:,} images): {best.cell.named} at {score}"
    rivals = [outcome for outcome in contest.compared if outcome.key != best.key]
    told = what_is_told(contest) if contest.place(best) is not None and rivals else []
    says = 1 if contest.told else 0  # the lines of these that say who may be best
    entered = () if result.stage.open_ended else result.outcomes  # of a search, its account has what was stopped
    lines = [f"{first}{_lead(winner, rivals)}.", *told[:says], *_ruled_out(winner, rivals)]
    return lines, [*told[says:], *not_compared(entered, best, contest)]


def seeds(outcome: Outcome) -> str:
    """Return the number of a trial's seeds in words."""
    count = len(outcome.history.seeds)
    return f"{count} seeds" if count > 1 else "1 seed"


def _lead(winner: Winner, rivals: Sequence[Outcome]) -> str:
    """Say whom the winner is ahead of, and whom it is not significantly ahead of, the nearest first."""
    best, contest, how = winner.outcome, winner.contest, ""
    if winner.rule == CHEAPEST:
        how = (
            ", the cheapest of those that may be best"
            if contest.told
            else ", by its score alone, as differences cannot be tested"
        )
    if not rivals and not contest.left_out:
        return f"{how}, the only ranked trial"
    if not contest.told:
        return how
    found = [(each, contest.difference(best, each)) for each in sorted(rivals, key=lambda rival: -rival.score)]
    words = [(f"{each.cell.named} ({lead.words})", lead.ahead) for each, lead in found if lead]
    ahead, level = ([text for text, told in words if told is which] for which in (True, False))
    how += f", ahead of {listed(ahead)}" if ahead else ""
    return how + (f"; not significantly ahead of {listed(level)}" if level else "")


def _ruled_out(winner: Winner, rivals: Sequence[Outcome]) -> list[str]:
    """Say why some are not among those that may be best, though the winner is not significantly ahead of them."""
    if not winner.contest.told:
        return []
    contest = winner.contest
    others = [(each, contest.difference(winner.outcome, each)) for each in rivals if not contest.may_be_best(each)]
    level = [each.cell for each, lead in others if lead and not lead.ahead]
    if not level:
        return []
    why = "that test is one-sided, so a smaller difference is enough"
    return [f"Ruled out as the best although the winner's lead is not significant: {named_all(level)}; {why}."]


def what_is_told(contest: Contest) -> list[str]:
    """Return which of at least two trials may be best, and which differences the stage can show."""
    comparison = contest.comparison
    if comparison is None or comparison.resolution is None:
        if not contest.same_images:
            return ["Differences cannot be tested: as vary_split differs, these trials are scored on different images."]
        return ["Differences cannot be tested: no trial of the study has more than one seed."]
    members = named_all([outcome.cell for outcome in contest.best_set])
    lines = [
        (
            "In parentheses: the lead in points with its simultaneous 95 % interval over seeds and images. May be "
            f"best: {members}."
        )
    ]
    if any(len(outcome.history.seeds) == 1 for outcome in contest.compared):
        lines.append(
            "A trial with one seed is assumed to vary as much as the others of the study; this cannot be checked."
        )
    resolution = f"Differences below {100 * comparison.resolution:.1f} points cannot be detected in this stage"
    if comparison.resolution <= SEEN:
        return [*lines, f"{resolution}."]
    needed = comparison.seeds_for(SEEN)
    more = f"about {needed:,} seeds" if needed else "more images, as more seeds alone cannot do it"
    return [*lines, f"{resolution}; detecting one of 1 point would take {more}."]


def not_compared(outcomes: Sequence[Outcome], best: Outcome, contest: Contest) -> list[str]:
    """Return which trials were not compared with the best, and why."""
    stopped = [
        _where_it_stood(outcome, best)
        for outcome in outcomes
        if outcome.status == Status.CENSORED and outcome.history.epochs
    ]
    lines = []
    if stopped:
        later = "Later epochs are unknown (--no-early-stopping runs them)."
        lines.append(f"Not compared: {listed(stopped)}. {later}")
    if contest.left_out:
        missing = named_all([outcome.cell for outcome in contest.left_out])
        lines.append(f"Not compared: {missing}, as no results per image were kept (--fresh trains again).")
    if contest.beyond:
        lines.append(
            f"Not compared: the trials of the lowest scores ({contest.beyond:,}); the intervals allow for them."
        )
    return lines


def _where_it_stood(outcome: Outcome, best: Outcome) -> str:
    """Say where a trial was stopped, and how far behind the winner, at the same epoch."""
    epoch = outcome.history.epochs
    behind = best.history.at(epoch).mean("val_score") - outcome.history.at(epoch).mean("val_score")
    where = f"{100 * abs(behind):.1f} points {'behind' if behind > 0 else 'ahead'}" if behind else "level"
    return f"{outcome.cell.named} (stopped at epoch {epoch}, when {where})"
