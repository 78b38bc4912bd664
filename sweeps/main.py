"""What `python sweeps/<study>.py` does: read the flags, run the study, turn its end into an exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console

from sweeps.options import fail, parse
from sweeps.study import Study
from trainables.errors import UserError


def main(study: Study, arguments: Sequence[str] | None = None) -> None:
    """Run a study from the command line and exit: 0 done, 1 some trials failed, 2 the user's mistake, 130 interrupted."""
    sys.exit(status(study, sys.argv[1:] if arguments is None else arguments))


def status(study: Study, arguments: Sequence[str]) -> int:
    """Run a study with these arguments and return the exit status."""

    def run_it() -> int:
        description = sys.modules["__main__"].__doc__ or study.name
        options = parse(arguments, description=description, stages=[stage.name for stage in study.stages])
        if not options.address:
            keep_ray_to_loopback()
        from sweeps.engine import run

        return run(study, options, terminal())

    return guarded(run_it)


def terminal() -> Console:
    """Return the console that commands print to. It shows text as it stands: a name with "[/]" in it is no markup."""
    return Console(markup=False, emoji=False)


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return its exit status: 2, with one line, for the user's mistake, 130 where it was interrupted."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # to be stopped tidily by schedulers and service managers, too
    try:
        return command()
    except UserError as error:
        return fail(error)
    except KeyboardInterrupt:
        print("interrupted: finished epochs are kept; the same command goes on from there", file=sys.stderr)
        return 130


def _unguarded(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Answer a study that its own file gets wrong, before main() has begun, as guarded() does."""
    if isinstance(error, UserError):
        sys.exit(fail(error))
    sys.__excepthook__(kind, error, trace)


sys.excepthook = _unguarded


def keep_ray_to_loopback() -> None:
    """Have a Ray that is started on this machine open its ports on 127.0.0.1 alone, not to the network.

    Ray has this mode for desktop systems, under this name, and reads it as it is imported.
    """
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
