"""The main path: plan, what is known already, trials, winners, tables, curves, analyses, report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from sweeps import examining, notice, planned, preparing
from sweeps.course import Course
from sweeps.decisions.acts import Steered
from sweeps.decisions.agenda import Agenda
from sweeps.decisions.records import StageResult, stage_winners
from sweeps.decisions.shares import Claim
from sweeps.execution import memory
from sweeps.execution.background import Background
from sweeps.execution.bound import Bound
from sweeps.execution.machines import Machines
from sweeps.execution.memory import Demand
from sweeps.execution.shared_data import SharedData
from sweeps.execution.sharing import Sharing
from sweeps.interruption import held, tidy
from sweeps.notice import Notice
from sweeps.options import RunOptions
from sweeps.preparing import Loaded
from sweeps.reporting import results
from sweeps.reporting.feed import Feed
from sweeps.reporting.live import Live
from sweeps.reporting.plan_tables import print_headline
from sweeps.reporting.stage_report import report_on
from sweeps.results import Ended
from sweeps.study import Study
from sweeps.terminal import busy
from sweeps.tracking import origin, stage_runs, views
from sweeps.tracking.connection import resolve_uri
from sweeps.tracking.entry import PARENT
from sweeps.tracking.findings import advice
from sweeps.tracking.finished import note_winners
from sweeps.tracking.helm import Helm
from sweeps.tracking.lease import Lease
from sweeps.tracking.models import best_of, log_best
from sweeps.tracking.spool import locked
from sweeps.tracking.store import Store, StoredTrial
from sweeps.tracking.tracker import deliver
from trainables.errors import UserError
from trainables.footprint import Images

if TYPE_CHECKING:
    from sweeps.execution.answers import Answer
    from sweeps.reporting.board import Board
    from sweeps.reporting.display import Display

Parents = Mapping[str, Mapping[str, str]]  # by stage, the tags that make runs children of its own


def run_study(
    study: Study, options: RunOptions, console: Console, tell: Callable[[Ended], None] = lambda _: None
) -> int:
    """Run what is not done yet of a study, write what came of it, `tell` it, give notice, and return the exit status.

    That is 0, or 1 where trials or analyses failed, or something could not be kept. Raises UserError, before anything
    starts, for what the user can mend; KeyboardInterrupt after keeping what was done.
    """
    feed = Feed(partial(print, end="", flush=True) if options.json else None)
    name = preparing.name_of(study, options)

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    def ended(end: Notice) -> None:
        feed.tell("end", **end.form)
        if options.notify is not None:
            notice.send(options.notify, end, say)

    if options.dry_run:
        return planned.show(preparing.chosen(study, options), options, console)
    bound = Bound(options.for_, options.budget, options.until if isinstance(options.until, float) else None)

    def run() -> tuple[int, bool]:
        steered, now = Steered(), options
        while True:  # until nobody has asked for another plan meanwhile
            try:
                return _run(study, steered, now, console, tell, bound, feed)
            except Again as again:
                steered, now = again.steered, replace(options, fresh=False)

    return notice.at_the_end(name, options.output / name / "report.html", ended, run)


class Again(Exception):
    """Another plan holds from now on: the command begins again with it."""

    def __init__(self, steered: Steered) -> None:
        super().__init__()
        self.steered = steered


def _run(
    study: Study,
    steered: Steered,
    options: RunOptions,
    console: Console,
    tell: Callable[[Ended], None],
    bound: Bound,
    feed: Feed,
) -> tuple[int, bool]:
    """Return the exit status, and whether every stage is decided.

    Raises Again where others have asked, or had asked in earlier commands, for more than `steered` has.
    """
    options = preparing.steered(study, options, steered)
    study = preparing.chosen(study, options)
    plan = planned.plan(study, options)
    plan.demand.check_data()
    options.machines.check()
    store = Store(resolve_uri(options.tracking_uri))
    print_headline(study, plan.stages, options.seeds, options.early_stopping, plan.demand.words, console)
    with busy(console, f"reading {study.baseline.dataset}"):
        prepared, loaded = preparing.to_run(study, plan.stages, options, console, plan.data)
    ray = Background(partial(_ray_here, options.machines))
    command = _Command(prepared, store, console, [], loaded, tell, ray, bound, feed)
    feed.begin(study, plan.stages, options.seeds, command.folder / "report.html", store.uri)
    with tidy(), locked(command.spool / "driver.lock"), _ahead(command), ExitStack() as leased:
        with busy(console, "opening MLflow"):
            lease = Lease(store, study.name, command.say)
            leased.enter_context(lease.held())
            helm = leased.enter_context(Helm(store, study.name, command.acts, command.say, fresh=options.fresh))
            command.warn(*deliver(store, command.spool))
        if helm.steered.plan != steered.plan:
            raise Again(helm.steered)
        return command.finish(Reins(lease, helm))


class Reins(NamedTuple):
    """What a command holds while it runs a study: that nobody else does, and what others ask of it."""

    lease: Lease
    helm: Helm


@dataclass(frozen=True)
class _Command(Course):
    """One command's way through a study: what it works with, and its steps."""

    loaded: Loaded
    tell: Callable[[Ended], None]
    ray: Background  # of this machine
    bound: Bound
    feed: Feed

    @property
    def spool(self) -> Path:
        """The folder of what MLflow does not have yet."""
        return self.folder / ".spool"

    def finish(self, reins: Reins) -> tuple[int, bool]:
        """Run what MLflow does not have yet, write what came of it, and return the exit status, and whether every stage
        is decided.
        """
        with busy(self.console, "asking MLflow what is done already"):
            agenda, runs = self._agenda()
            demand = self.demand(self.options.machines.here())
            if not (agenda.over or demand.machines.address):
                demand.check()
            parents = self._stage_runs()
        self.feed.tell("stored", trials=len(agenda.reused))
        delivered, program = True, None
        answers: list[Answer] = []
        with ExitStack() as connection:
            try:
                if not agenda.over:
                    delivered = self._execute(agenda, runs, parents, connection, reins)
                    program = _begin_to_end(self, agenda, runs) if delivered and agenda.over else None
            finally:
                with busy(self.console, "writing the report"):
                    written = self.write(agenda, runs)
            examined = self._examined(agenda) if delivered else None
            won = stage_winners(agenda.results)
            logged = examined is not None and log_best(self.store, won, runs, self.say, program)
            if examined and agenda.over:
                answers = self._analyse(agenda, examined)
        if answers:
            written = self.write(agenda, runs, examining.sections(answers))
        logged = logged and self._fill_stages(agenda, runs)
        self._say_the_end(agenda, delivered)
        facts = self.prepared.facts(runs)
        self.tell(Ended(self.study.name, agenda.results, facts, self.folder, self.store.uri, agenda.over))
        settled = all(answer.settled for answer in answers)
        return 0 if logged and written and settled and not agenda.failed else 1, agenda.over

    def _agenda(self) -> tuple[Agenda, dict[str, str]]:
        """Return what is to be done after what MLflow has, and the runs there, by key."""
        stored = self.stored()
        live = Live(lambda: self.write(agenda, stored.runs))
        others = partial(self.others, stored.drawn)
        known = *stored.earlier, live.trial_ended, Steered.of(self.acts), others, stored.look_up
        agenda = Agenda(self.study, self.terms, self._decided, *known)
        return agenda, stored.runs

    def demand(self, machines: Machines) -> Demand:
        """Return what the study takes of these machines' memory, now that the images are read."""
        planned, images = self.prepared.planned, self.prepared.known.images
        return memory.demand(self.study.baseline.dataset, planned, images, self.options.seeds, machines)

    def _stage_runs(self) -> dict[str, dict[str, str]]:
        """Return what makes runs children of their stages' own, and have MLflow keep there what the report needs."""
        stages = [stage.name for stage in self.study.all_stages]
        with held():
            parents = stage_runs.parents(self.store, self.study.name, stages, self.say)
            if parents:
                preparing.keep(self.prepared, self.store, parents[stages[0]][PARENT], self.say)
        return parents

    def _decided(self, result: StageResult) -> None:
        self.feed.decided(result)
        shown = report_on(result)
        for table in shown.on_screen(self.prepared.facts({})):
            self.console.print(table.to_rich())
        for line in shown.words(self.terms):
            self.console.print(line, highlight=False)

    def _execute(
        self, agenda: Agenda, runs: dict[str, str], parents: Parents, connection: ExitStack, reins: Reins
    ) -> bool:
        """Run on Ray what the agenda holds, and return whether MLflow has got all of it.

        Stays connected to Ray as long as `connection` lasts. Adds the new trials' MLflow runs to `runs`. Raises Again.
        """
        with busy(self.console, "starting Ray"):
            with held():  # an interrupted import may end as any error, or in half a module
                from sweeps.execution import scheduler, tracker_actor
                from sweeps.reporting.display import Display

            machines = self._machines(connection)
        if agenda.reused:
            self.say(f"{len(agenda.reused)} trials are done already and not run again")
        sharing = planned.sharing(machines, self.options, self.prepared.planned, self.prepared.known.images)
        self.say(f"trials run {sharing.words}")
        self.warn(sharing.warnings, ())
        tracker = tracker_actor.start(self.store.uri, self.study.name, self.spool, self._data_set())
        reins.lease.when_lost = tracker.stop_delivering
        tags = _tags(self.study, sharing)
        claim = Claim(self.study.name, origin.user(), self.options.priority, self.options.share)
        means = scheduler.Means(*self._material, sharing.resources, tags, parents, self.bound, claim)
        self.source.begin(f"trials run {sharing.words}", tags.get("git_commit", ""))
        try:
            with Display(agenda, self.console, self.feed) as display, self._board(display, sharing):
                again = scheduler.execute(agenda, means, tracker, display, reins.helm)
        finally:
            handover = tracker.abandon() if reins.lease.lost else tracker.end(self.say)
            self.warn(handover.left, handover.problems)
            runs.update(handover.runs)
            if not (reins.lease.lost or handover.left):
                self.source.end(agenda.restarts)
        if handover.left:
            return False
        if again:
            raise Again(reins.helm.steered)
        reins.helm.close()
        runs.update(self._runs_of(agenda.tasks.keys() - runs.keys()))
        return True

    def _board(self, display: Display, sharing: Sharing) -> Board:
        from sweeps.reporting.board import Board

        return Board(display, self.folder, f"trials run {sharing.words}", sharing.resources.get("gpu", 0.0))

    def _machines(self, connection: ExitStack) -> Machines:
        """Connect to Ray, have the data there, and return the machines, with their GPUs counted.

        Raises UserError where a host of a cluster has too little memory, or does not see what it is to map.
        """
        with held():
            from sweeps.execution import cluster, hosts

        machines = connection.enter_context(cluster.connect(self.options.machines, self.ray))
        if machines.address and not machines.num_gpus:
            hosts.check_memory(self.demand(machines))
        self.loaded.data.reference()
        return machines

    def _runs_of(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the runs that a Tracker which was killed and started again had delivered before, by key."""
        return {key: trial.run_id for key, trial in self.store.trials(keys).items()}

    @property
    def _material(self) -> tuple[SharedData, Images, Mapping[str, bytes]]:
        """What trials are trained on, and start from."""
        return self.loaded.data, self.prepared.known.images, self.loaded.weights

    def _data_set(self) -> dict[str, str]:
        """Return the data set as MLflow is to have it."""
        known = self.prepared.known
        images = {"training": known.summary.train, "validation": known.summary.val, "test": known.summary.test}
        return origin.data_set(known.summary.name, known.digest, known.image_shape, images)

    def _examined(self, agenda: Agenda) -> dict[str, StoredTrial] | None:
        """Describe the experiment, and return the trials that analyses are to ask: the stages' winners, by key.

        None, with a line, where MLflow has gone away since the last trial.
        """
        try:
            with self.store.readable():
                views.describe(self.store, self.study.name, results.markdown(agenda))
                note_winners(self.store, self.study.name, stage_winners(agenda.results))
                return examining.winners(self.store, agenda) if self.prepared.jobs else {}
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
            from sweeps.execution.answers import Answers
            from sweeps.execution.asking import ask

        kept = Answers(self.store, self.folder, self.say)
        with busy(self.console, "asking the analyses"):
            asked = examining.questions(agenda, self.prepared.jobs, trials)
            return ask(asked, self.loaded.data, kept, self.options.machines, self.ray, fresh=self.options.fresh)

    def _say_the_end(self, agenda: Agenda, delivered: bool) -> None:
        ran, reused = sum(key in agenda.outcomes for key in agenda.tasks), len(agenda.reused)
        self.say(
            f"{ran} trials run, {reused} taken from earlier runs"
            if ran or not agenda.over
            else f"nothing to run: all {reused} trials are done already"
        )
        for key, reasons in agenda.restarts.items():
            self.say(f"started again: {agenda.tasks[key].name}: {'; '.join(reasons)}")
        for outcome in agenda.failed:
            self.say(f"failed: {agenda.tasks[outcome.key].name}: {outcome.reason}")
        self.say(f"report: {self.folder / 'report.html'} · MLflow: {self.store.uri}, experiment {self.study.name}")
        if not delivered:
            self.say(advice(self.spool, self.store.uri))


def _ray_here(machines: Machines) -> AbstractContextManager[None]:
    from sweeps.execution import local_ray

    return local_ray.running(machines.here())


@contextmanager
def _ahead(command: _Command) -> Iterator[None]:
    """Have Ray start on this machine while MLflow is opened, where trials will likely run, as there is no report yet.

    Ended it is here too, wherever it was started.
    """
    machines = command.options.machines
    done = (command.folder / "report.json").exists()
    try:
        if not (machines.address or done or command.demand(machines.here()).warnings):
            with held():
                from sweeps.execution import cluster

            if not cluster.joined():
                command.ray.begin()
        yield
    finally:
        with held():
            command.ray.end()


def _begin_to_end(command: _Command, agenda: Agenda, runs: Mapping[str, str]) -> Callable[[], bytes | None] | None:
    """Have workers prepare for the analyses and export the best model, while this process writes the report."""
    won = stage_winners(agenda.results)
    if not won or command.options.machines.address:
        return None
    with held():
        from sweeps.execution import ending

    program = ending.exporting(command.store, runs[best_of(won).key])
    ending.get_ready(len(command.prepared.jobs))
    return program


def _tags(study: Study, sharing: Sharing) -> dict[str, str]:
    """Return what all of this command's MLflow runs are tagged with."""
    return {"study": study.name, "device": "gpu" if sharing.gpus else "cpu"} | origin.tags()
