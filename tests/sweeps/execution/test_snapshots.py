"""When a snapshot is due: schedules worked out by hand, on a clock that stands still unless it is moved."""

import pytest

from sweeps.execution import snapshots
from sweeps.execution.snapshots import Costs, Snapshots

SIZE = 1_000_000  # bytes; taken to cost 1 + 4 = 5 s below


@pytest.fixture(autouse=True)
def assumed(monkeypatch):
    monkeypatch.setattr(snapshots, "FIXED", 1.0)
    monkeypatch.setattr(snapshots, "PER_BYTE", 4e-6)


class Trial:
    """A trial whose epochs, and whose snapshots, take as long as is said."""

    def __init__(self, costs=None, size=SIZE):
        self.now, self.costs = 0.0, costs or Costs()
        self.snapshots = Snapshots(lambda: size, self.costs, lambda: self.now)

    def run(self, epochs, seconds=10.0, pack=3.0, wait=1.0):
        """Return the epochs, from 1, after which there was a snapshot."""
        taken = []
        for epoch in range(1, epochs + 1):
            with self.snapshots.training():
                self.now += seconds
            waited = bool(taken and taken[-1] == epoch - 1)
            with self.snapshots.waiting():
                self.now += wait * waited
            if self.snapshots.due:
                taken.append(epoch)
                with self.snapshots.taking():
                    self.now += pack
            self.now += 100.0  # between two steps the driver may take its time: that is no training
        return taken


def test_the_first_one_comes_after_twenty_times_what_it_is_taken_to_cost_and_then_what_it_did():
    # 20 x 5 s are ten epochs of 10 s; one took 3 + 1 = 4 s: eight epochs
    trial = Trial()
    assert trial.run(30) == [10, 18, 26]
    assert trial.costs.factor == pytest.approx(4 / 5)


def test_they_take_no_more_than_a_twentieth_of_training():
    trial = Trial()
    taken = trial.run(1000)
    assert len(taken) * 4.0 <= 1000 * 10.0 / 20
    assert len(taken) > 110  # nor much less


def test_one_that_costs_nothing_beside_an_epoch_comes_after_each():
    # an epoch of 100 s is 20 x 5 s; then one takes 0.4 s
    assert Trial().run(4, seconds=100.0, pack=0.3, wait=0.1) == [1, 2, 3, 4]


def test_a_short_trial_of_a_large_network_has_none_along_the_way():
    assert Trial(size=100 * SIZE).run(15) == []  # taken to cost 401 s


def test_what_was_learned_from_a_trial_holds_for_the_next_of_whatever_size():
    costs = Costs()
    Trial(costs).run(19)  # 4 s in place of 5
    # 0.8 x (1 + 8) s = 7.2 s: 144 s of training
    assert costs.expected(2 * SIZE) == pytest.approx(7.2)
    assert Trial(costs, 2 * SIZE).run(15) == [15]


def test_one_that_was_slow_for_once_does_not_put_off_the_next_for_long():
    trial = Trial()
    assert trial.run(11, wait=1000.0) == [10]
    assert trial.costs.factor == 2.0  # and not 1003 / 5
    # 20 x 10 s since epoch 10, one of which has passed; then it took 4 s again
    assert trial.run(40) == [19, 27, 35]


def test_a_machine_that_is_slow_for_good_is_known_after_a_few():
    trial = Trial()
    trial.run(400, pack=35.0, wait=5.0)
    assert trial.costs.factor == pytest.approx(40 / 5)


def test_what_is_waited_for_without_a_snapshot_is_not_its_cost():
    trial = Trial()
    trial.run(11)
    with trial.snapshots.waiting():
        trial.now += 1000.0
    assert trial.costs.factor == pytest.approx(4 / 5)


def test_one_is_outstanding_from_its_taking_until_it_has_been_waited_for():
    snapshots = Trial().snapshots
    assert not snapshots.outstanding
    with snapshots.taking():
        pass
    assert snapshots.outstanding
    with snapshots.waiting():
        assert snapshots.outstanding
    assert not snapshots.outstanding
