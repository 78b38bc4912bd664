"""What looking at a stage after every seed costs in truth, and saves in seeds (`--until decided`):

    python -m tests.benchmarks.seeding [--repetitions 500]

Simulated as in inference.py: 5,000 images, K trials that are equal, or of which the last is one or two points better;
what images do not explain of a seed's score has a standard deviation of 0.2 or 0.4 points, the first trial's by once or
three times as much. Trials get two seeds, and those that may be best one more at a time, to ten at most. False: any
pair is told apart at the end though all are equal. Dropped: of equal trials the first is not among those that may be
best. Right: the better one alone may be best. Seeds: all trials' in all, against ten for each, in percent too. By the
rule of seeding.py (seeds from 3, intervals for all looks), and by what it might have been.

Measured 2026-11-27, 400 repetitions, Monte Carlo error 1.1 at 5 %; K | sd | first | seeds from | looks | false |
dropped | seeds | a point better: right, with all ten seeds, seeds | two points: the same.

| 2 | 0.2 | × 1 | 2 | one | 3.0 | 4.2 | 35.7 | 76.5 | 93.0 | 29.9 | 99.8 | 100.0 | 22.5 |
| 2 | 0.2 | × 1 | 2 | all | 4.0 | 3.5 | 36.7 | 74.2 | 93.0 | 35.0 | 99.8 | 100.0 | 27.6 |
| 2 | 0.2 | × 1 | 3 | one | 3.0 | 3.8 | 39.8 | 77.0 | 93.0 | 35.2 | 100.0 | 100.0 | 30.3 |
| 2 | 0.2 | × 1 | 3 | all | 3.8 | 3.5 | 40.1 | 76.2 | 93.0 | 38.7 | 100.0 | 100.0 | 32.7 |
| 2 | 0.4 | × 3 | 2 | one | 8.5 | 10.8 | 80.6 | 48.8 | 30.0 | 66.4 | 91.0 | 87.2 | 46.1 |
| 2 | 0.4 | × 3 | 2 | all | 8.8 | 6.0 | 88.9 | 37.2 | 30.0 | 82.5 | 88.0 | 87.2 | 68.6 |
| 2 | 0.4 | × 3 | 3 | one | 4.5 | 8.2 | 87.6 | 47.0 | 30.0 | 74.4 | 91.0 | 87.2 | 53.4 |
| 2 | 0.4 | × 3 | 3 | all | 6.2 | 4.0 | 92.6 | 35.2 | 30.0 | 87.9 | 87.8 | 87.2 | 72.2 |
| 5 | 0.2 | × 1 | 2 | one | 4.5 | 5.8 | 85.0 | 54.8 | 59.2 | 52.8 | 100.0 | 99.8 | 28.1 |
| 5 | 0.2 | × 1 | 2 | all | 5.0 | 3.5 | 87.4 | 53.8 | 59.2 | 67.0 | 100.0 | 99.8 | 34.0 |
| 5 | 0.2 | × 1 | 3 | one | 4.0 | 5.8 | 85.2 | 54.5 | 59.2 | 54.5 | 100.0 | 99.8 | 32.7 |
| 5 | 0.2 | × 1 | 3 | all | 5.2 | 3.2 | 87.4 | 52.8 | 59.2 | 67.0 | 100.0 | 99.8 | 36.7 |
| 5 | 0.4 | × 3 | 2 | one | 9.5 | 13.2 | 96.5 | 15.8 | 4.5 | 87.2 | 69.2 | 55.0 | 56.6 |
| 5 | 0.4 | × 3 | 2 | all | 6.2 | 6.8 | 99.0 | 11.5 | 4.5 | 95.0 | 62.5 | 55.0 | 74.3 |
| 5 | 0.4 | × 3 | 3 | one | 5.8 | 9.8 | 97.6 | 14.0 | 4.5 | 88.9 | 66.2 | 55.0 | 61.0 |
| 5 | 0.4 | × 3 | 3 | all | 4.5 | 5.0 | 99.4 | 9.2 | 4.5 | 96.3 | 60.2 | 55.0 | 76.9 |
"""

import argparse
import itertools
from dataclasses import dataclass

import numpy as np

from sweeps.decisions.inference import Comparison, compare
from sweeps.decisions.seeding import FIRST, TIE
from tests.benchmarks.inference import Case, World, ahead

MOST = 10


@dataclass(frozen=True)
class End:
    found: Comparison
    seeds: int


def spent(samples: list[np.ndarray], first: int, strictly: bool) -> End:
    """Return how the trials compare at the end, and how many seeds that took: the rule of seeding.py, on arrays."""
    given = [first] * len(samples)
    looks = MOST - first + 1 if strictly else 1
    while True:
        taken = [sample[:seeds] for sample, seeds in zip(samples, given, strict=True)]
        found = compare(taken)
        best = np.flatnonzero(compare(taken, of=(len(samples) - 1) * looks + 1).may_be_best)
        pairs = [found.difference(a, b) for a, b in itertools.combinations(best, 2)]
        short = [at for at in best if given[at] < MOST]
        if all(each.value - each.low <= TIE for each in pairs) or not short:
            return End(found, sum(given))
        for at in short:
            given[at] += 1


def repetition(case: Case, rng: np.random.Generator, first: int, strictly: bool) -> list[float]:
    world = World.drawn(rng)
    equal = [world.trial(MOST, sd) for sd in case.sds]
    end = spent(equal, first, strictly)
    row = [ahead(end.found).any(), not end.found.may_be_best[0], end.seeds / MOST / case.trials]
    for better in (0.01, 0.02):
        trials = [*equal[:-1], world.trial(MOST, case.seed_sd, better)]
        end = spent(trials, first, strictly)
        row += [alone(end.found), alone(compare(trials)), end.seeds / MOST / case.trials]
    return row


def alone(found: Comparison) -> bool:
    """Return whether the last trial is the only one that may be best."""
    return np.flatnonzero(found.may_be_best).tolist() == [len(found.scores) - 1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=500)
    options = parser.parse_args()
    of = ("K", "seed sd", "first", "seeds from", "looks", "false", "dropped", "seeds")
    of = (*of, "1 point: right", "with all", "seeds", "2 points: right", "with all", "seeds")
    print("| " + " | ".join(of) + " |\n" + "|--:" * len(of) + "|")
    for trials, (sd, times) in itertools.product((2, 5), ((0.002, 1), (0.004, 3))):
        for first, strictly in itertools.product((2, FIRST), (False, True)):
            case, rng = Case(trials, MOST, sd, times), np.random.default_rng([trials, round(1000 * sd), times])
            rows = [repetition(case, rng, first, strictly) for _ in range(options.repetitions)]
            how = f"{trials} | {100 * sd:.1f} | × {times} | {first} | {'all' if strictly else 'one'}"
            print(f"| {how} | " + " | ".join(f"{each:.1f}" for each in 100 * np.mean(rows, axis=0)) + " |", flush=True)


if __name__ == "__main__":
    main()
