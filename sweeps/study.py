"""The words that a study is written in."""

from sweeps.command import begin
from sweeps.decisions.claims import Claim
from sweeps.decisions.dimensions import Choice, Each, Real, When, Whole
from sweeps.decisions.space import Space
from sweeps.decisions.stages import Published, Search, Stage
from sweeps.decisions.study import Study, Watch

__all__ = [
    "Choice",
    "Claim",
    "Each",
    "Published",
    "Real",
    "Search",
    "Space",
    "Stage",
    "Study",
    "Watch",
    "When",
    "Whole",
]

begin()  # once more: of `python -m sweeps.part_a` the package does not know the program yet
