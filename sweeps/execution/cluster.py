"""Connecting to Ray, on this machine or a cluster, and how much of it one trial may take."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ray

from sweeps.execution import local_ray
from sweeps.execution.background import Background
from sweeps.execution.machines import Machines
from sweeps.interruption import held, tidy
from trainables.errors import UserError

PACKAGES = ("trainables", "analysis", "sweeps")


def joined() -> bool:
    """Return whether this process is in a cluster already."""
    return ray.is_initialized()


@contextmanager
def connect(machines: Machines, here: Background | None = None) -> Iterator[Machines]:
    """Join the cluster at `machines.address`, with the code as it lies here, or start Ray on this machine; leave it at
    the end.

    Returns the machines with their GPUs counted: where no number was given, all that this machine, or the cluster, has
    now. `here` is a Ray on this machine that may be starting already: it is waited for, and ended at the end.
    Where this process has joined a cluster otherwise, that one is used, and not left. Raises UserError where this
    machine has fewer GPUs than asked for, or no cluster answers.
    """
    if joined() and not (here and here.begun):
        yield _counted(machines)
        return
    with tidy():
        connection = ExitStack()
        try:
            with held():
                machines = machines.here()
                connection.enter_context(_joined(machines.address) if machines.address else _started(machines, here))
                machines = _counted(machines)
            yield machines
        finally:
            with held():
                connection.close()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep Ray's hands off this process's SIGTERM while it connects."""
    stopping = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # by Ray's own handler of SIGTERM, from its first step on
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGTERM, stopping)


def _counted(machines: Machines) -> Machines:
    if machines.num_gpus is not None:
        return machines
    return machines.with_gpus(int(ray.cluster_resources().get("GPU", 0)))


@contextmanager
def _joined(address: str) -> Iterator[None]:
    _check_address(address)
    root = Path(__file__).resolve().parents[2]
    code = {"py_modules": [str(root / name) for name in PACKAGES]}
    try:
        with _own_sigterm():
            ray.init(address, runtime_env=code, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _started(machines: Machines, here: Background | None) -> Iterator[None]:
    machines.check()
    started = here or Background(lambda: local_ray.running(machines))
    try:
        started.wait()
        yield
    finally:
        started.end()


def _check_address(address: str) -> None:
    """Knock first: Ray goes on asking an absent cluster for ever."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:  # "auto", or another word that Ray resolves itself
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}") from error
