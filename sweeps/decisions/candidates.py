"""Which of a search's trials are confirmed: those of which the best is expected to be best. Pure.

The leaders are often nearly the same point, and ordered by the luck of one seed; who confirms three of these confirms
one. So the model of learning curves (curve_model.py) says what each trial is to come to in full, and what two of them
have in common. What that brings is in README.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sweeps.decisions.coordinates import Coordinates
from sweeps.decisions.drawing import Draw
from sweeps.decisions.freeze_thaw import FreezeThaw
from sweeps.decisions.rules import ASHA
from sweeps.decisions.space import Space
from sweeps.decisions.threads import one_thread
from sweeps.decisions.told import Told

MOST = 500  # of many trials the model is told of the best: it is exact, and grows with the cube of what it is told


def candidates(
    space: Space, ranked: Sequence[Draw], diverged: Sequence[Draw], count: int, others: Sequence[Told] = ()
) -> list[Draw]:
    """Return so many of these trials, of which all have a score and the best come first.

    Those that `diverged` tell the model where it is bad, and `others` what these have seen in the space. Where the
    search's own are too few to tell it anything, the first ones.
    """
    if len(ranked) <= count or len(ranked) + len(diverged) < FreezeThaw.LEAST:
        return list(ranked[:count])
    from sweeps.decisions.forecast import Forecast  # with it comes torch

    shown, bad = ranked[:MOST], diverged[:MOST]
    points, epochs = Coordinates(space), ranked[0].epochs
    ladder = (*ASHA.rungs(epochs), epochs)
    rows = points.rows([*(draw.values for draw in (*shown, *bad)), *(each.values for each in others)])
    curves = [_told(draw.scores, ladder) for draw in shown] + [{}] * len(bad)
    taught, failed = [_told(each.scores, ladder) for each in others], range(len(shown), len(curves))
    with one_thread():
        found = Forecast(rows, points.draws, curves, failed, {}, ladder, taught)
        return [shown[row] for row in found.best_together(count)]


def _told(scores: Mapping[int, float], ladder: Sequence[int]) -> Mapping[int, float]:
    """Return the scores that the model is told of: at these epochs, and the last."""
    told = {*ladder, max(scores, default=0)}
    return {epoch: score for epoch, score in scores.items() if epoch in told and math.isfinite(score)}
