import pytest

from sweeps.execution import bound
from sweeps.execution.bound import Bound


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(bound.time, "monotonic", lambda: now[0])
    return now


def test_without_a_limit_none_is_reached(clock):
    clock[0] = 1e9
    assert Bound(began=0.0, trained=10**9).reached(10**9) is None


def test_the_time_counts_from_the_beginning(clock):
    timed = Bound(seconds=5400, began=100.0)
    clock[0] = 100 + 5399
    assert timed.reached(4) is None
    clock[0] = 100 + 5400
    assert timed.reached(0) == "the time of --for (1 h 30) is over"


@pytest.mark.parametrize(
    ("trained", "under_way", "reached"), [(7, 2, False), (8, 2, True), (7, 3, True), (10, 0, True), (0, 9, False)]
)
def test_what_is_under_way_belongs_to_the_budget(trained, under_way, reached):
    spent = Bound(epochs=10, trained=trained)
    assert spent.reached(under_way) == ("the budget (10 epochs) is spent" if reached else None)


def test_a_score_is_enough_once_its_interval_lies_above():
    enough = Bound(score=0.9)
    for score, margin in ((0.95, 0.06), (0.95, 0.05), (0.89, 0.001), (0.99, None)):
        enough.take("lr: 0.1", score, margin)
        assert enough.reached(0) is None
    enough.take("lr: 0.2", 0.95, 0.04)
    assert enough.reached(0) == "lr: 0.2 has 95.0 [91.0, 99.0] % on validation, above the 90 % of --until"
    unlimited = Bound()
    unlimited.take("lr: 0.2", 0.95, 0.04)
    assert unlimited.reached(0) is None
