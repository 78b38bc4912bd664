"""What it brings to weigh a search's draws by what they cost: nothing (sweeps/decisions/README.md).

    python -m tests.benchmarks.weighing [--tables cifar10,fashion_mnist] [--repetitions 45]

Of four points that the sampler would draw one is drawn with a chance as FLOPs^-a: expected improvement per second
(Snoek et al. 2012), with a fixed or falling to 0 over the search (Lee et al. 2020). The tables are those of real curves
of tests/benchmarks/search.py, with their measured seconds. Regret is in % of what the median network lacks: at the end,
and of who leads when the seconds of the search with plain draws are spent, or half of them; paired with that one by
repetition, with 95 % intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sweeps.decisions.drawing import Drawing
from sweeps.decisions.points import Points
from sweeps.decisions.samplers import Sampler
from sweeps.decisions.told import Told
from tests.benchmarks.contestants import TRIALS, Ours, quiet
from tests.benchmarks.search import Searched, interval, searched
from tests.benchmarks.search_tables import load
from tests.benchmarks.simulation import Seen

MANY = 4
APART = 7919  # between the seeds of draws that are made at once
FORMS: dict[str, tuple[float, float] | None] = {"plain": None, "1 to 0": (1, 0), "0.5": (0.5, 0.5), "1": (1, 1)}
SPENT = {"at the end": np.inf, "at plain draws' seconds": 1.0, "at half of them": 0.5}


class Weigher:
    """Draws by a sampler, of which one is taken by its cost; `first` and `last`: a at the first draw and the last."""

    def __init__(self, sampler: Sampler, drawing: Drawing, first: float, last: float) -> None:
        self.sampler, self.drawing, self.powers = sampler, drawing, np.linspace(first, last, TRIALS)

    def suggest(self, told: Sequence[Told], number: int, points: Points) -> dict[str, Any] | None:
        seed = self.sampler.seed
        each = (replace(self.sampler, seed=seed + APART * at).suggest(told, number, points) for at in range(MANY))
        found = [values for values in each if values is not None]
        if not found:
            return None
        trials = [self.drawing.start.with_values(values) for values in found]
        costs = np.array([self.drawing.planned(trial)["flops"] for trial in trials])
        chances = costs ** -self.powers[min(number, TRIALS - 1)]
        return found[np.random.default_rng([seed, number]).choice(len(found), p=chances / chances.sum())]


def build(seen: Seen, seed: int, sampler: str, form: tuple[float, float] | None) -> Ours:
    made = Ours(seen, seed, sampler=sampler)
    if form:
        drawing = made.run.drawing
        drawing.sampler = Weigher(drawing.sampler, drawing, *form)  # type: ignore[assignment]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=lambda text: text.split(","), default=["cifar10", "fashion_mnist"])
    parser.add_argument("--repetitions", type=int, default=45)
    options = parser.parse_args()
    quiet()
    tables, every = [load(name) for name in options.tables], range(options.repetitions)
    for sampler in ("tpe", "random"):
        found: dict[str, list[list[Searched]]] = {}
        for name, form in FORMS.items():
            builder = partial(build, sampler=sampler, form=form)
            found[name] = [[searched(builder, table, number) for number in every] for table in tables]
        work = np.array([np.mean([each.course.work for each in rows]) for rows in found["plain"]])
        for name, ours in found.items():
            seconds = np.mean([np.mean([each.course.work for each in rows]) for rows in ours] / work)
            cells = [f"{sampler}, {name}", f"{seconds:.2f}"]
            for what, part in SPENT.items():
                own, plain = (_regrets(each, part * work) for each in (ours, found["plain"]))
                cells.append(f"{what} {own.mean():.1f} ({interval(own - plain)})")
            print(f"| {' | '.join(cells)} |", flush=True)


def _regrets(tables: Sequence[Sequence[Searched]], limits: np.ndarray) -> np.ndarray:
    return np.array([[each.at(limit, by=1)[1] for each in rows] for rows, limit in zip(tables, limits, strict=True)])


if __name__ == "__main__":
    main()
