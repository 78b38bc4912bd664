"""The plan: every trial that a study can reach, laid out and checked before anything is spent. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweeps.decisions.space import Buildable, buildable
from sweeps.decisions.stages import Cell, Search, Stage, Study
from trainables.config import Trial
from trainables.errors import UserError
from trainables.plan import Layer, plan


@dataclass(frozen=True)
class PlannedStage:
    """A stage before anything has run: its cells from the start that is assumed, and all that any winner could lead to.

    Of a search, how much of its space can be built; the trials that it could draw are not laid out.
    """

    stage: Stage | Search
    start: str  # in words
    cells: tuple[tuple[Cell, tuple[Layer, ...]], ...]
    reachable: tuple[Trial, ...]
    buildable: Buildable | None = None


def plan_study(study: Study, image_shape: tuple[int, int, int], classes: int) -> list[PlannedStage]:
    """Lay out every trial that the study can reach.

    Where a stage starts from a winner that is not known yet, its cells are shown for the baseline's own values. Raises
    UserError, naming stage and cell, where any trial that some winner could lead to cannot be built.
    """
    starts: dict[str, tuple[Trial, ...]] = {}
    assumed: dict[str, Trial] = {}
    planned = []
    for stage in study.stages:
        parent = study.parent(stage)
        possible = starts[parent] if parent else (study.base(stage),)
        start = assumed[parent] if parent else study.base(stage)
        words = (
            f"the winner of {parent}"
            if parent
            else ("its own base" if isinstance(stage.start, Trial) else "the baseline")
        )
        if isinstance(stage, Search):
            planned.append(PlannedStage(stage, words, (), possible, _searchable(stage, start, image_shape, classes)))
            continue
        reachable = {
            cell.trial: _build(stage, cell, image_shape, classes) for trial in possible for cell in stage.cells(trial)
        }
        starts[stage.name] = tuple({trial.key({}): trial for trial in reachable}.values())
        cells = tuple(
            (cell, reachable.get(cell.trial) or _build(stage, cell, image_shape, classes))
            for cell in stage.cells(start)
        )
        trials = [cell.trial for cell, _ in cells]
        assumed[stage.name] = start if start in trials else trials[-1]
        planned.append(PlannedStage(stage, words, cells, starts[stage.name]))
    return planned


def _build(stage: Stage, cell: Cell, image_shape: tuple[int, int, int], classes: int) -> tuple[Layer, ...]:
    try:
        return plan(cell.trial.model, cell.trial.training.input_shape(image_shape), classes)
    except UserError as error:
        raise UserError(f"stage {stage.name}, {cell.label}: {error}") from error


def _searchable(stage: Search, start: Trial, image_shape: tuple[int, int, int], classes: int) -> Buildable:
    stage.space.check(start)
    found = buildable(stage.space, start, image_shape, classes)
    if not found.share:
        raise UserError(f"search {stage.name}: nothing of its space can be built: {found.reason}")
    return found


def distinct(planned: Sequence[PlannedStage]) -> Iterator[tuple[Cell, tuple[Layer, ...]]]:
    """Go through the cells as shown, each configuration once."""
    seen = set()
    for cell, layers in (pair for stage in planned for pair in stage.cells):
        key = cell.trial.key({})
        if key not in seen:
            seen.add(key)
            yield cell, layers
