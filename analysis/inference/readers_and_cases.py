"""How sure a mean over networks of several seeds and over images is, both taken for samples.

Dorfman, Berbaum and Metz, "Receiver operating characteristic rating analysis: generalization to the population of
readers and patients", Investigative Radiology 1992, have readers and cases for seeds and images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Spread = Callable[[np.ndarray], np.ndarray]  # what is known of images (M, …) → the variance of its means, (K,)


def by_images(images: np.ndarray, spread: Spread) -> np.ndarray:
    """Return what images alone make of the variance over seeds, (K,): each network is right on others of them.

    `images` (n, M, …) is what is known of each image, by each of n networks.
    """
    apart = images - images.mean(axis=0)
    return np.sum([spread(each) for each in apart], axis=0) / (len(images) - 1)


def variance_of_mean(
    images: np.ndarray,
    images_freedom: np.ndarray | float,
    seeds: np.ndarray,
    seeds_freedom: float,
    of_images: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of means over seeds and images, (K,), and its degrees of freedom, after Satterthwaite.

    `images` is the variance that images make of the means over seeds; `seeds` that of these means over seeds, of which
    the images alone make `of_images`: only what seeds add to that counts. Freedoms are what both are known with.
    """
    variance = images + np.maximum(0, seeds - of_images)
    doubt = images**2 / images_freedom + seeds**2 / seeds_freedom
    return variance, np.divide(variance**2, doubt, out=np.full(np.shape(variance), np.inf), where=doubt > 0)
