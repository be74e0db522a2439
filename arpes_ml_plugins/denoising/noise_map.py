"""Noise that does not follow the intensity: differences, dichroism, asymmetries, ratios.

How many electrons there were is lost, but not the noise itself: its variance is measured from place
to place. If the variance, in a suitable unit, is added to the values as a pedestal, their noise is
that of counts again, wherever the values are small beside the pedestal. It is subtracted in the
end.
"""

from __future__ import annotations

from typing import Any

import torch

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.noise_levels import residuals
from arpes_ml_plugins.denoising.noise_model import NoiseModel

__all__ = ["pedestal", "typical_deviation", "unit_of"]

ELECTRONS = 30.0  # of the pedestal at a typical pixel; fewer suit weaker structure
SURROUNDINGS = 8.0  # pixels, over which the variance is averaged
OUTLIER = 25.0  # times the variance in the rows between
DARKEST = 1e-4  # of the largest variance
OFF_LAW = 0.1, 0.9  # quantiles of the variance over what a law says
LAWFUL = 2.0  # their ratio, below which the law holds; by chance it is 1.3


def unit_of(deviation: Any) -> Any:
    """Gain of the values above their pedestal, from the deviation of a typical pixel."""
    return deviation / ELECTRONS**0.5


def pedestal(images: torch.Tensor, valid: torch.Tensor, noise: NoiseModel) -> torch.Tensor | None:
    """What to add to the images ``(n, height, width)``, so that their noise is ``noise``.

    None if the images are too small.
    """
    maps = _noise_maps(images, valid, noise.correlation)
    if maps is None:
        return None
    share = noise.pixel_share((images.shape[-2], images.shape[-1]))
    return (maps / (share * noise.gain)).to(images)


def typical_deviation(
    images: torch.Tensor,
    valid: torch.Tensor,
    correlation: tuple[float, float] = (0.0, 0.0),
    *,
    law: torch.Tensor | None = None,
) -> torch.Tensor:
    """Standard deviation of the noise of a pixel, the median over all; NaN if it is unknown.

    It is NaN as well if the variance follows the ``law``, ``(n, height, width)``, from place to
    place.
    """
    unknown = images.new_tensor(torch.nan)
    maps = _noise_maps(images, valid, correlation)
    if maps is None:
        return unknown
    if law is not None:
        expected = _around(law, valid)[valid]
        few, many = (maps[valid] / expected.clamp(min=float(maps[valid].min()))).quantile(
            maps.new_tensor(OFF_LAW)
        )
        if many < LAWFUL * few:
            return unknown
    typical = maps[valid].median().sqrt()
    return torch.where(typical > 0, typical, unknown)


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
    around = _around(square, used)
    return around.clamp(min=float(DARKEST * around.max()))


def _around(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Means of ``values`` over the surroundings of each pixel."""
    mask = valid[:, None].to(values)
    return gaussian_mean(torch.where(valid, values, 0)[:, None], mask, SURROUNDINGS)[:, 0]
