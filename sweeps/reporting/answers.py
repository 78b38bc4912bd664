"""The answers, first of all: what each stage chose, by how much, how sure that is, what it costs; and what to use."""

from __future__ import annotations

from analysis.page import Block, Chapter, Words
from analysis.report import Column, Table, Value
from sweeps.decisions.contest import Contest
from sweeps.decisions.labels import points
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import named_all
from sweeps.decisions.status import Status
from sweeps.reporting.material import Material, percent, seconds
from trainables.plan import flops, parameters


def answers_chapter(material: Material) -> Chapter:
    """Return the answers of the decided stages, and one recommendation."""
    over = material.agenda.over
    blocks: list[Block] = []
    if material.best:
        blocks.append(Words(recommendation(material, material.best), "lead"))
    rows = [_row(result, material) for result in material.agenda.results if _compares(result)]
    columns = map(
        Column, ("factor", "choice", "lead over the runner-up", "lead over the worst", "how sure", "cost of the choice")
    )
    title = f"Leads in validation {material.facts.yardstick.metric}, points, with simultaneous 95 % intervals"
    blocks += [Table(title, tuple(columns), tuple(rows))] if rows else []
    if not blocks:
        blocks.append(Words("No stage is decided yet." if not over else "No stage has a winner."))
    return Chapter("Answers" if over else "Answers so far", tuple(blocks))


def recommendation(material: Material, best: Outcome) -> str:
    """Return what to use, and what it reaches, in a sentence."""
    layers, metric = material.layers(best), material.facts.yardstick.metric
    val, test = (percent(best, name) for name in ("val_score", "test_score"))
    took = seconds(best)
    price = f"{parameters(layers):,} parameters" + (f", {took:,.0f} s of training" if took is not None else "")
    use = "Use" if material.agenda.over else "Best so far:"
    return f"{use} {material.way(best)}: test {metric} {test}, validation {metric} {val}; {price}."


def headline(result: StageResult) -> str:
    """Say in a few words what a decided stage found."""
    if result.skipped:
        return "not run"
    if result.winner is None:
        return "no winner"
    best, contest = result.winner.outcome, result.winner.contest
    named = best.cell.named
    rivals = _rivals(result)
    if not rivals:
        return named
    if not contest.told:
        return f"{named} leads; its lead cannot be tested"
    if all(_ahead(contest, best, each) for each in rivals):
        return f"{named} is ahead of all {_others(result)}"
    others = [each.cell for each in contest.best_set if each.key != best.key]
    return f"{named} leads; {named_all(others)} may be as good" if others else f"{named} leads"


def confidence(result: StageResult) -> str:
    """Say how sure a decided stage's choice is."""
    if result.winner is None:
        return ""
    best, contest = result.winner.outcome, result.winner.contest
    rivals = _rivals(result)
    missing = sum(each.status != Status.DONE for each in result.outcomes)
    left = f"; {missing} not ranked" if missing and not result.stage.open_ended else ""
    if not contest.told:
        why = "one seed each" if contest.same_images else "scored on different images"
        return f"cannot be tested: {why}{left}"
    level = [each for each in rivals if not _ahead(contest, best, each)]
    if not level:
        return f"ahead of {_others(result, len(rivals))}{left}"
    return f"not significantly ahead of {named_all([each.cell for each in level])}{left}"


def _others(result: StageResult, count: int | None = None) -> str:
    """Name those that a winner was compared with, with their number where it is given: of a search those confirmed."""
    kind = " confirmed" if result.stage.open_ended else ""
    if count == 1:
        return f"the other{kind and f'{kind} trial'}"
    others = f"other{kind} trials" if kind else "others"
    return f"all {count} {others}" if count else others


def _compares(result: StageResult) -> bool:
    return result.winner is not None and bool(_rivals(result))


def _rivals(result: StageResult) -> list[Outcome]:
    """Return the other trials that ran in full, the best first."""
    best = result.winner.outcome if result.winner else None
    ranked = [each for each in result.outcomes if each.status == Status.DONE and best and each.key != best.key]
    if result.winner:  # of a search only those confirmed are ranked, of very many trials the best
        entered = {each.key for each in (*result.winner.contest.compared, *result.winner.contest.left_out)}
        ranked = [each for each in ranked if each.key in entered]
    return sorted(ranked, key=lambda each: -each.score)


def _ahead(contest: Contest, best: Outcome, other: Outcome) -> bool:
    found = contest.difference(best, other)
    return found is not None and found.ahead


def _row(result: StageResult, material: Material) -> tuple[Value, ...]:
    winner = result.winner
    if winner is None:
        raise ValueError(f"stage {result.stage.name} has no winner")
    best, rivals = winner.outcome, _rivals(result)
    layers, took = material.layers(best), seconds(best)
    price = f"{parameters(layers):,} parameters, {flops(layers) / 1e6:.2f} MFLOPs"
    return (
        result.stage.title,
        best.cell.named,
        _over(winner.contest, best, rivals[0]),
        _over(winner.contest, best, rivals[-1]) if len(rivals) > 1 else None,
        confidence(result),
        price + (f", {took:,.0f} s" if took is not None else ""),
    )


def _over(contest: Contest, best: Outcome, other: Outcome) -> str:
    found = contest.difference(best, other)
    return f"{found.words if found else points(best.score - other.score)} over {other.cell.named}"
