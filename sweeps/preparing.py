"""What is read and checked before a study's trials run, or before its report is written again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweeps import checks
from sweeps.decisions.acts import Steered
from sweeps.decisions.planning import PlannedStage, plan_study
from sweeps.decisions.records import Terms
from sweeps.decisions.seeding import CONTESTED, DECIDED
from sweeps.decisions.stages import Search
from sweeps.execution.shared_data import SharedData
from sweeps.options import QUICK, UNTIL_DECIDED, RunOptions
from sweeps.reporting import results
from sweeps.reporting.known_data import KnownData
from sweeps.reporting.tables import Facts
from sweeps.study import Study
from sweeps.tracking import notes
from sweeps.tracking.artifacts import Unreadable
from sweeps.tracking.store import Store
from trainables import datasets
from trainables.datasets import Found
from trainables.errors import UserError

if TYPE_CHECKING:
    from analysis.job import Job


@dataclass(frozen=True)
class Prepared:
    """A study that was checked, and what is known of its data."""

    study: Study
    planned: Sequence[PlannedStage]
    jobs: Sequence[Job]
    known: KnownData
    options: RunOptions

    @property
    def folder(self) -> Path:
        """The folder of results."""
        return self.options.output / self.study.name

    @cached_property
    def terms(self) -> Terms:
        """What holds for all its trials."""
        return Terms(
            seeds=tuple(range(self.options.seeds)),
            contents=self.known.contents(self.study.baseline.dataset),
            yardstick=self.known.yardstick,
            image_shape=self.known.image_shape,
            classes=len(self.known.summary.class_names),
            early_stopping=self.options.early_stopping,
            rule=self.options.grid_rule,
            winner=self.study.winner,
            seeding=_seeding(self.planned, self.options),
        )

    @cached_property
    def reachable(self) -> set[str]:
        """The keys of the trials that grids and the recheck can lead to; not those that follow a search."""
        stages = (stage for stage in self.planned if not (stage.stage.open_ended or stage.some))
        return {self.terms.key(trial) for stage in stages for trial in stage.reachable}

    def facts(self, runs: Mapping[str, str]) -> Facts:
        """Return what tables say of the data, and of trials' runs by key."""
        return Facts(self.known.summary.class_names, self.known.image_shape, self.terms.yardstick, runs)


@dataclass(frozen=True)
class Loaded:
    """What trials are trained on, and start from."""

    data: SharedData
    weights: Mapping[str, bytes]


def name_of(study: Study, options: RunOptions) -> str:
    """Return the name under which a study runs."""
    return f"{study.name}{QUICK}" if options.quick else study.name


def chosen(study: Study, options: RunOptions) -> Study:
    """Return what the options make of the study.

    `--quick` runs under a name of its own, beside the real study. Raises UserError for an option that the study has no
    use for.
    """
    study = study.only(options.stages) if options.stages else study
    if options.quick:
        study = replace(study, name=name_of(study, options)).changed(study.quick)
        study = study.searching(**study.quick_search) if study.open_ended else study
    if options.quick or options.weights is not None:
        study = study.starting_from(options.weights)
    varied = options.vary_split or None  # where the flag is not given, the study's own choice stands
    given = {"dataset": options.dataset, "training.epochs": options.epochs, "training.vary_split": varied}
    study = study.changed(_given(given))
    how = _given({"trials": options.num_trials, "sampler": options.sampler, "rule": options.rule})
    study = study.searching(**how) if how else study
    return study if options.early_stopping or not study.open_ended else study.searching(rule="none", race=False)


def steered(study: Study, options: RunOptions, by: Steered) -> RunOptions:
    """Return the options with what acts have set beyond them."""
    now = chosen(study, options)
    searches = [stage.trials for stage in now.stages if isinstance(stage, Search)]
    has = {
        "seeds": options.seeds,
        "epochs": now.baseline.training.epochs,
        "num_trials": max(searches, default=math.inf),
    }
    asked = {"seeds": by.seeds, "epochs": by.epochs, "num_trials": by.trials}
    more: dict[str, Any] = {name: number for name, number in asked.items() if number > has[name]}
    return replace(options, **more)


def to_run(
    study: Study, planned: Sequence[PlannedStage], options: RunOptions, console: Console, found: Found | None = None
) -> tuple[Prepared, Loaded]:
    """Read the data and the weights, and check all that can be before anything is spent. Raises UserError.

    `found` is the data set, where it has been looked for already.
    """
    jobs = checks.jobs(study)
    results.prepare(options.output / study.name, planned)
    data = (found or datasets.find(study.baseline.dataset, options.data_dir)).load()
    if any(trial.training.vary_split for stage in planned for trial in stage.reachable):
        data.check_can_be_split_again()
    study = _as_read(study, data.name, console)
    _seeding(planned, options)
    weights = checks.weights(planned, data, options.data_dir, console)
    return Prepared(study, planned, jobs, KnownData.of(data, weights), options), Loaded(SharedData(data), weights)


def to_report(study: Study, options: RunOptions, store: Store, console: Console) -> Prepared:
    """Return the same from what MLflow keeps of the data; where it keeps too little, say so and read the data.

    Raises UserError.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    dataset = study.baseline.dataset
    known = kept(store, study, say)
    images = known.images if known else None
    shape, classes = (images.shape, images.classes) if images else datasets.image_shape(dataset, options.data_dir)
    planned = plan_study(study, shape, classes)
    needed = {trial.weights for stage in planned for trial in stage.reachable} - {None}
    if known is None or needed - known.weights.keys():
        say(f"MLflow does not keep all that the report needs of {dataset}; it is read from disk")
        return to_run(study, planned, options, console)[0]
    results.prepare(options.output / study.name, planned)
    known = replace(known, weights={name: digest for name, digest in known.weights.items() if name in needed})
    return Prepared(_as_read(study, known.name, console), planned, checks.jobs(study), known, options)


def kept(store: Store, study: Study, say: Callable[[str], None]) -> KnownData | None:
    """Return what MLflow keeps of a study's data; None where it has nothing, or nothing whole, which is said.

    Raises UserError where it is away.
    """
    try:
        content = notes.read_data(store, study.name, study.baseline.dataset)
    except Unreadable as error:
        say(f"warning: what MLflow keeps of {study.baseline.dataset} cannot be read: {error}")
        return None
    try:
        return KnownData.from_bytes(content) if content is not None else None
    except ValueError as error:
        say(f"warning: what MLflow keeps of {study.baseline.dataset} is damaged: {error}")
        return None


def keep(prepared: Prepared, store: Store, run_id: str, say: Callable[[str], None]) -> None:
    """Have MLflow keep what a report needs of the data, in this run where none has it yet.

    An MLflow that does not take it costs a warning: a report then reads the data.
    """
    study, known = prepared.study, prepared.known
    try:
        before = kept(store, study, say)
        now = known.joined(before) if before else known
        content = now.to_bytes()
        if before is None or before.to_bytes() != content:
            notes.write_data(store, study.name, study.baseline.dataset, run_id, content)
    except UserError as error:
        say(f"warning: what a report needs of the data is not kept: {error}")


def _seeding(planned: Sequence[PlannedStage], options: RunOptions) -> str | None:
    """Return how trials get their seeds one by one: until stages are decided, or where the command has a bound, so that
    it goes to what would decide most. None: all at once. Raises UserError.
    """
    decided = options.until == UNTIL_DECIDED
    if any(trial.training.vary_split for stage in planned for trial in stage.reachable):
        if decided:
            raise UserError(
                "--until decided compares trials on the same images, but with vary_split each seed has its own"
            )
        return None
    bounded = options.for_ is not None or options.budget is not None
    return DECIDED if decided else CONTESTED if bounded else None


def _as_read(study: Study, name: str, console: Console) -> Study:
    """Return the study without published numbers, and say so, where the data is only a part of what they are for."""
    if name == study.baseline.dataset:
        return study
    console.print(f"{name}: published numbers are left out: they are for other images", highlight=False)
    return study.without_published()


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
