"""All analyses, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from analysis.job import Job
from trainables.errors import UserError, suggest

# The files of this folder by the names of their jobs, in the order in which a report shows what they find.
FILES = {
    "contact_sheet": "contact_sheet",
    "mistakes": "mistakes",
    "occlusion": "occlusion",
    "grad_cam": "grad_cam",
    "saliency": "saliency",
    "filters": "filter_identification",
    "ablation": "ablation",
    "filters_drawn": "filters_drawn",
    "feature_maps": "feature_maps",
    "neighbours": "neighbours",
    "tsne": "tsne",
    "compare": "compare",
}
JOBS = tuple(FILES)

# The types that options have, as a user's mistake is answered.
IN_WORDS = {
    "None": "None",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "tuple[int, ...]": "whole numbers",
    "tuple[str, ...]": "names",
}


def make(wanted: Mapping[str, Mapping[str, Any]]) -> list[Job]:
    """Return the jobs of these names with these options.

    Raises UserError for an unknown name or option, or a value that breaks a rule.
    """
    return [kind(name)(**_checked(name, options)) for name, options in wanted.items()]


def kind(name: str) -> type[Job]:
    """Return the job of this name; its file is imported only now, as most need torch. Raises UserError, naming those
    there are, where there is none.
    """
    if name not in FILES:
        raise UserError(f"there is no analysis {name!r}{suggest(name, JOBS)}")
    module = import_module(f"{__name__}.{FILES[name]}")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Job)]
    [own] = [kind for kind in kinds if kind.__module__ == module.__name__]
    return own


def option_types(name: str) -> dict[str, str]:
    """Return the options of a job with their types, as written."""
    return {option.name: str(option.type) for option in fields(kind(name))}


def _checked(name: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    known = option_types(name)
    for option, value in options.items():
        if option not in known:
            raise UserError(f"analysis {name} has no option {option!r}{suggest(option, known)}")
        if not any(_is(value, written) for written in known[option].split(" | ")):
            rule = " or ".join(IN_WORDS[written] for written in known[option].split(" | "))
            raise UserError(f"analysis {name}: {option} is {value!r}, but must be {rule}")
    return options


def _is(value: Any, written: str) -> bool:
    """Tell whether a value is of a type, as an option's annotation has it; a job checks further types itself."""
    match written:
        case "None":
            return value is None
        case "str":
            return isinstance(value, str)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "tuple[int, ...]" | "tuple[str, ...]":
            kind = written.removeprefix("tuple[").removesuffix(", ...]")
            return isinstance(value, tuple | list) and all(_is(entry, kind) for entry in value)
    return True
