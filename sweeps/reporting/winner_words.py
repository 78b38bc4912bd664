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
    score = f"validation {by.metric} {100 * best.score:.1f} % ({seeds(best)})"
    first = f"Winner on validation ({by.images:,} images): {best.cell.named}: {score}"
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
    """Say whom the winner is ahead of, and whom it is not told apart from, the nearest first."""
    best, contest, how = winner.outcome, winner.contest, ""
    if winner.rule == CHEAPEST:
        how = ", the cheapest of those that may be best" if contest.told else ", by the score: nothing is told apart"
    if not rivals and not contest.left_out:
        return f"{how}, the only trial that is ranked"
    if not contest.told:
        return how
    found = [(each, contest.difference(best, each)) for each in sorted(rivals, key=lambda rival: -rival.score)]
    words = [(f"{each.cell.named} ({lead.words})", lead.ahead) for each, lead in found if lead]
    ahead, level = ([text for text, told in words if told is which] for which in (True, False))
    how += f", ahead of {listed(ahead)}" if ahead else ""
    return how + (f"; not told apart from {listed(level)}" if level else "")


def _ruled_out(winner: Winner, rivals: Sequence[Outcome]) -> list[str]:
    """Say why some are not among those that may be best, though not told apart from the winner."""
    if not winner.contest.told:
        return []
    contest = winner.contest
    others = [(each, contest.difference(winner.outcome, each)) for each in rivals if not contest.may_be_best(each)]
    level = [each.cell for each, lead in others if lead and not lead.ahead]
    if not level:
        return []
    why = "whether something is behind the best is asked on one side alone, and takes a smaller difference"
    return [f"{named_all(level)} may not, though not told apart from it: {why}."]


def what_is_told(contest: Contest) -> list[str]:
    """Return which of at least two trials may be best, and which differences the stage can show."""
    comparison = contest.comparison
    if comparison is None or comparison.resolution is None:
        if not contest.same_images:
            return ["Nothing is told apart: as vary_split differs, these trials are scored on different images."]
        return ["One seed each, and no other trial with several: nothing is told apart."]
    members = named_all([outcome.cell for outcome in contest.best_set])
    lines = [
        (
            "In brackets: the lead in points and its simultaneous 95 % interval over seeds and images. May be best: "
            f"{members}."
        )
    ]
    if any(len(outcome.history.seeds) == 1 for outcome in contest.compared):
        lines.append("A trial of one seed is taken to scatter as the study's others do, which cannot be checked.")
    resolution = f"Differences under {100 * comparison.resolution:.1f} points cannot be seen in this stage"
    if comparison.resolution <= SEEN:
        return [*lines, f"{resolution}."]
    needed = comparison.seeds_for(SEEN)
    more = f"about {needed:,} seeds" if needed else "no number of seeds"
    return [*lines, f"{resolution}; {more} would show one of 1 point" + ("." if needed else ": it takes more images.")]


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
        lines.append(
            f"Not compared: {missing}, as what they made of each image was not kept (--fresh trains them again)."
        )
    return lines


def _where_it_stood(outcome: Outcome, best: Outcome) -> str:
    """Say where a trial was stopped, and how far behind the winner, at the same epoch."""
    epoch = outcome.history.epochs
    behind = best.history.at(epoch).mean("val_score") - outcome.history.at(epoch).mean("val_score")
    where = f"{100 * abs(behind):.1f} points {'behind' if behind > 0 else 'ahead'}" if behind else "level"
    return f"{outcome.cell.named} (stopped at epoch {epoch}, {where} there)"
