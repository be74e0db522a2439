"""Test stated errors on the data themselves: one half of them is compared with the other.

The noise of two halves is independent. The squared distance of the image of one half from the
other half, less the variance of the latter, is the squared error of the image. No truth is needed.
Averaged over the whole image it is accurate enough to compare with the stated error. Errors of
neighbouring pixels are correlated and noise is not, so both are averaged over a few pixels first.

This is similar to self-supervised conformal prediction for Poisson noise (arXiv 2502.19194), with
one number per image instead of a quantile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.denoising.exposures import every_second
from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.posterior import Deviations
from arpes_ml_plugins.denoising.splitting import Counts, split
from arpes_ml_plugins.denoising.trials import smooth_power

__all__ = ["Calibration", "Half", "halves", "judged"]

WINDOW = 1.5  # pixels, over which errors and noise are averaged
FLOOR = 0.1  # of the mean intensity: darker pixels count less
CERTAIN = 2.0  # standard deviations by which errors must exceed the stated ones


@dataclass(frozen=True)
class Half:
    """One half of the data, which is denoised, and the other, to compare with."""

    seen: Counts
    other: torch.Tensor
    """``(n, height, width)``, of the same expectation; may be negative."""
    louder: torch.Tensor | float = 1.0
    """Variance of the other's noise over its expectation."""


@dataclass(frozen=True)
class Calibration:
    """Mean squared error over that stated, and the standard error of this ratio."""

    ratio: float
    error: float

    @property
    def stretch(self) -> float:
        """Factor by which error bars must be longer: 1 if they are consistent with the data."""
        return math.sqrt(self.ratio) if self.ratio > 1 + CERTAIN * self.error else 1.0


def halves(
    counts: Counts,
    noise: NoiseModel,
    generator: torch.Generator,
    exposures: torch.Tensor | None = None,
) -> Half:
    """Two halves of ``counts``, in electrons; of the ``exposures``, if these are their sum."""
    louder: torch.Tensor | float = 1.0
    if exposures is not None:
        images, other, ratio = every_second(exposures, counts.valid, noise)
        other, louder = other / ratio, 1 / ratio  # of exposures of unlike length or odd number
    elif noise.white:
        seen, rest = split(counts, 0.5, generator)
        return Half(seen, rest.images)
    else:
        drawn = noise.drawn(smooth_power(counts), generator)
        images, other = (counts.images + drawn) / 2, (counts.images - drawn) / 2
    seen = replace(counts, images=torch.where(counts.valid, images, 0).clamp(min=0).float())
    return Half(seen, torch.where(counts.valid, other, 0).float(), louder)


def judged(half: Half, deviations: Deviations, noise: NoiseModel) -> Calibration:
    """Compare the errors of the clean image of ``half`` with the stated ``deviations``."""
    clean, valid = deviations.clean, half.seen.valid
    mask = valid[:, None].to(clean)

    def mean(images: torch.Tensor) -> torch.Tensor:
        return gaussian_mean(images[:, None], mask, WINDOW)[:, 0]

    assumed = NoiseModel(noise.gain) if noise.white else noise
    share = assumed.pixel_share((clean.shape[-2], clean.shape[-1]), WINDOW)
    floor = FLOOR * clean.mean((-2, -1), keepdim=True)
    weight = valid / (clean + floor).clamp(min=torch.finfo(clean.dtype).tiny)
    expected = half.louder * share * mean(clean)
    excess = (mean(half.other - clean).square() - expected) * weight
    scattered = torch.stack([mean(one).square() for one in deviations.repeated]).mean(0)
    for one in deviations.shared:
        scattered = scattered + mean(one).square()
    stated = deviations.scale**2 * (scattered + share * mean(deviations.missing)) * weight
    total = float(stated.sum())
    independent = max(float(valid.sum()) * share, 1.0)
    error = math.sqrt(2 / independent) * float((expected * weight).sum())
    return (
        Calibration(float(excess.sum()) / total, error / total) if total > 0 else Calibration(1, 0)
    )
