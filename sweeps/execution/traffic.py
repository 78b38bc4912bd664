"""Several studies on one cluster: how many trials each may have under way, by priority and share.

Every command tells an actor of the cluster what it wants and has, and hears what it may take. The actor remembers
nothing that it is not told again within seconds: where it is lost, another one soon knows as much.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import ray

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.shares import Claim, allot

NAME, NAMESPACE = "cnn-sweeps-traffic-1", "cnn-sweeps"  # the number is raised where what is told changes
PERIOD = 2.0  # seconds between two reports
ENOUGH = 1e-6  # of a GPU or a core: what is less is rounding
SILENT = 10.0  # seconds without a report, after which a command is taken to be gone

log = logging.getLogger(__name__)


class Traffic:
    """Knows what the commands on a cluster want."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, Claim]] = {}  # by command, when and what

    def report(self, command: str, claim: Mapping[str, Any], total: float) -> tuple[float, list[dict[str, Any]]]:
        """Take what a command wants of `total` GPUs or cores; return what it may take, and all claims with theirs."""
        now = time.monotonic()
        self._told[command] = now, Claim(**claim)
        self._told = {name: entry for name, entry in self._told.items() if now - entry[0] < SILENT}
        alike = {name: each for name, (_, each) in self._told.items() if each.kind == claim["kind"]}
        may = dict(zip(alike, allot(total, list(alike.values())), strict=True))
        return may[command], [asdict(each) | {"may": may[name]} for name, each in alike.items()]

    def leave(self, command: str) -> None:
        """Forget a command that has ended."""
        self._told.pop(command, None)


class Lane:
    """What one command may have under way of a cluster's GPUs or cores. A thread asks: trials wait for nobody.

    `size` is how much one trial takes of them.
    """

    def __init__(self, claim: Claim, size: float) -> None:
        self.size, self.others = size, list[dict[str, Any]]()
        self._claim = claim
        self._may: float | None = None  # not known yet: as if it were alone
        self._command, self._over = uuid.uuid4().hex, threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lane", daemon=True)

    def __enter__(self) -> Lane:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join(5)

    def is_full(self, under_way: int) -> bool:
        """Tell whether no trial more may begin beside so many: one may at least, where anything may."""
        if self._may is None:
            return False
        return under_way >= (max(1.0, (self._may + ENOUGH) // self.size) if self._may > ENOUGH else 0.0)

    def keep(self, agenda: Agenda, under_way: Sequence[str]) -> None:
        """Say what is wanted. Have the trials that began last give way, where more are under way than others leave
        room for: they end with their epoch, and go on when there is room again.

        `under_way` has the keys of trials, in the order in which they began, and other names for who helps with one.
        """
        ready = agenda.ready() + agenda.ready(alone=True)
        has, wants = (self.size * count for count in (len(under_way), len(under_way) + ready))
        self._claim = replace(self._claim, has=has, wants=wants)
        running = [key for key in under_way if key in agenda.tasks]
        while running and not agenda.ledger.closed and self.is_full(len(running) - 1):
            agenda.ledger.cut.add(running.pop())

    def _keep(self) -> None:
        while not self._over.wait(PERIOD):
            try:
                total = ray.cluster_resources().get(self._claim.kind, 0.0)
                report = _traffic().report.remote(self._command, asdict(self._claim), total)
                self._may, self.others = ray.get(report, timeout=SILENT)
            except Exception as error:  # the actor starts again, or the cluster is in trouble: the next report knows
                log.info("what the cluster's other studies want is not known: %s", error)
        try:
            _traffic().leave.remote(self._command)
        except Exception as error:
            log.info("this command is not signed off: %s", error)


def _traffic() -> Any:
    """Return the cluster's actor; the first command starts it."""
    options = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    return ray.remote(Traffic).options(**options, num_cpus=0, max_restarts=-1).remote()
