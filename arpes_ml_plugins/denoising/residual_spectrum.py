"""The spectrum of what a clean image leaves of the data, in most places: that of their noise.

A filter, an interpolation or a file format correlates noise in ways that no formula foresees. In
most blocks the residual is noise alone, so that the median over the blocks has its spectrum.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.noise_blocks import COMPLETE, DARK, FEWEST, blocks_of

__all__ = ["residual_spectrum"]

BLOCK, SMALL_BLOCK = 32, 16  # pixels
LARGE_ENOUGH = 96  # pixels along both axes, for the larger block
MEDIAN = math.log(2)  # of the power of one mode of noise, over its mean


def residual_spectrum(
    residual: torch.Tensor, level: torch.Tensor, valid: torch.Tensor, read_out: float = 0.0
) -> torch.Tensor | None:
    """Power of the noise over the intensity ``level``, for ``rfft2`` of such images.

    White noise of the variance ``read_out`` beside it is subtracted. None if there are too few
    complete blocks. All have the shape ``(n, height, width)``; the result is ``(height, width // 2
    + 1)``.

    Examples
    --------
    >>> white = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> everywhere = torch.ones(1, 64, 64)
    >>> power = residual_spectrum(2 * white, everywhere, everywhere > 0)
    >>> round(float(power.mean() / 4), 1)
    1.0
    """
    size = BLOCK if min(residual.shape[-2:]) >= LARGE_ENOUGH else SMALL_BLOCK
    if min(residual.shape[-2:]) < size:
        return None
    bright = valid & (level > DARK * level[valid].mean())
    standard = torch.where(bright, residual / level.clamp(min=1e-12).sqrt(), 0)
    used = blocks_of(bright.to(residual), size).mean((-2, -1)) >= COMPLETE
    if used.sum() < FEWEST:
        return None
    window = torch.hann_window(size + 2, periodic=False, device=residual.device)[1:-1]
    window = (window[:, None] * window).to(residual)
    modes = torch.fft.rfft2(blocks_of(standard, size)[used] * window)
    power = modes.abs().square().median(0).values / (MEDIAN * window.square().sum())
    if read_out:
        beside = torch.where(bright, read_out / level.clamp(min=1e-12), 0)
        share = (blocks_of(beside, size)[used] * window.square()).sum((-2, -1))
        power = (power - share.median() / window.square().sum()).clamp(min=0)
    return _resampled(power, residual.shape[-2], residual.shape[-1])


def _resampled(power: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The same at the frequencies of ``rfft2`` of a larger image."""
    size = len(power)
    rows = torch.fft.fftfreq(height, device=power.device).abs()
    columns = torch.fft.rfftfreq(width, device=power.device)
    # Both signs of the first frequency are alike in a real image but for chance.
    half = (power[: size // 2 + 1] + power.roll(-1, 0).flip(0)[: size // 2 + 1]) / 2
    grid = torch.stack(
        torch.broadcast_tensors(4 * columns[None] - 1, 4 * rows[:, None] - 1), -1
    ).to(power)
    return F.grid_sample(half[None, None], grid[None], align_corners=True)[0, 0]
