"""A search run by hand, on made-up curves: neither Ray nor training."""

import json

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.records import Drawn, Known
from sweeps.decisions.status import Status
from sweeps.study import Choice, Real, Search, Space, Study, Whole
from tests.sweeps.outcomes import record, terms
from trainables.config import CNN, Training, Trial
from trainables.history import History

BASE = Trial(model=CNN(conv_layers=2, channels=4, fc_layers=1), training=Training(epochs=9))
SPACE = Space(
    {
        "model.conv_layers": Whole(1, 4),
        "training.lr": Real(1e-3, 0.1, log=True),
        "training.batch_size": Choice((16, 32, 64)),
    }
)


def search(trials=12, **how) -> Search:
    """A search whose best run in full, so that epochs can be counted, unless they are to race."""
    form = {"trials": trials, "sampler": "random", "confirm": 2, "seeds": 2, "race": False}
    return Search("find", SPACE, **form | how)


def quality(trial: Trial, epoch: int) -> float:
    """A curve that rises with the epochs to a height set by the network and its recipe; no two trials are equal."""
    height = 0.3 + 0.1 * trial.model.conv_layers + trial.training.lr + trial.training.batch_size / 1000
    return height * epoch / (epoch + 2) / 2


class Cluster:
    """Runs an agenda by hand on some workers that each take one epoch in turn, as Ray and its store would.

    With `winding_up` a trial that is to pause ends only with its worker's next turn.
    """

    def __init__(
        self,
        stage,
        width=1,
        known=None,
        drawn=None,
        image_shape=(3, 32, 32),
        break_after=10**6,
        failing=None,
        winding_up=False,
        others=(),
    ):
        study = Study("s", BASE, (stage,))
        shared = {each.key: each.known.history for each in others}
        self.agenda = Agenda(
            study, terms(image_shape=image_shape), lambda _: None, known, drawn, others=lambda *_: others
        )
        self.width, self.failing = width, failing
        self.winding_up, self.wound_up = winding_up, set()
        self.store = {key: (found, "") for key, found in shared.items()}
        self.store |= {key: (each.history, each.status) for key, each in (known or {}).items()}
        self.drawn = {each.key: each for each in (drawn or {}).get(stage.name, ())}
        self.epochs = 0
        self.run(break_after)

    def run(self, break_after):
        at_work = []
        while not self.agenda.over:
            while len(at_work) < self.width and (task := self.agenda.next()):
                assert task.key not in {each.key for each, _ in at_work}, "one trial on two workers"
                at_work.append(self.started(task))
            if not at_work:
                assert self.agenda.over, "nothing to run, yet not over"
            for task, so_far in list(at_work):
                if self.epochs >= break_after:  # an epoch of several seeds counts for each
                    return
                if self.step(task, so_far):
                    at_work.remove((task, so_far))

    def started(self, task):
        known = self.store.get(task.key, (History({}), ""))[0]
        if task.tags:
            self.keep_drawn(task)
        so_far = {seed: list(known.records.get(seed, ())) for seed in {*task.seeds, *known.seeds}}
        self.store[task.key] = (known, Status.RUNNING)
        return task, so_far

    def keep_drawn(self, task):
        number, attempt, *more = (int(task.tags.get(name, "0")) for name in ("number", "attempt", "among", "taken"))
        self.drawn[task.key] = Drawn(task.key, number, attempt, json.loads(task.tags["draw"]), *more)

    def step(self, task, so_far) -> bool:
        trial = task.cell.trial
        if task.key in self.wound_up:
            return self.ended(task)
        behind = min(len(so_far[seed]) for seed in task.seeds)
        for seed, records in so_far.items():
            if seed in task.seeds and len(records) == behind:
                records.append(record(quality(trial, behind + 1)))
                self.epochs += 1
        whole = History({seed: tuple(records) for seed, records in so_far.items()})
        self.store[task.key] = (whole, Status.RUNNING)
        reason = self.failing and self.failing(trial)
        full = whole.covers(task.seeds, trial.training.epochs)
        if not reason and not full and self.agenda.goes_on(task.key, behind + 1, quality(trial, behind + 1)):
            return False
        if self.winding_up and not reason and not full:
            self.wound_up.add(task.key)
            return False
        return self.ended(task, reason)

    def ended(self, task, reason=None) -> bool:
        self.wound_up.discard(task.key)
        whole = self.store[task.key][0]
        outcome = self.agenda.finish(task.key, whole, reason=reason)
        self.store[task.key] = (whole, outcome.status)
        self.agenda.advance()
        return True

    def again(self, stage, **how):
        """A new start after this one, with what the store has."""
        for task in self.agenda.ledger.taken:
            if task.key not in self.drawn:
                self.keep_drawn(task)
                self.store[task.key] = (task.history, "censored")
        known = {
            key: Known(status, whole, "run", "Diverged: x" if status == "failed" else None)
            for key, (whole, status) in self.store.items()
        }
        return Cluster(stage, self.width, known, {stage.name: list(self.drawn.values())}, **how)

    @property
    def result(self):
        return self.agenda.results[0]

    @property
    def search(self):
        return self.result.search
