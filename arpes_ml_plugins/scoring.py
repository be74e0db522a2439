"""Score denoised images on counts that were held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["held_out_likelihood", "psnr", "thin_counts"]

PEAK_PERCENTILE = 99.9
DARKEST_RATE = 0.01  # counts; a rate of exactly zero would make any count impossible


def thin_counts(
    counts: ArrayLike, fraction: float, rng: int | np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split counts at random into two images: each count goes to the first with ``fraction``.

    The two parts of a Poisson image are Poisson-distributed and independent of each other, so that
    the second is a fair test of a denoised image of the first.

    Parameters
    ----------
    counts : array_like of int
        Image of counts, which is not changed.
    fraction : float
        Probability that a count goes to the first image, between 0 and 1. A larger value leaves
        less noise in the first image and a less precise test in the second.
    rng : int or numpy.random.Generator, optional
        Seed of the split.

    Returns
    -------
    thinned, rest : ndarray of int
        The two images; their sum is ``counts``.

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
    """Compute the peak signal-to-noise ratio in dB, corrected for the noise of the reference.

    The peak is the 99.9th percentile of the reference. The mean ``variance`` of the reference is
    subtracted from the mean square error, so that the error relative to the unknown truth remains.

    Parameters
    ----------
    image, reference : array_like
        Images of the same shape and unit.
    variance : array_like
        Variance of the noise of the reference: for counts the reference itself, 0 for a truth.

    Returns
    -------
    float
        Ratio in dB; a higher value means a smaller error.

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
    """Compute the mean Poisson log-likelihood per pixel of held-out counts.

    Parameters
    ----------
    rate : array_like
        Denoised image in counts; values below 0.01 are replaced by 0.01.
    held_out : array_like of int
        Counts that were not used for denoising.
    ratio : float
        Exposure of the held-out counts over that of ``rate``.

    Returns
    -------
    float
        Log-likelihood; a higher value means a better prediction.

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
