"""The plan before anything is spent: trials per stage, with shapes, parameters and FLOPs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from analysis.report import Column, Table
from sweeps.decisions.planning import PlannedStage, distinct
from sweeps.decisions.stages import Search, Study
from trainables.plan import Layer, flops, parameters


def print_plan(
    study: Study, planned: Sequence[PlannedStage], seeds: int, early_stopping: bool, console: Console
) -> None:
    """Print every stage's trials and what each of them builds."""
    trials = list(distinct(planned))
    drawn = f" and {sum(search.trials for search in study.searches)} to be drawn" if study.searches else ""
    stopping = "on" if early_stopping else "off"
    console.print(
        f"Study {study.name} on {study.baseline.dataset}: {len(planned)} stages, {len(trials)} distinct trials{drawn}, "
        f"{study.baseline.training.epochs} epochs, seeds: {seeds}, early stopping: {stopping}",
        highlight=False,
    )
    reachable = len({trial.key({}) for entry in planned if entry.cells for trial in entry.reachable})
    if reachable:
        console.print(f"All {reachable} trials that any winners could lead to can be built.", highlight=False)
    for stage in planned:
        console.print(_table(stage).to_rich())
    if trials:
        console.print(
            "Where a stage starts from a winner, its trials are shown for the baseline's values; FLOPs: forward, per "
            "image.",
            highlight=False,
        )


def as_data(planned: Sequence[PlannedStage]) -> list[dict[str, Any]]:
    """Return the plan as plain data, for plan.json."""
    return [
        {
            "stage": entry.stage.name,
            "starts_from": entry.start,
            **(
                {"space": [row._asdict() for row in entry.stage.space.describe()]}
                if isinstance(entry.stage, Search)
                else {}
            ),
            "trials": [
                {
                    "value": cell.label,
                    "config": cell.trial.to_dict(),
                    "parameters": parameters(layers),
                    "flops": flops(layers),
                    "layers": [vars(layer) for layer in layers],
                }
                for cell, layers in entry.cells
            ],
        }
        for entry in planned
    ]


def _table(entry: PlannedStage) -> Table:
    if isinstance(entry.stage, Search):
        return _space_table(entry, entry.stage)
    columns = (Column(entry.stage.name), Column("shapes"), Column("parameters"), Column("MFLOPs", digits=2))
    rows = tuple((cell.label, shapes(layers), parameters(layers), flops(layers) / 1e6) for cell, layers in entry.cells)
    return Table(f"{entry.stage.name}: from {entry.start}", columns, rows)


def _space_table(entry: PlannedStage, search: Search) -> Table:
    size = search.space.size
    share = f"{100 * entry.buildable.share:.0f} % of it can be built" if entry.buildable else ""
    told = (
        f"{search.trials} trials by {search.sampler}, {search.rule}; "
        f"{f'{size:,} points' if size else 'infinitely many points'}, {share}"
    )
    rows = tuple((row.field, row.range, row.when or "always") for row in search.space.describe())
    return Table(
        f"{search.name}: from {entry.start}; {told}", (Column("field"), Column("drawn from"), Column("when")), rows
    )


def shapes(layers: Sequence[Layer]) -> str:
    """Return the maps and vectors that the layers hand on, e.g.

    `16×30×30 → 16×15×15 → 3600 → 10`; one that stays the same comes once.
    """
    return " → ".join(shape for shape, _ in itertools.groupby("×".join(map(str, layer.shape)) for layer in layers))
