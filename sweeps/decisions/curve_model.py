"""An exact Gaussian process over learning curves: what trials will score at epochs that they have not come to. Pure.

After Swersky, Snoek and Adams, "Freeze-Thaw Bayesian Optimization" (arXiv:1406.3896). A curve is an asymptote and a
deviation from it that decays with the epoch t: the covariance between t and s is (β / (t + s + β))^α, that of a mixture
of decaying exponentials. In the paper only asymptotes are alike where configurations are, and every curve deviates by
itself, around zero. Here deviations too are partly common to all trials, partly alike in like configurations, and
partly each trial's own, as is the asymptote: for trials i and j at points x and y

    1 + a² k(x, y) + o² [i = j] + (c² + b² k(x, y) + d² [i = j]) (β / (t + s + β))^α + n² [same observation]

with a Matérn kernel k (ν = 5/2) that has a length scale for each single draw of the space. Only epochs that were seen
are in it, so it is solved as it stands, without approximation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FITTED = 160  # observations at most that the parameters are fitted to
STEPS = 25  # of L-BFGS
FAR = 4.0  # standard deviations of its prior: no parameter is taken further from its median
JITTER = 1e-8
# the parameters' log-normal priors: median and standard deviation of the logarithm; scores have a scale of about 1
PRIORS = {
    "asymptote": (1.0, 1.0),
    "own_asymptote": (0.2, 1.0),
    "deviation": (1.0, 1.0),
    "like_deviation": (0.5, 1.0),
    "own_deviation": (0.2, 1.0),
    "noise": (0.1, 1.0),
    "alpha": (1.0, 0.7),
    "beta": (1.0, 0.7),
}
LENGTH = (0.5, 1.0)  # likewise of a length scale, times the root of their number: Hvarfner et al., ICML 2024


@dataclass(frozen=True)
class Seen:
    """Observations: trials, by their row in `points`, after epochs, with their scores, each [observation]."""

    trials: Tensor
    epochs: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Kernel:
    """The covariance of curves, and the variance of the noise."""

    scales: Tensor  # the length scale of each column of the points
    sizes: dict[str, Tensor]  # by PRIORS

    def alike(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the Matérn kernel between points, [first, second]."""
        a, b = first / self.scales, second / self.scales
        squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
        distance = (5 * squares.clamp_min(0) + 1e-12).sqrt()
        return (1 + distance + distance * distance / 3) * torch.exp(-distance)

    def between(self, alike: Tensor, same: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return the covariance of curves at epochs that go with `alike` and `same`: 1 where trials are the same."""
        p = self.sizes
        decay = (p["beta"] / (first + second + p["beta"])) ** p["alpha"]
        level = 1 + p["asymptote"] ** 2 * alike + p["own_asymptote"] ** 2 * same
        own = p["deviation"] ** 2 + p["like_deviation"] ** 2 * alike + p["own_deviation"] ** 2 * same
        return level + own * decay

    def of(self, points: Tensor, trials: Tensor, epochs: Tensor) -> Tensor:
        """Return the covariance of observations, with their noise."""
        rows, at = trials.unique(return_inverse=True)
        alike = self.alike(points[rows], points[rows])[at[:, None], at]
        same = (trials[:, None] == trials).to(alike.dtype)
        covariance = self.between(alike, same, epochs[:, None], epochs)
        return covariance + (self.sizes["noise"] ** 2 + JITTER) * torch.eye(len(trials), dtype=alike.dtype)


class Posterior:
    """What is known of curves after what was seen.

    `awaited` are trials and epochs that are being run to: their scores are taken to come as expected, which moves no
    mean and narrows what is uncertain.
    """

    def __init__(
        self, kernel: Kernel, points: Tensor, seen: Seen, awaited: tuple[Tensor, Tensor] | None = None
    ) -> None:
        self.kernel, self.points = kernel, points
        more = awaited or (seen.trials[:0], seen.epochs[:0])
        self.trials, self.epochs = (torch.cat(pair) for pair in zip((seen.trials, seen.epochs), more, strict=True))
        self.factor = torch.linalg.cholesky(kernel.of(points, self.trials, self.epochs))
        known = len(seen.scores)
        whitened = torch.linalg.solve_triangular(self.factor[:known, :known], seen.scores[:, None], upper=False)[:, 0]
        self.whitened = torch.cat([whitened, whitened.new_zeros(len(self.trials) - known)])

    def beside(self, points: Tensor) -> Posterior:
        """Return the same with trials at more points, of which nothing was seen."""
        more = copy.copy(self)
        more.points = torch.cat([self.points, points])
        return more

    def mean_and_deviation(self, trials: Tensor, epoch: float) -> tuple[Tensor, Tensor]:
        """Return what trials are expected to score at an epoch, without noise, and its standard deviation."""
        part = self._part(trials, epoch)
        return part.T @ self.whitened, self._left(trials, part, part, epoch, epoch).clamp_min(0).sqrt()

    def together(self, trials: Tensor, epoch: float) -> tuple[Tensor, Tensor]:
        """Return what trials are expected to score at an epoch, without noise, and the covariance that is left."""
        part = self._part(trials, epoch)
        alike = self.kernel.alike(self.points[trials], self.points[trials])
        same = (trials[:, None] == trials).to(alike.dtype)
        at = torch.full_like(alike, epoch)
        return part.T @ self.whitened, self.kernel.between(alike, same, at, at) - part.T @ part

    def moves(self, trials: Tensor, epochs: Sequence[float], last: float) -> Tensor:
        """Return by how much a trial's score at an epoch is going to move what is expected of it at `last`.

        That is a standard deviation, [epoch, trial].
        """
        there, noise = self._part(trials, last), self.kernel.sizes["noise"] ** 2
        rows = []
        for epoch in epochs:
            here = self._part(trials, epoch)
            variance = self._left(trials, here, here, epoch, epoch).clamp_min(0) + noise
            rows.append(self._left(trials, here, there, epoch, last).abs() / variance.sqrt())
        return torch.stack(rows)

    def _part(self, trials: Tensor, epoch: float) -> Tensor:
        """Return the covariance of what was seen with trials at an epoch, whitened: [observation, trial]."""
        rows, at = self.trials.unique(return_inverse=True)
        alike = self.kernel.alike(self.points[rows], self.points[trials])[at]
        same = (self.trials[:, None] == trials).to(alike.dtype)
        covariance = self.kernel.between(alike, same, self.epochs[:, None], torch.full_like(alike[:1], epoch))
        return torch.linalg.solve_triangular(self.factor, covariance, upper=False)

    def _left(self, trials: Tensor, first: Tensor, second: Tensor, epoch: float, other: float) -> Tensor:
        """Return the covariance that is left between two epochs of each trial, [trial]."""
        one = torch.ones(len(trials), dtype=first.dtype)
        before = self.kernel.between(one, one, one * epoch, one * other)
        return before - (first * second).sum(0)


def kernel_at(place: Tensor, draws: Tensor) -> Kernel:
    """Return the kernel at a place in the parameters' priors: of each the standard deviations from its median.

    First come PRIORS, then the length scales; `draws` says which one a column of the points has.
    """
    place = FAR * torch.tanh(place / FAR)
    sizes = {
        name: median * torch.exp(spread * at)
        for (name, (median, spread)), at in zip(PRIORS.items(), place, strict=False)
    }
    lengths = place[len(PRIORS) :]
    scales = LENGTH[0] * len(lengths) ** 0.5 * torch.exp(LENGTH[1] * lengths)
    return Kernel(scales[draws], sizes)


def loss(place: Tensor, points: Tensor, draws: Tensor, seen: Seen) -> Tensor:
    """Return the negative logarithm of the likelihood of what was seen, times the prior; up to a constant."""
    factor = torch.linalg.cholesky(kernel_at(place, draws).of(points, seen.trials, seen.epochs))
    whitened = torch.linalg.solve_triangular(factor, seen.scores[:, None], upper=False)
    return (whitened * whitened).sum() / 2 + factor.diagonal().log().sum() + (place * place).sum() / 2


def fit(points: Tensor, draws: Tensor, seen: Seen) -> Kernel:
    """Return the most probable kernel, given the priors and part of what was seen; the same for the same."""
    part = _part_of(seen)
    place = torch.zeros(len(PRIORS) + len(draws.unique()), dtype=points.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([place], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(place, points, draws, part)
        value.backward()
        return value

    optimizer.step(closure)
    return kernel_at(place.detach(), draws)


def _part_of(seen: Seen) -> Seen:
    """Return the observations of every so many-th trial, in the order of how many each has: about FITTED at most."""
    trials, counts = seen.trials.unique(return_counts=True)
    order = trials[torch.argsort(-counts, stable=True)]
    kept = torch.isin(seen.trials, order[:: math.ceil(len(seen.trials) / FITTED)])
    return Seen(seen.trials[kept], seen.epochs[kept], seen.scores[kept])
