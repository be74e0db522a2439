"""Held-out data: what a state of the network, or a filter in its place, is tested on.

Independent pixels are split: one count in ten is kept aside. Correlated noise cannot be split, but
with noise ``z`` of the same covariance ``y + a z`` and ``y - z / a`` have independent noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.counts_network import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.splitting import Counts, gained, split

__all__ = ["Trial", "repeated_trial", "trial"]

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
    variance = _variance(smooth, noise) * (1 + STRENGTH**-2)
    return Trial(seen, partial(_better, other=other, variance=variance, valid=counts.valid))


def repeated_trial(counts: Counts, exposures: torch.Tensor, noise: NoiseModel) -> Trial:
    """Every second one of ``exposures``, ``(n, repeats, height, width)``, predicts the others.

    ``counts`` are the electrons of all of them together.
    """
    repeats = exposures.shape[1]
    single = replace(noise, shift=noise.shift / repeats)
    shown, kept = exposures[:, ::2], exposures[:, 1::2]
    images, other = (x.shape[1] * (x.mean(1) + single.shift) / noise.gain for x in (shown, kept))
    ratio = kept.shape[1] / shown.shape[1]
    seen = replace(counts, images=torch.where(counts.valid, images, 0).clamp(min=0).float())
    mask = counts.valid.to(counts.images)[:, None]
    smooth = gaussian_mean(counts.images[:, None] * mask, mask, SMOOTH)[:, 0].clamp(min=0)
    variance = _variance(smooth * (kept.shape[1] / repeats), noise)

    def better(rate: torch.Tensor, than: torch.Tensor) -> tuple[float, float]:
        return _better(
            rate * ratio, than * ratio, other=other, variance=variance, valid=counts.valid
        )

    return Trial(seen, better)


def _variance(smooth: torch.Tensor, noise: NoiseModel) -> torch.Tensor:
    """Of a pixel."""
    share = noise.pixel_share((smooth.shape[-2], smooth.shape[-1]))
    return share * (smooth + DARKEST * smooth.mean((-2, -1), keepdim=True))


def _better(
    rate: torch.Tensor,
    than: torch.Tensor,
    *,
    other: torch.Tensor,
    variance: torch.Tensor,
    valid: torch.Tensor,
) -> tuple[float, float]:
    """By how much Gaussian noise makes ``other`` likelier under ``rate``, a pixel; its error."""
    weight = valid / variance.clamp(min=torch.finfo(variance.dtype).tiny)
    difference = ((other - than).square() - (other - rate).square()) * weight / 2
    difference = torch.where(valid, difference, 0)
    blocks = F.avg_pool2d(difference[:, None], BLOCK, ceil_mode=True).flatten().double()
    return float(blocks.mean()), float(blocks.std() / math.sqrt(max(len(blocks), 1)))
