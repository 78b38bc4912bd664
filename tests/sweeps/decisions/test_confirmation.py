"""Confirmations worked out by hand: trials of four epochs with the seeds 1 and 2."""

import pytest

from sweeps.decisions.confirmation import Confirmation
from sweeps.decisions.drawing import Draw
from sweeps.decisions.stages import Cell
from tests.sweeps.outcomes import history
from trainables.config import Training, Trial

TRIAL = Trial(training=Training(epochs=4))
SCREENED = [0.9, 0.8, 0.7, 0.6]  # the best so far is 0.9


def draw(number, *curves, screened=SCREENED) -> Draw:
    """A trial with what the seed that screened it has, and those that confirm."""
    made = Draw(number, number, {}, Cell(f"#{number}", (number,), TRIAL), str(number))
    made.take(history(screened, *curves))
    return made


def confirming(*draws, raced=True) -> Confirmation:
    return Confirmation(draws, (1, 2), 4, raced=raced)


def test_all_who_do_not_run_are_due_up_to_the_end_of_the_lap():
    first, second = draw(0), draw(1)
    course = confirming(first, second)
    assert course.due() == [first, second]
    second.running = True
    assert course.due() == [first]
    assert course.goes_on(second, 1) is False  # the first lap has one epoch
    assert [course.reached(each) for each in (first, second)] == [0, 1]
    assert course.decisions == []


def test_without_a_race_they_are_due_up_to_the_end():
    first, second = draw(0, [0.5], [0.5]), draw(1, [0.4], [0.4])
    course = confirming(first, second, raced=False)
    assert course.due() == [first, second]
    assert [course.goes_on(second, epoch) for epoch in (1, 2, 3, 4)] == [True, True, True, False]


def test_a_trial_stands_at_the_mean_of_its_scores_by_how_far_each_seed_has_come():
    one = draw(0, [0.5, 0.1, 0.7], [0.3, 0.3, 0.1])
    assert confirming(one).curve(one) == pytest.approx([0.4, 0.4, 0.5])
    assert confirming(one).standings(one) == pytest.approx(
        [(4 * 0.9 + 2 * 0.4) / 6, (4 * 0.9 + 4 * 0.4) / 8, (4 * 0.9 + 6 * 0.5) / 10]
    )


def test_the_screening_counts_up_to_the_epoch_that_all_have_come_to_in_it():
    """By the end of its screening the second would be ahead, which the first was not run on to."""
    first, second = draw(0, [0.3], [0.3], screened=[0.4]), draw(1, [0.3], [0.3], screened=[0.3, 0.8, 0.8, 0.8])
    course = confirming(first, second)
    assert course.standings(second) == pytest.approx([(1 * 0.3 + 2 * 0.3) / 3])
    assert course.race.on == (first,)


def test_early_the_screening_decides_and_later_the_fresh_seeds():
    first = draw(0, [0.3, 0.3], [0.3, 0.3], screened=[0.5] * 4)
    second, third = draw(1, [0.4, 0.6], [0.4, 0.6], screened=[0.4] * 4), draw(2, [0.1], [0.1], screened=[0.4] * 4)
    course = confirming(first, second, third)
    assert [lap.on for lap in course.race.laps] == [(first, second), (second,)]  # 2.6 / 6 to 2.4; 3.2 / 8 to 4.0


def test_a_lap_is_decided_by_where_they_stand_and_it_is_told_once():
    first, second, third = draw(0, [0.5, 0.1], [0.3, 0.3]), draw(1, [0.2, 0.9], [0.4, 0.2]), draw(2, [0.3], [0.4])
    course = confirming(first, second, third)
    assert course.decisions == []  # the first lap was over in an earlier run
    assert course.due() == [third]  # who has come to the end of the second lap waits for it
    third.take(history(SCREENED, [0.3, 0.6], [0.4, 0.5]))
    course.look()
    course.look()
    assert course.decisions == [{"decision": "lap", "epoch": 2, "on": [2], "out": [0]}]
    assert course.due() == [third]
    assert course.let_go() == [
        (second, 1, pytest.approx((4 * 0.9 + 2 * 0.3) / 6), pytest.approx((4 * 0.9 + 2 * 0.4) / 6)),
        (first, 2, pytest.approx((4 * 0.9 + 4 * 0.4) / 8), pytest.approx((4 * 0.9 + 4 * 0.55) / 8)),
    ]
    assert course.ranking() == [third, first, second]
    assert [course.takes(each) for each in (first, second, third)] == [True, True, False]


def test_one_of_whose_seeds_one_has_not_begun_has_no_epoch():
    behind = draw(0, [0.5])
    assert confirming(behind).curve(behind) == []


def test_who_ran_in_full_ranks_first_by_the_score_of_both_seeds():
    first, second = draw(0, [0.5] * 4, [0.5] * 4), draw(1, [0.4, 0.6, 0.6, 0.6], [0.4, 0.6, 0.6, 0.6])
    course = confirming(first, second)
    assert course.ranking()[:2] == [second, first]
    assert course.covers(first)
    assert not course.covers(draw(2, [0.5] * 4, [0.5] * 4))  # that is none of the candidates
    assert course.let_go() == []  # the second was out after a lap, but had run in full before
    assert list(course.race.out) == [second]
    assert course.due() == []


def test_who_failed_is_judged_by_these_seeds_and_runs_no_more():
    failed, other = draw(0, [0.5] * 4, [0.5] * 4), draw(1, [0.4], [0.4])
    failed.reason = "Diverged: nan"
    course = confirming(failed, other)
    assert course.takes(failed)
    assert not course.covers(failed)
    assert course.due() == [other]
