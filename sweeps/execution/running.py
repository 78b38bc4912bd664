"""A trial under way on a worker."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import ray
import torch

from sweeps.decisions.study import Watch
from sweeps.execution.desk import Closed
from sweeps.execution.helping import Assistant, Away
from sweeps.execution.messages import Help, NewRecords, Order, Progress, Stopped
from sweeps.execution.outbox import Outbox
from sweeps.execution.snapshots import Costs, Snapshots
from sweeps.execution.team import Restore, Team
from sweeps.execution.watcher import Watcher
from sweeps.tracking.tracker import Tracker
from trainables.checkpoint import pack, pack_records, unpack
from trainables.config import Trial
from trainables.datasets import Dataset
from trainables.devices import give_memory_back
from trainables.group import Observer
from trainables.history import Epoch, History
from trainables.kept import Kept
from trainables.marks import Marks
from trainables.memory import usage
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
    costs: Costs = field(default_factory=Costs)  # of snapshots
    notes: list[str] = field(default_factory=list)  # what the user is to know, until it is reported, a line each
    kept: Kept = field(init=False)  # what stays on the device for the next trial

    def __post_init__(self) -> None:
        object.__setattr__(self, "kept", Kept(self.notes.append))


class Running:
    """Trains a trial an epoch a step, from its last snapshot where it has one; each epoch goes to the Tracker.

    A snapshot goes along where one is due, with the last epoch, and as the trial is stopped. If the process is lost,
    what was trained since is trained again.
    """

    order: Order
    bench: Bench
    attempt: str  # tells the Tracker this worker from one before that had the trial
    constant: dict[str, bytes]  # files that go into every snapshot
    team: Team
    watcher: Watcher
    snapshots: Snapshots
    reported: dict[int, int]  # by seed, how many epochs the driver has been sent; empty before the first step

    def __init__(self, order: Order, bench: Bench) -> None:
        """Begin the trial with the Tracker, and load what it has of it.

        Raises what the Tracker raises, and UserError where weights or state do not fit.
        """
        self.order, self.bench, self.attempt, self.reported = order, bench, uuid.uuid4().hex, {}
        bench.outbox.ask(Tracker.start, order.key, order.entry, worker=self.attempt)
        state = bench.outbox.ask(Tracker.state, order.key)
        weights, self.constant = _pretrained(order.trial, bench)
        restore = _restore(order, bench, weights)
        replicates = restore(state, order.seeds)
        self.watcher = Watcher(bench.watch, replicates[0].epoch)
        train_here = partial(_train, order, bench, self.watcher)
        self.team = Team(order.trial, bench.data, replicates, train_here, restore)
        self.snapshots = Snapshots(lambda: self.team.size, bench.costs)

    @property
    def replicates(self) -> list[Replicate]:
        """All replicates, of which helpers may have some: then only the records are what they are now."""
        return self.team.replicates

    def join(self, job: Help) -> None:
        """Let another worker help from the next epoch on."""
        self.team.join(Away(job))

    def step(self) -> Progress:
        """Train an epoch, hand it to the Tracker, and return it; the last one, where a lost process had run all.

        Raises what training raises, once the Tracker has the records before; and what the Tracker raises.
        """
        try:
            return self._step()
        except (OSError, ray.exceptions.RayError, Closed):  # the Tracker takes nothing, or a helper is gone
            raise
        except Exception:
            self._keep_records()
            raise

    def wind_up(self) -> Stopped:
        """Train nothing, and hand over a snapshot of the last epoch. Raises what the Tracker raises."""
        with self.snapshots.taking():
            self._send(max(self.reported.values()), {}, self._snapshot())
        self._settle()
        return Stopped()

    def _step(self) -> Progress:
        last = self.order.trial.training.epochs
        with self.snapshots.training():
            epoch = self.team.next()
        kept = self._keep(epoch) if epoch else True
        if epoch is None:
            epoch = Epoch(last, *zip(*((each.seed, each.records[-1]) for each in self.replicates), strict=True))
        earlier = () if self.reported else self._scores_before(epoch)
        score = epoch.mean("val_score")
        ended = epoch.number == last
        marks = self._marks() if ended else {}
        here = usage(self.order.device)
        return Progress(epoch.number, score, ended, earlier, self._unreported(), kept, marks, self._notes(), here)

    def _keep(self, epoch: Epoch) -> bool:
        """Hand an epoch to the Tracker, with the figures that are due, and return whether a snapshot went along."""
        last, data = epoch.number == self.order.trial.training.epochs, self.bench.data
        metrics, figures = logged(epoch, data.metric), self.watcher.drawn(self.order.entry.name, data.short_name)
        self._settle()
        if not (last or self.snapshots.due):
            self._send(epoch.number, metrics, figures)
            return False
        with self.snapshots.taking():
            self._send(epoch.number, metrics, figures | self._snapshot())
        if last:
            self._settle()
        return True

    def _marks(self) -> dict[int, Marks]:
        held = {each.seed: each.chosen for each in self.replicates}
        return {seed: each.marks for seed, each in held.items() if each.marks}

    def _notes(self) -> tuple[str, ...]:
        notes = tuple(self.bench.notes)
        self.bench.notes.clear()
        return notes

    def _keep_records(self) -> None:
        """Hand over the records that were reported, without a state: that has to be of a whole epoch.

        There may be none to take them: the error that ended the trial is what counts.
        """
        rows = {each.seed: tuple(each.records[: self.reported.get(each.seed, 0)]) for each in self.replicates}
        reported = History({seed: records for seed, records in rows.items() if records})
        if reported.count:
            with contextlib.suppress(ray.exceptions.RayError):
                self._send(max(self.reported.values()), {}, pack_records(reported, self.bench.data))
                self.bench.outbox.settle()

    def _snapshot(self) -> dict[str, bytes]:
        return pack(self.order.trial, self.bench.data, self.team.gathered()) | self.constant

    def _send(self, epoch: int, metrics: Mapping[str, float], files: Mapping[str, bytes]) -> None:
        self.bench.outbox.send(Tracker.epoch, self.order.key, epoch, metrics, files, worker=self.attempt)

    def _settle(self) -> None:
        """Wait until the Tracker has what it was sent, and give back a snapshot's memory: more than training takes."""
        snapshot = self.snapshots.outstanding
        with self.snapshots.waiting():
            self.bench.outbox.settle()
        if snapshot:
            give_memory_back()

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


def assist(job: Help, bench: Bench) -> None:
    """Train what the worker that has a trial asks for, until that has ended: then Closed is raised."""
    weights, _ = _pretrained(job.trial, bench)
    restore = _restore(job, bench, weights)
    Assistant(job.trial, bench.data, partial(_train, job, bench, None), restore).serve(job)


def _train(job: Order | Help, bench: Bench, observer: Observer | None, replicates: list[Replicate]) -> Iterator[Epoch]:
    return train(job.trial, bench.data, replicates, torch.device(job.device), observer, bench.kept)


def _restore(job: Order | Help, bench: Bench, weights: Weights | None) -> Restore:
    """Return what makes a trial's replicates of a state, or new ones."""
    device, say = torch.device(job.device), bench.notes.append
    return lambda state, seeds: unpack(state, job.trial, bench.data, seeds, device, weights, say)


def _pretrained(trial: Trial, bench: Bench) -> tuple[Weights | None, dict[str, bytes]]:
    """Return the weights that the trial starts from, and the file that says what of them fits."""
    name = trial.weights
    if name is None:
        return None, {}
    weights = parse(name, bench.weights[name])
    fitting = check(trial, bench.data, weights).to_dict()
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
