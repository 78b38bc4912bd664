"""A file of made-up curves in the layout of real_curves.npz, for what has to work before there are real ones."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tests.benchmarks.real_curves import DATA, EPOCHS, FURTHER, LEADERS, NETWORKS, SEEDS
from trainables.history import smoothed


def make_up(file: Path) -> None:
    """Write power laws that cross, with noise of seeds, epochs and images; some networks diverge, and the best quarter
    has the further seeds.
    """
    rng, tables = np.random.default_rng(0), {}
    for name, (_, seen, tested) in DATA.items():
        runs = (SEEDS + FURTHER, NETWORKS, 1)
        end, pace = rng.beta(5, 2, (1, NETWORKS, 1)), np.exp(rng.normal(-0.3, 0.6, (1, NETWORKS, 1)))
        truth = 0.1 + 0.8 * end * (1 - (1.0 + np.arange(EPOCHS)) ** -pace * 0.8) + rng.normal(0, 0.006, runs)
        val, test = (
            rng.binomial(images, np.clip(truth + rng.normal(0, 0.004, truth.shape), 0, 1)) for images in (seen, tested)
        )
        for seed, network in zip(*np.nonzero(rng.random(runs[:2]) < 0.02), strict=True):
            val[seed, network, rng.integers(EPOCHS) :] = 0
        made = np.ones(runs[:2], bool)
        made[SEEDS:, np.argsort(-val[:SEEDS, :, -1].sum(0))[LEADERS:]] = False
        val[~made] = 0
        chosen = np.take_along_axis(val, smoothed(val.astype(float)).argmax(2)[..., None], 2)
        bits = rng.random((*runs[:2], seen)) < chosen / seen
        tables |= {
            f"{name}_val": val.astype(np.uint16),
            f"{name}_test": np.where(val > 0, test, 0).astype(np.uint16),
            f"{name}_right": np.packbits(bits, axis=2)[..., : math.ceil(seen / 8)],
            f"{name}_seconds": np.exp(rng.normal(0, 0.8, NETWORKS)).astype(np.float32),
            f"{name}_made": made,
        }
    np.savez_compressed(file, **tables)
