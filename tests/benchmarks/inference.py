"""How often a stage's sentences are wrong: trials that are equal, and one that is a point better, by the rule of today
and by the one before it.

    python -m tests.benchmarks.inference [--repetitions 2000]

Simulated: 5,000 images of their own difficulty, on which trials of 75 % disagree in 20 % and two seeds of one trial in
17 %. What images do not explain of a seed's score has a standard deviation of 0.2 or 0.4 points, so that seeds scatter
by 0.46 or 0.57 points in all; one trial's by one, two or three times as much. Beside the stage: nothing; ten other
trials of three seeds, of which as large a share scatters so; or ten that all scatter as the quiet ones do.

False: any pair told apart though all are equal. Dropped: the trial that scatters more (or, the larger figure, the last)
is not among those that may be best. Power: the last, a point better, is told ahead of all others. All in percent.
"""

import argparse
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from sweeps.decisions.inference import Comparison, compare
from sweeps.decisions.scatter import spread

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
    beside: str  # nothing, such, quiet

    @property
    def loud(self) -> float:
        """The first trial's own `seed_sd`."""
        return math.sqrt(self.times**2 * (self.seed_sd**2 + EXPLAINED) - EXPLAINED)

    @property
    def others(self) -> list[float]:
        share = OTHERS // self.trials if self.beside == "such" else 0
        return [self.loud] * share + [self.seed_sd] * (OTHERS - share) if self.beside != "nothing" else []


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


def repetition(case: Case, rng: np.random.Generator) -> tuple[bool, ...]:
    """Return, of equal trials, whether any are told apart (before, now) and the first or the last dropped; and whether
    the last is ahead of all if better (before, now)."""
    world = World.drawn(rng)
    also = [spread(world.trial(3, sd)) for sd in case.others]
    sds = [case.loud] + [case.seed_sd] * (case.trials - 1)
    equal = [world.trial(case.seeds, sd) for sd in sds]
    found = compare(equal, also)
    unequal = [*equal[:-1], world.trial(case.seeds, case.seed_sd, POINT)]
    best = np.arange(case.trials - 1)
    return (
        bool(before(equal).any()),
        bool(ahead(found).any()),
        not found.may_be_best[0],
        not found.may_be_best[-1],
        bool(before(unequal)[-1, best].all()),
        bool(ahead(compare(unequal, also))[-1, best].all()),
    )


def cases() -> Iterator[Case]:
    for trials, seeds, sd, times, beside in itertools.product(
        (2, 5), (1, 3, 5), (0.002, 0.004), (1, 2, 3), ("nothing", "such", "quiet")
    ):
        if beside != "quiet" or times > 1:
            yield Case(trials, seeds, sd, times, beside)


def measure(case: Case, repetitions: int, seed: int) -> np.ndarray:
    """Return the share of repetitions in which each thing `repetition` returns holds."""
    rng = np.random.default_rng(seed)
    return np.mean([repetition(case, rng) for _ in range(repetitions)], axis=0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=2000)
    options = parser.parse_args()
    error = 100 * math.sqrt(0.05 * 0.95 / options.repetitions)
    print(f"{options.repetitions} repetitions; the Monte Carlo error at 5 % is {error:.1f} (one standard deviation)\n")
    print("| K | n | seed sd | one trial | others | false before | false | dropped | power before | power |")
    print("|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|")
    for seed, case in enumerate(cases()):
        false_before, false, first, last, power_before, power = 100 * measure(case, options.repetitions, seed)
        print(
            f"| {case.trials} | {case.seeds} | {100 * case.seed_sd:.1f} | × {case.times} | {case.beside} "
            f"| {false_before:.1f} | {false:.1f} | {max(first, last):.1f} | {power_before:.0f} | {power:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
