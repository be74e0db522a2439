"""How good is a denoised image? Scores against counts that it has never seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["held_out_likelihood", "psnr", "thin_counts"]

PEAK_PERCENTILE = 99.9
DARKEST_RATE = 0.01  # counts; a rate of exactly zero would make any count impossible


def thin_counts(
    counts: ArrayLike, fraction: float, rng: int | np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split counts binomially: every count goes to the first image with probability ``fraction``.

    The two images of a Poisson image are Poisson and independent of each other, so that the second
    is a fair judge of what is made of the first.

    Parameters
    ----------
    counts : array_like of int
        Not changed.
    fraction : float
        Share of the first image, between 0 and 1.
    rng : int or numpy.random.Generator, optional
        Seed.

    Returns
    -------
    thinned, rest : ndarray of int
        They add up to ``counts``.

    Examples
    --------
    >>> thinned, rest = thin_counts([[10, 0], [200, 30]], 0.5, rng=0)
    >>> (thinned + rest).tolist()
    [[10, 0], [200, 30]]
    """
    counts = np.asarray(counts)
    thinned = np.random.default_rng(rng).binomial(counts, fraction)
    return thinned, counts - thinned


def psnr(image: ArrayLike, reference: ArrayLike, variance: ArrayLike = 0.0) -> float:
    """Peak signal-to-noise ratio in dB, corrected for the reference's own noise.

    The peak is the 99.9th percentile of the reference; the mean ``variance`` of the reference is
    taken off the mean square error, which leaves the error against the unknown truth.

    Examples
    --------
    >>> round(psnr(np.full((4, 4), 0.9), np.ones((4, 4))), 6)
    20.0
    """
    reference = np.asarray(reference, dtype=np.float64)
    error = np.mean((np.asarray(image, dtype=np.float64) - reference) ** 2) - np.mean(
        np.asarray(variance)
    )
    return float(10 * np.log10(np.percentile(reference, PEAK_PERCENTILE) ** 2 / error))


def held_out_likelihood(rate: ArrayLike, held_out: ArrayLike, ratio: float) -> float:
    """Mean Poisson log-likelihood a pixel of counts that were held out.

    Parameters
    ----------
    rate : array_like
        The denoised image, in counts; below 0.01 it is taken as 0.01.
    held_out : array_like of int
        Counts that the denoiser has not seen.
    ratio : float
        Exposure of the held-out counts over that of ``rate``.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(9.0, 1000)
    >>> held_out_likelihood(np.full(1000, 9.0), counts, 1.0) > held_out_likelihood(
    ...     np.full(1000, 12.0), counts, 1.0
    ... )
    True
    """
    from scipy.stats import poisson

    expected = np.maximum(np.asarray(rate, dtype=np.float64), DARKEST_RATE) * ratio
    return float(poisson.logpmf(np.asarray(held_out), expected).mean())
