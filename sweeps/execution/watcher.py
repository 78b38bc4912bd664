"""Looking at a trial while it trains: its first filters and the images that it gets, drawn when the study says."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sweeps.decisions.study import Watch
from trainables.models import Network

IMAGES = 16  # of a batch


class Watcher:
    """Takes copies while training goes on; they are drawn at the epoch's end."""

    def __init__(self, watch: Watch, done: int) -> None:
        """Watch from epoch `done` on: what was due before has been drawn in an earlier run."""
        self.moments = {kind: sorted(at for at in getattr(watch, kind) if at >= done) for kind in ("filters", "images")}
        self.taken: list[tuple[str, float, np.ndarray]] = []

    def due(self, progress: float) -> bool:
        """Tell whether something is to be taken after so many epochs."""
        return any(moments and progress >= moments[0] for moments in self.moments.values())

    def look(self, progress: float, network: Network, images: Tensor) -> None:
        """Take what is due after `progress` epochs: the first convolution's weights, or `images`, (N, H, W, C)."""
        for kind, moments in self.moments.items():
            if moments and progress >= moments[0]:
                moments[:] = [at for at in moments if at > progress]
                seen = _filters(network) if kind == "filters" else images[:IMAGES]
                if seen is not None:
                    self.taken.append((kind, progress, seen.detach().cpu().numpy().copy()))

    def drawn(self, trial: str, dataset: str) -> dict[str, bytes]:
        """Return figures of what was taken since the last time: file name → PNG."""
        if not self.taken:
            return {}
        from analysis.jobs.contact_sheet import sheet
        from analysis.jobs.filters_drawn import first_filters  # Matplotlib, only where something is drawn

        draw = {"filters": first_filters, "images": sheet}
        what = {"filters": "filters of the first convolution", "images": "training images as the network gets them"}
        files = {}
        for kind, progress, seen in self.taken:
            png = draw[kind](seen, f"{trial}: {what[kind]}", f"{dataset}, after {progress:.2f} epochs")
            files[f"training/{kind}-epoch-{progress:06.2f}.png"] = png
        self.taken.clear()
        return files


def _filters(network: Network) -> Tensor | None:
    """Return the first convolution's weights (n, c, h, w) float32; None for a network without."""
    first = network.first_convolution
    return None if first is None else first.weight.float()
