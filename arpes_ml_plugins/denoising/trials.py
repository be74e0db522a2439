"""Held-out data, on which a state of the network, or a filter in its place, is tested.

Independent pixels are split: one count in ten is kept aside. Correlated noise cannot be split, but
with noise ``z`` of the same covariance ``y + a z`` and ``y - z / a`` have independent noise. Where
the noise has more power than ``z``, both share it, and what lets noise pass seems to predict them:
the power of ``z`` is therefore measured, where it can be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel, mean_power
from arpes_ml_plugins.denoising.residual_spectrum import residual_spectrum
from arpes_ml_plugins.denoising.splitting import Counts, gained, split

__all__ = ["Trial", "repeated_trial", "smooth_power", "trial"]

SHOWN = 0.9  # of the counts
STRENGTH = 0.5  # of the noise that is added, over that of the data
SMOOTH = 4.0  # pixels, over which the variance of that noise is averaged
STRUCTURE = 4.0  # times the noise that is assumed: so much more is no noise
DARKEST = 0.02  # of the mean: keeps weights finite


@dataclass(frozen=True)
class Trial:
    """Data to denoise, and how likely the others are under the results."""

    seen: Counts
    gained: Callable[[torch.Tensor, torch.Tensor], tuple[float, float]]
    """Gain of the held-out log-likelihood from the second rate to the first, and its error."""


def trial(
    counts: Counts,
    noise: NoiseModel,
    generator: torch.Generator,
    *,
    shown: float = SHOWN,
    clean: torch.Tensor | None = None,
) -> Trial:
    """``counts`` are whole numbers if the noise is white; ``shown`` is the fraction to denoise.

    What a ``clean`` image leaves of them shows the spectrum of correlated noise.
    """
    if noise.white:
        seen, rest = split(counts, shown, generator)
        held_out = rest.predicted()
        ratio = (1 - shown) / shown
        return Trial(seen, lambda a, b: gained(a * ratio, b * ratio, held_out))
    smooth = smooth_power(counts)
    drawn = noise.drawn(smooth, generator, _spectrum(counts, clean, smooth, noise))
    seen = replace(counts, images=counts.images + STRENGTH * drawn)
    other = replace(counts, images=counts.images - drawn / STRENGTH).predicted()
    power = replace(counts, images=smooth * (1 + STRENGTH**-2)).predicted().images
    return Trial(seen, _judge(other.images, power, other.valid, noise))


def repeated_trial(counts: Counts, exposures: torch.Tensor, noise: NoiseModel) -> Trial:
    """Every second one of ``exposures``, ``(n, repeats, height, width)``, predicts the others.

    ``counts`` are the electrons of all of them together.
    """
    repeats = exposures.shape[1]
    shown, kept = exposures[:, ::2], exposures[:, 1::2]
    images, other = (
        x.shape[1] * (x.mean(1) + noise.shift / repeats) / noise.gain for x in (shown, kept)
    )
    seen = replace(counts, images=torch.where(counts.valid, images, 0).clamp(min=0).float())
    ratio = kept.shape[1] / shown.shape[1]
    whole = counts.predicted()
    kept_half = replace(counts, images=other.to(counts.images)).predicted().images
    judge = _judge(kept_half, smooth_power(whole) * (kept.shape[1] / repeats), whole.valid, noise)
    return Trial(seen, lambda rate, than: judge(rate * ratio, than * ratio))


def _spectrum(
    counts: Counts, clean: torch.Tensor | None, smooth: torch.Tensor, noise: NoiseModel
) -> torch.Tensor | None:
    """Power of the noise over ``smooth``, as the ``clean`` images of ``counts`` show it; None if
    they lack structure in most places.
    """
    if clean is None:
        return None
    seen, level = counts.predicted(), replace(counts, images=smooth).predicted()
    power = residual_spectrum(seen.images - clean, level.images, seen.valid)
    if power is None:
        return None
    shape = (smooth.shape[-2], smooth.shape[-1])
    structure = mean_power(power, shape) > STRUCTURE * noise.pixel_share(shape)
    return None if structure else power


def smooth_power(counts: Counts) -> torch.Tensor:
    """Intensity to which the variance of the noise is proportional."""
    mask = counts.valid.to(counts.images)[:, None]
    return gaussian_mean(counts.images[:, None] * mask, mask, SMOOTH)[:, 0].clamp(min=0)


def _judge(
    other: torch.Tensor, power: torch.Tensor, valid: torch.Tensor, noise: NoiseModel
) -> Callable[[torch.Tensor, torch.Tensor], tuple[float, float]]:
    """Compare two rates for ``other``, whose noise has the power ``power`` at long wavelengths.

    Return the gain of the Gaussian log-likelihood of ``other`` per pixel for the first rate, and
    an upper limit on its error, with the noise power of long wavelengths.
    """
    share = noise.pixel_share((other.shape[-2], other.shape[-1]))
    variance = share * (power + DARKEST * power.mean((-2, -1), keepdim=True))
    weight = valid / variance.clamp(min=torch.finfo(variance.dtype).tiny)

    def better(rate: torch.Tensor, than: torch.Tensor) -> tuple[float, float]:
        gain = ((other - than).square() - (other - rate).square()) * weight / 2
        scatter = (rate - than).square() * weight / share
        total, error = (torch.where(valid, x, 0).sum() for x in (gain, scatter))
        return float(total / valid.sum()), float(error.sqrt() / valid.sum())

    return better
