"""Cascading randomisation: a trained network loses what it has learned, layer by layer, from the logits down.

What an analysis shows of it must change with that, or it shows nothing that was learned. Adebayo et al., "Sanity checks
for saliency maps", NeurIPS 2018.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.figures import Panel, lines, panels
from analysis.inference.likeness import correlations, ranked
from analysis.inference.permutation import LIKELY, Matched, matched
from analysis.inference.seeds import counted, known_mean, measured, said
from analysis.maps.pointing import own_scale, verdicts
from analysis.report import Column, Table
from analysis.subject import Subject
from trainables.models import Network

DRAW = 1_000  # added to a network's seed: its own would draw the weights that its training began with
TRAINED = "none"  # the layers at random in the trained network
HARDLY = 0.7  # maps whose ranks are correlated so much have half of their variance in common
TITLE = "Do the maps show what the network has learned?"
EXAMPLES = 3  # images whose maps are drawn
MOST = 10  # layers whose maps are drawn, as more do not fit on a page

# The layer that a tensor belongs to: a convolution or FC layer with its batch norm, or a residual block.
_LAYER = re.compile(r"blocks\.\d+\.[a-z]+(\.\d+)?|hidden\.\d+|layer\d+\.\d+|\w+")


def layers(model: Network) -> dict[str, list[str]]:
    """Return a network's layers from the logits down, a residual block being one: name → names of its tensors."""
    tensors: dict[str, list[str]] = {}
    for name in model.state_dict():
        path = re.sub(r"^bn1\b", "conv1", name)  # the batch norm behind a residual network's first convolution
        if (layer := _LAYER.match(path)) and layer[0] != "normalize":  # which learns nothing
            tensors.setdefault(layer[0], []).append(name)
    named = zip(_names(tensors), tensors.values(), strict=True)
    return dict(reversed(list(named)))


def cascade(subject: Subject) -> Iterator[tuple[str, Network]]:
    """Yield the network with one layer more at random each time, and that layer's name: logits first, all at the end.

    It is one network that changes, not the subject's own. Its random weights are those of an untrained one.
    """
    model = copy.deepcopy(subject.model)
    blank = subject.untrained(DRAW + subject.seed).model.state_dict()
    for layer, tensors in layers(model).items():
        model.load_state_dict({name: blank[name] for name in tensors}, strict=False)
        yield layer, model


def _names(paths: Iterable[str]) -> Iterator[str]:
    """Yield the layers' names in the plan for their paths in the network, from the input on."""
    convolutions, full = itertools.count(1), itertools.count(1)
    for path in paths:
        if re.match(r"blocks\.\d+\.convs\.", path):
            yield f"conv{next(convolutions)}"
        elif path == "head" or path.startswith("hidden."):
            yield f"fc{next(full)}"
        else:
            yield path


@dataclass(frozen=True)
class Randomised:
    """Maps of images while a network loses what it has learned: `maps` (1 + layers, images, seeds, h, w) first of the
    trained network, then with one more of the `layers` at random each time.

    A map is held against the trained network's of the same image, and of the other images, by the correlation of their
    ranks over the positions (Spearman's); that is not known of a map that is the same everywhere.
    """

    layers: tuple[str, ...]
    maps: np.ndarray

    @cached_property
    def pairs(self) -> np.ndarray:
        """The correlations of each map with the trained one of each image: (1 + layers, images, images, seeds)."""
        found = np.empty((*self.maps.shape[:2], *self.maps.shape[1:3]))
        for seed in range(self.maps.shape[2]):
            ranks = [ranked(maps) for maps in self.maps[:, :, seed]]
            for level, each in enumerate(ranks):
                found[level, ..., seed] = correlations(each, ranks[0])
        return found

    @property
    def own(self) -> np.ndarray:
        """The correlations with the trained network's map of the same image, (1 + layers, images, seeds)."""
        return np.moveaxis(np.diagonal(self.pairs, axis1=1, axis2=2), -1, 1)

    @property
    def others(self) -> np.ndarray:
        """The mean correlations with its maps of the other images, of the same shape."""
        same = np.eye(self.maps.shape[1], dtype=bool)[..., None]
        return known_mean(np.where(same, np.nan, self.pairs), axis=2)

    @property
    def test(self) -> Matched | None:
        """Whether an all random network's maps are more like the trained one's of the same image than of others."""
        return matched(known_mean(self.pairs[-1], axis=2))

    def sentence(self) -> str:
        """Say how the maps change, and whether they show what the network has learned."""
        own, flat = self.own, int((np.ptp(self.maps[1:], axis=(3, 4)) == 0).sum())
        [verdict] = verdicts([self.test], "other images' maps")
        left = (
            f" {flat} of {self.maps[1:, :, :, 0, 0].size} maps of random layers are the same everywhere, and left out."
            if flat
            else ""
        )
        return (
            "Do the maps show what the network has learned? Its layers get the weights of an untrained one, from the "
            f"logits down. The maps' rank correlation with the trained network's is {said(own[1])} with "
            f"{self.layers[0]} at random and {said(own[-1])} with all layers (trained maps of different images: "
            f"{said(self.others[0])}): {verdict}, with {said(self.others[-1])}. {self._conclusions[1]}{left}"
        )

    @property
    def headline(self) -> str:
        """What came of it, in short."""
        return self._conclusions[0]

    @property
    def _conclusions(self) -> tuple[str, str]:
        """What came of it, in short and in a sentence."""
        test = self.test
        if test is None or test.p is None:
            return "what the maps show cannot be told", "What they show cannot be told."
        if test.own >= HARDLY:
            long = "They hardly change: they are no evidence for what the network has learned."
            return "the maps hardly change without what was learned", long
        if test.p <= LIKELY and test.own > test.others:
            long = "So much of them comes from image and architecture, and is no evidence for what was learned."
            return "a part of the maps stays without what was learned", long
        long = f"They depend on what was learned, as far as {test.images} images can tell."
        return "the maps depend on what was learned", long

    def captions(self, subject: Subject, about: str) -> tuple[str, str]:
        """Return the captions of curve() and examples()."""
        images = self.maps.shape[1]
        rule = (
            f"{about}The maps of {images} right predictions while the network's layers get the weights of an untrained "
            "one, one after another, from the logits down. "
        )
        return (
            f"{rule}Rank correlation over the positions with the trained network's maps; {counted(subject, images)}.",
            f"{rule}Each map on a scale of its own; the network of seed {subject.seed}.",
        )

    def table(self, subject: Subject) -> Table:
        """Return the correlations by layer."""
        columns = (
            Column("at random, from the logits down to"),
            Column("rank correlation with the trained network's map", digits=3),
            Column("with its maps of other images", digits=3),
        )
        found = zip(self._levels, self.own, self.others, strict=True)
        rows = tuple((name, measured(own), measured(others)) for name, own, others in found)
        return Table(f"{subject.name}: layers at random, {counted(subject, self.maps.shape[1])}", columns, rows)

    def curve(self, caption: str) -> bytes:
        """Draw the correlations over the layers, in bands of ± 1 sd over the seeds where there are several."""
        found = {"of the same image": self.own, "of the other images": self.others}
        return lines(
            [("with the trained network's map", {name: known_mean(each, axis=1).T for name, each in found.items()})],
            self._levels,
            title=TITLE,
            caption=caption,
            xlabel="layers at random, from the logits down to",
            ylabel="rank correlation",
        )

    def examples(self, images: np.ndarray, names: list[str], caption: str) -> bytes:
        """Draw the first images (n, H, W, C), called by these names, and the first network's maps of them, each on a
        scale of its own.
        """
        rows = []
        shown = np.unique(np.linspace(0, len(self.layers), MOST + 1).round().astype(int))
        for number, image in enumerate(images[:EXAMPLES]):
            maps = self.maps[shown, number, 0]
            overlays = own_scale(maps, *image.shape[:2])
            gray = image.mean(2).round().astype(np.uint8)  # colour is left to the map
            rows.append([Panel(image), *(Panel(gray, overlay=overlay) for overlay in overlays)])
        return panels(
            rows,
            title=TITLE,
            caption=caption,
            row_labels=names[:EXAMPLES],
            column_labels=["image", "trained", *(self.layers[level - 1] for level in shown[1:])],
            colormap="inferno",
            limits=(0, 1),
            colour_label="map, over its maximum",
        )

    @property
    def _levels(self) -> list[str]:
        return [TRAINED, *self.layers]
