"""Verdicts on a study's claims, from made-up trials whose order is known."""

from dataclasses import replace

import numpy as np
import pytest

from sweeps.decisions.claims import Ruling
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.status import Status
from sweeps.reporting import verdicts as verdicts_module
from sweeps.reporting.verdicts import TITLE, claims_section, in_short, verdicts
from sweeps.study import Claim, Stage
from tests.sweeps.outcomes import draws, history, marked
from trainables.config import CNN, Trial

BY = Yardstick("accuracy", 2000)
STAGE = Stage("depth", {"model.conv_layers": (1, 2, 3)})
CELLS = STAGE.cells(Trial(model=CNN(channels=4, padding=1)))


def trial(at: int, *test: np.ndarray, status=Status.DONE) -> Outcome:
    """Return a trial whose validation says nothing: claims are about the test set."""
    even = np.ones(2000, bool)
    found = Outcome(CELLS[at], f"key-{at}", status, marked("x", *(even for _ in test)).history)
    parts = [marked("x", even, test=right).history for right in test]
    records = {seed: each.records[0] for seed, each in enumerate(parts)}
    return replace(found, history=replace(found.history, records=records, marks=dict(enumerate(_marks(parts)))))


def _marks(parts):
    return [each.marks[0] for each in parts]


def result(*outcomes) -> StageResult:
    return StageResult(STAGE, outcomes)


THREE = result(*(trial(at, *draws(score, 3, number=at)) for at, score in enumerate((0.5, 0.70, 0.71))))
BEST = Claim("depth", 3, source="R9.1", delta=2)


def ruling(claim, *results):
    [(_, verdict)] = verdicts([claim], results, BY)
    return verdict


def test_claims_are_judged_by_the_test_set():
    assert ruling(Claim("depth", 3, (1,), source="R9.1"), THREE).ruling == Ruling.HOLDS
    assert ruling(Claim("depth", 1, (3,), source="R9.1"), THREE).ruling == Ruling.REFUTED
    assert ruling(BEST, THREE).ruling == Ruling.UNDECIDED
    assert ruling(Claim("depth", 1, source="R9.1"), THREE).ruling == Ruling.REFUTED


def test_a_stage_s_trials_are_compared_once_however_many_claims_it_has(monkeypatch):
    compared = []
    real = verdicts_module.compare
    monkeypatch.setattr(verdicts_module, "compare", lambda *given: compared.append(1) or real(*given))
    claims = [BEST, Claim("depth", 3, (1,), source="R9.1"), Claim("width", 3, (1,), source="R9.1")]
    assert [each.ruling for _, each in verdicts(claims, [THREE], BY)] == [
        *(Ruling.UNDECIDED, Ruling.HOLDS, Ruling.NOT_TESTED),
    ]
    assert len(compared) == 1


def test_what_was_stopped_failed_or_never_run_tests_nothing():
    outcomes = THREE.outcomes
    stopped = replace(outcomes[0], status=Status.CENSORED)
    failed = replace(outcomes[0], status=Status.FAILED)
    dropped = replace(outcomes[0], status=Status.DROPPED)
    old = Outcome(CELLS[0], "old", Status.DONE, history([0.5], [0.6]))
    claim = Claim("depth", 3, (1,), source="R9.1")
    for missing, why in (
        (stopped, "conv_layers = 1 was stopped at epoch 1"),
        (failed, "conv_layers = 1 failed"),
        (dropped, "conv_layers = 1 was dropped"),
        (old, "conv_layers = 1 has no record of what it made of each image"),
    ):
        verdict = ruling(claim, result(missing, *outcomes[1:]))
        assert (verdict.ruling, verdict.why) == (Ruling.NOT_TESTED, why)
    assert ruling(claim).ruling == Ruling.NOT_TESTED  # its stage is not decided


def test_one_seed_borrows_from_the_other_stages_trials():
    single = result(*(trial(at, *draws(score, 1, number=at + 5)) for at, score in enumerate((0.4, 0.6, 0.8))))
    assert ruling(Claim("depth", 3, (1,), source="R9.1"), single).ruling == Ruling.UNDECIDED
    other = StageResult(
        replace(STAGE, name="other"), tuple(replace(each, key=f"o{each.key}") for each in THREE.outcomes)
    )
    assert ruling(Claim("depth", 3, (1,), source="R9.1"), single, other).ruling == Ruling.HOLDS


def test_the_section_has_a_row_for_each_claim_and_the_rule():
    claims = [BEST, Claim("depth", 3, (1,), source="R9.2", note="on validation")]
    section = claims_section(claims, [THREE], BY)
    assert section.title == TITLE
    assert section.text[0].startswith("Judged by test accuracy at the epoch chosen on validation; brackets hold ")
    assert section.text[1] == "Of 2 claims: 1 holds, 1 undecided."
    [table] = section.tables
    assert [row[:4] for row in table.rows] == [
        ("conv_layers = 3 is the best by 2 points", "R9.1", 2, "undecided"),
        ("conv_layers = 3 is better than conv_layers = 1", "R9.2", None, "holds"),
    ]
    assert [column.name for column in table.columns] == ["claim", "source", "published, points", "verdict", "why"]
    whys = [verdict.why for _, verdict in verdicts(claims, [THREE], BY)]
    assert [row[4] for row in table.rows] == [whys[0], f"{whys[1]} (on validation)"]
    assert claims_section([], [THREE], BY) is None


@pytest.mark.parametrize("claims", [[BEST] * 3])
def test_in_short_only_rulings_that_were_made_are_counted(claims):
    assert in_short(verdicts(claims, [THREE], BY)) == "Of 3 claims: 3 undecided."
