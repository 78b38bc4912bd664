"""What is to be run next: the study's stages unrolled, as winners become known, into trials that nobody has finished.

Pure. Stages that do not wait for one another are open side by side, so that no worker idles at a stage's end. A search
is open by itself: it may draw a trial of another stage, and would pause it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from sweeps.decisions.acts import Steered
from sweeps.decisions.certainty import margin
from sweeps.decisions.following import hindrance
from sweeps.decisions.grid_run import GridRun
from sweeps.decisions.ledger import Ledger, Waiting
from sweeps.decisions.opening import Opening, opening
from sweeps.decisions.others import Other
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import Decision, Drawn, Known, OnStage, StageResult, Task, Terms
from sweeps.decisions.scatter import spread
from sweeps.decisions.search_run import SearchRun, ends_used_up, share
from sweeps.decisions.search_run import tasks as drawn
from sweeps.decisions.stage_run import StageRun
from sweeps.decisions.stages import AnyStage, Search, Stage
from sweeps.decisions.status import Status
from sweeps.decisions.study import Study
from sweeps.decisions.urgency import Urgency
from trainables.config import Trial
from trainables.errors import UserError
from trainables.history import History

LookUp = Callable[[Collection[str]], Mapping[str, Known]]  # of trials, by key
Others = Callable[[Search, Trial], Sequence[Other]]  # of a search, and where it starts
SHORTEST = 4  # characters of a key that name a trial
OTHERS = 100  # trials that are asked how seeds scatter


class Agenda:
    """The trials of a study, and what has come of them. The ones with the longest way behind them come first.

    `known` is what the store has of trials by key; `drawn` is what earlier runs of its searches drew, `decided` what
    earlier runs decided, and `others` tells what a search from a start may learn from besides; `steered` is what was
    asked of them. `on_stage` is called once for each stage as it is decided, `on_end` as trials end. `look_up` tells
    what the store has of more trials: of stages that follow a search nobody knows them beforehand.
    """

    def __init__(
        self,
        study: Study,
        terms: Terms,
        on_stage: OnStage,
        known: Mapping[str, Known] | None = None,
        drawn: Mapping[str, Sequence[Drawn]] | None = None,
        decided: Mapping[str, Sequence[Decision]] | None = None,
        on_end: Callable[[], None] | None = None,
        steered: Steered | None = None,
        others: Others = lambda *_: (),
        look_up: LookUp = lambda _: {},
    ) -> None:
        self.study, self.terms, self._steered = study, terms, steered or Steered()
        self.ledger = Ledger(terms, dict(known or {}), dropped=dict(self._steered.dropped))
        self.urgency = Urgency(study, terms)
        self._on_stage, self._drawn, self._decided, self._others = on_stage, drawn or {}, decided or {}, others
        self._runs: dict[str, StageRun] = {}  # the stages that are or were open, by name, in the order of opening
        self._results: dict[str, StageResult] = {}  # of the decided ones
        self._foreseen: tuple[tuple[int, ...], list[Trial]] = (), []  # see to_come(): when that was, by what was there
        self._on_end, self._news, self._look_up = on_end, False, look_up  # news: since on_end was called
        self.advance()

    def next(self, *, alone: bool = False) -> Task | None:
        """Return the next trial to run; None where nothing is ready before a running one ends.

        A search draws it only now, knowing all that has been told so far. `alone`: one that needs a GPU to itself.
        """
        if self.ledger.closed:
            return None
        task = self.ledger.pop(alone=alone)
        if not (task or alone):
            task = next(filter(None, (run.next() for run in self._under_way())), None)
        if task:
            self.ledger.running.add(task.key)
        elif not alone:
            self.advance()  # a search that finds nothing more to draw is over
        return task

    def close(self) -> None:
        """Give nothing more out. What is under way ends with its epoch, and waits for another command."""
        self.ledger.closed = True

    def ready(self, *, alone: bool = False) -> int:
        """Return how many trials next() could give out now, one after another; a search may turn out to have fewer."""
        if self.ledger.closed:
            return 0
        if alone:
            return len(self.ledger.alone)
        return len(self.ledger.queue) + sum(run.ready() for run in self._under_way())

    @property
    def over(self) -> bool:
        """Whether every stage is decided."""
        return len(self._results) == len(self.study.all_stages)

    @property
    def at_rest(self) -> bool:
        """Whether nothing more is to be run now: it is over, or closed and nothing is under way."""
        return self.over or (self.ledger.closed and not self.ledger.running)

    @property
    def results(self) -> list[StageResult]:
        """The decided stages, in the study's order."""
        return [self._results[stage.name] for stage in self.study.all_stages if stage.name in self._results]

    @property
    def decisions(self) -> dict[str, Sequence[Decision]]:
        """What stages that are or were open have decided, those of earlier runs first, by stage."""
        return {name: run.decisions for name, run in self._runs.items() if run.decisions}

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The trials that were given out, or are to be, by key."""
        return self.ledger.tasks

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """What trials came to, by key."""
        return self.ledger.outcomes

    @property
    def restarts(self) -> Mapping[str, Sequence[str]]:
        """Why trials were started again, by key."""
        return self.ledger.restarts

    @property
    def reused(self) -> Sequence[str]:
        """The keys of the trials that the store had, and that were not run on."""
        found = dict.fromkeys(self.ledger.reused)  # a search's winner may be a grid's trial too
        return [key for key in found if key not in self.ledger.tasks]

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes that make the study fail, each once."""
        failed = (outcome for outcome in self.outcomes.values() if outcome.status == Status.FAILED)
        return [outcome for outcome in failed if self._run_of(outcome.key).blames(outcome)]

    def finish(self, key: str, history: History, *, reason: str | None = None) -> Outcome:
        """Note how a trial ended: failed where there is a `reason`, done where it ran in full, else censored.

        Then comes advance().
        """
        task = self.tasks[key]
        self.ledger.running.discard(key)
        outcome = self.ledger.outcome(task.cell, key, history, task.seeds, reason)
        self.ledger.note(outcome)
        self._run_of(key).ended(key, history, outcome.reason)
        self.urgency.learn(task.cell.trial, history)
        self._news = True
        return outcome

    def may_be_stopped(self, key: str) -> bool:
        """Tell whether Ray's ASHA may stop the trial; else its stage decides."""
        return self.terms.early_stopping and not self._run_of(key).judges

    def waits(self, key: str) -> bool:
        """Tell whether a trial that was not to go on for now is to do so later."""
        return key not in self.ledger.dropped and (key in self.ledger.cut or self._run_of(key).waits(key))

    def lay_aside(self, key: str, history: History) -> None:
        """Keep a trial that waits until next() gives it out again, or let_go() ends it."""
        self.ledger.running.discard(key)
        self.ledger.waiting[key] = Waiting(self.tasks[key], history)
        if not self.ledger.closed:
            open_again(self)  # it was, while this trial came to the end of its epoch

    def let_go(self) -> list[str]:
        """End the trials that wait and are not to run on after all; return their keys. Then comes advance()."""
        gone = [key for run in self._under_way() for key in run.let_go()]
        for key in gone:
            self.finish(key, self.ledger.waiting.pop(key).history)
        return gone

    def goes_on(self, key: str, epoch: int, score: float) -> bool:
        """Tell the stage its trial's validation score after an epoch; return whether that runs on.

        It may be called again for the same epoch.
        """
        goes_on = self._run_of(key).goes_on(key, epoch, score)
        return goes_on and not self.ledger.cuts(key, epoch)

    def put_back(self, key: str, *, alone: bool = False) -> None:
        """Put a trial that was under way at the head of the queue; it goes on from its last snapshot."""
        self.ledger.running.discard(key)
        task = self.ledger.tasks[key] = replace(self.tasks[key], alone=alone or self.tasks[key].alone)
        (self.ledger.alone if task.alone else self.ledger.queue).insert(0, task)

    def advance(self) -> None:
        """Open every stage whose start is known and decide every stage whose trials have ended, until nothing moves."""
        while any([self._open_next(), self._decide_next()]):
            pass
        if self._news and self._on_end:
            self._news = False
            self._on_end()

    def _run_of(self, key: str) -> StageRun:
        return self._runs[self.tasks[key].stage]

    def _under_way(self) -> list[StageRun]:
        return [run for name, run in self._runs.items() if name not in self._results]

    def _open_next(self) -> bool:
        for stage in self.study.all_stages:
            if stage.name in self._runs or stage.name in self._results or self._must_wait(stage):
                continue
            found = opening(stage, self.study, self._results, self.terms)
            if isinstance(found, StageResult):
                self._decide(found)
            elif found:
                self._runs[stage.name] = _begin(self, found)
            else:
                continue
            return True
        return False

    def _must_wait(self, stage: AnyStage) -> bool:
        """Tell whether a stage may not be open beside those that are, as one of them is a search."""
        under_way = (each for each in self.study.stages if each.name in self._runs and each.name not in self._results)
        return any(stage.open_ended or each.open_ended for each in under_way)

    def _decide_next(self) -> bool:
        for name, run in self._runs.items():
            if name not in self._results and (result := run.result()):
                self._decide(result)
                return True
        return False

    def _decide(self, result: StageResult) -> None:
        self._results[result.stage.name] = result
        self._on_stage(result)


def take_as_it_stands(agenda: Agenda) -> None:
    """Take what earlier runs have come to, where nothing is to be run: trials that failed have ended, and so have
    searches whose space is used up.
    """
    ledger = agenda.ledger
    while any(ends_used_up(run) for run in agenda._under_way() if isinstance(run, SearchRun)):
        agenda.advance()
    while failed := [task for task in ledger.queue if task.known and task.known.status == Status.FAILED]:
        for task in failed:
            ledger.queue.remove(task)
            known = ledger.known[task.key]
            agenda.finish(task.key, known.history, reason=known.reason or "unknown")
        agenda.advance()


def open_again(agenda: Agenda) -> None:
    """Give trials out again after close(), first those that were under way."""
    ledger = agenda.ledger
    ledger.closed = False
    for key in [key for key in ledger.cut if key in ledger.waiting]:
        ledger.cut.discard(key)
        del ledger.waiting[key]
        agenda.put_back(key)


def called(agenda: Agenda, name: str) -> list[Task]:
    """Return the trials of this name, or whose key begins so; of searches also those that earlier runs drew."""
    searched = (task for run in agenda._runs.values() if isinstance(run, SearchRun) for task in drawn(run))
    known = {task.key: task for task in searched} | dict(agenda.tasks)
    is_key = len(name) >= SHORTEST
    return [task for task in known.values() if name == task.name or (is_key and task.key.startswith(name))]


def drop(agenda: Agenda, task: Task, why: str) -> Outcome | None:
    """Have a trial run no more, and never be ranked. Return what it has come to; None where it is under way, and ends
    with its epoch.

    Raises UserError where it has ended already. One that a search may still run on, or confirm, has not.
    """
    ledger, key = agenda.ledger, task.key
    before, waiting = ledger.outcomes.get(key), ledger.waiting.get(key)
    if key in ledger.dropped or task.stage in agenda._results or (before and not task.drawn):
        raise UserError(f"{task.name} {'is dropped' if key in ledger.dropped else 'has ended'} already")
    ledger.dropped[key] = why
    if key in ledger.running:
        return None
    ledger.take_out(key)
    ledger.tasks.setdefault(key, task)
    reached = waiting or before or task.known
    outcome = agenda.finish(key, reached.history if reached else History({}))
    agenda.advance()
    return outcome


def threads(agenda: Agenda, after: int) -> int:
    """Return how many threads the trial takes that next() would give out after so many others; one that is not known
    yet is taken to be as the baseline.
    """
    queue = agenda.ledger.queue
    trial = queue[after].cell.trial if after < len(queue) else agenda.study.baseline
    return trial.training.threads


def searches(agenda: Agenda) -> list[tuple[Search, StageRun | None]]:
    """Return the searches that are not decided, each with its course where it has begun."""
    found = (stage for stage in agenda.study.stages if isinstance(stage, Search))
    return [(each, agenda._runs.get(each.name)) for each in found if each.name not in agenda._results]


def to_come(agenda: Agenda) -> list[Trial]:
    """Return the trials of stages that are not open yet, from the baseline, each once; without those that searches will
    draw. It is the same list as long as it is so.
    """
    now = len(agenda.tasks), len(agenda._runs), len(agenda._results)
    if now != agenda._foreseen[0]:
        found: dict[str, Trial] = {}
        for stage in agenda.study.all_stages:
            if stage.name not in agenda._runs and stage.name not in agenda._results:
                found |= agenda.urgency.foreseen[stage.name]
        there = (trial for key, trial in found.items() if not (key in agenda.tasks or key in agenda.outcomes))
        agenda._foreseen = now, list(there)
    return agenda._foreseen[1]


def certainty(agenda: Agenda, outcome: Outcome) -> float | None:
    """Return half the width of the 95 % interval of a trial's validation score, 0..1; None where it has one seed, or
    what it makes of each image was not kept.

    How much seeds scatter is told by the study's other trials with several seeds too, up to OTHERS of them.
    """
    by, own = agenda.terms.yardstick, agenda.terms.yardstick.sample(outcome, "val")
    if own is None or len(own) < 2:
        return None
    several = (each for key, each in agenda.outcomes.items() if key != outcome.key and len(each.history.seeds) > 1)
    full = itertools.islice((each for each in several if each.status == Status.DONE), OTHERS)
    samples = (by.sample(each, "val") for each in full)
    return margin(own, [spread(sample) for sample in samples if sample is not None])


def open_stages(agenda: Agenda) -> list[str]:
    """Return the names of the stages that are under way. Another thread may ask."""
    return [name for name in list(agenda._runs) if name not in agenda._results]


def under_way(agenda: Agenda) -> list[StageResult]:
    """Return what the open stages have come to so far, in the study's order: trials that have ended, and no winner."""
    so_far = [run.so_far() for run in agenda._under_way()]
    order = [stage.name for stage in agenda.study.all_stages]
    return sorted(so_far, key=lambda result: order.index(result.stage.name))


def _begin(agenda: Agenda, found: Opening) -> StageRun:
    """Open a stage."""
    stage, decided = found.stage, agenda._decided.get(found.stage.name, ())
    if isinstance(stage, Search):
        asked, earlier = agenda._steered.first.get(stage.name, ()), agenda._drawn.get(stage.name, ())
        search = SearchRun(stage, found.start, agenda.ledger, earlier, decided, asked, _hinders(agenda, stage))
        share(search, agenda._others(stage, found.start), agenda.study.name)
        return search
    if isinstance(stage, Stage) and not agenda.study.is_foreseeable(stage):
        keys = {agenda.terms.key(cell.trial) for cell in stage.cells(found.start)}
        agenda.ledger.known |= agenda._look_up(keys - agenda.ledger.known.keys() - agenda.ledger.tasks.keys())
    run = GridRun(stage, found.start, agenda.ledger, found.before, decided)
    agenda.urgency.opened(stage.name, run.cells, agenda.ledger)
    return run


def _hinders(agenda: Agenda, search: Search) -> Callable[[Trial], str | None]:
    """Return what says whether all that follows a search can be built from a trial; it is asked for one repeatedly."""
    shape, classes = agenda.terms.image_shape, agenda.terms.classes
    return functools.cache(lambda trial: hindrance(agenda.study, search, trial, shape, classes))
