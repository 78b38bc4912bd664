"""What the trials of a search may cost at most, as the plan knows it or as training shows. Pure."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sweeps.decisions.space import Space
from trainables.config import Trial
from trainables.errors import UserError, suggest
from trainables.plan import Layer, flops, parameters, plan_of

# What can be bounded, in the words of a sentence. The plan knows the first two, so that no trial beyond them is drawn.
PLANNED = {
    "parameters": "parameters",
    "flops": "FLOPs an image",  # forward
}
# Of a full run with one seed, as long as its epochs took so far. A trial beyond it is never ranked before one within it
MEASURED = {"seconds": "s of training in full"}
COSTS = PLANNED | MEASURED
LEAST = 0.01  # of a space that must be within its bounds: of less, drawing at random would find nothing


def check(constraint: Mapping[str, Any]) -> None:
    """Raise UserError for a bound on what cannot be bounded, or one that is no number above 0."""
    if not isinstance(constraint, Mapping):
        raise UserError(f'constraint is {constraint!r}, but must name bounds, as {{"parameters": 1e6}} does')
    for name, bound in constraint.items():
        if name not in COSTS:
            raise UserError(f"constraint names {name!r}, which cannot be bounded{suggest(str(name), COSTS)}")
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 < bound < math.inf:
            raise UserError(f"constraint: {name} is {bound!r}, but must be a number above 0")


def planned_costs(layers: tuple[Layer, ...]) -> dict[str, float]:
    """Return what a network costs, as far as its plan knows."""
    return {"parameters": float(parameters(layers)), "flops": float(flops(layers))}


def beyond(constraint: Mapping[str, float], costs: Mapping[str, float]) -> dict[str, float]:
    """Return how far each cost that is known is from its bound: the logarithm of their ratio, above 0 beyond it."""
    known = {name: costs[name] for name in constraint if name in costs}
    # a cost of 0, as of a network without FLOPs, is as good as the least that counts
    return {name: math.log(max(cost, 1e-9) / constraint[name]) for name, cost in known.items()}


def broken(constraint: Mapping[str, float], costs: Mapping[str, float]) -> str | None:
    """Return in words which bound the costs break, and by what; None where they keep within all that is known."""
    over = [name for name, ratio in beyond(constraint, costs).items() if ratio > 0]
    if not over:
        return None
    name = over[0]
    return f"{amount(costs[name])} {COSTS[name]}, but at most {amount(constraint[name])} are allowed"


def in_words(constraint: Mapping[str, float]) -> str:
    """Return the bounds in words: `at most 1,000,000 parameters and 60 s of training in full`."""
    return "at most " + " and ".join(f"{amount(bound)} {COSTS[name]}" for name, bound in constraint.items())


def amount(value: float) -> str:
    """Return a cost or a bound as a number in words."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


class Within(NamedTuple):
    """How much of a space keeps within bounds, 0..1, and what half of its points cost at least, by name."""

    share: float
    median: Mapping[str, float]


def within(
    constraint: Mapping[str, float],
    space: Space,
    start: Trial,
    image_shape: tuple[int, int, int],
    classes: int,
    samples: int = 1000,
) -> Within:
    """Return what share of a space's points gives a network within the bounds on images of `image_shape` (C, H, W).

    Of a space with no more than `samples` points that is of all of them, otherwise of so many random ones. What cannot
    be built is not within them. Raises UserError where no such point can be built.
    """
    few, rng = space.size is not None and space.size <= samples, np.random.default_rng(0)
    found = []
    points = list(space.points()) if few else [space.random(rng) for _ in range(samples)]
    for values in points:
        with contextlib.suppress(UserError):  # it cannot be built
            found.append(planned_costs(plan_of(start.with_values(values), image_shape, classes)))
    if not found:
        raise UserError("no point of the space can be built")
    kept = sum(broken(constraint, costs) is None for costs in found)
    return Within(kept / len(points), {name: statistics.median_low(costs[name] for costs in found) for name in PLANNED})
