"""What a Tune worker runs: one trial after another, an epoch per step."""

from __future__ import annotations

import json
import traceback
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import ray
import torch
from ray import tune

from sweeps.decisions.study import Watch
from sweeps.execution.outbox import Outbox
from sweeps.execution.watcher import Watcher
from sweeps.tracking.entry import Entry
from trainables.checkpoint import pack, unpack
from trainables.config import Trial
from trainables.datasets import Dataset
from trainables.history import Epoch
from trainables.pretrained import check, parse
from trainables.train import train

LOGGED = ("train_loss", "val_loss", "test_loss", "lr", "images_per_second")
SCORES = ("train", "val", "test")


class Worker(tune.Trainable):
    """Trains the trial that its config names and hands each epoch to Tune (for early stopping) and to the Tracker (for
    keeping).

    It goes on from the trial's last snapshot where there is one. An error of the trial's own is reported as its result,
    so that Tune's retries are left for what may pass: a lost process or node.
    """

    def setup(
        self, config: dict[str, Any], data: Dataset, weights: Mapping[str, bytes], watch: Watch, tracker: Any
    ) -> None:
        """Remember what all trials share; `weights` are files by name. The trial itself starts with its first step."""
        torch.set_num_threads(1 if config["device"] == "cpu" else torch.get_num_threads())
        self.data, self.weights, self.watch, self.outbox = data, weights, watch, Outbox(tracker)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial in the same process."""
        self.outbox.let_go()
        self.task = new_config
        self.epochs: Iterator[Epoch] | None = None
        self.told: dict[int, int] = {}  # by seed, how many epochs Tune has got
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch and report it."""
        try:
            epochs = self.epochs = self.epochs or self._epochs()
            epoch = next(epochs, None) or self._last()
        except Exception as error:  # whatever it is, it is this trial's result, with its traceback kept
            self.epochs = None  # with its memory
            cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
            return {
                "done": True,
                "failed": f"{type(cause).__name__}: {cause}".splitlines()[0],
                "out_of_memory": isinstance(cause, torch.OutOfMemoryError),
                "traceback": traceback.format_exc(),
            }
        return {
            "done": epoch.number == self.trial.training.epochs,
            "epoch": epoch.number,
            "val_score": epoch.mean("val_score"),
            "earlier": [] if self.told else self._scores_before(epoch),
            "records": self._untold(),
        }

    def cleanup(self) -> None:
        """Let go of the trial's memory."""
        self.epochs = None
        self.outbox.let_go()

    def _last(self) -> Epoch:
        """Return the last epoch of a trial whose lost process had run all of them."""
        return Epoch(
            self.trial.training.epochs, *zip(*((each.seed, each.records[-1]) for each in self.replicates), strict=True)
        )

    def _scores_before(self, epoch: Epoch) -> list[float]:
        """Return the validation scores of the epochs before, which Tune may not have got: means over the replicates that train."""
        members = [each for each in self.replicates if each.seed in epoch.seeds]
        return [sum(each.records[at].val_score for each in members) / len(members) for at in range(epoch.number - 1)]

    def _untold(self) -> dict[int, tuple[int, list[dict[str, Any]]]]:
        """Return, by seed, how many epochs Tune has got, and the records of the others.

        Of a trial just taken up these are all: a lost process may have run more epochs than it told.
        """
        told = {each.seed: self.told.get(each.seed, 0) for each in self.replicates}
        self.told = {each.seed: len(each.records) for each in self.replicates}
        return {
            each.seed: (told[each.seed], [asdict(record) for record in each.records[told[each.seed] :]])
            for each in self.replicates
        }

    def _epochs(self) -> Iterator[Epoch]:
        self.trial = Trial.from_dict(self.task["trial"])
        device = torch.device(self.task["device"])
        key = self.task["key"]
        worker = uuid.uuid4().hex
        self.outbox.ask("start", key, Entry(**self.task["run"]), worker=worker)
        state = self.outbox.ask("state", key)
        name = self.trial.weights
        weights, fitting = None, {}
        if name is not None:
            weights = parse(name, self.weights[name])
            fitting = {"pretrained.json": json.dumps(check(self.trial, self.data, weights).to_dict()).encode()}
        replicates = self.replicates = unpack(state, self.trial, self.data, tuple(self.task["seeds"]), device, weights)
        watcher = Watcher(self.watch, replicates[0].epoch)
        for epoch in train(self.trial, self.data, replicates, device, watcher):
            snapshot = (
                pack(self.trial, self.data, replicates)
                | fitting
                | watcher.drawn(self.task["run"]["name"], self.data.short_name)
            )
            self.outbox.send("epoch", key, epoch.number, logged(epoch, self.data.metric), snapshot, worker=worker)
            if epoch.number == self.trial.training.epochs:
                self.outbox.settle()
            yield epoch


def logged(epoch: Epoch, metric: str) -> dict[str, float]:
    """Return an epoch's metrics as MLflow gets them: means over the replicates, and the scores' spread where there are
    several.

    Scores go by the metric's own name: `val_accuracy`, `val_mAP`.
    """
    means = {name: epoch.mean(name) for name in LOGGED} | {
        f"{part}_{metric}": epoch.mean(f"{part}_score") for part in SCORES
    }
    spreads = {f"{part}_{metric}_sd": epoch.sd(f"{part}_score") for part in SCORES}
    return means | {name: value for name, value in spreads.items() if value is not None}
