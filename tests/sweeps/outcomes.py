"""Made-up histories: what a trial came to, without training it."""

from sweeps.decisions.stages import Cell
from sweeps.decisions.winner import Outcome
from trainables.config import Trial
from trainables.history import History, Record


def record(val: float, test: float = 0.5, loss: float = 1.0) -> Record:
    return Record(loss, 0.5, loss, val, loss, test, 0.1, 1000.0, 1.0, (test, test))


def history(*replicates: list[float]) -> History:
    """Return a history with these validation accuracies, epoch by epoch, for seeds 0, 1, …."""
    return History({seed: tuple(map(record, values)) for seed, values in enumerate(replicates)})


def outcome(label: str, *replicates: list[float], status: str = "done") -> Outcome:
    return Outcome(
        Cell(label, (label,), Trial()), label, status, history(*replicates), "it broke" if status == "failed" else None
    )
