"""What a search's curves are going to come to, by the model of curve_model.py, and what more epochs promise. Pure.

A stretch promises the knowledge gradient (Frazier, Powell and Dayanik, INFORMS Journal on Computing 2009): by how much
the best end that is expected of any trial is going to rise, on average, once this trial has come to a later epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sweeps.decisions.curve_model import Posterior, Seen, fit

FINALISTS = 24  # of the points considered for a new trial are looked at closely
SAMPLES = 4000  # of how trials may end together
JITTER = 1e-4  # added to the variance of an end, in the scale of the scores: two may be the same point


class Forecast:
    """The model, fitted to what trials have shown.

    Trials go by their row in `rows`, the points at which they were drawn; `draws` as in Coordinates. `curves` are their
    scores by epoch, at least one of them; `running` says to which epoch some run now. Those that `failed` count as bad
    after an epoch as the worst that was seen. `ladder` are the epochs at which trials may pause, the last one the full
    number. `taught` are curves of others, at the rows behind: the model knows them, and asks nothing of them.
    """

    def __init__(
        self,
        rows: np.ndarray,
        draws: np.ndarray,
        curves: Sequence[Mapping[int, float]],
        failed: Collection[int],
        running: Mapping[int, int],
        ladder: Sequence[int],
        taught: Sequence[Mapping[int, float]] = (),
    ) -> None:
        self.ladder = ladder
        self.started = torch.tensor([row for row, curve in enumerate(curves) if curve])
        self.last = torch.tensor([max(curve, default=0) for curve in curves])
        known = enumerate((*curves, *taught))
        seen = [(row, epoch, score) for row, curve in known for epoch, score in sorted(curve.items())]
        scores = warped(np.array([score for _, _, score in seen]))
        places = [(row, epoch) for row, epoch, _ in seen] + [(row, ladder[0]) for row in sorted(failed)]
        observed = Seen(*_columns(places), torch.tensor([*scores, *[scores.min()] * len(failed)]))
        points = torch.from_numpy(rows)
        kernel = fit(points, torch.from_numpy(draws), observed)
        self.posterior = Posterior(kernel, points, observed, _columns(sorted(running.items())))
        self.expected, _ = self.posterior.mean_and_deviation(torch.arange(len(curves)), ladder[-1])

    def promises(self, rows: Sequence[int]) -> Tensor:
        """Return what running these trials on promises per epoch: [row]."""
        means, trials = self.expected[self.started], torch.tensor(rows, dtype=torch.long)
        best, second = means.topk(2).values if len(means) > 1 else (means[0], means[0])
        own = self.expected[trials]
        gap = torch.where(own == best, best - second, best - own)
        return self._gradient(self.posterior, trials, gap, self.last[trials])

    def best_points(self, rows: np.ndarray) -> tuple[list[int], float]:
        """Return which of these points are best for a new trial, the best first, and what it promises per epoch."""
        posterior = self.posterior.beside(torch.from_numpy(rows))
        places = torch.arange(len(rows)) + len(self.posterior.points)
        means, deviations = posterior.mean_and_deviation(places, self.ladder[-1])
        gaps = self.expected[self.started].max() - means
        close = torch.argsort(-_gain(gaps, deviations), stable=True)[:FINALISTS]
        rates = self._gradient(posterior, places[close], gaps[close], torch.zeros(len(close)))
        order = torch.argsort(-rates, stable=True)
        return close[order].tolist(), float(rates.max())

    def best_together(self, count: int) -> list[int]:
        """Return the trials of which the best is expected to end best, by row: as many as asked for, or all with a
        score. They are taken one after another, each time the one that raises that most: the multi-point expected
        improvement (Ginsbourger, Le Riche and Carraro, 2010), by samples.
        """
        mean, covariance = self.posterior.together(self.started, self.ladder[-1])
        root = torch.linalg.cholesky(covariance + JITTER * torch.eye(len(mean), dtype=mean.dtype))
        normal = torch.randn(len(mean), SAMPLES, dtype=mean.dtype, generator=torch.Generator().manual_seed(0))
        ends = mean[:, None] + root @ normal
        taken: list[int] = []
        best = torch.full_like(ends[0], -torch.inf)
        while len(taken) < min(count, len(mean)):
            rises = torch.maximum(ends, best).mean(1)
            rises[taken] = -torch.inf
            taken.append(int(rises.argmax()))
            best = torch.maximum(best, ends[taken[-1]])
        return self.started[taken].tolist()

    def _gradient(self, posterior: Posterior, trials: Tensor, gap: Tensor, last: Tensor) -> Tensor:
        """Return the gain per epoch up to the later epoch for which it is largest, [trial]."""
        epochs = torch.tensor(self.ladder)[:, None] - last
        moves = posterior.moves(trials, self.ladder, self.ladder[-1])
        return torch.where(epochs > 0, _gain(gap, moves) / epochs.clamp_min(1), 0.0).max(0).values


def _gain(gap: Tensor, deviation: Tensor) -> Tensor:
    """Return what a normal value is above `gap` on average, 0 where it is below; its mean is 0."""
    deviation = deviation.clamp_min(1e-12)
    z = gap / deviation
    density = torch.exp(-z * z / 2) / (2 * torch.pi) ** 0.5
    return (deviation * (density - z * torch.special.ndtr(-z))).clamp_min(0)


def warped(scores: np.ndarray) -> np.ndarray:
    """Return scores in the scale of what lies above their median; what is far below it is drawn in, by the logarithm.

    Otherwise a few networks that learn nothing would set the scale, and the good ones be all alike.
    """
    middle = np.median(scores)
    above = scores[scores > middle] - middle
    scale = np.sqrt(np.mean(above**2)) if len(above) else float(scores.std())
    places = (scores - middle) / (scale or 1.0)
    return np.where(places < 0, -np.log1p(-np.minimum(places, 0)), places)


def _columns(pairs: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Return trials and epochs."""
    trials, epochs = zip(*pairs, strict=True) if pairs else ((), ())
    return torch.tensor(trials, dtype=torch.long), torch.tensor(epochs, dtype=torch.float64)
