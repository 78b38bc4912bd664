"""What Tune writes into its own snapshot of an experiment, and nobody restores."""

from __future__ import annotations

from typing import Any


class Unsaved:
    """Holds nothing for that snapshot: an agenda, its threads and locks have no place there."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing."""
        return {}
