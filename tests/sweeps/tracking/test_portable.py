"""A store's copy with relative places: what it has, what it leaves out, and that it opens anywhere."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow.entities import Dataset, DatasetInput
from mlflow.tracking._tracking_service import utils

from sweeps.tracking.lease import TAG
from sweeps.tracking.portable import check_study, copy_store, files_below
from sweeps.tracking.store import Store
from trainables.errors import UserError

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

KEY = "a" * 64
ELSE = "nobody else's business"


def add(store: Store, study: str, name: str, key: str = KEY) -> str:
    """Return the run of a trial with a metric, a param, a file and a data set."""
    run = store.client.create_run(store.experiment_id(study), tags={"key": key, "status": "done"}, run_name=name)
    run_id = run.info.run_id
    store.client.log_metric(run_id, "loss", 0.5)
    store.client.log_param(run_id, "lr", name)
    store.client.log_inputs(run_id, [DatasetInput(Dataset(f"data {name}", "0", "local", "here"), [])])
    store.attach(run_id, "", {"curves.json": name.encode()})
    return run_id


def copied(store: Store, folder: Path, others: tuple[str, ...] = ()) -> Store:
    """Return the copy of a study's store, as it is unpacked into a folder."""
    assert store.database
    folder.mkdir()
    for place, file in copy_store(store.database, "study", others, folder / "mlflow.db").items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / place)
    utils._artifact_repos_cache.clear()
    return Store(f"sqlite:///{folder / 'mlflow.db'}")


def rows(database: Path, question: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(question).fetchall()


def test_a_copy_has_the_study_s_runs_and_files_and_goes_on_by_itself(store, tmp_path):
    run_id = add(store, "study", "one")
    store.describe("study", "What matters?")
    assert store.database
    before = store.database.read_bytes()
    copy = copied(store, tmp_path / "copy")
    assert store.database.read_bytes() == before
    run = copy.client.get_run(run_id)
    assert (run.info.run_name, run.data.metrics, run.data.params) == ("one", {"loss": 0.5}, {"lr": "one"})
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == ["data one"]
    assert copy.attached(run_id, "") == {"curves.json": b"one"}
    assert copy.client.get_experiment_by_name("study").tags["mlflow.note.content"] == "What matters?"
    copy.attach(run_id, "", {"curves.json": b"more"})
    another = add(copy, "study", "two", "b" * 64)
    assert (tmp_path / "copy" / "mlruns" / "study" / another / "artifacts" / "curves.json").is_file()
    utils._artifact_repos_cache.clear()
    assert store.attached(run_id, "") == {"curves.json": b"one"}
    assert [run.info.run_name for run in store.client.search_runs([store.experiment_id("study")])] == ["one"]


def test_its_places_are_relative_until_it_is_opened(store, tmp_path, monkeypatch):
    """`mlflow ui`, which is MLflow alone, takes them as from its working directory."""
    run_id = add(store, "study", "one")
    model = store.client.create_logged_model(store.experiment_id("study"), "winner", source_run_id=run_id)
    (Path(model.artifact_location) / "MLmodel").parent.mkdir(parents=True)
    (Path(model.artifact_location) / "MLmodel").write_text("a model")
    monkeypatch.chdir(tmp_path)
    copied(store, tmp_path / "copy")
    database = tmp_path / "copy" / "mlflow.db"
    assert rows(database, "SELECT artifact_uri FROM runs") == [(f"mlruns/study/{run_id}/artifacts",)]
    [(place,)] = rows(database, "SELECT artifact_location FROM logged_models")
    assert (tmp_path / "copy" / place / "MLmodel").read_text() == "a model"
    assert {place for (place,) in rows(database, "SELECT artifact_location FROM experiments")} == {
        "mlruns/study",
        "mlruns/0",
    }
    assert str(tmp_path).encode() not in database.read_bytes()


def test_other_studies_stay_out_but_for_the_runs_that_are_named(store, tmp_path):
    taken, left = add(store, "other", "taken"), add(store, "other", ELSE)
    gone = add(store, "study", "deleted")
    store.client.delete_run(gone)
    store.client.set_experiment_tag(store.experiment_id("other"), "note", ELSE)
    store.client.set_experiment_tag(store.experiment_id("study"), TAG, ELSE)
    store.client.set_experiment_tag(store.experiment_id("unrelated"), "note", ELSE)
    store.client.create_registered_model(ELSE)
    mine = add(store, "study", "one")
    copy = copied(store, tmp_path / "copy", (taken,))
    database = tmp_path / "copy" / "mlflow.db"
    assert {run for (run,) in rows(database, "SELECT run_uuid FROM runs")} == {mine, taken}
    assert {name for (name,) in rows(database, "SELECT name FROM experiments")} == {"Default", "study", "other"}
    assert {name for (name,) in rows(database, "SELECT name FROM datasets")} == {"data one", "data taken"}
    assert copy.attached(taken, "") == {"curves.json": b"taken"}
    assert ELSE.encode() not in database.read_bytes()
    assert left.encode() not in database.read_bytes()
    assert rows(database, "PRAGMA foreign_key_check") == []


def test_an_unknown_study_is_refused_with_those_there_are(store):
    assert store.database
    with pytest.raises(UserError, match=r"mlflow\.db has no study 'stduy', nor any other$"):
        check_study(store.database, "stduy")
    add(store, "study", "one")
    with pytest.raises(UserError, match=r"mlflow\.db has no study 'stduy'; did you mean 'study'\?$"):
        check_study(store.database, "stduy")
    check_study(store.database, "study")


def test_what_is_no_database_is_one_line(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database, but long enough to be looked at as if it were one\n" * 20)
    with pytest.raises(UserError, match=r"mlflow\.db cannot be copied: .*file is not a database$"):
        check_study(tmp_path / "mlflow.db", "study")


@pytest.mark.parametrize("place", ["s3://bucket/files", "mlflow-artifacts:/files", "relative/files"])
def test_files_that_are_not_in_a_folder_are_refused(store, tmp_path, place):
    run_id = add(store, "study", "one")
    assert store.database
    with contextlib.closing(sqlite3.connect(store.database)) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri = ?", (place,))
    with pytest.raises(UserError, match=f"^run {run_id} has its files at {place}; only those in a folder"):
        copy_store(store.database, "study", (), tmp_path / "copy.db")


def test_a_name_that_would_lead_out_of_the_folder_is_refused(store, tmp_path):
    run_id = add(store, "study", "one")
    taken = add(store, "other", "taken")
    assert store.database
    with contextlib.closing(sqlite3.connect(store.database)) as connection, connection:
        connection.execute("UPDATE experiments SET name = '../../out' WHERE name = 'other'")
    with pytest.raises(UserError, match=r"^it cannot be packed: file name 'mlruns/\.\./\.\./out'"):
        copy_store(store.database, "study", (run_id, taken), tmp_path / "copy.db")


@pytest.mark.parametrize("kind", ["file", "folder", "broken"])
def test_a_link_is_refused(tmp_path, kind):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "inside").mkdir()
    to = {"file": "outside/secret", "folder": "outside", "broken": "nowhere"}[kind]
    (tmp_path / "inside" / "link").symlink_to(tmp_path / to)
    with pytest.raises(UserError, match="inside/link is a link, and where it leads is not packed"):
        list(files_below(tmp_path / "inside", "place"))


def test_files_are_found_in_all_folders(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    assert dict(files_below(tmp_path, "at")) == {"at/a/b/one": tmp_path / "a/b/one", "at/two": tmp_path / "two"}
