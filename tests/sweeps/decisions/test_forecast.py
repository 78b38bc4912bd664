"""What more epochs promise, against numerical integrals and by hand."""

import math

import numpy as np
import pytest
import torch

from sweeps.decisions import forecast
from sweeps.decisions.forecast import Forecast, warped

LADDER = (1, 2, 3, 5, 8, 9)
ROWS = np.linspace(0, 1, 6)[:, None]
CURVES = [{1: 0.2, 2: 0.4, 3: 0.5}, {1: 0.3}, {1: 0.35, 2: 0.4}, {1: 0.1}, {1: 0.25}, {}]


def made(curves=CURVES, failed=(), running=None, rows=ROWS) -> Forecast:
    return Forecast(rows, np.zeros(rows.shape[1], int), curves, failed, running or {}, LADDER)


def gain(gap: float, deviation: float) -> float:
    """Return the mean of a normal value's excess over `gap`, by a sum."""
    z = np.linspace(-9, 9, 200_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return float((np.maximum(deviation * z - gap, 0) * density).sum() * (z[1] - z[0]))


def test_running_on_promises_the_rise_of_the_best_expected_end_per_epoch_up_to_the_best_later_epoch():
    found = made()
    ends = found.expected
    best, second = sorted(ends[found.started].tolist())[::-1][:2]
    moves = found.posterior.moves(torch.arange(5), LADDER, 9)
    for row, rate in enumerate(found.promises(range(5)).tolist()):
        gap = best - second if ends[row] == best else best - float(ends[row])
        last = max(CURVES[row])
        rates = [gain(gap, float(moves[at, row])) / (to - last) for at, to in enumerate(LADDER) if to > last]
        assert rate == pytest.approx(max(rates), rel=1e-4)


def test_new_points_are_ordered_by_the_same_measure_from_epoch_0_on():
    found, rows = made(), np.array([[0.05], [0.5], [0.95]])
    order, rate = found.best_points(rows)
    posterior = found.posterior.beside(torch.tensor(rows))
    places = torch.arange(6, 9)
    means, _ = posterior.mean_and_deviation(places, 9)
    moves = posterior.moves(places, LADDER, 9)
    best = float(found.expected[found.started].max())
    rates = [
        max(gain(best - float(means[at]), float(moves[row, at])) / to for row, to in enumerate(LADDER))
        for at in range(3)
    ]
    assert order == sorted(range(3), key=lambda at: -rates[at])
    assert rate == pytest.approx(max(rates), rel=1e-4)


def test_only_so_many_points_are_looked_at_closely(monkeypatch):
    monkeypatch.setattr(forecast, "FINALISTS", 2)
    assert len(made().best_points(np.linspace(0, 1, 7)[:, None])[0]) == 2


def test_a_trial_under_way_leaves_less_to_learn_of_its_like():
    alone, beside = made(), made(running={0: 8})
    torch.testing.assert_close(alone.expected, beside.expected, rtol=1e-12, atol=0)  # solved in another order
    rows = np.array([[0.01]])
    assert beside.best_points(rows)[1] < alone.best_points(rows)[1]


def test_what_failed_is_expected_to_be_as_bad_as_the_worst():
    assert made(failed=(5,)).expected[5] < made().expected[5]


@pytest.mark.parametrize("score", [0.0, 0.5, -3.0])
def test_equal_scores_and_a_single_trial_break_nothing(score):
    equal = made([{1: score}] * 6)
    assert equal.promises([0, 1, 2]).isfinite().all()
    alone = made([{1: score}], rows=ROWS[:1])
    assert alone.expected.isfinite().all()
    assert alone.promises([0]).isfinite().all()
    assert made(rows=np.zeros((6, 0))).promises([]).tolist() == []


def best_of_two(mean, covariance, first: int, second: int) -> float:
    """Return what the better of two normal values is on average (Clark, Operations Research 1961)."""
    spread = math.sqrt(covariance[first, first] + covariance[second, second] - 2 * covariance[first, second])
    z = float(mean[first] - mean[second]) / spread
    below = (1 + math.erf(z / math.sqrt(2))) / 2
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return float(mean[first]) * below + float(mean[second]) * (1 - below) + spread * density


def test_the_best_together_begin_with_the_best_expected_and_go_on_with_what_raises_the_better_of_both_most():
    found = made()
    mean, covariance = found.posterior.together(torch.arange(5), 9)
    best = int(mean.argmax())
    second = max(set(range(5)) - {best}, key=lambda row: best_of_two(mean, covariance, best, row))
    assert found.best_together(2) == [best, second]
    assert sorted(found.best_together(9)) == list(range(5))  # the sixth has no score


def test_where_no_other_can_be_better_each_is_taken_once_all_the_same():
    """All ran in full, the first one far ahead."""
    found = made([{9: 0.9}, *({9: 0.1 + row / 1000} for row in range(5))])
    assert sorted(found.best_together(6)) == list(range(6))


def test_scores_above_the_median_set_the_scale_and_those_far_below_are_drawn_in():
    """The median is 0.8; above it are 0.9 and 1, 0.1 and 0.2 away: their root mean square is 0.158."""
    scale = math.sqrt((0.1**2 + 0.2**2) / 2)
    expected = [-math.log1p(0.7 / scale), -math.log1p(0.1 / scale), 0, 0.1 / scale, 0.2 / scale]
    np.testing.assert_allclose(warped(np.array([0.1, 0.7, 0.8, 0.9, 1.0])), expected)


def test_where_nothing_is_above_the_median_the_deviation_is_the_scale():
    np.testing.assert_allclose(warped(np.array([0.0, 1.0, 1.0])), [-math.log1p(1 / np.std([0, 1, 1])), 0, 0])
    np.testing.assert_allclose(warped(np.array([0.3, 0.3])), [0, 0])


def test_what_others_have_seen_moves_what_is_expected_and_is_asked_nothing():
    """As if the others were trials of one's own, but for whose end can be the best."""
    whole = made()
    taught = Forecast(ROWS, np.zeros(1, int), CURVES[:3], (), {}, LADDER, CURVES[3:])
    assert taught.expected.tolist() == whole.expected[:3].tolist()
    assert taught.started.tolist() == [0, 1, 2]
    assert sorted(taught.best_together(6)) == [0, 1, 2]
    assert whole.expected[:5].argmax() < 3  # so that the gap to the best is the same
    new = np.array([[0.05], [0.5], [0.95]])
    assert taught.best_points(new) == whole.best_points(new)
