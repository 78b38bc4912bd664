"""Points of a search space, and what is told of them, for tests of what learns from trials."""

import itertools
import math

import numpy as np

from sweeps.decisions.told import Told
from sweeps.study import Choice, Each, Real, Space, When, Whole

SPACE = Space(
    {
        "model.conv_layers": Whole(1, 2),
        "model.channels": Each("model.conv_layers", Choice((16, 32))),
        "model.pool_after": Choice((None, (1,), (1, 2))),
        "model.pooling": Choice(("max", "none")),
        "model.stride": When({"model.pooling": "none"}, Choice((1, 2))),
        "training.lr": Real(1e-4, 1.0, log=True),
        "training.batch_size": Whole(16, 256, log=True),
    }
)


def off(point):
    """How far the learning rate is from 0.01, in decades."""
    return abs(math.log10(point["training.lr"]) + 2)


def told_of(points, state="done", epochs=(1, 3, 9), objectives=1):
    return [
        Told(
            number,
            point,
            state,
            {epoch: -off(point) for epoch in epochs},
            (-off(point), float(number))[:objectives] if state == "done" else None,
        )
        for number, point in enumerate(points)
    ]


def drawn(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.random(rng) for _ in range(count)]


def mixed(objectives=1, counts=(20, 12, 4, 4)):
    """Trials of every state: so many done, censored, failed and running."""
    points = iter(drawn(sum(counts)))
    done, censored, failed, running = (list(itertools.islice(points, count)) for count in counts)
    told = [
        *told_of(done, objectives=objectives),
        *told_of(censored, "censored", (1, 3)),
        *told_of(failed, "failed", ()),
        *told_of(running, "running", ()),
    ]
    return [Told(number, t.values, t.state, t.scores, t.objectives) for number, t in enumerate(told)]
