"""How several studies share a cluster's GPUs, or its cores. Pure.

Who has a higher priority takes first what it wants. Among equals each is entitled to its share of the whole, those
without one to equal parts of what the shares leave; what somebody does not want goes to the others as they are
entitled. So nothing idles that somebody wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOWEST, HIGHEST = -100, 100  # priorities
ENOUGH = 1e-9


@dataclass(frozen=True)
class Claim:
    """What a study wants of a cluster: `wants` and `has` are numbers of GPUs, or of cores."""

    study: str
    user: str = ""
    priority: int = 0
    share: float | None = None  # of the whole, 0..1
    kind: str = "CPU"  # or "GPU": what its trials run on
    wants: float = 0.0
    has: float = 0.0


def allot(total: float, claims: Sequence[Claim]) -> list[float]:
    """Return how much of `total` each study may take, all of one kind."""
    may = [0.0] * len(claims)
    left = total
    for priority in sorted({claim.priority for claim in claims}, reverse=True):
        equals = [at for at, claim in enumerate(claims) if claim.priority == priority]
        entitled = _entitled([claims[at].share for at in equals])
        for at, granted in zip(equals, _fill(left, entitled, [claims[at].wants for at in equals]), strict=True):
            may[at] = granted
        left = max(0.0, total - sum(may))
    return may


def _entitled(shares: Sequence[float | None]) -> list[float]:
    """Return the parts that those of equal priority are entitled to, which add up to 1."""
    given = sum(share for share in shares if share is not None)
    others = shares.count(None)
    rest = max(0.0, 1.0 - given) / others if others else 0.0
    # where the shares leave nothing, those without one have as little as the smallest
    rest = rest or min((share for share in shares if share is not None), default=1.0)
    parts = [rest if share is None else share for share in shares]
    return [part / sum(parts) for part in parts]


def _fill(left: float, entitled: Sequence[float], wants: Sequence[float]) -> list[float]:
    """Share out what is left by what each is entitled to; what one does not want goes to the others."""
    may = [0.0] * len(wants)
    open_ = [at for at, wanted in enumerate(wants) if wanted > ENOUGH]
    while open_ and left > ENOUGH:
        whole = sum(entitled[at] for at in open_)
        parts = {at: min(left * entitled[at] / whole, wants[at] - may[at]) for at in open_}
        for at, part in parts.items():
            may[at] += part
        left -= sum(parts.values())
        open_ = [at for at in open_ if wants[at] - may[at] > ENOUGH]
    return may
