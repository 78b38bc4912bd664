"""When one trial is better than another where each seed has validation images of its own (`vary_split`). Pure.

Seed s of every trial is scored on the same N images, drawn anew for each seed from a pool of M. So two trials differ by
a d[s] for each of their n seeds, with the variance T over seeds: in it is what seeds add, what the split adds, and the
images' noise, w = varᵢ(cₐ - c_b) / N + 1 / N², the mean over seeds (see inference.py). Their mean has

    V = max(T, w) / n + w N / M    with f = (n - 1) V n / max(T, w) degrees of freedom.

T is below w by luck alone. The second term is for what no seed takes away: the seeds' images are of one pool, and two
seeds share N² / M of them, on which, at the most, the trials differ alike. f is not squared, as Satterthwaite's would
be: with that, two equal trials of which one scatters three times as much were told apart in 5.4 % of cases.

Here two trials are paired by seed, as they are not on shared images, where all that seeds share is a number. A pair has
its own T, known by its own seeds alone: variances of trials on the same splits are not independent, and a pool of
unlike ones told equal trials apart in up to 9 % of stages of five (tests/benchmarks/nested.py has what it is now). How
other pools would train is not in it, as it is not where all seeds share the training images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweeps.decisions.inference import Comparison, Outlook, decided, over_images


def compare_nested(samples: Sequence[np.ndarray], share: float, of: int = 0) -> Comparison:
    """Return how K ≥ 1 trials compare, from samples (n, N) as `inference.compare` takes them.

    Row by row all trials are taken on the same images, and each row on others: `share`, N / M, of the pool. Nothing is
    told where there is one seed. Raises ValueError where the trials differ in seeds or images, or there are none.
    """
    right = np.stack(samples)
    seeds, images = right.shape[1:]
    if not right.size:
        raise ValueError(f"a sample of {seeds} seeds and {images} images tells nothing")
    by_seed = right.mean(axis=2, dtype=np.float64)
    scores = by_seed.mean(axis=1)
    if seeds < 2:
        return untold(samples)
    noise = np.mean([over_images(right[:, seed] - by_seed[:, seed, None]) for seed in range(seeds)], axis=0)
    total = np.maximum((by_seed[:, None] - by_seed).var(axis=2, ddof=1), noise)
    variance = total / seeds + share * noise
    freedom = (seeds - 1) * variance * seeds / total
    outlook = Outlook(share * noise, total, freedom=0, trials=1, seeds=seeds, count=max(of, len(scores)))
    return decided(scores, variance, freedom, outlook)


def untold(samples: Sequence[np.ndarray]) -> Comparison:
    """Return the scores of trials of which nothing is told apart."""
    return Comparison(np.array([sample.mean() for sample in samples]), np.ones(len(samples), dtype=bool))
