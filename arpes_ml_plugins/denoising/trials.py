"""Held-out data: what a state of the network, or a filter in its place, is tested on.

Independent pixels are split: one count in ten is kept aside. Correlated noise cannot be split, but
with noise ``z`` of the same covariance ``y + a z`` and ``y - z / a`` have independent noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from arpes_ml_plugins.denoising.counts_network import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.splitting import Counts, gained, split

__all__ = ["Trial", "repeated_trial", "trial"]

SHOWN = 0.9  # of the counts
STRENGTH = 0.5  # of the noise that is added, over that of the data
SMOOTH = 4.0  # pixels, over which the variance of that noise is averaged
DARKEST = 0.02  # of the mean: keeps weights finite


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
    variance = _variance(smooth, share) * (1 + STRENGTH**-2)
    better = partial(_better, other=other, variance=variance, valid=counts.valid, share=share)
    return Trial(seen, better)


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
    share = noise.pixel_share((smooth.shape[-2], smooth.shape[-1]))
    variance = _variance(smooth * (kept.shape[1] / repeats), share)
    better = partial(_better, other=other, variance=variance, valid=counts.valid, share=share)
    return Trial(seen, lambda rate, than: better(rate * ratio, than * ratio))


def _variance(smooth: torch.Tensor, share: float) -> torch.Tensor:
    """Of a pixel."""
    return share * (smooth + DARKEST * smooth.mean((-2, -1), keepdim=True))


def _better(
    rate: torch.Tensor,
    than: torch.Tensor,
    *,
    other: torch.Tensor,
    variance: torch.Tensor,
    valid: torch.Tensor,
    share: float,
) -> tuple[float, float]:
    """By how much Gaussian noise makes ``other`` likelier under ``rate``, a pixel; its error.

    The error is what the noise of ``other`` does to the difference, at most: that of long
    wavelengths, where the noise is ``1 / share`` times that of a pixel.
    """
    weight = valid / variance.clamp(min=torch.finfo(variance.dtype).tiny)
    gain = torch.where(valid, ((other - than).square() - (other - rate).square()) * weight / 2, 0)
    scatter = torch.where(valid, (rate - than).square() * weight, 0).sum() / share
    return float(gain.sum() / valid.sum()), float(scatter.sqrt() / valid.sum())
