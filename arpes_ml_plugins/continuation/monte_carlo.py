"""Monte Carlo bins: their mean, and the covariance of its errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST_BINS", "mean_and_covariance", "merged_until_independent"]

FEWEST_BINS = 20
FOLDS = 10
SINGULAR = 1e-10  # over the largest variance: what no bin changes
GROWTH = 2.0  # standard errors by which merging must raise the variance to be needed


def mean_and_covariance(
    bins: NDArray[np.floating],
) -> tuple[NDArray[np.floating], NDArray[np.floating], int]:
    """Mean of bins ``(b, m)``, the covariance ``(m, m)`` of its errors, and how many were merged.

    Consecutive bins are merged until they are independent, or as far as their number allows; what
    is left of their correlation makes the errors larger. With few bins, many directions of a
    covariance have too small a variance; it is therefore shrunk towards its diagonal, by an amount
    that follows from its own scatter (Ledoit and Wolf, J. Multivariate Anal. 88, 365 (2004)).
    """
    from sklearn.covariance import ledoit_wolf

    merged = merged_until_independent(bins)
    spread = merged.std(0, ddof=1)
    spread[spread == 0] = np.finfo(float).tiny
    unit = (merged - merged.mean(0)) / spread
    correlation, _ = ledoit_wolf(unit, assume_centered=True)
    larger = _inflation(merged) * _chi2_left_out(unit)
    covariance = correlation * spread * spread[:, None] / len(merged) * larger
    return bins.mean(0), covariance, len(bins) // len(merged)


def _chi2_left_out(unit: NDArray[np.floating]) -> float:
    """chi^2 per value of bins with the correlation of the others, 1 at least.

    A covariance of few bins has too small a variance in many directions, even if it is shrunk: the
    mean of these bins, too, would be further from any spectrum than errors explain.
    """
    from sklearn.covariance import ledoit_wolf

    chi2 = []
    for out in np.array_split(np.arange(len(unit)), FOLDS):
        rest = np.delete(unit, out, 0)
        correlation, _ = ledoit_wolf(rest - rest.mean(0), assume_centered=True)
        variance, directions = np.linalg.eigh(correlation)
        known = variance > SINGULAR * variance[-1]
        along = (unit[out] - rest.mean(0)) @ directions[:, known]
        chi2.append((along**2 / variance[known]).mean() / (1 + 1 / len(rest)))
    return max(1.0, float(np.mean(chi2)))


def merged_until_independent(bins: NDArray[np.floating]) -> NDArray[np.floating]:
    """Means of 1, 2, 4, ... consecutive bins ``(b, m)``, until the error of the mean stops growing.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> white = draw.normal(size=(2048, 3))
    >>> len(merged_until_independent(white)), len(merged_until_independent(white.repeat(4, 0)))
    (2048, 2048)
    """
    while len(bins) // 2 >= FEWEST_BINS:
        pairs = bins[len(bins) % 2 :].reshape(-1, 2, bins.shape[1]).mean(1)
        ratio = 2 * np.median(pairs.var(0, ddof=1) / bins.var(0, ddof=1).clip(1e-300))
        if ratio < 1 + GROWTH * (2 / len(pairs)) ** 0.5:
            break
        bins = pairs
    return bins


def _inflation(bins: NDArray[np.floating]) -> float:
    """Variance of the mean over that of as many independent bins: one plus twice the sum of the
    autocorrelations that are above their noise.
    """
    centred = bins - bins.mean(0)
    square = (centred**2).sum(0).clip(1e-300)
    total = 1.0
    for lag in range(1, len(bins) // 4):
        alike = float(np.median((centred[lag:] * centred[:-lag]).sum(0) / square))
        if alike < len(bins) ** -0.5:
            break
        total += 2 * alike
    return total
