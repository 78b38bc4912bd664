import math

import pytest

from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.winner import choose
from tests.sweeps.outcomes import outcome


def test_the_highest_mean_of_best_validation_accuracies_wins():
    winner = choose(
        [outcome("a", [0.5, 0.6], [0.8, 0.2]), outcome("b", [0.71, 0.1], [0.71, 0.1])], Yardstick("accuracy", 5000)
    )
    assert winner.outcome.cell.label == "b"
    assert winner.outcome.score == pytest.approx(0.71)


def test_what_was_stopped_early_or_failed_never_wins():
    others = [outcome("a", [0.9], status="censored"), outcome("c", status="failed")]
    assert choose([*others, outcome("b", [0.1])], Yardstick("accuracy", 5000)).outcome.cell.label == "b"
    assert choose([outcome("a", [0.9], status="censored")], Yardstick("accuracy", 5000)) is None


def test_an_exact_tie_goes_to_the_first_declared():
    assert choose([outcome("a", [0.6]), outcome("b", [0.6])], Yardstick("accuracy", 5000)).outcome.cell.label == "a"


def test_with_one_seed_the_error_is_the_binomial_one_of_the_validation_set():
    error = 100 * math.sqrt((0.7 * 0.3 + 0.68 * 0.32) / 1000)
    winner = choose([outcome("a", [0.70]), outcome("b", [0.68]), outcome("c", [0.6])], Yardstick("accuracy", 1000))
    assert winner.why == f"a: validation accuracy 70.00 %, 2.00 ± {error:.2f} points ahead of b; not told apart from b"
    assert winner.level == ("b",)


def test_with_several_seeds_the_error_comes_from_their_spread():
    # sd 0.01 each, n = 2: standard error of the difference 0.01
    apart = choose(
        [outcome("a", [0.71 - 0.01 / math.sqrt(2)], [0.71 + 0.01 / math.sqrt(2)]), outcome("b", [0.68], [0.68])],
        Yardstick("accuracy", 10),
    )
    assert "3.00 ± 0.71 points ahead of b" in apart.why
    assert apart.level == ()


def test_the_choice_does_not_look_at_the_test_set():
    one, two = outcome("a", [0.6, 0.7]), outcome("b", [0.65, 0.65])
    assert choose([one, two], Yardstick("accuracy", 5000)).outcome is one
    assert one.history.chosen_epochs() == (2,)


def test_a_mean_average_precision_of_one_seed_has_no_error_to_be_level_within():
    winner = choose([outcome("a", [0.50]), outcome("b", [0.49])], Yardstick("mAP", 100))
    assert winner.why == "a: validation mAP 50.00 %, 1.00 (spread unknown) points ahead of b"
    assert winner.level == ()
