"""The one vocabulary for where a trial stands: on workers, in MLflow, in tables."""

from enum import StrEnum


class Status(StrEnum):
    """Where a trial stands. The values are what MLflow's tag `status` and the tables say."""

    RUNNING = "running"
    DONE = "done"  # it ran in full
    CENSORED = "censored"  # it was stopped early, so that its later epochs are unknown
    FAILED = "failed"
    DROPPED = "dropped"  # somebody has asked that it is run no more: it is never ranked
    INTERRUPTED = "interrupted"  # the command ended before it did
    SUPERSEDED = "superseded"  # set aside: it counts as nothing any more
