"""How a command ends, whatever ends it."""

import contextlib
import os
import signal

import pytest

from sweeps import interruption
from sweeps.interruption import tidy
from sweeps.main import guarded, main, status
from sweeps.study import Stage, Study
from trainables.config import Trial
from trainables.errors import UserError

STUDY = Study("small", Trial(dataset="shapes"), (Stage("conv_layers", {"model.conv_layers": (0, 1)}),))


def interrupt() -> int:
    with tidy():
        os.kill(os.getpid(), signal.SIGTERM)
    pytest.fail("it was not interrupted")


def half_an_import() -> int:
    with tidy(), contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    raise ImportError("half a module")


def mistake() -> int:
    raise UserError("--epochs is 0,\nbut must be at least 1")


@pytest.mark.parametrize(
    ("command", "end", "said"),
    [
        (lambda: 0, 0, ""),
        (lambda: 1, 1, ""),
        (mistake, 2, "error: --epochs is 0, but must be at least 1\n"),
        (half_an_import, 130, "interrupted: each trial's last snapshot is kept; the same command goes on from there\n"),
        (interrupt, 130, "interrupted: each trial's last snapshot is kept; the same command goes on from there\n"),
    ],
)
def test_each_end_has_its_status_and_at_most_a_line(command, end, said, capsys):
    assert guarded(command) == end
    assert capsys.readouterr().err == said


def test_what_is_not_the_user_s_mistake_is_raised():
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0)


def test_a_mistake_in_a_flag_is_one_line(capsys):
    assert status(STUDY, ["--epoch", "3"]) == 2
    assert capsys.readouterr().err == "error: unknown argument '--epoch'; did you mean '--epochs'?\n"


def test_main_ends_the_process_with_the_status():
    with pytest.raises(SystemExit) as end:
        main(STUDY, ["--epochs", "0"])
    assert end.value.code == 2


def test_in_a_notebook_the_signals_are_given_back():
    """Its next interruption is its own affair: a KeyboardInterrupt, not the end of the process."""
    before = [signal.getsignal(each) for each in interruption.SIGNALS]

    def command():
        assert signal.getsignal(signal.SIGINT) not in before
        os.kill(os.getpid(), signal.SIGINT)

    def broken():
        raise ZeroDivisionError

    with interruption.tidy():
        assert guarded(command) == 130
    with pytest.raises(ZeroDivisionError):
        guarded(broken)
    assert [signal.getsignal(each) for each in interruption.SIGNALS] == before
    assert not interruption.asked()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
