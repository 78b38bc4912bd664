"""What a report is written from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np

from analysis.report import Measured, Section
from sweeps.decisions.agenda import Agenda, under_way
from sweeps.decisions.labels import brief, listed
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult, Terms
from sweeps.decisions.stages import Cell, Declared, Search, Stage
from sweeps.reporting import looks
from sweeps.reporting.provenance import Provenance
from sweeps.reporting.tables import Facts
from trainables.datasets import Dataset
from trainables.plan import Layer, plan_of

T = TypeVar("T")

SAMPLES = 2  # images of each class that a report shows
MOST_SAMPLED = 20  # classes that it shows images of
SAMPLE_SIDE = 96  # pixels of such an image at most: a report shows it on fewer, and MLflow keeps it


@dataclass(frozen=True)
class DataSummary:
    """What a report says of a data set, so that the driver need not hold the images."""

    name: str  # for figures: of a folder without the way to it
    class_names: tuple[str, ...]
    train: int  # images
    val: int
    test: int
    multi_label: bool
    samples: tuple[tuple[str, np.ndarray], ...] = field(default=(), compare=False)  # a class, and an image (H, W, C)

    @classmethod
    def of(cls, data: Dataset) -> DataSummary:
        """Summarise a data set."""
        counts = len(data.train), len(data.val), len(data.test)
        return cls(data.short_name, data.class_names, *counts, data.multi_label, _samples(data))


@dataclass(frozen=True, eq=False)
class Material:
    """A study, what has come of it, and what is known of its data, its runs and its models."""

    agenda: Agenda
    facts: Facts
    data: DataSummary
    source: Provenance
    findings: Sequence[Section] = ()
    _made: dict[str, Any] = field(init=False, default_factory=dict)  # see once()

    def once(self, what: str, make: Callable[[], T]) -> T:
        """Return what `make` returns, which is asked once for a report: several of its parts show `what`."""
        if what not in self._made:
            self._made[what] = make()
        return cast(T, self._made[what])

    @property
    def terms(self) -> Terms:
        """What holds for all trials."""
        return self.agenda.terms

    @cached_property
    def results(self) -> list[StageResult]:
        """What the decided stages have come to, and then what the open ones have come to so far."""
        return [*self.agenda.results, *(each for each in under_way(self.agenda) if each.outcomes)]

    @cached_property
    def ended(self) -> int:
        """The number of trials that have ended, each counted once."""
        return len({outcome.key for result in self.results for outcome in result.outcomes})

    def decided(self, result: StageResult) -> bool:
        """Tell whether a stage is decided."""
        return any(result is each for each in self.agenda.results)

    @cached_property
    def looks(self) -> dict[str, int]:
        """The number of each trial's look, by key."""
        return looks.numbers([self._keys(result) for result in self.results])

    @cached_property
    def best(self) -> Outcome | None:
        """The best of the winners on validation, the first of equals: the model that analyses ask."""
        won = (result.winner.outcome for result in self.agenda.results if result.winner)
        return max(won, key=lambda outcome: outcome.score, default=None)

    def way(self, outcome: Outcome) -> str:
        """Return the winners that lead to one of them, and itself, in words: `depth = 2 and lr = 0.1`."""
        results = {result.stage.name: result for result in self.agenda.results}
        won = [each for each in results.values() if each.winner and each.winner.outcome.key == outcome.key]
        stage = next((each.stage for each in won if isinstance(each.stage, Stage | Search)), None)
        if stage is None:
            return outcome.cell.named
        path = ((each, results[each.name].winner) for each in self.agenda.study.path(stage) if each.name in results)
        steps = [_step(each, winner.outcome.cell) for each, winner in path if winner and winner.outcome.cell.values]
        return listed(steps or ["the start"])

    def layers(self, outcome: Outcome) -> tuple[Layer, ...]:
        """Return the plan of a trial's network."""
        trial = outcome.cell.trial
        return plan_of(trial, self.facts.image_shape, len(self.facts.class_names))

    def _keys(self, result: StageResult) -> list[str]:
        """Return the keys of a stage's trials; of a grid also of those that are still to come."""
        if isinstance(result.stage, Stage) and result.start:
            return [self.terms.key(cell.trial) for cell in result.stage.cells(result.start)]
        return [outcome.key for outcome in result.outcomes]


def _step(stage: Declared, cell: Cell) -> str:
    """Return in words what a stage's winner has: of a search all that it draws."""
    if not isinstance(stage, Search):
        return cell.named
    drawn = (f"{path.rpartition('.')[2]} = {brief(cell.trial.get(path))}" for path in stage.space.fields)
    return f"trial {cell.label} ({', '.join(drawn)})"


def _samples(data: Dataset) -> tuple[tuple[str, np.ndarray], ...]:
    """Return the first training images of each class, class by class."""
    found = []
    for label, name in enumerate(data.class_names[:MOST_SAMPLED]):
        labels = data.train.labels
        there = np.flatnonzero(labels == label if labels.ndim == 1 else labels[:, label] == 1)
        found += [(name, _small(data.train.images[at])) for at in there[:SAMPLES]]
    return tuple(found)


def _small(image: np.ndarray) -> np.ndarray:
    """Return a copy of an image (H, W, C), where it is too large with the mean of so many pixels in place of them."""
    height, width, channels = image.shape
    step = -(-max(height, width) // SAMPLE_SIDE)
    if step == 1 or step > min(height, width):
        return image.copy()
    whole = image[: height // step * step, : width // step * step]
    blocks = whole.reshape(height // step, step, width // step, step, channels)
    return np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)


def percent(outcome: Outcome, metric: str) -> str:
    """Return a score at the chosen epochs in words: `76.8 ± 0.3 % (3 seeds)`."""
    found = Measured.of(100 * outcome.chosen(metric))
    if found.sd is None:
        return f"{found.mean:.1f} % (1 seed)"
    return f"{found.mean:.1f} ± {found.sd:.1f} % ({found.n} seeds)"


def seconds(outcome: Outcome) -> float | None:
    """Return what a trial's training took, in the mean over its seeds; None where it has not run an epoch."""
    history = outcome.history
    return float(history.curve("seconds").sum(axis=1).mean()) if history.epochs else None
