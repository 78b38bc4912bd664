"""Carries out what others ask of a study while its trials run (`steer.py`)."""

from __future__ import annotations

import time
from typing import Any

from sweeps import interruption
from sweeps.decisions.acts import Act, point
from sweeps.decisions.agenda import Agenda, called, open_again, searches
from sweeps.decisions.labels import counted
from sweeps.decisions.records import Task
from sweeps.decisions.search_run import SearchRun, ask
from sweeps.execution.dispatcher import Dispatcher
from sweeps.execution.unsaved import Unsaved
from sweeps.tracking.helm import Helm
from trainables.errors import UserError, suggest

PAUSE = 0.2  # seconds between two looks while nothing runs

Done = tuple[str, dict[str, Any]]  # the answer, and what the act has set


class Steering(Unsaved):
    """Takes acts up between two steps of Tune's. What is asked for before has been done before what comes after.

    What changes the plan closes the agenda: `again` tells the command to begin again, with what the helm has by then.
    """

    def __init__(self, dispatcher: Dispatcher, helm: Helm) -> None:
        self.dispatcher, self.helm = dispatcher, helm
        self.paused = self.stopped = self.again = False

    @property
    def agenda(self) -> Agenda:
        """The trials, and what has come of them."""
        return self.dispatcher.agenda

    def heed(self) -> None:
        """Carry out what is newly asked for, and answer."""
        for act in self.helm.asked():
            try:
                answer, effect = getattr(self, f"_{act.what}")(act)
            except UserError as error:
                self.helm.answer(act, f"not done: {error}")
            else:
                self.dispatcher.display.steered(act, answer, goes_on=self.again)
                self.helm.answer(act, answer, effect)

    def wait(self) -> None:
        """Return when a study that is paused goes on, or ends."""
        began = time.monotonic()
        while self.paused and not self.agenda.over:
            interruption.check()
            self.heed()
            if self.dispatcher.bound.reached(0):
                break
            time.sleep(PAUSE)
        self.dispatcher.display.rested(time.monotonic() - began)

    def _stop(self, _: Act) -> Done:
        self._refuse(self.stopped, "it ends already")
        self.stopped, self.paused, self.again = True, False, False
        self.agenda.close()
        return f"{self._under_way()}; the same command goes on from there", {}

    def _pause(self, _: Act) -> Done:
        self._refuse(self.paused, "it is paused already")
        self._refuse(self.agenda.ledger.closed, "it ends, or begins again, already")
        self.paused = True
        self.agenda.close()
        return f"{self._under_way()}; `resume` has it go on", {}

    def _resume(self, _: Act) -> Done:
        self._refuse(not self.paused, "it is not paused")
        self.paused = False
        if self.again:
            return "it begins again, as was asked meanwhile", {}
        open_again(self.agenda)
        return "it goes on", {}

    def _drop(self, act: Act) -> Done:
        task = self._task(act.argument)
        ended = self.dispatcher.drop(task, act.by)
        return f"{task.name} is dropped{'' if ended else ', and ends with its epoch'}", {"dropped": task.key}

    def _add(self, act: Act) -> Done:
        found = [stage for stage, _ in searches(self.agenda)]
        self._refuse(not found, "no search is under way or to come")
        trials = max(stage.trials for stage in found) + act.number
        return self._begin_again(f"{found[0].name} has {counted(trials, 'trial')}", {"trials": trials})

    def _seeds(self, act: Act) -> Done:
        now = max(self.helm.steered.seeds, len(self.agenda.terms.seeds))
        self._refuse(act.number <= now, f"seeds is {act.number}, but must be above {now}, which each trial has")
        return self._begin_again(f"each trial has {counted(act.number, 'seed')}", {"seeds": act.number})

    def _epochs(self, act: Act) -> Done:
        training = self.agenda.study.baseline.training
        now = max(self.helm.steered.epochs, training.epochs)
        self._refuse(act.number <= now, f"epochs is {act.number}, but must be above {now}, which each trial has")
        known = f"the {training.schedule} schedule counts on {now}: `--epochs {act.number}` trains everything anew"
        self._refuse(training.knows_its_end, known)
        return self._begin_again(f"each trial has {counted(act.number, 'epoch')}", {"epochs": act.number})

    def _first(self, act: Act) -> Done:
        run = next((run for _, run in searches(self.agenda) if isinstance(run, SearchRun)), None)
        if run is None:
            raise UserError("no search is under way")
        values = ask(run, point(act.argument))
        return f"{run.stage.name} draws that next", {"stage": run.stage.name, "values": values}

    def _begin_again(self, what: str, effect: dict[str, Any]) -> Done:
        """Have the command plan anew. One that ends, or waits, does so when it goes on."""
        if self.stopped or self.paused:
            self.again = self.again or self.paused
            return f"{what} when it goes on", effect
        self.again = True
        self.agenda.close()
        return f"{what}; {self._under_way()}, and then it begins again with that", effect

    def _under_way(self) -> str:
        running = len(self.agenda.ledger.running)
        if not running:
            return "no trial is under way"
        return f"{counted(running, 'trial')} under way {'ends with its' if running == 1 else 'end with their'} epoch"

    def _task(self, named: str) -> Task:
        """Return the trial of this name, or whose key begins so. Raises UserError."""
        found = called(self.agenda, named)
        if not found:
            near = suggest(named, [task.name for task in self.agenda.tasks.values()])
            raise UserError(f"there is no trial {named!r}{near}")
        self._refuse(len(found) > 1, f"{named!r} is the beginning of {counted(len(found), 'key')}: give more of it")
        return found[0]

    def _refuse(self, cause: bool, why: str) -> None:
        if cause:
            raise UserError(why)
