"""Images/s through the network in occlusion sensitivity, against captum: python -m tests.benchmarks.occlusion [--images
N] [--rounds N]

Both hide 3×3, 5×5, 7×7 and 9×9 windows of Part A's 32-64-256 network's images. captum leaves out windows that reach
over the border, so that each is held to the number of images that it runs through the network. The peer is
captum.attr.Occlusion on all images in one call: at its defaults, at the best of several perturbations_per_eval and
images per call, and the same with weights that lie channels last. In turn; the ratio is the median over rounds, once on
one thread, by the processor's time, and once on all cores, by the wall clock.
"""

import argparse
import copy
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from captum.attr import Occlusion as CaptumOcclusion
from torch import Tensor, nn

from analysis.jobs.occlusion import WINDOWS, Occlusion
from analysis.subject import Subject
from sweeps.part_a import BASELINE
from trainables.models import build

Clock = Callable[[], float]

MEAN, SD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
SHAPE, CLASSES, SIDE = (3, 32, 32), 10, 32
TUNING = ((1, 16), (1, 64), (1, 256), (20, 4), (20, 16))  # images per call, perturbations_per_eval


def noise(count: int) -> Subject:
    """Return an untrained network with images of noise, all of one class, that it classifies right.

    A constant is added to that class's logit.
    """
    torch.manual_seed(0)
    trial = BASELINE.with_values({"model.channels": (32, 64, 256)})
    model = build(trial.model, SHAPE, CLASSES, MEAN, SD).eval()
    with torch.no_grad():
        model.head.bias[0] += 1
    images = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return Subject("net", model, (), tuple("abcdefghij"), "noise", images, np.zeros(count, np.int64), (0,) * CLASSES)


def ours(subject: Subject, clock: Clock) -> float:
    """Return images/s of the whole job, with the search for images to examine and the controls."""
    begin = clock()
    found = Occlusion(windows=WINDOWS, stride=1, per_class=len(subject.images)).compute(subject, 0)
    return sum(found[name].size for name in ("unoccluded", "maps", "fills", "deletion")) / (clock() - begin)


def captums(
    clock: Clock, model: nn.Module, images: Tensor, per_call: int, per_eval: int, windows: tuple[int, ...] = WINDOWS
) -> float:
    """Return images/s of captum's occlusion."""
    peer = CaptumOcclusion(lambda pixels: model(pixels).softmax(1))
    begin = clock()
    for window in windows:
        for part in images.split(per_call):
            peer.attribute(part, (3, window, window), baselines=0.5, target=0, perturbations_per_eval=per_eval)
    seconds = clock() - begin
    return len(images) * sum((SIDE - window + 1) ** 2 + 1 for window in windows) / seconds


def tuned(clock: Clock, model: nn.Module, images: Tensor) -> tuple[int, int]:
    """Return the images per call and perturbations_per_eval at which captum is fastest, on one window."""
    return max(TUNING, key=lambda setting: captums(clock, model, images, *setting, windows=WINDOWS[:1]))


def compare(subject: Subject, rounds: int, clock: Clock) -> None:
    images = torch.from_numpy(subject.images).permute(0, 3, 1, 2).contiguous() / 255
    last = copy.deepcopy(subject.model).to(memory_format=torch.channels_last)
    ours(subject, clock)  # to warm up; captum does so in its tuning
    peers = {"defaults": (subject.model, len(images), 1)}
    peers |= {
        name: (model, *tuned(clock, model, images))
        for name, model in (("tuned", subject.model), ("tuned, channels last", last))
    }
    speeds = [
        (ours(subject, clock), *(captums(clock, model, images, *how) for model, *how in peers.values()))
        for _ in range(rounds)
    ]
    mine, *theirs = (statistics.median(column) for column in zip(*speeds, strict=True))
    print(f"  ours {mine:26,.0f} images/s")
    for at, (name, (_, per_call, per_eval)) in enumerate(peers.items()):
        ratio = statistics.median(row[0] / row[at + 1] for row in speeds)
        setting = f"{per_call} images per call, {per_eval} perturbations per evaluation"
        print(f"  captum, {name:20} {theirs[at]:8,.0f} images/s, ratio {ratio:.2f} ({setting})", flush=True)


def processor() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    subject = noise(options.images)
    cores = len(os.sched_getaffinity(0))
    print(f"torch {torch.__version__}, {processor()}, {cores} cores, {options.images} images, {options.rounds} rounds")
    for threads in sorted({1, cores}):
        torch.set_num_threads(threads)
        print(f"{threads} thread{'s' * (threads > 1)}:")
        compare(subject, options.rounds, time.process_time if threads == 1 else time.perf_counter)


if __name__ == "__main__":
    main()
