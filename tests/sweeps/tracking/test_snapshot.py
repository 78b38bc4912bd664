"""sweeps.tracking.snapshot against a real sqlite store."""

import pytest

from sweeps.tracking.snapshot import SLOTS, StoredState, contents, next_slot, place, read_curves, read_files, read_state
from tests.sweeps.tracking.trials import snapshot
from trainables.snapshot import CURVES, STATE, WEIGHTS

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

OLD, NEW = snapshot(1)[STATE], snapshot(2)[STATE]


@pytest.fixture
def run_id(store):
    return store.client.create_run(store.experiment_id("study")).info.run_id


def test_slots_take_turns():
    assert SLOTS == ("state/a.zip", "state/b.zip")  # as every run has them
    assert [next_slot(slot) for slot in (None, *SLOTS)] == ["state/a.zip", "state/b.zip", "state/a.zip"]
    assert place(STATE, "state/b.zip") == "state/b.zip"
    assert place(WEIGHTS, "state/b.zip") == WEIGHTS


def test_the_state_with_more_records_is_the_newest_in_whichever_slot(store, run_id):
    assert read_state(store.client, run_id) == StoredState(b"", None, ())
    store.attach(run_id, "state", {"a.zip": NEW, "b.zip": OLD})
    assert read_state(store.client, run_id) == StoredState(NEW, "state/a.zip", ())
    store.attach(run_id, "state", {"a.zip": OLD, "b.zip": NEW})
    assert read_state(store.client, run_id) == StoredState(NEW, "state/b.zip", ())


def test_of_a_damaged_state_the_other_is_taken_and_both_damaged_are_none(store, run_id):
    store.attach(run_id, "state", {"a.zip": NEW[:-1], "b.zip": OLD})
    kept = read_state(store.client, run_id)
    assert (kept.content, kept.slot) == (OLD, "state/b.zip")
    [line] = kept.damaged
    assert line.startswith("state/a.zip is damaged (ValueError: not whole: its checksum differs")
    store.attach(run_id, "state", {"b.zip": b""})
    kept = read_state(store.client, run_id)
    assert (kept.content, kept.slot) == (b"", None)
    assert [line[:22] for line in kept.damaged] == ["state/a.zip is damaged", "state/b.zip is damaged"]


def test_what_else_lies_beside_the_states_is_none(store, run_id):
    store.attach(run_id, "state", {"seed-0.safetensors": b"x"})
    assert read_state(store.client, run_id) == StoredState(b"", None, ())


def test_curves_are_read_from_the_run_and_where_they_are_damaged_from_its_state(store, run_id):
    assert read_curves(store.client, run_id) is None
    store.attach(run_id, "", {CURVES: b'{"seeds": {}}'})
    assert read_curves(store.client, run_id) == {"seeds": {}}
    store.attach(run_id, "", {CURVES: b'{"see'})
    assert read_curves(store.client, run_id) is None
    store.attach(run_id, "state", {"a.zip": NEW})
    assert len(read_curves(store.client, run_id)["seeds"]["0"]) == 2


def test_the_snapshot_is_what_is_no_finding(store, run_id):
    files = {CURVES: b"1", "per_class.json": b"2", WEIGHTS: b"3", "checkpoint/trial.json": b"4", "state/a.zip": b"5"}
    store.attach(run_id, "", files | {"analysis/x.csv": b"6", "error.txt": b"7"})
    assert read_files(store.client, run_id) == files


def test_contents_are_files_alone_by_their_relative_path(tmp_path):
    (tmp_path / "deep" / "empty").mkdir(parents=True)
    (tmp_path / "deep" / "x").write_bytes(b"1")
    assert contents(tmp_path) == {"deep/x": b"1"}
