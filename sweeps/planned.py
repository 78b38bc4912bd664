"""What a command would run: the stages' trials, the memory that they need, and how they share the machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from rich.console import Console

from sweeps.decisions.planning import PlannedStage, plan_study
from sweeps.execution import memory
from sweeps.execution.machines import Machines
from sweeps.execution.memory import Demand
from sweeps.execution.sharing import Sharing, largest, share_out
from sweeps.options import RunOptions
from sweeps.reporting.plan_tables import Outline, plan_data, print_plan
from sweeps.study import Study
from trainables import datasets
from trainables.footprint import Images

NOBODY_ELSE = "--priority and --share change nothing where a command has a Ray of its own, as here"


class Plan(NamedTuple):
    """What is to run, on what, and the memory that it needs."""

    data: datasets.Found
    images: Images
    stages: list[PlannedStage]
    demand: Demand


def plan(study: Study, options: RunOptions) -> Plan:
    """Return the plan of a study with its options. Raises UserError where it cannot be run."""
    found = datasets.find(study.baseline.dataset, options.data_dir)
    images = Images.expected(found)
    stages = plan_study(study, images.shape, images.classes)
    here = options.machines.here()
    return Plan(found, images, stages, memory.demand(study.baseline.dataset, stages, images, options.seeds, here))


def show(study: Study, options: RunOptions, console: Console) -> int:
    """Print the plan, for people or for programs, and return the exit status."""
    made = plan(study, options)
    shared = sharing(options.machines.here(), options, made.stages, made.images)
    outline = Outline(study, made.stages, options.seeds, options.early_stopping, shared.words, made.demand.words)
    warnings = (*shared.warnings, *made.demand.warnings)
    if options.json:
        print(json.dumps(plan_data(outline, warnings)))
        return 0
    print_plan(outline, console)
    for line in warnings:
        console.print(f"warning: {line}", highlight=False, soft_wrap=True)
    return 0


def sharing(machines: Machines, options: RunOptions, stages: Sequence[PlannedStage], images: Images) -> Sharing:
    """Return how trials share the machines."""
    need = partial(largest, stages, images, options.seeds)
    shared = share_out(machines, need, all_of_them=options.num_gpus is None)
    if machines.address or not (options.priority or options.share):
        return shared
    return replace(shared, warnings=(*shared.warnings, NOBODY_ELSE))
