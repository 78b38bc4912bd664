"""The rule against numbers worked out by hand, and against simulated curves whose truth is known."""

import math

import numpy as np
import pytest

from sweeps.decisions import stopping
from sweeps.decisions.stopping import AHEAD, Behind, binomial, check, jitter, standing
from trainables.errors import UserError


@pytest.mark.parametrize(
    ("curve", "stands"),
    [([0.4], 0.4), ([0.4, 0.6], 0.5), ([0.1, 0.2, 0.3], 0.2), ([0.1, 0.8, 0.3, 0.1, 0.2], 0.4)],
)
def test_a_trial_stands_at_its_best_mean_of_three_epochs(curve, stands):
    assert standing(curve) == pytest.approx(stands)


def test_the_jitter_is_what_is_left_of_a_curve_beside_its_trend():
    assert jitter([0.5]) == jitter([0.5, 0.6]) == 0
    assert jitter([0.1, 0.2, 0.3, 0.4]) == pytest.approx(0)
    assert jitter([0.1, 0.2, 0.1, 0.2]) == pytest.approx(0.2 / math.sqrt(6))
    assert jitter([0.1, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]) == pytest.approx(0)  # the steep beginning is past
    noise = np.random.default_rng(0).normal(0, 0.004, (2000, 7))
    assert np.sqrt(np.mean([jitter(list(row)) ** 2 for row in noise])) == pytest.approx(0.004, rel=0.03)


def test_an_accuracy_has_a_binomial_error_and_never_none():
    assert binomial(0.75, 5000) == pytest.approx(0.75 * 0.25 / 5000, rel=1e-3)
    assert binomial(1.0, 98) == pytest.approx(0.99 * 0.01 / 98)


def made(curves, epochs=8, images=5000):
    rule = Behind(epochs, images)
    for name, curve in curves.items():
        for score in curve:
            rule.note(name, score)
    return rule


def lead(theirs, ours, epochs=15, images=5000):
    return made({"a": theirs, "b": ours}, epochs, images).lead("a", "b", len(ours))


def test_a_lead_is_held_against_the_noise_of_both():
    found = lead([0.75] * 8, [0.70] * 8)
    assert found.now == found.at_end == pytest.approx(0.05)
    assert found.noise == pytest.approx(math.sqrt((0.75 * 0.25 + 0.7 * 0.3) / 5000), rel=1e-3)
    assert found.certain
    assert not lead([0.75] * 8, [0.70] * 8, images=100).certain  # 6.3 points of noise
    wild = lead([0.75, 0.71, 0.75, 0.71, 0.75, 0.71, 0.75], [0.69] * 7)
    assert wild.noise == pytest.approx(math.hypot(0.0089, 0.08 / math.sqrt(6) / math.sqrt(3)), rel=0.01)
    assert not wild.certain
    assert lead([0.75] * 9, [0.70] * 8) == found  # what came later says nothing


def test_a_lead_is_that_of_the_epoch_itself():
    found = lead([0.7, 0.75, 0.8, 0.76], [0.5, 0.5, 0.5, 0.56])
    assert found.now == pytest.approx(0.77 - 0.52)
    assert found.at_end == pytest.approx(0.25 - (0.25 - 0.2) / 2 * 11)
    jitters = (0.09**2 + 0.06**2) / 2 / 6
    assert found.noise == pytest.approx(math.sqrt(binomial(0.77, 5000) + binomial(0.52, 5000) + jitters / 3), rel=1e-9)


def test_a_trial_that_catches_up_fast_enough_is_not_behind():
    rising = [0.5, 0.55, 0.6, 0.65]
    found = lead([0.75] * 4, rising)
    assert found.now == pytest.approx(0.15)
    assert found.at_end == pytest.approx(0.15 - 0.05 * 11)
    assert not found.certain
    assert lead([0.75] * 4, rising, epochs=5).certain  # one epoch is too few
    falling_behind = lead([0.5, 0.6, 0.7, 0.8], [0.5, 0.5, 0.5, 0.5])
    assert falling_behind.now == falling_behind.at_end == pytest.approx(0.2)


def test_two_others_have_to_be_ahead():
    rule = made({"a": [0.8] * 8, "b": [0.79] * 4, "c": [0.5] * 5})
    assert list(rule.ahead("c", 4)) == ["a", "b"]
    assert rule.stops("c", 4)
    assert not rule.stops("b", 4)
    rule.drop("b")
    assert not rule.stops("c", 4)


def test_who_has_run_less_far_counts_with_what_it_has_shown():
    curves = {"a": [0.8] * 8, "c": [0.5, 0.5, 0.5, 0.5, 0.6, 0.7]}
    rule = made(curves | {"b": [0.7, 0.75, 0.8, 0.76]})
    assert list(rule.ahead("c", 5)) == ["a", "b"]
    found = rule.lead("b", "c", 5)
    assert found.now == pytest.approx(0.77 - 1.6 / 3)
    assert found.at_end == found.now  # up to the fourth epoch c came no closer: 0.25 behind it, then 0.26
    few = made(curves | {"b": [0.8] * 2})  # a mean of fewer than three epochs may still fall
    assert list(few.ahead("c", 5)) == ["a"]
    rising = made(curves | {"b": [0.9, 0.9, 0.8, 0.7]})  # at its pace c will be level with it
    assert list(rising.ahead("c", 5)) == ["a"]


def test_nothing_stops_before_a_quarter_of_the_epochs_or_before_the_third_and_nothing_at_the_last():
    assert [Behind(epochs, 100).first for epochs in (1, 6, 15, 100)] == [3, 3, 4, 25]
    rule = made({"a": [0.8] * 8, "b": [0.8] * 8, "c": [0.1] * 8})
    assert [rule.stops("c", epoch) for epoch in range(1, 9)] == [False] * 2 + [True] * 5 + [False]


def test_of_many_that_are_ahead_the_two_that_show_most_are_named_and_those_that_are_out_are_not():
    rule = made({"a": [0.8] * 4, "b": [0.7] * 4, "c": [0.9] * 4, "d": [0.3] * 4, "e": [0.1, 0.95, 0.1, 0.95]})
    assert list(rule.ahead("d", 4)) == ["c", "a"]  # e's lead may be jitter
    rule.drop("c")
    assert list(rule.ahead("d", 4)) == ["a", "b"]
    assert rule.ahead("a", 4) == {}
    assert rule.stands("e") == pytest.approx(2 / 3)


def test_of_those_that_have_run_less_far_who_shows_most_is_named_first():
    rule = made({"a": [0.7] * 3, "b": [0.9] * 3, "c": [0.8] * 4, "d": [0.3] * 6, "e": [0.75] * 7})
    assert list(rule.ahead("d", 6)) == ["e", "b"]  # e has come as far
    rule.drop("b")
    rule.drop("b")
    assert list(rule.ahead("d", 6)) == ["e", "c"]
    rule.note("b", 0.9)  # it was under way still
    assert list(rule.ahead("d", 6)) == ["e", "c"]


def test_of_very_many_those_that_show_most_are_looked_at(monkeypatch):
    monkeypatch.setattr(stopping, "LOOKS", 2)
    jumpy = [0.0, 0.99, 0.99, 0.99, 0.0]  # ahead of d by far, but not for certain
    rule = made({"a": jumpy, "b": jumpy, "c": [0.8] * 5, "e": [0.8] * 5, "d": [0.3] * 5})
    assert rule.lead("c", "d", 5).certain
    assert not rule.lead("a", "d", 5).certain
    assert rule.ahead("d", 5) == {}
    monkeypatch.setattr(stopping, "LOOKS", 4)
    assert list(rule.ahead("d", 5)) == ["c", "e"]


def test_a_rule_that_is_not_known_is_refused():
    assert [check(name) for name in ("behind", "asha")] == ["behind", "asha"]
    with pytest.raises(UserError, match=r"^early stopping in a grid 'ahsa' is not known; did you mean 'asha'\?$"):
        check("ahsa")


EPOCHS, IMAGES = 15, 5000


def simulated(rng, ends, seeds=0.004, noise=0.004, speed=3.0):
    """Return curves to these ends, with what seeds and 5,000 shared images add (20 % disagree), and jitter."""
    fixed = rng.normal(0, math.hypot(seeds, math.sqrt(0.2 / IMAGES / 2)), len(ends))
    rise = np.exp(-np.arange(1, EPOCHS + 1) / speed)
    return {
        str(number): list(end + off - 0.3 * rise + rng.normal(0, noise, EPOCHS))
        for number, (end, off) in enumerate(zip(ends, fixed, strict=True))
    }


def stopped(curves):
    """Return after which epoch each trial stops, all being held against all at each."""
    rule, found = made(curves, EPOCHS, IMAGES), {}
    for epoch in range(1, EPOCHS):
        for name in [name for name in curves if name not in found and rule.stops(name, epoch)]:
            found[name] = epoch
            rule.drop(name)
    return found


@pytest.mark.parametrize("count", [3, 5, 8])
def test_equal_trials_are_practically_never_stopped_and_the_best_never(count):
    rng, gone = np.random.default_rng(count), 0
    for _ in range(60):
        curves = simulated(rng, [0.75] * count)
        found = stopped(curves)
        gone += len(found)
        assert max(curves, key=lambda name: standing(curves[name])) not in found
        assert len(found) <= count - AHEAD
    assert gone <= 0.01 * 60 * count


def test_clear_losers_are_stopped_soon_and_those_a_little_behind_are_not():
    rng = np.random.default_rng(1)
    found = [stopped(simulated(rng, [0.75, 0.75, 0.74, 0.72, 0.65])) for _ in range(60)]
    assert max(each["4"] for each in found) <= 8
    assert np.mean([each["4"] for each in found]) < 5
    assert sum("2" in each for each in found) <= 3
    assert sum("3" in each for each in found) >= 20  # three points are seen in part
    assert not any({"0", "1"} & each.keys() for each in found)


def test_a_slow_starter_that_is_still_catching_up_runs_on():
    rng = np.random.default_rng(2)
    for _ in range(40):
        quick = simulated(rng, [0.70, 0.70, 0.70], speed=1.0)
        slow = simulated(rng, [0.76], speed=5.0)
        assert "slow" not in stopped(quick | {"slow": slow["0"]})
