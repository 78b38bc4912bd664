"""What `python sweeps/<study>.py` does: read the flags, run the study, turn its end into an exit status."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console

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
        from sweeps.engine import run_study

        return run_study(study, options, terminal())

    return guarded(command)


def terminal() -> Console:
    """Return the console that commands print to. It shows text as it stands: "[/]" in a name is not markup."""
    return Console(markup=False, emoji=False)


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return its exit status: 2, with one line, for a user's mistake; 130 if it was interrupted."""
    # schedulers and service managers stop a command by SIGTERM: it then ends as tidily as by Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return command()
    except UserError as error:
        return fail(error)
    except KeyboardInterrupt:
        print("interrupted: finished epochs are kept; the same command goes on from there", file=sys.stderr)
        return 130


def fail(error: UserError) -> int:
    """Print a user's mistake as one line on standard error and return exit status 2."""
    # without control characters: a file's name in it could command the terminal
    printable = "".join(character if character.isprintable() else " " for character in str(error))
    print(f"error: {' '.join(printable.split())}", file=sys.stderr)
    return 2


def answer_in_one_line() -> None:
    """Let a mistake in a study's own file, which is met before main() begins, end as one that main() meets.

    Only where the program is such a file, as its import of main shows: whoever imports the package as a library, or in
    a notebook, keeps their own hook.
    """
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    if program and sys.excepthook is sys.__excepthook__ and _is_a_command(Path(program)):
        sys.excepthook = _end


def _is_a_command(program: Path) -> bool:
    """Return whether a program's text imports main or what else sweeps.main has."""
    try:
        text = program.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a program that is not a file: zipped, or gone
        return False
    return re.search(r"^\s*(from|import) sweeps(\.main\b| import .*\bmain\b)", text, re.MULTILINE) is not None


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, UserError):
        sys.exit(fail(error))
    sys.__excepthook__(kind, error, trace)
