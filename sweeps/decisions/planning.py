"""The plan: every trial that a study can reach, laid out and checked before anything is spent. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sweeps.decisions import bounds
from sweeps.decisions.following import hindrance, search_ends
from sweeps.decisions.space import Row, buildable
from sweeps.decisions.stages import AnyStage, Cell, Recheck, Search, Stage
from sweeps.decisions.study import Study
from trainables.config import Trial
from trainables.errors import UserError
from trainables.plan import Layer, plan_of

Layers = tuple[Layer, ...]
Winners = tuple[str, ...]  # those that lead to a trial, in words


@dataclass(frozen=True)
class PlannedStage:
    """A stage before anything has run: its cells from the start that is assumed, and all that any winner could lead to.

    The trials that a search could draw are not laid out: it has its `space` in words in their place; and of a stage
    that follows one only `some` of those that winners could lead to. A recheck has no cells before all else is decided.
    """

    stage: AnyStage
    start: str  # in words
    cells: tuple[tuple[Cell, Layers], ...] = ()
    reachable: tuple[Trial, ...] = ()  # with a search, what it could start from
    space: tuple[Row, ...] = ()
    about: str = ""  # of a search: how it draws, and from how much
    to_draw: int = 0  # trials of a search
    ends: tuple[Trial, ...] = ()  # of a search that others follow: some of where it may end
    some: bool = False
    # of a recheck: the stages, and the values in words of which it tries one each
    to_recheck: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class _Images:
    """What networks are planned for."""

    shape: tuple[int, int, int]
    classes: int

    def build(self, trial: Trial) -> Layers:
        return plan_of(trial, self.shape, self.classes)

    def hindrance(self, study: Study, stage: Search, trial: Trial) -> str | None:
        return hindrance(study, stage, trial, self.shape, self.classes)

    def can_build(self, trial: Trial) -> bool:
        try:
            self.build(trial)
        except UserError:
            return False
        return True


def plan_study(study: Study, image_shape: tuple[int, int, int], classes: int) -> list[PlannedStage]:
    """Lay out every trial that the study can reach.

    Where a stage starts from a winner that is not known yet, its cells are shown for the baseline's own values. Raises
    UserError, naming the stage, the cell and the winners before it, where any trial that some winner could lead to
    cannot be built. What a recheck could lead to and cannot be built is left out: it will be left out there. A search
    must have points from which all that follows can be built; others it will not draw.
    """
    images = _Images(image_shape, classes)
    ends: dict[str, dict[Trial, Winners]] = {}  # by stage, what may win it
    assumed: dict[str, Trial] = {}
    planned: list[PlannedStage] = []
    for stage in study.all_stages:
        if isinstance(stage, Recheck):
            planned.append(_planned_recheck(stage, study, planned, images))
            continue
        parent = study.parent(stage)
        starts = ends[parent] if parent else {study.base(stage): ()}
        start = assumed[parent] if parent else study.base(stage)
        words = f"the winner of {parent}" if parent else _start_in_words(stage)
        if isinstance(stage, Search):
            planned.append(_planned_search(study, stage, words, start, tuple(starts), images))
            if found := planned[-1].ends:
                ends[stage.name] = dict.fromkeys(found, (stage.name,))
                assumed[stage.name] = found[0] if images.hindrance(study, stage, start) else start
            continue
        ends[stage.name] = _distinct(_reach(stage, starts, images))
        cells = tuple((cell, _built(stage, cell, (), images)) for cell in stage.cells(start))
        trials = [cell.trial for cell, _ in cells]
        assumed[stage.name] = start if start in trials else trials[-1]
        some = not study.is_foreseeable(stage)
        planned.append(PlannedStage(stage, words, cells, tuple(ends[stage.name]), some=some))
    return planned


def distinct(planned: Sequence[PlannedStage]) -> Iterator[tuple[Cell, Layers]]:
    """Go through the cells as shown, each configuration once."""
    seen = set()
    for cell, layers in (pair for stage in planned for pair in stage.cells):
        key = cell.trial.key({})
        if key not in seen:
            seen.add(key)
            yield cell, layers


def in_all(planned: Sequence[PlannedStage]) -> int:
    """Return how many trials there are at most: those shown, those to be drawn, and those to recheck."""
    return sum(1 for _ in distinct(planned)) + sum(entry.to_draw + len(entry.to_recheck) for entry in planned)


def _start_in_words(stage: AnyStage) -> str:
    return "its own base" if isinstance(stage.start, Trial) else "the baseline"


def _reach(stage: Stage, starts: Mapping[Trial, Winners], images: _Images) -> dict[Trial, Winners]:
    """Return the stage's trials from each of `starts`, with the winners up to and including themselves."""
    found: dict[Trial, Winners] = {}
    for start, winners in starts.items():
        for cell in stage.cells(start):
            if cell.trial not in found:
                _built(stage, cell, winners, images)
                found[cell.trial] = (*winners, f"{stage.name} {cell.label}")
    return found


def _built(stage: Stage, cell: Cell, winners: Winners, images: _Images) -> Layers:
    try:
        return images.build(cell.trial)
    except UserError as error:
        led = f", after {' and '.join(winners)} won" if winners else ""
        raise UserError(f"stage {stage.name}, {cell.label}: {error}{led}") from error


def _distinct(reached: Mapping[Trial, Winners]) -> dict[Trial, Winners]:
    """Leave out all but the last of the trials that are the same network and training written in another way."""
    by_key = {trial.key({}): trial for trial in reached}
    return {trial: reached[trial] for trial in by_key.values()}


def _planned_search(
    study: Study, stage: Search, words: str, start: Trial, starts: tuple[Trial, ...], images: _Images
) -> PlannedStage:
    stage.check(start)
    found = buildable(stage.space, start, images.shape, images.classes)
    if not found.share:
        raise UserError(f"search {stage.name}: no point of its space can be built: {found.reason}")
    size = f"{stage.space.size:,} points" if stage.space.size else "infinitely many points"
    share = f"{100 * found.share:.0f} % of which can be built"
    about = f"{stage.trials} trials by {stage.sampler}, {stage.rule}; {size}, {share}{_bounded(stage, start, images)}"
    space = tuple(stage.space.describe())
    plan = PlannedStage(stage, words, reachable=starts, space=space, about=about, to_draw=stage.trials)
    return _followed(plan, stage, study, start, images) if study.after(stage.name) else plan


def _followed(plan: PlannedStage, search: Search, study: Study, start: Trial, images: _Images) -> PlannedStage:
    """Return a search's plan with where it may end, as stages start there. Raises UserError where none can."""
    for number, values in enumerate(search.first, start=1):
        if images.can_build(trial := start.with_values(values)) and (why := images.hindrance(study, search, trial)):
            raise UserError(f"search {search.name}: point {number} of those to try first does not do: {why}")
    found = search_ends(study, search, start, images.shape, images.classes)
    if not found.trials:
        raise UserError(
            f"search {search.name}: no point was found from which all that follows can be built: {found.reason}"
        )
    about = f"{plan.about}; from {100 * found.share:.0f} % of these all that follows can be built"
    return replace(plan, about=about, ends=found.trials)


def _bounded(stage: Search, start: Trial, images: _Images) -> str:
    """Return a search's bounds in words, with the share of its space within those that the plan knows of.

    Raises UserError where hardly any of it is, or a point to try first is not.
    """
    known = stage.planned_constraint
    measured = {name: bound for name, bound in stage.constraint.items() if name not in known}
    shown = f"; {bounds.in_words(measured)}, which training shows" if measured else ""
    if not known:
        return shown
    for number, values in enumerate(stage.first, start=1):
        trial = start.with_values(values)
        why = bounds.broken(known, bounds.planned_costs(images.build(trial))) if images.can_build(trial) else None
        if why:
            raise UserError(f"search {stage.name}: point {number} of those to try first has {why}")
    found = bounds.within(known, stage.space, start, images.shape, images.classes)
    if found.share < bounds.LEAST:
        half = " and ".join(f"{bounds.amount(found.median[name])} {bounds.COSTS[name]}" for name in known)
        raise UserError(
            f"search {stage.name}: {100 * found.share:.1f} % of its space has {bounds.in_words(known)}, but it must be "
            f"at least {100 * bounds.LEAST:.0f} %; half of it has at least {half}"
        )
    return f", {100 * found.share:.0f} % with {bounds.in_words(known)}{shown}"


def _planned_recheck(stage: Recheck, study: Study, planned: Sequence[PlannedStage], images: _Images) -> PlannedStage:
    """Return the recheck's plan; what other stages reach, too, is left to them where that is known beforehand."""
    entries = {entry.stage.name: entry for entry in planned}
    swapped = (
        trial
        for rechecked in study.lineage
        if rechecked.vary
        for last in study.lineage
        if not _reaches_it(study.path(last), rechecked)
        for start in entries[last.name].reachable
        for trial in _with_each_value(rechecked, start)
    )
    return PlannedStage(
        stage,
        "the final winner",
        reachable=tuple(filter(images.can_build, dict.fromkeys(swapped))),
        to_recheck=tuple((name, tuple(cell.label for cell, _ in entries[name].cells)) for name in stage.of),
    )


def _reaches_it(path: Sequence[AnyStage], stage: Stage) -> bool:
    """Tell whether other winners of a stage on the path lead to the same as its other values at the path's end.

    They do unless a later stage changes the same field.
    """
    if stage not in path:
        return False
    later = path[path.index(stage) + 1 :]
    return not any(isinstance(each, Stage) and stage.vary.keys() & each.vary.keys() for each in later)


def _with_each_value(stage: Stage, start: Trial) -> Iterator[Trial]:
    for values in itertools.product(*stage.vary.values()):
        try:
            trial = start.with_values(dict(zip(stage.vary, values, strict=True)))
        except UserError:
            continue  # what the start has beside it does not go with this value
        yield trial
