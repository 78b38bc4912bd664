"""Early stopping in the stages of a grid, whose trials are the rows of a table: what may still be best runs on. Pure.

A trial stops where two others of its stage are ahead of it at the same epoch by more than the noise, and where it is
not catching up fast enough to be level with them at the end.

Two, as the winner needs somebody to be held against: at least two trials of a stage always run in full, and of a stage
of two both do. The noise of a difference is made of what is known by then: the binomial error of two accuracies, as if
they were of different images (it is wider than that of the same images by about what seeds add), and the jitter of both
curves from epoch to epoch. For a mean average precision no formula tells what the images add, so nothing is stopped.

What it risks, by simulation of stages of 3 to 8 equal trials (5,000 images, sd over seeds 0.4 points, jitter 0.4 to
0.8): 0.3 % of the trials stop, and never the one that would have won. What curves that cross cost is measured on real
ones: see tests/benchmarks/stopping.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trainables.errors import UserError, suggest

BEHIND, ASHA = RULES = ("behind", "asha")  # asha is Ray Tune's own: sweeps/execution/early_stopping.py

FIRST = 0.25  # of the epochs: with a tenth, curves that still cross cost five times as many winners
LEAST = 3  # epochs at least: with fewer there is no jitter to see
CERTAIN = 2.5  # times the noise; with 2 the trials that stop among equal ones are eight times as many
AHEAD = 2  # others
PACE = 2  # the last epochs, by which it is seen how fast a trial catches up
RECENT = 5  # second differences that tell the jitter: earlier ones are of the steep beginning


class Lead(NamedTuple):
    """How far one trial is ahead of another after an epoch, in fractions: now, at the end at this pace, and the noise
    of both.
    """

    now: float
    at_end: float
    noise: float

    @property
    def certain(self) -> bool:
        """Whether it is no noise, and will last."""
        return min(self.now, self.at_end) > CERTAIN * self.noise


class Behind:
    """The curves of a stage's trials of so many epochs, and which of them stops. `images` are those of validation."""

    def __init__(self, epochs: int, images: int) -> None:
        self.epochs, self.images = epochs, images
        self.first = max(LEAST, round(FIRST * epochs))  # the first epoch after which a trial may stop
        self.curves: dict[str, list[float]] = {}
        self.out: set[str] = set()  # stopped, or failed: nobody is held against them

    def note(self, trial: str, epoch: int, score: float) -> None:
        """Take a trial's validation score after an epoch, a mean over its replicates; none may be left out."""
        self.curves.setdefault(trial, [])[epoch - 1 :] = [score]

    def drop(self, trial: str) -> None:
        """Leave out a trial that was stopped or has failed."""
        self.out.add(trial)

    def ahead(self, trial: str, epoch: int) -> dict[str, Lead]:
        """Return the trials that are ahead of this one for certain after an epoch, the farthest first."""
        own = self.curves[trial][:epoch]
        others = {name: curve[:epoch] for name, curve in self.curves.items() if name != trial and name not in self.out}
        leads = {name: self.lead(curve, own) for name, curve in others.items() if len(curve) == epoch}
        ahead = sorted(leads.items(), key=lambda each: -each[1].now)
        return {name: found for name, found in ahead if found.certain}

    def stops(self, trial: str, epoch: int) -> bool:
        """Tell whether a trial is to stop after an epoch, by what is known of the others now."""
        return self.first <= epoch < self.epochs and len(self.ahead(trial, epoch)) >= AHEAD

    def lead(self, theirs: Sequence[float], ours: Sequence[float]) -> Lead:
        """Return how far `theirs` is ahead of `ours`, two curves of equally many epochs."""
        now, gaps = standing(theirs) - standing(ours), [their - our for their, our in zip(theirs, ours, strict=True)]
        closing = max(0.0, gaps[-1 - PACE] - gaps[-1]) / PACE if len(gaps) > PACE else 0.0
        images = sum(binomial(standing(curve), self.images) for curve in (theirs, ours))
        noise = math.sqrt(images + jitter(theirs) ** 2 + jitter(ours) ** 2)
        return Lead(now, now - closing * (self.epochs - len(ours)), noise)


def check(name: str) -> str:
    """Return the name of a rule for grids. Raises UserError for one that is not known."""
    if name not in RULES:
        raise UserError(f"early stopping in a grid {name!r} is not known{suggest(name, RULES)}")
    return name


def standing(curve: Sequence[float]) -> float:
    """Return what a trial has shown so far: the best mean of three epochs in a row (of all, where they are fewer)."""
    width = min(3, len(curve))
    return max(sum(curve[at : at + width]) / width for at in range(len(curve) - width + 1))


def jitter(curve: Sequence[float]) -> float:
    """Return the standard deviation of a curve's epochs around its trend; 0 where there are too few to tell.

    A trend that is straight over three epochs drops out of second differences, whose variance is six times the noise's.
    """
    bends = np.diff(np.asarray(curve), 2)[-RECENT:]
    return math.sqrt(float(np.mean(bends**2)) / 6) if len(bends) else 0.0


def binomial(share: float, images: int) -> float:
    """Return the variance of an accuracy on so many images; not 0 where all are right, as one more may be wrong."""
    likely = (share * images + 1) / (images + 2)
    return likely * (1 - likely) / images


def behind(curve: Sequence[float], others: Mapping[str, Sequence[float]]) -> tuple[str, float] | None:
    """Return who led after a curve's last epoch, and by how much; None where nobody else has come so far."""
    leads = {
        name: standing(other[: len(curve)]) - standing(curve)
        for name, other in others.items()
        if len(other) >= len(curve)
    }
    leader = max(leads, key=leads.__getitem__, default=None)
    return None if leader is None else (leader, leads[leader])
