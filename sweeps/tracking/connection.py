"""Getting to MLflow: which store, how to connect to it, and what its errors mean.

Importing this module does not import MLflow, which takes seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar
from urllib.parse import urlsplit

from sweeps.interruption import held
from sweeps.tracking.places import settle
from trainables.errors import UserError
from trainables.files import write_whole

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

SQLITE = "sqlite:///"
LONGEST_NAME = 200  # characters of a name in a message
CONNECTS_IN = 20.0  # seconds in which a process that runs has connected to a database
MEMORY = "/dev/shm"  # a file system, where there is one  # noqa: S108

# Set where the user has not: by default an absent server blocks one call for four minutes (7 retries, backoff 2,
# 120 s), every download draws a progress bar, and every finished run prints two lines.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def resolve_uri(given: str | None = None) -> str:
    """Return `given`, else MLFLOW_TRACKING_URI, else the database that a bare `mlflow ui` shows.

    That is mlflow.db in the working directory.
    """
    return check_uri(given or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db")


def existing_uri(given: str | None = None) -> str:
    """Return what resolve_uri() does. Raises UserError also where it names a database that is not there."""
    uri = resolve_uri(given)
    database = _database(uri)
    if database and not database.exists():
        raise UserError(f"there is no database {database}; give the tracking URI of the one that has the study")
    return uri


def check_uri(uri: str) -> str:
    """Return `uri`, with a sqlite path made absolute: other processes have other working directories.

    Raises UserError where it names neither a sqlite database nor a server, and where it holds a user or a password: it
    is shown in logs, on screen and among processes.
    """
    if re.match(r"\w+://[^/]*@", uri):
        raise UserError(
            "the tracking URI holds a user or a password, which would be shown; give them in ~/.mlflow/credentials, "
            "or as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if re.match(r"https?://[^/]", uri):
        if not _reachable(uri):
            raise UserError(f"tracking URI {uri!r}: must be http(s)://HOST:PORT, with a port of 1..65535")
        return uri.rstrip("/")
    path = uri.removeprefix(SQLITE)
    if path == uri or not path or path.startswith(":memory:"):
        raise UserError(
            f"tracking URI {uri!r}: must be sqlite:///PATH or http(s)://HOST:PORT (for another store, start `mlflow "
            "server` on it)"
        )
    database = Path(path).absolute()
    if {"%", "?"} & set(str(database)):
        raise UserError(f"tracking URI {uri!r}: a sqlite path with % or ? is not understood by SQLAlchemy")
    existing = next(each for each in (database, *database.parents) if each.exists())
    if existing.is_dir() is (existing == database) or not os.access(existing, os.W_OK):  # MLflow would try for 100 s
        raise UserError(
            f"tracking URI {uri!r}: {database} is not, and cannot become, a database file that we may write"
        )
    return f"{SQLITE}{database}"


def _reachable(uri: str) -> bool:
    """Tell whether a server may have this address; one that none has would be waited for."""
    try:
        parts = urlsplit(uri)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number below 65536, or brackets enclose no address
        return False


class Connection:
    """A connection to MLflow. It is made at the first question, which takes seconds: most of it is MLflow's import."""

    def __init__(self, uri: str) -> None:
        self.uri = check_uri(uri)
        self._client: MlflowClient | None = None
        self._connecting = threading.Lock()

    @property
    def client(self) -> MlflowClient:
        """The MLflow client."""
        with self._connecting:
            if self._client is None:
                self._client = _connect(self.uri)
            return self._client

    @property
    def database(self) -> Path | None:
        """The sqlite database; None for a server."""
        return _database(self.uri)

    @contextlib.contextmanager
    def readable(self) -> Iterator[None]:
        """Turn whatever MLflow raises meanwhile into a UserError."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # no server, no permission, another version's database: the user's to mend
            line = one_line(error)
            if "database schema" in line:  # MLflow takes every other version for an older one
                line = (
                    f"{line.partition(' Take a backup')[0]} If it is a newer one, install the MLflow that wrote it; "
                    "if an older one, see `mlflow db upgrade`"
                )
            raise UserError(f"cannot read MLflow at {self.uri}: {line}") from error

    def wait(self, say: Callable[[str], None], patience: float = 60.0) -> None:
        """Return when MLflow answers. Raises as patiently() does."""
        self.patiently(lambda: self.client.search_experiments(max_results=1), say, patience)

    def patiently(self, ask: Callable[[], T], say: Callable[[str], None], patience: float = 60.0) -> T:
        """Return what `ask` returns. Where MLflow is away, or goes away meanwhile, it is asked again once a second.

        Raises UserError where that has not helped after `patience` seconds, or where waiting will not help.
        """
        until = time.monotonic() + patience
        announced = False
        while True:
            try:
                with self.readable():
                    return ask()
            except UserError as error:
                if not self._may_pass(error.__cause__) or time.monotonic() > until:
                    raise
                if not announced:
                    say(f"MLflow at {self.uri} does not answer; waiting for it, up to {patience:.0f} s")
                announced = True
            time.sleep(1)

    def _may_pass(self, error: BaseException | None) -> bool:
        """Whether a store that cannot be read may be readable soon: a server may come up, a lock on a database go."""
        if self.database:
            return "database is locked" in str(error)
        return isinstance(error, Exception) and not is_refusal(error) and _status(error) not in (401, 403)


def import_mlflow() -> type[MlflowClient]:
    """Import MLflow, with our settings where the user has none, and return its client's class."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient


def pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Yield all that one of MLflow's searches finds, page after page."""
    token = None
    while True:
        page = search(max_results=1000, page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def is_refusal(error: Exception) -> bool:
    """Whether asking again is pointless: MLflow has understood, and said no.

    Otherwise it is away, busy, or wants other credentials.
    """
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException | OSError):
        return True
    status = _status(error)
    return 400 <= status < 500 and status not in (401, 403, 408, 409, 429, 499)


def one_line(error: Exception) -> str:
    """Return the error in one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def plain(name: str) -> str:
    """Return a name as it can stand in a line, whatever it holds."""
    return "".join(each if each.isprintable() else " " for each in name[:LONGEST_NAME])


def _database(uri: str) -> Path | None:
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def _connect(uri: str) -> MlflowClient:
    client_of = import_mlflow()
    # They announce the creation of tables, each retry, each locked database with a traceback, and that uv has installed
    # no pip; errors reach us as exceptions anyway.
    for chatty in ("mlflow.store.db.utils", "urllib3.connectionpool", "mlflow.utils.environment"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    database = _database(uri)
    with _alone_with(database), held():
        if database and not database.exists():
            _create(client_of, database)
        client = client_of(tracking_uri=uri)
        if database:
            settle(database)
    return client


def _create(client_of: type[MlflowClient], database: Path) -> None:
    """Create a database, in memory at first: MLflow takes 60 steps to its tables, and each waits for a disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        draft = Path(folder) / "mlflow.db"
        client_of(tracking_uri=f"{SQLITE}{draft}")
        write_whole(database, draft.read_bytes())


@contextlib.contextmanager
def _alone_with(database: Path | None) -> Iterator[None]:
    """Keep out other processes meanwhile: two that create the tables of one sqlite database at once leave it broken."""
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("w") as file:
        _lock(file, database)
        yield


def _lock(file: TextIO, database: Path) -> None:
    """Lock a file. Raises OSError where another process has kept it locked for too long: it may have been stopped."""
    until = time.monotonic() + CONNECTS_IN
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise OSError(f"database is locked: another process is connecting to {database}") from None
        time.sleep(0.05)


def _status(error: Exception) -> int:
    """Return the HTTP status that an error of MLflow stands for."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.get_http_status_code()
    return getattr(getattr(error, "response", None), "status_code", 503)  # `requests` raises OSErrors
