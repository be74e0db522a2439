"""Noise that images of a series share with the next one: the network, which sees both, keeps it."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean

__all__ = ["shared_noise"]

FLOOR = 0.1  # of the mean intensity, added to the variance of a pixel
FINE = 1.5  # pixels; structure that was left in the residual is wider
CERTAIN = 5.0  # standard errors
FEWEST = 500  # pairs of pixels


def shared_noise(counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor) -> float:
    """Correlation of the noise of images that follow each other; zero if that is chance.

    Of the finest details of the residual. An image that equals the one before it is a copy, and
    not compared; NaN if there is nothing to compare.

    Parameters
    ----------
    counts, clean, valid
        Electrons, the denoised image, and a mask, each ``(n, height, width)`` in the order of the
        series.

    Examples
    --------
    >>> noisy = torch.poisson(torch.full((9, 32, 32), 5.0), torch.Generator().manual_seed(0))
    >>> flat, everywhere = torch.full_like(noisy, 5.0), torch.ones_like(noisy, dtype=torch.bool)
    >>> shared_noise(noisy, flat, everywhere)
    0.0
    >>> running = (noisy[1:] + noisy[:-1]) / 2
    >>> round(shared_noise(running, flat[1:], everywhere[1:]), 1)
    0.5
    """
    products = squares = power = torch.zeros((), dtype=torch.float64, device=counts.device)
    pairs = 0
    details = map(_details, counts, clean, valid)
    for (before, one), (after, two) in pairwise(zip(details, counts, strict=True)):
        if torch.equal(one, two):
            continue
        product = (before * after).double()
        products = products + product.sum()
        squares = squares + product.square().sum()
        power = power + (before.square().sum() * after.square().sum()).sqrt()
        pairs += int((product != 0).sum())
    if pairs < FEWEST:
        return math.nan
    certain = products.abs() > CERTAIN * squares.sqrt()
    return float(products / power) if certain else 0.0


def _details(counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Residual of an image in standard deviations, without what is smooth, ``(height, width)``."""
    variance = (
        clean.clamp(min=0) + FLOOR * clean.mean().clamp(min=0) + torch.finfo(clean.dtype).tiny
    )
    residual = torch.where(valid, (counts.to(clean) - clean) / variance.sqrt(), 0)
    smooth = gaussian_mean(residual[None, None], valid[None, None].to(clean), FINE)[0, 0]
    return torch.where(valid, residual - smooth, 0)
