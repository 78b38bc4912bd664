"""Where a search loses: in what it draws, in what it runs on, or in what it confirms; and what more candidates bring.

    python -m tests.benchmarks.candidates [--tables cifar10,fashion_mnist] [--repetitions 30]

The tables are those of tests/benchmarks/search.py; the results are in sweeps/decisions/README.md. Regret is in % of
what the median network lacks. *Different* candidates are different networks of the table: of draws that stand for the
same one, the best goes first and the others go behind all.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from sweeps.decisions.drawing import Draw
from sweeps.decisions.search_run import SearchRun
from tests.benchmarks.contestants import Ours, quiet
from tests.benchmarks.search import searched
from tests.benchmarks.search_tables import Roles, Table, load
from tests.benchmarks.simulation import Seen, simulate


class Different(Ours):
    """The product, where only different networks are confirmed."""

    def __init__(self, seen: Seen, seed: int, **options: Any) -> None:
        super().__init__(seen, seed, **options)
        run = self.run

        def ranking() -> list[Draw]:
            order = SearchRun.ranking(run)
            if run.confirmation:
                return order
            first = {seen.at(draw.values): draw for draw in reversed(order)}
            return sorted(order, key=lambda draw: first[seen.at(draw.values)] is not draw)

        run.ranking = ranking  # type: ignore[method-assign]


CANDIDATES = {
    "3": (Ours, {}),
    "3, different": (Different, {}),
    "6": (Ours, {"confirm": 6}),
    "6, different": (Different, {"confirm": 6}),
    "9, different": (Different, {"confirm": 9}),
}


def regret(table: Table, roles: Roles, search: Ours, draws: Sequence[Draw]) -> float:
    """Return that of the best of these."""
    return min(100 * roles.regret(table, search.seen.at(draw.values)) / table.lacks for draw in draws)


def losses(table: Table, repetition: int, sampler: str) -> tuple[float, ...]:
    """Return the regret of the best drawn, at the highest rung and confirmed, and of the winner; and how many different
    networks were confirmed.
    """
    roles = Roles.of(table, repetition)
    search = Ours(Seen(table, roles), repetition, sampler=sampler)
    won = simulate(search).winner()
    drawn = [draw for draw in search.run.draws.values() if draw.scores and not draw.reason]
    highest = max(epoch for draw in drawn for epoch in draw.scores)
    confirmed = search.run.confirmed or ()
    sets = (drawn, [draw for draw in drawn if highest in draw.scores], confirmed)
    ends = [regret(table, roles, search, draws) for draws in sets]
    return (
        *ends,
        100 * roles.regret(table, won) / table.lacks,
        len({search.seen.at(draw.values) for draw in confirmed}),
    )


def confirmed(table: Table, repetition: int, name: str) -> tuple[float, int]:
    """Return the winner's regret, and the epochs."""
    kind, options = CANDIDATES[name]
    found = searched(partial(kind, **options), table, repetition)
    return found.at()[1], found.course.epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=lambda text: text.split(","), default=["cifar10", "fashion_mnist"])
    parser.add_argument("--repetitions", type=int, default=30)
    options = parser.parse_args()
    quiet()
    every = range(options.repetitions)
    for name in options.tables:
        table = load(name)
        for sampler in ("tpe", "random"):
            means = np.mean([losses(table, number, sampler) for number in every], axis=0)
            print(f"| {name}, {sampler} | {' | '.join(f'{mean:.1f}' for mean in means)} |", flush=True)
        found = {how: np.array([confirmed(table, number, how) for number in every]) for how in CANDIDATES}
        for how, rows in found.items():
            less = rows[:, 0] - found["3"][:, 0]
            half = 2 * less.std(ddof=1) / len(less) ** 0.5
            epochs = rows[:, 1].mean() / found["3"][:, 1].mean()
            print(f"| {name}: {how} | {less.mean():+.1f} ± {half:.1f} | {epochs:.2f} |", flush=True)


if __name__ == "__main__":
    main()
