"""The analyses, on the CPU and on the device: what they find is the same, and how long occlusion takes."""

from __future__ import annotations

import copy
import statistics
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tests.gpu.measure import seconds
from tests.gpu.rows import FAST, RATE, RIGHT, Result, Setting, row
from tests.gpu.workload import CPU, dataset, r0, relative, trained
from trainables.checkpoint import Checkpoint, load, pack
from trainables.datasets import Dataset

if TYPE_CHECKING:
    from analysis.subject import Subject

DRAWING = ("rich", "matplotlib")  # what importing the analyses takes
# Of each array's largest value: what is drawn has three digits. Two pixels whose scores differ by rounding alone are
# deleted in the one order or the other, which was worth 1.3e-3 of a curve.
ALLOWED = 5e-3
# As little as each job lets be asked of it; of all others the defaults
OPTIONS: dict[str, dict[str, Any]] = {
    "ablation": {"fill": "mean", "sets": 4},
    "filters": {"top": 3, "patches": 1, "maps": 2, "untrained": 1},
    "grad_cam": {"wrong": 2},
    "neighbours": {"count": 5},
    "occlusion": {"windows": (5,), "per_class": 1, "stride": 4},
    "saliency": {"per_class": 1},
}
SLOW = ("tsne", "compare", "contact_sheet")  # openTSNE's own work on the CPU; those that compute nothing of their own


def checkpoint_of(setting: Setting) -> tuple[Checkpoint, Dataset]:
    """Return a network trained for an epoch on the CPU, and its data."""
    trial = r0(setting, epochs=1, batch_size=16)
    data = dataset(setting.size(1_280, 16), setting.size(500, 20))
    return load(pack(trial, data, trained(trial, data, CPU))), data


def both(setting: Setting) -> list[Subject]:
    """Return the same network on the CPU and on the device, with labels of which at least a half are what it says."""
    from analysis.subject import subject

    checkpoint, data = checkpoint_of(setting)
    made = [subject(copy.deepcopy(checkpoint), data, "net", device) for device in (CPU, setting.device)]
    labels = np.where(np.arange(len(data.test)) % 2, data.test.labels, made[0].predicted)
    return [replace(each, labels=labels) for each in made]


@row("features-and-neighbours", RIGHT, 30, needs=DRAWING[:1])
def features_and_neighbours(setting: Setting) -> Result:
    """Logits, features and nearest neighbours on the device are the CPU's within 1e-5, and 99 % of neighbours."""
    from analysis.features import features, nearest

    here, there = both(setting)
    error = relative(torch.from_numpy(there.logits), torch.from_numpy(here.logits))
    vectors = [features(each, None) for each in (here, there)]
    error = max(error, relative(vectors[1], vectors[0]))
    found = [nearest(each, 5, "cosine")[0] for each in vectors]
    alike = float((found[0] == found[1]).mean())
    return Result(error <= 1e-5 and alike >= 0.99, {"largest difference": error, "neighbours alike": alike})


@row("every-analysis", RIGHT, 60, needs=DRAWING)
def every_analysis(setting: Setting) -> Result:
    """Every analysis finds on the device what it finds on the CPU, numbers within 5e-3."""
    from analysis.jobs import JOBS, make

    differences, subjects = {}, both(setting)
    for name in [name for name in JOBS if name not in SLOW]:
        [job] = make({name: OPTIONS.get(name, {})})
        found = [[job.compute(each, part) for part in range(job.parts(each))] for each in subjects]
        differences[name] = max(_apart(*arrays) for arrays in zip(*found, strict=True))
    return Result(max(differences.values()) <= ALLOWED, differences)


def _apart(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> float:
    """Return the largest difference of numbers, and as much as 1 where images, classes or words differ."""
    largest = 0.0 if expected.keys() == found.keys() else 1.0
    for name in expected.keys() & found.keys():
        one, other = expected[name], found[name]
        if one.shape != other.shape or one.dtype.kind != "f":
            largest = max(largest, 0.0 if np.array_equal(one, other) else 1.0)
        else:
            there = np.isfinite(one)
            scale = max(np.abs(one[there]).max(initial=0.0), 1e-30)
            gap = float(np.abs(one[there] - other[there]).max(initial=0.0) / scale)
            largest = max(largest, gap if np.array_equal(there, np.isfinite(other)) else 1.0)
    return largest


@row("occlusion", FAST, 30, turn=5, needs=DRAWING, peer="occlusion-cpu", here=False)
@row("occlusion-cpu", FAST, 60, turn=5, needs=DRAWING, here=True)
def occlusion(setting: Setting, here: bool) -> Result:
    """Occlusion sensitivity of R0's network (on the CPU: {here}), images through the network."""
    from analysis.jobs.occlusion import Occlusion

    subjects = both(setting)
    job = Occlusion(windows=(5,), stride=setting.size(1, 8), per_class=setting.size(10, 2))
    part, chosen = int(np.bincount(subjects[0].predicted).argmax()), subjects[0 if here else 1]
    found = job.compute(chosen, part)  # to warm up
    times = seconds(partial(job.compute, chosen, part), chosen.device, rounds=1 if here else 3)
    images = sum(int(found[name].size) for name in ("unoccluded", "maps", "fills", "deletion"))
    return Result(None, {RATE: images / statistics.median(times), "images": images})
