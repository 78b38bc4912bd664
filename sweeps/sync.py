"""Deliver what MLflow has not received from earlier runs, as its server was unavailable or they were killed.

    python sweeps/sync.py

Covers all studies in the results folder. Each study also does this for itself at its next start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sweeps.options import Parser
from sweeps.terminal import busy
from trainables.errors import UserError

if TYPE_CHECKING:
    from sweeps.tracking.store import Store

PATIENCE = 120.0  # seconds without a trial delivered, until the rest is left for another time


def run(arguments: Sequence[str], console: Console) -> int:
    """Deliver the spools and return the exit status: 0, or 1 where something is left.

    Raises UserError for what the user can mend.
    """
    options = _parser().read(arguments)
    with busy(console, "looking through the results"):
        from sweeps.tracking.connection import resolve_uri
        from sweeps.tracking.findings import findings_in
        from sweeps.tracking.spool import trials_in
        from sweeps.tracking.store import Store

    if not options.output.is_dir():
        raise UserError(f"--output is {options.output}, which is not a folder")
    say = partial(console.print, highlight=False, soft_wrap=True)
    store = Store(resolve_uri(options.tracking_uri))
    spools = [folder for folder in sorted(options.output.glob("*/.spool")) if trials_in(folder) or findings_in(folder)]
    if not spools:
        say(f"{options.output}: nothing is left to deliver")
        return 0
    store.wait(say)
    return max([_deliver(store, spool, say) for spool in spools])


def _deliver(store: Store, spool: Path, say: Callable[[str], None]) -> int:
    """Deliver one study's spool, say what came of it, and return 1 where something is left."""
    from sweeps.interruption import tidy
    from sweeps.tracking.findings import findings_in
    from sweeps.tracking.spool import locked, trials_in
    from sweeps.tracking.tracker import deliver

    study, kinds = spool.parent.name, {"trials": trials_in, "findings": findings_in}
    before = {kind: len(among(spool)) for kind, among in kinds.items()}
    try:
        with tidy(), locked(spool / "driver.lock"):
            left, problems = deliver(store, spool, PATIENCE)
    except UserError as error:
        say(f"{study}: {error}")
        return 1
    for kind, count in before.items():
        if count:
            say(f"{study}: {count - len(kinds[kind](spool))} of {count} {kind} delivered to {store.uri}")
    for line in dict.fromkeys([*left, *problems]):
        say(f"warning: {line}")
    return 1 if left else 0


def _parser() -> Parser:
    parser = Parser(__doc__ or "")
    parser.add_places()
    return parser


if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console())))
