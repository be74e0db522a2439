"""Limit the gain of white noise by the differences of neighbouring pixels.

Bands only a pixel or two wide fill the spectrum of an image at all frequencies, and pass for noise.
But they are in some of the pairs of neighbours only, and often along one of the axes only: the
median difference along the smoother axis is hardly larger than that of noise, and never smaller.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA

__all__ = ["largest_gain"]

BRIGHT = 0.5  # of the mean: darker pairs may hold too few counts
ENOUGH = 3.0  # electrons of a typical pair: with fewer, differences are one of few numbers
FEWEST = 64  # pairs


def largest_gain(images: torch.Tensor, valid: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Variance over mean that the noise of independent pixels has at most; infinite if few pixels
    or counts show none.

    Parameters
    ----------
    images, valid
        Shape ``(n, height, width)``; the variance is proportional to ``images``.
    step
        Number of which all values are multiples, or NaN.
    """
    both = (_along_columns(images, valid, step), _along_columns(images.mT, valid.mT, step))
    return torch.minimum(*both)


def _along_columns(images: torch.Tensor, valid: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    unlimited = images.new_full((), torch.inf)
    known = valid[:, 1:] & valid[:, :-1]
    sums, differences = (images[:, 1:] + images[:, :-1])[known], images.diff(dim=1)[known]
    bright = sums > BRIGHT * sums.mean() if len(sums) else known.new_zeros(0)
    if bright.sum() < FEWEST:
        return unlimited
    sums, differences = sums[bright], differences[bright]
    generator = torch.Generator(device="cpu").manual_seed(0)
    random = torch.rand(len(sums), generator=generator, dtype=sums.dtype, device="cpu")
    differences = differences + step.nan_to_num() * (2 * random - 1).to(sums)
    gain = (MAD_TO_SIGMA * (differences.abs() / sums.sqrt()).median()).square()
    return gain if sums.median() > ENOUGH * gain else unlimited
