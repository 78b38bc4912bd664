"""The main path: plan, what is known already, trials, winners, tables, curves, analyses, report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweeps import checks, examining
from sweeps.decisions.agenda import Agenda, keep_failures
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.planning import PlannedStage, plan_study
from sweeps.decisions.records import Drawn, Known, StageResult, Terms, stage_winners
from sweeps.execution import memory
from sweeps.execution.machines import Machines
from sweeps.execution.shared_data import SharedData
from sweeps.execution.sharing import Sharing, largest, share_out
from sweeps.interruption import held, tidy
from sweeps.options import QUICK, RunOptions
from sweeps.reporting import decision_files, results
from sweeps.reporting.album import Album
from sweeps.reporting.live import Live
from sweeps.reporting.material import DataSummary
from sweeps.reporting.plan_tables import print_headline, print_plan
from sweeps.reporting.stage_report import report_on
from sweeps.reporting.tables import Facts
from sweeps.results import Ended
from sweeps.sources import Source
from sweeps.study import Study
from sweeps.terminal import busy
from sweeps.tracking import origin, stage_runs
from sweeps.tracking.connection import resolve_uri
from sweeps.tracking.findings import advice
from sweeps.tracking.finished import note_winners
from sweeps.tracking.lease import Lease
from sweeps.tracking.models import log_best
from sweeps.tracking.spool import locked
from sweeps.tracking.store import Store, StoredTrial, lost
from sweeps.tracking.tracker import deliver
from trainables import datasets
from trainables.datasets import Found
from trainables.errors import UserError
from trainables.footprint import Images
from trainables.history import History

if TYPE_CHECKING:
    from analysis.job import Job
    from analysis.report import Section
    from sweeps.execution.answers import Answer


def run_study(
    study: Study, options: RunOptions, console: Console, tell: Callable[[Ended], None] = lambda _: None
) -> int:
    """Run what is not done yet of a study, write what came of it, `tell` it, and return the exit status.

    That is 0, or 1 where trials or analyses failed, or something could not be kept. Raises UserError, before anything
    starts, for what the user can mend; KeyboardInterrupt after keeping what was done.
    """
    study = chosen(study, options)
    found = datasets.find(study.baseline.dataset, options.data_dir)
    images = Images.expected(found)
    planned = plan_study(study, images.shape, images.classes)
    demand = memory.demand(study.baseline.dataset, planned, images, options.seeds, options.machines.here())
    if options.dry_run:
        sharing = _sharing(options.machines.here(), options, planned, images)
        print_plan(study, planned, options.seeds, options.early_stopping, sharing.words, demand.words, console)
        for line in (*sharing.warnings, *demand.warnings):
            console.print(f"warning: {line}", highlight=False, soft_wrap=True)
        return 0
    demand.check_data()
    options.machines.check()
    store = Store(resolve_uri(options.tracking_uri))
    print_headline(study, planned, options.seeds, options.early_stopping, demand.words, console)
    with busy(console, f"reading {study.baseline.dataset}"):
        course = replace(_prepared(study, planned, options, store, console, found), tell=tell, demand=demand)
    lease = Lease(course.store, study.name, course.say)
    with tidy(), locked(course.spool / "driver.lock"), ExitStack() as leased:
        with busy(console, "opening MLflow"):
            leased.enter_context(lease.held())
            course.warn(*deliver(course.store, course.spool))
        return course.finish(lease)


def write_report(study: Study, options: RunOptions, console: Console) -> int:
    """Write what came of a study again, from what MLflow has, and return the exit status: 0, or 1 where it cannot.

    Raises UserError for what the user can mend.
    """
    study = chosen(study, options)
    found = datasets.find(study.baseline.dataset, options.data_dir)
    planned = plan_study(study, found.image_shape, len(found.class_names))
    return _prepared(study, planned, options, Store(resolve_uri(options.tracking_uri)), console, found).rewrite()


def chosen(study: Study, options: RunOptions) -> Study:
    """Return what the options make of the study.

    `--quick` runs under a name of its own, beside the real study. Raises UserError for an option that the study has no
    use for.
    """
    study = study.only(options.stages) if options.stages else study
    if options.quick:
        study = replace(study, name=f"{study.name}{QUICK}").changed(study.quick)
        study = study.searching(**study.quick_search) if study.open_ended else study
    if options.quick or options.weights is not None:
        study = study.starting_from(options.weights)
    varied = options.vary_split or None  # where the flag is not given, the study's own choice stands
    given = {"dataset": options.dataset, "training.epochs": options.epochs, "training.vary_split": varied}
    study = study.changed(_given(given))
    how = _given({"trials": options.num_trials, "sampler": options.sampler, "rule": options.rule})
    study = study.searching(**how) if how else study
    return study if options.early_stopping or not study.open_ended else study.searching(rule="none")


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True)
class _Course:
    """One command's way through a study: what it works with, and its steps."""

    study: Study
    planned: Sequence[PlannedStage]
    jobs: Sequence[Job]
    data: SharedData
    images: Images
    summary: DataSummary
    weights: Mapping[str, bytes]
    terms: Terms
    reachable: Iterable[str]  # the keys of the trials that grids and the recheck can lead to
    store: Store
    folder: Path
    options: RunOptions
    console: Console
    source: Source
    album: Album
    tell: Callable[[Ended], None] = lambda _: None
    demand: memory.Demand | None = None  # for memory; None where nothing is to be run

    def rewrite(self) -> int:
        """Write the report of what MLflow has, and return the exit status. Raises UserError where it has nothing."""
        agenda, runs = self._agenda(running=False)
        if not runs:  # an empty report would take the place of one that is there
            raise UserError(f"{self.store.uri} has no trial of {self.study.name} on this data")
        keep_failures(agenda)
        trials = examining.winners(self.store, agenda) if self.jobs else {}
        asked = examining.questions(agenda, self.jobs, trials)
        answers = examining.known(asked, self.store, self.folder, self.say)
        written = self._write(agenda, runs, examining.sections(answers))
        self.say(f"report: {self.folder / 'report.html'}")
        return 0 if written else 1

    def finish(self, lease: Lease) -> int:
        """Run what MLflow does not have yet, write what came of it, and return the exit status."""
        with busy(self.console, "asking MLflow what is done already"):
            agenda, runs = self._agenda()
        if self.demand and not (agenda.over or self.options.address):
            self.demand.check()
        delivered = True
        answers: list[Answer] = []
        with ExitStack() as connection:
            try:
                if not agenda.over:
                    delivered = self._execute(agenda, runs, connection, lease)
            finally:
                with busy(self.console, "writing the report"):
                    written = self._write(agenda, runs)
            examined = self._examined(agenda) if delivered else None
            logged = examined is not None and log_best(self.store, stage_winners(agenda.results), runs, self.say)
            if examined:
                answers = self._analyse(agenda, examined)
        if answers:
            written = self._write(agenda, runs, examining.sections(answers))
        logged = logged and self._fill_stages(agenda, runs)
        self._say_the_end(agenda, delivered)
        self.tell(Ended(self.study.name, agenda.results, self._facts(runs), self.folder, self.store.uri))
        settled = all(answer.settled for answer in answers)
        return 0 if logged and written and settled and not agenda.failed else 1

    @property
    def spool(self) -> Path:
        """The folder of what MLflow does not have yet."""
        return self.folder / ".spool"

    def say(self, line: str) -> None:
        """Print a line as it stands."""
        self.console.print(line, highlight=False, soft_wrap=True)

    def warn(self, left: Iterable[str], problems: Iterable[str]) -> None:
        """Print what could not be delivered, and what else went wrong."""
        for line in dict.fromkeys([*left, *problems]):  # a trial left for its error is in both
            self.say(f"warning: {line}")

    def _facts(self, runs: Mapping[str, str]) -> Facts:
        return Facts(self.summary.class_names, self.terms.image_shape, self.terms.yardstick, runs)

    def _agenda(self, *, running: bool = True) -> tuple[Agenda, dict[str, str]]:
        """Return what is to be done after what MLflow has, and the runs there, by key.

        Where it is not `running`, nothing is said or written as stages are decided and trials end.
        """
        drawn, stored = self.store.patiently(self._stored, self.say)
        self.store.patiently(self.source.read, self.say)
        decided = decision_files.read(self.folder, [stage.name for stage in self.study.all_stages], self.say)
        if self.options.fresh:
            self.store.patiently(lambda: self.store.supersede(stored), self.say)
            stored, drawn, decided = {}, {}, {}
        self.warn(lost(stored.values()), ())
        known = {key: _known(trial) for key, trial in stored.items()}
        runs = {key: entry.run_id for key, entry in known.items()}
        if not running:
            return Agenda(self.study, self.terms, lambda _: None, known, drawn, decided), runs
        live = Live(lambda: self._write(agenda, runs))
        agenda = Agenda(self.study, self.terms, self._decided, known, drawn, decided, live.trial_ended)
        return agenda, runs

    def _stored(self) -> tuple[dict[str, list[Drawn]], dict[str, StoredTrial]]:
        """Return what MLflow has: a search's draws by stage, and trials by key."""
        drawn = self.store.drawn(self.study.name) if self.study.open_ended else {}
        stored = self.store.trials(self.reachable)
        if drawn:  # of a search its own runs alone count: it goes on where it stood
            stored |= self.store.trials({each.key for draws in drawn.values() for each in draws}, self.study.name)
        return drawn, stored

    def _decided(self, result: StageResult) -> None:
        shown = report_on(result)
        for table in shown.on_screen(self._facts({})):
            self.console.print(table.to_rich())
        for line in shown.words(self.terms):
            self.console.print(line, highlight=False)

    def _execute(self, agenda: Agenda, runs: dict[str, str], connection: ExitStack, lease: Lease) -> bool:
        """Run on Ray what the agenda holds, and return whether MLflow has got all of it.

        Stays connected to Ray as long as `connection` lasts. Adds the new trials' MLflow runs to `runs`.
        """
        with busy(self.console, "starting Ray"):
            with held():  # an interrupted import may end as any error, or in half a module
                from sweeps.execution import cluster, hosts, scheduler, tracker_actor
                from sweeps.reporting.display import Display

            machines = connection.enter_context(cluster.connect(self.options.machines))
            if self.demand and machines.address and not machines.num_gpus:
                hosts.check_memory(self.demand)
            self.data.reference()
        if agenda.reused:
            self.say(f"{len(agenda.reused)} trials are done already and not run again")
        sharing = _sharing(machines, self.options, self.planned, self.images)
        self.say(f"trials run {sharing.words}")
        self.warn(sharing.warnings, ())
        tracker = tracker_actor.start(self.store.uri, self.study.name, self.spool, self._data_set())
        lease.when_lost = tracker.stop_delivering
        tags = _tags(self.study, sharing)
        stages = [stage.name for stage in self.study.all_stages]
        with held():
            parents = stage_runs.parents(self.store, self.study.name, stages, self.say)
        self.source.begin(f"trials run {sharing.words}", tags.get("git_commit", ""))
        try:
            with Display(agenda, self.console) as display:
                scheduler.execute(
                    agenda, self.data, self.images, self.weights, tracker, display, sharing.resources, tags, parents
                )
        finally:
            handover = tracker.abandon() if lease.lost else tracker.end(self.say)
            self.warn(handover.left, handover.problems)
            runs.update(handover.runs)
            if not (lease.lost or handover.left):
                self.source.end(agenda.restarts)
        if handover.left:
            return False
        # a Tracker that was killed and started again does not know the runs that it had delivered before
        found = self.store.trials(agenda.tasks.keys() - runs.keys())
        runs.update({key: trial.run_id for key, trial in found.items()})
        return True

    def _data_set(self) -> dict[str, str]:
        """Return the data set as MLflow is to have it."""
        data, digest = self.summary, self.terms.contents[self.study.baseline.dataset]
        images = {"training": data.train, "validation": data.val, "test": data.test}
        return origin.data_set(data.name, digest, self.terms.image_shape, images)

    def _write(self, agenda: Agenda, runs: Mapping[str, str], findings: Sequence[Section] = ()) -> bool:
        """Write tables, figures and report.

        Where the disk has no room for them, say so and return False: what was trained is in MLflow.
        """
        try:
            with held():
                facts, source = self._facts(runs), self.source.known
                results.write(self.folder, agenda, facts, self.summary, findings, source, self.album)
        except OSError as error:
            self.say(
                f"warning: the results cannot be written to {self.folder}: {error.strerror}; once they can, the same "
                "command does it"
            )
            return False
        return True

    def _examined(self, agenda: Agenda) -> dict[str, StoredTrial] | None:
        """Describe the experiment, and return the trials that analyses are to ask: the stages' winners, by key.

        None, with a line, where MLflow has gone away since the last trial.
        """
        try:
            with self.store.readable():
                self.store.describe(self.study.name, results.markdown(agenda))
                note_winners(self.store, self.study.name, stage_winners(agenda.results))
                return examining.winners(self.store, agenda) if self.jobs else {}
        except UserError as error:
            self.say(f"warning: {error}; the same command goes on from here")
            return None

    def _fill_stages(self, agenda: Agenda, runs: Mapping[str, str]) -> bool:
        """Give MLflow's run of each decided stage its table, its figures and the report; False where that fails."""
        metric = self.terms.yardstick.metric
        with held():
            return stage_runs.fill(self.store, self.study.name, self.folder, agenda.results, runs, metric, self.say)

    def _analyse(self, agenda: Agenda, trials: Mapping[str, StoredTrial]) -> list[Answer]:
        """Have the study's analyses done."""
        with held():
            from sweeps.execution import questions
            from sweeps.execution.answers import Answers

        kept = Answers(self.store, self.folder, self.say)
        with busy(self.console, "asking the analyses"):
            asked = examining.questions(agenda, self.jobs, trials)
            return questions.ask(asked, self.data, kept, self.options.machines, fresh=self.options.fresh)

    def _say_the_end(self, agenda: Agenda, delivered: bool) -> None:
        ran, reused = len(agenda.tasks), len(agenda.reused)
        self.say(
            f"{ran} trials run, {reused} taken from earlier runs"
            if ran
            else f"nothing to run: all {reused} trials are done already"
        )
        for key, reasons in agenda.restarts.items():
            self.say(f"started again: {agenda.tasks[key].name}: {'; '.join(reasons)}")
        for outcome in agenda.failed:
            self.say(f"failed: {agenda.tasks[outcome.key].name}: {outcome.reason}")
        self.say(f"report: {self.folder / 'report.html'} · MLflow: {self.store.uri}, experiment {self.study.name}")
        if not delivered:
            self.say(advice(self.spool, self.store.uri))


def _sharing(machines: Machines, options: RunOptions, planned: Sequence[PlannedStage], images: Images) -> Sharing:
    need = partial(largest, planned, images, options.seeds)
    return share_out(machines, need, all_of_them=options.num_gpus is None)


def _known(trial: StoredTrial) -> Known:
    history = History.from_dict(trial.curves) if trial.curves else History({})
    return Known(trial.status, history, trial.run_id, trial.reason)


def _prepared(
    study: Study, planned: Sequence[PlannedStage], options: RunOptions, store: Store, console: Console, found: Found
) -> _Course:
    """Read the data and the weights, and check all that can be before anything is spent."""
    jobs = checks.jobs(study)
    folder = results.prepare(options.output / study.name, planned)
    data = found.load()
    if data.name != study.baseline.dataset:
        console.print(f"{data.name}: published numbers are left out: they are for other images", highlight=False)
        study = study.without_published()
    if any(trial.training.vary_split for stage in planned for trial in stage.reachable):
        data.check_can_be_split_again()
    weights = checks.weights(planned, data, options.data_dir, console)
    digests = {name: hashlib.sha256(file).hexdigest() for name, file in weights.items()}
    terms = Terms(
        seeds=tuple(range(options.seeds)),
        contents={study.baseline.dataset: data.digest} | digests,
        yardstick=Yardstick.of(data),
        image_shape=data.image_shape,
        classes=data.classes,
        early_stopping=options.early_stopping,
        rule=options.grid_rule,
        winner=study.winner,
    )
    reachable = {terms.key(trial) for stage in planned if not stage.stage.open_ended for trial in stage.reachable}
    shared, summary = SharedData(data), DataSummary.of(data)
    images = Images.of(data)
    return _Course(
        *(study, planned, jobs, shared, images, summary, weights, terms, reachable, store, folder, options, console),
        Source(store, study.name, partial(console.print, highlight=False, soft_wrap=True)),
        Album(folder),
    )


def _tags(study: Study, sharing: Sharing) -> dict[str, str]:
    """Return what all of this command's MLflow runs are tagged with."""
    return {"study": study.name, "device": "gpu" if sharing.gpus else "cpu"} | origin.tags()
