import math

import pytest

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from sweeps.tracking.summary import summary, withdrawn
from tests.sweeps.outcomes import record
from trainables.config import Trial
from trainables.history import History


def outcome(status: Status, *replicates: list[tuple[float, float]]) -> Outcome:
    """Return a trial with these validation and test scores, epoch by epoch, for seeds 0, 1, …."""
    records = {seed: tuple(record(*scores) for scores in rows) for seed, rows in enumerate(replicates)}
    return Outcome(Cell("2", (2,), Trial()), "k", status, History(records))


ONE = [(0.2, 0.3), (0.9, 0.4), (0.5, 0.8), (0.6, 0.7)]  # centred means on validation: 0.43, 0.53, 0.67, 0.57
OTHER = [(0.1, 0.2), (0.4, 0.4), (0.5, 0.5), (0.6, 0.6)]  # 0.2, 0.33, 0.5, 0.57


def test_best_and_chosen_scores_are_means_over_seeds_with_their_spread():
    found = summary(outcome(Status.DONE, ONE, OTHER), "accuracy")
    root = math.sqrt(2)
    assert found == pytest.approx(
        {
            "best_val_accuracy": (0.9 + 0.6) / 2,
            "best_val_accuracy_sd": 0.3 / root,
            "best_test_accuracy": (0.8 + 0.6) / 2,
            "best_test_accuracy_sd": 0.2 / root,
            "best_test_epoch": 3.5,
            "chosen_val_accuracy": (0.5 + 0.6) / 2,
            "chosen_val_accuracy_sd": 0.1 / root,
            "chosen_test_accuracy": (0.8 + 0.6) / 2,
            "chosen_test_accuracy_sd": 0.2 / root,
            "chosen_epoch": 3.5,
        }
    )


def test_a_single_seed_has_no_spread_and_scores_go_by_their_metric():
    found = summary(outcome(Status.DONE, ONE), "mAP")
    assert found == {
        "best_val_mAP": 0.9,
        "best_test_mAP": 0.8,
        "best_test_epoch": 3,
        "chosen_val_mAP": 0.5,
        "chosen_test_mAP": 0.8,
        "chosen_epoch": 3,
    }
    assert {type(value) for value in found.values()} == {float}


@pytest.mark.parametrize("status", [Status.CENSORED, Status.FAILED, Status.INTERRUPTED])
def test_what_did_not_run_in_full_is_never_ranked(status):
    assert summary(outcome(status, ONE), "accuracy") == {}


def test_only_summaries_are_withdrawn():
    sent = {("chosen_epoch", 0): (3.0, 1), ("best_val_mAP", 0): (0.5, 1), ("val_mAP", 0): (0.5, 1), ("lr", 3): (0.1, 1)}
    assert withdrawn({"best_val_mAP": 0.6}, sent).keys() == {"chosen_epoch"}
    assert all(map(math.isnan, withdrawn({}, sent).values()))
