"""Watch a study, running or finished: its report as it grows, and what runs where.

    python sweeps/watch.py part_a              # a page at http://127.0.0.1:8787
    python sweeps/watch.py part_a --once       # where it stands, in the terminal

Any number of people may look at the same time, and none of them changes anything. On a cluster it runs where the study
was started; `ssh -L 8787:127.0.0.1:8787 HOST` brings the page here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from sweeps.options import Parser, known_study
from trainables.errors import UserError

PORT = 8787
HOST = "127.0.0.1"


def run(arguments: Sequence[str], console: Console) -> int:
    """Serve the page until interrupted, or print where the study stands, and return the exit status.

    Raises UserError for what the user can mend.
    """
    options = _parser().read(arguments)
    if not 0 <= options.port <= 65535:
        raise UserError(f"--port is {options.port}, but must be 0..65535")
    folder = _folder(options.output, options.study)
    from sweeps.reporting import onlooking

    if options.once:
        for part in onlooking.in_words(onlooking.look(folder)):
            console.print(part, highlight=False, soft_wrap=isinstance(part, str))
        return 0
    from sweeps.interruption import tidy
    from sweeps.reporting.serving import serve

    with tidy(), serve(folder, options.host, options.port) as address:
        console.print(f"{folder.name}: {address} (Ctrl-C ends)", highlight=False, soft_wrap=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


def _folder(output: Path, study: str) -> Path:
    """Return a study's folder of results; with `--quick` it has a name of its own."""
    known = sorted(each.parent.name for each in output.glob("*/plan.json"))
    return output / known_study(study, known, output)


def _parser() -> Parser:
    parser = Parser(__doc__ or "")
    parser.add_argument("study", metavar="STUDY", help="a study's name")
    parser.add_flag("--output", "where results are (default: %(default)s)", default=Path("results"), type=Path)
    parser.add_flag("--once", "print where it stands, and end", action="store_true")
    parser.add_number("--port", "of the page; 0: any that is free (default: %(default)s)", default=PORT)
    whom = (
        "address to listen at; another one than this machine's own lets others read the report (default: %(default)s)"
    )
    parser.add_flag("--host", whom, default=HOST)
    return parser


if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console())))
