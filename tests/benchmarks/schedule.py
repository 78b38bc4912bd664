"""When a finished study would have ended on so many cores, by what its trials took: python -m tests.benchmarks.schedule
[--study part_a] [--tracking-uri URI] [--data-dir DIR] [--seeds N] [--cores 2 8 16 64]

Trials are given out by the agenda itself, without early stopping: in the order in which stages declare them, by what
waits for them (sweeps/decisions/urgency.py), and also with workers that help where they would have nothing to do
(sweeps/execution/helpers.py). Nothing is trained: scores and seconds are the store's, and of seeds that it does not
have those of one that it has.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import Terms
from sweeps.decisions.study import Study
from sweeps.decisions.urgency import Urgency
from sweeps.tracking.connection import existing_uri
from sweeps.tracking.store import Store
from trainables import datasets
from trainables.history import History


@dataclass
class Running:
    """A trial under way: the seconds that it has left in turn, its replicates, and the workers that train them."""

    left: float
    replicates: int
    workers: int = 1

    @property
    def pace(self) -> float:
        """How many times as fast as in turn it goes: each epoch takes as long as the worker with most replicates."""
        return self.replicates / -(-self.replicates // self.workers)


def simulated(
    study: Study, terms: Terms, histories: Mapping[str, History], cores: int, *, helped: bool
) -> tuple[float, float]:
    """Return the seconds until the study ends, and the share of the cores' time that was used."""
    agenda = Agenda(study, terms, lambda _: None)
    now, worked = 0.0, 0.0
    running: dict[str, Running] = {}
    while not agenda.over:
        free = cores - sum(each.workers for each in running.values())
        while free and (task := agenda.next()):
            running[task.key] = Running(float(histories[task.key].curve("seconds").sum()), len(task.seeds))
            worked += running[task.key].left
            free -= 1
        while free and helped and (some := [each for each in running.values() if each.workers < each.replicates]):
            max(some, key=lambda each: each.left / each.workers).workers += 1
            free -= 1
        step, key = min((each.left / each.pace, key) for key, each in running.items())
        now += step
        for each in running.values():
            each.left -= step * each.pace
        del running[key]
        agenda.finish(key, histories[key])
        agenda.advance()
    return now, worked / now / cores


def of_seeds(history: History, seeds: tuple[int, ...]) -> History:
    """Return a history of these seeds; one that it lacks is as its first."""
    return History({seed: history.records.get(seed, history.records[history.seeds[0]]) for seed in seeds})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", default="part_a")
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cores", type=int, nargs="+", default=(2, 8, 16, 64))
    options = parser.parse_args()
    study, seeds = importlib.import_module(f"sweeps.{options.study}").STUDY, tuple(range(options.seeds))
    data = datasets.load(study.baseline.dataset, options.data_dir)
    stored = Store(existing_uri(options.tracking_uri)).finished(study.name)
    histories = {each.key: of_seeds(History.from_dict(each.curves), seeds) for each in stored}
    yardstick, contents = Yardstick(data.metric, len(data.val)), {study.baseline.dataset: data.digest}
    terms = Terms(seeds, contents, yardstick, data.image_shape, data.classes, early_stopping=False)
    for cores in options.cores:
        with patch.object(Urgency, "opened"):
            declared, _ = simulated(study, terms, histories, cores, helped=False)
        urgent, used = simulated(study, terms, histories, cores, helped=False)
        shared, full = simulated(study, terms, histories, cores, helped=True)
        print(
            f"{cores:3} cores: as declared {declared:6,.0f} s; the most urgent first {urgent:6,.0f} s (× "
            f"{declared / urgent:.2f}, cores busy {used:.0%}); with helpers {shared:6,.0f} s (× {urgent / shared:.2f}, "
            f"busy {full:.0%})"
        )


if __name__ == "__main__":
    main()
