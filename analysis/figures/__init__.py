"""Arrays in, PNG bytes out: the one place that draws.

Figures are made object by object, without pyplot, so that nothing global changes and no display is needed. The same
input gives the same bytes. Text is drawn as it stands.
"""

from analysis.figures.bars import bars
from analysis.figures.curves import Curve, curves
from analysis.figures.forest import Effect, forest
from analysis.figures.lines import lines
from analysis.figures.matrix import matrix
from analysis.figures.page import svg
from analysis.figures.panels import Panel, Shades, in_rows, panels
from analysis.figures.parallel import Coordinate, parallel
from analysis.figures.points import points
from analysis.figures.scatter import scatter
from analysis.figures.strips import strips

__all__ = [
    "Coordinate",
    "Curve",
    "Effect",
    "Panel",
    "Shades",
    "bars",
    "curves",
    "forest",
    "in_rows",
    "lines",
    "matrix",
    "panels",
    "parallel",
    "points",
    "scatter",
    "strips",
    "svg",
]
