"""Searches, ours against their peers, in simulation: regret, epochs and seconds.

    python -m tests.benchmarks.search [--tables cifar10,fashion_mnist,digits] [--repetitions 45] [--jobs 2]
        [--contestants NAME;NAME] [--ours "sampler=random confirm=5"]... [--file real_curves.npz]

What the tables hold, and what in them is real, is at the head of search_tables.py. Each contestant draws 64 points of
the table's space, on four simulated workers where an epoch takes the processor time that the table has for the network.
All learning rates are drawn as real numbers, and the nearest trained one is looked up, for all contestants alike. Ours
is the product's own agenda with a Search, asked and told as the scheduler does it; Ray Tune is its own
AsyncHyperBandScheduler and OptunaSearch with their defaults, called in the order in which Tune's controller calls them,
and no Ray process runs. BOHB (Falkner et al., ICML 2018) is our rule hyperband with sampler tpe. That free workers help
with another one's seeds, as in the product, is left out for all: processor seconds are what can be compared.

Of a table's seeds one screens. The three trials that the method itself deems best, ours by its model of the curves
(sweeps/decisions/candidates.py) and the peers by their ranking, are then run with the same fresh seeds, ours in their
race, the peers' and those of `no race` in full, and the best by these is the winner; what that takes counts. The winner
is judged by the seeds that are left, on the test images at the epochs chosen on validation. Of six seeds one screens,
three confirm, as in the product, and two judge; where a network has three (what is not among the best quarter of the
real curves), one confirms and one judges; the modelled tables have no more. The roles rotate over the repetitions.
Regret is what the winner lacks to the best network, in points of accuracy and in % of what the median network lacks to
it.

Two references are left out. NePS with ifBO (neural-pipeline-search 0.17, ifbo 0.4) installs, but the weights are not
in the package: it fetches them from figshare.com. BoTorch's LatentKroneckerGP (0.18) installs, but is a model of curves
and no search.

A median, hyperband or tpe search takes about a second of a core, rule freeze-thaw a quarter of a minute; the rest less.
Tables hold each network once: two draws whose learning rates are snapped to the same one have equal curves, where in
the product each would have luck of its own. Samplers that close in on the best so often have two or all three of the
peers' candidates alike.

Contestants are compared by table and repetition: each has the same seeds there, and the differences have 95 %
intervals (over repetitions; the tables are what they are). The second table has what the search would have come to,
had it ended when it had spent a part of what plain Tune spends to its end, in epochs and in processor seconds; before
any trial has ended that is a median network.

The race's laps were chosen on cifar10 and digits. ASHA's rungs were so too, at first; as fashion_mnist did not bear
that out, others were taken, by all three (sweeps/decisions/README.md). So of ASHA no table tells what it knew nothing
of. The other rules' numbers are their papers' or a guess.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import t

from tests.benchmarks import real_curves
from tests.benchmarks.contestants import CONTESTANTS, PEER, SIMPLE, Build, ours, quiet
from tests.benchmarks.crossings import crossings
from tests.benchmarks.search_tables import Roles, Table, load
from tests.benchmarks.simulation import Course, Seen, simulate

TABLES = ("cifar10", "fashion_mnist", "digits")
FEW = 5  # repetitions that a process takes at a time
PARTS = (1 / 8, 1 / 4, 1 / 2, 1)  # of what plain Tune spends


@dataclass(frozen=True)
class Searched:
    """A search that has ended: what it spent, and what networks lack to the best, in points and in % of what the median
    network lacks.
    """

    course: Course
    regret: Mapping[int | None, tuple[float, float]]  # by network

    def at(self, spent: float = np.inf, by: int = 0) -> tuple[float, float]:
        """Return the regret once so much was spent; see Course.winner()."""
        return self.regret[self.course.winner(spent, by)]

    @property
    def spent(self) -> tuple[int, float, float]:
        return self.course.epochs, self.course.work, self.course.now


Results = Mapping[str, Sequence[Searched]]  # of a table: by contestant, all repetitions


def searched(build: Build, table: Table, repetition: int) -> Searched:
    """Return what a contestant comes to in a repetition."""
    roles = Roles.of(table, repetition)
    course = simulate(build(Seen(table, roles), repetition))
    lacks = {network: roles.regret(table, network) for network in {point[3] for point in course.points} | {None}}
    return Searched(course, {network: (100 * lack, 100 * lack / table.lacks) for network, lack in lacks.items()})


def some_searched(name: str, table: str, file: Path, repetitions: Sequence[int]) -> list[Searched]:
    quiet()
    return [searched(builder(name), load(table, file), repetition) for repetition in repetitions]


def all_searched(pool: ProcessPoolExecutor, names: Sequence[str], table: str, file: Path, repetitions: int) -> Results:
    """Return all contestants' searches of a table; each process takes a few repetitions of one at a time."""
    few = [range(at, min(at + FEW, repetitions)) for at in range(0, repetitions, FEW)]
    asked = {name: [pool.submit(some_searched, name, table, file, some) for some in few] for name in names}
    return {name: [each for some in parts for each in some.result()] for name, parts in asked.items()}


def builder(name: str) -> Build:
    """Return a contestant: by its name, or, of the product, by options of Search: `rule=pasha confirm=5`."""
    return CONTESTANTS[name] if name in CONTESTANTS else ours(**dict(map(_option, name.split())))


def _option(text: str) -> tuple[str, object]:
    key, _, value = text.partition("=")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def show(title: str, tables: Mapping[str, Results]) -> None:
    """Print means over tables and repetitions; ratios are the mean over tables of those of the means."""
    names = list(next(iter(tables.values())))
    regrets = {name: np.array([[each.at() for each in rows[name]] for rows in tables.values()]) for name in names}
    spent = {name: np.array([[each.spent for each in rows[name]] for rows in tables.values()]) for name in names}
    peers = {words: peer for words, peer in {"Tune": PEER, "one epoch": SIMPLE}.items() if peer in names}
    heads = ["regret, points", "%", *(f"less {words}'s, % [95 %]" for words in peers), "epochs"]
    heads += [f"{what}, to Tune's" for what in ("epochs", "processor seconds", "seconds until done")]
    header(f"{title} ({regrets[names[0]][..., 0].size} searches)", heads)
    for name in names:
        points, share = regrets[name][..., 0], regrets[name][..., 1]
        paired = ["" if peer == name else interval(share - regrets[peer][..., 1]) for peer in peers.values()]
        means = spent[name].mean(axis=1)
        ratios = (means / spent[PEER].mean(axis=1)).mean(axis=0) if PEER in names else ()
        row(
            name,
            f"{points.mean():.2f}",
            f"{share.mean():.1f}",
            *paired,
            f"{means[:, 0].mean():,.0f}",
            *map(_two, ratios),
        )


def show_any_time(title: str, tables: Mapping[str, Results]) -> None:
    """Print the regret, in %, when a part of plain Tune's epochs, and of its processor seconds, was spent."""
    names = list(next(iter(tables.values())))
    if PEER not in names:
        return
    limits = {  # of the epochs and the processor seconds
        by: {table: np.mean([each.spent[by] for each in rows[PEER]]) for table, rows in tables.items()} for by in (0, 1)
    }
    header(
        f"{title}: regret, %, at", [f"{part:g} of Tune's {what}" for what in ("epochs", "seconds") for part in PARTS]
    )
    for name in names:
        shares = [
            np.mean([each.at(part * limits[by][table], by)[1] for table, rows in tables.items() for each in rows[name]])
            for by in limits
            for part in PARTS
        ]
        row(name, *(f"{share:.1f}" for share in shares))


def show_crossings(name: str, table: Table) -> None:
    """Print how often curves cross."""
    heads = ["pairs the other way round, %", "of the best quarter, %", "rank correlation there"]
    header(f"{name}: after epoch", heads)
    for each in crossings(table):
        row(str(each.epoch), f"{100 * each.all:.1f}", f"{100 * each.best:.1f}", f"{each.correlation:.2f}")


def header(title: str, heads: Sequence[str]) -> None:
    print(f"\n| {title} | {' | '.join(heads)} |\n|---|{'--:|' * len(heads)}")


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _two(number: float) -> str:
    return f"{number:.2f}"


def interval(paired: np.ndarray) -> str:
    """Return the mean of differences (tables, repetitions) and its 95 % interval, from their spread within tables."""
    tables, repetitions = paired.shape
    half = t.ppf(0.975, tables * (repetitions - 1)) * np.sqrt(paired.var(axis=1, ddof=1).mean() / paired.size)
    return f"{paired.mean():+.1f} [{paired.mean() - half:+.1f}, {paired.mean() + half:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=45)
    parser.add_argument("--tables", type=lambda text: text.split(","), default=TABLES)
    parser.add_argument("--contestants", type=lambda text: text.split(";"), default=list(CONTESTANTS))
    parser.add_argument(
        "--ours", action="append", default=[], help="one more: options of Search, `key=value key=value`"
    )
    parser.add_argument("--file", type=Path, default=real_curves.FILE)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    names = [*options.contestants, *options.ours]
    known = np.load(options.file).files if options.file.exists() else []
    if missing := [name for name in real_curves.DATA if name in options.tables and f"{name}_val" not in known]:
        parser.error(f"{options.file} does not hold {', '.join(missing)}; see tests/benchmarks/real_curves.py")
    found: dict[str, Results] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for table in options.tables:
            show_crossings(table, load(table, options.file))
            found[table] = all_searched(pool, names, table, options.file, options.repetitions)
            show(table, {table: found[table]})
            show_any_time(table, {table: found[table]})
    if len(found) > 1:
        show("all tables", found)
        show_any_time("all tables", found)


if __name__ == "__main__":
    main()
