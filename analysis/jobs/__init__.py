"""All analyses, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from analysis.job import Job
from trainables.errors import UserError, suggest

# The files of this folder, in the order in which a report shows what they find.
FILES = (
    "contact_sheet",
    "mistakes",
    "occlusion",
    "grad_cam",
    "saliency",
    "filter_identification",
    "ablation",
    "filters_drawn",
    "feature_maps",
    "neighbours",
    "tsne",
    "compare",
)


def _job(file: str) -> type[Job]:
    """Return the one job that a file of this folder defines."""
    module = import_module(f"{__name__}.{file}")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Job)]
    [own] = [kind for kind in kinds if kind.__module__ == module.__name__]
    return own


JOBS: dict[str, type[Job]] = {job.name: job for job in map(_job, FILES)}


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
    return {option.name: str(option.type) for option in fields(kind(name))}


def _checked(name: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    known = option_types(name)
    for option in options:
        if option not in known:
            raise UserError(f"analysis {name} has no option {option!r}{suggest(option, known)}")
    return options
