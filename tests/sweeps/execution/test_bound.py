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
