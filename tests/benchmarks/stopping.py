"""What early stopping in grids saves, and what it costs: python -m tests.benchmarks.stopping SOURCE [options]

Three sources of curves, all run in full beforehand:

    study sweeps.part_a --tracking-uri sqlite:///mlflow.db --data-dir data [--quick] [--seeds N]
    digits                      real small networks, one factor at a time: where stopping.py's numbers come from
    equal                       simulated trials of one true accuracy: what stops among them is lost by chance

`study` replays a study that MLflow has with --no-early-stopping, stage by stage from the winners of the full run, trial
by trial as two workers take them, where an epoch takes the time that it took; in the declared order and in random ones.
It counts the epochs, the rows that are ranked, and the stages whose winner is the full run's. Nothing here trains but
`digits`, once (minutes, then kept in the temporary folder): 1536 networks with 512 validation images.
"""

from __future__ import annotations

import argparse
import heapq
import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sweeps.decisions import stopping
from sweeps.decisions.agenda import Agenda
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import Known, StageResult, Terms
from sweeps.decisions.stages import Stage
from sweeps.decisions.status import Status
from sweeps.decisions.stopping import Behind, binomial, standing
from sweeps.execution.early_stopping import EarlyStopping
from sweeps.execution.messages import NewRecords, Order, Progress
from sweeps.execution.orders import order
from sweeps.options import RunOptions
from sweeps.preparing import chosen
from sweeps.study import Study
from sweeps.tracking.store import Store
from trainables import datasets
from trainables.config import Trial
from trainables.errors import UserError
from trainables.history import History

WORKERS = 2


@dataclass
class Count:
    """What replays of a study came to, added up."""

    epochs: int = 0
    rows: int = 0
    ranked: int = 0
    stages: int = 0
    right: int = 0


class Replay:
    """One stage on two workers that take what the agenda gives out. Its trials' histories are known in full."""

    def __init__(
        self, stage: Stage, terms: Terms, histories: Mapping[str, History], known: Mapping[str, Known]
    ) -> None:
        start = stage.start
        assert isinstance(start, Trial)
        self.histories, self.agenda = histories, Agenda(Study("replay", start, (stage,)), terms, lambda _: None, known)
        self.stopping = EarlyStopping(self.agenda)
        self.epochs = 0
        self._reached: dict[str, int] = {}

    def run(self) -> StageResult:
        """Return what the stage came to."""
        free, busy, now, turn = WORKERS, [], 0.0, 0
        while not self.agenda.over:
            while free and (task := self.agenda.next()):
                trial = SimpleNamespace(trial_id=task.key, config={}, status="RUNNING", runtime_metadata=None)
                order(task, "cpu", {}).put_into(trial.config)
                self.stopping.begin(trial)
                heapq.heappush(busy, (now + self._seconds(task.key), turn := turn + 1, trial))
                free -= 1
            now, _, trial = heapq.heappop(busy)
            if self._epoch(trial):
                key = trial.config["order"].key
                heapq.heappush(busy, (now + self._seconds(key), turn := turn + 1, trial))
            else:
                free += 1
        return self.agenda.results[0]

    def _epoch(self, trial: Any) -> bool:
        """Report one more epoch; return whether the trial keeps its worker."""
        key, history = Order.of(trial.config).key, self.histories[Order.of(trial.config).key]
        self.epochs += 1
        epoch = self._reached[key] = self._reached.get(key, 0) + 1
        last = epoch == trial.config["order"].trial.training.epochs
        new = {seed: NewRecords(epoch - 1, records[epoch - 1 : epoch]) for seed, records in history.records.items()}
        news = Progress(epoch, history.at(epoch).mean("val_score"), last, (), new).to_result()
        if not last and self.stopping.on_trial_result(None, trial, news) == EarlyStopping.CONTINUE:
            return True
        self.stopping.on_trial_complete(None, trial, news)
        seen = History({seed: records[:epoch] for seed, records in history.records.items()})
        if not last and self.agenda.waits(key):
            self.agenda.lay_aside(key, seen)
        else:
            self.agenda.finish(key, seen)
        self.agenda.let_go()
        self.agenda.advance()
        return False

    def _seconds(self, key: str) -> float:
        return float(self.histories[key].at(1).mean("seconds"))


def full_run(study: Study, options: argparse.Namespace) -> tuple[list[StageResult], Terms, dict[str, History]]:
    """Return the stages that MLflow has in full, each from a start of its own, the terms, and the histories by key."""
    data = datasets.load(study.baseline.dataset, options.data_dir)
    terms = Terms(
        tuple(range(options.seeds)),
        {study.baseline.dataset: data.digest},
        Yardstick(data.metric, len(data.val)),
        data.image_shape,
        data.classes,
        early_stopping=False,
    )
    store = Store(options.tracking_uri)
    stored = store.trials(store.trials(None, study.name), study.name)
    histories = {key: History.from_dict(trial.curves) for key, trial in stored.items() if trial.curves}
    known = {key: Known(Status.DONE, history, "") for key, history in histories.items()}
    agenda = Agenda(study, terms, lambda _: None, known)
    found = {result.stage.name: result for result in agenda.results}
    results = []
    for result in found.values():
        parent = study.parent(result.stage)
        before = found[parent].winner if parent else None
        start = before.outcome.cell.trial if before else study.base(result.stage)
        if result.stage.vary:
            results.append(replace(result, stage=replace(result.stage, start=start)))
    epochs = study.baseline.training.epochs
    return results, terms, {key: history.cut(terms.seeds, epochs) for key, history in histories.items()}


def replayed(results: Sequence[StageResult], terms: Terms, histories: Mapping[str, History], rng: Any) -> Count:
    """Replay the stages one after another, each trial once; `rng` shuffles each stage's trials, None leaves them."""
    count, known = Count(), dict[str, Known]()
    for full in results:
        replay = Replay(full.stage, terms, histories, known)
        if rng:
            rng.shuffle(replay.agenda.ledger.queue)
        found = replay.run() if not replay.agenda.over else replay.agenda.results[0]
        known |= {each.key: Known(each.status, each.history, "") for each in found.outcomes}
        count.epochs += replay.epochs
        count.rows += len(found.outcomes)
        count.ranked += sum(each.status == Status.DONE for each in found.outcomes)
        count.stages += 1
        count.right += bool(found.winner and full.winner and found.winner.outcome.key == full.winner.outcome.key)
        for each in found.outcomes:
            if not rng and each.status == Status.CENSORED:
                print(f"    {terms.rule}: {full.stage.name}: {each.cell.label} stops after epoch {each.history.epochs}")
    return count


def study(options: argparse.Namespace) -> None:
    """Print what each rule makes of a study."""
    whole = chosen(importlib.import_module(options.study).STUDY, RunOptions(quick=options.quick))
    results, terms, histories = full_run(whole, options)
    if not results:
        raise UserError(f"{options.tracking_uri} has no stage of {whole.name} in full")
    print(f"{whole.name}, {', '.join(result.stage.name for result in results)}; {terms.yardstick.images:,} images")
    none = replayed(results, terms, histories, None)
    print(f"{'rule':8} {'order':10} {'epochs':>7} {'saved':>7} {'ranked':>10} {'same winner':>12}")
    print(f"{'none':8} {'':10} {none.epochs:7} {'':7} {none.ranked:4} of {none.rows:2} {none.right:6} of {none.stages}")
    for rule in (stopping.ASHA, stopping.BEHIND):
        terms = replace(terms, early_stopping=True, rule=rule)
        counts = [replayed(results, terms, histories, None)]
        counts += [replayed(results, terms, histories, np.random.default_rng(seed)) for seed in range(options.orders)]
        for name, some in (("declared", counts[:1]), (f"{options.orders} random", counts[1:])):
            epochs, ranked, right = (
                np.mean([getattr(c, what) for c in some]) for what in ("epochs", "ranked", "right")
            )
            print(
                f"{rule:8} {name:10} {epochs:7.1f} {1 - epochs / none.epochs:7.1%} {ranked:4.1f} of {none.rows:2} "
                f"{right:6.2f} of {none.stages}"
            )


Curves = Mapping[str, Sequence[float]]


def stopped(curves: Curves, images: int) -> dict[str, int]:
    """Return after which epoch each trial stops where all are held against all at each."""
    epochs = len(next(iter(curves.values())))
    rule, found = Behind(epochs, images), dict[str, int]()
    for name, curve in curves.items():
        for score in curve:
            rule.note(name, score)
    for epoch in range(rule.first, epochs):
        for name in [name for name in curves if name not in found and rule.stops(name, epoch)]:
            found[name] = epoch
            rule.drop(name)
    return found


def tell(title: str, stages: Sequence[Curves], images: int) -> None:
    """Print what stops in these stages, and whether it would have been the best, or not been told apart from it."""
    saved = best = level = trials = gone = 0
    for curves in stages:
        epochs, found = len(next(iter(curves.values()))), stopped(curves, images)
        ends = {name: standing(curve) for name, curve in curves.items()}
        top = max(ends.values())
        error = {name: math.sqrt(binomial(top, images) + binomial(end, images)) for name, end in ends.items()}
        best += any(ends[name] == top for name in found)
        level += any(top > ends[name] > top - 2 * error[name] for name in found)
        saved += sum(1 - epoch / epochs for epoch in found.values())
        gone, trials = gone + len(found), trials + len(curves)
    print(
        f"{title:44} epochs saved {saved / trials:5.1%}, trials stopped {gone / trials:6.2%}; stages that lose their "
        f"best {best / len(stages):5.2%}, one within two standard errors of it {level / len(stages):5.2%}",
        flush=True,
    )


def digits_stages(seed: int, count: int) -> Iterator[Curves]:
    """Yield stages of so many draws, each once: they vary one factor of three values or more, at a point with a usual
    learning rate, and learn.
    """
    from tests.benchmarks.search_tables import DIGITS, digits

    sizes = {name: len(values) for name, values in DIGITS.items()}
    grid, rng = digits(seed).reshape(*sizes.values(), -1), np.random.default_rng(seed)
    drawn = set[tuple[int, ...]]()
    for _ in range(count):
        at = [int(rng.integers(size)) for size in sizes.values()]
        at[0] = int(rng.integers(2, 6))  # learning rates 0.01 to 0.3
        axis = list(sizes).index(str(rng.choice([name for name, size in sizes.items() if size > 2])))
        rows = np.moveaxis(grid, axis, 0)[(slice(None), *(place for other, place in enumerate(at) if other != axis))]
        at[axis] = -1
        if tuple(at) in drawn:
            continue
        drawn.add(tuple(at))
        if rows[:, -3:].mean(axis=1).max() > 0.75:
            yield {str(number): list(row) for number, row in enumerate(rows)}


def digits(options: argparse.Namespace) -> None:
    """Print what the rule's numbers cost and save on real curves."""
    stages = [curves for seed in range(2) for curves in digits_stages(seed, options.stages)]
    print(f"{len(stages)} stages of real networks, 30 epochs, 512 validation images")
    for name, values in {
        "AHEAD": (1, 2),
        "CERTAIN": (2.0, 3.0, 4.0),
        "FIRST": (0.1, 0.2, 0.25),
        "PACE": (1, 2, 4),
    }.items():
        usual = getattr(stopping, name)
        for value in values:
            setattr(stopping, name, value)
            tell(f"{name} = {value}" + (" (as it is)" if value == usual else ""), stages, 512)
        setattr(stopping, name, usual)


def equal(options: argparse.Namespace) -> None:
    """Print how often trials of one true accuracy, 75 %, stop: 5,000 images, of which two networks disagree on 20 %."""
    rise = 0.3 * np.exp(-np.arange(1, 16) / 3)
    for count in (3, 5, 8):
        for seeds, noise in ((0.004, 0.002), (0.004, 0.004), (0.004, 0.008), (0.008, 0.004)):
            rng, own = np.random.default_rng(0), math.hypot(seeds, math.sqrt(0.2 / 5000 / 2))
            stages = [
                {str(k): list(0.75 + rng.normal(0, own) - rise + rng.normal(0, noise, 15)) for k in range(count)}
                for _ in range(options.stages)
            ]
            tell(f"{count} trials, sd of seeds {seeds:.1%}, of epochs {noise:.1%}", stages, 5000)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    kind = kinds.add_parser("study")
    kind.add_argument("study")
    kind.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    kind.add_argument("--data-dir", type=Path, default=Path("data"))
    kind.add_argument("--quick", action="store_true")
    kind.add_argument("--seeds", type=int, default=1)
    kind.add_argument("--orders", type=int, default=20)
    kind.set_defaults(run=study)
    for run in (digits, equal):
        kind = kinds.add_parser(run.__name__)
        kind.add_argument("--stages", type=int, default=400)
        kind.set_defaults(run=run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
