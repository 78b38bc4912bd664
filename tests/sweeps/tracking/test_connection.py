"""sweeps.tracking.connection: which store, a real sqlite one that is hurt, and what MLflow's errors mean."""

import contextlib
import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2

from sweeps.tracking import connection
from sweeps.tracking.connection import (
    ENVIRONMENT,
    Connection,
    check_uri,
    existing_uri,
    import_mlflow,
    is_refusal,
    one_line,
    pages,
    resolve_uri,
)
from sweeps.tracking.store import Store
from trainables.errors import UserError

# MLflow 3.17's own mapping, on SQLAlchemy 2.1; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


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


def test_a_process_that_was_stopped_as_it_connected_is_waited_for_and_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTS_IN", 0.2)
    path = Path(store.uri.removeprefix("sqlite:///"))
    said: list[str] = []
    with path.with_name(f".{path.name}.lock").open("w") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"OSError: database is locked: another process is connecting to /"):
            Connection(store.uri).wait(said.append, patience=0.5)
        threading.Timer(1.0, fcntl.flock, (stopped, fcntl.LOCK_UN)).start()
        Connection(store.uri).wait(said.append, patience=60)
    assert said == [f"MLflow at {store.uri} does not answer; waiting for it, up to {n} s" for n in (0, 60)]


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
    for bad in ("http://127.0.0.1:9x", "http://host:0", "http://host:65536", "https://:80", "http://[::1"):
        with pytest.raises(UserError, match=r"with a port of 1\.\.65535"):
            check_uri(bad)
    assert check_uri("http://[::1]:65535") == "http://[::1]:65535"
    with pytest.raises(UserError, match="not understood"):
        check_uri("sqlite:///100%/mlflow.db")
    (tmp_path / "file").touch()
    for bad in (tmp_path, tmp_path / "file" / "mlflow.db"):
        with pytest.raises(UserError, match="cannot become, a database file"):
            check_uri(f"sqlite:///{bad}")


def test_a_server_has_no_database_beside_which_files_could_lie(tmp_path: Path) -> None:
    assert Connection("http://host:5000").database is None
    assert Connection(f"sqlite:///{tmp_path}/x.db").database == tmp_path / "x.db"


def test_what_waiting_does_not_mend_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look at as if it were one\n" * 10)
    connection, began = Connection(f"sqlite:///{tmp_path}/mlflow.db"), time.monotonic()
    with pytest.raises(UserError, match="cannot read MLflow at sqlite"):
        connection.wait(pytest.fail)
    assert time.monotonic() - began < 20


def test_a_server_that_does_not_come_is_waited_for_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said: list[str] = []
    began = time.monotonic()
    with pytest.raises(UserError, match="cannot read MLflow at http://127"):
        Connection("http://127.0.0.1:1").wait(said.append, patience=1.5)
    assert 1.5 < time.monotonic() - began < 15
    assert said == ["MLflow at http://127.0.0.1:1 does not answer; waiting for it, up to 2 s"]


def test_a_server_cut_off_in_the_middle_of_a_question_is_asked_again_and_a_refusal_is_not() -> None:
    answers: list[Any] = [
        MlflowException("Connection broken: IncompleteRead(0 bytes read, 317 more expected)"),
        UserError("its own"),
        7,
        MlflowException("no", databricks_pb2.RESOURCE_DOES_NOT_EXIST),
        8,
    ]
    answers[1].__cause__ = ConnectionError("cut off, and told by the question itself")
    said: list[str] = []

    def ask() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    connection = Connection("http://127.0.0.1:1")
    assert connection.patiently(ask, said.append) == 7
    assert said == ["MLflow at http://127.0.0.1:1 does not answer; waiting for it, up to 60 s"]
    with pytest.raises(UserError, match=r"cannot read MLflow at http://127\.0\.0\.1:1: MlflowException: no"):
        connection.patiently(ask, pytest.fail)
    assert answers == [8]


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("INVALID_PARAMETER_VALUE", True),
        ("RESOURCE_DOES_NOT_EXIST", True),
        ("RESOURCE_ALREADY_EXISTS", True),
        ("PERMISSION_DENIED", False),
        ("UNAUTHENTICATED", False),
        ("REQUEST_LIMIT_EXCEEDED", False),
        ("INTERNAL_ERROR", False),
        ("TEMPORARILY_UNAVAILABLE", False),
    ],
)
def test_what_mlflow_has_understood_and_denied_is_a_refusal(code: str, refused: bool) -> None:
    assert is_refusal(MlflowException("no", databricks_pb2.ErrorCode.Value(code))) is refused


def test_what_is_not_mlflow_s_is_a_refusal_unless_the_network_or_the_disk_may_mend() -> None:
    assert [
        is_refusal(requests.HTTPError("no", response=SimpleNamespace(status_code=status)))
        for status in (400, 404, 413, 499, 500)
    ] == [True, True, True, False, False]
    assert not is_refusal(requests.ConnectionError("away"))
    assert not is_refusal(OSError("disk"))
    assert is_refusal(KeyError("ours"))


def test_an_error_is_one_short_line() -> None:
    assert one_line(ValueError("first\n  second\tthird")) == "ValueError: first second third"
    assert len(one_line(ValueError("x" * 1000))) == 300


def test_all_pages_are_read() -> None:
    class Page(list):
        token: str | None = None

    def search(max_results: int, page_token: str | None, word: str) -> Page:
        assert (max_results, word) == (1000, "w")
        begin = int(page_token or 0)
        page = Page([begin, begin + 1])
        page.token = str(begin + 2) if begin < 4 else None
        return page

    assert list(pages(search, word="w")) == [0, 1, 2, 3, 4, 5]


def test_what_the_user_has_set_for_mlflow_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    import_mlflow()
    assert {name: os.environ[name] for name in ENVIRONMENT} == ENVIRONMENT | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "7"}


def test_a_database_to_be_read_must_be_there(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(UserError) as caught:
        existing_uri(uri)
    where = f"there is no database {tmp_path / 'mlflow.db'}"
    assert str(caught.value) == f"{where}; give the tracking URI of the one that has the study"
    (tmp_path / "mlflow.db").touch()
    assert existing_uri(uri) == uri
    assert existing_uri("http://host:5000") == "http://host:5000"


def test_a_new_database_is_there_with_all_its_tables_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(f"sqlite:///{tmp_path}/mlflow.db")
    whole = connection.write_whole

    def refuse(path: Path, content: bytes) -> None:
        assert (path, content[:15]) == (tmp_path / "mlflow.db", b"SQLite format 3")
        raise OSError("the disk is full")

    monkeypatch.setattr(connection, "write_whole", refuse)
    with pytest.raises(OSError, match=r"^the disk is full$"):
        _ = store.client
    assert not (tmp_path / "mlflow.db").exists()
    monkeypatch.setattr(connection, "write_whole", whole)
    assert [each.name for each in store.client.search_experiments()] == ["Default"]
    assert (tmp_path / "mlflow.db").stat().st_size > 400_000
