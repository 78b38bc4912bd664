"""Word of a command's end, to commands that write it down and to a server on this machine."""

import http.server
import json
import threading
import time

import pytest

from sweeps import notice
from sweeps.notice import Notice, Status, at_the_end, check, send
from trainables.errors import UserError

WRITE = 'printf "%s|" "$CNN_SWEEPS_STUDY" $CNN_SWEEPS_STATUS $CNN_SWEEPS_EXIT_STATUS "$CNN_SWEEPS_REPORT" '
WRITE += '"$CNN_SWEEPS_MESSAGE" > '


def mistake():
    raise UserError("--epochs is 0, but must be at least 1")


def interrupted():
    raise KeyboardInterrupt


def error():
    return 1 // 0


@pytest.fixture
def told(tmp_path):
    """Return what tells a command of an end, and what that, and the terminal, were told."""

    def tell(run, complete=True, report=True, to=WRITE + str(tmp_path / "told")):
        (tmp_path / "told").write_text("")
        if report:
            (tmp_path / "report.html").write_text("")
        said = []
        try:
            found = at_the_end(
                "part a", tmp_path / "report.html", lambda end: send(to, end, said.append), lambda: (run(), complete)
            )
        except BaseException as raised:
            found = type(raised)
        return found, (tmp_path / "told").read_text().split("|")[:-1], said

    return tell


@pytest.mark.parametrize(
    ("run", "complete", "found", "status", "exit_status", "why"),
    [
        (lambda: 0, True, 0, "complete", "0", ""),
        (lambda: 0, False, 0, "unfinished", "0", ""),
        (lambda: 1, True, 1, "failed", "1", ""),
        (mistake, True, UserError, "refused", "2", ": --epochs is 0, but must be at least 1"),
        (interrupted, True, KeyboardInterrupt, "interrupted", "130", ""),
        (error, True, ZeroDivisionError, "crashed", "1", ": ZeroDivisionError: integer division or modulo by zero"),
    ],
)
def test_every_end_is_told_and_is_what_it_was(run, complete, found, status, exit_status, why, told, tmp_path):
    report = str(tmp_path / "report.html")
    assert told(run, complete) == (found, ["part a", status, exit_status, report, f"part a: {status}{why}"], [])


def test_without_a_report_none_is_named(told):
    assert told(lambda: 0, report=False)[1][3] == ""


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("exit 3", "it ended with status 3"),
        ("echo no; echo such letterbox >&2; echo; exit 4", "it ended with status 4: such letterbox"),
        ("nosuchcommand", "it ended with status 127: "),
    ],
)
def test_a_command_that_fails_is_a_line_and_changes_nothing(command, why, told):
    status, _, [line] = told(lambda: 0, to=command)
    assert status == 0
    assert line.startswith(f"warning: --notify: {command}: {why}")


def test_a_command_that_does_not_end_is_ended_with_all_that_it_began(told, monkeypatch, tmp_path):
    monkeypatch.setattr(notice, "PATIENCE", 0.5)
    late = tmp_path / "late"
    began = time.monotonic()
    _, _, [line] = told(lambda: 0, to=f"(sleep 1; touch {late}) & sleep 60")
    assert time.monotonic() - began < 30
    assert line.endswith(": it did not end within 0 s, and was ended")
    time.sleep(1.2)
    assert not late.exists()


def test_what_a_command_leaves_running_is_not_waited_for(told):
    began = time.monotonic()
    assert told(lambda: 0, to="sleep 20 &")[2] == []
    assert time.monotonic() - began < 15


class Letterbox(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.answer)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815  the name is http.server's

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.HTTPServer(("127.0.0.1", 0), Letterbox) as server:
        server.posted, server.answer = [], 200
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_address_is_sent_the_same_as_json(told, server, tmp_path):
    address = f"http://127.0.0.1:{server.server_port}/hook?key=secret"
    assert told(lambda: 1, to=address)[2] == []
    form = {"study": "part a", "status": "failed", "exit_status": 1, "report": str(tmp_path / "report.html")}
    assert server.posted == [("/hook?key=secret", "application/json", form | {"text": "part a: failed"})]


@pytest.mark.parametrize(("answer", "why"), [(404, "HTTP Error 404: Not Found"), (302, "HTTP Error 302: Found")])
def test_an_address_that_does_not_take_it_is_a_line_without_its_secret_and_leads_nowhere_else(
    answer, why, told, server
):
    server.answer = answer
    status, _, lines = told(lambda: 0, to=f"http://localhost:{server.server_port}/secret")
    assert (status, lines) == (0, [f"warning: --notify: http://localhost:{server.server_port}/…: {why}"])
    assert len(server.posted) == 1


def test_an_address_where_nobody_is_is_a_line(told, server):
    port = server.server_port + 1
    _, _, [line] = told(lambda: 0, to=f"http://[::1]:{port}/")
    assert line.startswith(f"warning: --notify: http://[::1]:{port}/…: ")


@pytest.mark.parametrize(
    "to", ["mail -s done me@x.org", "https://x.org/hook", "http://localhost:80/", "http://127.0.0.1/a", "http://[::1]/"]
)
def test_commands_and_addresses_that_nobody_reads_along_with_are_taken(to):
    check(to)


@pytest.mark.parametrize(
    ("to", "shown"),
    [
        ("http://x.org/secret", "http://x.org/…"),
        ("http://me:secret@x.org", "http://x.org/…"),
        ("http://127.0.0.1.x.org/", "http://127.0.0.1.x.org/…"),
        ("ftp://127.0.0.1/", "ftp://127.0.0.1/…"),
        ("https:///path", "https:///…"),
        ("https://[x/", "https://[x/…"),
    ],
)
def test_others_are_refused_in_a_line_without_their_secret(to, shown):
    with pytest.raises(UserError) as refused:
        check(to)
    assert str(refused.value) == (
        f"--notify is {shown!r}, but must be https://, or http:// on this machine, or a command"
    )


def test_nothing_is_no_command():
    with pytest.raises(UserError, match="--notify is empty, but must be a command or an address"):
        check(" ")


def test_the_names_of_what_is_told_are_a_contract():
    told = Notice("s", Status.CRASHED, 1, "r.html", "why")
    assert told.form == {
        "study": "s",
        "status": "crashed",
        "exit_status": 1,
        "report": "r.html",
        "text": "s: crashed: why",
    }
    assert told.variables == {
        "CNN_SWEEPS_STUDY": "s",
        "CNN_SWEEPS_STATUS": "crashed",
        "CNN_SWEEPS_EXIT_STATUS": "1",
        "CNN_SWEEPS_REPORT": "r.html",
        "CNN_SWEEPS_MESSAGE": "s: crashed: why",
    }
