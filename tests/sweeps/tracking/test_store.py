"""sweeps.tracking.store against a real sqlite store, and against one that does not answer. No Ray, no server."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sweeps.tracking.store import Store, check_uri, resolve_uri
from trainables.errors import UserError

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

NOBODY = "http://127.0.0.1:1"  # refuses connections
KEY, OTHER = "a" * 64, "b" * 64


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


def test_a_damaged_curve_is_a_missing_one(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    run = store.client.create_run(store.experiment_id("study"), tags={"key": KEY, "status": "done"})
    store.client.log_text(run.info.run_id, '{"val_acc', "curves.json")
    assert store.trials([KEY])[KEY].curves is None
    assert "damaged" in caplog.text


def test_a_description_is_set(store: Store) -> None:
    store.describe("study", "# Winner: depth=2")
    assert store.client.get_experiment_by_name("study").tags["mlflow.note.content"] == "# Winner: depth=2"


def test_artifacts_lie_beside_the_database(store: Store, tmp_path: Path) -> None:
    location = store.client.get_experiment(store.experiment_id("study")).artifact_location
    assert location.removeprefix("file://") == str(tmp_path / "mlruns" / "study")


def test_a_store_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"cannot read MLflow at http://127\.0\.0\.1:1: .*$") as caught:
        Store(NOBODY).trials([KEY])
    assert "\n" not in str(caught.value)


def test_a_database_of_a_newer_mlflow_is_one_line_at_once_and_stays_as_it_is(store: Store) -> None:
    path = Path(store.uri.removeprefix("sqlite:///"))
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("update alembic_version set version_num = 'ffffffffffff'")
    before, began = path.read_bytes(), time.monotonic()
    told = r"schema \(found version ffffffffffff, .* install the MLflow that wrote it; if an older one, "
    with pytest.raises(UserError, match=told) as caught:
        store.wait(pytest.fail)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 20
    assert path.read_bytes() == before


def test_two_processes_may_create_the_database_at_the_same_time(tmp_path: Path) -> None:
    code = f"from sweeps.tracking.store import Store; Store('sqlite:///{tmp_path / 'new.db'}').trials(None)"
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3]) for _ in range(2)]
    assert [each.wait() for each in both] == [0, 0]


def test_a_locked_database_is_waited_for(store: Store) -> None:
    said: list[str] = []
    with contextlib.closing(sqlite3.connect(store.uri.removeprefix("sqlite:///"), check_same_thread=False)) as database:
        database.execute("begin exclusive")
        threading.Timer(2.0, database.rollback).start()
        store.wait(said.append)
    assert all("does not answer; waiting for it, up to 60 s" in line for line in said)


def test_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000/")
    assert resolve_uri() == "http://host:5000"
    assert check_uri("sqlite:///x/y.db") == f"sqlite:///{tmp_path}/x/y.db"
    assert check_uri("sqlite:////x/y.db") == "sqlite:////x/y.db"
    with pytest.raises(UserError, match="holds a user or a password") as refused:
        check_uri("http://me:s3cret@host:5000")
    assert "s3cret" not in str(refused.value)
    for bad in (
        "",
        "mlruns",
        "file:///mlruns",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "http://",
        "postgresql://host/db",
    ):
        with pytest.raises(UserError, match="must be sqlite:///PATH or http"):
            check_uri(bad)
    with pytest.raises(UserError, match="not understood"):
        check_uri("sqlite:///100%/mlflow.db")
    (tmp_path / "file").touch()
    for bad in (tmp_path, tmp_path / "file" / "mlflow.db"):
        with pytest.raises(UserError, match="cannot become, a database file"):
            check_uri(f"sqlite:///{bad}")
