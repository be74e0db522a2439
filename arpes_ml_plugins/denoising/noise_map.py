"""Noise that does not follow the intensity: differences, dichroism, asymmetries, ratios.

How many electrons there were is lost, but not the noise itself: its variance is measured from place
to place. If the values are brought to a level at which counts have this variance, their noise is
that of counts again, wherever they differ little from their surroundings. The pedestal that does so
is subtracted in the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.noise_levels import residuals
from arpes_ml_plugins.denoising.noise_model import NoiseModel

__all__ = ["LocalNoise", "local_noise", "pedestal"]

ELECTRONS = 30.0  # of the pedestal at a typical pixel; fewer suit weaker structure
STRUCTURE = 1.0  # pixels, over which structure is averaged to see how far it falls below
LOWEST = 0.005  # fraction of the pixels that may fall below zero
SURROUNDINGS = 8.0  # pixels, over which the variance is averaged
FEW = 20.0  # pixels in the surroundings that show less of the noise than all others do
OUTLIER = 25.0  # times the variance in the rows between
DARKEST = 1e-4  # of the largest variance
OFF_LAW = 0.1, 0.9  # quantiles of the variance over what a law says
LAWFUL = 2.0  # their ratio, below which the law holds; by chance it is 1.3


@dataclass(frozen=True)
class LocalNoise:
    """Noise known from place to place; NaN if it is not, or if it follows a law after all."""

    deviation: torch.Tensor
    """Standard deviation at a typical pixel, the median over all."""
    unit: torch.Tensor
    """Gain of the values above their pedestal: the largest at which they are not negative, but not
    more than suits weak structure."""


def pedestal(images: torch.Tensor, valid: torch.Tensor, noise: NoiseModel) -> torch.Tensor | None:
    """What to add to the images ``(n, height, width)``, so that their noise is ``noise``.

    None if the images are too small.
    """
    maps = _noise_maps(images, valid, noise.correlation)
    if maps is None:
        return None
    share = noise.pixel_share((images.shape[-2], images.shape[-1]))
    return (maps / (share * noise.gain) - _around(images, valid)).to(images)


def local_noise(
    images: torch.Tensor,
    valid: torch.Tensor,
    correlation: tuple[float, float] = (0.0, 0.0),
    *,
    law: torch.Tensor | None = None,
) -> LocalNoise:
    """Measure the noise of images ``(n, height, width)``, whose variance may follow a ``law`` of
    the same shape.
    """
    nothing = LocalNoise(images.new_tensor(torch.nan), images.new_tensor(torch.nan))
    maps = _noise_maps(images, valid, correlation)
    if maps is None:
        return nothing
    if law is not None:
        expected = _around(law, valid)[valid]
        few, many = (maps[valid] / expected.clamp(min=float(maps[valid].min()))).quantile(
            maps.new_tensor(OFF_LAW)
        )
        if many < LAWFUL * few:
            return nothing
    typical = maps[valid].median().sqrt()
    if not bool(typical > 0):
        return nothing
    share = NoiseModel(1.0, 0.0, *correlation).pixel_share((images.shape[-2], images.shape[-1]))
    mask = valid[:, None].to(images)
    here = gaussian_mean(torch.where(valid, images, 0)[:, None], mask, STRUCTURE)[:, 0]
    below = _around(images, valid) - here
    falls = valid & (below > 0) & (maps > 0)
    largest = (maps / (share * below))[falls].sort().values
    beyond = int(LOWEST * valid.sum())
    allowed = largest[beyond] if beyond < len(largest) else torch.full_like(typical, torch.inf)
    return LocalNoise(typical, torch.minimum(typical / ELECTRONS**0.5, allowed))


def _noise_maps(
    images: torch.Tensor, valid: torch.Tensor, correlation: tuple[float, float]
) -> torch.Tensor | None:
    """Variance of the noise of a pixel, averaged over its surroundings, ``(n, height, width)``;
    zero for images without data. None if they are too small.
    """
    maps = []
    for image, known in zip(images.split(1), valid.split(1), strict=True):
        found = _noise_map(image, known, correlation)
        if found is None:
            return None
        maps.append(found)
    return torch.cat(maps)


def _noise_map(
    image: torch.Tensor, valid: torch.Tensor, correlation: tuple[float, float]
) -> torch.Tensor | None:
    found = residuals(image, valid, correlation)
    if found is None:
        return None
    square = found.value.square() / found.factor
    used = found.used & (square <= OUTLIER * found.elsewhere)
    if not used.any():
        return torch.zeros_like(square)
    # Where few pixels show the noise, as between gaps, it is rather that of the whole image.
    share = _around(used.to(square), torch.ones_like(used)) * 4 * math.pi * SURROUNDINGS**2
    here = share / (share + FEW)
    around = here * _around(square, used) + (1 - here) * square[used].mean()
    return around.clamp(min=float(DARKEST * around.max()))


def _around(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Means of ``values`` over the surroundings of each pixel."""
    mask = valid[:, None].to(values)
    return gaussian_mean(torch.where(valid, values, 0)[:, None], mask, SURROUNDINGS)[:, 0]
