"""What the reports claim, and what was measured: a verdict on each claim of a study."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.report import Column, Section, Table
from sweeps.decisions.claims import DELTA, Claim, Entrant, Ruling, Verdict, judge, value_of
from sweeps.decisions.inference import Comparison, compare
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.scatter import Spread, spread
from sweeps.decisions.status import Status

TITLE = "What the reports claim"


def verdicts(claims: Sequence[Claim], results: Sequence[StageResult], by: Yardstick) -> list[tuple[Claim, Verdict]]:
    """Return the verdict on each claim, by the test scores at the epochs chosen on validation.

    How seeds scatter is known of all trials of the decided stages.
    """
    if not claims:
        return []  # most studies: to sample every trial for nothing is dear on multi-label data
    outcomes = {outcome.key: outcome for result in results for outcome in result.outcomes}
    samples = {key: by.sample(outcome, "test") for key, outcome in outcomes.items() if outcome.status == Status.DONE}
    known = {key: sample for key, sample in samples.items() if sample is not None}
    spreads = {key: spread(sample) for key, sample in known.items()}
    stages = {result.stage.name: result for result in results}
    fields = {name: _field(stages.get(name), known, spreads) for name in {claim.stage for claim in claims}}
    return [(claim, judge(claim, *fields[claim.stage])) for claim in claims]


def claims_section(claims: Sequence[Claim], results: Sequence[StageResult], by: Yardstick) -> Section | None:
    """Return the report's section on a study's claims; None where it has none."""
    if not claims:
        return None
    found = verdicts(claims, results, by)
    rule = (
        f"Judged by test {by.metric} at the epoch chosen on validation; brackets hold simultaneous 95 % intervals over "
        "seeds and images. A claim holds if its interval lies above 0 for every rival it names. It is refuted if one "
        "lies below 0, or if the value it calls best is not among those that may be best. Differences below "
        f"{DELTA} points count as none; this was fixed beforehand."
    )
    columns = tuple(map(Column, ("claim", "source", "published, points", "verdict", "why")))
    rows = []
    for claim, each in found:
        why = f"{each.why} ({claim.note})" if claim.note else each.why
        rows.append((each.claimed, claim.source, claim.delta, each.ruling.value, why))
    return Section(TITLE, (rule, in_short(found)), (Table(TITLE, columns, tuple(rows)),))


def in_short(found: Sequence[tuple[Claim, Verdict]]) -> str:
    """Return how many claims have which verdict: `4 hold, 1 refuted, …`."""
    rulings = [verdict.ruling for _, verdict in found]
    counts = {ruling: rulings.count(ruling) for ruling in Ruling}
    said = (f"{n} {'hold' if ruling == Ruling.HOLDS and n > 1 else ruling.value}" for ruling, n in counts.items() if n)
    return f"Of {len(rulings)} claims: {', '.join(said)}."


def _field(
    result: StageResult | None, known: dict[str, np.ndarray], spreads: dict[str, Spread]
) -> tuple[list[Entrant], Comparison | None]:
    """Return a stage's trials, and how those that are ranked compare, in their order."""
    outcomes = result.outcomes if result else ()
    entrants = [Entrant(value_of(each.cell.values), each.cell.named, _missing(each, known)) for each in outcomes]
    ranked = {each.key: None for each in outcomes if _missing(each, known) is None}  # in order, found at once
    also = [each for key, each in spreads.items() if key not in ranked]
    return entrants, compare([known[key] for key in ranked], also) if ranked else None


def _missing(outcome: Outcome, known: dict[str, np.ndarray]) -> str | None:
    """Return why a trial is not ranked; None where it is."""
    if outcome.status == Status.FAILED:
        return "failed"
    if outcome.status == Status.DROPPED:
        return "was dropped"
    if outcome.status != Status.DONE:
        return f"was stopped at epoch {outcome.history.epochs}"
    return None if outcome.key in known else "has no record of what it made of each image"
