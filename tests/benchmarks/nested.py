"""How often a stage's sentences are wrong where each seed has a split of its own (`vary_split`).

    python -m tests.benchmarks.nested [--repetitions 2000] [--jobs 2]

Simulated as in tests/benchmarks/inference.py, but that each seed is scored on 1,000 of 10,000 images, drawn anew for
it and the same for all trials, and that the seeds' standard deviations are √5 times those, as 1,000 images leave more
noise than 5,000. Each split adds to the scores of all trials alike, with a standard deviation of one point. The columns
are those of that table. In percent.
"""

import argparse
import itertools
import math
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from scipy import stats

from sweeps.decisions.nested import compare_nested
from tests.benchmarks.inference import OWN, POINT, SCORE, SHARED, SLOPE, WITHIN, ahead

IMAGES, SHARE = 1000, 0.1
OF_SPLITS = 0.01
SCALE = math.sqrt(5000 / IMAGES)


def stage(rng, trials, seeds, images=IMAGES, seed_sd=0.004 * SCALE, times=1.0, better=0.0):
    """Return right or not, (seeds, images) for each trial, of which the last is `better`.

    Beyond what images explain, seeds scatter by `seed_sd`, the first trial's in all by `times` as much.
    """
    shared, own, luck = (np.float32(math.sqrt(part)) for part in (SHARED, OWN - SHARED, 1 - OWN))
    pool = round(images / SHARE)
    easy = shared * rng.standard_normal(pool, dtype=np.float32) + np.float32(stats.norm.ppf(SCORE))
    able = easy + own * rng.standard_normal((trials, pool), dtype=np.float32)
    able[-1] += better / SLOPE
    explained = WITHIN / 2 / images
    sds = np.full((trials, 1), seed_sd)
    sds[0] = math.sqrt(times**2 * (seed_sd**2 + explained) - explained)
    of_seeds = sds * rng.standard_normal((trials, seeds)) + OF_SPLITS * rng.standard_normal(seeds)
    samples = np.empty((trials, seeds, images), bool)
    for seed in range(seeds):
        held = rng.permutation(pool)[:images]
        moved = able[:, held] + (of_seeds[:, seed, None] / SLOPE).astype(np.float32)
        samples[:, seed] = moved + luck * rng.standard_normal((trials, images), dtype=np.float32) > 0
    return list(samples)


def measure(case: tuple[int, int, float, int], repetitions: int) -> list[float]:
    """Return the shares of false sentences, of the first and the last dropped, and of a better last found ahead."""
    trials, seeds, seed_sd, times = case
    rng, counts = np.random.default_rng(0), np.zeros(4)
    drawn = partial(stage, rng, trials, seeds, seed_sd=seed_sd * SCALE, times=times)
    for _ in range(repetitions):
        found = compare_nested(drawn(), SHARE)
        better = ahead(compare_nested(drawn(better=POINT * SCALE), SHARE))
        dropped = ~found.may_be_best[[0, -1]]
        counts += (ahead(found).any(), *dropped, better[-1, : trials - 1].all())
    return [*(counts / repetitions)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    cases = [*itertools.product((2, 5), (3, 5), (0.002, 0.004), (1, 2, 3))]
    print(f"{'trials':>6} {'seeds':>6} {'seed sd':>8} {'unlike':>7} {'false':>6} {'dropped':>8} {'power':>6}")
    with ProcessPoolExecutor(options.jobs) as pool:
        for case, found in zip(cases, pool.map(partial(measure, repetitions=options.repetitions), cases), strict=True):
            trials, seeds, seed_sd, times = case
            false, first, last, power = (100 * share for share in found)
            print(
                f"{trials:6} {seeds:6} {100 * seed_sd:8.1f} {times:6}× {false:6.1f} {max(first, last):8.1f} "
                f"{power:6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
