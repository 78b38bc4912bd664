import numpy as np
import pytest

from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.scatter import Spread
from sweeps.decisions.winner import BEST, CHEAPEST, RULES, Winner, choose
from tests.sweeps.outcomes import draws, marked, outcome

BY = Yardstick("accuracy", 5000)


def test_the_highest_mean_of_validation_scores_at_the_chosen_epochs_wins():
    winner = choose([outcome("a", [0.5, 0.6], [0.8, 0.2]), outcome("b", [0.71, 0.1], [0.71, 0.1])], BY)
    assert winner.outcome.cell.label == "b"
    assert winner.outcome.score == pytest.approx(0.71)
    assert winner.rule == BEST


def test_what_was_stopped_early_or_failed_never_wins():
    others = [outcome("a", [0.9], status="censored"), outcome("c", status="failed")]
    assert choose([*others, outcome("b", [0.1])], BY).outcome.cell.label == "b"
    assert choose([outcome("a", [0.9], status="censored")], BY) is None
    assert choose([], BY) is None


def test_an_exact_tie_goes_to_the_first_declared():
    assert choose([outcome("a", [0.6]), outcome("b", [0.6])], BY).outcome.cell.label == "a"


def test_the_choice_does_not_look_at_the_test_set():
    none, all_right = np.zeros(2000, bool), np.ones(2000, bool)
    [right], [other] = draws(0.7, 1), draws(0.69, 1)
    assert choose([marked("a", right, test=none), marked("b", other, test=all_right)], BY).outcome.cell.label == "a"


# three seeds each on 2,000 images that are hard for all of them: 71 and 70 % cannot be told apart, and 50 % can
LEVEL = [marked("a", *draws(0.71, 3)), marked("b", *draws(0.70, 3, number=1)), marked("c", *draws(0.5, 3, number=2))]


def cheapest(outcomes, costs, **how):
    return choose(outcomes, BY, rule=CHEAPEST, cost=lambda each: costs[each.cell.label], **how).outcome.cell.label


def test_by_the_other_rule_the_cheapest_of_those_that_may_be_best_wins():
    assert choose(LEVEL, BY).outcome.cell.label == "a"
    assert [choose(LEVEL, BY).contest.may_be_best(each) for each in LEVEL] == [True, True, False]
    assert cheapest(LEVEL, {"a": 3, "b": 2, "c": 1}) == "b"
    assert cheapest(LEVEL, {"a": 2, "b": 3, "c": 1}) == "a"
    assert cheapest(LEVEL, {"a": 2, "b": 2, "c": 1}) == "a"  # of equals the higher score


def test_where_nothing_is_told_the_best_score_wins():
    one_seed = [marked("a", *draws(0.71, 1)), marked("b", *draws(0.7, 1))]
    assert cheapest(one_seed, {"a": 2, "b": 1}) == "a"
    assert cheapest([outcome("a", [0.7]), outcome("b", [0.6])], {"a": 2, "b": 1}) == "a"
    # how seeds scatter may be known of other trials
    assert cheapest(one_seed, {"a": 2, "b": 1}, before={"x": Spread(3, 2e-4, 1e-4)}) == "b"


def test_a_winner_knows_its_rule():
    assert RULES == ("best", "cheapest that may be best")
    assert choose(LEVEL, BY, rule=CHEAPEST, cost=lambda _: 1).rule == CHEAPEST
    assert Winner(LEVEL[0], choose(LEVEL, BY).contest).rule == BEST
