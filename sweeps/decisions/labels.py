"""How values are written in labels and tables."""

from __future__ import annotations

from typing import Any


def label(value: Any) -> str:
    """Return a value as tables and labels have it: `16-32-64`, `none`, `yes`; of a path, the file's name."""
    if isinstance(value, tuple | list):
        return "-".join(map(label, value))
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return str(value).rpartition("/")[2]
