"""The confirmation of a search's best trials with fresh seeds: who runs on, and who has come to the end. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweeps.decisions.drawing import Draw
from sweeps.decisions.race import Lap, Race, race
from sweeps.decisions.records import Decision
from sweeps.decisions.seeding import Seeding
from trainables.history import History


class Confirmation:
    """The trials to be confirmed, the most promising first; in a race, or each in full.

    With a `seeding` they get their seeds one by one (seeding.py), and none races.
    """

    def __init__(
        self,
        candidates: Sequence[Draw],
        seeds: tuple[int, ...],
        epochs: int,
        *,
        raced: bool,
        seeding: Seeding | None = None,
    ) -> None:
        self.candidates, self.seeds, self.epochs, self.raced = candidates, seeds, epochs, raced
        self.seeding = seeding
        self.decisions: list[Decision] = []
        self._laps: list[Lap[Draw]] = []  # those that were decided
        self._reached: dict[Draw, int] = {}  # by those that are at work, or were
        self._screened = min((len(draw.scores) for draw in candidates), default=0)  # epochs that all have from that
        self._curves: dict[Draw, tuple[tuple[History, int], list[float]]] = {}  # and of what they were made
        self.look()
        self.decisions.clear()  # what stored trials have decided by now was so in an earlier run

    def look(self) -> None:
        """See what the trials have come to, once one of them has ended or paused."""
        standings = {draw: self.standings(draw) for draw in self.candidates if not draw.reason}
        self.race: Race[Draw] = race(standings, self.epochs, raced=self.raced)
        for lap in self.race.laps:
            if lap not in self._laps:
                self._laps.append(lap)
                on, out = ([draw.number for draw in group] for group in (lap.on, lap.out))
                self.decisions.append({"decision": "lap", "epoch": lap.epoch, "on": on, "out": out})

    def goes_on(self, draw: Draw, epoch: int) -> bool:
        """Take an epoch that all of a trial's seeds have; return whether it runs on."""
        self._reached[draw] = epoch
        return epoch < self.race.until

    def seeds_of(self, draw: Draw) -> tuple[int, ...]:
        """Return the seeds that a trial is confirmed with by now."""
        return self.seeding.of(draw.key) if self.seeding else self.seeds

    def due(self) -> list[Draw]:
        """Return who is to run on, and does not run now."""
        return [d for d in self.race.on if not d.running and len(self.curve(d)) < self.race.until]

    def reached(self, draw: Draw) -> int:
        """Return how many epochs a trial has with all seeds."""
        return max(len(self.curve(draw)), self._reached.get(draw, 0))

    def covers(self, draw: Draw) -> bool:
        """Tell whether a trial has run in full with all seeds."""
        return draw in self.candidates and not draw.reason and draw.history.covers(self.seeds_of(draw), self.epochs)

    def takes(self, draw: Draw) -> bool:
        """Tell whether a trial is judged by these seeds: also where it failed with them, or is out of the race."""
        return self.covers(draw) or draw in self.race.out or (draw in self.candidates and bool(draw.reason))

    def ranking(self) -> list[Draw]:
        """Return who ran in full, by the score over all seeds; then who is still in the race, and who left it last."""
        done = filter(self.covers, self.candidates)
        scores = {draw: draw.history.cut(self.seeds_of(draw), self.epochs).score() for draw in done}
        return [*sorted(scores, key=lambda draw: scores[draw], reverse=True), *self.race.on, *self.race.out]

    def let_go(self) -> list[tuple[Draw, int, float, float]]:
        """Return who was let go in the race and after which epoch, with where it stood and where the best did then.

        Who had run in full before, when the search had fewer trials, is not among them.
        """
        return [
            (draw, lap.epoch, self.standings(draw)[lap.epoch - 1], self.standings(lap.on[0])[lap.epoch - 1])
            for lap in self.race.laps
            for draw in lap.out
            if not self.covers(draw)
        ]

    def standings(self, draw: Draw) -> list[float]:
        """Return where a trial stands after each epoch that all seeds have: the mean of its scores so far, of the
        seed that screened it too, each with the weight of the part of the epochs that it has run.

        Early scores alone tell little of the end, and the one of the screening, of few epochs less than of all.
        """
        screened = self._screened
        fresh = len(self.seeds_of(draw)) * np.arange(1, self.epochs + 1)
        return [
            float((screened * draw.scores[screened] + weight * score) / (screened + weight))
            for weight, score in zip(fresh, self.curve(draw), strict=False)
        ]

    def curve(self, draw: Draw) -> list[float]:
        """Return a trial's best score so far after each epoch that all seeds have, their mean."""
        seeds = self.seeds_of(draw)
        (seen, count), curve = self._curves.get(draw, ((None, 0), []))
        if seen is not draw.history or count != len(seeds):
            curve = self._curve(draw.history, seeds)
            self._curves[draw] = (draw.history, len(seeds)), curve
        return curve

    def _curve(self, history: History, seeds: tuple[int, ...]) -> list[float]:
        if not history.covers(seeds, 1):
            return []
        scores = history.cut(seeds, self.epochs).curve("val_score")
        return list(np.maximum.accumulate(scores, axis=1).mean(axis=0))
