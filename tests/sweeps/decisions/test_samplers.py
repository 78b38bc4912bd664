import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from sweeps.decisions.points import Points
from sweeps.decisions.samplers import Sampler
from sweeps.decisions.told import Told
from sweeps.study import Choice, Real, Space, When, Whole
from tests.sweeps.decisions.drawn import SPACE, drawn, mixed, off, told_of
from trainables.errors import UserError

SMALL = Space({"a": Whole(1, 3), "b": Choice(("x", "y"))})
PLANE = Space({"x": Real(-1, 1), "y": Real(-1, 1)})


@pytest.mark.parametrize("name", ["tpe", "random", "cma-es", "nsga2"])
@pytest.mark.parametrize("objectives", [("score",), ("score", "parameters")], ids=len)
def test_a_suggestion_lies_in_the_space_and_is_a_function_of_what_is_told(name, objectives):
    if name == "cma-es" and len(objectives) > 1:
        pytest.skip("it takes one objective only")
    told = mixed(len(objectives))
    suggestions = [Sampler(SPACE, name, objectives).suggest(told, number) for number in (40, 41, 40)]
    assert suggestions[0] == suggestions[2] != suggestions[1]
    assert suggestions[0] != Sampler(SPACE, name, objectives, seed=1).suggest(told, 40)
    for values in suggestions:
        SPACE.flat(values)


@pytest.mark.parametrize("objectives", [("score",), ("score", "seconds")], ids=len)
def test_a_gaussian_process_draws_where_scores_rise_and_fields_with_conditions_at_random(objectives):
    """It takes long: few trials, of few fields. The score is best at x = 0.5."""
    space = Space({"x": Real(0, 1), "kind": Choice(("a", "b")), "size": When({"kind": "b"}, Whole(1, 2))})
    rng = np.random.default_rng(0)
    told = [
        Told(n, point, "done", {}, (-abs(point["x"] - 0.5), 1.0)[: len(objectives)])
        for n, point in enumerate(space.random(rng) for _ in range(12))
    ]
    suggested = Sampler(space, "gp", objectives).suggest(told, 12)
    assert suggested == Sampler(space, "gp", objectives).suggest(told, 12)
    assert abs(suggested["x"] - 0.5) < 0.1
    space.flat(suggested)


def test_a_random_suggestion_depends_on_seed_and_number_alone():
    """So that a search that goes on draws what it would have drawn: by SHA-256, as Python's own hash changes."""
    words = [b"(3, 5, 0)", b"(3, 5, 1)"]
    first, second = (np.random.default_rng(int.from_bytes(hashlib.sha256(word).digest()[:4])) for word in words)
    sampler = Sampler(SPACE, "random", seed=3)
    point = SPACE.random(first)
    assert sampler.suggest([], 5) == sampler.suggest(mixed(), 5) == point
    again = SPACE.random(second)
    assert sampler.suggest(told_of([point]), 5) == again  # it is taken, so that the next attempt counts


def test_the_points_to_try_first_come_first_and_in_order():
    first = ({"a": 2, "b": "y"}, {"a": 1, "b": "x"})
    sampler = Sampler(SMALL, "random", first=first)
    assert [sampler.suggest([], number) for number in (0, 1)] == list(first)
    told = [Told(n, point, "done", {1: 0.5}, (0.5,)) for n, point in enumerate(first)]
    assert sampler.suggest(told, 2) not in first


def test_where_real_numbers_leave_few_points_one_is_drawn_again():
    """Half of all draws leave the real number out, and are then the one point a = 1."""
    space = Space({"a": Choice((1, 1.5)), "x": When({"a": 1.5}, Real(0, 1))})
    told = [Told(0, {"a": 1}, "done", {1: 0.5}, (0.5,))]
    assert all(Sampler(space, "random").suggest(told, number)["a"] == 1.5 for number in range(1, 20))
    only = Space({"a": Choice((1,)), "x": Real(0, 1e-320)})
    values = [{"a": 1, "x": only.fields["x"].at(share)} for share in np.linspace(0, 1, 3000)]
    told = [Told(n, point, "done", {1: 0.5}, (0.5,)) for n, point in enumerate(values)]
    assert Sampler(only, "random").suggest(told, 3000) in values


def test_another_process_suggests_the_same():
    code = (
        "from tests.sweeps.decisions import test_samplers as t; "
        "print([t.Sampler(t.SPACE, name).suggest(t.mixed(), 40) for name in ('tpe', 'nsga2')])"
    )
    own = [Sampler(SPACE, name).suggest(mixed(), 40) for name in ("tpe", "nsga2")]
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (other.stdout.strip(), other.stderr) == (str(own), "")


@pytest.mark.parametrize("state", ["done", "censored"])
def test_tpe_learns_from_trials_that_are_done_and_from_paused_ones(state):
    told = told_of(drawn(60), state)
    near = [off(Sampler(SPACE, "tpe").suggest(told, number)) for number in range(60, 80)]
    assert np.median(near) < 0.5  # at random it is 1


def test_tpe_takes_paused_trials_for_good_that_came_furthest_then_those_of_the_better_score():
    points = drawn(60)
    worst = sorted(points, key=off, reverse=True)[:6]  # a tenth
    told = [
        Told(n, point, "censored", {1: -off(point)} | ({3: -off(point)} if point in worst else {}))
        for n, point in enumerate(points)
    ]
    far = [off(Sampler(SPACE, "tpe").suggest(told, number)) for number in range(60, 80)]
    assert np.median(far) > 1.5


@pytest.mark.parametrize("name", ["tpe", "cma-es"])
def test_a_running_trial_stands_where_it_last_passed_others_that_paused(name):
    first, *rest = drawn(30)
    others = [Told(n, point, "censored", {1: -off(point), 3: -off(point)}) for n, point in enumerate(rest, start=1)]

    def after(state, scores):
        return Sampler(SPACE, name).suggest([Told(0, first, state, scores), *others], 30)

    assert after("running", {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8}) == after("censored", {1: 0.5, 2: 0.6, 3: 0.7})
    assert after("running", {1: 0.5, 2: 0.6}) == after("running", {})


def test_cma_es_learns_nothing_from_a_trial_that_has_passed_no_rung():
    first, *rest = drawn(30)
    others = [Told(n, point, "censored", {3: -off(point)}) for n, point in enumerate(rest, start=1)]
    without = Sampler(SPACE, "cma-es").suggest(others, 30)
    for scores in ({}, {1: 0.5}):
        assert Sampler(SPACE, "cma-es").suggest([Told(0, first, "running", scores), *others], 30) == without
    assert Sampler(SPACE, "cma-es").suggest([Told(0, first, "failed", {3: 0.5}), *others], 30) == without


def test_cma_es_ranks_by_done_or_paused_then_by_how_far_they_came_then_by_the_score_there():
    """A generation in two dimensions is 6 trials. By hand the order is 4, 0, 3, 2, 1, 5."""
    points = [PLANE.random(rng) for rng in map(np.random.default_rng, range(6))]
    ends = [
        ("done", {1: 0.1, 3: 0.1}),
        ("censored", {1: 0.9}),
        ("censored", {1: 0.2, 3: 0.3}),
        ("censored", {1: 0.1, 3: 0.4}),
        ("done", {3: 0.2}),
        ("censored", {1: 0.5}),
    ]
    told = [Told(n, point, state, scores) for n, (point, (state, scores)) in enumerate(zip(points, ends, strict=True))]

    def in_order(order):
        ranked = [Told(n, points[n], "done", {1: -place / 10}) for place, n in enumerate(order)]
        return Sampler(PLANE, "cma-es").suggest(ranked, 6)

    suggested = Sampler(PLANE, "cma-es").suggest(told, 6)
    assert suggested == in_order([4, 0, 3, 2, 1, 5])
    assert suggested != in_order([0, 4, 3, 2, 1, 5])
    assert suggested != Sampler(PLANE, "cma-es").suggest(told[:5], 6)  # a generation that is not whole teaches nothing


def test_what_runs_side_by_side_is_kept_apart():
    told = told_of(drawn(40))
    one = Sampler(SPACE, "tpe").suggest(told, 40)
    crowd = [Told(40 + n, one, "running", {}) for n in range(20)]
    lone = [Sampler(SPACE, "tpe").suggest(told, number) for number in range(60, 80)]
    beside = [Sampler(SPACE, "tpe").suggest([*told, *crowd], number) for number in range(60, 80)]

    def distance(points):
        return np.mean([abs(math.log(point["training.lr"] / one["training.lr"])) for point in points])

    assert distance(beside) > distance(lone)


@pytest.mark.parametrize("name", ["grid", "random", "tpe", "nsga2", "cma-es"])
def test_every_point_of_a_small_space_is_drawn_once_and_then_none(name):
    told = []
    while (values := Sampler(SMALL, name, first=({"a": 2, "b": "y"},)).suggest(told, len(told))) is not None:
        told.append(Told(len(told), values, "done", {1: values["a"]}, (values["a"],)))
    points = [tuple(trial.values.values()) for trial in told]
    assert points[0] == (2, "y")
    assert sorted(points) == [(a, b) for a in (1, 2, 3) for b in "xy"]
    if name == "grid":
        assert points[1:] == [(a, b) for a in (1, 2, 3) for b in "xy" if (a, b) != (2, "y")]


def test_nsga2_crosses_the_parents_once_a_generation_is_done():
    points = [point | {"training.lr": 0.5 if n % 2 else 0.25} for n, point in enumerate(drawn(16))]
    rates = [Sampler(SPACE, "nsga2").suggest(told_of(points), number)["training.lr"] for number in range(16, 36)]
    assert sum(rate in (0.25, 0.5) for rate in rates) > 12  # the others mutated
    early = [Sampler(SPACE, "nsga2").suggest(told_of(points[:15]), number)["training.lr"] for number in range(16, 36)]
    assert not {0.25, 0.5} & set(early)


def test_cma_es_finds_the_middle_of_a_bowl():
    """The best of 120 random points is 0.1 away: a circle of that radius has a 120th of the square."""
    told = []
    for number in range(120):
        point = Sampler(PLANE, "cma-es").suggest(told, number)
        score = -math.hypot(point["x"] - 0.3, point["y"] + 0.5)
        told.append(Told(number, point, "done", {1: score}, (score,)))
    assert max(trial.objectives[0] for trial in told) > -0.02


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Sampler(SMALL, "tpo"), "there is no sampler 'tpo'; did you mean 'tpe'[?]"),
        (lambda: Sampler(SMALL, "tpe", ("scores",)), "there is no objective 'scores'; did you mean 'score'[?]"),
        (lambda: Sampler(SMALL, "tpe", ("seconds",)),
         "the objectives are seconds, but must all differ and include score"),
        (lambda: Sampler(SMALL, "tpe", ("score", "score")),
         "the objectives are score, score, but must all differ and include score"),
        (lambda: Sampler(SMALL, "tpe", ()), "the objectives are none, but must all differ and include score"),
        (lambda: Sampler(SMALL, "cma-es", ("score", "seconds")),
         "sampler cma-es takes one objective only; these take several: tpe, random, gp, nsga2, grid"),
        (lambda: Sampler(Space({"b": Choice(("x", "y"))}), "cma-es"),
         "sampler cma-es needs a field that every trial draws from a Whole or a Real, but the search space has none"),
        (lambda: Sampler(PLANE, "grid"),
         "x is a real number, so there are infinitely many points; for a grid, use a Choice"),
        (lambda: Sampler(SMALL, "tpe", first=({"a": 4, "b": "x"},)), "a is 4, but must be 1..3"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_in_one_line(build, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        build()


def test_where_a_sampler_suggests_what_is_not_allowed_the_point_is_near_to_that():
    """Of 100 random points 30 are allowed, and those are 0.6 away on average."""
    space = Space({"x": Real(0, 1), "n": Whole(0, 100), "kind": Choice(tuple("abcdefghij"))})
    wanted = {"x": 0.5, "n": 50, "kind": "c"}
    points = Points(space, allowed=lambda values: values["x"] > 0.7)
    found = [Sampler(space, "random")._near(wanted, number, points) for number in range(20)]
    assert all(0.7 < each["x"] < 0.9 for each in found)
    assert all(abs(each["n"] - 50) < 40 for each in found)
    assert sum(each["kind"] == "c" for each in found) > 10
    assert found[3] == Sampler(space, "random")._near(wanted, 3, points)
    assert len({each["x"] for each in found}) == 20


def test_where_hardly_anything_is_allowed_the_points_of_a_small_space_are_gone_through():
    space = Space({"n": Whole(1, 5000)})
    points = Points(space, allowed=lambda values: values["n"] == 4321)
    sampler = Sampler(space, "random")
    assert sampler.suggest([], 0, points) == {"n": 4321}
    points.add({"n": 4321})
    assert sampler.suggest([], 1, points) is None
    wide = Space({"n": Whole(1, 10**6)})
    assert Sampler(wide, "random").suggest([], 0, Points(wide, allowed=lambda values: values["n"] == 345_678)) is None
    line = Space({"x": Real(0, 1)})
    assert Sampler(line, "random").suggest([], 0, Points(line, allowed=lambda _: False)) is None
