"""What follows a search: whether the stages after it can be built from where it may end. Pure.

Where a search ends nobody can know beforehand. So each point that it draws is checked, and not taken where some trial
of what follows could not be built.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sweeps.decisions import bounds
from sweeps.decisions.space import unbuildable
from sweeps.decisions.stages import AnyStage, Search, Stage
from sweeps.decisions.study import Study
from trainables.config import Trial
from trainables.errors import UserError
from trainables.plan import Layer, flops, plan_of

SAMPLES = 200  # points of a search's space of which the plan tells whether what follows can be built
TRIES = 5000  # points at most that are drawn for these
KEPT = 20  # of these, those with the most FLOPs, are what the plan takes the stages after the search to start from

Shape = tuple[int, int, int]  # of images, (C, H, W)


def hindrance(study: Study, stage: AnyStage, trial: Trial, image_shape: Shape, classes: int) -> str | None:
    """Return why a trial that a stage may lead to, once this one has won it, cannot be built; None where all can be.

    Of the grids that follow each trial may win in turn. A search that follows draws what can be built.
    """
    for following in study.after(stage.name):
        if isinstance(following, Stage) and (why := _within(study, following, trial, image_shape, classes)):
            return why
    return None


def _within(study: Study, stage: Stage, start: Trial, image_shape: Shape, classes: int) -> str | None:
    try:
        cells = stage.cells(start)
    except UserError as error:
        return f"from there stage {stage.name}: {error}"
    for cell in cells:
        if why := unbuildable(cell.trial, {}, image_shape, classes):
            return f"from there stage {stage.name}, {cell.label}: {why}"
    trials = dict.fromkeys(cell.trial for cell in cells)
    return next(filter(None, (hindrance(study, stage, trial, image_shape, classes) for trial in trials)), None)


class Ends(NamedTuple):
    """Where a search may end: some such trials, the one with the most FLOPs first; what share they are, 0..1, of those
    that can be built and keep within its bounds; and what most often is in the way of what follows.
    """

    trials: tuple[Trial, ...]
    share: float
    reason: str | None


def search_ends(study: Study, search: Search, start: Trial, image_shape: Shape, classes: int) -> Ends:
    """Return where a search may end from a start, by random points of its space."""
    found, reasons, built = dict[Trial, int](), Counter[str](), 0
    for trial, layers in itertools.islice(_drawn(search, start, image_shape, classes), SAMPLES):
        built += 1
        if why := hindrance(study, search, trial, image_shape, classes):
            reasons[why] += 1
        else:
            found[trial] = flops(layers)
    largest = sorted(found, key=lambda trial: -found[trial])[:KEPT]
    share = 1 - reasons.total() / built if built else 0.0
    return Ends(tuple(largest), share, max(reasons, key=reasons.__getitem__, default=None))


def _drawn(search: Search, start: Trial, image_shape: Shape, classes: int) -> Iterator[tuple[Trial, tuple[Layer, ...]]]:
    """Go through random points that can be built, within the bounds that the plan knows of."""
    rng = np.random.default_rng(0)
    for _ in range(TRIES):
        values = search.space.random(rng)
        if unbuildable(start, values, image_shape, classes) is None:
            trial = start.with_values(values)
            layers = plan_of(trial, image_shape, classes)
            if bounds.broken(search.planned_constraint, bounds.planned_costs(layers)) is None:
                yield trial, layers
