"""Made-up histories: what a trial came to, without training it."""

from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import Terms
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from trainables.config import Trial
from trainables.history import History, Record


def record(val: float, test: float = 0.5, loss: float = 1.0) -> Record:
    return Record(loss, 0.5, loss, val, loss, test, 0.1, 1000.0, 1.0, (test, test))


def history(*replicates: list[float]) -> History:
    """Return a history with these validation accuracies, epoch by epoch, for seeds 0, 1, …."""
    return History({seed: tuple(map(record, values)) for seed, values in enumerate(replicates)})


def outcome(label: str, *replicates: list[float], status: str = "done") -> Outcome:
    reason = "it broke" if status == "failed" else None
    return Outcome(Cell(label, (label,), Trial()), label, Status(status), history(*replicates), reason)


def terms(seeds=(0,), images=1000, image_shape=(3, 32, 32), early_stopping=True, rule="behind") -> Terms:
    """Return the terms of a command on ten classes whose data are known by their name alone."""
    return Terms(
        seeds, {}, Yardstick("accuracy", images), image_shape, classes=10, early_stopping=early_stopping, rule=rule
    )
