"""How often a stage's sentences are wrong: trials that are equal, and one that is a point better, by the rule of today
and by the one before it.

    python -m tests.benchmarks.inference [--repetitions 2000] [--jobs 2]

Simulated: 5,000 images of their own difficulty, on which trials of 75 % disagree in 20 % and two seeds of one trial in
17 %. What images do not explain of a seed's score has a standard deviation of 0.2 or 0.4 points, so that seeds scatter
by 0.46 or 0.57 points in all; the first trial's by one, two or three times as much. Beside the stage: nothing; ten
other trials of three seeds, of which as large a share scatters so ("alike"); or ten that all scatter as the quiet ones
do. Of these only the variances over seeds are drawn, which of so many images are chi-square.

False: any pair told apart though all are equal. Dropped: the first trial is not among those that may be best, or the
last, whichever is the oftener. Power: the last, a point better, is told ahead of all others. All in percent.

Measured 2026-11-26, 2,000 repetitions, Monte Carlo error 0.5 at 5 %. "equal": seeds scatter by 0.46 points in all
trials, and nothing lies beside the stage (n = 1: ten others); "worst": of all rows, but for n = 1 beside others that
are unlike.

| K | n | false before: equal, worst | false: equal, worst | dropped: worst | power before: equal | power: equal |
|--:|--:|--:|--:|--:|--:|--:|
| 2 | 1 | 1.4, 33.0 | 2.9, 3.5 | 3.6 | 16 | 21 |
| 2 | 3 | 17.0, 17.0 | 2.9, 5.1 | 4.4 | 72 | 38 |
| 2 | 5 | 16.9, 16.9 | 4.0, 5.2 | 5.3 | 87 | 67 |
| 5 | 1 | 9.3, 56.6 | 2.2, 4.9 | 5.9 | 2 | 0 |
| 5 | 3 | 60.1, 60.1 | 1.8, 4.3 | 4.0 | 42 | 1 |
| 5 | 5 | 59.9, 59.9 | 2.6, 3.6 | 4.0 | 66 | 9 |

With one seed and nothing beside, nothing is told apart. With one seed, beside others that scatter less by a factor of
two or three, 10 to 29 % are false: what a trial of one seed scatters by is borrowed, and cannot be known.
"""

import argparse
import itertools
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import optimize, stats

from sweeps.decisions.inference import Comparison, compare
from sweeps.decisions.scatter import Spread

IMAGES, SCORE, OTHERS, POINT = 5000, 0.75, 10, 0.01
APART, WITHIN = 0.20, 0.17  # of the images on which two trials, and two seeds of one, disagree


def correlation(disagree: float) -> float:
    """Return the correlation of two normals that lie on different sides of SCORE's quantile so often."""
    limit = stats.norm.ppf(SCORE)

    def excess(rho: float) -> float:
        both = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([limit, limit])
        return 2 * (SCORE - both) - disagree

    return float(optimize.brentq(excess, 0, 0.999))


SHARED, OWN = correlation(APART), correlation(WITHIN)
SLOPE = float(stats.norm.pdf(stats.norm.ppf(SCORE)))  # of the score in units of the ability
EXPLAINED = WITHIN / 2 / IMAGES  # the variance of a seed's score by its images


@dataclass(frozen=True)
class Case:
    trials: int
    seeds: int
    seed_sd: float  # beyond what images explain
    times: float  # the first trial's standard deviation over seeds to the others'

    @property
    def sds(self) -> list[float]:
        """Each trial's own `seed_sd`."""
        loud = math.sqrt(self.times**2 * (self.seed_sd**2 + EXPLAINED) - EXPLAINED)
        return [loud] + [self.seed_sd] * (self.trials - 1)

    def beside(self, rng: np.random.Generator) -> dict[str, list[Spread]]:
        """Draw the others."""
        alike = (self.sds * OTHERS)[:OTHERS]
        found = {"nothing": [], "alike": alike, "quiet": [self.seed_sd] * OTHERS}
        return {
            name: [Spread(3, (sd**2 + EXPLAINED) * rng.chisquare(2) / 2, EXPLAINED) for sd in sds]
            for name, sds in found.items()
            if name != "quiet" or self.times > 1
        }


@dataclass(frozen=True)
class World:
    """One set of images."""

    rng: np.random.Generator
    easy: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "World":
        easy = math.sqrt(SHARED) * rng.standard_normal(IMAGES, dtype=np.float32) + stats.norm.ppf(SCORE)
        return cls(rng, easy.astype(np.float32))

    def trial(self, seeds: int, seed_sd: float, better: float = 0.0) -> np.ndarray:
        able = self.easy + np.float32(math.sqrt(OWN - SHARED)) * self.rng.standard_normal(IMAGES, dtype=np.float32)
        luck = np.float32(math.sqrt(1 - OWN)) * self.rng.standard_normal((seeds, IMAGES), dtype=np.float32)
        of_seeds = (better + seed_sd * self.rng.standard_normal((seeds, 1))) / SLOPE
        return able + luck + of_seeds.astype(np.float32) > 0


def before(samples: list[np.ndarray]) -> np.ndarray:
    """Return who was told ahead of whom (K, K), by the former rule: more than two standard errors, from the seeds, or
    of one seed the binomial ones."""
    score = np.array([sample.mean() for sample in samples])
    seeds = len(samples[0])
    if seeds > 1:
        variance = np.array([sample.mean(axis=1).var(ddof=1) / seeds for sample in samples])
    else:
        variance = score * (1 - score) / IMAGES
    leads = score[:, None] - score
    return (leads >= 2 * np.sqrt(variance[:, None] + variance)) & (leads > 0) & (score == score.max())[:, None]


def ahead(found: Comparison) -> np.ndarray:
    """Return who is told ahead of whom, (K, K)."""
    trials = range(len(found.scores))
    return np.array([[found.difference(a, b).ahead for b in trials] for a in trials])


def repetition(case: Case, rng: np.random.Generator) -> dict[str, tuple[bool, ...]]:
    """Return, by what lies beside the stage, of equal trials whether any are told apart (before, now), and whether the
    first and the last are dropped; and whether the last is ahead of all if better (before, now)."""
    world = World.drawn(rng)
    equal = [world.trial(case.seeds, sd) for sd in case.sds]
    unequal = [*equal[:-1], world.trial(case.seeds, case.seed_sd, POINT)]
    rivals = np.arange(case.trials - 1)
    result = {}
    for beside, also in case.beside(rng).items():
        found = compare(equal, also)
        result[beside] = (
            bool(before(equal).any()),
            bool(ahead(found).any()),
            not found.may_be_best[0],
            not found.may_be_best[-1],
            bool(before(unequal)[-1, rivals].all()),
            bool(ahead(compare(unequal, also))[-1, rivals].all()),
        )
    return result


def measure(case: Case, repetitions: int) -> dict[str, np.ndarray]:
    """Return the percentage of repetitions in which each thing that `repetition` returns holds."""
    rng = np.random.default_rng([case.trials, case.seeds, round(1000 * case.seed_sd), case.times])
    found = [repetition(case, rng) for _ in range(repetitions)]
    return {beside: 100 * np.mean([each[beside] for each in found], axis=0) for beside in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    error = 100 * math.sqrt(0.05 * 0.95 / options.repetitions)
    print(f"{options.repetitions} repetitions; the Monte Carlo error at 5 % is {error:.1f} (one standard deviation)\n")
    print("| K | n | seed sd | first | beside | false before | false | dropped | power before | power |")
    print("|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|")
    cases = list(itertools.starmap(Case, itertools.product((2, 5), (1, 3, 5), (0.002, 0.004), (1, 2, 3))))
    with ProcessPoolExecutor(options.jobs) as pool:
        for case, rows in zip(cases, pool.map(partial(measure, repetitions=options.repetitions), cases), strict=True):
            for beside, (false_before, false, first, last, power_before, power) in rows.items():
                print(
                    f"| {case.trials} | {case.seeds} | {100 * case.seed_sd:.1f} | × {case.times} | {beside} "
                    f"| {false_before:.1f} | {false:.1f} | {max(first, last):.1f} | {power_before:.0f} | {power:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
