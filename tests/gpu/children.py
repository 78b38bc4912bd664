"""Processes beside this one: some train side by side, under MPS or not, and some are hurt as this one must not be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast
from unittest.mock import patch

import torch

from sweeps.execution import gpus
from tests.gpu.hardware import CONTROL, ROOT
from tests.gpu.rows import FAST, RATE, RIGHT, LeftOut, Result, Setting, row
from trainables.footprint import CONTEXT

PIPES = "CUDA_MPS_PIPE_DIRECTORY"
COUNTS = (1, 2, 4, 8)


class Child:
    """A process that answers each line it gets with a line of JSON. Its first answer says that it is ready."""

    def __init__(self, setting: Setting, task: str, env: Mapping[str, str]) -> None:
        self.begun = time.perf_counter()
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 it is closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.gpu.child", task, str(setting.device), str(int(setting.tiny))],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def answer(self) -> dict[str, Any]:
        """Return its next answer. Raises RuntimeError with the end of its log where it ended without one."""
        line = cast("IO[str]", self.process.stdout).readline()
        if not line:
            status = self.process.wait()
            self.log.seek(0)
            raise RuntimeError(f"the process ended with status {status}: {' '.join(self.log.read().split())[-300:]}")
        return json.loads(line)

    def ask(self, **order: Any) -> None:
        """Send it a line."""
        there = cast("IO[str]", self.process.stdin)
        there.write(json.dumps(order) + "\n")
        there.flush()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        cast("IO[str]", self.process.stdin).close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        cast("IO[str]", self.process.stdout).close()
        self.log.close()


def in_child(setting: Setting, task: str) -> Result:
    """Return the result of a task of tests/gpu/child.py that runs in a process of its own."""
    with Child(setting, task, {}) as child:
        return Result(**child.answer())


@row("capture-fails", RIGHT, 45, needs=("gpu",))
def capture_fails(setting: Setting) -> Result:
    """A step that CUDA refuses to capture is said in one line, and trained eagerly to the same bits."""
    return in_child(setting, "capture-fails")


@row("out-of-memory", RIGHT, 60, needs=("gpu",))
def out_of_memory(setting: Setting) -> Result:
    """A trial that runs out of memory gives all of it back, and the next one trains as if it had not been."""
    return in_child(setting, "out-of-memory")


@row("device-assert", RIGHT, 45, needs=("gpu",))
def device_assert(setting: Setting) -> Result:
    """A device assert is recognised as the end of the process, which computes no more."""
    return in_child(setting, "device-assert")


@row("footprint-ResNet-18", RIGHT, 60, needs=("gpu",), network="ResNet-18")
@row("footprint-R1", RIGHT, 60, needs=("gpu",), network="R1")
@row("footprint-R0", RIGHT, 45, needs=("gpu",), network="R0")
def footprint_holds(setting: Setting, network: str) -> Result:
    """A trial of {network} can be trained in the memory that the plan reckons with."""
    return in_child(setting, f"footprint-{network}")


@row("context", FAST, 60, turn=3, needs=("gpu",))
def context(setting: Setting) -> Result:
    """What a process takes before it trains: memory outside torch's, and seconds."""
    before = torch.cuda.mem_get_info(setting.device)[0]
    with Child(setting, "train", {}) as child:
        ready = child.answer()
        whole = time.perf_counter() - child.begun
        taken = (before - torch.cuda.mem_get_info(setting.device)[0]) / 2**20
    values = {"context MiB": taken - ready["reserved MiB"], "torch's MiB": ready["reserved MiB"]}
    values |= {"reckoned MiB": CONTEXT / 2**20}
    return Result(None, values | {"import s": ready["import s"], "context s": ready["context s"], "start s": whole})


@contextmanager
def no_daemon() -> Iterator[dict[str, str]]:
    """Return an environment in which no daemon of MPS is found."""
    with tempfile.TemporaryDirectory() as folder:
        yield {PIPES: folder}


@contextmanager
def daemon() -> Iterator[dict[str, str]]:
    """Run a daemon of MPS of our own; yields the environment in which it is found."""
    if not shutil.which(CONTROL):
        raise LeftOut(f"no {CONTROL}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # the daemon's end is not waited for
        env = {PIPES: folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        both = {**os.environ, **env}
        log = Path(folder) / "control.log"
        with log.open("w") as said:  # a file: the daemon may keep it open
            begun = subprocess.run(
                [CONTROL, "-d"], env=both, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=20, check=False
            )
        if begun.returncode:
            words = " ".join(log.read_text().split())
            raise LeftOut(f"{CONTROL} -d ends with status {begun.returncode}: {words[-200:]}")
        try:
            yield env
        finally:
            subprocess.run([CONTROL], input="quit\n", env=both, capture_output=True, text=True, timeout=20, check=False)


@row("processes-mps", FAST, 75, turn=5, needs=("gpu",), shared=True)
@row("processes", FAST, 75, turn=5, needs=("gpu",), shared=False)
def processes(setting: Setting, shared: bool) -> Result:
    """R0 in 1, 2, 4 and 8 processes, images/s of them all, eager and captured (MPS: {shared})."""
    span, values = setting.size(2, 0), {}
    with daemon() if shared else no_daemon() as env, ExitStack() as stack:
        children = [stack.enter_context(Child(setting, "train", env)) for _ in range(COUNTS[-1])]
        captured = [child.answer()["captured"] for child in children]
        with patch.dict(os.environ, env):
            if gpus.mps() != shared:
                raise AssertionError(f"the plan would {'not ' * shared}say that MPS runs here")
        for way in ("eager", "graph"):
            for count in COUNTS:
                for child in children[:count]:
                    child.ask(way=way, seconds=span)
                values[f"{way} x{count}"] = sum(child.answer()[RATE] for child in children[:count])
            most = f"{way} x{COUNTS[-1]}"
            values[f"{most} / x1"] = values[most] / values[f"{way} x1"]
    return Result(None if all(captured) else False, values, "" if all(captured) else "its steps are not captured")
