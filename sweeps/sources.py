"""Where a study's trials come from: by which command, on what, from when to when; kept in MLflow beside them."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sweeps.reporting.provenance import Provenance
from sweeps.tracking import notes
from sweeps.tracking.origin import in_notebook
from sweeps.tracking.store import Store
from trainables.errors import UserError

PASSING = ("--priority", "--share", "--notify")  # the last one may hold a secret
PACKAGES = ("torch", "torchvision", "ray", "mlflow", "numpy")


class Source:
    """What is known of a study's runs. MLflow that is away costs the report these lines, and nothing else."""

    def __init__(self, store: Store, study: str, say: Callable[[str], None]) -> None:
        self.store, self.study, self.say = store, study, say
        self.known = Provenance()

    def read(self) -> None:
        """Find out what MLflow has; of studies of earlier versions that is what their runs tell."""
        self.known = Provenance.from_json(notes.read_note(self.store, self.study))
        if self.known == Provenance() and (found := notes.times(self.store, self.study)):
            self.known = Provenance(found.began, found.ended, commit=found.commit)

    def begin(self, machine: str, commit: str) -> None:
        """Note that trials begin to run now, by this process."""
        began = self.known.began if self.known.began is not None else time.time()
        versions = {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}
        known = {name: number for name, number in versions.items() if number}
        self.known = replace(
            self.known, began=began, command=command(), machine=f"{_processor()}; {machine}", commit=commit,
            versions=known,
        )  # fmt: skip
        self._keep()

    def end(self, restarts: Mapping[str, Sequence[str]]) -> None:
        """Note that the last trial has ended now, and why trials were started again, by key."""
        again = dict(self.known.restarts) | {key: tuple(reasons) for key, reasons in restarts.items()}
        self.known = replace(self.known, ended=time.time(), restarts=again)
        self._keep()

    def _keep(self) -> None:
        try:
            notes.write_note(self.store, self.study, self.known.to_json())
        except (UserError, ValueError) as error:
            self.say(f"warning: where the trials come from is not kept: {error}")


def command() -> str:
    """Return the command of this process, to be copied; empty in a notebook, which has none.

    It is without flags that change nothing in what comes out: when it had its turn, and who was told. Where it was to
    end tells which trials had all their seeds.
    """
    if in_notebook() or not sys.argv[0]:
        return ""
    program = Path(sys.argv[0])
    near = os.path.relpath(program) if program.exists() else str(program)
    return shlex.join(["python", near, *_without(PASSING, sys.argv[1:])])


def _without(flags: Collection[str], arguments: Iterable[str]) -> Iterator[str]:
    """Go through arguments, leaving out these flags, and their values."""
    left = iter(arguments)
    for each in left:
        name, _, value = each.partition("=")
        if name not in flags:
            yield each
        elif not value:
            next(left, None)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """Return the processor's name and how many cores there are."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # another system than Linux
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
