"""Ray on this machine alone, with its doors shut: for one command of one user, gone with it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
import ray._private.node
import ray._private.utils
import ray._private.worker
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

from sweeps.execution.head import watched
from sweeps.execution.machines import Machines
from sweeps.execution.session import private_folder
from trainables.errors import UserError

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
DESCRIPTORS, A_WORKER = 56, 3  # files that the raylet has open at most, as measured with 2 and 8 workers
# What a Ray for one command does without: autoscaler, dashboard, and who gathers its logs. They take a core 3 s at the
# start and one at the end. An agent that has a dashboard would also wait for its port, which is the same in every Ray:
# for 4 s, where another runs on this machine.
SPARED = ("start_monitor", "start_api_server", "start_log_monitor")
SIGACTION = 512  # bytes, more than the C structure has
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray has this mode for desktop systems, under this name
DEFAULTS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's coming default; without it workers warn
    # the kernel kills one worker, which Tune starts again; by Ray's own memory monitor all of Tune's run would end
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_preload_python_modules": "sweeps.execution.warm",
}
INHERITED = {"RAY_CHDIR_TO_TRIAL_DIR": "0"}  # what Tune would send to its workers, which then had to start anew


@contextmanager
def running(machines: Machines) -> Iterator[None]:
    """Run Ray on this machine, and end it.

    Its ports are on the loopback and ask for a token that only the environment of its processes holds; its sockets and
    logs are in a folder that no other user can enter. Raises UserError where it does not start.
    """
    _check_descriptors(machines.cores)
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        # beyond so many processes Ray ends those that wait: it is one for each core, the Tracker's and the desk's
        room = {"RAY_num_workers_soft_limit": str(machines.cores + 2)}
        stack.enter_context(_environment(_doors(folder) | room))
        # Ray prints what its processes report of each other: where it ends, `head` says so
        stack.enter_context(_replaced(ray._private.worker, "print_to_stdstream", _do_nothing))
        stack.callback(_end_all_in, folder)
        stack.callback(ray.shutdown, wait_for_processes=True)
        with _spared(), _own_signals():
            _start(machines.cores, machines.num_gpus or 0, folder)
        stack.enter_context(watched(_head()))
        yield


def here() -> bool:
    """Return whether this process runs a Ray of its own."""
    return os.environ.get(LOOPBACK) == "0"


def _doors(folder: Path) -> dict[str, str]:
    """Return the variables that shut the doors of a Ray that has its files in this folder."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        LOOPBACK: "0",
        "RAY_TMPDIR": str(folder),
        # metrics ask for no token
        "RAY_enable_metrics_collection": "0",
        "DASHBOARD_METRIC_PORT": "-1",
        "AUTOSCALER_METRIC_PORT": "-1",
    }


@contextmanager
def _environment(doors: dict[str, str]) -> Iterator[None]:
    """Have these variables in the environment, and Ray know of them though it has been imported; then as before."""
    before, cluster = dict(os.environ), ray_constants.ENABLE_RAY_CLUSTER
    changed = doors | INHERITED | {name: value for name, value in DEFAULTS.items() if name not in before}
    os.environ.update(changed)
    ray_constants.ENABLE_RAY_CLUSTER = False
    _read_again()
    try:
        yield
    finally:
        for name in changed:
            os.environ.pop(name, None)
        os.environ.update({name: before[name] for name in changed if name in before})
        ray_constants.ENABLE_RAY_CLUSTER = cluster
        _read_again()


def _read_again() -> None:
    """Have Ray's C++ part read its settings and its token from the environment again."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _spared() -> Iterator[None]:
    """Have Ray start as if it had been installed without a dashboard, and without what else nobody here needs."""
    with ExitStack() as stack:
        absent = ImportError("not wanted")
        stack.enter_context(_replaced(ray._private.utils, "get_dashboard_dependency_error", lambda: absent))
        for name in SPARED:
            stack.enter_context(_replaced(ray._private.node.Node, name, _do_nothing))
        yield


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep Ray's hands off this process's SIGTERM while it starts, and a terminal's SIGHUP off Ray's processes.

    These inherit that it is blocked: they must live until MLflow has what the trials yielded. That they are kept from
    SIGINT Ray sees to itself. SIGTERM is taken by its C++ part; only in the main thread Python could take it back.
    """
    system, taken_by = ctypes.CDLL(None), ctypes.create_string_buffer(SIGACTION)
    system.sigaction(signal.SIGTERM, None, taken_by)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        system.sigaction(signal.SIGTERM, taken_by, None)


@contextmanager
def _replaced(owner: Any, name: str, by: Callable[..., Any]) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _do_nothing(*_: Any, **__: Any) -> None:
    """Stand for a function of Ray's that is not wanted."""


def _check_descriptors(cores: int) -> None:
    """Raise UserError where fewer files may be open than Ray needs; it raises the soft limit itself."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = DESCRIPTORS + A_WORKER * cores
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        raise UserError(
            f"a process may have {allowed} files open here (ulimit -Hn), but Ray on {cores} cores needs {needed}"
        )


def _start(cores: int, gpus: int, folder: Path) -> None:
    # Ray makes its own folder writable for everyone, so that it lies inside of the private one
    how = {"include_dashboard": False, "_temp_dir": str(folder / "r")} | QUIET
    try:
        ray.init("local", num_cpus=cores, num_gpus=gpus, **how)
    except Exception as error:  # Ray raises whatever it meets
        raise UserError(f"Ray does not start on this machine: {' '.join(str(error).split())}") from error


def _end_all_in(folder: Path) -> None:
    """Kill what is left of Ray's processes: those that have a file of its folder open.

    Its agents outlive its raylet by minutes; and where its start was broken off, Ray knows of none of its processes.
    """
    for files in Path("/proc").glob("[1-9]*/fd"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            opened = any(folder in file.readlink().parents for file in files.iterdir())
            if opened and files.parent.name != str(os.getpid()):
                os.kill(int(files.parent.name), signal.SIGKILL)


def _head() -> dict[str, Any]:
    """Return the processes without which Ray is at its end, by name."""
    processes = ray._private.worker._global_node.all_processes
    return {name: processes[name][0].process for name in ("raylet", "gcs_server")}
