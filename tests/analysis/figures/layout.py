"""Where everything on a figure ends up."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

LONG = "a caption that costs $5 and $6 and goes on for long enough to need several lines of any page, " * 5


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return words, pictures and the insides of axes, in dots."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    beyond = set()  # ticks outside of the view keep their words, but are not drawn
    for axes in figure.axes:
        sides = (axes.get_xlim(), axes.get_xticklabels()), (axes.get_ylim(), axes.get_yticklabels())
        for at, (limits, labels) in enumerate(sides):
            low, high = sorted(limits)
            beyond |= {label for label in labels if not (axes.axison and low <= label.get_position()[at] <= high)}
    shown = [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in beyond
    ]
    found = [(text.get_text(), text.get_window_extent(renderer)) for text in shown]
    for axes in figure.axes:
        found += [
            ("picture", Bbox(axes.transData.transform(np.reshape(image.get_extent(), (2, 2)).T)))
            for image in axes.images
        ]
        found += [] if axes.images else [("axes", axes.get_window_extent(renderer))]
    return found


def overlapping(found: list[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    """Return the pairs that share more than a dot in both directions."""
    low, high = (np.array([corner(box) for _, box in found]) for corner in (lambda box: box.min, lambda box: box.max))
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    return [(found[one][0], found[other][0]) for one, other in np.argwhere((shared > 1).all(axis=2)) if one < other]


def outside(figure: Figure, found: list[tuple[str, Bbox]]) -> list[str]:
    """Return what reaches more than a dot beyond the page."""
    page = figure.bbox
    return [name for name, box in found if box.x0 < -1 or box.y0 < -1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1]
