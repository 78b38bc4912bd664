"""The figures of a search: its course, what it drew, what mattered, and what is worth its price."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

import numpy as np

from analysis.page import Picture
from sweeps.decisions.drawing import Draw
from sweeps.decisions.importance import importance_errors
from sweeps.decisions.labels import label
from sweeps.decisions.search_run import SearchResult, SearchRun
from sweeps.decisions.status import Status
from sweeps.decisions.told import pareto
from sweeps.reporting.album import Album
from sweeps.reporting.leaderboard import weighed, what_mattered
from sweeps.reporting.material import Material

UNITS = {"parameters": "parameters", "seconds": "training, s"}
NORMAL_95 = 1.96  # standard deviations
MOST_LINES = 200  # of the parallel coordinates; of more trials the latest are drawn


def search_pictures(result: SearchResult, material: Material, album: Album) -> list[Picture]:
    """Return the figures, drawn into the album; those for which there is too little are left out."""
    search, scored = result.search, f"validation {material.facts.yardstick.metric}, %"
    seen = [draw for draw in search.draws.values() if draw.scores]
    if not seen:
        return []
    state = tuple((draw.number, draw.state, len(draw.scores), draw.history.count) for draw in seen)
    drawn = [_course(search, seen, scored, state, album), _pareto(search, scored, state, album)]
    drawn += [_importance(search, material, state, album), _coordinates(search, seen, scored, state, album)]
    return [picture for picture in drawn if picture]


def _course(search: SearchRun, seen: Sequence[Draw], scored: str, state: Hashable, album: Album) -> Picture:
    def draw() -> partial[bytes]:
        from analysis import figures

        full = [each for each in seen if each.state == Status.DONE]
        groups = {
            "ran in full": _places(full),
            "stopped early, or not finished": _places([each for each in seen if each not in full]),
        }
        best = np.column_stack((groups["ran in full"][:, :1], np.maximum.accumulate(groups["ran in full"][:, 1:])))
        return partial(
            figures.points,
            groups,
            steps=("best so far of those in full", best) if len(full) > 1 else None,
            title=f"{search.stage.name}: progress",
            xlabel="trial, in the order drawn",
            ylabel=scored,
        )

    caption = f"{search.stage.name}. The best {scored.removesuffix(', %')} so far of each trial's first seed."
    return album.add(f"{search.stage.name}-history", caption, state, draw)


def _places(draws: Sequence[Draw]) -> np.ndarray:
    """Return number and score of trials, (N, 2)."""
    return np.array([(each.number, 100 * max(each.scores.values())) for each in draws], dtype=float).reshape(-1, 2)


def _coordinates(search: SearchRun, seen: Sequence[Draw], scored: str, state: Hashable, album: Album) -> Picture | None:
    shown = seen[-MOST_LINES:]
    drawn = {path: [each.values.get(path) for each in shown] for path in search.stage.space.fields}
    varied = {path: values for path, values in drawn.items() if len(set(map(repr, values))) > 1}
    if not varied:
        return None

    def draw() -> partial[bytes]:
        from analysis import figures

        axes = [figures.Coordinate(path.rpartition(".")[2], list(map(_value, of))) for path, of in varied.items()]
        scores = np.array([100 * max(each.scores.values()) for each in shown])
        title = f"{search.stage.name}: what was drawn"
        return partial(figures.parallel, axes, scores, title=title, colour_label=scored)

    caption = (
        f"{search.stage.name}. One line per trial, darker for a higher {scored.removesuffix(', %')}, with a gap "
        "where the trial has no such setting."
    )
    return album.add(f"{search.stage.name}-drawn", caption, state, draw)


def _value(value: object) -> float | int | str | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return label(value)


def _importance(search: SearchRun, material: Material, state: Hashable, album: Album) -> Picture | None:
    mattered = what_mattered(search)
    if mattered is None:
        return None
    (epoch, shares), over = mattered, search.result() is not None
    about = f"{material.agenda.study.name}, {material.data.name}, PED-ANOVA over the trials' scores at epoch {epoch}"

    def draw() -> partial[bytes]:
        from analysis import figures

        # seconds: once, when the search is over
        errors = importance_errors(search.stage.space, search.told, epoch) if over else {}
        return partial(
            figures.bars,
            [path.rpartition(".")[2] for path in shares],
            {"share": np.array(list(shares.values()))},
            errors={"share": NORMAL_95 * np.array([errors[path] for path in shares])} if over else None,
            title=f"{search.stage.name}: what mattered",
            caption="",
            ylabel="share, %",
            percent=True,
            sort=True,
        )

    lines = " Lines: about 95 % intervals, by resampling the trials." if over else ""
    caption = f"Which settings set the best quarter of the trials apart. {about}.{lines}"
    return album.add(f"{search.stage.name}-importance", caption, (state, over), draw)


def _pareto(search: SearchRun, scored: str, state: Hashable, album: Album) -> Picture | None:
    names, values, told = weighed(search)
    if len(values) < 2:
        return None

    def draw() -> partial[bytes]:
        from analysis import figures

        front = {each.number for each in pareto([each for each in told if not each.violation], names)}
        all_points = {number: (found[1], 100 * found[0]) for number, found in values.items()}
        best = np.array(sorted(all_points[number] for number in front), dtype=float).reshape(-1, 2)
        others = [point for number, point in all_points.items() if number not in front]
        return partial(
            figures.points,
            {"not dominated": best, "dominated": np.array(others, dtype=float).reshape(-1, 2)},
            steps=("the front", best) if len(names) == 2 else None,
            title=f"{search.stage.name}: score against price",
            xlabel=UNITS[names[1]],
            ylabel=scored,
            log=True,
        )

    caption = f"{search.stage.name}. Trials run in full: score against {UNITS[names[1]]}."
    return album.add(f"{search.stage.name}-pareto", caption, state, draw)
