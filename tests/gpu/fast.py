"""How fast training is, from the loop that a student writes to a graph of many replicates; R0's network, batch 64."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from tests.benchmarks.train_throughput import students
from tests.gpu.measure import rate, seconds, speed, step_seconds
from tests.gpu.networks import trial_and_data
from tests.gpu.rows import FAST, RATE, LeftOut, Result, Setting, row
from tests.gpu.workload import MANY, dataset, eager, groups_of, images_on_the_host, in_bfloat16, members_of, r0
from trainables.checkpoint import pack
from trainables.config import Trial
from trainables.datasets import Dataset
from trainables.devices import CAST_FLOPS
from trainables.plan import flops, plan_of
from trainables.train import predict, train

IMAGES = {1: 44_800, 4: 22_400, 16: 6_400}  # that a replicate is trained on, by how many there are
# Floors computed for an H200 in bfloat16, seconds of 15 epochs of 50,000 images: at batch 4 the launches of replays,
# at 64 arithmetic, activations and the optimizer's traffic, at 512 that of the activations
FLOORS = {4: 12.7, 64: 0.34, 512: 0.15}
STUDY = 15 * 50_000  # images


@row("student", FAST, 40)
def student(setting: Setting) -> Result:
    """The loop that a student writes: torchvision's data set and loader, float32, the loss read at each step."""
    channels = (4, 8, 16) if setting.tiny else (32, 64, 256)
    part = dataset(setting.size(6_400, 16)).train
    students(64, part, setting.device, channels)
    speeds = [students(64, part, setting.device, channels) for _ in range(3)]
    return Result(None, {RATE: statistics.median(speeds), "spread %": 100 * (max(speeds) / min(speeds) - 1)})


@contextmanager
def path(setting: Setting, graph: bool, bf16: bool) -> Iterator[None]:
    """Force a way to train."""
    with in_bfloat16(setting.device, bf16), nullcontext() if graph else eager():
        yield


def measured(setting: Setting, batch: int, replicates: int, graph: bool, bf16: bool, goal: str) -> Result:
    """R0 at batch {batch}, replicates at a time: {replicates}; captured: {graph}; bfloat16: {bf16}."""
    batch_size = setting.size(batch, min(batch, 8))
    trial = r0(setting, batch_size=batch_size)
    data = dataset(setting.size(IMAGES[replicates] if batch > 4 else 6_400, 3 * batch_size + 2))
    with path(setting, graph, bf16):
        values = speed(setting, trial, data, range(replicates))
    if replicates == 1 and not setting.tiny:
        study = STUDY / values[RATE]
        values |= {"15 epochs of 50,000 s": study, "floor of an H200 s": FLOORS[batch]}
    if values["captured"] != graph:
        return Result(False, values, "its steps are not captured")
    return Result(None, values, goal)


for _name, _peer, _batch, _replicates, _graph, _bf16, _goal in (
    ("eager-tf32", "student", 64, 1, False, False, ""),
    ("eager-bf16", "student", 64, 1, False, True, ""),
    ("graph-tf32", "student", 64, 1, True, False, "goal: at least 10 times the student, within 3 times its floor"),
    ("graph-bf16", "student", 64, 1, True, True, ""),
    ("batch4-eager", "student", 4, 1, False, False, ""),
    ("batch4-graph", "batch4-eager", 4, 1, True, False, ""),
    ("batch512-eager", "student", 512, 1, False, False, ""),
    ("batch512-graph", "batch512-eager", 512, 1, True, False, ""),
    ("batch512-graph-bf16", "batch512-graph", 512, 1, True, True, ""),
    ("in-turn-4", "eager-tf32", 64, 4, False, False, ""),  # graphs in turn are as fast as graph-tf32
    ("in-turn-16", "eager-tf32", 64, 16, False, False, ""),
    ("branches-4", "graph-tf32", 64, 4, True, False, "goal: a ratio of at least 2.67"),
    ("branches-4-bf16", "graph-tf32", 64, 4, True, True, ""),
    ("branches-16", "graph-tf32", 64, 16, True, False, ""),
    ("batch4-branches-4", "batch4-graph", 4, 4, True, False, ""),
):
    row(
        _name,
        FAST,
        25,
        needs=("gpu",) if _graph else (),
        peer=_peer,
        batch=_batch,
        replicates=_replicates,
        graph=_graph,
        bf16=_bf16,
        goal=_goal,
    )(measured)


@row("compiled", FAST, 60, turn=6, needs=("gpu", "triton"), peer="eager-tf32")
def compiled(setting: Setting) -> Result:
    """R0 at batch 64, eager, its network by torch.compile."""
    trial, data = r0(setting), dataset(setting.size(IMAGES[1], 32))
    with path(setting, graph=False, bf16=False):
        groups = groups_of(trial, data, setting.device)
        groups[0].lanes[0].member.model.compile()
        try:
            return Result(None, speed(setting, trial, data, groups=groups))
        except Exception as error:  # a machine without a compiler says nothing of ours
            raise LeftOut(" ".join(f"torch.compile fails: {type(error).__name__}: {error}".split())[:200]) from error


@row("images-on-the-host", FAST, 20, peer="graph-tf32")
def fed(setting: Setting) -> Result:
    """Images that stay in the host's memory, sent a batch at a time."""
    trial, data = r0(setting, batch_size=setting.size(64, 4)), dataset(setting.size(IMAGES[1], 14))
    with images_on_the_host():
        return Result(None, speed(setting, trial, data))


@row("transport", FAST, 15, needs=("gpu",))
def transport(setting: Setting) -> Result:
    """CIFAR-10's images to the device, from pageable memory and from pinned memory."""
    images = torch.from_numpy(dataset(setting.size(50_000, 64)).train.images)
    size = images.numel() / 1e9
    values = {}
    for kind, source in (("pageable", images), ("pinned", images.pin_memory())):
        times = seconds(lambda s=source: s.to(setting.device, non_blocking=True), setting.device)
        values[f"{kind} GB/s"] = size / statistics.median(times)
    return Result(None, values | {"times pageable": values["pinned GB/s"] / values["pageable GB/s"]})


@row("evaluation", FAST, 15, peer="student")
def evaluation(setting: Setting) -> Result:
    """Logits of the test images in float32, against the student's training."""
    data = dataset(setting.size(10_000, 20))
    [member] = members_of(r0(setting), data, (0,), setting.device)
    images = torch.from_numpy(data.train.images).to(setting.device)
    predict(member.model, images)
    return Result(None, rate(len(images), seconds(lambda: predict(member.model, images), setting.device)))


@row("epoch-end", FAST, 30)
def epoch_end(setting: Setting) -> Result:
    """What an epoch of R0 takes beside its training, and a snapshot beside the epoch: scores, best weights, pack()."""
    data = dataset(setting.size(45_000, 14), setting.size(5_000, 4))
    trial = r0(setting, epochs=4, batch_size=setting.size(64, 4))
    members = members_of(trial, data, (0,), setting.device)
    (*_,) = train(trial, data, members, setting.device)
    records = members[0].records[1:]
    epoch = statistics.median(each.seconds for each in records)
    trained = statistics.median(len(data.train) / each.images_per_second for each in records)
    packed = statistics.median(seconds(lambda: pack(trial, data, members), setting.device))
    size = sum(map(len, pack(trial, data, members).values())) / 2**20
    values = {"epoch s": epoch, "of it not training %": 100 * (1 - trained / epoch), "pack s": packed}
    return Result(None, values | {"pack MiB": size, "pack / epoch": packed / epoch})


def cast(setting: Setting, network: str, batches: tuple[int, ...]) -> Result:
    """From which size on bfloat16 is faster than TF32 in {network}, at batches {batches}."""
    values: dict[str, float] = {}
    for batch in (2, 4) if setting.tiny else batches:
        trial, data = trial_and_data(setting, network, batch)
        times = {}
        for bf16 in (False, True):
            with in_bfloat16(setting.device, bf16):
                groups = groups_of(trial, data, setting.device)
                groups[0].train(None, MANY)
                times[bf16] = step_seconds(groups, setting.device)
            del groups
        values[f"{size_of(trial, data):.3g} GFLOP"] = times[False] / times[True]
    return Result(None, values, overtaking(values))


for _network, _batches in {
    "R0": (4, 16, 64, 512, 4096),
    "R1": (4, 16, 64, 256),
    "ResNet-18": (4, 16, 64),
}.items():
    row(f"cast-{_network}", FAST, 45, network=_network, batches=_batches)(cast)


def size_of(trial: Trial, data: Dataset) -> float:
    """Return the GFLOPs of a batch forward."""
    layers = plan_of(trial, data.image_shape, data.classes)
    return flops(layers) * trial.training.batch_size / 1e9


def overtaking(ratios: dict[str, float]) -> str:
    """Say from which size on, of those measured, bfloat16 is the faster."""
    sizes = sorted((float(name.split()[0]), ratio) for name, ratio in ratios.items())
    slower = max((size for size, ratio in sizes if ratio < 1), default=-math.inf)
    faster = [size for size, _ in sizes if size > slower]
    return f"bfloat16 is faster from {faster[0]:.3g} GFLOP on" if faster else "bfloat16 is never faster"


@row("cast-threshold", FAST, 1)
def threshold(setting: Setting) -> Result:
    """What devices.CAST_FLOPS should be: the FLOPs of a batch forward from which bfloat16 overtakes TF32."""
    rows = [result for name, result in setting.done.items() if name.startswith("cast-")]
    ratios = {name: ratio for result in rows for name, ratio in result.values.items() if name.endswith("GFLOP")}
    if not ratios:
        raise LeftOut("none of the networks was measured")
    return Result(None, {"now GFLOP": CAST_FLOPS[setting.device.type] / 1e9}, overtaking(ratios))
