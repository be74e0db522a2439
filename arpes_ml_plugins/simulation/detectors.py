"""Simulate detectors: clouds of charge, resampling, gains, and noise of the detector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

__all__ = ["clouds", "neighbour_correlation", "over_dispersed", "resampled"]

Array = NDArray[np.floating]


def clouds(
    rate: Array, width: tuple[float, ...], spread: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Simulate a camera behind a channel plate: each electron is a blob of random height.

    Parameters
    ----------
    rate
        Expected electrons ``(rows, columns)``, or a volume of them.
    width
        Standard deviations of the blob in pixels along each axis.
    spread
        Relative standard deviation of the pulse heights, which have a mean of 1.

    Returns
    -------
    tuple of numpy.ndarray
        Values whose variance over mean at long wavelengths is ``1 + spread**2``, and their
        expectation.
    """
    electrons = rng.poisson(rate)
    if spread > 0:  # the sum of gamma variables is one
        heights = rng.gamma(np.maximum(electrons, 1e-12) / spread**2, spread**2)
        heights = np.where(electrons > 0, heights, 0.0)
    else:
        heights = electrons.astype(float)
    return tuple(gaussian_filter(x, width, mode="nearest") for x in (heights, rate))


def resampled(counts: Array, rate: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Interpolate both linearly on another grid, as a conversion to momentum does."""
    rows, columns = np.indices(rate.shape).astype(float)
    middle = [(n - 1) / 2 for n in rate.shape]
    angle, stretch = rng.normal(0, 0.02), rng.uniform(0.75, 1.0, 2)
    bend = rng.normal(0, 2e-4)
    y, x = (rows - middle[0]) * stretch[0], (columns - middle[1]) * stretch[1]
    points = np.stack([middle[0] + y + angle * x + bend * x * y / 2, middle[1] + x - angle * y])
    return tuple(map_coordinates(a, points, order=1, mode="nearest") for a in (counts, rate))


def over_dispersed(rate: Array, modes: float, rng: np.random.Generator) -> Array:
    """Draw counts for a fluctuating source: negative binomial, variance ``m + m**2 / modes``."""
    return rng.poisson(rate * rng.gamma(modes, 1 / modes, rate.shape)).astype(float)


def neighbour_correlation(values: Array, expectation: Array) -> tuple[float, float]:
    """Correlation of the noise of neighbours along rows and columns, from the known truth."""
    z = (values - expectation) / np.sqrt(expectation + 1e-3 * expectation.mean() + 1e-12)
    z = np.clip(z, -6, 6)
    power = max(float((z**2).mean()), 1e-12)
    return float((z[1:] * z[:-1]).mean()) / power, float((z[:, 1:] * z[:, :-1]).mean()) / power
