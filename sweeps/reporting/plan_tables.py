"""The plan before anything is spent: trials per stage, with shapes, parameters and FLOPs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from analysis.report import Column, Table
from sweeps.decisions.labels import counted
from sweeps.decisions.planning import PlannedStage, distinct, in_all
from sweeps.decisions.stages import Search
from sweeps.decisions.study import Study
from sweeps.reporting.feed import VERSION
from trainables.plan import Layer, flops, parameters

MOST_ROWS, FIRST, LAST = 20, 10, 5  # of a table in a terminal: of a longer one its first and its last


class Outline(NamedTuple):
    """A plan, and how it would run: `where` says on what, `memory` how much of it that takes."""

    study: Study
    planned: Sequence[PlannedStage]
    seeds: int
    early_stopping: bool
    where: str
    memory: str


def print_plan(outline: Outline, console: Console) -> None:
    """Print every stage's trials and what each of them builds."""
    study, planned, seeds, early_stopping, where, memory = outline
    print_headline(study, planned, seeds, early_stopping, memory, console)
    console.print(f"Trials run {where}.", highlight=False, soft_wrap=True)
    laid_out = [entry for entry in planned if entry.cells and not entry.some]
    reachable = len({trial.key({}) for entry in laid_out for trial in entry.reachable})
    if reachable:
        console.print(f"All {reachable} trials that any winners could lead to can be built.", highlight=False)
    for stage in planned:
        console.print(_table(stage).to_rich())
    if any(entry.cells for entry in planned):
        console.print(
            "Where a stage starts from a winner, its trials are shown for the baseline's values; FLOPs: forward, per "
            "image.",
            highlight=False,
        )


def print_headline(
    study: Study, planned: Sequence[PlannedStage], seeds: int, early_stopping: bool, memory: str, console: Console
) -> None:
    """Print the study's question, how much there is to run, and what `memory` it needs."""
    to_draw = sum(entry.to_draw for entry in planned)
    drawn = f" and {to_draw} to be drawn" if to_draw else ""
    to_recheck = sum(len(entry.to_recheck) for entry in planned)
    rechecked = f" and at most {to_recheck} to recheck" if to_recheck else ""
    stopping = "on" if early_stopping else "off"
    if study.question:
        console.print(Text(study.question, "bold"), highlight=False)
    console.print(
        f"Study {study.name} on {study.baseline.dataset}: {counted(len(planned), 'stage')}, "
        f"{counted(len(list(distinct(planned))), 'distinct trial')}{drawn}{rechecked}, "
        f"{counted(study.baseline.training.epochs, 'epoch')}, {counted(seeds, 'seed')}, early stopping: {stopping}",
        highlight=False,
    )
    console.print(f"Memory: {memory}.", highlight=False, soft_wrap=True)


def plan_data(outline: Outline, warnings: Sequence[str]) -> dict[str, Any]:
    """Return what print_plan() prints as plain data, for `--dry-run --json`, with a version as the feed's."""
    study = outline.study
    return {
        "version": VERSION,
        "study": study.name,
        "question": study.question,
        "dataset": study.baseline.dataset,
        "epochs": study.baseline.training.epochs,
        "seeds": outline.seeds,
        "early_stopping": outline.early_stopping,
        "trials": in_all(outline.planned),
        "where": outline.where,
        "memory": outline.memory,
        "warnings": list(warnings),
        "stages": as_data(outline.planned),
    }


def as_data(planned: Sequence[PlannedStage]) -> list[dict[str, Any]]:
    """Return the plan as plain data, for plan.json."""
    return [
        {
            "stage": entry.stage.name,
            "starts_from": entry.start,
            **({"space": [row._asdict() for row in entry.space]} if entry.space else {}),
            **_constraint(entry),
            **({"rechecks": dict(entry.to_recheck)} if entry.to_recheck else {}),
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


def _constraint(entry: PlannedStage) -> dict[str, Any]:
    bounded = isinstance(entry.stage, Search) and entry.stage.constraint
    return {"constraint": dict(bounded)} if bounded else {}


def _table(entry: PlannedStage) -> Table:
    title = f"{entry.stage.name}: from {entry.start}"
    if entry.space:
        fields = tuple((row.field, row.range, row.when or "always") for row in entry.space)
        return Table(f"{title}; {entry.about}", (Column("field"), Column("drawn from"), Column("when")), fields)
    if entry.to_recheck:
        values = tuple((name, "; ".join(labels)) for name, labels in entry.to_recheck)
        heads = (Column("stage"), Column("the best value that the final winner does not have, of"))
        return Table(f"{title}; at most {len(values)} trials", heads, values)
    columns = (Column(entry.stage.name), Column("shapes"), Column("parameters"), Column("MFLOPs", digits=2))
    shown, count = entry.cells, len(entry.cells)
    if count > MOST_ROWS:
        shown, title = (*shown[:FIRST], *shown[-LAST:]), f"{title}; the first {FIRST} and the last {LAST} of {count:,}"
    rows = tuple((cell.label, shapes(layers), parameters(layers), flops(layers) / 1e6) for cell, layers in shown)
    return Table(title, columns, rows)


def shapes(layers: Sequence[Layer]) -> str:
    """Return the maps and vectors that the layers hand on; one that stays the same comes once.

    For example `16×30×30 → 16×15×15 → 3600 → 10`.
    """
    return " → ".join(shape for shape, _ in itertools.groupby("×".join(map(str, layer.shape)) for layer in layers))
