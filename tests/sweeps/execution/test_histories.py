from dataclasses import replace

import numpy as np

from sweeps.execution.histories import Histories
from sweeps.execution.messages import NewRecords, Progress
from tests.sweeps.outcomes import history, record
from trainables.marks import Marks, Right


def progress(**records) -> Progress:
    return Progress(1, 0.5, False, (), {int(seed[1:]): new for seed, new in records.items()})


def test_records_are_put_together_epoch_by_epoch_and_seed_by_seed():
    histories = Histories()
    histories.begin("key", None)
    histories.add("key", progress(s0=NewRecords(0, (record(0.1),)), s1=NewRecords(0, (record(0.2),))))
    newest = histories.add("key", progress(s0=NewRecords(1, (record(0.3),)), s1=NewRecords(1, (record(0.4),))))
    assert newest == record(0.3)  # of the first replicate
    assert histories.of("key") == history([0.1, 0.3], [0.2, 0.4])


def test_it_goes_on_from_what_the_store_has_also_with_a_seed_more():
    histories = Histories()
    histories.begin("key", history([0.1, 0.2]))
    histories.add("key", progress(s0=NewRecords(2, ()), s1=NewRecords(0, (record(0.5),))))
    assert histories.of("key") == history([0.1, 0.2], [0.5])


def test_what_a_worker_reports_again_after_a_restart_replaces_what_was_there():
    histories = Histories()
    histories.begin("key", history([0.1]))
    histories.add("key", progress(s0=NewRecords(1, (record(0.2), record(0.3)))))
    histories.begin("key", history([0.1]))  # started again, it keeps what it has
    assert histories.of("key") == history([0.1, 0.2, 0.3])
    histories.add("key", progress(s0=NewRecords(0, (record(0.1), record(0.25)))))
    assert histories.of("key") == history([0.1, 0.25])  # the third epoch was lost with the process


def test_marks_are_the_newest_of_each_seed():
    first, second, other = (Marks(epoch, Right.of(np.ones(2, bool)), Right.of(np.ones(1, bool))) for epoch in (1, 2, 1))
    histories = Histories()
    histories.begin("key", replace(history([0.1], [0.1]), marks={0: first, 1: other}))
    histories.add("key", replace(progress(s0=NewRecords(1, (record(0.2),))), marks={0: second}))
    assert histories.of("key").marks == {0: second, 1: other}
    assert histories.of("other").marks == {}


def test_a_trial_that_was_never_started_has_no_records():
    histories = Histories()
    histories.begin("key", None)
    assert histories.keys() == {"key"}
    assert histories.of("other").records == {}


def test_what_each_replicate_has_left_goes_by_the_newest_epoch():
    histories = Histories()
    histories.begin("key", None)
    assert histories.seconds_left("key", (0, 1), 5) == []
    assert histories.seconds_left("other", (0, 1), 5) == []
    slow = replace(record(0.2), seconds=3.0)
    histories.add("key", progress(s0=NewRecords(0, (record(0.1), slow)), s1=NewRecords(0, (record(0.1), record(0.1)))))
    assert histories.seconds_left("key", (0, 1), 5) == [9.0, 9.0]
    assert histories.seconds_left("key", (0, 1), 2) == []  # all done
    assert histories.seconds_left("key", (0, 1, 2), 2) == [6.0]  # the third has yet to begin
