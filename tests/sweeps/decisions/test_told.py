import numpy as np
import pytest

from sweeps.decisions.told import Told, check_objectives, pareto, standing
from trainables.errors import UserError


def test_the_pareto_front_is_what_none_beats():
    rng = np.random.default_rng(0)
    values = [(float(score), float(size)) for score, size in rng.integers(0, 12, (60, 2))]  # with ties
    told = [Told(n, {"a": 1, "b": "x"}, "done", {}, pair) for n, pair in enumerate(values)]
    told.append(Told(60, {"a": 1, "b": "x"}, "censored", {1: 99.0}))
    by_hand = {(s, p) for s, p in values if not any(s2 >= s and p2 <= p and (s2, p2) != (s, p) for s2, p2 in values)}
    front = [trial.objectives for trial in pareto(told, ("score", "parameters"))]
    assert set(front) == by_hand
    assert front == sorted(front, key=lambda pair: -pair[0])
    assert pareto(told, ("score", "seconds"))[0].objectives[0] == max(score for score, _ in by_hand)


def told(number=0, state="censored", scores=None, beyond=None):
    return Told(number, {"a": 1}, state, scores or {}, beyond=beyond or {})


def test_how_far_a_trial_is_beyond_its_bounds_is_added_up_and_what_is_within_counts_nothing():
    assert told().violation == 0
    assert told(beyond={"seconds": -3.0, "flops": 0.0}).violation == 0
    assert told(beyond={"seconds": 0.5, "flops": -2.0, "parameters": 0.25}).violation == 0.75


def test_trials_are_ranked_by_their_bounds_then_by_how_far_they_came_then_by_the_score_there():
    best_first = [
        told(0, "done", {1: 0.1, 3: 0.2}),
        told(1, "done", {3: 0.1}),
        told(2, "censored", {1: 0.1, 2: 0.9}),
        told(3, "censored", {1: 0.8}, {"seconds": -1.0}),
        told(4, "censored", {}),
        told(5, "done", {3: 0.99}, {"seconds": 0.1}),
        told(6, "done", {3: 0.99}, {"seconds": 0.2}),
    ]
    ranked = sorted([*best_first[3:], *best_first[:3]], key=lambda trial: trial.merit, reverse=True)
    assert [trial.number for trial in ranked] == list(range(7))


def test_one_that_runs_stands_where_it_last_passed_others_that_paused():
    paused, running = told(1, "censored", {1: 0.1, 3: 0.3}), told(0, "running", {1: 0.5, 2: 0.5, 3: 0.6, 4: 0.7})
    assert standing([paused, running]) == [told(0, "censored", {1: 0.5, 2: 0.5, 3: 0.6}), paused]
    early = told(2, "running", {1: 0.5, 2: 0.5})
    assert standing([early, paused]) == [paused, early]


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (("scores",), "there is no objective 'scores'; did you mean 'score'?"),
        (("seconds",), "the objectives are seconds, but must all differ and include score"),
        (("score", "score"), "the objectives are score, score, but must all differ and include score"),
        ((), "the objectives are none, but must all differ and include score"),
    ],
)
def test_objectives_that_make_no_sense_are_refused_in_one_line(objectives, message):
    with pytest.raises(UserError) as refused:
        check_objectives(objectives)
    assert str(refused.value) == message
    check_objectives(("score", "parameters", "seconds"))
