"""Steer a study while it runs, from another terminal, another machine, or as a job of a cluster.

    python sweeps/steer.py part_a stop                 # ends as soon as the epochs under way are done
    python sweeps/steer.py part_a pause                # frees its places, until `resume`
    python sweeps/steer.py part_a drop "pooling: none" --reason "too slow"   # by its name, or the beginning of its key
    python sweeps/steer.py part_a seeds 5              # more seeds of every trial; epochs 30: more epochs
    python sweeps/steer.py search add 32               # more trials of a search
    python sweeps/steer.py search first lr=0.1 fc_layers=1   # drawn next, all else as in the best so far

The command that runs the study takes it up within seconds and answers. What was asked for, by whom and why, is kept in
MLflow, and is in the report; later commands keep to it, until one with --fresh.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console

from sweeps.decisions.acts import ACTS, Act
from sweeps.options import Parser, known_study
from sweeps.terminal import busy
from sweeps.tracking import acts, lease
from sweeps.tracking.connection import resolve_uri
from sweeps.tracking.origin import user
from sweeps.tracking.store import Store
from trainables.errors import UserError

WAITS = 90.0  # seconds for an answer; a command that starts, or starts again, takes some
LOOKS_EVERY = 0.5


def run(arguments: Sequence[str], console: Console) -> int:
    """Ask for an act, print the answer, and return the exit status. Raises UserError where it is not carried out."""
    options = _parser().read(arguments)
    act = Act(options.act, " ".join(options.argument), user() or "somebody", options.reason)
    act.check()
    store = Store(resolve_uri(options.tracking_uri))
    with busy(console, "asking MLflow"), store.readable():
        study, experiment = _experiment(store, options.study)
        if not lease.is_held(store, experiment):
            raise UserError(f"{study} is not being run now: no command could take that up")
        acts.write(store, experiment, act)
    with busy(console, f"waiting for the command that runs {study}"):
        answer = _answer(store, experiment, act)
    if answer.effect is None:
        raise UserError(f"{act.asked}: {answer.answer}")
    console.print(f"{study}: {act.asked}: {answer.answer}", highlight=False, soft_wrap=True)
    return 0


def _experiment(store: Store, study: str) -> tuple[str, str]:
    """Return a study's name, with --quick it has one of its own, and the id of its experiment."""
    names = {name: number for number, name in store.experiments().items()}
    name = known_study(study, sorted(names), store.uri)
    return name, names[name]


def _answer(store: Store, experiment: str, act: Act) -> Act:
    """Return the act with its answer. One that nobody answers is withdrawn, and a UserError."""
    until = time.monotonic() + WAITS
    try:
        while time.monotonic() < until:
            time.sleep(LOOKS_EVERY)
            with store.readable():
                found = next((each for each in acts.read(store, experiment) if each.id == act.id), act)
            if found.answer is not None:
                return found
    except KeyboardInterrupt:
        acts.withdraw(store, experiment, act)
        raise
    acts.withdraw(store, experiment, act)
    raise UserError(f"no answer within {WAITS:.0f} s, so {act.asked} is asked for no longer")


def _parser() -> Parser:
    parser = Parser(__doc__ or "", "%(prog)s STUDY ACT [...] [flags]")
    parser.add_argument("study", metavar="STUDY", help="a study's name")
    parser.add_argument("act", metavar="ACT", help=", ".join(ACTS))
    parser.add_argument("argument", metavar="...", nargs="*", help="a trial, a number, or fields with their values")
    parser.add_flag("--reason", "why, for the report", default="", metavar="TEXT")
    parser.add_tracking()
    return parser


if __name__ == "__main__":
    from sweeps.main import guarded
    from sweeps.terminal import console

    sys.exit(guarded(lambda: run(sys.argv[1:], console())))
