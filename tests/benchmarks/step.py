"""Milliseconds a training step takes, network by network, against another checkout in one run:
python -m tests.benchmarks.step [--against DIR] [--nets a4 c ...] [--rounds N]

One process a checkout, each on one thread and prepared as a worker's is; they take turns, a burst of steps at a time,
and the ratio is the median over rounds. Validation and test are left out. Nets: R0's at batch 4 and 64 (a4, a), a wide
one (b), without pooling (c: 11 M parameters in the first FC layer), one convolution without pooling (d), blocks with
batch norm (e), ResNet-18 at 32×32 (f), and R1's of 28 M parameters (r1).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

NETS = ("a4", "a", "b", "c", "d", "e", "f", "r1")
BURST = 1.5  # seconds of steps between two turns


class Side:
    """A process that imports one checkout and takes its turns."""

    def __init__(self, checkout: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--serve"]
        self.process = subprocess.Popen(
            command, cwd=checkout, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self, net: str) -> float:
        """Return the milliseconds a step took."""
        assert self.process.stdin
        assert self.process.stdout
        print(net, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def serve() -> None:
    """Answer each net that is named with the milliseconds of its steps."""
    import torch

    from trainables import devices

    torch.set_num_threads(1)
    getattr(devices, "keep_memory", lambda: None)()  # what a worker does at its start
    ready = {}
    for line in sys.stdin:
        net = line.strip()
        if net not in ready:
            ready = {net: prepared(net)}  # one at a time in memory
        print(burst(ready[net]), flush=True)


def prepared(net: str):
    """Return a lane over images of noise, warmed up."""
    import torch

    from sweeps.part_a import BASELINE
    from sweeps.wide_cnn import STUDY as R1
    from trainables.config import CNN, ResNet, Training, Trial
    from trainables.datasets import Dataset, Split
    from trainables.replicate import replicate

    trials = {
        "a4": BASELINE.with_values({"model.fc_layers": 4, "training.batch_size": 4, "training.lr": 0.001}),
        "a": BASELINE.with_values({"model.fc_layers": 4}),
        "b": BASELINE.with_values({"model.channels": (32, 64, 256)}),
        "c": BASELINE.with_values({"model.pooling": "none"}),
        "d": BASELINE.with_values({"model.conv_layers": 1, "model.pooling": "none"}),
        "e": Trial(
            model=CNN(conv_layers=6, convs_per_block=2, channels=(32, 64, 128), padding=1, batch_norm=True),
            training=Training(lr=0.01),
        ),
        "f": Trial(model=ResNet(18), training=Training(lr=0.01)),
        "r1": R1.baseline,
    }
    trial = trials[net].with_values({"training.epochs": 100_000})
    rng = np.random.default_rng(0)
    part = Split(rng.integers(0, 256, (4096, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, 4096))
    few = Split(part.images[:4], part.labels[:4])
    mean, sd = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
    data = Dataset("noise", tuple("abcdefghij"), part, few, few, "", mean, sd)
    cpu = torch.device("cpu")
    lane = lane_of(trial, data, replicate(trial, data, 0, cpu), cpu)
    for _ in range(5):
        lane.step()
    lane.at.zero_()
    return lane


def lane_of(trial, data, member, device):
    """Return a lane that has begun an epoch."""
    from trainables.kept import Kept

    kept = Kept()
    kept.parts_of(member, data, trial.training, device)
    [group] = kept.groups([member], trial, data, device)
    [lane] = group.lanes
    lane.begin()
    return lane


def burst(lane) -> float:
    """Return the milliseconds a step takes, over a second and a half of steps."""
    begin, steps = time.perf_counter(), 0
    with lane.random.in_use():
        while time.perf_counter() - begin < BURST:
            if steps and steps % lane.whole == 0:
                lane.at.zero_()
            lane.step()
            steps += 1
    milliseconds = 1e3 * (time.perf_counter() - begin) / steps
    lane.at.zero_()
    return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    here = Path(__file__).resolve().parents[2]
    sides = [Side(checkout.resolve()) for checkout in (here, options.against) if checkout]
    for net in options.nets:
        for side in sides:
            side.turn(net)
        turns = [[side.turn(net) for side in sides] for _ in range(options.rounds)]
        times = [statistics.median(column) for column in zip(*turns, strict=True)]
        ratio = statistics.median(turn[-1] / turn[0] for turn in turns)
        other = f", there {times[1]:7.2f} ms, ratio {ratio:.2f}" if len(times) > 1 else ""
        print(f"{net:3}: here {times[0]:7.2f} ms{other}", flush=True)


if __name__ == "__main__":
    main()
