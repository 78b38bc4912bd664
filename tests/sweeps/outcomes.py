"""Made-up histories: what a trial came to, without training it."""

from statistics import NormalDist

import numpy as np

from sweeps.decisions.agenda import Agenda, to_come
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import Terms
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from trainables.config import Trial
from trainables.history import History, Record
from trainables.marks import Marks, Right


def record(val: float, test: float = 0.5, loss: float = 1.0) -> Record:
    return Record(loss, 0.5, loss, val, loss, test, 0.1, 1000.0, 1.0, (test, test))


def history(*replicates: list[float]) -> History:
    """Return a history with these validation accuracies, epoch by epoch, for seeds 0, 1, …."""
    return History({seed: tuple(map(record, values)) for seed, values in enumerate(replicates)})


def outcome(label: str, *replicates: list[float], status: str = "done") -> Outcome:
    reason = "it broke" if status == "failed" else None
    return Outcome(Cell(label, (label,), Trial()), label, Status(status), history(*replicates), reason)


def marked(label: str, *rights: np.ndarray, test: np.ndarray | None = None, status: str = "done") -> Outcome:
    """Return a trial of one epoch of which it is kept which validation images (N,) each replicate gets right, and
    which of the test images (the same, unless `test` is given).
    """
    records, marks = {}, {}
    for seed, right in enumerate(rights):
        other = right if test is None else test
        records[seed] = (record(float(right.mean()), float(other.mean())),)
        marks[seed] = Marks(1, Right.of(right), Right.of(other))
    return Outcome(Cell(label, (label,), Trial()), label, Status(status), History(records, marks))


def draws(score: float, seeds: int, images: int = 2000, number: int = 0) -> list[np.ndarray]:
    """Return which images so many replicates get right, at random: the same images are hard for all."""
    rng = np.random.default_rng(number)
    hardness = np.random.default_rng(77).normal(size=images)
    return [rng.normal(size=images) / 2 + hardness < 1.118 * NormalDist().inv_cdf(score) for _ in range(seeds)]


def terms(seeds=(0,), images=1000, image_shape=(3, 32, 32), early_stopping=True, rule="behind") -> Terms:
    """Return the terms of a command on ten classes whose data are known by their name alone."""
    return Terms(
        seeds, {}, Yardstick("accuracy", images), image_shape, classes=10, early_stopping=early_stopping, rule=rule
    )


def expected(agenda: Agenda) -> list[Trial]:
    """Return the trials still ahead of those given out, without those that searches will draw."""
    return [task.cell.trial for task in agenda.ledger.ahead] + to_come(agenda)
