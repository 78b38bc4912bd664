"""All analyses, by name, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from analysis.finding import Job
from analysis.jobs.ablation import Ablation
from analysis.jobs.compare import Compare
from analysis.jobs.contact_sheet import ContactSheet
from analysis.jobs.feature_maps import FeatureMaps
from analysis.jobs.filter_identification import FilterIdentification
from analysis.jobs.filters_drawn import FiltersDrawn
from analysis.jobs.grad_cam import GradCam
from analysis.jobs.mistakes import Mistakes
from analysis.jobs.neighbours import Neighbours
from analysis.jobs.occlusion import Occlusion
from analysis.jobs.tsne import TSNE
from trainables.errors import UserError, suggest

JOBS: dict[str, type[Job]] = {
    kind.name: kind
    for kind in (
        ContactSheet,
        Mistakes,
        Occlusion,
        GradCam,
        FilterIdentification,
        Ablation,
        FiltersDrawn,
        FeatureMaps,
        Neighbours,
        TSNE,
        Compare,
    )
}


def make(wanted: Mapping[str, Mapping[str, Any]]) -> list[Job]:
    """Return the jobs of these names with these options.

    Raises UserError for an unknown name or option, or a value that breaks a rule.
    """
    return [kind(name)(**_checked(name, options)) for name, options in wanted.items()]


def kind(name: str) -> type[Job]:
    """Return the job of this name. Raises UserError, naming those there are, where there is none."""
    if name not in JOBS:
        raise UserError(f"there is no analysis {name!r}{suggest(name, JOBS)}")
    return JOBS[name]


def option_types(name: str) -> dict[str, str]:
    """Return the options of a job with their types, as written."""
    return {option.name: str(option.type) for option in fields(kind(name))}  # type: ignore[arg-type]


def _checked(name: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    known = option_types(name)
    for option in options:
        if option not in known:
            raise UserError(f"analysis {name} has no option {option!r}{suggest(option, known)}")
    return options
