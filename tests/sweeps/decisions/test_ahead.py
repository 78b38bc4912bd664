"""What a search has ahead, by hand: every trial costs one an epoch unless it is said otherwise."""

from dataclasses import replace

import pytest

from sweeps.decisions.agenda import Agenda, searches
from sweeps.decisions.ahead import Ahead, is_screened, of_search, of_study
from sweeps.decisions.records import Known
from sweeps.decisions.status import Status
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import history, terms
from trainables.config import CNN, Training, Trial

BASE = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=4))
RATES = Choice((0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
SPACE = Space({"training.lr": RATES})
FIND = Search("find", SPACE, trials=5, sampler="random", rule="none", confirm=2, seeds=3, race=False)


def one(_: Trial) -> float:
    return 1.0


class Searching:
    """A search whose trials end as a test says."""

    def __init__(self, search=FIND, work=one):
        self.agenda, self.search, self.work = Agenda(Study("s", BASE, (search,)), terms(), lambda _: None), search, work

    @property
    def ahead(self) -> Ahead:
        [(stage, run)] = searches(self.agenda)
        return of_search(stage, run, BASE, self.work)

    def end(self, *replicates, reason=None, seeds=(0,)):
        task = self.agenda.next()
        assert task.seeds == seeds
        found = history(*replicates)
        found = replace(found, records=dict(zip(seeds, found.records.values(), strict=False)))
        self.agenda.finish(task.key, found, reason=reason)
        self.agenda.advance()


def test_before_it_begins_all_are_taken_to_run_in_full():
    before = Agenda(Study("s", BASE, (Stage("lr", {"training.lr": (0.1,)}), FIND)), terms(), lambda _: None)
    [(stage, run)] = searches(before)
    assert run is None
    assert of_search(stage, run, BASE, one) == (5 + 2, 5 * 4 + 2 * 3 * 4, 0)
    assert Searching().ahead == (5 + 2, 5 * 4 + 2 * 3 * 4, 0)


@pytest.mark.parametrize(
    ("several", "of_two"),
    [((), 2 * 1 + 1 * 3), (("parameters",), 2 * 4)],  # after a quarter one of two is let go
)
def test_a_race_is_ahead_only_of_a_search_with_one_objective(several, of_two):
    search = replace(FIND, race=True, objectives=("score", *several))
    assert of_search(search, None, BASE, one) == (5 + 2, 5 * 4 + 3 * of_two, 0)
    assert Searching(search).ahead == (5 + 2, 5 * 4 + 3 * of_two, 0)


def test_what_is_yet_to_be_drawn_takes_as_long_as_what_was():
    searching = Searching()
    searching.end([0.5, 0.6, 0.7, 0.8])
    assert searching.ahead == (4 + 2, 4 * 4 + 24, 0)
    searching.end([0.1, 0.1], reason="Diverged: nan")
    assert searching.ahead == (3 + 2, 3 * (4 + 2) / 2 + 24, 0)


def test_a_trial_under_way_has_the_rest_of_that_ahead():
    searching = Searching()
    searching.end([0.5, 0.6], reason="Diverged: nan")
    running = searching.agenda.next()
    assert searching.ahead == (3 + 2, 3 * 2 + 2 + 24, 0)
    for epoch, rest in ((1, 1), (2, 0), (3, 0)):
        searching.agenda.goes_on(running.key, epoch, 0.5)
        assert searching.ahead == (3 + 2, 3 * 2 + rest + 24, 0)


def with_all(*curve):
    """What a trial has that was screened, and then came so far with the seeds that confirm."""
    return replace(history(), records={0: history([0.5] * 4).records[0], **dict.fromkeys((1, 2, 3), curve_of(*curve))})


def curve_of(*scores):
    return history(scores).records[0]


def confirming(search=FIND, work=one):
    """Return a search that has screened its five trials."""
    searching = Searching(search, work)
    for score in (0.1, 0.2, 0.3, 0.4, 0.5):
        searching.end([score] * 4)
    return searching


def test_then_the_best_run_in_full_with_all_seeds_and_count_once_more():
    searching = confirming()
    assert searching.ahead == (2, 2 * 3 * 4, 0)
    task = searching.agenda.next()
    assert searching.ahead == (1, 2 * 3 * 4, 1)
    searching.agenda.goes_on(task.key, 1, 0.5)
    assert searching.ahead == (1, 3 * (3 + 4), 1)
    searching.agenda.finish(task.key, with_all(*[0.5] * 4))
    searching.agenda.advance()
    assert searching.ahead == (1, 3 * 4, 1)
    searching.agenda.finish(searching.agenda.next().key, with_all(*[0.4] * 4))
    searching.agenda.advance()
    assert searches(searching.agenda) == []


def test_who_leaves_the_race_has_nothing_ahead():
    """Two set out, and one is let go after an epoch."""
    race = replace(FIND, race=True)
    assert Searching(race).ahead == (5 + 2, 5 * 4 + 3 * (2 * 1 + 3), 0)
    searching = confirming(race)
    assert searching.ahead == (2, 3 * (2 * 1 + 3), 0)
    tasks = [searching.agenda.next() for _ in range(2)]
    assert searching.ahead == (0, 3 * (2 * 1 + 3), 2)
    for task, score, left in zip(tasks, (0.5, 0.6), ((0, 3 * (1 + 3), 2), (1, 3 * 3, 1)), strict=True):
        assert not searching.agenda.goes_on(task.key, 1, score)
        searching.agenda.finish(task.key, with_all(score))
        searching.agenda.advance()
        assert searching.ahead == left


def test_more_cannot_be_confirmed_than_are_drawn():
    assert Searching(replace(FIND, trials=1)).ahead == (1 + 1, 4 + 3 * 4, 0)


def test_each_trial_has_the_cost_of_its_network():
    searching = Searching(
        replace(FIND, space=Space({"model.channels": Choice((4, 8, 12))}), trials=3),
        work=lambda trial: float(trial.model.spread("channels")[0]),
    )
    assert searching.ahead.work == 3 * 4 * 4 + 2 * 3 * 4 * 4
    searching.end([0.5] * 4)
    [draw] = searches(searching.agenda)[0][1].draws.values()
    width = draw.cell.trial.model.spread("channels")[0]
    assert searching.ahead.work == pytest.approx(2 * 4 * width + 2 * 3 * 4 * width)


def test_who_is_screened_is_known_by_the_seed():
    assert is_screened((0,))
    assert not is_screened((1,))
    assert not is_screened((0, 1))


def test_of_a_whole_study_it_is_what_waits_what_no_stage_has_begun_and_what_searches_will_draw():
    grid = Stage("lr", {"training.lr": (0.1, 0.2, 0.3)})
    after = Stage("depth", {"model.conv_layers": (0, 1)})
    agenda = Agenda(Study("s", BASE, (grid, after, replace(FIND, start=BASE))), terms((0, 1)), lambda _: None)
    searched = 5 * 4 + 2 * 3 * 4
    # the grid's three, then two depths, each with four epochs and two seeds
    assert of_study(agenda) == (3 + 2 + 7, (3 + 2) * 4 * 2 + searched, 0)
    first, second = agenda.next(), agenda.next()
    agenda.finish(first.key, history([0.5] * 4, [0.5] * 4))
    agenda.close()
    assert not agenda.goes_on(second.key, 1, 0.5)
    agenda.lay_aside(second.key, history([0.5], [0.5]))
    assert of_study(agenda) == (2 + 2 + 7, 3 * 2 + (1 + 2) * 4 * 2 + searched, 0)


def test_the_epochs_that_the_store_has_of_a_trial_are_not_ahead():
    grid = Study("s", BASE, (Stage("lr", {"training.lr": (0.1, 0.2)}),))
    keys = [task.key for task in Agenda(grid, terms((0, 1)), lambda _: None).ledger.queue]
    known = {keys[0]: Known(Status.INTERRUPTED, history([0.5] * 3), "run")}
    assert of_study(Agenda(grid, terms((0, 1)), lambda _: None, known)) == (2, 1 + 4 + 4 + 4, 0)
