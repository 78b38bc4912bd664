"""Early stopping in the stages of a grid, whose trials are the rows of a table: what may still be best runs on. Pure.

A trial stops where two others of its stage are ahead of it at the same epoch by more than three times the noise, and
where it is not catching up fast enough to be level with them at the end. Who has run less far counts with what it has
shown: at the same epoch it will have shown that or more.

Two, as the winner needs somebody to be held against: at least two trials of a stage always run in full, and of a stage
of two both do. The noise of a difference is made of what is known by then: the binomial error of two accuracies, as if
they were of different images (it is wider than that of the same images by about what seeds add), and the jitter of both
curves from epoch to epoch. For a mean average precision no formula tells what the images add, so nothing is stopped;
nor is it where trials differ in their number of epochs or their schedule.

What it risks (tests/benchmarks/stopping.py): on 679 stages of real small networks, of which half end far behind, it
saves 33 % of the epochs; 0.4 % of the stages lose their best trial, whose curve crossed the others' late, and 2.2 % one
within two standard errors of it. Of 3 to 8 simulated trials that are equal (5,000 images, sd over seeds 0.4 points,
over epochs 0.2 to 0.8) at most 0.4 % stop, with 0.8 points over seeds 4 %; never the one that shows most at the end.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from trainables.errors import UserError, suggest

BEHIND, ASHA = RULES = ("behind", "asha")  # asha is Ray Tune's own: sweeps/execution/early_stopping.py

FIRST = 0.25  # of the epochs: with a tenth three times as many stages lose their best: curves still cross
LEAST = 3  # epochs at least: with fewer there is no jitter to see
CERTAIN = 3.0  # times the noise; with 2 twice as many stages lose their best
AHEAD = 2  # others; with one twice as many do, and five times as many lose a trial that is level with the best
MEANS = 3  # epochs whose mean is what a trial shows
PACE = 2  # the last epochs, by which it is seen how fast a trial catches up
LOOKS = 20  # others, those that show most, which a trial is held against: with thousands it would be all, at each epoch
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


class _Point(NamedTuple):
    """A trial after an epoch: its score, what it has shown so far, and its jitter."""

    score: float
    stands: float
    jitter: float


class Behind:
    """The curves of a stage's trials of so many epochs, and which of them stops. `images` are those of validation."""

    def __init__(self, epochs: int, images: int) -> None:
        self.epochs, self.images = epochs, images
        self.first = max(LEAST, round(FIRST * epochs))  # the first epoch after which a trial may stop
        self._courses: dict[str, list[_Point]] = {}
        self._best: dict[int, list[tuple[float, str]]] = {}  # after each epoch, who shows most first
        self._newest: dict[int, list[tuple[float, str]]] = {}  # likewise, of those that have come just as far
        self._out: set[str] = set()  # stopped, or failed: nobody is held against them

    def note(self, trial: str, score: float) -> None:
        """Take a trial's validation score after its next epoch: a mean over its replicates."""
        course = self._courses.setdefault(trial, [])
        recent = [*(point.score for point in course[-RECENT - 1 :]), score]
        shown = standing(recent[-MEANS:])
        stands = max(shown, course[-1].stands) if len(course) >= MEANS else shown
        course.append(_Point(score, stands, jitter(recent)))
        if trial in self._out:
            return
        if len(course) > 1:
            _remove(self._newest[len(course) - 1], (-course[-2].stands, trial))
        for places in (self._best, self._newest):
            bisect.insort(places.setdefault(len(course), []), (-course[-1].stands, trial))

    def drop(self, trial: str) -> None:
        """Leave out a trial that was stopped or has failed."""
        if trial in self._out:
            return
        self._out.add(trial)
        course = self._courses.get(trial, [])
        for epoch, point in enumerate(course, start=1):
            _remove(self._best[epoch], (-point.stands, trial))
        if course:
            _remove(self._newest[len(course)], (-course[-1].stands, trial))

    def stands(self, trial: str) -> float:
        """Return what a trial has shown so far."""
        return self._courses[trial][-1].stands

    def ahead(self, trial: str, epoch: int) -> dict[str, Lead]:
        """Return the two that show most of those that are ahead of this one for certain after an epoch, or fewer."""
        found: dict[str, Lead] = {}
        for name in self._showing_more(trial, epoch):
            if len(found) == AHEAD:
                break
            if (lead := self.lead(name, trial, epoch)).certain:
                found[name] = lead
        return found

    def stops(self, trial: str, epoch: int) -> bool:
        """Tell whether a trial is to stop after an epoch, by what is known of the others now."""
        return self.first <= epoch < self.epochs and len(self.ahead(trial, epoch)) == AHEAD

    def lead(self, theirs: str, ours: str, epoch: int) -> Lead:
        """Return how far one trial is ahead of another after an epoch of ours.

        Where it has not come as far, as far as it has: it will have shown no less by then. The pace is that of the last
        epochs of both.
        """
        one, other = self._courses[theirs], self._courses[ours]
        last = min(epoch, len(one)) - 1  # of those that both have run
        back = max(0, last - PACE)
        then, now = one[last], other[epoch - 1]
        closing = max(0.0, (one[back].score - other[back].score) - (then.score - other[last].score)) / PACE
        images = binomial(then.stands, self.images) + binomial(now.stands, self.images)
        noise = math.sqrt(images + (then.jitter**2 + now.jitter**2) / MEANS)
        lead = then.stands - now.stands
        return Lead(lead, lead - closing * (self.epochs - 1 - last), noise)

    def _showing_more(self, trial: str, epoch: int) -> Iterator[str]:
        """Go through those that show so much more after an epoch that their lead may be certain.

        First those that have come as far, then the others; of each, who shows most first, and LOOKS at most.
        """
        stands = self._courses[trial][epoch - 1].stands
        least = stands + CERTAIN * math.sqrt(binomial(stands, self.images))
        behind = (self._newest[length] for length in range(MEANS, epoch) if length in self._newest)
        for places in (self._best[epoch], heapq.merge(*behind)):
            for shown, name in islice(places, LOOKS):
                if -shown <= least:
                    break
                yield name


def _remove(places: list[tuple[float, str]], place: tuple[float, str]) -> None:
    """Remove a place from those in order."""
    del places[bisect.bisect_left(places, place)]


def check(name: str) -> str:
    """Return the name of a rule for grids. Raises UserError for one that is not known."""
    if name not in RULES:
        raise UserError(f"early stopping in a grid {name!r} is not known{suggest(name, RULES)}")
    return name


def standing(curve: Sequence[float]) -> float:
    """Return what a trial has shown so far: the best mean of three epochs in a row (of all, where they are fewer)."""
    width = min(MEANS, len(curve))
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
