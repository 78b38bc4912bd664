import time

import numpy as np
import pytest
from scipy import stats

from sweeps.decisions.quantiles import lead, widest

FREEDOM = np.array([2, 2.3, 3.7, 8.2, 40, 700, 1e9, np.inf])


def test_of_two_trials_they_are_those_of_student_and_normal():
    assert widest(2, FREEDOM) == pytest.approx(stats.t.ppf(0.975, FREEDOM), rel=1e-6)
    assert lead(2, FREEDOM) == pytest.approx(stats.t.ppf(0.95, FREEDOM), rel=1e-6)


@pytest.mark.parametrize(
    ("trials", "freedom"), [(3, 2), (3, 40), (5, 2.3), (5, 700), (20, 3.7), (20, np.inf), (1000, 8.2)]
)
def test_the_widest_of_all_pairs_is_the_studentized_range(trials, freedom):
    expected = stats.studentized_range.ppf(0.95, trials, freedom) / np.sqrt(2)
    assert widest(trials, np.array(freedom)) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize(
    ("trials", "freedom", "expected"), [(3, 5, 2.44), (5, 10, 2.47), (5, 20, 2.30), (10, np.inf, 2.42)]
)
def test_the_lead_over_one_is_in_dunnetts_table(trials, freedom, expected):
    """Dunnett 1955, table 1a: one-sided, 95 %, for `trials` - 1 treatments."""
    assert float(lead(trials, np.array(freedom))) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("trials", [3, 30, 1000])
@pytest.mark.parametrize("freedom", [2, 6.5, 1e6])
def test_the_lead_over_one_is_what_draws_say(trials, freedom):
    """The largest of trials - 1 normals is drawn by inversion of its distribution, Φ(x)^(trials - 1)."""
    rng = np.random.default_rng(trials)
    best = stats.norm.ppf(rng.random(200_000) ** (1 / (trials - 1)))
    leads = (best - rng.normal(size=len(best))) / np.sqrt(2) / np.sqrt(rng.chisquare(freedom, len(best)) / freedom)
    assert (leads > lead(trials, np.array(freedom))).mean() == pytest.approx(0.05, abs=0.002)


def test_fewer_than_two_degrees_of_freedom_count_as_two():
    assert (widest(4, np.array([0.1, 1, 2])) == widest(4, np.array(2))).all()


def test_many_pairs_of_many_trials_take_no_time():
    freedom = np.random.default_rng(0).uniform(2, 100, (1000, 1000))
    start = time.process_time()
    widest(997, freedom)
    lead(997, freedom)
    assert time.process_time() - start < 1
