"""What a factor does, against numbers by hand."""

from dataclasses import replace

import pytest

from analysis.report import Measured
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult
from sweeps.decisions.status import Status
from sweeps.decisions.winner import choose
from sweeps.reporting.effects import effects_sentences, effects_table
from sweeps.reporting.tables import Facts
from sweeps.study import Stage
from tests.sweeps.outcomes import draws, history, marked, record, terms
from trainables.config import CNN, Trial
from trainables.history import History
from trainables.plan import flops, parameters, plan

TERMS = terms(images=2000)
FACTS = Facts(tuple("abcdefghij"), (3, 32, 32), TERMS.yardstick, {})
# without pooling, and nothing but the head: FLOPs and parameters follow the channels
START = Trial(model=CNN(conv_layers=1, channels=8, pooling="none", fc_layers=1))
STAGE = Stage("channels", {"model.channels": (4, 8, 16)})
CELLS = STAGE.cells(START)


def ended(at: int, found, status=Status.DONE) -> Outcome:
    whole = found.history if isinstance(found, Outcome) else found
    return Outcome(CELLS[at], f"key-{at}", status, whole)


def result(*outcomes, stage=STAGE, start=START) -> StageResult:
    return StageResult(stage, outcomes, choose(outcomes, TERMS.yardstick), start=start)


def rows(found: StageResult) -> list[dict]:
    table = effects_table(found, FACTS)
    names = ["value", "base", "step", "gap", "own", "target", "seconds", "mflops", "per_flops", "per_parameters"]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def told(contest, one, other) -> str:
    lead = contest.difference(one, other)
    return lead.words


THREE = [ended(at, marked("x", *draws(score, 3, number=at))) for at, score in enumerate((0.6, 0.7, 0.72))]


def test_each_value_stands_against_the_start_and_the_one_before_with_intervals():
    found = result(*THREE)
    contest = found.winner.contest
    small, base, large = rows(found)
    assert (small["value"], base["value"], large["value"]) == ("4", "8", "16")
    assert (small["base"], small["step"]) == (told(contest, THREE[0], THREE[1]), None)
    assert (base["base"], base["step"]) == (None, told(contest, THREE[1], THREE[0]))
    assert large["base"] == large["step"] == told(contest, THREE[2], THREE[1])
    heads = [column.name for column in effects_table(found, FACTS).columns]
    assert heads[:5] == [
        "channels",
        "against channels = 8, points",
        "against the previous value, points",
        "train − validation, points",
        "epochs to within 1 point of its own best",
    ]
    assert heads[6:] == ["training, s", "MFLOPs", "points per doubling of FLOPs", "points per doubling of parameters"]


def test_prices_are_the_plans_and_gains_are_told_by_the_doubling():
    small, _, large = rows(result(*THREE))
    plans = [plan(cell.trial.model, (3, 32, 32), 10) for cell in CELLS]
    assert [small["mflops"], large["mflops"]] == [flops(plans[0]) / 1e6, flops(plans[2]) / 1e6]
    assert flops(plans[2]) == pytest.approx(2 * flops(plans[1]), rel=0.01)
    assert large["per_flops"] == pytest.approx(100 * (THREE[2].score - THREE[1].score), rel=0.02)
    assert small["per_flops"] == pytest.approx(100 * (THREE[1].score - THREE[0].score), rel=0.02)
    assert parameters(plans[2]) == pytest.approx(2 * parameters(plans[1]), rel=0.01)
    assert large["per_parameters"] == pytest.approx(large["per_flops"], rel=0.02)
    assert rows(result(*THREE))[1]["per_flops"] is None


def test_what_costs_about_the_same_has_no_gain_by_the_doubling():
    """A third more: 0.415 of a doubling; half as much again: 0.585."""
    stage = Stage("channels", {"model.channels": (12, 16, 18)})
    cells = stage.cells(START.with_values({"model.channels": 12}))
    outcomes = [replace(each, cell=cell) for each, cell in zip(THREE, cells, strict=True)]
    found = rows(result(*outcomes, stage=stage, start=cells[0].trial))
    assert [row["per_flops"] is None for row in found] == [True, True, False]


def test_the_own_best_is_that_of_the_mean_curve():
    """Two replicates that are best at different epochs: the mean never comes to the mean of their bests."""
    apart = ended(0, history([0.5, 0.9, 0.5, 0.5], [0.5, 0.5, 0.5, 0.9]))
    assert rows(result(apart, THREE[1]))[0]["own"] == 2


def test_how_fast_a_value_learns_is_told_as_far_as_it_is_known():
    """The winner ends at 0.7: the common target is 0.69. What was stopped may have come to it later."""
    fast = ended(0, history([0.5, 0.695, 0.7, 0.7]))
    slow = ended(1, history([0.2, 0.4, 0.6, 0.68]))
    cut = ended(2, history([0.1, 0.3]), Status.CENSORED)
    found = rows(result(fast, slow, cut))
    assert [row["target"] for row in found] == [2, "> 4", "> 2"]
    assert [row["own"] for row in found] == [2, 4, None]  # its own best less one point; of the third it is not known
    assert [row["step"] for row in found] == [None, "−2.0", None]
    table = effects_table(result(fast, slow, cut), FACTS)
    assert table.columns[5].name == "epochs to 69.0 % acc"
    assert table.eligible == (True, True, False)
    assert [row["seconds"].mean for row in found] == [4, 4, 2]


def test_the_fit_s_lead_is_of_the_chosen_networks_and_missing_where_it_was_not_taken():
    fits = [0.9, 0.95, 0.85]
    whole = THREE[0].history
    marks = {seed: replace(each, fit=fit) for (seed, each), fit in zip(whole.marks.items(), fits, strict=True)}
    with_fit = ended(0, History(whole.records, marks))
    gap = rows(result(with_fit, THREE[1]))[0]["gap"]
    scores = [records[0].val_score for records in whole.records.values()]
    assert gap == Measured.of([100 * (fit - score) for fit, score in zip(fits, scores, strict=True)])
    assert rows(result(with_fit, THREE[1]))[1]["gap"] is None
    some = ended(0, History(whole.records, marks | {0: whole.marks[0]}))
    assert rows(result(some, THREE[1]))[0]["gap"] is None


def test_the_base_is_the_first_that_is_ranked_where_the_start_is_none_of_the_values():
    heads = [column.name for column in effects_table(result(*THREE, start=None), FACTS).columns]
    assert heads[1] == "against channels = 4, points"
    failed = ended(1, history([0.5]), Status.FAILED)
    assert effects_table(result(THREE[0], failed, THREE[2]), FACTS).columns[1].name == "against channels = 4, points"


def test_fewer_than_two_ranked_trials_have_no_effects():
    assert effects_table(result(THREE[0]), FACTS) is None
    assert effects_sentences(result(THREE[0]), TERMS) == []
    assert effects_table(result(ended(0, History({0: (record(0.5),)}), Status.CENSORED)), FACTS) is None


def test_the_sentences_name_the_cheapest_that_may_be_best():
    found = result(*THREE)
    assert [outcome.cell.label for outcome in found.winner.contest.best_set] == ["8", "16"]
    first, cheapest = effects_sentences(found, TERMS)
    assert first == "Each effect holds for the values that the other factors have in this stage."
    price, dearest = (flops(plan(cell.trial.model, (3, 32, 32), 10)) for cell in CELLS[1:])
    assert cheapest == (
        f"The cheapest of those that may be best: channels = 8, with {price / 1e6:.2f} MFLOPs an image "
        f"({100 * price / dearest:.0f} % of the most expensive one)."
    )
    assert effects_sentences(result(THREE[0], THREE[2]), TERMS) == [first]  # one alone may be best
