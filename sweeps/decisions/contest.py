"""The trials of a stage that ran in full, beside each other on the same images. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sweeps.decisions.inference import Comparison, Difference, compare
from sweeps.decisions.nested import compare_nested, untold
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.scatter import Spread, spread

MOST = 1000  # trials that are compared: what is told of pairs takes memory for each


@dataclass(frozen=True, eq=False)
class Contest:
    """How trials compare; those of which it was not kept what they make of each image are left out."""

    compared: tuple[Outcome, ...]
    left_out: tuple[Outcome, ...]
    comparison: Comparison | None  # None where no trial is compared
    spreads: Mapping[str, Spread]  # by key: how the scores of these trials scatter, and of those that lead to them
    same_images: bool = True  # whether they are compared on the same images, seed by seed where each seed has its own
    beyond: int = 0  # how many more there are that score lower than the MOST best

    @property
    def told(self) -> bool:
        """Whether anything can be told apart."""
        return self.comparison is not None and self.comparison.told

    def place(self, outcome: Outcome) -> int | None:
        """Return a trial's number among those compared; None where it is not one of them."""
        return self._places.get(outcome.key)

    @cached_property
    def best_set(self) -> tuple[Outcome, ...]:
        """The trials that may be the best, as far as the data can tell; none where it tells nothing."""
        if self.comparison is None or not self.told:
            return ()
        return tuple(each for each, may in zip(self.compared, self.comparison.may_be_best, strict=True) if may)

    def may_be_best(self, outcome: Outcome) -> bool:
        """Tell whether a trial is in the best set."""
        return outcome.key in self._best_keys

    def difference(self, one: Outcome, other: Outcome) -> Difference | None:
        """Return how much higher one scores than another, None where one of them is not compared."""
        a, b = self.place(one), self.place(other)
        return None if self.comparison is None or a is None or b is None else self.comparison.difference(a, b)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {each.key: at for at, each in enumerate(self.compared)}

    @cached_property
    def _best_keys(self) -> frozenset[str]:
        return frozenset(each.key for each in self.best_set)


def hold(
    ranked: Sequence[Outcome],
    by: Yardstick,
    part: str = "val",
    before: Mapping[str, Spread] | None = None,
    looks: int = 1,
) -> Contest:
    """Compare trials on a part of the data; how those `before` them scatter tells more of the seeds.

    It does not where seeds have validation images of their own (`vary_split`); nothing is told where only some do. Of
    very many the MOST best are compared, with intervals that hold for all. These hold for so many `looks` at once, each
    of them at more seeds, which counts as so many times the rivals.
    """
    entered = {each.key: each for each in ranked}
    beyond = max(0, len(entered) - MOST)
    if beyond:
        ranked = sorted(entered.values(), key=lambda outcome: -outcome.score)[:MOST]
    samples = {outcome.key: by.sample(outcome, part) for outcome in ranked}
    known = {key: sample for key, sample in samples.items() if sample is not None}
    also = {key: each for key, each in (before or {}).items() if key not in known}
    compared = tuple({each.key: each for each in ranked if each.key in known}.values())
    left_out = tuple(each for each in ranked if each.key not in known)
    if not known:
        return Contest((), left_out, None, also, beyond=beyond)
    taken, count = list(known.values()), (len(known) + beyond - 1) * looks + 1
    splits = {_split_of(outcome, part) for outcome in compared}
    if splits == {None}:
        spreads = also | {key: spread(sample) for key, sample in known.items()}
        return Contest(compared, left_out, compare(taken, also.values(), count), spreads, beyond=beyond)
    same = len(splits) == 1
    found = compare_nested(taken, by.share, count) if same else untold(taken)
    return Contest(compared, left_out, found, also, same, beyond)


def _split_of(outcome: Outcome, part: str) -> tuple[int, ...] | None:
    """Return the seeds that split the data where each has a part of its own; None where the part is the data set's."""
    return outcome.history.seeds if part == "val" and outcome.cell.trial.training.vary_split else None
