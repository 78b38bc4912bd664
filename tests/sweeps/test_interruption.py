"""A command that is asked to stop: at once, after what must be put in order, or after what must not break off."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps import interruption
from sweeps.interruption import LINE, SIGNALS, asked, check, held, listen, over, tidy

ROOT = Path(__file__).resolve().parents[2]


class Ended(BaseException):
    """Stands for the process's end."""


@pytest.fixture
def listening(own_signals, monkeypatch, capfd):  # noqa: ARG001
    """Return what the command says at its end; the end itself is an exception with the exit status."""

    def end(status):
        raise Ended(status)

    monkeypatch.setattr(interruption.os, "_exit", end)
    listen()
    return lambda: capfd.readouterr().err


def ask(by=signal.SIGINT):
    os.kill(os.getpid(), by)
    time.sleep(0.001)  # the handler runs between two steps of Python


def run(code: str, *, by=signal.SIGINT, **how) -> tuple[int, str, str]:
    """Run a program until it prints, ask it to stop, and return its exit status and what else it said."""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-uc", code], env=variables, **pipes, **how) as program:
        program.stdout.readline()
        program.send_signal(by)
        said = program.communicate(timeout=20)
    return program.returncode, *said


@pytest.mark.parametrize("by", SIGNALS)
def test_where_nothing_is_at_stake_it_ends_at_once(listening, by):
    with pytest.raises(Ended, match="130"):
        ask(by)
    assert listening() == f"{LINE}\n"


@pytest.mark.parametrize("by", SIGNALS)
def test_what_has_something_to_put_in_order_is_told(listening, by):
    assert not asked()
    with pytest.raises(KeyboardInterrupt), tidy():
        ask(by)
    assert asked()
    assert listening() == ""


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_the_second_time_it_ends_at_once(listening, by, monkeypatch):
    monkeypatch.setattr(interruption, "ONE_EVENT", 0.05)
    with tidy():
        with pytest.raises(KeyboardInterrupt):
            ask()
        ask(by)  # the same Ctrl-C, passed on by whatever started the command
        time.sleep(0.06)
        with pytest.raises(Ended, match="130"):
            ask(by)
    assert listening() == f"{LINE}\n"


@pytest.mark.usefixtures("listening")
def test_a_terminal_that_is_gone_tells_of_it_any_number_of_times(monkeypatch):
    monkeypatch.setattr(interruption, "ONE_EVENT", 0.0)
    with tidy():
        with pytest.raises(KeyboardInterrupt):
            ask(signal.SIGHUP)
        time.sleep(0.01)
        ask(signal.SIGHUP)


@pytest.mark.usefixtures("listening")
def test_what_must_not_break_off_comes_to_its_end_first():
    done = []

    def work() -> None:
        with tidy(), held():
            with held():
                ask()
            done.append("the rest of it")
        done.append("what comes after it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest of it"]


@pytest.mark.usefixtures("listening")
def test_an_error_in_it_does_not_lose_the_request():
    def work() -> None:
        with tidy(), held():
            ask()
            raise OSError("away")

    with pytest.raises(KeyboardInterrupt) as told:
        work()
    assert isinstance(told.value.__context__, OSError)


def test_without_anything_at_stake_it_ends_with_the_block(listening):
    done = []

    def work() -> None:
        with held():
            ask()
            done.append(listening())

    with pytest.raises(Ended, match="130"):
        work()
    assert done == [""]
    assert listening() == f"{LINE}\n"


@pytest.mark.usefixtures("listening")
def test_a_check_in_it_is_a_place_to_stop():
    with tidy(), held():
        check()
        ask()
        with pytest.raises(KeyboardInterrupt):
            check()
        check()  # once


@pytest.mark.parametrize("status", [0, 1, 130])
def test_after_the_end_it_only_ends_sooner(listening, status):
    over(status)
    with pytest.raises(Ended, match=str(status)):
        ask()
    assert listening() == ""


@pytest.mark.parametrize("each", SIGNALS)
def test_what_is_ignored_stays_ignored(each):
    signal.signal(each, signal.SIG_IGN)
    listen()
    assert [signal.getsignal(other) == signal.SIG_IGN for other in SIGNALS] == [other == each for other in SIGNALS]


def test_a_program_s_own_handler_is_kept():
    signal.signal(signal.SIGINT, own := lambda *_: None)
    listen()
    assert signal.getsignal(signal.SIGINT) is own


def test_a_closed_output_does_not_keep_it_from_its_end():
    code = """
import os, time
from sweeps import interruption
interruption.listen()
os.close(2)
print()
time.sleep(9)
"""
    assert run(code) == (130, "", "")


def test_what_it_has_started_ends_with_it():
    code = """
import subprocess, sys, time
from sweeps import interruption
interruption.listen()
below = "import subprocess; child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); child.wait()"
subprocess.Popen([sys.executable, "-c", below])
time.sleep(9)
"""
    # both hold the pipe that run() reads to its end: within the time that it gives
    assert run(code) == (130, "", f"{LINE}\n")


def test_a_request_that_comes_where_python_can_only_print_it_is_made_again():
    code = """
import time
from sweeps import interruption
interruption.listen()

class Slow:
    def __del__(self):
        print()
        time.sleep(1)

with interruption.tidy():
    try:
        slow = Slow()
        del slow
        time.sleep(9)
    except KeyboardInterrupt:
        print("told")
"""
    assert run(code) == (0, "told\n", "")


def test_another_error_there_is_printed_as_ever():
    code = """
import sys
from sweeps import interruption
interruption.listen()

class Broken:
    def __del__(self):
        raise ValueError("broken")

Broken()
"""
    _, _, said = run(code)
    assert said.startswith("Exception ignored in: <function Broken.__del__")
    assert said.endswith("ValueError: broken\n")


def test_the_last_moments_belong_to_python():
    """After the last atexit function Python takes its handlers away: without them Ctrl-C would kill."""
    code = """
from sweeps import interruption
interruption.listen()

class Last:
    def __init__(self):
        import os, time
        self.write, self.sleep = os.write, time.sleep

    def __del__(self):
        self.write(1, b"now\\n")
        self.sleep(1)

import sys
sys.last = Last()
interruption.over(3)
sys.exit(3)
"""
    assert run(code) == (3, "", "")


def test_at_its_end_it_looks_for_no_cycles():
    """Among all that torch and MLflow make that would take Python a second."""
    code = """
import atexit, gc
atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 1000))
from sweeps import interruption
interruption.listen()
"""
    command, variables = [sys.executable, "-c", code], os.environ | {"PYTHONPATH": str(ROOT)}
    end = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert end.stdout == "False True\n"
