"""The words that a study is written in."""

from sweeps.decisions.dimensions import Choice, Each, Real, When, Whole
from sweeps.decisions.space import Space
from sweeps.decisions.stages import Published, Search, Stage
from sweeps.decisions.study import Study, Watch
from sweeps.main import answer_in_one_line

__all__ = ["Choice", "Each", "Published", "Real", "Search", "Space", "Stage", "Study", "Watch", "When", "Whole"]

answer_in_one_line()  # here, as a study imports its words first, and main last
