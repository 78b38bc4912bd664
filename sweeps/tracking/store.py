"""What MLflow has: which trials are done, and their files.

`Store` reads, and writes what is not of a trial under way: experiments, descriptions, findings. Trials under way are
written by the Tracker (sweeps/tracking.py).

Importing this module does not import MLflow, which takes seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.decisions.records import Drawn
from sweeps.tracking.spool import check_name
from trainables.errors import UserError, suggest
from trainables.files import unzipped, zipped
from trainables.history import History

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

STATUSES = ("running", "done", "censored", "failed", "interrupted")
SNAPSHOT = ("curves.json", "per_class.json", "checkpoint", "state")  # a run's artifacts beside these are findings
SLOTS = (
    "state/a.zip",
    "state/b.zip",
)  # a run's newest state and the one before, in turns: a whole one is there at every moment
TAG_LENGTH = 5000  # the longest tag value that servers back to 2.0 take

# Set where the user has not: by default an absent server blocks one call for four minutes (7 retries, backoff 2, 120
# s), every download draws a progress bar, and every finished run prints two lines.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class StoredTrial:
    """A trial as MLflow has it."""

    key: str
    run_id: str
    experiment: str
    name: str
    status: str  # one of STATUSES
    curves: dict[str, Any] | None  # the run's curves.json; None if it has none yet, or was not asked for
    reason: str | None  # why it failed


def resolve_uri(given: str | None = None) -> str:
    """Return `given`, else MLFLOW_TRACKING_URI, else the database that a bare `mlflow ui` shows: mlflow.db in the working directory."""
    return check_uri(given or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db")


def check_uri(uri: str) -> str:
    """Return `uri`, with a sqlite path made absolute: other processes have other working directories.

    Raises UserError for one that is none, or holds a user or password: it is shown in logs, on screen and among
    processes.
    """
    if re.match(r"\w+://[^/]*@", uri):
        raise UserError(
            "the tracking URI holds a user or a password, which would be shown; give them in ~/.mlflow/credentials, "
            "or as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if re.match(r"https?://[^/]", uri):
        return uri.rstrip("/")
    path = uri.removeprefix("sqlite:///")
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
    return f"sqlite:///{database}"


class Store:
    """Reads what MLflow has. Connects at the first question, which takes seconds: most of it is MLflow's import."""

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

    def trials(self, keys: Iterable[str] | None, study: str | None = None) -> dict[str, StoredTrial]:
        """Return the trials with these keys that any experiment has, with their curves; or for None all trials, without
        curves.

        With `study` only those of its own experiment.

        Of several runs with one key it is the most complete, then the latest. A store that cannot be read is a
        UserError.
        """
        wanted = None if keys is None else set(keys)
        with self.readable():
            names = {number: name for number, name in self._experiments().items() if study in (None, name)}
            best = self._best_runs(wanted, list(names)) if names else {}
        curves: dict[str, dict[str, Any] | None] = {}
        if wanted is not None:
            with ThreadPoolExecutor(8) as pool:
                curves = dict(zip(best, pool.map(self._curves, best.values()), strict=True))
        return {key: _stored(run, names[run.info.experiment_id], curves.get(key)) for key, run in best.items()}

    def wait(self, say: Callable[[str], None], patience: float = 60.0) -> None:
        """Return when MLflow answers.

        Raises UserError where it has not after `patience` seconds, or where waiting will not help.
        """
        until = time.monotonic() + patience
        told = False
        while True:
            try:
                with self.readable():
                    self._experiments()
                    return
            except UserError as error:
                if not self._may_pass(error.__cause__) or time.monotonic() > until:
                    raise
                if not told:
                    say(f"MLflow at {self.uri} does not answer; waiting for it, up to {patience:.0f} s")
                told = True
            time.sleep(1)

    def finished(self, what: str) -> list[StoredTrial]:
        """Return the trials that ran in full, with their curves, of a study (an experiment's name), or the one trial of
        a run (its id).

        Raises UserError, naming what there is, where there is no such run or study, or nothing of it is done.
        """
        with self.readable():
            experiments = self._experiments()
        if re.fullmatch("[0-9a-f]{32}", what):
            runs = [self._run(what)]
        elif what in experiments.values():
            runs = list(
                self._best_runs(None, [number for number, name in experiments.items() if name == what]).values()
            )
        else:
            known = [name for name in experiments.values() if name != "Default"]
            raise UserError(f"{what!r} is neither a run's id nor a study in {self.uri}{suggest(what, known)}")
        done = [run for run in runs if run.data.tags.get("status") == "done"]
        if not done:
            raise UserError(f"{what} has no trial that ran in full")
        return [_stored(run, experiments[run.info.experiment_id], self._curves(run)) for run in done]

    def drawn(self, study: str) -> dict[str, list[Drawn]]:
        """Return what a study's searches have drawn, by stage."""
        with self.readable():
            numbers = [number for number, name in self._experiments().items() if name == study]
            runs = self._best_runs(None, numbers).values() if numbers else ()
        found: dict[str, list[Drawn]] = {}
        for tags in (run.data.tags for run in runs):
            if "draw" in tags:
                drawn = Drawn(tags["key"], int(tags["number"]), int(tags["attempt"]), json.loads(tags["draw"]))
                found.setdefault(tags["stage"], []).append(drawn)
        return found

    def attach(self, run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Add files to a run, in a folder of its artifacts."""
        with tempfile.TemporaryDirectory() as local:
            for name, content in files.items():
                check_name(name)
                (Path(local) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(local) / name).write_bytes(content)
            self.client.log_artifacts(run_id, local, folder)

    def attached(self, run_id: str, folder: str) -> dict[str, bytes]:
        """Return the files that attach() added: name → content; {} where there are none."""
        if not self.client.list_artifacts(run_id, folder):
            return {}
        with tempfile.TemporaryDirectory() as local:
            root = Path(self.client.download_artifacts(run_id, folder, local))
            return {
                path.relative_to(root).as_posix(): path.read_bytes()
                for path in sorted(root.rglob("*"))
                if path.is_file()
            }

    def dataset(self, run_id: str) -> str:
        """Return the name of the data set that a trial was trained on."""
        return self._run(run_id).data.params["dataset"]

    def _experiments(self) -> dict[str, str]:
        return {each.experiment_id: each.name for each in _pages(self.client.search_experiments)}

    @contextlib.contextmanager
    def readable(self) -> Iterator[None]:
        """Turn whatever MLflow raises meanwhile into a UserError."""
        try:
            yield
        except UserError:
            raise
        except (
            Exception
        ) as error:  # no server, no permission, not a database, another version's database: the user's to mend
            line = one_line(error)
            if "database schema" in line:  # MLflow takes every other version for an older one
                found = line.partition(" Take a backup")[0]
                line = (
                    f"{found} If it is a newer one, install the MLflow that wrote it; if an older one, see "
                    "`mlflow db upgrade`"
                )
            raise UserError(f"cannot read MLflow at {self.uri}: {line}") from error

    def _may_pass(self, error: BaseException | None) -> bool:
        """Whether a store that cannot be read may be readable soon: a server may come up, a lock on a database go."""
        if self.uri.startswith("sqlite"):
            return "database is locked" in str(error)
        return isinstance(error, Exception) and not is_refusal(error) and _status(error) not in (401, 403)

    def _run(self, run_id: str) -> Run:
        try:
            return self.client.get_run(run_id)
        except Exception as error:
            raise UserError(f"MLflow at {self.uri} has no run {run_id}: {one_line(error)}") from error

    def files(self, run_id: str) -> dict[str, bytes]:
        """Return the run's snapshot: file name → content."""
        with tempfile.TemporaryDirectory() as folder:
            for artifact in self.client.list_artifacts(run_id):
                if artifact.path in SNAPSHOT:
                    self.client.download_artifacts(run_id, artifact.path, folder)
            root = Path(folder)
            return {
                path.relative_to(root).as_posix(): path.read_bytes()
                for path in sorted(root.rglob("*"))
                if path.is_file()
            }

    def state(self, run_id: str) -> tuple[bytes, str | None, list[str]]:
        """Return what training needs to go on: the newest state that the run has whole, its slot, and a line for each
        that is damaged.

        The state is empty where there is none.
        """
        newest, content, slot, damaged = -1, b"", None, []
        places = [artifact.path for artifact in self.client.list_artifacts(run_id, "state")]
        for path in sorted(set(places) & set(SLOTS)):
            with tempfile.TemporaryDirectory() as folder:
                found = Path(self.client.download_artifacts(run_id, path, folder)).read_bytes()
            try:
                records = _records(found)
            except ValueError as error:
                damaged.append(f"{path} is damaged ({one_line(error)})")
                continue
            if records > newest:
                newest, content, slot = records, found, path
        if places and not set(places) & set(
            SLOTS
        ):  # of the layout before: one file for each replicate, beside the others
            content = zipped(self.files(run_id))
        return content, slot, damaged

    def delete_artifact(self, run_id: str, path: str) -> None:
        """Delete one of the run's files."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        get_artifact_repository(self.client.get_run(run_id).info.artifact_uri, self.uri).delete_artifacts(path)

    def checkpoint(self, run_id: str) -> dict[str, bytes]:
        """Return of the run's snapshot the best weights, with what they need: file name → content."""
        return {f"checkpoint/{name}": content for name, content in self.attached(run_id, "checkpoint").items()}

    def supersede(self, keys: Iterable[str]) -> None:
        """Set aside the runs of these trials: they stay to be seen, tagged `superseded`, and count as done no more."""
        with self.readable():
            while runs := self._best_runs(set(keys), list(self._experiments())):
                for run in runs.values():
                    self.client.set_tag(run.info.run_id, "status", "superseded")

    def describe(self, experiment: str, markdown: str) -> None:
        """Set the experiment's description, shown above its runs."""
        with self.readable():
            self.client.set_experiment_tag(self.experiment_id(experiment), "mlflow.note.content", markdown[:TAG_LENGTH])

    def experiment_id(self, name: str) -> str:
        """Return the id of the experiment, which is created if need be."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return self.client.create_experiment(name, artifact_location=self._artifact_location(name))
            except Exception:
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise  # else another process was faster
        if found.lifecycle_stage != "active":
            raise UserError(
                f"MLflow experiment {name!r} is deleted; `mlflow experiments restore -x {found.experiment_id}` or "
                "`mlflow gc`"
            )
        return found.experiment_id

    def _best_runs(self, wanted: set[str] | None, experiments: list[str]) -> dict[str, Run]:
        # MLflow's filters know no OR, and no IN for tags: a few keys are asked for one by one, many are picked out of
        # all.
        one_by_one = wanted is not None and len(wanted) <= 25
        filters = [f"tags.key = '{key}'" for key in wanted or ()] if one_by_one else ["tags.key LIKE '%'"]
        best: dict[str, Run] = {}
        for each in filters:
            for run in _pages(self.client.search_runs, experiment_ids=experiments, filter_string=each):
                key = run.data.tags["key"]
                if run.data.tags.get("status") not in STATUSES or (wanted is not None and key not in wanted):
                    continue
                if key not in best or _completeness(run) > _completeness(best[key]):
                    best[key] = run
        return best

    def _curves(self, run: Run) -> dict[str, Any] | None:
        run_id = run.info.run_id
        if all(artifact.path != "curves.json" for artifact in self.client.list_artifacts(run_id)):
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = self.client.download_artifacts(run_id, "curves.json", folder)
            try:
                return json.loads(Path(path).read_bytes())
            except ValueError:
                log.warning("run %s: its curves.json is damaged; those of its state are taken", run_id)
        state, _, _ = self.state(run_id)
        return json.loads(unzipped(state)["curves.json"]) if state else None

    def _artifact_location(self, experiment: str) -> str | None:
        # For sqlite MLflow would take ./mlruns of whichever process happens to write. A server decides for itself.
        if not self.uri.startswith("sqlite"):
            return None
        return str(Path(self.uri.removeprefix("sqlite:///")).parent / "mlruns" / experiment)


def import_mlflow() -> type[MlflowClient]:
    """Import MLflow, with our settings where the user has none, and return its client's class."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient


def _connect(uri: str) -> MlflowClient:
    client_of = import_mlflow()
    # They announce the creation of tables, each retry, and each locked database with a traceback; errors reach us as
    # exceptions anyway.
    for chatty in ("mlflow.store.db.utils", "urllib3.connectionpool"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    with _alone_with(uri):
        return client_of(tracking_uri=uri)  # creates the tables


@contextlib.contextmanager
def _alone_with(uri: str) -> Iterator[None]:
    """Keep out other processes meanwhile: two that create the tables of one sqlite database at the same time leave it broken."""
    if not uri.startswith("sqlite"):
        yield
        return
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_refusal(error: Exception) -> bool:
    """Whether asking again is pointless: MLflow has understood, and said no.

    Otherwise it is away, busy, or wants other credentials.
    """
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException | OSError):
        return True
    status = _status(error)
    return 400 <= status < 500 and status not in (401, 403, 408, 409, 429, 499)


def _status(error: Exception) -> int:
    """Return the HTTP status that an error of MLflow stands for."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.get_http_status_code()
    return getattr(getattr(error, "response", None), "status_code", 503)  # `requests` raises OSErrors


def _records(state: bytes) -> int:
    """Return the number of records in a state: of two states of a trial the one with more is newer.

    Raises ValueError for a damaged one.
    """
    history = History.from_dict(json.loads(unzipped(state).get("curves.json", b"")))
    return sum(len(records) for records in history.records.values())


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=1000, page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def _stored(run: Run, experiment: str, curves: dict[str, Any] | None) -> StoredTrial:
    tags = run.data.tags
    name = run.info.run_name or run.info.run_id
    return StoredTrial(
        tags["key"], run.info.run_id, experiment, name, tags["status"], curves, tags.get("failure_reason")
    )


def _completeness(run: Run) -> tuple[int, int]:
    rank = {"failed": 0, "running": 1, "interrupted": 1, "censored": 2, "done": 3}
    return rank[run.data.tags["status"]], run.info.end_time or run.info.start_time


def one_line(error: Exception) -> str:
    """Return the error in one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
