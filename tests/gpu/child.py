"""What a process beside the command does: python -m tests.gpu.child TASK DEVICE TINY. Its answers are lines of JSON."""

import time

BEGUN = time.perf_counter()

import json  # noqa: E402 the clock runs from before torch
import sys  # noqa: E402
from collections.abc import Callable, Iterator, Sequence  # noqa: E402
from dataclasses import asdict, replace  # noqa: E402
from functools import partial  # noqa: E402
from unittest.mock import patch  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from tests.gpu.measure import settle  # noqa: E402
from tests.gpu.networks import trial_and_data  # noqa: E402
from tests.gpu.rows import RATE, Result, Setting  # noqa: E402
from tests.gpu.workload import (  # noqa: E402
    FLOAT_ERROR,
    MANY,
    apart,
    captured,
    captures,
    dataset,
    eager,
    groups_of,
    r0,
    small,
    trained,
    verdict,
)
from trainables import gpu_errors  # noqa: E402
from trainables.devices import keep_within, on_gpu  # noqa: E402
from trainables.footprint import Images, footprint  # noqa: E402
from trainables.group import Group  # noqa: E402
from trainables.kept import Kept  # noqa: E402
from trainables.lane import Lane  # noqa: E402

WORKSPACES = 160 * 2**20  # bytes: cuBLAS keeps 32 MiB for each stream that it was used on, those of captures too


def say(**values: object) -> None:
    """Answer."""
    print(json.dumps(values), flush=True)


def capture_fails(setting: Setting) -> Result:
    """Train a step that waits for the device while it is captured."""
    trial, data = small(setting, "norm-dropout")
    said: list[str] = []
    step = Lane.step

    def waits(lane: Lane, seen: object = None) -> None:
        step(lane, seen)
        if torch.cuda.is_current_stream_capturing():
            lane.at.item()

    with captures(), patch.object(Lane, "step", waits):
        members = trained(trial, data, setting.device, (0, 1), Kept(said.append))
    with eager():
        plain = trained(trial, data, setting.device, (0, 1))
    found = verdict(apart(members, plain))
    return replace(found, ok=found.ok and len(said) == 1, note="; ".join(said))


def out_of_memory(setting: Setting) -> Result:
    """Train what does not fit into the memory that this process may take."""
    device, (trial, data) = setting.device, small(setting, "cnn")
    first = trained(trial, data, device)
    gpu_errors.empty_cache()
    start, total = torch.cuda.memory_reserved(device), torch.cuda.mem_get_info(device)[1]
    torch.cuda.set_per_process_memory_fraction((start + 2**29) / total)
    large, images = trial_and_data(setting, "R1", 2048)
    recognised, name = False, "nothing was raised"
    try:
        trained(large, images, device)
    except Exception as error:  # whatever it is, it is told
        recognised, name = gpu_errors.out_of_memory(error), type(error).__name__
        gpu_errors.let_go(error)
    uncollected = torch.cuda.memory_allocated(device)
    gpu_errors.empty_cache()
    after = torch.cuda.memory_reserved(device)
    torch.cuda.set_per_process_memory_fraction(1.0)
    difference = apart(trained(trial, data, device), first)
    values = {"MiB before": start / 2**20, "after": after / 2**20, "allocated at once": uncollected / 2**20}
    right = recognised and after - start <= WORKSPACES and difference <= FLOAT_ERROR
    return Result(right, values | {"largest difference": difference}, f"raised: {name}")


def device_assert(setting: Setting) -> Result:
    """Train on labels that no class has."""
    trial, data = small(setting, "cnn")
    wrong = replace(data, train=replace(data.train, labels=np.full_like(data.train.labels, 10)))
    raised = None
    try:
        trained(trial, wrong, setting.device)
    except Exception as error:  # as in a worker
        raised = error
    dead = False
    try:
        torch.ones(1, device=setting.device).item()
    except RuntimeError:
        dead = True
    right = raised is not None and gpu_errors.poisons(raised) and dead
    words = " ".join(f"{type(raised).__name__}: {raised}".split())[:120]
    return Result(right, {"computes no more": dead}, words)


def train_when_asked(setting: Setting, orders: Iterator[str]) -> None:
    """Train R0 for as many seconds as each line says, and answer how fast."""
    imported = time.perf_counter() - BEGUN
    torch.zeros(1, device=setting.device)
    settle(setting.device)
    values: dict[str, object] = {"import s": imported, "context s": time.perf_counter() - BEGUN - imported}
    trial, data = r0(setting, batch_size=setting.size(64, 4)), dataset(setting.size(12_800, 14))
    with eager():
        ways: dict[str, Sequence[Group]] = {"eager": groups_of(trial, data, setting.device)}
    if on_gpu(setting.device):
        ways["graph"] = groups_of(trial, data, setting.device)
    for groups in ways.values():
        epoch(groups)
    settle(setting.device)
    values["captured"] = "graph" in ways and all(each.replay for each in ways["graph"])
    if on_gpu(setting.device):
        values["reserved MiB"] = torch.cuda.memory_reserved(setting.device) / 2**20
    say(**values)
    for line in orders:
        order = json.loads(line)
        say(**{RATE: throughput(ways[order["way"]], len(data.train), order["seconds"])})


def epoch(groups: Sequence[Group]) -> None:
    """Train an epoch."""
    for each in groups:
        each.train(None, MANY)


def throughput(groups: Sequence[Group], images: int, span: float) -> float:
    """Return images/s over at least so many seconds."""
    start, epochs = time.perf_counter(), 0
    while not epochs or time.perf_counter() - start < span:
        epoch(groups)
        epochs += 1
    return epochs * images / (time.perf_counter() - start)


def footprint_holds(setting: Setting, network: str, batch: int, replicates: int) -> Result:
    """Train an epoch within what is reckoned with, and see what torch has kept of it at most."""
    trial, data = trial_and_data(setting, network, batch)
    trial = replace(trial, training=replace(trial.training, epochs=1))
    estimate = footprint(trial, Images.of(data), replicates)
    keep_within(estimate.total / torch.cuda.mem_get_info()[1], estimate.context)
    captured(setting.device, lambda: trained(trial, data, setting.device, range(replicates)))
    taken, most = torch.cuda.max_memory_reserved(setting.device), estimate.total - estimate.context
    return Result(
        taken <= most, {"taken MiB": taken / 2**20, "estimated MiB": most / 2**20, "share %": 100 * taken / most}
    )


TASKS: dict[str, Callable[[Setting], Result]] = {
    "capture-fails": capture_fails,
    "out-of-memory": out_of_memory,
    "device-assert": device_assert,
    "footprint-R0": partial(footprint_holds, network="R0", batch=64, replicates=3),
    "footprint-R1": partial(footprint_holds, network="R1", batch=64, replicates=1),
    "footprint-ResNet-18": partial(footprint_holds, network="ResNet-18", batch=32, replicates=1),
}


def main() -> None:
    """Do the task."""
    task, device, tiny = sys.argv[1:]
    setting = Setting(torch.device(device), tiny == "1")
    if task == "train":
        train_when_asked(setting, sys.stdin)
    else:
        say(**asdict(TASKS[task](setting)))


if __name__ == "__main__":
    main()
