"""Counts in the dark: independent of each other, they show that whole numbers are counts.

Between bright structure that fills an image everything may seem to be noise of any kind. Where
there are far fewer counts than pixels, each stands alone if pixels are independent, and in twos and
threes behind a camera or after a filter. Where there are more, the darkest places between spots
have the noise of counts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.neighbourhoods import highest_around

__all__ = ["single_counts"]

SMOOTH = 4.0  # pixels, over which the intensity is averaged
DARK = 0.7  # counts per pixel
AROUND, BRIGHT = 12, 8.0  # pixels within which no pixel has that number of counts
BETWEEN, BEYOND_DARK = 6, 5.0  # the same between spots: pixels, and standard deviations above it
SMALL, DARKEST = 5, 0.2  # pixels, side of the squares whose quantile is the intensity in the dark
FEWEST = 200  # counts
MOST = 2**24  # pixels, of which a quantile can be computed
FEWEST_PIXELS = 50  # dark ones, of which variance and skewness are known
DISPERSION, CORRELATION = 0.1, 0.05  # that variance over mean, and neighbours, may be off
SKEWNESS = 0.25  # the same of the third moment over the mean
BEYOND = 3.0  # standard deviations, if these are larger


def single_counts(images: torch.Tensor, seen: torch.Tensor, step: torch.Tensor) -> bool:
    """Whether dark places show independent counts of one ``step`` each.

    ``images`` and their mask ``seen`` have the shape ``(n, height, width)``.

    Examples
    --------
    >>> rate = torch.full((1, 64, 64), 0.1)
    >>> counts = torch.poisson(rate, generator=torch.Generator().manual_seed(0))
    >>> everywhere = torch.ones(1, 64, 64).bool()
    >>> single_counts(3 * counts, everywhere, torch.tensor(3.0))
    True
    >>> single_counts(counts + counts.roll(1, -1), everywhere, torch.tensor(1.0))
    False
    """
    if not bool(step > 0):
        return False
    counts = torch.where(seen, images / step, 0)
    mean = gaussian_mean(counts[:, None], seen[:, None].to(counts), SMOOTH)[:, 0]
    dark = seen & (mean < DARK) & (highest_around(counts, 2 * AROUND + 1) < BRIGHT)
    return _independent(counts, mean, dark) or _between_spots(counts, seen)


def _between_spots(counts: torch.Tensor, seen: torch.Tensor) -> bool:
    """The same of the places that are as dark as the darkest, and far from all that is brighter."""
    small = F.avg_pool2d(counts[:, None], SMALL, 1)
    if not small.numel() or small.numel() > MOST:
        return False
    level = float(small.quantile(DARKEST))
    if level < 0:
        return False
    limit = level + BEYOND_DARK * level**0.5 + BRIGHT / 2
    dark = seen & (highest_around(counts, 2 * BETWEEN + 1) < limit)
    mean = gaussian_mean(torch.where(dark, counts, 0)[:, None], dark[:, None].to(counts), SMOOTH)
    return _independent(counts, mean[:, 0], dark)


def _independent(counts: torch.Tensor, mean: torch.Tensor, dark: torch.Tensor) -> bool:
    """Whether ``dark`` pixels have the noise of counts, and no other.

    Above a pedestal, noise of the read-out may have as much variance, but it is not skewed.
    """
    total = float(mean[dark].sum())
    if float(counts[dark].sum()) < FEWEST or not total > 0 or bool((counts[dark] < 0).any()):
        return False
    apart = torch.where(dark, counts - mean, 0)
    pixels = float(dark.sum())
    if pixels < FEWEST_PIXELS:
        return False
    dispersion = float(apart.square().sum()) / total
    chance = (2 / pixels + 1 / total) ** 0.5
    if abs(dispersion - 1) > max(DISPERSION, BEYOND * chance):
        return False
    cubes = apart[dark] ** 3
    chance = float(cubes.std()) * pixels**0.5 / total
    if float(cubes.sum()) / total < 1 - max(SKEWNESS, BEYOND * chance):
        return False
    pairs = (
        (apart[:, 1:] * apart[:, :-1]).sum() / total,
        (apart[..., 1:] * apart[..., :-1]).sum() / total,
    )
    limit = max(CORRELATION, BEYOND * pixels**-0.5)
    return all(abs(float(pair)) < limit for pair in pairs)
