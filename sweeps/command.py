"""The program that runs, where it is a command of ours: it ends as one from its first line on, before main() begins.

Whoever imports the package as a library, or in a notebook, keeps their own signals, streams and hook.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sweeps import interruption

TYPE_CHECKING = False
if TYPE_CHECKING:  # what takes time comes after interruption.listen()
    from types import TracebackType


def begin() -> None:
    """Have the program take what a user does to it as main() would, if it is a command, as its import of main shows."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    if not program or not is_a_command(Path(program)):
        return
    interruption.listen()
    from sweeps import terminal

    terminal.endure()
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _end


def is_a_command(program: Path) -> bool:
    """Return whether a program's text imports main or what else sweeps.main has."""
    try:
        text = program.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a program that is not a file: zipped, or gone
        return False
    return re.search(r"^\s*(from|import) sweeps(\.main\b| import .*\bmain\b)", text, re.MULTILINE) is not None


def fail(error: Exception) -> int:
    """Print a user's mistake as one line on standard error and return exit status 2."""
    from sweeps.terminal import printable

    print(f"error: {' '.join(printable(str(error)).split())}", file=sys.stderr)
    return 2


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from trainables.errors import UserError

    if isinstance(error, UserError):
        sys.exit(fail(error))
    sys.__excepthook__(kind, error, trace)
