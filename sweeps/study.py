"""The words that a study is written in."""

from sweeps.decisions.space import Choice, Each, Real, Space, When, Whole
from sweeps.decisions.stages import Published, Search, Stage, Study, Watch

__all__ = ["Choice", "Each", "Published", "Real", "Search", "Space", "Stage", "Study", "Watch", "When", "Whole"]
