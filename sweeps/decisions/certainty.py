"""How sure a single score is: its interval, over seeds and images. Pure.

The score of n seeds on N images has the variance V = varᵢ(c̄) / N + 1 / N² + E / n, by the model of inference.py, and
its 95 % interval is ± t(f) √V with f = 2 V² / var(V) degrees of freedom, at least 2.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sweeps.decisions.quantiles import widest
from sweeps.decisions.scatter import Spread, scatter, spread


def margin(sample: np.ndarray, also: Iterable[Spread] = ()) -> float | None:
    """Return half the width of a score's 95 % interval, in the units of the score.

    The `sample` is (n, N), by seed and image, as in inference.compare(); `also` are further trials of the study, each
    once, which tell how seeds scatter. None where no trial has several seeds.
    """
    seeds = scatter([spread(sample)], [*also])
    if seeds is None:
        return None
    means = sample.mean(axis=0, dtype=np.float64)
    images = (means.var() + 1 / len(means)) / len(means)
    variance = images + float(seeds.of_each()[0])
    freedom = variance**2 / (images**2 / max(1, len(means) - 1) + float(seeds.doubt_of_each()[0]))
    return float(widest(2, np.array(freedom)) * np.sqrt(variance))  # of two it is Student's t
