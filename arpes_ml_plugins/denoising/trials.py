"""Held-out data: what a state of the network, or a filter in its place, is tested on.

Independent pixels are split: one count in ten is kept aside. Correlated noise cannot be split, but
with noise ``z`` of the same covariance ``y + a z`` and ``y - z / a`` have independent noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.counts_network import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.splitting import Counts, gained, split

__all__ = ["Trial", "trial"]

SHOWN = 0.9  # of the counts
STRENGTH = 0.5  # of the noise that is added, over that of the data
SMOOTH = 4.0  # pixels, over which the variance of that noise is averaged
DARKEST = 0.02  # of the mean: keeps weights finite
BLOCK = 16  # pixels, within which correlated noise is averaged before its scatter is measured


@dataclass(frozen=True)
class Trial:
    """Data to denoise, and how likely the others are under the results."""

    seen: Counts
    gained: Callable[[torch.Tensor, torch.Tensor], tuple[float, float]]
    """By how much the held-out data prefer the first rate to the second, and its error."""


def trial(counts: Counts, noise: NoiseModel, generator: torch.Generator) -> Trial:
    """``counts`` are whole numbers if the noise is white."""
    if noise.white:
        seen, held_out = split(counts, SHOWN, generator)
        ratio = (1 - SHOWN) / SHOWN
        return Trial(seen, lambda a, b: gained(a * ratio, b * ratio, held_out))
    mask = counts.valid.to(counts.images)[:, None]
    smooth = gaussian_mean(counts.images[:, None] * mask, mask, SMOOTH)[:, 0].clamp(min=0)
    drawn = noise.drawn(smooth, generator)
    seen = replace(counts, images=counts.images + STRENGTH * drawn)
    other = counts.images - drawn / STRENGTH
    share = noise.pixel_share((smooth.shape[-2], smooth.shape[-1]))
    variance = smooth + DARKEST * smooth.mean((-2, -1), keepdim=True)
    variance = variance * share * (1 + STRENGTH**-2)
    weight = counts.valid / variance.clamp(min=torch.finfo(variance.dtype).tiny)

    def better(rate: torch.Tensor, than: torch.Tensor) -> tuple[float, float]:
        difference = ((other - than).square() - (other - rate).square()) * weight / 2
        blocks = F.avg_pool2d(difference[:, None], BLOCK, ceil_mode=True).flatten().double()
        return float(blocks.mean()), float(blocks.std() / math.sqrt(max(len(blocks), 1)))

    return Trial(seen, better)
