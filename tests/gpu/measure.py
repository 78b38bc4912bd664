"""Speed, launches and memory of what is done on a device."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from tests.gpu.rows import RATE, Setting
from tests.gpu.workload import MANY, begin, groups_of, steps
from trainables.config import Trial
from trainables.datasets import Dataset
from trainables.devices import on_gpu
from trainables.group import Group

ROUNDS = 3
PROFILED = 20  # steps


def settle(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if on_gpu(device):
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], Any], device: torch.device, rounds: int = ROUNDS) -> list[float]:
    """Return how long it took, time after time."""
    times = []
    for _ in range(rounds):
        settle(device)
        start = time.perf_counter()
        work()
        settle(device)
        times.append(time.perf_counter() - start)
    return times


def rate(images: int, times: Sequence[float]) -> dict[str, Any]:
    """Return images/s at the median of the times, and how far these are apart."""
    middle = statistics.median(times)
    return {RATE: images / middle, "spread %": 100 * (max(times) - min(times)) / middle}


def speed(
    setting: Setting, trial: Trial, data: Dataset, seeds: Sequence[int] = (0,), groups: Sequence[Group] | None = None
) -> dict[str, Any]:
    """Train an epoch of the replicates time after time: images/s of them all, and on a GPU launches, busy and memory.

    `groups` are those to train, None: new ones.
    """
    said: list[str] = []
    start_memory(setting.device)
    groups = groups or groups_of(trial, data, setting.device, seeds, said.append)

    def epoch() -> None:
        for each in groups:
            each.train(None, MANY)

    epoch()  # to warm up, and to capture
    values = rate(len(seeds) * len(data.train), seconds(epoch, setting.device))
    values |= {"captured": all(each.replay is not None for each in groups)}
    if said:
        values["said"] = said[0]
    if on_gpu(setting.device):
        values |= profiled(groups) | {"peak MiB": torch.cuda.max_memory_reserved(setting.device) / 2**20}
    return values


def step_seconds(groups: Sequence[Group], device: torch.device) -> float:
    """Return the median time of a step of every lane, without what an epoch begins and ends with."""
    whole, times = groups[0].lanes[0].whole, []
    for _ in range(ROUNDS):
        begin(groups)
        times += seconds(lambda: steps(groups, whole), device, rounds=1)
    return statistics.median(times) / whole


def start_memory(device: torch.device) -> None:
    """Let the peak of memory be counted from here."""
    if on_gpu(device):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def profiled(groups: Sequence[Group]) -> dict[str, Any]:
    """Return kernels, launches and busy time a step of all lanes."""
    count = min(PROFILED, groups[0].lanes[0].whole)
    begin(groups)
    [apart] = seconds(lambda: steps(groups, count), groups[0].device, rounds=1)  # without the profiler's own time
    begin(groups)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        steps(groups, count)
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    return counted(events, count, apart)


def counted(events: Sequence[dict[str, Any]], count: int, taken: float) -> dict[str, Any]:
    """Return what a trace of so many steps says, which took so many seconds without a profiler.

    Kernels that run side by side are busy once; `overlap` is how many run at a time, while any does.
    """
    kernels = sorted((each["ts"], each["ts"] + each["dur"]) for each in events if each.get("cat") == "kernel")
    if not kernels:
        return {"profile": "no kernels in the trace"}
    calls = [each for each in events if each.get("cat") in ("cuda_runtime", "cuda_driver") and "Launch" in each["name"]]
    busy, end = 0.0, kernels[0][0]
    for first, last in kernels:
        busy += max(0.0, last - max(first, end))
        end = max(end, last)
    work = sum(last - first for first, last in kernels)
    return {
        "kernels a step": len(kernels) / count,
        "launches a step": len(calls) / count,
        "busy %": 100 * busy / 1e6 / taken,
        "overlap": work / busy if busy else 1.0,
    }
