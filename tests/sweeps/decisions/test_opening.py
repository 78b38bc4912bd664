"""Where stages start, by the results so far. What a recheck starts with is in test_recheck.py."""

from sweeps.decisions.opening import Opening, opening
from sweeps.decisions.records import StageResult
from sweeps.decisions.stages import Recheck
from sweeps.study import Stage, Study
from tests.sweeps.outcomes import outcome, terms
from trainables.config import CNN, Trial

BASE = Trial(model=CNN(conv_layers=2, channels=(4, 8)))
OWN = BASE.with_values({"model.fc_layers": 1})
DEPTH, WIDTH, STRIDE = (
    Stage("depth", {"model.conv_layers": (1, 2)}),
    Stage("width", {"model.channels": ((4, 8), (8, 16))}),
    Stage("stride", {"model.stride": (1, 2)}, start=OWN),
)
STUDY = Study("s", BASE, (DEPTH, WIDTH, STRIDE), recheck=True)
RECHECK = STUDY.all_stages[-1]
TERMS = terms()


def ended(stage, *outcomes):
    return StageResult(stage, outcomes, TERMS.choose(outcomes, before=None))


WON = ended(DEPTH, outcome("1", [0.5]), outcome("2", [0.6]))
FAILED = [ended(stage, outcome("1", status="failed")) for stage in (DEPTH, WIDTH, STRIDE)]


def opened(stage, *results):
    return opening(stage, STUDY, {result.stage.name: result for result in results}, TERMS)


def test_a_stage_without_a_parent_is_open_from_the_start():
    assert opened(DEPTH) == Opening(DEPTH, BASE)
    assert opened(STRIDE) == Opening(STRIDE, OWN)


def test_others_wait_for_the_winner_of_their_parent_and_are_skipped_where_it_has_none():
    assert opened(WIDTH) is None
    assert opened(WIDTH, WON) == Opening(WIDTH, WON.winner.outcome.cell.trial, WON)
    assert opened(WIDTH, FAILED[0]) == StageResult(WIDTH, skipped="stage depth has no winner to start from")


def test_a_recheck_waits_for_all_others_and_is_skipped_where_its_lineage_has_no_winner():
    assert opened(RECHECK, WON, FAILED[1]) is None
    found = opened(RECHECK, WON, *FAILED[1:])
    assert (found.start, found.before) == (WON.winner.outcome.cell.trial, WON)
    assert isinstance(found.stage, Recheck)
    assert found.stage.winner == "depth 2"
    why = "no stage that descends from the baseline has a winner"
    assert opened(RECHECK, *FAILED) == StageResult(RECHECK, skipped=why)
