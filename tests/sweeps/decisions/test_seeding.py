from dataclasses import replace

import numpy as np
import pytest

from sweeps.decisions.agenda import Agenda, searches
from sweeps.decisions.ahead import of_study
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import Known
from sweeps.decisions.seeding import CONTESTED, DECIDED, FIRST, Seeding, contested
from sweeps.decisions.status import Status
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import draws, marked, record, terms
from trainables.config import CNN, Training, Trial
from trainables.history import History
from trainables.marks import Marks, Right

BY = Yardstick("accuracy", 2000)
SEEDS = tuple(range(6))
STUDY = Study(
    "s", Trial(model=CNN(conv_layers=1), training=Training(epochs=1)), (Stage("lr", {"training.lr": (0.1, 0.2, 0.3)}),)
)


def trial(label, score, seeds, number=0, status="done"):
    return replace(marked(label, *draws(score, seeds, number=number), status=status), key=label)


def test_trials_that_may_be_best_get_one_more_seed_and_those_behind_none():
    seeding = Seeding(SEEDS, DECIDED)
    outcomes = [trial("a", 0.75, 3), trial("b", 0.75, 3, number=1), trial("c", 0.55, 3, number=2)]
    assert [seeding.of(each.key) for each in outcomes] == [(0, 1, 2)] * 3
    assert seeding.further(outcomes, BY) == ["a", "b"]
    assert [seeding.of(each.key) for each in outcomes] == [(0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2)]


def test_one_that_is_told_to_be_best_ends_it():
    outcomes = [trial("a", 0.75, 3), trial("b", 0.55, 3, number=1), trial("c", 0.56, 3, number=2)]
    assert Seeding(SEEDS, DECIDED).further(outcomes, BY) == []
    rest = Seeding(SEEDS, CONTESTED)  # then come the others' seeds, after those that decide
    assert rest.further(outcomes, BY) == ["a", "b", "c"]


def test_equals_that_are_told_within_a_point_are_one():
    rng = np.random.default_rng(0)
    hard = rng.random(200_000) < 0.9
    seen = [np.where(rng.random(200_000) < 0.002, ~hard, hard) for _ in range(6)]
    outcomes = [replace(marked(name, *seen[at : at + 3]), key=name) for name, at in (("a", 0), ("b", 3))]
    assert contested(outcomes, Yardstick("accuracy", 200_000), None, looks=4) == ()


def test_what_was_stopped_or_failed_gets_no_more_and_nobody_more_than_there_are():
    seeding = Seeding(SEEDS[:4], DECIDED)
    outcomes = [trial("a", 0.75, 3), trial("b", 0.75, 3, number=1)]
    others = [trial("c", 0.75, 3, number=2, status="censored"), trial("d", 0.75, 3, number=3, status="failed")]
    assert seeding.further([*outcomes, *others], BY) == ["a", "b"]
    outcomes = [trial("a", 0.75, 4), trial("b", 0.75, 4, number=1)]
    assert seeding.further([*outcomes, *others], BY) == []


def test_where_nothing_is_told_all_get_the_next():
    plain = [
        replace(each, history=History(each.history.records)) for each in (trial("a", 0.75, 3), trial("b", 0.55, 3))
    ]
    assert Seeding(SEEDS, DECIDED).further(plain, BY) == ["a", "b"]


def test_more_looks_need_a_clearer_lead():
    outcomes = [trial("a", 0.700, 3), trial("b", 0.668, 3, number=1)]
    assert contested(outcomes, BY, None, looks=1) == ()
    assert [each.key for each in contested(outcomes, BY, None, looks=40)] == ["a", "b"]
    assert Seeding(range(FIRST + 1), DECIDED).further(outcomes, BY) == []
    assert Seeding(range(FIRST + 39), DECIDED).further(outcomes, BY) == ["a", "b"]


class Scene:
    """A study of trials of one epoch, whose scores are made up by their learning rate and seed."""

    def __init__(self, how, scores, known=None, seeds=SEEDS, study=STUDY, drawn=None):
        self.scores, self.ran, self.terms = scores, [], replace(terms(seeds, images=2000), seeding=how)
        self.known = dict(known or {})
        self.agenda = Agenda(study, self.terms, lambda _: None, known, drawn)

    def history(self, lr, seeds):
        at = list(self.scores).index(lr)
        rights = draws(self.scores[lr], 6, number=at)
        records = {seed: (record(float(rights[seed].mean())),) for seed in seeds}
        return History(records, {seed: Marks(1, Right.of(rights[seed]), Right.of(rights[seed])) for seed in seeds})

    def run(self, most=100):
        while most and (task := self.agenda.next()):
            most -= 1
            lr = task.cell.trial.training.lr
            self.ran.append((lr, task.seeds))
            seeds = (0, *task.seeds) if task.drawn else task.seeds  # the one that screened it stays
            whole = self.history(lr, seeds)
            outcome = self.agenda.finish(task.key, whole)
            self.known[task.key] = Known(outcome.status, whole, "run")
            self.agenda.advance()
        return self

    @property
    def seeds(self):
        return {each.cell.label: len(each.history.seeds) for each in self.agenda.results[0].outcomes}


UNEQUAL = {0.1: 0.75, 0.2: 0.75, 0.3: 0.55}


def test_a_stage_spends_its_seeds_where_it_is_not_decided_and_is_decided_as_it_stands_then():
    scene = Scene(DECIDED, UNEQUAL).run()
    assert sorted(scene.ran[:3]) == [(lr, (0, 1, 2)) for lr in (0.1, 0.2, 0.3)]
    assert scene.ran[3:5] == [(0.1, (0, 1, 2, 3)), (0.2, (0, 1, 2, 3))]
    assert scene.seeds == {"0.1": 6, "0.2": 6, "0.3": 3}
    assert not scene.agenda.failed
    assert scene.agenda.over


def test_with_a_bound_the_others_get_theirs_at_last():
    scene = Scene(CONTESTED, UNEQUAL).run()
    assert scene.seeds == {"0.1": 6, "0.2": 6, "0.3": 6}
    assert [lr for lr, _ in scene.ran[-3:]] == [0.3] * 3


def test_the_next_command_takes_the_same_way_and_runs_nothing_again():
    scene = Scene(DECIDED, UNEQUAL).run()
    again = Scene(DECIDED, UNEQUAL, scene.known).run()
    assert (again.ran, again.seeds) == ([], scene.seeds)
    labels = {outcome.key: float(outcome.cell.label) for outcome in scene.agenda.results[0].outcomes}
    whole = {key: replace(each, history=scene.history(labels[key], SEEDS)) for key, each in scene.known.items()}
    assert Scene(DECIDED, UNEQUAL, whole).run().seeds == scene.seeds  # more than it asks for changes nothing


@pytest.mark.parametrize("after", range(1, 9))
def test_one_that_broke_off_goes_on_where_it_was(after):
    scene = Scene(DECIDED, UNEQUAL).run(most=after)
    again = Scene(DECIDED, UNEQUAL, scene.known).run()
    whole = Scene(DECIDED, UNEQUAL).run()
    assert again.seeds == whole.seeds == {"0.1": 6, "0.2": 6, "0.3": 3}
    assert sorted(scene.ran + again.ran) == sorted(whole.ran)
    begun = {task.key for task in again.agenda.tasks.values()}
    assert begun.isdisjoint(again.agenda.reused)  # what goes on with one more seed is not taken as it was


def test_a_stage_counts_the_seeds_that_it_has_given_itself():
    rates = (
        Stage("lr", {"training.lr": (0.1, 0.2)}),
        Stage("again", {"training.lr": (0.1, 0.3)}, start=STUDY.baseline),
    )
    scene = Scene(DECIDED, UNEQUAL, study=replace(STUDY, stages=rates)).run()
    first, again = (
        {each.cell.label: len(each.history.seeds) for each in result.outcomes} for result in scene.agenda.results
    )
    assert first == {"0.1": 6, "0.2": 6}
    assert again == {"0.1": 3, "0.3": 3}  # decided with as many


def test_what_is_left_is_at_most_all_seeds_of_those_that_may_get_them():
    scene = Scene(DECIDED, UNEQUAL)
    assert of_study(scene.agenda).work == 3 * 6
    scene.run(most=2)
    scene.agenda.close()
    assert of_study(scene.agenda).work == 6 + 2 * 3
    scene = Scene(DECIDED, UNEQUAL).run(most=3)  # by now two wait for their fourth seed
    assert [len(task.seeds) for task in scene.agenda.ledger.queue] == [4, 4]
    assert of_study(scene.agenda).work == 2 * 3 + 3  # the third may come to be one of them


def test_fewer_seeds_than_all_get_at_first_are_given_at_once():
    scene = Scene(CONTESTED, UNEQUAL, seeds=(0, 1)).run()
    assert [seeds for _, seeds in scene.ran] == [(0, 1)] * 3
    assert scene.terms.seeds_in_words == "2 seeds"
    assert replace(terms(SEEDS), seeding=DECIDED).seeds_in_words == f"{FIRST} to 6 seeds"


@pytest.mark.parametrize("how", [DECIDED, CONTESTED])
def test_a_trial_that_fails_with_a_later_seed_is_failed_and_the_stage_decided_without_it(how):
    scene = Scene(how, UNEQUAL).run(most=3)
    task = scene.agenda.next()
    scene.agenda.finish(task.key, scene.history(task.cell.trial.training.lr, (0, 1, 2)), reason="it broke")
    scene.agenda.advance()
    scene.run()
    [result] = scene.agenda.results
    assert scene.agenda.outcomes[task.key].status == Status.FAILED
    assert result.winner.outcome.key != task.key


FIND = Search(
    "find",
    Space({"training.lr": Choice(tuple(UNEQUAL))}),
    trials=3,
    sampler="grid",
    rule="none",
    confirm=3,
    seeds=3,
)
FOUND = Study("s", STUDY.baseline, (FIND,))


def test_a_search_confirms_without_a_race_with_seeds_that_go_one_by_one_to_those_that_may_be_best():
    """It screens with seed 0; five are left to confirm."""
    scene = Scene(DECIDED, UNEQUAL, seeds=SEEDS[:5], study=FOUND).run()
    assert sorted(scene.ran[:3]) == [(lr, (0,)) for lr in UNEQUAL]
    assert sorted(scene.ran[3:6]) == [(lr, (1, 2, 3)) for lr in UNEQUAL]
    assert [sorted(scene.ran[at : at + 2]) for at in (6, 8)] == [
        [(lr, (1, 2, 3, *more)) for lr in (0.1, 0.2)] for more in ((4,), (4, 5))
    ]
    assert len(scene.ran) == 10
    result = scene.agenda.results[0]
    assert {each.history.seeds for each in result.outcomes[:2]} == {(1, 2, 3, 4, 5)}
    assert result.outcomes[2].history.seeds == (1, 2, 3)
    assert result.winner.outcome is result.outcomes[0]
    assert len(result.winner.contest.compared) == 3


def test_while_a_candidate_runs_no_more_seeds_are_given():
    scene = Scene(DECIDED, UNEQUAL, seeds=SEEDS[:5], study=FOUND).run(most=3)
    tasks = [scene.agenda.next() for _ in range(3)]
    for task in tasks[:2]:
        scene.agenda.finish(task.key, scene.history(task.cell.trial.training.lr, (0, *task.seeds)))
        scene.agenda.advance()
    assert scene.agenda.next() is None
    scene.agenda.finish(tasks[2].key, scene.history(tasks[2].cell.trial.training.lr, (0, *tasks[2].seeds)))
    assert scene.agenda.next().seeds == (1, 2, 3, 4)


def test_a_search_that_is_decided_at_once_gives_no_more_seeds_and_with_a_bound_it_races():
    apart = {0.1: 0.95, 0.2: 0.55, 0.3: 0.5}
    scene = Scene(DECIDED, apart, seeds=SEEDS[:5], study=FOUND).run()
    assert len(scene.ran) == 6
    assert not searches(Scene(DECIDED, apart, study=FOUND).agenda)[0][1].raced
    assert searches(Scene(CONTESTED, apart, study=FOUND).agenda)[0][1].raced
    raced = Scene(CONTESTED, apart, seeds=SEEDS[:5], study=FOUND).run()
    assert raced.ran[3:] == [(lr, (1, 2, 3, 4, 5)) for lr in apart]  # of one epoch there are no laps


@pytest.mark.parametrize("after", range(3, 10))
def test_a_search_that_broke_off_gives_the_same_seeds(after):
    whole = Scene(DECIDED, UNEQUAL, seeds=SEEDS[:5], study=FOUND).run()
    scene = Scene(DECIDED, UNEQUAL, seeds=SEEDS[:5], study=FOUND).run(most=after)
    drawn = {"find": [task.drawn for task in scene.agenda.tasks.values()]}
    again = Scene(DECIDED, UNEQUAL, scene.known, SEEDS[:5], FOUND, drawn).run()
    assert sorted(scene.ran + again.ran) == sorted(whole.ran)
    assert again.agenda.over
