"""What a search learns from others' trials, without anyone who runs it."""

from dataclasses import replace

import pytest

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.drawing import Drawing
from sweeps.decisions.others import (
    Other,
    for_model,
    in_words,
    learned,
    learns,
    lent,
    lessons,
    shares,
    standing,
    trained_elsewhere,
)
from sweeps.decisions.records import Drawn, Known
from sweeps.decisions.samplers import Sampler
from sweeps.decisions.status import Status
from sweeps.study import Search, Stage, Study
from tests.sweeps.decisions.cluster import BASE, SPACE, Cluster, quality, search
from tests.sweeps.outcomes import history, terms
from trainables.history import History

TERMS = terms()


def point(layers: int, lr: float = 0.01, batch: int = 16) -> dict[str, object]:
    return {"model.conv_layers": layers, "training.lr": lr, "training.batch_size": batch}


def other(values, *scores: float, study="grid", seed=0, status=Status.DONE, reason=None) -> Other:
    curve = History({seed: history(list(scores)).records[0]}) if scores else History({})
    return Other(TERMS.key(BASE.with_values(values)), values, Known(status, curve, "run", reason, study))


def drawing(**how) -> Drawing:
    return Drawing(search(**{"sampler": "tpe"} | how), BASE, TERMS)


def test_successive_halving_among_stored_curves_by_hand():
    # nine epochs: pauses after 1, 2 or 3 (a factor of 3 between 1 and 6), six; the best third go on
    curves = {
        "a": dict.fromkeys(range(1, 10), 0.9),
        "b": {1: 0.8},  # among the best third, but its curve ends there
        "c": dict.fromkeys(range(1, 10), 0.1),  # ran on in a grid, and yet would have been paused at once
        **{f"{n}": {1: 0.2 + n / 100, 2: 0.5} for n in range(3)},
    }
    places = standing(curves, 9)
    assert places == {"a": 2, "b": 1, "c": 1, "0": 1, "1": 1, "2": 1}
    assert standing(curves | {f"x{n}": {1: 0.0} for n in range(4)}, 9)["a"] == 2  # ten: the best three go on to 2
    assert standing({}, 9) == {}


def test_each_trial_is_told_at_its_point_with_the_best_score_so_far_and_below_the_searchs_own_numbers():
    full = other(point(1), *([0.5, 0.4, 0.6] * 3))
    short = other(point(2), 0.3, 0.2, study="mine")
    told = lessons(drawing(), [full, short])
    assert [each.number for each in told.values()] == [-2, -1]
    first, second = told[full.key], told[short.key]
    assert (first.values, first.state, first.objectives) == (full.values, Status.DONE, (0.6,))
    assert [first.scores[epoch] for epoch in (1, 2, 3, 9)] == [0.5, 0.5, 0.6, 0.6]
    assert (second.values, second.state, second.objectives) == (short.values, Status.CENSORED, None)
    assert second.scores == {1: 0.3}  # of two the worse is paused after the first epoch


def test_of_many_trials_some_are_told_evenly_from_the_best_to_the_worst(monkeypatch):
    monkeypatch.setattr("sweeps.decisions.others.MOST", 3)
    many = [other(point(1, lr), *[score] * 9) for lr, score in ((0.01, 0.3), (0.02, 0.1), (0.03, 0.5), (0.04, 0.2))]
    many.append(other(point(1, 0.05), *[0.4] * 9))
    told = lessons(drawing(), many)
    assert [each.objectives for each in told.values()] == [(0.3,), (0.1,), (0.5,)]  # of .5 .4 .3 .2 .1
    assert [each["trials"] for each in learned(many, told)] == [[each.key for each in many[:3]]]
    monkeypatch.setattr("sweeps.decisions.others.MOST", 5)
    assert len(lessons(drawing(), many)) == 5
    monkeypatch.setattr("sweeps.decisions.others.MOST_OF_GP", 2)
    told = lessons(drawing(sampler="gp", rule="none"), many)
    assert [each.objectives for each in told.values()] == [(0.1,), (0.5,)]


def test_what_is_no_lesson_is_left_out():
    search_has = drawing()
    own = search_has.new()
    cases = [
        other(point(1), 0.5, seed=3),  # not the seed that screens
        other(point(2)),  # nothing yet
        replace(other(point(3), 0.5), key="another start's"),
        replace(other(point(1), 0.5), key=own.key, values=own.values),
        other(point(2, batch=32), 0.5, status=Status.FAILED, reason="the disk is full"),  # 0.5 counts
        other(point(3, batch=32), status=Status.FAILED, reason="Diverged: the training loss became nan"),
        other(point(4, batch=32), status=Status.FAILED, reason="the disk is full"),
    ]
    told = lessons(search_has, cases)
    assert [(each.values["model.conv_layers"], each.state) for each in told.values()] == [
        (2, Status.CENSORED),
        (3, Status.FAILED),
    ]
    bounded = drawing(constraint={"parameters": 2000})
    costly, cheap = other(point(1), 0.5), other(point(3), 0.5)
    costs = {each.key: bounded.planned(BASE.with_values(each.values))["parameters"] for each in (costly, cheap)}
    assert costs[cheap.key] < 2000 < costs[costly.key]
    assert list(lessons(bounded, [costly, cheap])) == [cheap.key]


def test_where_the_search_learns_its_draws_follow_from_what_others_found():
    known = [
        other(point(layers, lr, batch), *(quality(BASE.with_values(point(layers, lr, batch)), e) for e in range(1, 10)))
        for layers in (1, 2, 3)
        for lr in (0.001, 0.02, 0.1)
        for batch in (16, 64)
    ]

    def heights(others) -> list[float]:
        agenda = Agenda(Study("s", BASE, (search(sampler="tpe"),)), TERMS, lambda _: None, others=lambda *_: others)
        return [quality(agenda.next().cell.trial, 9) for _ in range(12)]

    alone, taught = heights([]), heights(known)
    assert sum(taught) / 12 > sum(alone) / 12 + 0.015
    assert heights(known) == taught


def test_who_taught_is_a_decision_and_a_sentence():
    agenda = Agenda(
        Study("s", BASE, (search(sampler="tpe"),)),
        TERMS,
        lambda _: None,
        others=lambda *_: [other(point(1), 0.5), other(point(2), 0.5, study="mine"), other(point(3), 0.5)],
    )
    made = agenda.decisions["find"]
    keys = [TERMS.key(BASE.with_values(point(layers))) for layers in (1, 3, 2)]
    assert made == [
        {"decision": "learned", "study": "grid", "trials": keys[:2]},
        {"decision": "learned", "study": "mine", "trials": keys[2:]},
    ]
    more = {"decision": "learned", "study": "mine", "trials": [keys[2], "c"]}  # of a later start: one is new
    [words] = in_words([*made, {"decision": "resumed"}, more])
    assert words == (
        "The sampler also learned from what was stored in its space: 2 trials of grid and 2 trials of mine. These are "
        "not ranked here."
    )
    assert in_words([{"decision": "resumed"}]) == []
    assert learned([other(point(1), 0.5)], {}) == []


@pytest.mark.parametrize(
    ("how", "does"),
    [
        ({"sampler": "tpe"}, True),
        ({"sampler": "cma-es"}, True),
        ({"sampler": "random"}, False),
        ({"sampler": "tpe", "rule": "none", "objectives": ("score", "seconds")}, False),
        ({"sampler": "tpe", "rule": "none", "objectives": ("score", "parameters")}, True),
        ({"sampler": "tpe", "constraint": {"seconds": 5}}, False),
        ({"sampler": "tpe", "constraint": {"parameters": 1e6}}, True),
    ],
)
def test_seconds_of_another_machine_teach_nothing_nor_does_chance_learn(how, does):
    stage = search(**how)
    assert learns(stage) is does
    assert shares(stage) is (does or how["sampler"] == "random")
    assert isinstance(stage, Search)
    agenda = Agenda(Study("s", BASE, (stage,)), TERMS, lambda _: None, others=lambda *_: [other(point(1), 0.5)])
    assert bool(agenda.decisions) is does


def test_the_searchs_own_trials_are_judged_as_without_others():
    stage = search(sampler="tpe", first=(point(1), point(2), point(3), point(4)), trials=4)
    best = [other(point(n, 0.1, 64), 0.99, 0.99) for n in (1, 2, 3, 4)]

    def course(others):
        agenda = Agenda(Study("s", BASE, (stage,)), TERMS, lambda _: None, others=lambda *_: others)
        return [
            (task.cell.label, agenda.goes_on(task.key, 1, quality(task.cell.trial, 1)))
            for task in (agenda.next() for _ in range(4))
        ]

    assert course(best) == course([])
    assert SPACE is stage.space


def test_a_search_after_a_stage_learns_once_that_is_decided_by_where_it_starts():
    asked = []

    def others(stage, start):
        asked.append((stage.name, start.model.kernel))
        return [replace(other(point(1), 0.5), key=TERMS.key(start.with_values(point(1))))]

    stages = (Stage("kernel", {"model.kernel": (3, 5)}), search(sampler="tpe"))
    agenda = Agenda(Study("s", BASE, stages), TERMS, lambda _: None, others=others)
    assert asked == []
    for _ in range(2):
        task = agenda.next()
        agenda.finish(task.key, history([task.cell.trial.model.kernel / 10] * 9))
        agenda.advance()
    assert asked == [("find", 5)]
    assert [each["decision"] for each in agenda.decisions["find"]] == ["learned"]


def test_lent_is_what_of_other_studies_has_run_in_full_or_with_the_screenings_seed_alone():
    def seeds(layers, study="grid", status=Status.DONE, **curves):
        each = other(point(layers), study=study, status=status)
        rows = {int(seed[1:]): history(scores).records[0] for seed, scores in curves.items()}
        return replace(each, known=replace(each.known, history=History(rows)))

    full = [0.5] * 9
    cases = {
        "in full": seeds(1, s0=full),
        "with other seeds": seeds(2, s0=full, s1=[0.4], s2=full),
        "paused": seeds(3, status=Status.CENSORED, s0=[0.5, 0.6]),
        "paused, and to be trained along": seeds(4, status=Status.CENSORED, s0=[0.5], s1=[0.5]),
        "another seed": seeds(4, s1=full),
        "nothing": seeds(4, status=Status.CENSORED),
        "under way": seeds(4, status=Status.RUNNING, s0=full),
        "failed": seeds(4, status=Status.FAILED, s0=full),
        "our own": seeds(4, study="mine", s0=full),
        "nobody knows whose": seeds(4, study="", s0=full),
    }
    taken = [each.key for each in list(cases.values())[:3]]
    assert list(lent(search(), cases.values(), "mine", 9)) == taken
    assert lent(search(constraint={"seconds": 5}), cases.values(), "mine", 9) == {}


def whole(values, epochs=9, seeds=1, study="grid") -> Other:
    """A trial as the test's cluster trains it."""
    scores = [quality(BASE.with_values(values), epoch) for epoch in range(1, epochs + 1)]
    each = other(values, *scores, study=study, status=Status.DONE if epochs == 9 else Status.CENSORED)
    return replace(each, known=replace(each.known, history=history(*[scores] * seeds)))


def test_what_is_drawn_and_was_trained_elsewhere_is_not_trained_again():
    alone = Cluster(search())
    stored = [whole(draw.values) for draw in alone.search.draws.values()]
    beside = Cluster(search(), others=stored)
    assert beside.epochs == 2 * 2 * 9  # the confirmation of two with two fresh seeds; nothing is screened
    assert list(beside.search.draws) == list(alone.search.draws)
    assert beside.result.winner.outcome.key == alone.result.winner.outcome.key
    assert beside.search.confirmed[0].history.seeds == (0, 1, 2)
    assert trained_elsewhere(beside.search.decisions) == 12 * 9
    [words] = in_words(beside.search.decisions)
    assert words == (
        "Taken over from other studies, with 108 epochs that are not counted here: 12 trials of grid. They go on in "
        "runs of their own."
    )
    # those confirmed were run on; of the others the store is to have runs of the study's own
    assert len(beside.agenda.ledger.taken) == 12
    assert len(beside.agenda.reused) == 10
    # with the seeds that confirm there is nothing left to train
    assert Cluster(search(), others=[whole(each.values, seeds=3) for each in stored]).epochs == 0


def test_a_trial_taken_over_half_way_stands_at_its_rung_and_goes_on_from_where_it_was_left(thirds):  # noqa: ARG001
    alone = Cluster(search(4))
    worst, *_, best = sorted(alone.search.draws.values(), key=lambda draw: quality(draw.cell.trial, 1))
    # rungs at 1, 3 and 9: of four the best one runs on to 3, and two are confirmed with two seeds
    assert alone.epochs == 4 + 2 + 36
    beside = Cluster(search(4), others=[whole(worst.values, epochs=2), whole(best.values, epochs=4)])
    assert beside.epochs == 2 + 36
    again = {draw.key: draw for draw in beside.search.draws.values()}
    assert len(again[worst.key].scores) == 2
    assert beside.search.screening.rule.scores[worst.number].keys() == {1}
    assert beside.search.screening.rule.scores[best.number].keys() >= {1, 3}
    assert (again[best.key].taken, again[worst.key].taken) == (4, 2)
    resumed = beside.again(search(4))
    assert resumed.epochs == 0
    # of the best one the first epoch is there, and the two that it runs on for are trained
    assert Cluster(search(4), others=[whole(best.values, epochs=1)]).epochs == 3 + 2 + 36


def test_what_the_search_has_run_on_itself_is_as_its_own_when_it_is_resumed(thirds):  # noqa: ARG001
    values = point(1)
    key = TERMS.key(BASE.with_values(values))
    known = {key: replace(whole(values, epochs=4).known, study="s")}

    def next_of(taken):
        drawn = {"find": [Drawn(key, 0, 0, values, taken=taken)]}
        return Agenda(Study("s", BASE, (search(),)), TERMS, lambda _: None, known, drawn).next().key

    assert next_of(taken=2) == key  # it broke off on its way from 3 to 9
    assert next_of(taken=0) == key
    assert next_of(taken=4) != key  # nobody here has had it run past 3


def test_what_a_grid_of_the_study_goes_on_with_is_not_taken_over():
    values = point(1)
    stored = whole(values)
    study, known = Study("s", BASE, (search(first=(values,)),)), {stored.key: stored.known}
    agenda = Agenda(study, TERMS, lambda _: None, known, others=lambda *_: [stored])
    assert agenda.next().key == stored.key
    assert agenda.ledger.taken == []


def test_the_rule_and_who_chooses_the_candidates_know_of_others(monkeypatch):
    asked = []

    def chosen(*given):
        asked.append(given[-1])
        return given[1][:2]

    monkeypatch.setattr("sweeps.decisions.search_run.candidates", chosen)
    known = [whole(point(1, lr)) for lr in (0.01, 0.02, 0.03)]
    done = Cluster(search(sampler="tpe", rule="freeze-thaw"), others=known)
    assert [each.values["training.lr"] for each in done.search.screening.rule.others] == [0.01, 0.02, 0.03]
    assert [each.values["training.lr"] for each in asked[0]] == [0.01, 0.02, 0.03]


def test_one_of_the_studys_own_is_not_taken_from_elsewhere():
    stored = [whole(draw.values, study="s") for draw in Cluster(search()).search.draws.values()]
    beside = Cluster(search(), others=stored)
    assert (beside.agenda.ledger.taken, trained_elsewhere(beside.search.decisions)) == ([], 0)


def test_what_the_search_has_drawn_itself_is_told_once(monkeypatch):
    values = point(1)
    drawn = drawing(first=(values,))
    drawn.lessons = lessons(drawn, [whole(values), whole(point(2))])
    told, points = [], iter([values, None])
    monkeypatch.setattr(Sampler, "suggest", lambda _, known, *__: told.append(known) or next(points))
    drawn.new()
    drawn.new()
    assert [[each.number for each in known] for known in told] == [[-2, -1], [-1, 0]]


def test_the_model_of_curves_is_told_of_some_evenly_and_of_none_that_the_search_has_drawn(monkeypatch):
    drawn = drawing(first=(point(1, 0.01),))
    known = [whole(point(1, lr)) for lr in (0.01, 0.02, 0.03, 0.04)]
    broken = other(point(2, 0.05), status=Status.FAILED, reason="Diverged: the training loss became nan")
    drawn.lessons = lessons(drawn, [*known, broken])
    assert [told.values["training.lr"] for told in for_model(drawn)] == [0.01, 0.02, 0.03, 0.04]
    drawn.new()
    assert [told.values["training.lr"] for told in for_model(drawn)] == [0.02, 0.03, 0.04]
    monkeypatch.setattr("sweeps.decisions.others.MOST_CURVES", 2)
    assert [told.values["training.lr"] for told in for_model(drawn)] == [0.02, 0.04]
