"""sweeps.tracking.snapshot against a real sqlite store."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.tracking.artifacts import Artifacts
from sweeps.tracking.snapshot import (
    SLOTS,
    StoredCurves,
    StoredState,
    Witness,
    next_slot,
    place,
    read_curves,
    read_files,
    read_state,
)
from tests.damage import LONGEST_LINE, any_of, flipped, foreign, make_huge, survey, truncated
from tests.sweeps.tracking.trials import RECORD, Shelf, snapshot
from trainables.files import sealed, zipped
from trainables.history import History
from trainables.snapshot import CURVES, STATE, WEIGHTS

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

NOBODY = Witness()
OLD, NEW = snapshot(1)[STATE], snapshot(2)[STATE]


@pytest.fixture
def run_id(store):
    return store.client.create_run(store.experiment_id("study")).info.run_id


@pytest.fixture
def run(store, run_id):
    return Artifacts.of(store.client, run_id)


def test_slots_take_turns():
    assert SLOTS == ("state/a.zip", "state/b.zip")  # as every run has them
    assert [next_slot(slot) for slot in (None, *SLOTS)] == ["state/a.zip", "state/b.zip", "state/a.zip"]
    assert place(STATE, "state/b.zip") == "state/b.zip"
    assert place(WEIGHTS, "state/b.zip") == WEIGHTS


def test_the_state_with_more_records_is_the_newest_in_whichever_slot(store, run_id, run):
    assert read_state(run) == StoredState(b"", None, ())
    store.attach(run_id, "state", {"a.zip": NEW, "b.zip": OLD})
    assert read_state(run) == StoredState(NEW, "state/a.zip", ())
    store.attach(run_id, "state", {"a.zip": OLD, "b.zip": NEW})
    assert read_state(run) == StoredState(NEW, "state/b.zip", ())


def test_of_a_damaged_state_the_other_is_taken_and_both_damaged_are_none(store, run_id, run):
    store.attach(run_id, "state", {"a.zip": NEW[:-1], "b.zip": OLD})
    kept = read_state(run)
    assert (kept.content, kept.slot) == (OLD, "state/b.zip")
    [line] = kept.damaged
    assert line.startswith("state/a.zip is damaged (ValueError: not whole: its checksum differs")
    store.attach(run_id, "state", {"b.zip": b""})
    kept = read_state(run)
    assert (kept.content, kept.slot) == (b"", None)
    assert [line[:22] for line in kept.damaged] == ["state/a.zip is damaged", "state/b.zip is damaged"]


def test_what_else_lies_beside_the_states_is_none(store, run_id, run):
    store.attach(run_id, "state", {"seed-0.safetensors": b"x"})
    assert read_state(run) == StoredState(b"", None, ())


def curves(epochs, loss=1.0):
    return json.dumps(History({0: (replace(RECORD, train_loss=loss),) * epochs}).to_dict()).encode()


def test_curves_are_those_of_the_run_s_own_file(store, run_id, run):
    store.attach(run_id, "", {CURVES: curves(1)})
    store.attach(run_id, "state", {"a.zip": NEW})  # of a run under way the state may even be ahead
    assert read_curves(run, NOBODY) == StoredCurves(json.loads(curves(1)))
    assert read_curves(run, Witness(1.0)) == StoredCurves(json.loads(curves(1)))


@pytest.mark.parametrize(
    ("own", "wrong"),
    [
        (None, "its curves.json is missing"),
        (b"", "its curves.json is damaged (JSONDecodeError: Expecting value: line 1 column 1 (char 0))"),
        (b"{}", "its curves.json is damaged (UserError: these curves cannot be read: KeyError('seeds'))"),
        (b'{"seeds": {}}', "its curves.json holds no record"),
        (b'{"seeds": {"0": []}}', "its curves.json holds no record"),
        (curves(1, loss=2.0), "its curves.json does not fit its metrics"),  # the second record is missing
        (curves(2, loss=3.0), "its curves.json does not fit its metrics"),  # as many, but another run's
    ],
)
def test_of_curves_that_are_wrong_those_of_the_state_are_taken(store, run_id, run, own, wrong):
    if own is not None:
        store.attach(run_id, "", {CURVES: own})
    store.attach(run_id, "state", {"a.zip": OLD, "b.zip": NEW})
    found = read_curves(run, Witness(1.0))
    assert found == StoredCurves(json.loads(curves(2)), wrong, curves(2))


@pytest.mark.parametrize(
    ("own", "wrong", "taken"),
    [
        (curves(2), None, curves(2)),
        (None, "its curves.json is missing", curves(2)),
        (curves(1), "its curves.json does not fit its metrics", curves(2)),  # the second record is missing
        (curves(2, loss=3.0), "its curves.json does not fit its metrics", curves(2)),  # another run's
    ],
)
def test_metrics_beyond_the_end_hide_no_damage(store, run_id, run, own, wrong, taken):
    """Two more epochs were trained, lost before a snapshot had them, and not trained again."""
    if own is not None:
        store.attach(run_id, "", {CURVES: own})
    store.attach(run_id, "state", {"a.zip": OLD, "b.zip": NEW})
    witness = Witness(0.25, lambda step: {1: [1.0], 2: [4.0, 1.0], 3: [0.5], 4: [0.25]}[step])
    found = read_curves(run, witness)
    assert (found.form, found.wrong) == (json.loads(taken), wrong)
    assert found.from_state == (curves(2) if wrong else None)


def test_curves_that_no_metric_has_are_told_whatever_the_state_has(store, run_id, run):
    store.attach(run_id, "", {CURVES: curves(2)})
    store.attach(run_id, "state", {"a.zip": NEW})
    found = read_curves(run, Witness(0.25, lambda _: [0.5]))
    assert found.wrong == "its curves.json does not fit its metrics, and it has no state with them"


def test_curves_are_kept_where_the_state_has_fewer_records(store, run_id, run):
    store.attach(run_id, "", {CURVES: curves(2, loss=2.0)})
    store.attach(run_id, "state", {"a.zip": OLD})
    found = read_curves(run, Witness(1.0))
    wrong = "its curves.json does not fit its metrics, and it has no state with them"
    assert found == StoredCurves(json.loads(curves(2, loss=2.0)), wrong)


def test_a_state_that_is_another_run_s_is_not_taken(store, run_id, run):
    store.attach(run_id, "state", {"a.zip": NEW})
    assert read_curves(run, Witness(7.0)) == StoredCurves(
        None, "its curves.json is missing, and it has no state with them"
    )


def test_what_is_nowhere_is_none_and_it_is_said_why(store, run_id, run):
    assert read_curves(run, NOBODY) == StoredCurves(None, "its curves.json is missing, and it has no state with them")
    store.attach(run_id, "state", {"a.zip": NEW[:-1]})
    found = read_curves(run, NOBODY)
    assert found.form is None
    assert found.wrong.startswith("its curves.json is missing, and state/a.zip is damaged (ValueError: not whole: ")


def curves_and_shelf(tmp_path):
    """Return the form of a run's curves, its repository, and a function that reads it with other curves."""
    rows = tuple(replace(RECORD, train_loss=loss) for loss in (2.0, 1.0))
    form = json.loads(json.dumps(History({0: rows}).to_dict()))
    shelf = Shelf(tmp_path / "shelf", {"state/a.zip": zipped({CURVES: sealed(form)})})

    def read(content):
        shelf.files[CURVES] = content
        return read_curves(Artifacts(shelf), Witness(1.0))

    return form, read


def test_whatever_is_done_to_the_curves_they_are_whole_or_the_state_s(tmp_path):
    form, read = curves_and_shelf(tmp_path)
    whole, refused = survey((*flipped(sealed(form), 400), *truncated(sealed(form), 100), *foreign()), read)
    assert not refused
    assert all(found.form == form for found in whole.values())
    assert sum(found.from_state == sealed(form) and bool(found.wrong) for found in whole.values()) > 450


def test_curves_of_an_earlier_version_have_no_checksum_and_are_taken_where_form_and_metrics_fit(tmp_path):
    form, read = curves_and_shelf(tmp_path)
    whole, refused = survey(any_of(json.dumps(form).encode(), most=100), read)
    assert not refused
    mended = {what: found for what, found in whole.items() if found.from_state == sealed(form)}
    assert len(mended) > 400
    assert all(found.wrong and found.form == form for found in mended.values())
    # in the others a number was changed that nothing else tells
    others = whole.keys() - mended.keys()
    assert {what for what in others if History.from_dict(whole[what].form).count != 2} <= {"seeds/0/0 left out"}


def test_curves_that_are_huge_are_not_read(store, run_id, run):
    store.attach(run_id, "", {CURVES: curves(2)})
    store.attach(run_id, "state", {"a.zip": NEW})
    make_huge(Path(store.client.get_run(run_id).info.artifact_uri) / CURVES)
    found = read_curves(run, NOBODY)
    assert "curves.json has 1,099,511,627,776 bytes" in found.wrong
    assert found.from_state == curves(2)


def test_whatever_is_done_to_a_state_the_other_is_used_and_it_is_said(tmp_path):
    shelf = Shelf(tmp_path / "shelf", {"state/a.zip": OLD})

    def read(content):
        shelf.files["state/b.zip"] = content
        return read_state(Artifacts(shelf))

    whole, refused = survey((*truncated(NEW, 100), *flipped(NEW, 200), *foreign()), read)
    assert not refused
    assert {(found.content, found.slot) for found in whole.values()} == {(OLD, "state/a.zip")}
    assert all(len(found.damaged) == 1 and len(found.damaged[0]) < LONGEST_LINE for found in whole.values())


def test_a_state_that_is_huge_is_not_read(store, run_id, run):
    store.attach(run_id, "state", {"a.zip": OLD, "b.zip": NEW})
    make_huge(Path(store.client.get_run(run_id).info.artifact_uri) / "state" / "b.zip", NEW)
    found = read_state(run)
    assert (found.content, found.slot) == (OLD, "state/a.zip")
    assert "state/b.zip has 1,099,511,627,776 bytes" in found.damaged[0]


def test_states_that_are_linked_from_elsewhere_are_not_read(store, run_id, run, tmp_path):
    store.attach(run_id, "", {"x": b""})
    (tmp_path / "a.zip").write_bytes(NEW)
    (Path(store.client.get_run(run_id).info.artifact_uri) / "state").symlink_to(tmp_path)
    found = read_state(run)
    assert (found.content, found.slot) == (b"", None)
    assert "outside the artifact directory" in found.damaged[0]


def test_the_snapshot_is_what_is_no_finding(store, run_id, run):
    files = {CURVES: b"1", "per_class.json": b"2", WEIGHTS: b"3", "checkpoint/trial.json": b"4", "state/a.zip": b"5"}
    store.attach(run_id, "", files | {"analysis/x.csv": b"6", "error.txt": b"7"})
    assert read_files(run) == files
