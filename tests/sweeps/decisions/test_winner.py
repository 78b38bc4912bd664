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


@pytest.mark.parametrize(("second", "level"), [(0.461, ("b",)), (0.459, ())])
def test_a_rival_is_level_below_twice_the_standard_error(second, level):
    """Of 1000 images and accuracies near a half the error is √(0.5 / 1000) = 0.0224, twice that 0.0447."""
    winner = choose([outcome("a", [0.505]), outcome("b", [second])], Yardstick("accuracy", 1000))
    assert winner.level == level


def test_at_exactly_twice_the_standard_error_a_rival_is_behind():
    """Variances 0.125 and n = 2 give an error of √(0.0625 + 0) = 0.25, all exact in binary."""
    best, rival = outcome("a", [1.0], [0.5]), outcome("b", [0.25], [0.25])
    assert choose([best, rival], Yardstick("accuracy", 10)).level == ()


def test_replicates_count_by_their_number_and_by_their_own_spread():
    """Variances 0.0002 (n = 2) and 0.0009 (n = 3): √(0.0001 + 0.0003) = 0.02."""
    best, rival = outcome("a", [0.81], [0.83]), outcome("b", [0.77], [0.8], [0.83])
    assert "2.00 ± 2.00 points ahead of b" in choose([best, rival], Yardstick("accuracy", 10)).why


def test_against_a_single_replicate_the_error_is_the_binomial_one():
    error = 100 * math.sqrt((0.82 * 0.18 + 0.8 * 0.2) / 1000)
    winner = choose([outcome("a", [0.81], [0.83]), outcome("b", [0.8])], Yardstick("accuracy", 1000))
    assert f"2.00 ± {error:.2f} points ahead of b" in winner.why


def test_all_that_are_level_are_named_and_the_second_is_the_best_of_the_rest():
    outcomes = [outcome("a", [0.5]), outcome("b", [0.52]), outcome("c", [0.53]), outcome("d", [0.1])]
    winner = choose(outcomes, Yardstick("accuracy", 1000))
    assert winner.level == ("a", "b")
    error = 100 * math.sqrt((0.53 * 0.47 + 0.52 * 0.48) / 1000)
    assert (
        winner.why == f"c: validation accuracy 53.00 %, 1.00 ± {error:.2f} points ahead of b; not told apart from a, b"
    )


def test_a_trial_without_rivals_wins_alone():
    winner = choose([outcome("a", [0.5])], Yardstick("accuracy", 1000))
    assert winner.why == "a: validation accuracy 50.00 %, the only trial that is ranked"
    assert choose([], Yardstick("accuracy", 1000)) is None
