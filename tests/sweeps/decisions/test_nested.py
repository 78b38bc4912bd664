import math

import numpy as np
import pytest
from scipy import stats

from sweeps.decisions.nested import compare_nested, untold
from tests.benchmarks.nested import stage


def by_hand(a, b, share):
    """Return V and its degrees of freedom for two samples, as the module says."""
    seeds, images = a.shape
    differences = a.astype(float) - b
    noise = np.mean([each.var() / images + 1 / images**2 for each in differences])
    total = max(noise, differences.mean(axis=1).var(ddof=1))
    variance = total / seeds + share * noise
    return variance, (seeds - 1) * variance * seeds / total


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_intervals_are_tukeys_with_each_pair_s_own_variance(seeds):
    samples = stage(np.random.default_rng(seeds), 3, seeds, images=400, seed_sd=0.02)
    found = compare_nested(samples, 0.1)
    for a, b in ((0, 1), (2, 0), (1, 2)):
        variance, freedom = by_hand(samples[a], samples[b], 0.1)
        margin = math.sqrt(variance) * stats.studentized_range.ppf(0.95, 3, max(2, freedom)) / math.sqrt(2)
        value = samples[a].mean() - samples[b].mean()
        difference = found.difference(a, b)
        assert (difference.value, difference.low, difference.high) == pytest.approx(
            (value, value - margin, value + margin), rel=1e-5
        )
    assert found.scores == pytest.approx([sample.mean() for sample in samples])


@pytest.mark.parametrize("above", [0.99, 1.01])
def test_what_is_behind_by_more_than_the_quantile_of_the_lead_may_not_be_best(above):
    samples = np.random.default_rng(2).normal(size=(2, 4, 300))
    variance, freedom = by_hand(*samples, 0.2)
    samples[1] += samples[0].mean() - samples[1].mean() + above * stats.t.ppf(0.95, freedom) * math.sqrt(variance)
    assert compare_nested(list(samples), 0.2).may_be_best.tolist() == [above < 1, True]


def test_what_the_splits_do_to_all_trials_alike_does_not_matter():
    """Where all images of some seeds are harder by the same for all trials, scores move and differences do not."""
    samples = list(np.random.default_rng(3).normal(size=(3, 3, 200)))
    harder = np.array([[0.5], [-0.2], [3.0]])
    found, moved = compare_nested(samples, 0.1), compare_nested([sample + harder for sample in samples], 0.1)
    for pair in ((0, 1), (1, 2)):
        one, other = found.difference(*pair), moved.difference(*pair)
        assert (one.low, one.high) == pytest.approx((other.low, other.high))
    assert moved.scores == pytest.approx(found.scores + 1.1)


def test_which_images_a_seed_has_in_which_order_does_not_matter():
    rng = np.random.default_rng(4)
    samples = stage(rng, 3, 3, images=200)
    orders = [rng.permutation(200) for _ in range(3)]
    turned = [np.stack([row[order] for row, order in zip(sample, orders, strict=True)]) for sample in samples]
    found, expected = (compare_nested(each, 0.1).difference(0, 2) for each in (turned, samples))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_seed_tells_nothing_and_a_trial_alone_is_best():
    one = compare_nested(stage(np.random.default_rng(0), 3, 1, better=0.5), 0.1)
    assert (one.told, one.may_be_best.tolist(), one.difference(2, 0).low) == (False, [True] * 3, None)
    alone = compare_nested(stage(np.random.default_rng(0), 1, 3), 0.1)
    assert (alone.told, alone.may_be_best.tolist(), alone.resolution, alone.seeds_for(0.01)) == (
        True,
        [True],
        None,
        None,
    )


def test_of_what_is_not_comparable_there_are_scores_alone():
    samples = [np.array([[True, False]]), np.array([[True, True], [True, False]])]
    found = untold(samples)
    assert (found.scores.tolist(), found.told, found.may_be_best.all()) == ([0.5, 0.75], False, True)
    assert found.difference(1, 0).low is None


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_nothing_to_compare_is_refused(shape):
    with pytest.raises(ValueError, match=f"a sample of {shape[0]} seeds and {shape[1]} images tells nothing"):
        compare_nested([np.zeros(shape, dtype=bool)] * 2, 0.1)


def test_trials_of_other_seeds_or_images_are_refused():
    for shape in ((3, 6), (2, 5)):
        with pytest.raises(ValueError, match="same shape"):
            compare_nested([np.zeros((3, 5), dtype=bool), np.zeros(shape, dtype=bool)], 0.1)


def test_seeds_needed_are_those_with_which_the_interval_is_as_narrow():
    rng = np.random.default_rng(6)
    samples = list(rng.normal(0, 0.03, (2, 300, 1)) + rng.normal(size=(2, 300, 400)))
    found = compare_nested(samples, 0.0)
    total = (samples[0] - samples[1]).mean(axis=1).var(ddof=1)
    for wanted in (7, 40):
        delta = stats.t.ppf(0.975, wanted - 1) * math.sqrt(total / wanted)
        assert found.seeds_for(delta * 1.001) == found.seeds_for(delta * 1.001, (0, 1)) == wanted
    assert compare_nested(samples, 0.5).seeds_for(0.001) is None  # the pool's own noise


@pytest.mark.parametrize(("trials", "seeds", "times"), [(2, 3, 1), (2, 5, 3), (5, 3, 3), (5, 5, 1)])
def test_of_equal_trials_few_are_told_apart(trials, seeds, times):
    """250 stages, the seeds of one trial scattering more: 5 % are 12.5, three sd more are 22."""
    rng = np.random.default_rng(7)
    false = dropped = 0
    for _ in range(250):
        found = compare_nested(stage(rng, trials, seeds, images=300, seed_sd=0.016, times=times), 0.1)
        false += any(found.difference(a, b).ahead for a in range(trials) for b in range(trials))
        dropped += not found.may_be_best[0]
    assert max(false, dropped) <= 22


def test_the_noise_of_the_pool_that_all_seeds_share_is_counted():
    """Of many seeds nothing else is left: without it, most equal trials would be told apart."""
    rng = np.random.default_rng(8)
    samples = []
    for _ in range(60):
        pool = rng.random((2, 1000)) < 0.75  # the same images right at every seed
        samples.append(np.stack([pool[:, rng.permutation(1000)[:100]] for _ in range(60)], axis=1))
    counted, left_out = (
        sum(compare_nested(each, share).difference(a, 1 - a).ahead for each in samples for a in range(2))
        for share in (0.1, 0.0)
    )
    assert counted <= 6 < left_out


def test_a_better_trial_is_found():
    rng = np.random.default_rng(9)
    found = sum(compare_nested(stage(rng, 2, 5, better=0.05), 0.1).difference(1, 0).ahead for _ in range(60))
    assert found > 45
