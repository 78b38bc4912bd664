"""Which trials under way get helpers, without Ray."""

from types import SimpleNamespace

from sweeps.decisions.records import Task
from sweeps.decisions.stages import Cell
from sweeps.execution.helpers import WORTH, Helpers
from sweeps.execution.histories import Histories
from sweeps.execution.messages import NewRecords, Progress
from tests.sweeps.outcomes import record
from trainables.config import Training, Trial

EPOCHS = 20  # of a second each


class Desk:
    def __init__(self):
        self.closed = []

    def close(self, *boxes):
        self.closed += boxes


class Bench:
    """The helpers of some trials, with the desks that were started and the jobs that each trial's worker was sent."""

    def __init__(self):
        self.histories, self.desks, self.sent = Histories(), [], {}
        self.helpers = Helpers(self.histories, self.desk)

    def desk(self):
        self.desks.append(Desk())
        return self.desks[-1]

    def begin(self, key, seeds=(0, 1, 2), done=0):
        self.sent[key] = []
        task = Task("s", Cell(key, (key,), Trial(training=Training(epochs=EPOCHS))), key, None, seeds)
        self.helpers.begin(task, SimpleNamespace(join=SimpleNamespace(remote=self.sent[key].append)))
        self.histories.begin(key, None)
        if done:
            records = {seed: NewRecords(0, (record(0.5),) * done) for seed in seeds}
            self.histories.add(key, Progress(done, 0.5, done == EPOCHS, (), records))


def test_a_trial_gets_helpers_until_each_has_one_replicate():
    bench = Bench()
    bench.begin("a", done=2)
    for often in (1, 2):
        assert bench.helpers.wanted()
        job = bench.helpers.send("cpu")
        assert bench.sent["a"][-1] is job
        assert bench.helpers.names("a") == [each.name for each in bench.sent["a"]]
        assert len(bench.helpers.names("a")) == often
    assert not bench.helpers.wanted()
    assert bench.helpers.send("cpu") is None
    assert len(bench.desks) == 1
    assert len({each.inbox for each in bench.sent["a"]} | {each.outbox for each in bench.sent["a"]}) == 4


def test_the_one_with_the_longest_time_left_for_each_worker_comes_first():
    bench = Bench()
    bench.begin("short", done=10)  # 30 s
    bench.begin("long", done=1)  # 57 s, with one helper 28.5 s
    for expected in ({"short": 0, "long": 1}, {"short": 1, "long": 1}, {"short": 1, "long": 2}):
        bench.helpers.send("cpu")
        assert {key: len(jobs) for key, jobs in bench.sent.items()} == expected


def test_nobody_helps_where_it_is_of_no_use():
    bench = Bench()
    assert not bench.helpers.wanted()
    bench.begin("not measured")
    bench.begin("one seed", seeds=(0,), done=1)
    bench.begin("nearly done", done=EPOCHS - 3)  # 9 s
    bench.begin("done", done=EPOCHS)
    assert not bench.helpers.wanted()
    assert bench.helpers.send("cpu") is None
    bench.begin("worth it", done=EPOCHS - 4)
    assert 3 * 3 < WORTH < 3 * 4
    assert bench.helpers.wanted()


def test_with_the_trial_its_helpers_are_dismissed():
    bench = Bench()
    bench.begin("a", done=1)
    job = bench.helpers.send("cpu")
    bench.helpers.dismiss("a")
    bench.helpers.dismiss("a")
    assert bench.desks[0].closed == [job.inbox, job.outbox]
    assert bench.helpers.names("a") == []
    assert not bench.helpers.lost(job)  # nobody waits for it any more
    bench.begin("b", done=1)
    bench.helpers.send("cpu")
    assert len(bench.desks) == 1


def test_a_trial_that_lost_a_helper_goes_on_without_any_for_good():
    bench = Bench()
    bench.begin("a", done=1)
    first, second = bench.helpers.send("cpu"), bench.helpers.send("cpu")
    assert bench.helpers.lost(first)
    assert not bench.helpers.lost(second)
    assert set(bench.desks[0].closed) == {first.inbox, first.outbox, second.inbox, second.outbox}
    assert not bench.helpers.wanted()
    bench.begin("a", done=1)  # its own worker was lost too, and another one has it
    assert not bench.helpers.wanted()
    bench.begin("b", done=1)
    bench.helpers.send("cpu")
    assert len(bench.desks) == 2  # the first one may be what was lost
