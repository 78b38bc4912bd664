"""A trial under way on a worker."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from sweeps.decisions.study import Watch
from sweeps.execution.messages import NewRecords, Order, Progress
from sweeps.execution.outbox import Outbox
from sweeps.execution.watcher import Watcher
from sweeps.tracking.tracker import Tracker
from trainables.checkpoint import pack, unpack
from trainables.datasets import Dataset
from trainables.history import Epoch
from trainables.pretrained import check, parse
from trainables.replicate import Replicate, Weights
from trainables.train import train

LOGGED = ("train_loss", "val_loss", "test_loss", "lr", "images_per_second")
SCORES = ("train", "val", "test")


@dataclass(frozen=True)
class Bench:
    """What all trials of a worker share. `weights` are files of pretrained weights by name."""

    data: Dataset
    weights: Mapping[str, bytes]
    watch: Watch
    outbox: Outbox


class Running:
    """Trains a trial an epoch a step, from its last snapshot where it has one; each epoch goes to the Tracker."""

    order: Order
    bench: Bench
    attempt: str  # tells the Tracker this worker from one before that had the trial
    constant: dict[str, bytes]  # files that go into every snapshot
    replicates: list[Replicate]
    watcher: Watcher
    reported: dict[int, int]  # by seed, how many epochs the driver has been sent; empty before the first step
    epochs: Iterator[Epoch]

    def __init__(self, order: Order, bench: Bench) -> None:
        """Begin the trial with the Tracker, and load what it has of it.

        Raises what the Tracker raises, and UserError where weights or state do not fit.
        """
        self.order, self.bench, self.attempt, self.reported = order, bench, uuid.uuid4().hex, {}
        bench.outbox.ask(Tracker.start, order.key, order.entry, worker=self.attempt)
        state = bench.outbox.ask(Tracker.state, order.key)
        weights, self.constant = _pretrained(order, bench)
        device = torch.device(order.device)
        self.replicates = unpack(state, order.trial, bench.data, order.seeds, device, weights)
        self.watcher = Watcher(bench.watch, self.replicates[0].epoch)
        self.epochs = train(order.trial, bench.data, self.replicates, device, self.watcher)

    def step(self) -> Progress:
        """Train an epoch, hand it to the Tracker, and return it; the last one, where a lost process had run all."""
        last, epoch = self.order.trial.training.epochs, next(self.epochs, None)
        if epoch:
            self._keep(epoch)
            if epoch.number == last:
                self.bench.outbox.settle()
        else:
            epoch = Epoch(last, *zip(*((each.seed, each.records[-1]) for each in self.replicates), strict=True))
        earlier = () if self.reported else self._scores_before(epoch)
        return Progress(epoch.number, epoch.mean("val_score"), epoch.number == last, earlier, self._unreported())

    def _keep(self, epoch: Epoch) -> None:
        """Hand an epoch to the Tracker, with a snapshot and the figures that are due."""
        order, data = self.order, self.bench.data
        files = pack(order.trial, data, self.replicates) | self.constant
        files |= self.watcher.drawn(order.entry.name, data.short_name)
        metrics = logged(epoch, data.metric)
        self.bench.outbox.send(Tracker.epoch, order.key, epoch.number, metrics, files, worker=self.attempt)

    def _scores_before(self, epoch: Epoch) -> tuple[float, ...]:
        """Return the validation scores of the epochs before: means over the replicates that train."""
        members = [each for each in self.replicates if each.seed in epoch.seeds]
        return tuple(
            sum(each.records[at].val_score for each in members) / len(members) for at in range(epoch.number - 1)
        )

    def _unreported(self) -> dict[int, NewRecords]:
        """Return, by seed, the records that the driver has not been sent.

        Of a trial just taken up these are all: a lost process may have run more epochs than it reported.
        """
        before = {each.seed: self.reported.get(each.seed, 0) for each in self.replicates}
        self.reported = {each.seed: each.epoch for each in self.replicates}
        return {
            each.seed: NewRecords(before[each.seed], tuple(each.records[before[each.seed] :]))
            for each in self.replicates
        }


def _pretrained(order: Order, bench: Bench) -> tuple[Weights | None, dict[str, bytes]]:
    """Return the weights that the trial starts from, and the file that says what of them fits."""
    name = order.trial.weights
    if name is None:
        return None, {}
    weights = parse(name, bench.weights[name])
    fitting = check(order.trial, bench.data, weights).to_dict()
    return weights, {"pretrained.json": json.dumps(fitting).encode()}


def logged(epoch: Epoch, metric: str) -> dict[str, float]:
    """Return an epoch's metrics as MLflow gets them: means over the replicates, and the scores' standard deviations
    where there are several.

    Scores go by the metric's own name: `val_accuracy`, `val_mAP`.
    """
    means = {name: epoch.mean(name) for name in LOGGED}
    means |= {f"{part}_{metric}": epoch.mean(f"{part}_score") for part in SCORES}
    spreads = {f"{part}_{metric}_sd": epoch.sd(f"{part}_score") for part in SCORES}
    return means | {name: value for name, value in spreads.items() if value is not None}
