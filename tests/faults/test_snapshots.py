"""What breaks where snapshots are so dear that most epochs have none."""

import csv
import os
import signal

import pytest

from sweeps.tracking.artifacts import Artifacts
from sweeps.tracking.snapshot import read_state
from sweeps.tracking.store import Store
from tests.faults.site import FAULT, TRAINING, TRIALS, Site, until
from trainables.snapshot import records

pytestmark = FAULT

# Every fourth epoch of a worker has one. The class is the script's own, so that Ray carries it to the workers.
DEAR = """
import itertools
import sweeps.execution.scheduler
import sweeps.execution.worker


class Dear(sweeps.execution.worker.Worker):
    def setup(self, *given, **named):
        from sweeps.execution.snapshots import Snapshots

        due = itertools.cycle((False, False, False, True))
        Snapshots.due = property(lambda _: next(due))
        super().setup(*given, **named)


sweeps.execution.scheduler.Worker = Dear
"""

# Every trial stops after epoch 6, of which there is no snapshot; the first worker to hear it is killed.
STOPPED = """
import os
import pathlib
import signal
import sweeps.execution.early_stopping


def wind_up(self, killed=pathlib.Path(__file__).with_name("killed")):
    if killed.exists():
        sweeps.execution.worker.Worker.wind_up(self)
    else:
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)


Dear.wind_up = wind_up
sweeps.execution.early_stopping.EarlyStopping._goes_on = lambda self, order, news, result: news.epoch != 6
"""


@pytest.fixture
def dear(tmp_path) -> Site:
    return Site(tmp_path, before=DEAR)


def in_state(site: Site) -> dict[str, tuple[int, int]]:
    """Return by key how many records each run's curves and its newest state have."""
    store = Store(site.uri)
    found = {}
    for key, trial in store.trials(store.trials(None)).items():
        state = read_state(Artifacts.of(store.client, trial.run_id)).content
        curves = sum(map(len, trial.curves["seeds"].values())) if trial.curves else 0
        found[key] = curves, records(state) if state else 0
    return found


def test_a_trial_whose_process_is_killed_goes_on_from_its_last_snapshot(dear, undisturbed):
    process = dear.start()
    until(lambda: dear.trained() > 9)
    os.kill(dear.processes(process, TRAINING)[0], signal.SIGKILL)
    status, said = dear.end(process)
    assert status == 0, said
    assert "its process was lost; it starts again from its last snapshot (1 of at most 2)" in said
    assert dear.outcome() == undisturbed
    assert set(in_state(dear).values()) == {(12, 12)}


def test_a_driver_that_was_killed_goes_on_from_the_last_snapshots(dear, undisturbed):
    process = dear.start()
    until(lambda: dear.trained() > 9)
    process.kill()
    dear.end(process)
    lines = sum(path.read_text().count("\n") for path in dear.spool.glob("*/metrics.jsonl"))
    status, said = dear.run()
    assert status == 0, said
    assert dear.outcome() == undisturbed
    assert 0 < lines < 12 * TRIALS


def test_what_is_stopped_early_has_all_that_it_trained_also_where_its_process_is_killed_as_it_winds_up(
    tmp_path, undisturbed
):
    site = Site(tmp_path, before=DEAR + STOPPED)
    status, said = site.run("--early-stopping")
    assert status == 0, said
    assert said.count("it starts again from its last snapshot (1 of at most 2)") == 1
    assert {row["status"] for row in csv.DictReader((site.results / "lr.csv").read_text().splitlines())} == {"censored"}
    assert list(in_state(site).values()) == [(6, 6)] * 3
    site.script.write_text(site.script.read_text().replace(STOPPED, ""))
    assert site.run()[0] == 0
    assert site.outcome() == undisturbed
