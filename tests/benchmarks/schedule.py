"""When a finished study would have ended on so many cores, by what its trials took: python -m tests.benchmarks.schedule
[--study part_a] [--tracking-uri URI] [--data-dir DIR] [--seeds N] [--cores 2 8 16 64]

Trials are given out by the agenda itself, to cores that each run one trial at a time, without early stopping: once in
the order in which stages declare them, once by what waits for them (sweeps/decisions/urgency.py). Trained is nothing:
scores and seconds are the store's.
"""

from __future__ import annotations

import argparse
import heapq
import importlib
from collections.abc import Mapping
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


def simulated(study: Study, terms: Terms, histories: Mapping[str, History], cores: int) -> tuple[float, float]:
    """Return the seconds until the study ends, and the share of the cores' time that was used."""
    agenda = Agenda(study, terms, lambda _: None)
    now, worked, running = 0.0, 0.0, []
    while not agenda.over:
        while len(running) < cores and (task := agenda.next()):
            seconds = float(histories[task.key].curve("seconds").sum())
            heapq.heappush(running, (now + seconds, task.key))
            worked += seconds
        now, key = heapq.heappop(running)
        agenda.finish(key, histories[key])
        agenda.advance()
    return now, worked / now / cores


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
    found = {each.key: History.from_dict(each.curves) for each in stored}
    histories = {key: each.cut(seeds, each.epochs) for key, each in found.items()}
    yardstick, contents = Yardstick(data.metric, len(data.val)), {study.baseline.dataset: data.digest}
    terms = Terms(seeds, contents, yardstick, data.image_shape, data.classes, early_stopping=False)
    for cores in options.cores:
        with patch.object(Urgency, "opened"):
            declared, _ = simulated(study, terms, histories, cores)
        urgent, used = simulated(study, terms, histories, cores)
        print(
            f"{cores:3} cores: as declared {declared:6,.0f} s, the most urgent first {urgent:6,.0f} s, ratio "
            f"{declared / urgent:.2f}; the cores are busy {used:.0%} of the time"
        )


if __name__ == "__main__":
    main()
