"""Connecting to Ray, on this machine or a cluster, and what one trial may take of it."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.execution.machines import Machines
from sweeps.tracking.spool import locked
from sweeps.tracking.tracker import LOCK, Tracker
from trainables.errors import UserError

PACKAGES = ("trainables", "analysis", "sweeps")
GPU_SHARE_BYTES = (
    4 * 2**30
)  # what one trial may take of a GPU: data set, network, activations and CUDA's own part, generously
MOST_TRIALS_PER_GPU = 8


@contextmanager
def connect(machines: Machines) -> Iterator[None]:
    """Join the cluster at `machines.address`, with today's code, or start Ray on this machine; leave it at the end.

    Where this process has joined one already, that one is used. Raises UserError where this machine has fewer GPUs than
    asked for, or no cluster answers.
    """
    if ray.is_initialized():
        yield
        return
    root = Path(__file__).resolve().parents[2]
    stopping = signal.getsignal(signal.SIGTERM)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if machines.address:
        _check_address(machines.address)
        try:
            ray.init(machines.address, runtime_env={"py_modules": [str(root / name) for name in PACKAGES]}, **quiet)
        except (ConnectionError, RuntimeError) as error:
            raise UserError(f"no Ray cluster answers at {machines.address}: {error}") from error
    else:
        _check_gpus(machines.num_gpus)
        os.environ.setdefault(
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
        )  # Ray's coming default; without it every process warns
        # the kernel kills one worker, which Tune starts again; by Ray's own memory monitor all of Tune's run would end
        os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
        ray.init(
            "local",
            num_cpus=machines.num_cpus or os.cpu_count(),
            num_gpus=machines.num_gpus,
            include_dashboard=False,
            **quiet,
        )
    signal.signal(
        signal.SIGTERM, stopping
    )  # Ray has put its own in the place of main's, by which an interruption would end as an error
    try:
        yield
    finally:
        ray.shutdown()


def trial_resources(machines: Machines) -> dict[str, float]:
    """Return what one trial takes: a core, and with GPUs its share of one."""
    if not machines.num_gpus:
        return {"cpu": 1}
    return {"cpu": 1, "gpu": 1 / (machines.trials_per_gpu or _trials_per_gpu(machines))}


def start_tracker(uri: str, experiment: str, spool: Path) -> Any:
    """Start the Tracker as an actor on the driver's node, beside the workers' resources.

    It is started again however often it dies, and then gets the calls again that it had not answered. Raises UserError
    where the spool's last owner does not go.
    """
    with locked(
        spool / LOCK, Tracker.PATIENCE
    ):  # waited for here: an actor whose constructor fails ends in a traceback of Ray's
        pass
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    lasting = ray.remote(Tracker).options(num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1)
    return lasting.remote(uri, experiment, spool)


def _check_address(address: str) -> None:
    """Knock first: Ray goes on asking an absent cluster for ever."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:  # "auto", or another word that Ray resolves itself
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}") from error


def _check_gpus(wanted: int) -> None:
    if not wanted:
        return
    import torch

    if wanted > torch.cuda.device_count():
        raise UserError(f"--num-gpus is {wanted}, but this machine has {torch.cuda.device_count()} that torch can use")


def _trials_per_gpu(machines: Machines) -> int:
    import torch

    memory = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else GPU_SHARE_BYTES
    cores = (machines.num_cpus or os.cpu_count() or 1) // machines.num_gpus
    return max(1, min(memory // GPU_SHARE_BYTES, cores, MOST_TRIALS_PER_GPU))
