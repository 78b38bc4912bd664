"""What a search came to, as tables and words: the best trials, what mattered, what is worth its price, and the cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.report import Column, Measured, Table, Value
from sweeps.decisions import others
from sweeps.decisions.bounds import in_words
from sweeps.decisions.contest import Contest
from sweeps.decisions.drawing import Draw
from sweeps.decisions.importance import importance
from sweeps.decisions.labels import brief, counted, listed
from sweeps.decisions.rules import DRAWING
from sweeps.decisions.search_run import SearchRun
from sweeps.decisions.stages import Search
from sweeps.decisions.status import Status
from sweeps.decisions.told import Told, pareto
from trainables.errors import UserError

SIDE_BY_SIDE = 6  # trials whose fields stand beside each other
ROWS = 15  # of the leaderboard in the report; all trials, with a column for each field, are in the CSV
FEWEST = 5  # trials of each half that tell what the second one brought
BEYOND = "beyond a bound"  # the mark of a trial that cannot win
PRICES = ("parameters",)  # what a score is held against where the search itself has no second objective


def search_tables(search: SearchRun, contest: Contest | None, rows: int = ROWS) -> list[Table]:
    """Return all tables of a search, the leaderboard with so many rows."""
    tables = (leaderboard(search, contest, rows), importance_table(search), front(search))
    return [table for table in tables if table]


def page_tables(search: SearchRun, contest: Contest | None) -> list[Table]:
    """Return the tables of a report's page: the leaderboard, and what its first trials drew, a field a row."""
    whole = leaderboard(search, contest)
    scores = replace(whole, columns=whole.columns[:-1], rows=tuple(row[:-1] for row in whole.rows))
    tables = (scores, drawn_table(search), front(search))
    return [table for table in tables if table.rows]


def drawn_table(search: SearchRun) -> Table:
    """Return what the best trials drew: a row for each field, a column for each trial."""
    shown = search.ranking()[:SIDE_BY_SIDE]
    fields = [path for path in search.stage.space.fields if any(path in draw.values for draw in shown)]
    rows = tuple(
        (path.rpartition(".")[2], *(brief(draw.values[path]) if path in draw.values else None for draw in shown))
        for path in fields
    )
    columns = (Column("field"), *(Column(draw.cell.label) for draw in shown))
    return Table("What the best trials drew", columns, rows)


def leaderboard(search: SearchRun, contest: Contest | None, most: int = ROWS) -> Table:
    """Return the best trials: those confirmed with fresh seeds, who were in the race for that, then the others by how
    far they came.

    Only the first are ranked; in their contest some may be best, and are marked.
    """
    columns = (
        Column("trial", best="marked"),
        Column("status"),
        Column("validation %", best="marked", digits=1),
        Column("test %", digits=1),
        Column("epochs"),
        Column("seeds"),
        Column("drawn"),
    )
    rows: list[tuple[Value | Measured, ...]] = []
    eligible = []
    shown = search.ranking()[:most]
    for draw in shown:
        drawn = ", ".join(f"{path.rpartition('.')[2]} {brief(value)}" for path, value in draw.values.items())
        seen = draw.history.cut(search.seeds_of(draw), draw.epochs)
        chosen = seen.chosen() if seen.epochs else ()
        val, test = (
            Measured.of([100 * getattr(record, name) for record in chosen]) if chosen else None
            for name in ("val_score", "test_score")
        )
        rows.append(
            (draw.cell.label, _status(search, draw), val, test, seen.epochs or None, len(seen.seeds) or None, drawn)
        )
        eligible.append(search.is_confirmed(draw))
    keys = {outcome.key for outcome in contest.best_set} if contest else set()
    marked = tuple(draw.key in keys for draw in shown)
    title = f"{search.stage.name}: the best of {len(search.draws)} trials"
    return Table(title, columns, tuple(rows), tuple(eligible), marked)


def _status(search: SearchRun, draw: Draw) -> str:
    """Return in words how far a trial came."""
    out = search.confirmation.race.out.get(draw) if search.confirmation else None
    if search.is_confirmed(draw):
        status = "confirmed"
    elif out:
        status = f"let go after epoch {out} of confirmation"
    elif draw.key in search.ledger.dropped:
        status = "dropped"
    else:
        status = "stopped early" if draw.state == Status.CENSORED else draw.state.value
    return f"{status}, {BEYOND}" if search.drawing.broken(draw) else status


def what_mattered(search: SearchRun) -> tuple[int, dict[str, float]] | None:
    """Return the epoch at which trials are compared, and each field's share in what made the best of them good.

    It is the last epoch that half of the trials have come to: there they all had the same budget. None for too few
    trials.
    """
    reached = sorted((max(told.scores) for told in search.told if told.scores), reverse=True)
    if not reached:
        return None
    epoch = reached[(len(reached) - 1) // 2]
    try:
        return epoch, importance(search.stage.space, search.told, epoch)
    except UserError:  # fewer trials than it can be told from
        return None


def importance_table(search: SearchRun) -> Table | None:
    """Return the fields by their importance; None where too few trials tell it."""
    found = what_mattered(search)
    if found is None:
        return None
    epoch, shares = found
    rows = tuple((path, 100 * share) for path, share in shares.items())
    compared = sum(epoch in told.scores for told in search.told)
    title = f"What mattered: PED-ANOVA over {compared} trials, all at epoch {epoch}"
    return Table(title, (Column("field"), Column("share %", digits=0)), rows)


def front(search: SearchRun) -> Table:
    """Return the trials run in full, within the search's bounds, that no other beats in one objective without losing in
    another.
    """
    names, values, told = weighed(search)
    done = {draw.attempt: draw for draw in search.draws.values()}
    heads = {
        "score": Column("validation %", digits=1),
        "parameters": Column("parameters", digits=0),
        "seconds": Column("seconds", digits=0),
    }
    rows: list[tuple[Value, ...]] = []
    for each in pareto([each for each in told if not each.violation], names):
        pairs = zip(names, values[each.number], strict=True)
        rows.append(
            (done[each.number].cell.label, *(100 * value if name == "score" else value for name, value in pairs))
        )
    columns = (Column("trial"), *(heads[name] for name in names))
    return Table(f"Pareto front of {', '.join(names)} (trials run in full)", columns, tuple(rows))


def weighed(search: SearchRun) -> tuple[tuple[str, ...], dict[int, tuple[float, ...]], list[Told]]:
    """Return the objectives, what the trials run in full reach of each, by attempt, and these trials."""
    names = search.stage.objectives if len(search.stage.objectives) > 1 else ("score", *PRICES)
    told = in_full(search, names)
    return names, {each.number: each.objectives or () for each in told}, told


def in_full(search: SearchRun, names: Sequence[str]) -> list[Told]:
    """Return the trials that ran in full, be it with the fresh seeds alone, with what they reach of each objective."""
    done = {d.attempt: d for d in search.draws.values() if d.state == Status.DONE or search.is_confirmed(d)}
    values = {number: tuple(search.value(draw, name) for name in names) for number, draw in done.items()}
    told = [each for each in search.told if each.number in done]
    return [replace(each, state=Status.DONE, objectives=values[each.number]) for each in told]


def account(search: SearchRun) -> list[str]:
    """Return what the search did and cost."""
    draws = list(search.draws.values())
    spent = sum(draw.history.count for draw in draws) - others.trained_elsewhere(search.decisions)
    full = sum(draw.epochs for draw in draws)
    states = [draw.state for draw in draws]
    dropped = len(search.draws.keys() & search.ledger.dropped.keys())
    paused, failed = states.count(Status.CENSORED), states.count(Status.FAILED) - dropped
    running = states.count(Status.RUNNING)
    ended = (
        f"{states.count(Status.DONE)} ran in full, {paused} were stopped early ({search.stage.rule}), {failed} failed"
        + (f", {dropped} dropped" if dropped else "")
        + (f", {running} {'runs' if running == 1 else 'run'} now" if running else "")
    )
    return [
        f"{len(draws)} trials drawn by {drawn_by(search.stage)}: {ended}.",
        (
            f"Screening and confirmation took {spent:,} epochs; running all trials in full with one seed each would "
            f"take {full:,}."
        ),
        *outlook(search, spent),
        *others.in_words(search.decisions),
        *confirmation(search),
        *bounded(search),
    ]


def second_half(draws: Sequence[Draw]) -> tuple[float, float] | None:
    """Return by how much the second half of a search's draws raised the best score with the seed that screens, and that
    score; None where either half has too few trials with a score.
    """
    shown = [draw for draw in draws if draw.scores and not draw.reason]
    first = [max(draw.scores.values()) for draw in shown if draw.number < len(draws) // 2]
    second = [max(draw.scores.values()) for draw in shown if draw.number >= len(draws) // 2]
    if min(len(first), len(second)) < FEWEST:
        return None
    return max(0.0, max(second) - max(first)), max(*first, *second)


def outlook(search: SearchRun, spent: int) -> list[str]:
    """Return what the second half of the trials brought, and what as many again are likely to; nothing where that
    cannot be said. How such gains go on was measured by tests/benchmarks/doubling.py.
    """
    halves = second_half(list(search.draws.values()))
    if halves is None or len(search.stage.objectives) > 1 or not search.confirmed:
        return []
    gain, best = halves
    found = f"raised the best score with the seed that screens by {100 * gain:.1f} points, to {100 * best:.1f} %"
    return [
        (
            f"The second half of the draws {found}. As many trials again would take about {spent:,} epochs, and be "
            "likely to bring less: on recorded curves it was none to three quarters of such a gain, on average."
        )
    ]


def confirmation(search: SearchRun) -> list[str]:
    """Return who was let go in the race, and who was confirmed."""
    candidates = search.confirmed or ()
    confirmed = [draw.cell.label for draw in filter(search.is_confirmed, candidates)]
    seeds = seeds_in_words(search)
    let_go = [
        f"{draw.cell.label} after epoch {epoch} (standing at {100 * own:.1f} %, the best at {100 * best:.1f} %)"
        for draw, epoch, own, best in (search.confirmation.let_go() if search.confirmation else ())
    ]
    race = f"Let go in the race of {len(candidates)} candidates, with {seeds}: {listed(let_go)}."
    ranked = "this one is" if let_go and len(confirmed) == 1 else "these are"
    done = f"Confirmed in full with {seeds}: {', '.join(confirmed) or 'none'}. Only {ranked} ranked."
    return [*([race] if let_go else []), done]


def seeds_in_words(search: SearchRun) -> str:
    """Return how many seeds those confirmed have: `3 seeds`, or `3 to 7 seeds` where they come one by one."""
    each = [len(search.seeds_of(draw)) for draw in filter(search.is_confirmed, search.confirmed or ())]
    fewest, most = min(each, default=len(search.seeds)), max(each, default=len(search.seeds))
    return counted(most, "seed") if fewest == most else f"{fewest} to {counted(most, 'seed')}"


def bounded(search: SearchRun) -> list[str]:
    """Return the search's bounds, and which of its trials are beyond one; nothing where it has none."""
    if not search.stage.constraint:
        return []
    reasons = ((draw.cell.label, search.drawing.broken(draw)) for draw in search.draws.values())
    beyond = [f"{label} ({why})" for label, why in reasons if why]
    ends = f"these are {BEYOND} and cannot win: {listed(beyond)}" if beyond else "no trial is beyond that"
    return [f"Bounds: {in_words(search.stage.constraint)}; {ends}."]


def left_out(search: SearchRun) -> list[str]:
    """Return how many draws were never trained. Only the command that drew them knows of them."""
    count = len(search.drawing.unbuildable)
    return [f"Draws not trained because they cannot be built or repeat an earlier one: {count}."] if count else []


def drawn_by(stage: Search) -> str:
    """Return in words what draws a search's trials."""
    return f"{stage.sampler} and {stage.rule}" if stage.rule in DRAWING else stage.sampler
