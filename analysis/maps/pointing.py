"""Whether a map points at the object in its image: the share of its mass there, and whether its maximum is there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from analysis.figures import bars
from analysis.finding import Figure
from analysis.inference.holm import holm
from analysis.inference.permutation import LIKELY, Matched, matched
from analysis.inference.seeds import known_mean, measured, said
from analysis.report import Measured


def on_object(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each map's mass that lies on the object, (n,), and 1 where its maximum does, else 0, (n,):
    the pointing game.

    `maps` (n, H, W) without negative values, `masks` (n, H, W) bool. NaN where a map is all zero, or an image has no
    object. Of several equal maxima the first counts. Zhang et al., "Top-down neural attention by excitation backprop",
    ECCV 2016, without its tolerance.
    """
    share = np.diagonal(shares(maps, masks)).copy()
    flat, inside = maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)
    peak = inside[np.arange(len(flat)), flat.argmax(axis=1)]
    return share, np.where(np.isfinite(share), peak, np.nan)


def shares(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the share of each map's mass under each mask, (n, m).

    `maps` (n, H, W) without negative values, `masks` (m, H, W) bool. NaN where a map is all zero, or a mask empty.

    Column j of row i, where the masks are of the same images as the maps, is what map i has on the object of image j.
    That is the null for what it has on its own, permutation.matched(values): objects lie near the centre, and maps may
    for other reasons, so that the object's share of the image is none.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    under = masks.reshape(len(masks), -1)
    mass = flat.sum(axis=1, keepdims=True)
    known = (mass > 0) & under.any(axis=1)
    return np.divide(flat @ under.T.astype(np.float64), mass, out=np.full((len(flat), len(under)), np.nan), where=known)


def stretched(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return maps (n, h, w) brought bilinearly to (n, height, width), corners aligned by pixel edges."""
    size = (height, width)
    return F.interpolate(torch.from_numpy(maps)[:, None], size, mode="bilinear", align_corners=False)[:, 0].numpy()


def own_scale(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return maps (n, h, w) without negative values stretched(), each over its own maximum; one of zeros stays so."""
    tops = np.maximum(maps.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
    return stretched((maps / tops).astype(np.float32), height, width)


def hits(points: np.ndarray) -> str | None:
    """Return how many maps point at the object, of those for which that is known, in words; None where it never is.

    `points` are 1, 0 or NaN, as on_object() returns them.
    """
    known = points[np.isfinite(points)]
    return f"{int(known.sum())} of {len(known)}" if len(known) else None


@dataclass(frozen=True)
class Pointing:
    """What the maps of the networks of several seeds have on objects.

    `share` and `others` (images, seeds) of each map's mass are on its own image's object, and on average under the
    masks of the other images; `points` (images, seeds) as on_object() has them. `test` asks whether the own ones have
    more, of the mean over the seeds. `area` (images,) is the object's share of the image.
    """

    share: np.ndarray
    others: np.ndarray
    points: np.ndarray
    test: Matched | None
    area: np.ndarray


def pointing(maps: np.ndarray, masks: np.ndarray) -> Pointing:
    """Return what maps (n, seeds, H, W) without negative values have on the objects, masks (n, H, W) bool."""
    seeds = range(maps.shape[1])
    under = np.stack([shares(maps[:, seed], masks) for seed in seeds], axis=2)  # image, mask, seed
    own = np.diagonal(under).T
    apart = np.where(np.eye(len(masks), dtype=bool)[..., None], np.nan, under)
    others = np.where(np.isfinite(own), known_mean(apart, axis=1), np.nan)
    points = np.stack([on_object(maps[:, seed], masks)[1] for seed in seeds], axis=1)
    return Pointing(own, others, points, matched(known_mean(under, axis=2)), masks.mean(axis=(1, 2)))


def verdicts(found: Sequence[Matched | None], partners: str = "other images' masks") -> list[str]:
    """Say of each test whether images have more with their own partners than with those of other images.

    Holm's adjustment counts the tests.
    """
    return [_verdict(test, p, partners) for test, p in zip(found, _adjusted(found), strict=True)]


def headline(located: Mapping[str, Pointing], name: str, what: str) -> str:
    """Say in short whether the maps of this name are on the object, by how much of `what` is there.

    Holm's adjustment counts the tests of all maps.
    """
    p = dict(zip(located, _adjusted([each.test for each in located.values()]), strict=True))[name]
    each = located[name]
    if each.test is None or each.test.p is None:
        return "whether the network looks at the object is not known"
    numbers = f"{100 * each.test.own:.0f} % of {what} there, {100 * each.test.others:.0f} % under other images' masks"
    if p > LIKELY:
        return f"nothing shows that the network looks at the object ({numbers})"
    where = "at the object" if each.test.own > each.test.others else "beside the object"
    return f"the network looks {where} ({numbers})"


def _adjusted(found: Sequence[Matched | None]) -> list[float]:
    """Return the tests' p values after Holm's adjustment, NaN where there is none."""
    return holm(np.array([np.nan if test is None or test.p is None else test.p for test in found])).tolist()


def _verdict(test: Matched | None, p: float, partners: str) -> str:
    if test is None:
        return "not known"
    if test.p is None:
        return f"of a single image, so that there are no {partners}"
    if p > LIKELY:
        return f"not significantly different from {partners} (p = {p:.2g})"
    return f"{'more' if test.own > test.others else 'less'} than with {partners} (p = {p:.2g})"


def sentence(located: Mapping[str, Pointing], what: str, images: str) -> str:
    """Say of maps by name how much of `what` is on the object, and whether it is more than under other masks.

    `images` are those among which masks are permuted.
    """
    parts = []
    for (name, each), words in zip(located.items(), verdicts([each.test for each in located.values()]), strict=True):
        if each.test is None:
            parts.append(f"{name}: none in any image")
            continue
        others = f" with {said(100 * each.others, 1)} %" if each.test.p is not None else ""
        where = f"the largest there in {hits(each.points)} maps"
        parts.append(f"{name}: {said(100 * each.share, 1)} %, {words}{others}, {where}")
    many = "; Holm's adjustment counts the tests" if len(located) > 1 else ""
    return (
        f"Object or surroundings? Share of {what} on the object: {'; '.join(parts)}. Masks are permuted among "
        f"{images}, whatever their class{many}."
    )


def figure(located: Mapping[str, Pointing], model: str, caption: str, ylabel: str) -> Figure:
    """Draw a model's shares by name, on the image's own object and under other images' masks; error bars are ± 1 sd
    over the seeds where there are several.
    """
    found = {
        "on the image's own object": [measured(each.share) for each in located.values()],
        "under other images' masks": [measured(each.others) for each in located.values()],
    }
    caption += " A network that ignores where the object is has the same share in both."
    png = bars(
        list(located),
        {name: np.array([math.nan if each is None else each.mean for each in of]) for name, of in found.items()},
        title=f"Object or surroundings? {model}",
        caption=caption,
        ylabel=ylabel,
        errors={name: np.array([_spread(each) for each in of]) for name, of in found.items()},
        percent=True,
    )
    return Figure(png, caption)


def _spread(of: Measured | None) -> float:
    return math.nan if of is None or of.sd is None else of.sd
