"""The terminal of a running study cannot show what it says, is full, or goes away."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sweeps.interruption import LINE
from tests.faults.site import FAULT, ROOT, TRIALS, Site, until
from tests.faults.test_signals import running

pytestmark = FAULT


class Terminal:
    """A terminal in which one command runs, in the foreground; closing it hangs it up."""

    def __init__(self, command: list[str], folder: Path, **variables: str):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | variables
        self.pid, self._ours = pty.fork()
        if not self.pid:
            os.chdir(folder)
            os.execve(command[0], command, environment)  # noqa: S606
        self.shown = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while content := os.read(self._ours, 65536):
                self.shown += content

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def close(self) -> None:
        os.close(self._ours)

    def end(self) -> int:
        """Wait for the command's end and return its exit status."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def shell(line: str, site: Site, **variables: str) -> subprocess.CompletedProcess:
    """Run the small study with a shell's redirections, and return its own exit status."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    words = ["bash", "-c", f'"$0" "$@" {line}; exit ${{PIPESTATUS[0]}}', *site.command()]
    return subprocess.run(words, cwd=site.folder, env=environment, capture_output=True, check=False, timeout=480)


def test_a_study_whose_output_nobody_reads_on_is_run_to_its_end(tmp_path):
    program = [sys.executable, str(ROOT / "sweeps" / "part_a.py"), "--quick", "--num-cpus", "2"]
    line = ["bash", "-c", '"$0" "$@" | head -3; exit ${PIPESTATUS[0]}', *program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=560)
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr) == (0, 3, b"")
    assert (tmp_path / "results" / "part_a_quick" / "report.html").exists()


@pytest.mark.parametrize("where", [">/dev/full 2>&1", "<&- >&- 2>&-"])
def test_an_output_that_takes_nothing_stops_nothing(site, undisturbed, where):
    done = shell(where, site)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert site.outcome() == undisturbed


def test_a_terminal_that_knows_ascii_alone_gets_that(site, undisturbed):
    done = shell("", site, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"+-" in done.stdout
    assert done.stdout.isascii()
    assert site.outcome() == undisturbed


@pytest.mark.parametrize("columns", ["80", "1"])
def test_ctrl_c_in_a_terminal_with_the_live_panel(site, undisturbed, columns):
    terminal = Terminal(site.command(), site.folder, COLUMNS=columns)
    until(lambda: site.trained() > 15)
    if columns == "80":
        assert b"running" in terminal.shown
    terminal.type(b"\x03")  # to all processes of the foreground
    assert terminal.end() == 130
    assert terminal.shown.count(LINE.encode()) == 1
    assert "Traceback" not in terminal.shown.decode()
    assert running(site) == []
    assert not list(site.spool.glob("*/trial.json"))
    assert site.run()[0] == 0
    assert site.outcome() == undisturbed


def test_a_dumb_terminal_gets_plain_lines(site, undisturbed):
    terminal = Terminal(site.command(), site.folder, TERM="dumb", NO_COLOR="1")
    assert terminal.end() == 0
    assert terminal.shown.count(b": done, 12 epochs") == TRIALS
    assert b"\x1b" not in terminal.shown.removesuffix(b"\x1b[0m")  # which a library of Ray's writes at the end
    assert site.outcome() == undisturbed


def test_a_terminal_that_is_closed_ends_a_study_tidily(site, undisturbed):
    terminal = Terminal(site.command(), site.folder)
    until(lambda: site.trained() > 15)
    terminal.close()
    assert terminal.end() == 130
    assert running(site) == []
    assert not list(site.spool.glob("*/trial.json"))  # MLflow has it all
    assert site.run()[0] == 0
    assert site.outcome() == undisturbed


def test_under_nohup_it_goes_on_without_its_terminal(site, undisturbed):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        terminal = Terminal(site.command(), site.folder)
    finally:
        signal.signal(signal.SIGHUP, before)
    until(lambda: site.trained() > 15)
    terminal.close()
    assert terminal.end() == 0
    assert site.outcome() == undisturbed
