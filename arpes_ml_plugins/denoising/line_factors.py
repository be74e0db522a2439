"""Brightness of single lines of pixels, of a beam that fluctuates while they are measured in turn.

Divided by it, an image shows bands without stripes. It is multiplied with it again after denoising,
so that nothing is lost even if what looked like a fluctuation was a flat band.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean

__all__ = ["AROUND", "line_factors"]

AROUND = 4.0  # lines, over which brightness changes because of the scene
DARK = 1e-3  # of the mean brightness


def line_factors(
    images: torch.Tensor, valid: torch.Tensor, *, rows: bool, columns: bool
) -> torch.Tensor:
    """Brightness of each row, or column, over that of the lines around it, ``(n, height, width)``.

    Parameters
    ----------
    images, valid
        Shape ``(n, height, width)``; zero is no intensity.
    rows, columns
        Which of both fluctuate. If none do, all factors are 1.

    Examples
    --------
    >>> stripes = torch.tensor([100.0, 120.0] * 8)[:, None].expand(1, 16, 16)
    >>> factors = line_factors(stripes, torch.ones(1, 16, 16).bool(), rows=True, columns=False)
    >>> round(float(factors[0, 9, 0] / factors[0, 8, 0]), 2)
    1.2
    """
    factors = torch.ones_like(images)
    if rows:
        factors = factors * _of_rows(images, valid)
    if columns:
        factors = factors * _of_rows(images.mT, valid.mT).mT
    return factors


def _of_rows(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    number = valid.sum(-1).to(images)
    mean = torch.where(valid, images, 0).sum(-1) / number.clamp(min=1)
    floor = DARK * mean.mean(-1, keepdim=True)
    logarithm = mean.clamp(min=floor.clamp(min=torch.finfo(mean.dtype).tiny)).log()
    seen = (number > 0).to(mean)
    around = gaussian_mean(logarithm[:, None, :, None], seen[:, None, :, None], AROUND)[:, 0]
    return ((logarithm - around[..., 0]) * seen).exp()[..., None]
