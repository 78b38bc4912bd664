"""Where a search loses: in what it draws, in what it runs on, or in what it confirms; and who is best confirmed.

    python -m tests.benchmarks.candidates [--tables cifar10,fashion_mnist,digits] [--repetitions 30]

The tables are those of tests/benchmarks/search.py; the results are in sweeps/decisions/README.md. Regret is in % of
what the median network lacks. *Different* leaders are different networks of the table: of draws that stand for the
same one, the best goes first and the others go behind all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from unittest.mock import patch

import numpy as np

from sweeps.decisions import search_run
from sweeps.decisions.drawing import Draw
from tests.benchmarks.contestants import Ours, quiet
from tests.benchmarks.search import TABLES, searched
from tests.benchmarks.search_tables import Roles, Table, load
from tests.benchmarks.simulation import Seen, simulate

Choose = Callable[[Seen, Sequence[Draw]], list[Draw]]  # puts the trials in order, of which the first are confirmed


def leaders(seen: Seen, ranked: Sequence[Draw]) -> list[Draw]:  # noqa: ARG001
    """The best by their screening."""
    return list(ranked)


def different(seen: Seen, ranked: Sequence[Draw]) -> list[Draw]:
    """The best by their screening, of which no two are the same network."""
    first = {seen.at(draw.values): draw for draw in reversed(ranked)}
    return sorted(ranked, key=lambda draw: first[seen.at(draw.values)] is not draw)


HOW: dict[str, Choose | None] = {"leaders": leaders, "different leaders": different, "by the model": None}
CANDIDATES = [(how, count) for count in (3, 6, 9) for how in HOW]


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


def confirmed(table: Table, repetition: int, how: str, count: int) -> tuple[float, int]:
    """Return the winner's regret, and the epochs, where so many are confirmed that are chosen so."""

    def build(seen: Seen, seed: int) -> Ours:
        choose = HOW[how]
        if choose:
            search_run.candidates = lambda _, ranked, __, most: choose(seen, ranked)[:most]
        return Ours(seen, seed, confirm=count)

    with patch.object(search_run, "candidates", search_run.candidates):  # it is as before afterwards
        found = searched(build, table, repetition)
    return found.at()[1], found.course.epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=lambda text: text.split(","), default=list(TABLES))
    parser.add_argument("--repetitions", type=int, default=30)
    options = parser.parse_args()
    quiet()
    every = range(options.repetitions)
    for name in options.tables:
        table = load(name)
        for sampler in ("tpe", "random"):
            means = np.mean([losses(table, number, sampler) for number in every], axis=0)
            print(f"| {name}, {sampler} | {' | '.join(f'{mean:.1f}' for mean in means)} |", flush=True)
        found = {each: np.array([confirmed(table, number, *each) for number in every]) for each in CANDIDATES}
        base = found["leaders", 3]
        for (how, count), rows in found.items():
            less = rows[:, 0] - base[:, 0]
            half = 2 * less.std(ddof=1) / len(less) ** 0.5
            epochs = rows[:, 1].mean() / base[:, 1].mean()
            print(f"| {name}: {count} {how} | {less.mean():+.1f} ± {half:.1f} | {epochs:.2f} |", flush=True)


if __name__ == "__main__":
    main()
