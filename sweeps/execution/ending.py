"""What workers begin on this machine as the last trial has ended, while the driver writes the report."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import ray

from sweeps.execution import analysis_tasks
from sweeps.tracking.connection import one_line
from sweeps.tracking.store import Store

log = logging.getLogger(__name__)


def get_ready(jobs: int) -> None:
    """Have Ray start as many processes as so many analyses use at least: each takes seconds to load torch.

    There is one already, which exports.
    """
    for _ in range(min(jobs, os.cpu_count() or 1) - 1):
        analysis_tasks.get_ready.remote()


def exporting(store: Store, run_id: str) -> Callable[[], bytes | None]:
    """Have a worker export a run's model. Return what waits for the program, and returns None where there is none."""
    try:
        task = analysis_tasks.exported.remote(store.checkpoint(run_id))
    except Exception as error:  # the driver tries it again, and says what is wrong
        log.debug("%s", one_line(error))
        return lambda: None

    def program() -> bytes | None:
        try:
            return bytes(ray.get(task))
        except ray.exceptions.RayError as error:  # its process was lost, or it failed there: likewise
            log.debug("%s", one_line(error))
            return None

    return program
