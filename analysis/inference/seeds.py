"""Numbers of the networks that a trial has of several seeds: means over images, then the spread over seeds."""

from __future__ import annotations

import numpy as np

from analysis.report import MISSING, Measured
from analysis.subject import Subject


def known_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean along an axis of what is known (not NaN); NaN where nothing is."""
    known = np.isfinite(values)
    sums, counts = np.where(known, values, 0).sum(axis=axis, dtype=np.float64), known.sum(axis=axis)
    return np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)


def measured(values: np.ndarray) -> Measured | None:
    """Return the mean over images of values (images, seeds), and the spread of that over the seeds.

    What is not known (NaN) is left out; None where nothing is.
    """
    return Measured.of_finite(known_mean(values, axis=0))


def said(values: np.ndarray, digits: int = 2) -> str:
    """Return measured() of values (images, seeds) as words: mean ± standard deviation."""
    found = measured(values)
    if found is None:
        return MISSING
    return f"{found.mean:.{digits}f}" + ("" if found.sd is None else f" ± {found.sd:.{digits}f}")


def whose(subject: Subject, drawn: str) -> str:
    """Say of which networks the numbers are, and of which one what is `drawn` is."""
    seeds = [each.seed for each in subject.replicates]
    if len(seeds) == 1:
        return f"All numbers are of one network, that of seed {seeds[0]}: how they vary with the seed is not known."
    return (
        f"Numbers are means over the networks of {len(seeds)} seeds ± their standard deviation; {drawn} are of the "
        f"first, seed {seeds[0]}."
    )


def counted(subject: Subject, images: int, where: str = "") -> str:
    """Say what numbers are means over, and what their spread is."""
    seeds = len(subject.replicates)
    spread = f", ± standard deviation (n) over {seeds} seeds" if seeds > 1 else ""
    return f"means over {images} images{where}{spread}"
