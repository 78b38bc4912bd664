"""sweeps.tracking.places: folders with a store and its files, renamed, copied, linked and torn apart."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking._tracking_service import utils

from sweeps.decisions.status import Status
from sweeps.tracking import delivery
from sweeps.tracking.places import Stray, _strays, settle
from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker
from tests.sweeps.tracking.trials import KEY, OTHER, in_mlflow, snapshot, start
from trainables.errors import UserError

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSE", 0.05)


@pytest.fixture
def home(tmp_path: Path, template: Path) -> Path:
    """Return a folder with a store that has one finished trial."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(template, folder / "mlflow.db")
    train(folder, KEY, 1)
    return folder


def at(folder: Path) -> Store:
    """Return the store in a folder, as another process opens it."""
    utils._artifact_repos_cache.clear()  # of this process: where a run's files are, by its id
    return Store(f"sqlite:///{folder / 'mlflow.db'}")


def train(folder: Path, key: str, epochs: int) -> None:
    """Have a Tracker write a trial to the store in a folder."""
    with contextlib.closing(Tracker(at(folder).uri, "study", folder / "spool")) as tracker:
        start(tracker, key)
        tracker.epoch(key, epochs, {"loss": 1 / epochs}, snapshot(epochs))
        tracker.finish(key, Status.DONE)
        assert tracker.drain(20) == []


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def records(store: Store) -> int:
    trial = store.trials([KEY])[KEY]
    assert trial.curves is not None
    return len(trial.curves["seeds"]["0"])


def places(folder: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        rows = connection.execute("SELECT artifact_location FROM experiments WHERE name = 'study'").fetchall()
        rows += connection.execute("SELECT artifact_uri FROM runs").fetchall()
    return {place for (place,) in rows}


def put(folder: Path, place: str) -> None:
    """Have the study's experiment and its runs at another place."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'study'", (place,))
        connection.execute("UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts'", (place,))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "sweeps.tracking.places"]


def test_what_has_not_moved_is_left_alone(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = (home / "mlflow.db").read_bytes()
    settle(home / "mlflow.db")
    assert records(at(home)) == 1
    assert (home / "mlflow.db").read_bytes() == before
    assert said(caplog) == []


def test_one_question_tells_that_nothing_has_moved(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    connect = sqlite3.connect

    def listening(*given: object) -> sqlite3.Connection:
        connection = connect(*given)  # type: ignore[call-overload]
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", listening)
    settle(home / "mlflow.db")
    assert asked == ["SELECT experiment_id, name, artifact_location FROM experiments"]


def test_a_renamed_folder_reads_and_goes_on_where_it_is(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    new = home.rename(home.with_name("renamed"))
    for _ in range(2):
        assert records(at(new)) == 1
    assert said(caplog) == [
        f"{new}/mlflow.db has moved here from {home}; its runs' files are now looked for in {new}/mlruns"
    ]
    train(new, KEY, 2)
    train(new, OTHER, 1)
    assert records(at(new)) == 2
    assert not home.exists()
    assert all(place.startswith(f"{new}/mlruns/study") for place in places(new))


def test_a_copy_that_goes_on_leaves_the_original_as_it_is(home: Path) -> None:
    copy = Path(shutil.copytree(home, home.with_name("copy")))
    before = bytes_of(home)
    assert records(at(copy)) == 1
    train(copy, KEY, 3)
    train(copy, OTHER, 1)
    assert records(at(copy)) == 3
    assert bytes_of(home) == before
    assert records(at(home)) == 1
    run_id = at(home).trials([KEY])[KEY].run_id
    assert at(home).files(run_id) == in_mlflow(snapshot(1))
    assert at(copy).files(run_id) == in_mlflow(snapshot(3), "b")


def test_deleted_runs_and_experiments_move_too(home: Path) -> None:
    store = at(home)
    store.client.delete_run(store.trials([KEY])[KEY].run_id)
    store.client.delete_experiment(store.experiment_id("study"))
    new = home.rename(home.with_name("renamed"))
    assert at(new).trials(None) == {}
    assert all(place.startswith(f"{new}/mlruns/study") for place in places(new))


@pytest.mark.parametrize("how", [shutil.move, shutil.copy])
def test_a_database_without_its_files_is_refused_and_nothing_is_written(
    home: Path, tmp_path: Path, how: Callable[[Path, Path], object]
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    how(home / "mlflow.db", new / "mlflow.db")
    before = bytes_of(home), (new / "mlflow.db").read_bytes()
    back = ", once mlflow.db is back there" if how is shutil.move else ""
    told = (
        f"{new}/mlflow.db was moved or copied here from {home} without its runs' files: move or copy {home}/mlruns to "
        f"{new} too, or give --tracking-uri sqlite:///{home}/mlflow.db{back}"
    )
    for ask in (lambda: at(new).trials([KEY]), lambda: at(new).finished("study"), lambda: at(new).wait(pytest.fail)):
        with pytest.raises(UserError) as caught:
            ask()
        assert str(caught.value) == told
    with contextlib.closing(Tracker(at(new).uri, "study", new / "spool")) as tracker:
        start(tracker, OTHER)
        tracker.finish(OTHER, Status.DONE)
        [line] = tracker.drain(5)
    assert "without its runs' files" in line
    assert (bytes_of(home), (new / "mlflow.db").read_bytes()) == before
    shutil.copytree(home / "mlruns", new / "mlruns")  # the first way out
    assert records(at(new)) == 1


def test_files_of_which_some_were_left_behind_are_refused(home: Path) -> None:
    train(home, OTHER, 1)
    copy = Path(shutil.copytree(home, home.with_name("copy")))
    shutil.rmtree(copy / "mlruns" / "study" / at(home).trials([OTHER])[OTHER].run_id)
    with pytest.raises(UserError, match="without its runs' files"):
        at(copy).trials([KEY])


def test_files_that_the_copy_has_but_as_a_link_are_still_the_original_s(home: Path) -> None:
    copy = home.with_name("copy")
    copy.mkdir()
    shutil.copy(home / "mlflow.db", copy)
    (copy / "mlruns").symlink_to(home / "mlruns")
    with pytest.raises(UserError, match="without its runs' files"):
        at(copy).trials([KEY])
    (home / "mlflow.db").unlink()  # moved, not copied
    assert records(at(copy)) == 1


def test_files_that_are_nowhere_are_looked_for_here(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    new = home.rename(home.with_name("renamed"))
    shutil.rmtree(new / "mlruns")
    assert at(new).trials([KEY])[KEY].lost is not None
    assert len(said(caplog)) == 1
    train(new, KEY, 2)
    assert records(at(new)) == 2
    assert not home.exists()


def test_an_experiment_without_runs_moves_though_its_folder_is_there(tmp_path: Path, template: Path) -> None:
    for name in ("home", "new"):
        (tmp_path / name).mkdir()
    shutil.copy(template, tmp_path / "home" / "mlflow.db")
    at(tmp_path / "home").experiment_id("study")
    (tmp_path / "home" / "mlruns" / "study").mkdir(parents=True)
    shutil.copy(tmp_path / "home" / "mlflow.db", tmp_path / "new")
    at(tmp_path / "new").trials(None)
    assert places(tmp_path / "new") == {f"{tmp_path}/new/mlruns/study"}


@pytest.mark.parametrize("linked", ["folder", "database"])
def test_a_link_to_the_same_place_is_no_move(home: Path, caplog: pytest.LogCaptureFixture, linked: str) -> None:
    link = home.with_name("link")
    if linked == "folder":
        link.symlink_to(home)
    else:
        link.mkdir()
        (link / "mlflow.db").symlink_to(home / "mlflow.db")
    assert records(at(link)) == records(at(home)) == 1
    train(link, OTHER, 1)  # by the other way
    for folder in (link, home):
        at(folder).client.create_run(at(folder).experiment_id("made at the link" if folder == link else "study"))
        assert at(folder).trials([OTHER])[OTHER].curves is not None
    assert said(caplog) == []


def test_a_link_that_now_leads_to_a_copy_moves_it(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)
    put(home, f"{link}/mlruns/study")
    settle(home / "mlflow.db")
    assert next(iter(places(home))).startswith(f"{link}/")
    link.unlink()
    link.symlink_to(shutil.copytree(home, tmp_path / "copy"))
    before = bytes_of(home)
    train(link, KEY, 2)
    assert records(at(link)) == 2
    assert bytes_of(home) == before


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("file://{home}/mlruns/study", "file://{new}/mlruns/study"),
        ("{home}/mlruns/study", "{new}/mlruns/study"),
        ("{home}/elsewhere/study", "{home}/elsewhere/study"),
        ("{home}/mlruns/1", "{home}/mlruns/1"),
        ("s3://bucket/mlruns/study", "s3://bucket/mlruns/study"),
        ("mlflow-artifacts:/mlruns/study", "mlflow-artifacts:/mlruns/study"),
        ("mlruns/study", "{new}/mlruns/study"),
        ("mlruns/1", "mlruns/1"),
        ("elsewhere/study", "elsewhere/study"),
    ],
)
def test_places_of_our_form_move_and_others_stay(home: Path, written: str, expected: str) -> None:
    """As MLflow may write them, also with a space."""
    home = home.rename(home.with_name("my home"))
    quoted = str(home).replace(" ", "%20") if "file" in written else str(home)
    place = written.format(home=quoted)
    put(home, place)
    new = home.rename(home.with_name("my new home"))
    settle(new / "mlflow.db")
    settled = expected.format(home=quoted, new=str(new).replace(" ", "%20") if "file" in written else str(new))
    run_id = next((new / "mlruns" / "study").iterdir()).name
    assert places(new) == {settled, f"{settled}/{run_id}/artifacts"}
    if "{new}" in expected:
        assert records(at(new)) == 1


def test_a_relative_place_is_beside_the_database_wherever_the_process_works(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a copy that was packed; not as MLflow takes it, from the working directory on."""
    put(home, "mlruns/study")
    monkeypatch.chdir(home)
    assert records(at(home)) == 1
    assert all(place.startswith(f"{home}/mlruns/study") for place in places(home))
    assert said(caplog) == []  # that is how it should be


def test_an_experiment_with_the_name_of_the_folder_above_stays(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET name = '..', artifact_location = 'mlruns/..' WHERE name = 'study'")
    settle(home / "mlflow.db")
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as connection:
        assert connection.execute("SELECT artifact_location FROM experiments WHERE name = '..'").fetchone() == (
            "mlruns/..",
        )


@pytest.mark.parametrize("left_behind", [False, True])
def test_logged_models_move_with_their_runs(home: Path, left_behind: bool) -> None:
    store = at(home)
    model = store.client.create_logged_model(store.experiment_id("study"), "winner")
    assert model.artifact_location == f"{home}/mlruns/study/models/{model.model_id}/artifacts"
    Path(model.artifact_location).mkdir(parents=True)
    new = home.with_name("new")
    shutil.copytree(home, new)
    if left_behind:
        shutil.rmtree(new / "mlruns" / "study" / "models")
        with pytest.raises(UserError, match="without its runs' files"):
            settle(new / "mlflow.db")
        return
    settle(new / "mlflow.db")
    found = at(new).client.get_logged_model(model.model_id)
    assert found.artifact_location == f"{new}/mlruns/study/models/{model.model_id}/artifacts"


def test_a_run_that_lies_apart_from_its_experiment_stays(home: Path) -> None:
    run_id = at(home).trials([KEY])[KEY].run_id
    put(home, "/elsewhere")
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", (f"{home}/mlruns/study",))
    new = home.rename(home.with_name("renamed"))
    settle(new / "mlflow.db")
    assert places(new) == {f"{new}/mlruns/study", f"/elsewhere/{run_id}/artifacts"}


def test_an_old_place_that_we_may_not_look_into_counts_as_full(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(home / "mlflow.db", new)
    look = os.lstat

    def forbidden(path: Path) -> os.stat_result:
        if str(path).startswith(str(home)):
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(os, "lstat", forbidden)
    with pytest.raises(UserError, match="without its runs' files"):
        settle(new / "mlflow.db")


def test_what_is_no_store_is_left_alone(tmp_path: Path) -> None:
    settle(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE experiments (name TEXT)")
    settle(tmp_path / "other.db")
    (tmp_path / "text.db").write_text("no database, but long enough to be looked at as if it were one\n" * 20)
    with pytest.raises(OSError, match="file is not a database"):
        settle(tmp_path / "text.db")


def test_a_database_that_another_holds_is_asked_again_later(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = home.rename(home.with_name("renamed"))
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path: connect(path, timeout=0.1))
    with contextlib.closing(connect(new / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="database is locked"):
            settle(new / "mlflow.db")
        other.rollback()
    settle(new / "mlflow.db")
    assert all(place.startswith(f"{new}/") for place in places(new))


def test_of_two_that_find_it_moved_at_the_same_time_one_mends_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new = home.rename(home.with_name("renamed"))
    find = _strays

    def slowly(*given: Any) -> list[Stray]:
        found = find(*given)
        time.sleep(0.3)  # the other would find the same now
        return found

    monkeypatch.setattr("sweeps.tracking.places._strays", slowly)
    with ThreadPoolExecutor(2) as pool:  # a lock on a file keeps out threads as it does processes
        assert [each.result() for each in [pool.submit(records, at(new)) for _ in range(2)]] == [1, 1]
    assert len(said(caplog)) == 1
    assert all(place.startswith(f"{new}/") for place in places(new))


def test_an_update_that_breaks_off_leaves_the_places_as_they_were(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = home.rename(home.with_name("renamed"))
    before = places(new)
    monkeypatch.setattr("sweeps.tracking.places.log.warning", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        settle(new / "mlflow.db")
    assert places(new) == before
