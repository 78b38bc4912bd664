"""How trials look: each has one colour and marker in all figures of a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

COLOURS = 8  # that tell apart (analysis/figures/colours.py)
WEAK = 7  # of these the last: yellow on white


def numbers(stages: Iterable[Sequence[str]]) -> dict[str, int]:
    """Return the number of each trial's look, by key, from the keys of each stage's trials in order.

    Within a stage of up to seven trials no two have one colour.
    """
    found: dict[str, int] = {}
    following = 0
    for keys in stages:
        taken = {found[key] % COLOURS for key in keys if key in found}
        for key in dict.fromkeys(keys):
            if key in found:
                continue
            while following % COLOURS == WEAK or (following % COLOURS in taken and len(taken) < WEAK):
                following += 1
            found[key] = following
            taken.add(following % COLOURS)
            following += 1
    return found
