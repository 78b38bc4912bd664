"""What a search has of others' trials in its space: its sampler learns from them, and what it draws itself of them is
not trained again. Pure.

No run changes hands: what the search takes over goes on in a run of its own. The rule judges the search's own trials by
one another, those taken over among them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sweeps.decisions.bounds import broken
from sweeps.decisions.drawing import SCREENING, Draw, Drawing
from sweeps.decisions.labels import counted, listed
from sweeps.decisions.outcome import diverged
from sweeps.decisions.records import Decision, Known
from sweeps.decisions.rules import ASHA
from sweeps.decisions.screening import TAKEN
from sweeps.decisions.stages import Cell, Search
from sweeps.decisions.status import Status
from sweeps.decisions.told import Told
from trainables.errors import UserError

LEARNED = "learned"  # the decision that says from whom
MOST = 1000  # others' trials that are told: a draw takes about 0.3 s then, and the driver makes it
MOST_OF_GP = 200  # likewise of a Gaussian process, whose draws take 0.6 s then (README.md)
MOST_CURVES = 100  # likewise of the model of curves
UNTAUGHT = ("random", "grid")  # samplers that learn from nothing


@dataclass(frozen=True)
class Other:
    """A stored trial that a search has not drawn, and the point of the search's space that it is."""

    key: str
    values: Mapping[str, Any]
    known: Known


def shares(stage: Search) -> bool:
    """Tell whether others' trials are of any use to a search.

    They are not where it weighs seconds: these may have been taken on another machine.
    """
    return "seconds" not in (*stage.objectives, *stage.constraint)


def learns(stage: Search) -> bool:
    """Tell whether a search's sampler can learn from others' trials."""
    return stage.sampler not in UNTAUGHT and shares(stage)


def lent(stage: Search, others: Iterable[Other], study: str, epochs: int) -> dict[str, Known]:
    """Return what is known of those trials of other studies that a search need not train again where it draws them, by
    key.

    It takes one over where nobody trains it now, and no other seed would have to be trained along with the one that
    screens: where that one has run in full, or is the only one.
    """
    found = (each for each in others if shares(stage) and each.known.study not in ("", study))
    return {each.key: each.known for each in found if _can_be_taken(each.known, epochs)}


def lessons(drawing: Drawing, others: Iterable[Other]) -> dict[str, Told]:
    """Return what the sampler is told of others' trials, by key: each at its point, with the curve of the seed that
    screens, numbered below 0.

    One that ran in full is told as such. Of the rest each counts up to where successive halving among all of them would
    have paused it (`standing`): else one that a grid ran for long would seem better than one that this search paused.
    What has no such curve, is beyond a bound or drawn by the search itself is left out. Of many some are told, from
    the best to the worst.
    """
    draws = {each.key: draw for each in others if (draw := _draw(drawing, each))}
    paused = standing({key: draw.scores for key, draw in draws.items()}, drawing.start.training.epochs)
    told = {}
    for number, (key, draw) in enumerate(draws.items(), start=-len(draws)):
        known = replace(drawing.as_told(draw), number=number)
        if known.state == Status.CENSORED:
            known = replace(known, scores={at: score for at, score in known.scores.items() if at <= paused[key]})
        told[key] = known
    return _evenly(told, MOST_OF_GP if drawing.sampler.name == "gp" else MOST)


def for_model(drawing: Drawing) -> list[Told]:
    """Return what the model of learning curves is told of others' trials, those drawn by the search itself aside."""
    left = {key: told for key, told in drawing.lessons.items() if key not in drawing.draws and told.scores}
    return list(_evenly(left, MOST_CURVES).values())


def standing(curves: Mapping[str, Mapping[int, float]], epochs: int) -> dict[str, int]:
    """Return up to which epoch each of some curves (best score by epoch) comes by successive halving among them.

    At each rung the best third go on; one that has no score at the next rung stays there.
    """
    places: dict[str, int] = {}
    going = list(curves)
    for rung in ASHA.rungs(epochs):
        there = sorted((key for key in going if rung in curves[key]), key=lambda key: -curves[key][rung])
        places |= dict.fromkeys(there, rung)
        going = there[: len(there) // ASHA.ETA]
    return places


def learned(others: Iterable[Other], told: Mapping[str, Told]) -> list[Decision]:
    """Return the decisions that say from whose trials the sampler learns, one for each study."""
    by_study = defaultdict[str, list[str]](list)
    for each in others:
        if each.key in told:
            by_study[each.known.study].append(each.key)
    return [{"decision": LEARNED, "study": study, "trials": keys} for study, keys in sorted(by_study.items())]


def in_words(decisions: Sequence[Decision]) -> list[str]:
    """Return a sentence on whose trials the sampler has learned from, and one on whose were taken over; none where
    there are none.
    """
    taught, taken = defaultdict[str, set[str]](set), defaultdict[str, set[int]](set)
    for each in decisions:
        if each["decision"] == LEARNED:
            taught[each["study"]].update(each["trials"])
        if each["decision"] == TAKEN:
            taken[each["study"]].add(each["number"])
    sentences = []
    if taught:
        sources = f"what was stored in its space: {_by_study(taught)}"
        sentences.append(f"The sampler also learned from {sources}. These are not ranked here.")
    if taken:
        sentences.append(
            f"Taken over from other studies, with {counted(trained_elsewhere(decisions), 'epoch')} that are not "
            f"counted here: {_by_study(taken)}. They go on in runs of their own."
        )
    return sentences


def trained_elsewhere(decisions: Sequence[Decision]) -> int:
    """Return for how many epochs other studies had trained what a search took over from them, over all seeds."""
    return sum({each["number"]: each["trained"] for each in decisions if each["decision"] == TAKEN}.values())


def _by_study(found: Mapping[str, Collection[Any]]) -> str:
    return listed([f"{counted(len(trials), 'trial')} of {study}" for study, trials in sorted(found.items())])


def _can_be_taken(known: Known, epochs: int) -> bool:
    ended = known.status not in (Status.RUNNING, Status.FAILED)
    return ended and (known.history.covers(SCREENING, epochs) or known.history.seeds == SCREENING)


def _evenly(told: Mapping[str, Told], most: int) -> dict[str, Told]:
    """Return at most so many, in their order, evenly spaced by merit, so that good ones are no more frequent."""
    ranked = sorted(told, key=lambda key: told[key].merit)
    kept = {ranked[at] for at in np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int)}
    return {key: each for key, each in told.items() if key in kept}


def _draw(drawing: Drawing, other: Other) -> Draw | None:
    """Return another's trial as if the search had drawn it; None where nothing is to be learned from it."""
    try:
        trial = drawing.start.with_values(other.values)
        planned = drawing.planned(trial)
    except UserError:
        return None
    if other.key in drawing.draws or drawing.terms.key(trial) != other.key:
        return None
    if broken(drawing.stage.constraint, planned):
        return None
    draw = Draw(-1, -1, other.values, Cell("", (), trial), other.key, planned)
    draw.take(other.known.history)
    draw.reason = other.known.reason if diverged(other.known.reason) else None
    return draw if draw.scores or draw.reason else None
