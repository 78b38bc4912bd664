"""sweeps.tracking.store against a real sqlite store, and against one that does not answer. No Ray, no server."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from sweeps.decisions.records import Drawn
from sweeps.decisions.status import Status
from sweeps.tracking.store import TAG_LENGTH, Store, _drawn, lost
from tests.damage import any_of, survey
from tests.sweeps.tracking.trials import KEY, NOBODY, OTHER, RECORD, snapshot
from trainables.errors import UserError
from trainables.history import History
from trainables.snapshot import STATE

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_trials_prefers_the_most_complete_run_and_skips_what_is_not_ours(store: Store) -> None:
    one, two = store.experiment_id("one"), store.experiment_id("two")
    done = store.client.create_run(one, tags={"key": KEY, "status": "done"})
    store.client.create_run(two, tags={"key": KEY, "status": "running"})
    store.client.create_run(two, tags={"key": "42"})
    deleted = store.client.create_run(two, tags={"key": OTHER, "status": "done"})
    store.client.delete_run(deleted.info.run_id)
    assert [(key, trial.run_id, trial.experiment) for key, trial in store.trials(None).items()] == [
        (KEY, done.info.run_id, "one")
    ]
    many = [KEY, OTHER, *(f"{number:064x}" for number in range(30))]
    assert list(store.trials(many)) == list(store.trials([KEY, OTHER])) == [KEY]


def test_of_a_trial_that_ended_without_curves_it_is_said_what_is_missing(store: Store) -> None:
    for key, status in ((KEY, "done"), (OTHER, "running")):
        run_id = create(store, key, status)
        store.client.log_text(run_id, '{"val_acc', "curves.json")
    ended, running = store.trials([KEY])[KEY], store.trials([OTHER])[OTHER]
    assert (ended.curves, running.curves, running.lost) == (None, None, None)
    assert str(ended.lost).startswith("its curves.json is damaged (JSONDecodeError: ")
    assert str(ended.lost).endswith("), and it has no state with them")
    assert store.trials(None)[KEY].lost is None  # not asked for
    assert lost([running, ended, replace(ended, name="lr=0.1", lost="x", status=Status.CENSORED)]) == [
        f"{ended.name} (run {ended.run_id}) is done, but {ended.lost}: it counts as not done, and is trained again",
        f"lr=0.1 (run {ended.run_id}) is censored, but x: it counts as not done, and is trained again",
    ]
    assert lost([ended] * 5) == lost([ended]) * 5
    assert lost([ended] * 40) == [*lost([ended] * 5), "and 35 more such trials, which are trained again too"]


@pytest.mark.parametrize("own", [None, b"{}", b'{"seeds": {}}', b"[" * 100_000, b"\xff"])
def test_curves_that_are_lost_are_taken_from_the_state_and_the_second_reader_finds_them_whole(
    store: Store, own: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = create(store, KEY, "done")
    store.attach(run_id, "state", {"b.zip": snapshot(2)[STATE]})  # a run that is done has one slot
    if own is not None:
        store.attach(run_id, "", {"curves.json": own})
    whole = json.loads(snapshot(2)["curves.json"])
    assert store.trials([KEY])[KEY].curves == whole
    [line] = caplog.messages
    assert line.startswith(f"run {run_id} (")
    assert line.endswith("; what its state has is taken, and it is uploaded again")
    caplog.clear()
    store.delete_artifact(run_id, "state/b.zip")
    assert store.trials([KEY])[KEY].curves == store.finished("study")[0].curves == whole
    assert caplog.messages == []


def test_curves_that_lack_records_are_mended_too_and_of_a_run_under_way_left_alone(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for key, status in ((KEY, "done"), (OTHER, "interrupted")):
        run_id = create(store, key, status)
        store.client.log_metric(run_id, "train_loss", 0.5, step=1)  # the state says 1.0
        store.client.log_metric(run_id, "train_loss", 1.0, step=2)
        short = History({0: (replace(RECORD, train_loss=0.5),)})
        store.attach(run_id, "", {"curves.json": json.dumps(short.to_dict()).encode()})
        store.attach(run_id, "state", {"a.zip": snapshot(2)[STATE]})
    found = store.trials([KEY, OTHER])
    assert found[KEY].curves == json.loads(snapshot(2)["curves.json"])
    assert found[OTHER].curves == json.loads(json.dumps(short.to_dict()))
    assert ["does not fit its metrics" in line for line in caplog.messages] == [True]


def test_curves_that_do_not_fit_and_have_no_state_are_used_and_it_is_said(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = create(store, KEY, "done")
    store.client.log_metric(run_id, "train_loss", 0.5, step=1)
    store.attach(run_id, "", {"curves.json": snapshot(1)["curves.json"]})
    assert store.trials([KEY])[KEY].curves == json.loads(snapshot(1)["curves.json"])
    assert caplog.messages[0].endswith(
        "its curves.json does not fit its metrics, and it has no state with them; it is used as it is"
    )


def test_curves_that_cannot_be_uploaded_again_are_used_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    run_id = create(store, KEY, "done")
    store.attach(run_id, "state", {"a.zip": snapshot(2)[STATE]})
    monkeypatch.setattr(store.client, "log_artifact", full)
    assert store.trials([KEY])[KEY].curves == json.loads(snapshot(2)["curves.json"])
    assert caplog.messages[0].endswith("but that cannot be uploaded: OSError: no space left on device")


def test_artifacts_that_are_away_are_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise requests.ConnectionError("no route to host")

    create(store, KEY, "done")
    monkeypatch.setattr(LocalArtifactRepository, "list_artifacts", away)
    for ask in (lambda: store.trials([KEY]), lambda: store.finished("study")):
        with pytest.raises(UserError, match=r"^cannot read MLflow at sqlite:.*: ConnectionError: no route to host$"):
            ask()


def test_nothing_outside_a_run_s_folder_is_read_written_or_deleted(store: Store, tmp_path: Path) -> None:
    run_id = create(store, KEY, "done")
    store.attach(run_id, "analysis/x", {"a.csv": b"1"})
    folder = Path(store.client.get_run(run_id).info.artifact_uri)
    secret = tmp_path / "elsewhere" / "a.csv"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    (folder / "linked").symlink_to(secret.parent)
    (folder / "analysis" / "x" / "b.csv").symlink_to(secret)
    (folder / "checkpoint").symlink_to(secret.parent)
    for reading in (
        lambda: store.attached(run_id, "analysis/x"),
        lambda: store.attached(run_id, "linked"),
        lambda: store.attached(run_id, "../.."),
        lambda: store.checkpoint(run_id),
        lambda: store.files(run_id),
    ):
        with pytest.raises(UserError, match=r"nvalid path|ensure that the path is correct"):
            reading()
    for folder_name, name in (("linked", "a.csv"), ("analysis/x", "b.csv"), ("../../..", "a.csv"), ("linked", "new")):
        with pytest.raises(MlflowException, match="nvalid"):
            store.attach(run_id, folder_name, {name: b"overwritten"})
    for path in ("linked/a.csv", "../../../elsewhere/a.csv", "/etc/hostname", str(secret), "none"):
        with pytest.raises(UserError):
            store.delete_artifact(run_id, path)
    assert [path.name for path in secret.parent.iterdir()] == ["a.csv"]
    assert secret.read_bytes() == b"secret"
    store.delete_artifact(run_id, "analysis/x/b.csv")  # the link goes, not what it leads to
    assert secret.read_bytes() == b"secret"
    assert store.attached(run_id, "analysis/x") == {"a.csv": b"1"}


def test_a_description_is_set(store: Store) -> None:
    store.describe("study", "# Winner: depth=2")
    assert store.client.get_experiment_by_name("study").tags["mlflow.note.content"] == "# Winner: depth=2"


def test_an_experiment_opens_on_its_runs_unless_somebody_said_otherwise(store: Store) -> None:
    kind = "mlflow.experimentKind"
    created = store.client.get_experiment(store.experiment_id("new"))
    assert created.tags[kind] == "custom_model_development"
    old, own = (store.client.create_experiment(name) for name in ("old", "own"))
    store.client.set_experiment_tag(own, kind, "genai_development")
    for name in ("old", "own"):
        store.describe(name, "What is asked?")
    assert store.client.get_experiment(old).tags[kind] == "custom_model_development"
    assert store.client.get_experiment(own).tags[kind] == "genai_development"


def test_artifacts_lie_beside_the_database(store: Store, tmp_path: Path) -> None:
    location = store.client.get_experiment(store.experiment_id("study")).artifact_location
    assert location.removeprefix("file://") == str(tmp_path / "mlruns" / "study")


def test_a_store_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"cannot read MLflow at http://127\.0\.0\.1:1: .*$") as caught:
        Store(NOBODY).trials([KEY])
    assert "\n" not in str(caught.value)


def create(store: Store, key: str, status: str, experiment: str = "study", **tags: str) -> str:
    """Create a run as the Tracker does, and return its id."""
    number = store.experiment_id(experiment)
    return store.client.create_run(number, tags={"key": key, "status": status} | tags).info.run_id


def test_of_runs_with_one_key_the_most_complete_counts(store: Store) -> None:
    in_order = ["failed", "interrupted", "censored", "done"]
    for status in in_order:
        run_id = create(store, KEY, status)
        trial = store.trials([KEY])[KEY]
        assert (trial.run_id, trial.status) == (run_id, Status(status))
    for status in in_order[:3]:
        create(store, KEY, status)
    assert store.trials([KEY])[KEY].run_id == run_id


@pytest.mark.parametrize("tag", ["copy_of", "to_copy"])
def test_of_those_as_complete_the_one_counts_that_is_no_copy(store: Store, tag: str) -> None:
    create(store, KEY, "censored")
    copy = create(store, KEY, "done", "search", **{tag: "f" * 32})
    assert store.trials([KEY])[KEY].run_id == copy
    run_id = create(store, KEY, "done")
    create(store, KEY, "done", "search", **{tag: "f" * 32})
    assert store.trials([KEY])[KEY].run_id == run_id
    assert store.trials([KEY], "search")[KEY].run_id != run_id
    went_on = create(store, KEY, "done", "search", **{tag: "f" * 32, "copy_went_on": "yes"})
    assert store.trials([KEY])[KEY].run_id == went_on


def test_a_superseded_run_counts_as_nothing(store: Store) -> None:
    runs = [create(store, KEY, "done"), create(store, KEY, "censored"), create(store, OTHER, "done")]
    store.supersede([KEY])
    assert store.trials(None).keys() == {OTHER}
    assert [trial.key for trial in store.finished("study")] == [OTHER]
    assert [store.client.get_run(each).data.tags["status"] for each in runs] == ["superseded", "superseded", "done"]


def test_curves_that_are_damaged_are_taken_from_the_state(store: Store) -> None:
    run_id = create(store, KEY, "interrupted")
    store.client.log_text(run_id, '{"seeds', "curves.json")
    store.attach(run_id, "state", {"a.zip": snapshot(2)[STATE]})
    curves = store.trials([KEY])[KEY].curves
    assert curves is not None
    assert len(curves["seeds"]["0"]) == 2


def test_what_ran_in_full_is_found_by_study_or_run_and_what_did_not_is_refused(store: Store) -> None:
    done, half = create(store, KEY, "done"), create(store, OTHER, "censored")
    create(store, OTHER, "failed", "broken")
    assert [trial.run_id for trial in store.finished("study")] == [trial.run_id for trial in store.finished(done)]
    assert [trial.run_id for trial in store.finished("study")] == [done]
    for what in (half, "broken"):
        with pytest.raises(UserError, match=f"^{what} has no trial that ran in full$"):
            store.finished(what)
    with pytest.raises(UserError, match=r"'studdy' is neither a run's id nor a study in .*; did you mean 'study'"):
        store.finished("studdy")
    with pytest.raises(UserError, match=f"has no run {'0' * 32}: "):
        store.finished("0" * 32)


def test_a_search_s_draws_come_back_by_stage_and_no_one_else_s(store: Store) -> None:
    create(store, KEY, "done", stage="first", number="1", attempt="3", draw='{"lr": 0.1}')
    create(store, OTHER, "done", stage="grid")
    create(store, OTHER, "done", "elsewhere", stage="first", number="0", attempt="0", draw="{}")
    assert store.drawn("study") == {"first": [Drawn(KEY, 1, 3, {"lr": 0.1})]}
    assert store.drawn("nothing") == {}


def test_whatever_is_done_to_a_draw_s_tags_it_is_read_or_left_out_with_a_word() -> None:
    tags = {"key": KEY, "stage": "first", "number": "1", "attempt": "3", "draw": '{"lr": 0.1}'}
    assert _drawn(tags) == ("first", Drawn(KEY, 1, 3, {"lr": 0.1}))
    tags |= {"among": "8", "taken": "2"}
    assert _drawn(tags) == ("first", Drawn(KEY, 1, 3, {"lr": 0.1}, 8, 2))
    for name in ("number", "attempt", "among", "taken", "draw"):
        damage = any_of(tags[name].encode())
        whole, refused = survey(damage, lambda text, name=name: _drawn({**tags, name: text.decode(errors="replace")}))
        assert len(refused) > 20
        assert all(isinstance(draw.values, dict) and 0 <= draw.number < 10**9 for _, draw in whole.values())
    for name in ("number", "attempt"):
        with pytest.raises(ValueError, match="must be a whole number"):
            _drawn({key: text for key, text in tags.items() if key != name})


def test_a_draw_that_cannot_be_read_is_left_out_and_said(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    create(store, KEY, "done", stage="first", number="1", attempt="3", draw='{"lr": 0.1}')
    run_id = create(store, OTHER, "done", stage="first", number="2", attempt="4", draw="[" * 4000)
    assert store.drawn("study") == {"first": [Drawn(KEY, 1, 3, {"lr": 0.1})]}
    [line] = caplog.messages
    assert line.startswith(f"run {run_id} (")
    # what is too deep depends on Python: from 3.13 on this is not, and is no JSON all the same
    assert re.search(r"\): its draw is damaged and left out: \w+Error: (nested too deeply|Expecting value)", line)


def test_what_is_attached_comes_back_and_lies_beside_the_snapshot(store: Store) -> None:
    run_id, files = create(store, KEY, "done"), {"a.csv": b"1", "deep/b.json": b"{}"}
    assert store.attached(run_id, "analysis/x") == {}
    store.attach(run_id, "analysis/x", files)
    store.attach(run_id, "checkpoint", {"trial.json": b"{}"})
    assert store.attached(run_id, "analysis/x") == files
    assert store.files(run_id) == store.checkpoint(run_id) == {"checkpoint/trial.json": b"{}"}
    with pytest.raises(ValueError, match="must be a relative path"):
        store.attach(run_id, "analysis/x", {"../y": b""})
    store.delete_artifact(run_id, "analysis/x/a.csv")
    assert store.attached(run_id, "analysis/x").keys() == {"deep/b.json"}


def test_a_long_description_is_cut_to_what_servers_take(store: Store) -> None:
    store.describe("study", "x" * (TAG_LENGTH + 1))
    assert len(store.client.get_experiment_by_name("study").tags["mlflow.note.content"]) == TAG_LENGTH


def test_a_run_of_another_program_is_no_trial(store: Store) -> None:
    run_id = store.client.create_run(store.experiment_id("study"), tags={"status": "done"}).info.run_id
    with pytest.raises(UserError, match=f"^{run_id} has no trial that ran in full$"):
        store.finished(run_id)


def test_the_data_set_of_a_run_is_its_parameter(store: Store) -> None:
    run_id = create(store, KEY, "done")
    with pytest.raises(UserError, match=f"^run {run_id} does not say on which data set it was trained$"):
        store.dataset(run_id)
    store.client.log_param(run_id, "dataset", "shapes")
    assert store.dataset(run_id) == "shapes"
