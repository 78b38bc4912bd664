"""What training leaves behind: one record per epoch and replicate, and the trial's history made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from trainables.errors import UserError
from trainables.marks import Marks


def smoothed(scores: np.ndarray) -> np.ndarray:
    """Return the centred mean of three epochs of scores (…, epochs); the first and the last one count twice in theirs,
    in place of the neighbour that they lack.
    """
    padded = np.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(1, 1)], mode="edge")
    return (padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]) / 3


def chosen_epoch(val_scores: Sequence[float] | np.ndarray) -> int:
    """Return the epoch, from 1, at which the centred mean of three validation scores is first at its best.

    The best single epoch would be the luckiest: among noisy epochs its score is too high by 0.3 points (epochs that
    differ by an sd of 0.2 points) to 1.2 (0.8), and the noisier of two equal trials would mostly win.
    """
    return int(np.argmax(smoothed(np.asarray(val_scores, np.float64)))) + 1


@dataclass(frozen=True)
class Record:
    """One epoch of one replicate. Losses are mean cross-entropies (nats), scores fractions in 0..1.

    A score is an accuracy, or on multi-label data a mean average precision (mAP). `train_loss` and `train_score` are
    over the epoch, taken as the weights move (dropout and augmentation included); `class_score` is on the test set,
    None for a class that it lacks; `lr` is the learning rate of the epoch's first step; `images_per_second` is of
    training alone, `seconds` of the whole epoch with its evaluations.
    """

    train_loss: float
    train_score: float
    val_loss: float
    val_score: float
    test_loss: float
    test_score: float
    lr: float
    images_per_second: float
    seconds: float
    class_score: tuple[float | None, ...]


@dataclass(frozen=True)
class Epoch:
    """One epoch of a trial: for each metric an array over the replicates, in the order of `seeds`."""

    number: int  # from 1
    seeds: tuple[int, ...]
    records: tuple[Record, ...]

    def values(self, metric: str) -> np.ndarray:
        """Return one metric, (replicates,)."""
        return np.array([getattr(record, metric) for record in self.records], dtype=np.float64)

    def mean(self, metric: str) -> float:
        """Return one metric's mean over the replicates."""
        return float(self.values(metric).mean())

    def sd(self, metric: str) -> float | None:
        """Return one metric's standard deviation over the replicates (n − 1), None for a single one."""
        return float(self.values(metric).std(ddof=1)) if len(self.records) > 1 else None


@dataclass(frozen=True)
class History:
    """All epochs of a trial's replicates: seed → records, epoch 1 first.

    Replicates added later may be shorter than the others. `marks` are what is kept image by image, of each replicate at
    its chosen epoch; trials that were stored before there were any, and those under way, have none.
    """

    records: Mapping[int, tuple[Record, ...]]
    marks: Mapping[int, Marks] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The replicates' seeds, ascending."""
        return tuple(sorted(self.records))

    @property
    def epochs(self) -> int:
        """The number of epochs that every replicate has run."""
        return min((len(records) for records in self.records.values()), default=0)

    @property
    def count(self) -> int:
        """The number of all records."""
        return sum(map(len, self.records.values()))

    def covers(self, seeds: tuple[int, ...], epochs: int) -> bool:
        """Tell whether each of `seeds` has run `epochs` epochs."""
        return all(len(self.records.get(seed, ())) >= epochs for seed in seeds)

    def cut(self, seeds: tuple[int, ...], epochs: int) -> History:
        """Return the part that a study of these seeds and this many epochs would have seen."""
        kept = [seed for seed in seeds if seed in self.records]
        marks = {seed: self.marks[seed] for seed in kept if seed in self.marks}
        return History({seed: self.records[seed][:epochs] for seed in kept}, marks)

    def at(self, epoch: int) -> Epoch:
        """Return epoch number `epoch` of all replicates."""
        return Epoch(epoch, self.seeds, tuple(self.records[seed][epoch - 1] for seed in self.seeds))

    def curve(self, metric: str) -> np.ndarray:
        """Return one metric over the epochs that all replicates have, (replicates, epochs)."""
        rows = [[getattr(record, metric) for record in self.records[seed][: self.epochs]] for seed in self.seeds]
        return np.array(rows, dtype=np.float64)

    def chosen(self) -> tuple[Record, ...]:
        """Return each replicate's record at its chosen epoch, in the seeds' order."""
        return tuple(self.records[seed][best - 1] for seed, best in zip(self.seeds, self.chosen_epochs(), strict=True))

    def chosen_epochs(self) -> tuple[int, ...]:
        """Return each replicate's chosen_epoch()."""
        return self._chosen_epochs

    @cached_property
    def _chosen_epochs(self) -> tuple[int, ...]:
        return tuple(map(chosen_epoch, self.curve("val_score")))

    def chosen_marks(self) -> tuple[Marks, ...] | None:
        """Return what is kept of each replicate at its chosen epoch; None where that is not kept of every one."""
        pairs = [(self.marks.get(seed), epoch) for seed, epoch in zip(self.seeds, self.chosen_epochs(), strict=True)]
        found = tuple(marks for marks, epoch in pairs if marks and marks.epoch == epoch)
        return found if found and len(found) == len(pairs) else None

    def score(self) -> float:
        """Return what trials are ranked by: the mean over replicates of the validation score at the chosen epoch."""
        return float(np.mean([record.val_score for record in self.chosen()]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        form = {"seeds": {str(seed): [asdict(record) for record in self.records[seed]] for seed in self.seeds}}
        marks = {str(seed): self.marks[seed].to_dict() for seed in self.seeds if seed in self.marks}
        return form | ({"marks": marks} if marks else {})

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> History:
        """Build a history from to_dict()'s form. Raises UserError where it is not of that form.

        Scores are finite; all else may be NaN or infinite, as a loss in evaluation can be.
        """
        try:
            records = {int(seed): tuple(map(_record, rows)) for seed, rows in form["seeds"].items()}
            marks = {int(seed): Marks.from_dict(kept) for seed, kept in form.get("marks", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(f"these curves cannot be read: {error!r:.200}") from error
        if [str(seed) for seed in records] != list(form["seeds"]):
            raise UserError(f"these curves cannot be read: seeds {list(form['seeds'])!r:.200}: must be whole numbers")
        if len({len(record.class_score) for rows in records.values() for record in rows}) > 1:
            raise UserError("these curves cannot be read: the number of classes changes from record to record")
        return cls(records, marks)


def _record(row: Mapping[str, Any]) -> Record:
    """Return a record. Raises ValueError, TypeError, KeyError or OverflowError where it is none."""
    record = Record(**(dict(row) | {"class_score": tuple(row["class_score"])}))
    scores = [record.train_score, record.val_score, record.test_score]
    scores += [score for score in record.class_score if score is not None]
    others = (record.train_loss, record.val_loss, record.test_loss, record.lr, record.images_per_second, record.seconds)
    if not {*map(type, scores), *map(type, others)} <= {float, int}:  # truth values are no numbers
        raise ValueError("a value in them is not a number")
    if not all(map(math.isfinite, scores)):
        raise ValueError("a score in them is not finite")
    list(map(float, others))  # raises OverflowError for a whole number that no float can hold
    return record
