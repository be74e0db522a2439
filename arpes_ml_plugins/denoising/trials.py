"""Held-out data, on which a state of the network, or a filter in its place, is tested.

Independent pixels are split: one count in ten is kept aside. Correlated noise cannot be split, but
with noise ``z`` of the same covariance ``y + a z`` and ``y - z / a`` have independent noise. Noise
of more power than was assumed is in both parts, and what lets it pass seems to predict them: the
power is therefore measured, unless the values are counts in whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.denoising.exposures import every_second
from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel, mean_power
from arpes_ml_plugins.denoising.residual_spectrum import residual_spectrum
from arpes_ml_plugins.denoising.splitting import Counts, gained, split

__all__ = ["Trial", "power_left", "repeated_trial", "smooth_power", "trial"]

SHOWN = 0.9  # of the counts
STRENGTH = 0.5  # of the noise that is added, over that of the data
SMOOTH = 4.0  # pixels, over which the variance of that noise is averaged
STRUCTURE = 4.0  # times the noise that is assumed: so much more is no noise
LOUDER = 1.25  # the same: white noise that is no more is split as that of counts
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
    power: torch.Tensor | None = None,
) -> Trial:
    """``counts`` are whole numbers if the noise is white; ``shown`` is the fraction to denoise.

    ``power`` is that of their noise, from :func:`power_left`, if it is not what is assumed.
    """
    if noise.white and power is None:
        seen, rest = split(counts, shown, generator)
        held_out = rest.predicted()
        ratio = (1 - shown) / shown
        return Trial(seen, lambda a, b: gained(a * ratio, b * ratio, held_out))
    smooth = smooth_power(counts)
    drawn = noise.drawn(smooth, generator, power)
    seen = replace(counts, images=counts.images + STRENGTH * drawn)
    other = replace(counts, images=counts.images - drawn / STRENGTH).predicted()
    smooth = replace(counts, images=smooth).predicted().images
    return Trial(seen, _judge(other.images, smooth, 1 + STRENGTH**-2, other.valid, noise))


def power_left(counts: Counts, clean: torch.Tensor, noise: NoiseModel) -> torch.Tensor | None:
    """Power of the noise over a smooth intensity, as the ``clean`` images of ``counts`` show it.

    None if they lack structure in most places, or if white noise is no stronger than that of
    counts, so that it can be split.
    """
    seen = counts.predicted()
    level = replace(counts, images=smooth_power(counts)).predicted().images - noise.read_out
    bright = seen.valid & ((level > noise.read_out) if noise.read_out else True)
    power = residual_spectrum(seen.images - clean, level, bright, noise.read_out)
    if power is None:
        return None
    shape = (clean.shape[-2], clean.shape[-1])
    assumed = 1.0 if noise.white else noise.pixel_share(shape)
    least = LOUDER if noise.white else 0.0
    return power if least * assumed < mean_power(power, shape) < STRUCTURE * assumed else None


def repeated_trial(counts: Counts, exposures: torch.Tensor, noise: NoiseModel) -> Trial:
    """Every second one of ``exposures``, ``(n, repeats, height, width)``, predicts the others.

    ``counts`` are the electrons of all of them together.
    """
    images, other, ratio = every_second(exposures, counts.valid, noise)
    seen = replace(counts, images=torch.where(counts.valid, images, 0).clamp(min=0).float())
    whole = counts.predicted()
    ratio = replace(counts, images=ratio.to(counts.images)).predicted().images
    kept_half = replace(counts, images=other.to(counts.images)).predicted().images
    judge = _judge(kept_half, smooth_power(whole), ratio / (1 + ratio), whole.valid, noise)
    return Trial(seen, lambda rate, than: judge(rate * ratio, than * ratio))


def smooth_power(counts: Counts) -> torch.Tensor:
    """Intensity to which the variance of the noise is proportional."""
    mask = counts.valid.to(counts.images)[:, None]
    return gaussian_mean(counts.images[:, None] * mask, mask, SMOOTH)[:, 0].clamp(min=0)


def _judge(
    other: torch.Tensor,
    level: torch.Tensor,
    times: torch.Tensor | float,
    valid: torch.Tensor,
    noise: NoiseModel,
) -> Callable[[torch.Tensor, torch.Tensor], tuple[float, float]]:
    """Compare two rates for ``other``, whose noise is ``times`` that of data of this ``level``.

    Return the gain of the Gaussian log-likelihood of ``other`` per pixel for the first rate, and
    an upper limit on its error, with the noise power of long wavelengths.
    """
    share = noise.pixel_share((other.shape[-2], other.shape[-1]))
    variance = noise.pixel_variance(level) * times
    variance = variance + DARKEST * variance.mean((-2, -1), keepdim=True)
    weight = valid / variance.clamp(min=torch.finfo(variance.dtype).tiny)

    def better(rate: torch.Tensor, than: torch.Tensor) -> tuple[float, float]:
        gain = ((other - than).square() - (other - rate).square()) * weight / 2
        scatter = (rate - than).square() * weight / share
        total, error = (torch.where(valid, x, 0).sum() for x in (gain, scatter))
        return float(total / valid.sum()), float(error.sqrt() / valid.sum())

    return better
