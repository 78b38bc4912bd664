"""McNemar's exact test against sums written out, and against published tables."""

from math import comb

import pytest

from analysis.inference.mcnemar import mcnemar


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),  # twice the tail is above 1
        (0, 5, 2 / 32),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (184, 258, 0.0005022267920722),  # R0.B3; scipy.stats.binomtest(184, 442)
    ],
)
def test_p_is_twice_the_binomial_tail(gained: int, lost: int, p: float):
    assert mcnemar(gained, lost) == pytest.approx(p, rel=1e-6)
    assert mcnemar(lost, gained) == mcnemar(gained, lost)


def test_it_is_exact_where_powers_of_two_leave_the_range_of_floats():
    assert mcnemar(1500, 1600) == 2 * sum(comb(3100, number) for number in range(1501)) / 2**3100
    assert mcnemar(0, 5000) == 0.0


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="-1 and 3"):
        mcnemar(-1, 3)
