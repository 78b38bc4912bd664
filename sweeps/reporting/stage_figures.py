"""The figures of a stage: what its values do, and how its trials learn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from analysis.page import Picture
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import StageResult
from sweeps.decisions.status import Status
from sweeps.reporting.album import Album
from sweeps.reporting.material import Material
from sweeps.reporting.short_tables import head, leaders
from sweeps.reporting.stage_report import StageReport

if TYPE_CHECKING:
    from analysis.figures import Curve, Effect  # imports Matplotlib, which a plan does not need

PAIR = ("validation", "train")
LEADERS = 8
UNRANKED = (Status.FAILED, Status.DROPPED)
MOST_CURVES = 10  # of more trials the LEADERS are drawn


@dataclass(frozen=True)
class StageFigures:
    """Draws a stage's figures into an album."""

    result: StageResult
    shown: StageReport
    material: Material
    album: Album

    def all(self) -> list[Picture]:
        """Return the effects, and the curves of score and loss; none where no trial has run an epoch."""
        if not any(outcome.history.epochs for outcome in self._drawn):
            return []
        scored = self.material.facts.yardstick.metric
        spread = self.shown.spread(self.material.terms.seeds_in_words)
        how = "solid, training {} dashed; " + f"{spread}."
        score, loss = f"Validation {scored} {how.format(scored)}", f"Validation loss {how.format('loss')}"
        return [
            *self._effects(),
            self._curves("learning", ("val_score", "train_score"), f"{scored}, %", score),
            self._curves("loss", ("val_loss", "train_loss"), "loss", loss),
            self._curves(scored, ("test_score", None), f"test {scored}, %", f"Test {scored}; {spread}."),
        ]

    @cached_property
    def _drawn(self) -> Sequence[Outcome]:
        outcomes = self.result.outcomes
        return outcomes if len(outcomes) <= MOST_CURVES else leaders(self.result, LEADERS)

    def _curves(self, end: str, metrics: tuple[str, str | None], ylabel: str, caption: str) -> Picture:
        from analysis import figures

        percent = ylabel.endswith("%")
        draw = partial(
            figures.curves,
            title=f"{self.result.stage.title}: {ylabel.removesuffix(', %')}",
            ylabel=ylabel,
            percent=percent,
            pair=PAIR if metrics[1] else None,
            head=head(self.result),
            reference=self.shown.reference() if metrics[0] == "test_score" else (),
        )
        if metrics[0] == "test_score" and self.shown.reference():
            caption = f"{caption} Open markers: published."
        if len(self._drawn) < len(self.result.outcomes):
            caption = f"{caption} Lines: the best {len(self._drawn)} of {len(self.result.outcomes)} trials."
        name = f"{self.result.stage.name}-{end}"
        caption = f"{self.result.stage.title}. {caption}"
        return self.album.add(
            name,
            caption,
            self._state,
            lambda: partial(draw, [self._curve(o, metrics) for o in self._with()], others=self._others(metrics[0])),
        )

    def _others(self, metric: str) -> np.ndarray | None:
        """Return the means of the trials that are not drawn as lines, (trials, epochs); None where all are."""
        shown = {outcome.key for outcome in self._drawn}
        rest = [each for each in self.result.outcomes if each.key not in shown and each.history.epochs]
        if not rest:
            return None
        means = np.full((len(rest), max(each.history.epochs for each in rest)), np.nan)
        for row, each in zip(means, rest, strict=True):
            row[: each.history.epochs] = each.history.curve(metric).mean(axis=0)
        return means

    def _with(self) -> list[Outcome]:
        return [outcome for outcome in self._drawn if outcome.history.epochs]

    def _curve(self, outcome: Outcome, metrics: tuple[str, str | None]) -> Curve:
        from analysis.figures import Curve

        history, (solid, dashed) = outcome.history, metrics
        return Curve(
            outcome.cell.label + (f" ({outcome.status})" if outcome.status in UNRANKED else ""),
            history.curve(solid),
            outcome.status == Status.CENSORED,
            history.curve(dashed) if dashed else None,
            self.material.looks.get(outcome.key),
        )

    def _effects(self) -> list[Picture]:
        winner = self.result.winner
        if winner is None:
            return []
        entered = {each.key for each in (*winner.contest.compared, *winner.contest.left_out)}
        ranked = [outcome for outcome in self._drawn if outcome.key in entered]  # of a search those confirmed
        if len(ranked) < 2:
            return []
        from analysis import figures

        scored, named = self.material.facts.yardstick.metric, winner.outcome.cell.named
        told = winner.contest.told and any(winner.contest.difference(each, winner.outcome) for each in ranked)
        how = "simultaneous 95 % intervals over seeds and images" if told else "intervals are not known"
        draw = partial(
            figures.forest,
            title=f"{self.result.stage.title}: distance to the winner",
            xlabel=f"validation {scored} less that of {named}, points",
        )
        caption = f"{self.result.stage.title}. Validation {scored} against {named}: {how}."
        effects = [self._effect(outcome, winner.outcome) for outcome in ranked]
        return [
            self.album.add(f"{self.result.stage.name}-effects", caption, self._state, lambda: partial(draw, effects))
        ]

    def _effect(self, outcome: Outcome, best: Outcome) -> Effect:
        from analysis.figures import Effect

        number, note = self.material.looks.get(outcome.key, 0), f"{100 * outcome.score:.1f} %"
        found = self.result.winner.contest.difference(outcome, best) if self.result.winner else None
        low, high = (found.low, found.high) if found else (None, None)
        if outcome is best or outcome.key == best.key or low is None or high is None:
            return Effect(outcome.cell.named, 100 * (outcome.score - best.score), number=number, note=note)
        return Effect(outcome.cell.named, 100 * (outcome.score - best.score), 100 * low, 100 * high, number, note)

    @cached_property
    def _state(self) -> Hashable:
        """Return what the figures show: other trials, or more of them, are another picture."""
        winner = self.result.winner.outcome.key if self.result.winner else None
        trials = tuple(
            (each.key, each.cell.named, each.status, each.history.count, self.material.looks.get(each.key))
            for each in self._drawn
        )
        return winner, trials, len(self.result.outcomes)
