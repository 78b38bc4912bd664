"""Occlusion sensitivity against captum, and in parts of maps against whole ones.

    python -m tests.benchmarks.occlusion [--images N] [--rounds N]             images/s, against captum
    python -m tests.benchmarks.occlusion --parts [--network 224] [--rounds N]  against whole maps: ten minutes

Against captum: both hide 3×3, 5×5, 7×7 and 9×9 windows of Part A's 32-64-256 network's images. captum leaves out those
that reach over the border, so that each is held to the number of images that it runs through the network. The peer is
captum.attr.Occlusion on all images in one call: at its defaults, at the best of several perturbations_per_eval and
images per call, and the same with weights that lie channels last. In turn; the ratio is the median over rounds, once on
one thread, by the processor's time, and once on all cores, by the wall clock.

Against whole maps: the time of one image behind the smallest and the largest window of the job's defaults, at all of
their places, to the time it takes to put whole images through the network in batches of evaluation. In turn, on one
thread, by the processor's time; the ratio is the median over rounds. The weights are random.
"""

import argparse
import copy
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from captum.attr import Occlusion as CaptumOcclusion
from torch import Tensor, nn

from analysis.jobs.occlusion import WINDOWS, Occlusion
from analysis.maps.windows import Grid, occluded_logits
from analysis.subject import Subject
from sweeps.part_a import BASELINE
from sweeps.wide_cnn import STUDY as WIDE_CNN
from trainables.config import CNN, Model, ResNet
from trainables.models import build
from trainables.train import evaluation_batch

Clock = Callable[[], float]

MEAN, SD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
CLASSES, SIDE = 10, 32
WIDE = BASELINE.with_values({"model.channels": (32, 64, 256)}).model
NETWORKS = {  # with the side of their images
    "R0's 16-32-64": (BASELINE.model, 32),
    "R0's 32-64-256": (WIDE, 32),
    "R1's 256-1024-2048-2048": (WIDE_CNN.baseline.model, 32),
    "ResNet-18 at 64×64": (ResNet(), 64),
    "ResNet-18 at 224×224": (ResNet(), 224),
}
TUNING = ((1, 16), (1, 64), (1, 256), (20, 4), (20, 16))  # images per call, perturbations_per_eval


def noise(count: int, config: Model = WIDE, side: int = SIDE) -> Subject:
    """Return an untrained network with images of noise, all of one class, that it classifies right.

    A constant is added to that class's logit.
    """
    torch.manual_seed(0)
    model = build(config, (3, side, side), CLASSES, MEAN, SD).eval()
    with torch.no_grad():
        (model.head if isinstance(config, CNN) else model.fc).bias[0] += 1
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
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


def whole(subject: Subject, grid: Grid, shown: np.ndarray) -> Tensor:
    """Return what occluded_logits() does, of the first image, with nothing saved."""
    image, fill = torch.from_numpy(subject.images[0]).float() / 255, torch.from_numpy(shown)
    y, x = (torch.arange(side) for side in image.shape[:2])
    reaches, rows, columns = (torch.tensor(each) for each in (grid.windows, grid.rows, grid.columns))
    places = torch.cat([torch.tensor([[-1, 0, 0]]), torch.cartesian_prod(reaches // 2, rows, columns)])
    logits = []
    with torch.inference_mode():
        for chunk in places.split(evaluation_batch(image.shape[:2], image.device)):
            reach, row, column = chunk.split(1, dim=1)
            hidden = ((y - row).abs() <= reach)[:, :, None] & ((x - column).abs() <= reach)[:, None]
            logits.append(subject.model(torch.where(hidden[..., None], fill, image).permute(0, 3, 1, 2)))
    return torch.cat(logits)


def compare_parts(name: str, model: Model, side: int, rounds: int) -> None:
    """Print how much faster parts of maps are than whole ones, and how far the logits are apart."""
    subject, shown = noise(1, model, side), np.full(3, 0.5, np.float32)
    grid = Occlusion()._grid(subject)
    grid = replace(grid, windows=grid.windows[:: len(grid.windows) - 1])
    occluded_logits(subject, 0, grid.thinned(4), shown)  # to warm up
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        parts = occluded_logits(subject, 0, grid, shown)
        middle = time.process_time()
        expected = whole(subject, grid, shown)
        times.append((middle - begin, time.process_time() - middle))
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(row[1] / row[0] for row in times)
    logits = float((parts - expected).abs().max() / expected.abs().max())
    probability = float((parts.softmax(1) - expected.softmax(1)).abs().max())
    print(
        f"  {name:25} {ours:7.2f} s in parts, {theirs:7.2f} s whole, ratio {ratio:.2f}; largest difference "
        f"{logits:.1e} of the largest logit, {probability:.1e} of a probability",
        flush=True,
    )


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
    parser.add_argument("--parts", action="store_true", help="against whole maps in place of captum")
    parser.add_argument("--network", default="", help="with --parts: the networks whose names hold this")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"torch {torch.__version__}, {processor()}, {cores} cores, {options.rounds} rounds")
    if options.parts:
        torch.set_num_threads(1)
        for name, (model, side) in NETWORKS.items():
            if options.network in name:
                compare_parts(name, model, side, options.rounds)
        return
    subject = noise(options.images)
    for threads in sorted({1, cores}):
        torch.set_num_threads(threads)
        print(f"{options.images} images, {threads} thread{'s' * (threads > 1)}:")
        compare(subject, options.rounds, time.process_time if threads == 1 else time.perf_counter)


if __name__ == "__main__":
    main()
