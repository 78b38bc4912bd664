import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from sweeps.reporting.serving import PAGE, serve
from trainables.errors import UserError


@pytest.fixture
def folder(tmp_path):
    study = tmp_path / "part_a"
    study.mkdir()
    (study / "report.html").write_text("<p>the report")
    (study / "secret.txt").write_text("secret")
    return study


def asked(address, path="/", method="GET", **headers):
    """Return the status, the headers and the content of an answer; the path is sent as it stands."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_it_answers_with_the_page_the_state_and_the_report(folder):
    with serve(folder, "127.0.0.1", 0) as address:
        status, headers, content = asked(address)
        assert (status, content) == (200, PAGE.read_bytes())
        assert headers["Content-Security-Policy"].startswith("default-src 'none';")
        status, _, content = asked(address, "/state.json")
        found = json.loads(content)
        assert (status, found["study"], found["runs"], found["state"]) == (200, "part_a", False, None)
        assert found["report"] == (folder / "report.html").stat().st_mtime
        assert asked(address, "/report.html?1.5")[::2] == (200, b"<p>the report")
        (folder / "report.html").unlink()
        assert asked(address, "/report.html")[0] == 404


@pytest.mark.parametrize("path", ["/secret.txt", "/../secret.txt", "/report.html/../secret.txt", "/%2e%2e/", "/x"])
def test_nothing_else_is_read(path, folder):
    with serve(folder, "127.0.0.1", 0) as address:
        assert asked(address, path)[::2] == (404, b"there is no such page\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(method, folder):
    with serve(folder, "127.0.0.1", 0) as address:
        assert asked(address, "/report.html", method)[0] == 501
    assert (folder / "report.html").read_text() == "<p>the report"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:{}", 200),
        ("127.0.0.1:{}", 200),
        ("[::1]:{}", 200),
        ("evil.org", 403),
        ("evil.org:{}", 403),
    ],
)
def test_another_site_s_page_cannot_read_it_by_a_name_of_its_own(host, status, folder):
    """What is called DNS rebinding: the browser sends the name that it was given."""
    with serve(folder, "127.0.0.1", 0) as address:
        assert asked(address, "/state.json", Host=host.format(address.rpartition(":")[2]))[0] == status


def test_several_may_look_at_the_same_time(folder):
    with serve(folder, "127.0.0.1", 0) as address:
        held = socket.create_connection(address.removeprefix("http://").split(":"))  # says nothing, and keeps nobody
        with ThreadPoolExecutor(8) as pool:
            assert {status for status, *_ in pool.map(lambda _: asked(address, "/state.json"), range(40))} == {200}
        held.close()


def test_a_port_that_is_taken_is_said(folder):
    with serve(folder, "127.0.0.1", 0) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(UserError, match=rf"cannot listen at 127.0.0.1:{port}: .*; --port 0 takes any"):
            serve(folder, "127.0.0.1", port).__enter__()


def test_after_it_nobody_answers(folder):
    with serve(folder, "127.0.0.1", 0) as address:
        pass
    with pytest.raises(ConnectionError):
        asked(address)
