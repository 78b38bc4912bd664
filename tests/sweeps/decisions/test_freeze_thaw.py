"""Freeze-thaw: what it must run on, its budget, and that its decisions are of its state alone."""

import math
import random

import numpy as np
import pytest
import torch

from sweeps.decisions import freeze_thaw
from sweeps.decisions.forecast import Forecast
from sweeps.decisions.freeze_thaw import FreezeThaw, halving, proposals, steps
from sweeps.decisions.rules import make, resume
from sweeps.decisions.status import Status
from sweeps.decisions.told import Told
from sweeps.study import Choice, Real, Space, When, Whole

LINE = Space({"x": Real(0, 1)})
MIXED = Space(
    {
        "layers": Whole(1, 4),
        "pooling": Choice(("max", "none")),
        "stride": When({"pooling": "none"}, Choice((2, 3))),
        "lr": Real(1e-3, 0.3, log=True),
    }
)


def slow(epoch: int) -> float:
    """A curve that begins as the worst and ends as the best."""
    return 0.9 - 0.7 * math.exp(-(epoch - 1) / 3)


def fast(epoch: int) -> float:
    return 0.55 - 0.05 * math.exp(-(epoch - 1) / 3)


def reached(curve, last: int) -> dict[int, float]:
    return {epoch: curve(epoch) for epoch in range(1, last + 1)}


def crossing() -> tuple[dict[int, dict[int, float]], dict[int, dict]]:
    """Near x = 0 curves are slow, near 1 fast; two of each were run in full, and two of each for an epoch."""
    x = [0.05, 0.1, 0.9, 0.95, 0.07, 0.12, 0.93, 0.88]
    curves = [slow, slow, fast, fast, slow, slow, fast, fast]
    scores = {n: reached(curve, 15 if n < 4 else 1) for n, curve in enumerate(curves)}
    return scores, {n: {"x": place} for n, place in enumerate(x)}


def test_trials_may_pause_after_steps_that_grow_by_half():
    assert steps(15) == (1, 2, 3, 5, 8, 12, 15)
    assert steps(1) == (1,)
    assert steps(2) == (1, 2)
    assert steps(30) == (1, 2, 3, 5, 8, 12, 18, 27, 30)


def test_the_budget_is_what_successive_halving_takes():
    """64 at epoch 1, 21 to epoch 4, 7 to epoch 15; of 3 trials one goes from 1 to 3; one trial runs for an epoch."""
    assert halving(15, 64) == 64 + 21 * 3 + 7 * 11
    assert halving(3, 3) == 3 + 2
    assert halving(9, 1) == 1


def test_it_runs_on_the_trial_whose_like_came_up_late_though_it_is_the_worst_by_now():
    scores, points = crossing()
    assert max((n for n in range(4, 8)), key=lambda n: scores[n][1]) in (6, 7)  # as every other rule has it
    rule = FreezeThaw(15, 40, LINE)
    rule.no_more()
    rule.budget = 1000
    resume(rule, scores, points)
    number, to = rule.due()
    assert number in (4, 5)
    assert to == 2
    assert {*rule.ranking()[:4]} == {0, 1, 4, 5}


def test_it_draws_where_curves_end_high():
    scores, points = crossing()
    rule = FreezeThaw(15, 40, LINE)
    resume(rule, {n: scores[n] for n in range(8)}, points)
    rule.budget = 0  # nothing can be run on
    assert rule.due() is None
    assert next(iter(rule.wants()))["x"] < 0.5


def test_the_first_trials_are_left_to_the_sampler_and_none_runs_on_before_them():
    rule = FreezeThaw(9, 12, LINE)
    for number in range(rule.LEAST - 1):
        assert rule.first(number, {"x": number / 10}) == 1
        assert rule.note(number, 1, number / 10) is None
        assert (rule.due(), rule.ready(), tuple(rule.wants())) == (None, 0, ())
    rule.first(7, {"x": 0.7})
    rule.note(7, 1, 0.7)
    rule.due()
    assert rule.due() is None
    assert list(rule.wants())


def search(rule: FreezeThaw, space: Space | None, seed: int, known=None, epochs=math.inf, scores=None):
    """Run a search on one worker; return what each trial has reached, and where it was drawn."""
    reached, points = known or ({}, {})
    reached = {n: dict(curve) for n, curve in reached.items()}
    points = dict(points)
    resume(rule, reached, points)
    while following := rule.due() or new(rule, space, seed, reached, points):
        number, limit = following
        while limit:
            curve = reached[number]
            while max(curve, default=0) < limit:
                if not epochs:
                    return reached, points
                epoch = max(curve, default=0) + 1
                score = (scores or bump)(points[number], epoch)
                curve[epoch] = max(score, curve.get(epoch - 1, -math.inf))
                epochs -= 1
            limit = rule.note(number, limit, curve[limit])
    return reached, points


def new(rule, space, seed, reached, points):
    number = len(reached)
    if number == rule.trials:
        return None
    wanted = list(rule.wants())
    points[number] = wanted[0] if wanted else space.random(np.random.default_rng((seed, number)))
    reached[number] = {}
    return number, rule.first(number, points[number])


def bump(values, epoch):
    """Curves that cross: a higher rate is faster, and worse in the end."""
    x = math.log10(values.get("lr", 0.03))
    height = 0.9 - 0.1 * (x + 2) ** 2 + 0.02 * values.get("layers", 1) - 0.1 * (values.get("pooling") == "none")
    return height * (1 - math.exp(-epoch * (0.2 + 0.2 * (x + 3))))


@pytest.mark.parametrize("trials", [1, 7, 16])
def test_all_trials_are_drawn_and_no_more_epochs_are_run_than_the_budget_has(trials):
    rule = FreezeThaw(9, trials, MIXED)
    found, _ = search(rule, MIXED, 0)
    assert len(found) == trials
    assert sorted(rule.ranking()) == list(range(trials))
    assert sum(max(curve) for curve in found.values()) <= halving(9, trials)


def test_a_search_that_broke_off_anywhere_ends_as_an_undisturbed_one():
    whole, drawn = search(FreezeThaw(9, 14, MIXED), MIXED, 1)
    total = sum(max(curve) for curve in whole.values())
    for epochs in range(1, total, 7):
        broken = search(FreezeThaw(9, 14, MIXED), MIXED, 1, epochs=epochs)
        last = max(broken[0])
        if not broken[0][last]:  # a trial that was drawn and not begun is not known to the rule
            del broken[0][last], broken[1][last]
        resumed, points = search(FreezeThaw(9, 14, MIXED), MIXED, 1, known=broken)
        assert resumed == whole
        assert points == drawn


def test_in_whatever_order_it_was_told_it_decides_the_same():
    scores, points = crossing()
    order = list(scores)
    decisions = set()
    for seed in range(3):
        random.Random(seed).shuffle(order)  # noqa: S311
        rule = FreezeThaw(15, 40, LINE)
        for number in order:
            rule.first(number, points[number])
        for number in order:
            rule.recall(number, dict(sorted(scores[number].items(), reverse=bool(seed))), points[number])
        decisions.add((rule.due(), tuple(each["x"] for each in rule.wants()), tuple(rule.ranking())))
    assert len(decisions) == 1


def test_what_runs_is_not_given_out_again_and_counts_against_the_budget():
    scores, points = crossing()
    rule = FreezeThaw(15, 8, LINE)
    rule.budget = 4 * 15 + 4 + 2
    resume(rule, scores, points)
    assert rule.ready() == 2
    first, second = rule.due(), rule.due()
    assert first[0] != second[0]
    assert (rule.due(), rule.ready()) == (None, 0)


def test_what_was_kept_for_new_trials_is_spent_on_the_others_once_none_can_be_drawn():
    scores, points = crossing()
    rule = FreezeThaw(15, 9, LINE)
    rule.budget = 4 * 15 + 4 + 1
    resume(rule, scores, points)
    assert (rule.due(), rule.ready()) == (None, 0)
    rule.no_more()
    assert rule.ready() == 1
    assert rule.due()[1] == 2
    assert list(rule.wants()) == []


def test_a_score_that_is_no_number_is_not_run_on_and_comes_last():
    rule = FreezeThaw(9, 9, LINE)
    for number in range(9):
        rule.first(number, {"x": number / 10})
        rule.note(number, 1, math.nan if number % 2 else number / 10)
    given = [rule.due() for _ in range(rule.ready())]
    assert given
    assert all(each is None or each[0] % 2 == 0 for each in given)
    assert sorted(rule.ranking()[-4:]) == [1, 3, 5, 7]


def test_where_no_score_is_a_number_or_all_fail_the_search_ends():
    rule = FreezeThaw(9, 9, LINE)
    for number in range(9):
        rule.first(number, {"x": number / 10})
        if number < 5:
            rule.note(number, 1, math.nan)
        else:
            rule.drop(number)
    assert (rule.due(), rule.ready(), list(rule.wants())) == (None, 0, [])
    assert len(rule.ranking()) == 5


def test_it_keeps_away_from_where_trials_fail():
    """Trials fail above x = 0.5. Of the points that it would draw next the best is below."""
    rule = FreezeThaw(9, 40, LINE)
    rule.budget = 0
    for number, x in enumerate((0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9)):
        rule.first(number, {"x": x})
        if x < 0.5:
            rule.note(number, 1, 0.5 + x / 10)
        else:
            rule.drop(number)
    assert next(iter(rule.wants()))["x"] < 0.5


def test_equal_trials_end_with_the_earliest_first():
    rule = FreezeThaw(3, 9, Space({"x": Choice(tuple("abcdefghi"))}))
    found, _ = search(rule, rule.space, 0, scores=lambda *_: 0.5)
    assert len(found) == 9


def test_a_finite_space_counts_for_no_more_trials_than_it_has_points():
    assert FreezeThaw(9, 64, Space({"x": Whole(1, 12)})).trials == 12


def test_without_a_space_it_knows_trials_by_their_curves_alone():
    rule = make("freeze-thaw", 9, 9)
    found, _ = search_flat(rule)
    assert len(found) == 9
    assert rule.ranking()[0] == 8


def search_flat(rule):
    found = {}
    while following := rule.due() or (len(found) < 9 and (len(found), rule.first(len(found)))):
        number, limit = following
        while limit:
            found[number] = limit
            limit = rule.note(number, limit, 0.1 * number + 0.01 * limit)
    return found, rule


def test_points_that_are_proposed_are_of_the_space_and_some_are_near_the_best():
    leader = {"layers": 2, "pooling": "none", "stride": 3, "lr": 0.01}
    found = list(proposals(MIXED, [leader], np.random.default_rng(0)))
    assert len(found) == freeze_thaw.ANYWHERE + freeze_thaw.NEAR
    for values in found:
        MIXED.flat(values)
    near = found[freeze_thaw.ANYWHERE :]
    assert sum(values["pooling"] == "none" and values.get("stride") == 3 for values in near) > len(near) / 2
    apart = [abs(math.log10(values["lr"]) + 2) for values in found]
    assert np.mean(apart[freeze_thaw.ANYWHERE :]) < 0.8 * np.mean(apart[: freeze_thaw.ANYWHERE])


def watched(function, seen):
    """Return the function, which notes first how many threads torch has."""

    def noting(*arguments):
        seen.append(torch.get_num_threads())
        return function(*arguments)

    return noting


def test_the_model_has_one_thread_as_trials_have_the_cores(monkeypatch):
    scores, points = crossing()
    rule, seen = make("freeze-thaw", 15, 9, LINE), []
    resume(rule, scores, points)
    for name in ("__init__", "promises", "best_points"):
        monkeypatch.setattr(Forecast, name, watched(getattr(Forecast, name), seen))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        rule.ranking()
        assert rule.due() or rule.wants()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert len(seen) >= 3
    assert set(seen) == {1}


def test_what_others_have_seen_says_whose_like_comes_up_late():
    scores, points = crossing()
    others = [Told(n - 4, points[n], Status.DONE, scores[n]) for n in range(4)]

    def first_due(taught):
        rule = FreezeThaw(15, 40, LINE)
        rule.no_more()
        resume(rule, {n - 4: scores[n] for n in range(4, 8)}, {n - 4: points[n] for n in range(4, 8)})
        if taught:
            rule.ranking()  # asked before, it is to forget what it said
            rule.teach(others)
        assert sorted(rule.ranking()) == [0, 1, 2, 3]
        return rule.due()[0]

    assert first_due(taught=False) in (2, 3)
    assert first_due(taught=True) in (0, 1)


def test_taught_by_enough_it_chooses_new_points_as_soon_as_one_trial_has_shown_something():
    scores, points = crossing()
    rule, taught = FreezeThaw(15, 40, LINE), FreezeThaw(15, 40, LINE)
    taught.teach([Told(n - 7, points[n], Status.CENSORED, scores[n]) for n in range(7)])
    assert tuple(taught.wants()) == ()
    for each in (rule, taught):
        each.first(0, points[7])
        each.note(0, 1, scores[7][1])
    assert tuple(rule.wants()) == ()
    assert next(iter(taught.wants()))["x"] < 0.3
