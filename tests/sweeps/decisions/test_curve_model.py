"""The model against the same written out, number by number, in NumPy."""

import math

import numpy as np
import pytest
import torch

from sweeps.decisions import curve_model
from sweeps.decisions.curve_model import FAR, LENGTH, PRIORS, Posterior, Seen, fit, kernel_at, loss

RNG = np.random.default_rng(3)
POINTS = RNG.random((5, 3))
DRAWS = np.array([0, 1, 1])  # the second and third column belong to one draw
PLACE = RNG.normal(size=len(PRIORS) + 2)
TRIALS, EPOCHS = [0, 0, 0, 1, 1, 2, 3], [1, 2, 5, 1, 3, 1, 2]
SCORES = RNG.normal(size=7)
JITTER = 1e-8


def seen(keep=slice(None)) -> Seen:
    return Seen(torch.tensor(TRIALS[keep]), torch.tensor(EPOCHS[keep]).double(), torch.tensor(SCORES[keep]))


def parameters() -> tuple[dict[str, float], list[float]]:
    drawn_in = FAR * np.tanh(PLACE / FAR)
    sizes = {name: m * math.exp(s * at) for (name, (m, s)), at in zip(PRIORS.items(), drawn_in, strict=False)}
    return sizes, [LENGTH[0] * math.sqrt(2) * math.exp(LENGTH[1] * at) for at in drawn_in[len(PRIORS) :]]


def covariance(i: int, t: float, j: int, s: float, points=POINTS) -> float:
    p, lengths = parameters()
    square = sum(((points[i][c] - points[j][c]) / lengths[DRAWS[c]]) ** 2 for c in range(3))
    r = math.sqrt(5 * square)
    k = (1 + r + r * r / 3) * math.exp(-r)
    same = float(i == j)
    decay = (p["beta"] / (t + s + p["beta"])) ** p["alpha"]
    return (
        1
        + p["asymptote"] ** 2 * k
        + p["own_asymptote"] ** 2 * same
        + (p["deviation"] ** 2 + p["like_deviation"] ** 2 * k + p["own_deviation"] ** 2 * same) * decay
    )


def dense(pairs, others, points=POINTS) -> np.ndarray:
    return np.array([[covariance(i, t, j, s, points) for j, s in others] for i, t in pairs])


KNOWN = list(zip(TRIALS, EPOCHS, strict=True))
NOISE = parameters()[0]["noise"] ** 2
INVERSE = np.linalg.inv(dense(KNOWN, KNOWN) + (NOISE + JITTER) * np.eye(7))


def posterior(awaited=None) -> Posterior:
    return Posterior(kernel_at(torch.tensor(PLACE), torch.tensor(DRAWS)), torch.tensor(POINTS), seen(), awaited)


def test_what_is_expected_and_its_deviation_are_those_of_the_dense_formula():
    mean, deviation = posterior().mean_and_deviation(torch.arange(5), 9)
    there = [(trial, 9) for trial in range(5)]
    cross = dense(there, KNOWN)
    np.testing.assert_allclose(mean, cross @ INVERSE @ SCORES, atol=1e-5)
    left = dense(there, there) - cross @ INVERSE @ cross.T
    np.testing.assert_allclose(deviation, np.sqrt(np.diag(left)), atol=1e-5)


def test_what_trials_have_in_common_at_an_epoch_is_that_of_the_dense_formula():
    mean, left = posterior().together(torch.tensor([4, 0, 2]), 9)
    there = [(trial, 9) for trial in (4, 0, 2)]
    cross = dense(there, KNOWN)
    np.testing.assert_allclose(mean, cross @ INVERSE @ SCORES, atol=1e-5)
    np.testing.assert_allclose(left, dense(there, there) - cross @ INVERSE @ cross.T, atol=1e-5)


def test_the_likelihood_is_that_of_the_dense_formula():
    _, logarithm = np.linalg.slogdet(INVERSE)
    expected = SCORES @ INVERSE @ SCORES / 2 - logarithm / 2 + PLACE @ PLACE / 2
    assert float(loss(torch.tensor(PLACE), torch.tensor(POINTS), torch.tensor(DRAWS), seen())) == pytest.approx(
        expected
    )


def test_how_far_a_score_moves_the_end_is_their_covariance_over_the_scores_deviation():
    moves = posterior().moves(torch.arange(5), (3, 9), 9)
    for row, epoch in enumerate((3, 9)):
        for trial in range(5):
            pair = [(trial, epoch), (trial, 9)]
            left = dense(pair, pair) - dense(pair, KNOWN) @ INVERSE @ dense(KNOWN, pair)
            assert float(moves[row, trial]) == pytest.approx(abs(left[0, 1]) / math.sqrt(left[0, 0] + NOISE), abs=1e-5)


def test_what_is_awaited_moves_no_mean_and_narrows_as_if_it_had_come():
    awaited = torch.tensor([2, 4]), torch.tensor([3.0, 1.0]).double()
    before, with_awaited = posterior(), posterior(awaited)
    mean, wide = before.mean_and_deviation(torch.arange(5), 9)
    same, narrow = with_awaited.mean_and_deviation(torch.arange(5), 9)
    torch.testing.assert_close(same, mean)
    both = [*KNOWN, (2, 3), (4, 1)]
    there = [(trial, 9) for trial in range(5)]
    inverse = np.linalg.inv(dense(both, both) + (NOISE + JITTER) * np.eye(9))
    left = dense(there, there) - dense(there, both) @ inverse @ dense(both, there)
    np.testing.assert_allclose(narrow, np.sqrt(np.diag(left)), atol=1e-5)
    assert (narrow < wide).all()


def test_points_beside_are_foretold_by_what_was_seen_elsewhere():
    more = RNG.random((1, 3))
    mean, deviation = posterior().beside(torch.tensor(more)).mean_and_deviation(torch.tensor([5]), 4)
    points = np.concatenate([POINTS, more])
    cross = dense([(5, 4)], KNOWN, points)
    assert float(mean) == pytest.approx((cross @ INVERSE @ SCORES).item(), abs=1e-5)
    left = covariance(5, 4, 5, 4, points) - cross @ INVERSE @ cross.T
    assert float(deviation) == pytest.approx(np.sqrt(left).item(), abs=1e-5)


def test_what_is_fitted_is_more_probable_than_the_priors_medians_and_the_same_each_time(monkeypatch):
    points, draws = torch.tensor(POINTS), torch.tensor(DRAWS)
    found, again = fit(points, draws, seen()), fit(points, draws, seen())
    assert found.sizes == again.sizes
    assert torch.equal(found.scales, again.scales)
    middle = torch.zeros(len(PRIORS) + 2).double()
    monkeypatch.setattr(curve_model, "kernel_at", lambda *_: found)
    fitted = loss(middle, points, draws, seen())  # the priors would only add to it
    monkeypatch.undo()
    assert fitted < loss(middle, points, draws, seen())


def test_a_draw_that_matters_gets_the_shorter_length_scale():
    points = torch.rand((30, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    curves = Seen(torch.arange(30), torch.ones(30).double(), torch.sin(6 * points[:, 0]))
    kernel = fit(points, torch.tensor([0, 1]), curves)
    assert kernel.scales[0] * 3 < kernel.scales[1]


def test_of_many_observations_those_of_every_second_trial_are_fitted_longer_curves_first(monkeypatch):
    """Five of seven may be fitted: of the trials in the order 0, 1, 2, 3 by their observations 0 and 2."""
    monkeypatch.setattr(curve_model, "FITTED", 5)
    points, draws = torch.tensor(POINTS), torch.tensor(DRAWS)
    of_part = fit(
        points,
        draws,
        Seen(*(torch.cat([each[:3], each[5:6]]) for each in (seen().trials, seen().epochs, seen().scores))),
    )
    of_all = fit(points, draws, seen())
    assert torch.equal(of_all.scales, of_part.scales)


def test_points_without_coordinates_are_all_alike():
    nowhere = torch.zeros((5, 0)).double()
    kernel = fit(nowhere, torch.zeros(0, dtype=torch.long), seen())
    mean, _ = Posterior(kernel, nowhere, seen()).mean_and_deviation(torch.arange(5), 9)
    assert mean.isfinite().all()
