"""sweeps.tracking.lease against a real sqlite store."""

import json
import signal
import subprocess
import time
from dataclasses import asdict

import pytest

from sweeps import interruption
from sweeps.tracking import lease
from sweeps.tracking.lease import TAG, Claim, Lease, claim
from sweeps.tracking.store import Store
from tests.damage import any_of, survey
from trainables.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return Store(f"sqlite:///{tmp_path_factory.mktemp('lease') / 'mlflow.db'}")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    for name, seconds in {"MOVES_EVERY": 0.05, "WATCHED_FOR": 1.0, "LOOKS_EVERY": 0.02, "FIRST_LOOK": 0.05}.items():
        monkeypatch.setattr(lease, name, seconds)


@pytest.fixture
def said():
    return []


def tag(store):
    return json.loads(store.client.get_experiment(store.experiment_id("study")).tags.get(TAG) or "null")


def put(store, **changes):
    other = {
        "id": "other",
        "holder": "process 7 on elsewhere, since 2026-01-01 00:00:00",
        "place": "elsewhere",
        "pid": 7,
        "count": 3,
    }
    store.client.set_experiment_tag(store.experiment_id("study"), TAG, json.dumps(other | changes))


def test_while_a_study_is_run_a_second_command_is_told_by_whom(store, said):
    with Lease(store, "study", said.append).held():
        holder = tag(store)["holder"]
        with pytest.raises(UserError, match=holder), Lease(store, "study", said.append).held():
            pass
    assert tag(store) is None  # given back
    assert said == [f"this study was being run by {holder}; watching for 1 s whether it still is"]


def test_a_holder_that_moves_no_more_is_followed(store, said):
    put(store)
    began = time.monotonic()
    with Lease(store, "study", said.append).held():
        assert time.monotonic() - began >= 1.0
        assert tag(store)["id"] != "other"


def test_a_process_of_this_machine_that_has_ended_is_followed_at_once(store, said):
    ended = subprocess.Popen(["true"])
    ended.wait()
    put(store, place=lease._place(), pid=ended.pid)
    with Lease(store, "study", said.append).held():
        assert said == []


def test_of_two_that_start_at_the_same_moment_one_gives_way(store, said):
    def study():
        until = time.monotonic() + 20
        while time.monotonic() < until:
            put(store)  # again and again: a holder may just have looked, and writes its own
            time.sleep(0.1)

    began, told = time.monotonic(), []
    lease = Lease(store, "study", said.append)
    lease.when_lost = lambda: told.append(lease.lost)
    assert not lease.lost
    with pytest.raises(UserError, match="process 7 on elsewhere"), lease.held():
        study()
    assert time.monotonic() - began < 15
    assert told == [True]  # by the time that the study is stopped
    assert tag(store)["id"] == "other"
    store.client.delete_experiment_tag(store.experiment_id("study"), TAG)


CLAIM = Claim("other", "process 7 on elsewhere, since 2026-01-01 00:00:00", "elsewhere", 7, 3)


def test_whatever_is_done_to_the_tag_it_is_a_claim():
    text = json.dumps(asdict(CLAIM))
    assert claim(text) == CLAIM
    whole, refused = survey(any_of(text.encode()), lambda damaged: claim(damaged.decode(errors="surrogateescape")))
    assert not refused
    unknown = [read for read in whole.values() if read.holder == lease.UNKNOWN]
    assert len(unknown) > 300
    assert len({read.id for read in unknown}) > 300  # each change is seen as one
    assert all(read.holder.isprintable() and len(read.holder) <= 200 for read in whole.values())


def test_a_damaged_claim_that_does_not_change_is_followed_and_one_that_does_is_respected(store, said):
    experiment = store.experiment_id("study")
    store.client.set_experiment_tag(experiment, TAG, '{"id": "other"')
    with Lease(store, "study", said.append).held():
        assert tag(store)["id"] != "other"
    unknown = "a command that cannot be told from its claim, which is damaged"
    assert said == [f"this study was being run by {unknown}; watching for 1 s whether it still is"]
    store.client.set_experiment_tag(experiment, TAG, '{"id": "other"')

    def renewed(line):
        said.append(line)
        store.client.set_experiment_tag(experiment, TAG, '{"id": "othes"')

    with (
        pytest.raises(UserError, match=f"^this study is being run by {unknown}; "),
        Lease(store, "study", renewed).held(),
    ):
        pass
    store.client.delete_experiment_tag(experiment, TAG)


def test_in_a_command_too_where_trials_train(store, said):
    def study():
        until = time.monotonic() + 20
        while time.monotonic() < until:
            put(store)  # again and again, likewise
            time.sleep(0.1)
            interruption.check()  # between two steps of Tune

    interruption.listen()
    command = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(UserError, match="process 7 on elsewhere"),
        interruption.tidy(),
        Lease(store, "study", said.append).held(),
        interruption.held(),
    ):
        study()
    assert signal.getsignal(signal.SIGTERM) == command
    store.client.delete_experiment_tag(store.experiment_id("study"), TAG)


def test_others_see_whether_it_is_held(store, said):
    number = store.experiment_id("study")
    assert not lease.is_held(store, number)
    with Lease(store, "study", said.append).held():
        assert lease.is_held(store, number)
    put(store)  # on another machine nobody can see whether its process lives
    assert lease.is_held(store, number)
    put(store, place=lease._place(), pid=2**22)
    assert not lease.is_held(store, number)
    store.client.delete_experiment_tag(number, TAG)
