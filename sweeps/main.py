"""What `python sweeps/<study>.py` does: read the flags, run the study, turn its end into an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sweeps import interruption, terminal
from sweeps.command import fail
from sweeps.options import parse
from trainables.errors import UserError

if TYPE_CHECKING:
    from sweeps.study import Study


def main(study: Study, arguments: Sequence[str] | None = None) -> None:
    """Run a study from the command line and exit: 0 done, 1 some trials failed, 2 a user's mistake, 130 interrupted."""
    sys.exit(status(study, sys.argv[1:] if arguments is None else arguments))


def status(study: Study, arguments: Sequence[str]) -> int:
    """Run a study with these arguments and return the exit status."""

    def command() -> int:
        description = sys.modules["__main__"].__doc__ or study.name
        options = parse(arguments, description=description, stages=[stage.name for stage in study.stages])
        console = terminal.console(aside=options.json)
        with terminal.busy(console, f"{study.name}: planning"):
            from sweeps.engine import run_study

        return run_study(study, options, console)

    return guarded(command)


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return its exit status: 2, with one line, for a user's mistake; 130 if it was interrupted.

    In a notebook, or a program of somebody's own, the signals are given back after it.
    """
    taken = interruption.listen()
    terminal.endure()
    try:
        ended = _ended(command)
    finally:
        if taken:
            interruption.give_back(taken)
    if not taken:
        interruption.over(ended)
    return ended


def _ended(command: Callable[[], int]) -> int:
    try:
        return command()
    except UserError as error:
        return fail(error)
    except KeyboardInterrupt:
        return _interrupted()
    except Exception:
        if not interruption.asked():
            raise
        return _interrupted()  # a library has made another error of it


def _interrupted() -> int:
    interruption.over(interruption.STATUS)
    print(interruption.LINE, file=sys.stderr)
    return interruption.STATUS
