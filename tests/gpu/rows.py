"""A row of the table: what is claimed of the product on a GPU, and the function that checks or measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from trainables.devices import on_gpu

RIGHT, FAST = "right", "fast"
RATE = "images/s"  # the figure that ratios are of


@dataclass(frozen=True)
class Result:
    """What a row came to; `ok` is None where it was measured and nothing can be right or wrong."""

    ok: bool | None
    values: dict[str, Any] = field(default_factory=dict)
    note: str = ""


class LeftOut(Exception):
    """A row cannot be had here; why, in a line."""


@dataclass
class Setting:
    """Where the rows run. `done` has what came of those before, by name."""

    device: torch.device
    tiny: bool
    data_dir: Path | None = None
    done: dict[str, Result] = field(default_factory=dict)

    def size(self, full: int, tiny: int) -> int:
        """Return how much of something to take."""
        return tiny if self.tiny else full

    def figure(self, name: str, figure: str = RATE) -> float | None:
        """Return a figure of an earlier row, None where there is none."""
        result = self.done.get(name)
        return result.values.get(figure) if result else None


Check = Callable[..., Result]  # of a Setting


@dataclass(frozen=True)
class Row:
    """A check, and how much of the time it may take. Its speed is held against that of its peer, an earlier row.

    Rows go by their turn; those of the last turns are left out where the time is short.
    """

    name: str
    group: str
    check: Check
    claim: str
    seconds: float
    turn: int = 0
    needs: tuple[str, ...] = ()  # "gpu", or a module
    peer: str | None = None

    def lacks(self, device: torch.device) -> str | None:
        """Return what is missing here, None where nothing is."""
        for need in self.needs:
            if need == "gpu":
                if not on_gpu(device):
                    return "no GPU"
            elif not _found(need):
                return f"no {need}"
        return None


ROWS: list[Row] = []


def row(
    name: str,
    group: str,
    seconds: float,
    *,
    turn: int | None = None,
    needs: Sequence[str] = (),
    peer: str | None = None,
    **given: Any,
) -> Callable[[Check], Check]:
    """Add a row that calls the function with what is `given`; the first line of its docstring is the claim.

    Its turn is 1 where it is about what is right, else 2. Of several on one function the lowest comes first.
    """

    def added(check: Check) -> Check:
        claim = (check.__doc__ or "").strip().splitlines()[0].format(**given)
        at = 1 + (group == FAST) if turn is None else turn
        ROWS.append(Row(name, group, partial(check, **given), claim, seconds, at, tuple(needs), peer))
        return check

    return added


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a part of a package that is missing
        return False
