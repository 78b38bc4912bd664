"""Sentences on a stage's winner, read whole, beside the numbers that they rest on."""

from dataclasses import replace

import numpy as np

from sweeps.decisions import contest
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import StageResult
from sweeps.decisions.winner import CHEAPEST, choose
from sweeps.reporting.winner_words import winner_sentences
from sweeps.study import Stage
from tests.sweeps.outcomes import draws, marked, outcome

BY = Yardstick("accuracy", 2000)
STAGE = Stage("depth", {"model.conv_layers": (1, 2, 3)})
A, B, C = (
    marked(name, *draws(score, 3, number=at))
    for at, (name, score) in enumerate(zip("abc", (0.71, 0.7, 0.5), strict=True))
)


def said(*outcomes, **how) -> list[str]:
    return winner_sentences(StageResult(STAGE, outcomes, choose(outcomes, BY, **how)), BY)


def test_the_winner_is_ahead_of_those_whose_interval_is_above_zero_and_may_share_its_place_with_others():
    found = choose([A, B, C], BY).contest
    to_b, to_c = found.difference(A, B), found.difference(A, C)
    assert to_b.low < 0 < to_c.low
    lines = said(C, B, A)
    assert lines[0] == (
        f"Winner on validation (2,000 images): a at {100 * A.score:.1f} % accuracy (3 seeds), "
        f"ahead of c ({to_c.words}); not significantly ahead of b ({to_b.words})."
    )
    assert lines[1] == (
        "In parentheses: the lead in points with its simultaneous 95 % interval over seeds and images. May be best: "
        "b and a."
    )
    comparison = found.comparison
    assert comparison.resolution > 0.01
    assert lines[2] == (
        f"Differences below {100 * comparison.resolution:.1f} points cannot be detected in this stage; "
        f"detecting one of 1 point would take about {comparison.seeds_for(0.01)} seeds."
    )
    assert len(lines) == 3


def test_of_very_many_those_that_are_not_compared_are_counted(monkeypatch):
    monkeypatch.setattr(contest, "MOST", 2)
    lines = said(C, B, A)
    assert "of c (" not in lines[0]
    assert lines[-1] == "Not compared: the trials of the lowest scores (1); the intervals allow for them."


def test_with_one_seed_each_nothing_is_told_apart_and_it_is_said():
    one = [marked("a", *draws(0.9, 1)), marked("b", *draws(0.5, 1))]
    assert said(*one) == [
        f"Winner on validation (2,000 images): a at {100 * one[0].score:.1f} % accuracy (1 seed).",
        "Differences cannot be tested: no trial of the study has more than one seed.",
    ]
    first = said(*one, rule=CHEAPEST, cost=len)[0]
    assert first.endswith("(1 seed), by its score alone, as differences cannot be tested.")


def test_a_trial_of_one_seed_rests_on_the_others():
    lines = said(A, B, marked("d", *draws(0.5, 1, number=8)))
    alone = "A trial with one seed is assumed to vary as much as the others of the study; this cannot be checked."
    assert alone in lines
    assert not any("one seed" in line for line in said(A, B))


def test_a_trial_alone_has_nobody_to_be_ahead_of():
    [line] = said(A)
    assert line.endswith(f"{100 * A.score:.1f} % accuracy (3 seeds), the only ranked trial.")


def test_the_cheapest_of_those_that_may_be_best_is_called_so():
    line = said(A, B, C, rule=CHEAPEST, cost=lambda each: {"a": 2, "b": 1, "c": 0}[each.cell.label])[0]
    back = choose([A, B, C], BY).contest.difference(B, A)
    assert f"b at {100 * B.score:.1f} % accuracy (3 seeds), the cheapest of those that may be best" in line
    assert f"not significantly ahead of a ({back.words})" in line


def test_who_was_stopped_early_is_named_with_where_it_stood():
    best = outcome("a", [0.5, 0.6, 0.7], [0.5, 0.62, 0.7])
    behind = outcome("b", [0.4, 0.55], [0.4, 0.55], status="censored")
    ahead, level = outcome("c", [0.52], status="censored"), outcome("d", [0.5], status="censored")
    lines = said(best, behind, ahead, level, outcome("e", status="censored"))
    assert lines[1] == (
        "Not compared: b (stopped at epoch 2, when 6.0 points behind), c (stopped at epoch 1, when 2.0 points ahead) "
        "and d (stopped at epoch 1, when level). Later epochs are unknown (--no-early-stopping runs them)."
    )


def test_what_an_earlier_version_stored_is_not_compared_and_it_is_said():
    lines = said(A, outcome("old", [0.5]), B)
    assert lines[-1] == "Not compared: old, as no results per image were kept (--fresh trains again)."
    assert "May be best: a and b." in lines[1]
    lines = said(outcome("old", [0.99], [0.98]), B)
    assert lines[0].endswith("old at 98.5 % accuracy (2 seeds).")
    assert len(lines) == 2


def test_nobody_wins_where_nobody_ran_in_full():
    assert said(outcome("a", [0.5], status="censored")) == ["No winner: no trial ran in full."]


def test_the_images_alone_may_leave_more_noise_than_any_number_of_seeds_could_mend():
    rng = np.random.default_rng(0)
    fixed = [marked(name, *[rng.random(40) < 0.6] * 3) for name in "ab"]
    assert choose(fixed, BY).contest.comparison.seeds_for(0.01) is None
    assert said(*fixed)[-1].endswith(
        "; detecting one of 1 point would take more images, as more seeds alone cannot do it."
    )


def test_who_is_behind_the_best_for_certain_and_not_told_apart_in_the_pair_is_said_to_be_so():
    rng = np.random.default_rng(0)
    other, better = (marked(name, *[rng.random(40) < 0.6] * 3) for name in "ab")
    contest = choose([better, other], BY).contest
    assert not contest.difference(better, other).ahead
    assert not contest.may_be_best(other)
    assert said(better, other)[2] == (
        "Ruled out as the best although the winner's lead is not significant: a; that test is one-sided, so a smaller "
        "difference is enough."
    )
    assert not any("one-sided" in line for line in said(A, B, C))


def test_trials_that_are_scored_on_different_images_are_said_not_to_be_told_apart():
    varied = replace(C, cell=replace(C.cell, trial=C.cell.trial.with_values({"training.vary_split": True})))
    assert said(A, varied) == [
        f"Winner on validation (2,000 images): a at {100 * A.score:.1f} % accuracy (3 seeds).",
        "Differences cannot be tested: as vary_split differs, these trials are scored on different images.",
    ]
