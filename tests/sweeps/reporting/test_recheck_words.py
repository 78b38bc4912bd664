"""Sentences on a recheck, read whole, beside the numbers that they rest on."""

import pytest

from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import FINAL, Cell, Recheck, Swap
from sweeps.decisions.winner import choose
from sweeps.reporting.recheck_words import recheck_sentences
from tests.sweeps.outcomes import draws, marked, outcome
from trainables.config import Trial

BY = Yardstick("accuracy", 2000)
FOUND = "Final winner on validation (2,000 images): width 8 at"
NONE_SEEN = "No interaction seen: no rechecked value is ahead of the final winner."
CANNOT_TELL = "Whether varying one factor at a time missed an interaction cannot be tested."


def trial(label, score, seeds=3):
    return marked(label, *draws(score, seeds, number=round(1000 * score)))


def said(*rechecked, best=0.7, behind=(), left_out=(), seeds=3):
    """What is said of a final winner, which is a number's or a trial's, and of the trials beside it."""
    final = trial(FINAL, best, seeds) if isinstance(best, float) else best
    cells = [Swap(Cell(each.cell.label, (), Trial()), each.cell.label in behind) for each in rechecked]
    stage = Recheck(("depth", "lr"), "width 8", tuple(cells), left_out)
    outcomes = (final, *rechecked)
    winner = choose(outcomes, BY)
    lines = recheck_sentences(stage, StageResult(stage, outcomes, winner), BY)
    return lines, [lead.words if (lead := winner.contest.difference(each, final)) else None for each in rechecked]


def test_each_value_is_ahead_of_the_final_winner_or_level_with_it_or_behind_it():
    lines, [high, even, low] = said(trial("depth 1", 0.8), trial("lr 0.1", 0.701), trial("lr 1", 0.5))
    assert lines[0] == (
        f"{FOUND} {100 * trial(FINAL, 0.7).score:.1f} % accuracy (3 seeds); ahead of it: depth 1 ({high}); "
        f"no significant difference: lr 0.1 ({even}); behind it: lr 1 ({low})."
    )
    assert lines[1].startswith("In parentheses: the lead in points with its simultaneous 95 % interval")
    assert "cannot be detected in this stage" in lines[2]
    assert len(lines) == 4


def test_a_value_that_was_behind_in_its_own_stage_and_is_ahead_is_an_interaction_and_else_that_is_open():
    *_, last = said(trial("depth 1", 0.8), trial("lr 0.1", 0.7), behind={"depth 1", "lr 0.1"})[0]
    assert last == (
        "depth 1 is ahead of the final winner but was behind in its own stage: varying one factor at a time missed an "
        "interaction."
    )
    *_, last = said(trial("depth 1", 0.8), trial("lr 0.1", 0.7), behind={"lr 0.1"})[0]
    assert last == (
        "depth 1 is ahead of the final winner: varying one factor at a time missed it. Whether that is an interaction "
        "is open, as it was not significantly behind in its own stage."
    )


@pytest.mark.parametrize("score", [0.5, 0.701])
def test_where_nothing_is_ahead_no_interaction_is_seen(score):
    assert said(trial("depth 1", score))[0][-1] == NONE_SEEN


def test_with_one_seed_nothing_is_told():
    lines, _ = said(trial("depth 1", 0.9, 1), seeds=1)
    assert lines == [
        f"{FOUND} {100 * trial(FINAL, 0.7, 1).score:.1f} % accuracy (1 seed).",
        "Differences cannot be tested: no trial of the study has more than one seed.",
        CANNOT_TELL,
    ]


def test_what_is_not_compared_is_named_and_where_nothing_is_nothing_is_told():
    short = outcome("depth 1", [0.4], status="censored")
    broken = outcome("lr 1", status="failed")
    lines, _ = said(trial("lr 0.1", 0.5), short, broken)
    behind = 100 * (trial(FINAL, 0.7).score - 0.4)
    stood = f"Not compared: depth 1 (stopped at epoch 1, when {behind:.1f} points behind)."
    assert lines[-2:] == [f"{stood} Later epochs are unknown (--no-early-stopping runs them).", NONE_SEEN]
    assert said(short)[0][1:] == [lines[-2], CANNOT_TELL]
    unmarked = outcome(FINAL, [0.7], [0.7])
    lines, [nothing] = said(trial("lr 0.1", 0.5), best=unmarked)
    assert nothing is None
    assert lines == [
        f"{FOUND} 70.0 % accuracy (2 seeds).",
        f"Not compared: {FINAL}, as no results per image were kept (--fresh trains again).",
        CANNOT_TELL,
    ]


def test_what_was_left_out_is_said_with_its_reason():
    lines, _ = said(trial("lr 0.1", 0.5), left_out=("depth 9 (conv9 cannot be built)", "b (none)"))
    assert lines[-2] == "Not rechecked: depth 9 (conv9 cannot be built); b (none)."


@pytest.mark.parametrize("others", [(), (trial("lr 0.1", 0.5),)])
def test_a_final_winner_that_fails_as_a_search_had_screened_it_anew_tells_nothing(others):
    outcomes = (outcome(FINAL, status="failed"), *others)
    result = StageResult(Recheck(("depth",)), outcomes, choose(outcomes, BY))
    lines = recheck_sentences(result.stage, result, BY)
    assert lines == ["The final winner did not run in full here, so nothing can be compared."]
