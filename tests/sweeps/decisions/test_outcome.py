import numpy as np
import pytest

from sweeps.decisions.outcome import Outcome, diverged
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from tests.sweeps.outcomes import record
from trainables.config import Trial
from trainables.history import History

TWO = History(
    {
        0: (record(0.5, test=0.1, loss=3.0), record(0.7, test=0.9, loss=2.0), record(0.6, test=0.2, loss=1.0)),
        1: (record(0.8, test=0.3, loss=6.0), record(0.1, test=0.4, loss=5.0), record(0.2, test=0.5, loss=4.0)),
    }
)
FOUND = Outcome(Cell("a", (1,), Trial()), "key", Status.DONE, TWO)


@pytest.mark.parametrize(
    ("metric", "values"), [("val_score", [0.6, 0.8]), ("test_score", [0.2, 0.3]), ("train_loss", [1.0, 6.0])]
)
def test_any_metric_is_taken_at_each_replicates_chosen_epoch(metric, values):
    np.testing.assert_array_equal(FOUND.chosen(metric), values)


def test_the_score_is_the_mean_of_the_validation_scores_there():
    assert FOUND.score == pytest.approx(0.7)


def test_an_outcome_has_no_reason_and_no_restarts_unless_given():
    assert (FOUND.reason, FOUND.restarts) == (None, ())


def test_the_same_outcome_as_another_stages_cell():
    cell = Cell("b", (2,), Trial())
    assert FOUND.labelled(cell) == Outcome(cell, "key", Status.DONE, TWO)
    assert FOUND.cell.label == "a"


@pytest.mark.parametrize(
    ("reason", "answer"),
    [("Diverged: the loss became nan", True), ("it broke: Diverged: no", False), ("", False), (None, False)],
)
def test_only_what_says_so_first_diverged(reason, answer):
    assert diverged(reason) is answer
    assert Outcome(FOUND.cell, "key", Status.FAILED, TWO, reason).diverged is answer
