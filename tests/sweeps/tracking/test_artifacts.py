"""sweeps.tracking.artifacts against a real sqlite store whose files another hand has changed."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

from sweeps.tracking import artifacts
from sweeps.tracking.artifacts import Artifacts, Unreadable, folder_of
from tests.damage import make_huge

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture
def info(store):
    info = store.client.create_run(store.experiment_id("study")).info
    store.attach(info.run_id, "own", {"x.json": b"1", "deep/y": b"2"})
    return info


@pytest.fixture
def run(store, info):
    return Artifacts.of(store.client, info.run_id)


@pytest.fixture
def folder(info):
    return Path(info.artifact_uri)


def served(*paths, **how):
    """Return the files of a run whose server names these."""
    files = [SimpleNamespace(path=path, is_dir=False, file_size=None) for path in paths]
    return Artifacts(SimpleNamespace(list_artifacts=lambda _: files, **how))


def test_files_come_back_by_their_path_from_the_folder(run):
    assert run.below("own") == {"x.json": b"1", "deep/y": b"2"}
    assert run.below("none") == {}
    assert [each.path for each in run.listed()] == ["own"]
    assert [folder_of(path) for path in ("x", "a/x", "a/b/x")] == ["", "a", "a/b"]


def test_a_run_that_is_not_there_is_mlflow_s_to_say(store):
    with pytest.raises(MlflowException, match="not found"):
        Artifacts.of(store.client, "0" * 32)


def test_a_link_out_of_the_run_is_not_followed(run, folder, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x").write_bytes(b"secret")
    (folder / "file").symlink_to(tmp_path / "secret" / "x")
    (folder / "own" / "linked").symlink_to(tmp_path / "secret")
    [file] = [each for each in run.listed() if each.path == "file"]
    for reading in (
        lambda: run.fetch(file),
        lambda: run.listed("own/linked"),
        lambda: run.below("own"),
        lambda: run.delete("own/linked/x"),
    ):
        with pytest.raises(Unreadable, match="outside the artifact directory") as caught:
            reading()
        assert "\n" not in str(caught.value)
    run.delete("file")
    assert not (folder / "file").is_symlink()
    assert (tmp_path / "secret" / "x").read_bytes() == b"secret"


def test_a_folder_that_links_make_endless_is_given_up(run, folder, monkeypatch):
    for name in ("one", "two"):
        (folder / "own" / name).symlink_to(folder / "own")
    monkeypatch.setattr(artifacts, "MOST_FILES", 100)
    with pytest.raises(Unreadable, match=r"^own has more than 100 files$"):
        run.below("own")


@pytest.mark.parametrize(("name", "most"), [("x.json", "268,435,456"), ("deep/y", "8,589,934,592")])
def test_a_file_beyond_all_reason_is_refused_unread(run, folder, name, most):
    make_huge(folder / "own" / name)
    with pytest.raises(Unreadable, match=rf"^own/{name} has 1,099,511,627,776 bytes, but must have at most {most}$"):
        run.below("own")


def test_a_size_that_the_server_keeps_to_itself_is_looked_at_once_the_file_is_here(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"12345")
    monkeypatch.setattr(artifacts, "LARGEST_FILE", 4)
    with pytest.raises(Unreadable, match=r"^x has 5 bytes, but must have at most 4$"):
        served("x", download_artifacts=lambda *_: str(tmp_path / "x")).below("")


def test_names_that_lead_elsewhere_are_left_out():
    run = served("../x", "/x", "own/../../x", "other/x", "own", "own\\x", "own/x")
    assert [each.path for each in run.listed("own")] == ["own/x"]


def test_a_file_that_is_gone_is_unreadable_and_an_mlflow_that_is_away_is_not(run, folder):
    [file] = [each for each in run.listed("own") if not each.is_dir]
    (folder / "own" / "x.json").unlink()
    with pytest.raises(Unreadable, match="No such artifact"):
        run.fetch(file)

    def away(*_):
        raise requests.ConnectionError("away")

    with pytest.raises(requests.ConnectionError):
        served("x", download_artifacts=away).below("")

    def short_of_memory(*_):
        raise MemoryError

    with pytest.raises(MemoryError):
        served("x", download_artifacts=short_of_memory).below("")


def test_a_file_whose_reading_fails_for_now_is_not_taken_for_one_that_is_gone(run, monkeypatch):
    def away(*_):
        raise requests.ConnectionError("away")

    monkeypatch.setattr(run.repository, "_download_file", away)
    with pytest.raises(MlflowException) as caught:
        run.below("own")
    assert not artifacts.is_refusal(caught.value)


@pytest.fixture
def asked(monkeypatch):
    """Return a run's files behind HTTP: what is asked for, and what a server answers by path, a status or a content."""
    answers, paths = {}, []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            answer = answers.get(self.path.rpartition("/")[2], 404)
            content = answer if isinstance(answer, bytes) else b""
            self.send_response(200 if isinstance(answer, bytes) else answer)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Say nothing."""

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    run = Artifacts(HttpArtifactRepository(f"http://127.0.0.1:{server.server_port}/artifacts"))
    yield SimpleNamespace(run=run, answers=answers, paths=paths)
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_a_server_has_takes_one_request(asked):
    asked.answers["curves.json"] = bytes(range(256)) * 9
    assert asked.run.at_once("curves.json") == bytes(range(256)) * 9
    assert asked.paths == ["/artifacts/curves.json"]


def test_what_it_has_not_or_what_is_too_large_is_for_the_listing_to_say(asked, monkeypatch):
    assert asked.run.at_once("curves.json") is None
    asked.answers["curves.json"] = b"12345"
    monkeypatch.setattr(artifacts, "LARGEST_JSON", 5)
    assert asked.run.at_once("curves.json") == b"12345"
    monkeypatch.setattr(artifacts, "LARGEST_JSON", 4)
    assert asked.run.at_once("curves.json") is None


def test_a_server_that_is_away_is_not_taken_for_one_that_has_nothing(asked):
    asked.answers["curves.json"] = 503
    with pytest.raises(MlflowException, match="503") as caught:
        asked.run.at_once("curves.json")
    assert not artifacts.is_refusal(caught.value)


def test_on_a_disk_the_listing_is_asked_at_once(run):
    assert run.at_once("own/x.json") is None
