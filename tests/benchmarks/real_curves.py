"""Real learning curves to simulate searches on: how the tables real_curves.npz came about, and what is in them.

    python -m tests.benchmarks.real_curves make FOLDER [--data-dir data] [--jobs 2]    # hours; goes on where it ended
    python -m tests.benchmarks.real_curves pack FOLDER                                 # to real_curves.npz

The 672 networks are points of the search's own space (sweeps/search.py), on a grid of seven of its fields, trained with
the product's own training for 15 epochs on a tenth of CIFAR-10 and of Fashion-MNIST, at half their resolution: the
choices that are good there are good at full resolution too (Chrabaszcz et al., arXiv:1707.08819), and an epoch takes a
third of the time. Each has three seeds; the quarter that is best by these has three more, so that a search has seeds
that neither chose nor confirmed. Two cores take an hour and a quarter for a data set.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sweeps.search import BASELINE, PART_A
from trainables import datasets
from trainables.config import Trial
from trainables.datasets import Dataset, Split
from trainables.history import chosen_epoch
from trainables.replicate import replicate
from trainables.train import Diverged, train

FIELDS: dict[str, tuple[Any, ...]] = {
    "model.conv_layers": (1, 2, 3),
    "model.channels": (8, 16),  # of the first convolution; each further one has twice as many
    "model.pooling": ("max", "none"),
    "model.activation": ("relu", "tanh"),
    "model.batch_norm": (False, True),
    "training.lr": (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32),
    "training.batch_size": (64, 256),
}
NETWORKS = math.prod(map(len, FIELDS.values()))
FIXED = PART_A | {"model.padding": 1, "model.fc_layers": 2, "training.weight_decay": 1e-3}
DATA = {"cifar10": (4500, 1000, 1000), "fashion_mnist": (5400, 1000, 1000)}  # training, validation and test images
EPOCHS, SEEDS, FURTHER, LEADERS = 15, 3, 3, NETWORKS // 4
FILE = Path(__file__).with_name("real_curves.npz")


@dataclass(frozen=True)
class Run:
    """What is asked for: a network, by its place on the grid, trained with a seed."""

    data: str
    network: int
    seed: int


def point(network: int) -> dict[str, Any]:
    """Return the values of a network, as a search's space has them."""
    places = np.unravel_index(network, [len(values) for values in FIELDS.values()])
    values = {name: FIELDS[name][place] for name, place in zip(FIELDS, places, strict=True)}
    first, layers = values["model.channels"], values["model.conv_layers"]
    values["model.channels"] = tuple(first << layer for layer in range(layers))
    stride = {"model.stride": 2} if values["model.pooling"] == "none" else {}
    return FIXED | values | stride


@cache
def data_of(name: str, folder: Path) -> Dataset:
    """Return the first images of each part of a data set, at half their resolution."""
    whole = datasets.load(name, folder)
    parts = zip(("train", "val", "test"), DATA[name], strict=True)
    return replace(whole, **{part: halved(getattr(whole, part).take(np.arange(count))) for part, count in parts})


def halved(part: Split) -> Split:
    """Return images whose pixels are means of 2×2."""
    count, height, width, channels = part.images.shape
    blocks = part.images.reshape(count, height // 2, 2, width // 2, 2, channels)
    return replace(part, images=np.round(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8))


def trained(run: Run, folder: Path) -> dict[str, Any]:
    """Train; return the images that are right after each epoch, and which are at the chosen one. A run that diverges
    has fewer epochs.
    """
    torch.set_num_threads(1)
    data, device = data_of(run.data, folder), torch.device("cpu")
    trial = _trial(run)
    members = [replicate(trial, data, run.seed, device)]
    seconds, began = [], time.process_time()
    try:
        for _ in train(trial, data, members, device):
            seconds.append(time.process_time() - began)
            began = time.process_time()
    except Diverged:
        pass
    [member] = members
    right = {
        part: [round(getattr(record, f"{part}_score") * len(getattr(data, part))) for record in member.records]
        for part in ("val", "test")
    }
    marks = member.chosen.marks if member.records else None
    seen = marks.val.packed.hex() if marks else ""
    return {"network": run.network, "seed": run.seed, **right, "seconds": seconds, "right": seen}


def _trial(run: Run) -> Trial:
    return BASELINE.with_values({"dataset": run.data, "training.epochs": EPOCHS, **point(run.network)})


def make(folder: Path, data_dir: Path, jobs: int) -> None:
    """Train what a folder does not have yet, a line a run: of each data set three seeds of all networks, then more of
    the leaders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(jobs) as pool:
        for name in DATA:
            _extend(pool, folder, data_dir, [Run(name, at, seed) for seed in range(SEEDS) for at in range(NETWORKS)])
            best = leaders(list(lines(folder, name)))
            more = range(SEEDS, SEEDS + FURTHER)
            _extend(pool, folder, data_dir, [Run(name, at, seed) for seed in more for at in best])


def _extend(pool: ProcessPoolExecutor, folder: Path, data_dir: Path, wanted: list[Run]) -> None:
    name = wanted[0].data
    there = {(line["network"], line["seed"]): line for line in lines(folder, name)}
    left = [run for run in wanted if (run.network, run.seed) not in there]
    with (folder / f"{name}.jsonl").open("w") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in there.values())  # without a last line that was cut off
        for at, line in enumerate(pool.map(trained, left, itertools.repeat(data_dir)), start=1):
            print(json.dumps(line), file=file, flush=True)
            if at % 20 == 0:
                print(f"{name}: {at} of {len(left)}", flush=True)


def lines(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Go through what a folder has of a data set; a last line that was cut off is left out."""
    file = folder / f"{name}.jsonl"
    for line in file.read_text().splitlines(keepends=True) if file.exists() else ():
        if line.endswith("\n"):
            yield json.loads(line)


def leaders(found: Iterable[dict[str, Any]]) -> list[int]:
    """Return the networks that are best on validation by the seeds that all have, the best first."""
    ends = np.zeros(NETWORKS)
    for line in found:
        if line["seed"] < SEEDS and len(line["val"]) == EPOCHS:
            ends[line["network"]] += line["val"][chosen_epoch(line["val"]) - 1]
    return [int(network) for network in np.argsort(-ends, kind="stable")[:LEADERS]]


def pack(folder: Path, file: Path = FILE) -> None:
    """Write the tables: images that are right, 0 where a run had diverged or was never made; and which were made.

    A data set of which runs are missing is left out.
    """
    tables: dict[str, np.ndarray] = {}
    for name, (_, seen, _) in DATA.items():
        there, needed = sum(1 for _ in lines(folder, name)), SEEDS * NETWORKS + FURTHER * LEADERS
        if there < needed:
            print(f"{name}: left out, as {there} of {needed} runs are there")
            continue
        shape = (SEEDS + FURTHER, NETWORKS, EPOCHS)
        val, test = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
        right, made = np.zeros((*shape[:2], math.ceil(seen / 8)), np.uint8), np.zeros(shape[:2], bool)
        seconds: list[list[float]] = [[] for _ in range(NETWORKS)]
        for line in lines(folder, name):
            at, epochs = (line["seed"], line["network"]), len(line["val"])
            val[at][:epochs], test[at][:epochs] = line["val"], line["test"]
            right[at], made[at] = np.frombuffer(bytes.fromhex(line["right"]), np.uint8) if line["right"] else 0, True
            seconds[line["network"]] += line["seconds"]
        taken = np.array([np.median(each) for each in seconds], np.float32)
        parts = {"val": val, "test": test, "right": right, "seconds": taken, "made": made}
        tables |= {f"{name}_{part}": array for part, array in parts.items()}
    if not tables:
        raise SystemExit(f"{folder} has all runs of no data set; {file} stays as it is")
    np.savez_compressed(file, **tables)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("make", "pack"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if options.what == "make":
        make(options.folder, options.data_dir.resolve(), options.jobs)
    else:
        pack(options.folder)


if __name__ == "__main__":
    main()
