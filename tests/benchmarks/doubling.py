"""What as many trials again bring a search, against what the second half of its trials has brought.

    python -m tests.benchmarks.doubling [--tables cifar10,fashion_mnist,digits] [--repetitions 30]

The search's report says the latter. Here searches of 32 trials are held against the same ones of 64, on recorded curves
(tests/benchmarks/search_tables.py): the regret that the winner loses, on seeds that neither chose nor confirmed.

Two cores of an AMD EPYC, 2026-11-27, 30 repetitions; points of accuracy, ± two standard errors:

| | second half of 32 | 32 more | correlation |
|---|--:|--:|--:|
| cifar10, random | 1.13 | 0.68 ± 0.45 | −0.01 |
| cifar10, tpe | 2.27 | 1.36 ± 0.73 | −0.19 |
| fashion_mnist, random | 0.25 | 0.19 ± 0.20 | −0.15 |
| fashion_mnist, tpe | 0.38 | −0.07 ± 0.26 | −0.16 |
| digits, random | 3.56 | 0.24 ± 0.40 | 0.24 |
| digits, tpe | 1.43 | 0.22 ± 0.29 | −0.24 |

So on average it is less, by 0 to 0.76 of it; but what one search has brought tells nothing about what the same search
brings next. Neither did an extreme value's tail, fitted to the best scores at the highest rung (Weissman 1978): on
digits it foretold 3 to 10 points, with correlations of −0.2 to 0.2.
"""

from __future__ import annotations

import argparse

import numpy as np

from sweeps.reporting.leaderboard import second_half
from tests.benchmarks.contestants import Ours, quiet
from tests.benchmarks.search_tables import Roles, Table, load
from tests.benchmarks.simulation import Seen, simulate

TRIALS = 32


def brought(table: Table, repetition: int, sampler: str) -> tuple[float, float]:
    """Return, in points, what the second half of a search brought, and what as many trials again do."""
    roles = Roles.of(table, repetition)
    regrets, gains = [], []
    for trials in (TRIALS, 2 * TRIALS):
        search = Ours(Seen(table, roles), repetition, trials=trials, sampler=sampler)
        regrets.append(roles.regret(table, simulate(search).winner()))
        gain, _ = second_half(list(search.run.draws.values())) or (np.nan, np.nan)
        gains.append(gain)
    return 100 * gains[0], 100 * (regrets[0] - regrets[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=lambda text: text.split(","), default=["cifar10", "fashion_mnist", "digits"])
    parser.add_argument("--repetitions", type=int, default=30)
    options = parser.parse_args()
    quiet()
    for name in options.tables:
        table = load(name)
        for sampler in ("random", "tpe"):
            found = np.array([brought(table, number, sampler) for number in range(options.repetitions)])
            half = 2 * found[:, 1].std(ddof=1) / len(found) ** 0.5
            related = np.corrcoef(found.T)[0, 1]
            means = found.mean(axis=0)
            print(f"| {name}, {sampler} | {means[0]:.2f} | {means[1]:.2f} ± {half:.2f} | {related:.2f} |", flush=True)


if __name__ == "__main__":
    main()
