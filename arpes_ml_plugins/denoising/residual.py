"""Test whether the residual of a clean image is the noise that was assumed.

The residual is split into differences of Gaussian means, as for its recovery, and the power of each
is compared with that of the noise, region by region. Structure that was left stands out in places;
noise of another strength, or one that is not proportional to the intensity, shows everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.lines_left import beyond_noise
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.recovery import WINDOWS, detail_power, windowed_mean

__all__ = ["Residual", "excess_of", "residual_of"]

REGION = 6.0  # pixels, over which power is averaged
ENOUGH = 1.0  # electrons under a window, below which power is not comparable
KNOWN = 0.2  # of a region
STANDS_OUT = 5.0  # standard deviations above the median
STRONGER = 1.5  # and this much above it
BRIGHT, DIM = 0.7, 0.35  # of the intensity of a typical electron
SATURATED = 0.8  # power in bright places over that in dim ones, below which it follows intensity
FEWEST = 50  # pixels
TOGETHER = 1.3  # pixels whose finest details are one: the sum of squared correlations
LEAST = 1e-9  # of a power or a ratio: keeps logarithms finite
BLOCK = 8  # pixels, side of the squares whose sums show what is chance in the sum of all
CHANCE = 4.0  # standard deviations of it
USUAL = (0.93, 1.06, 0.94)  # of the noise's power, left by images that are right


@dataclass(frozen=True)
class Residual:
    """Residuals of ``n`` images; NaN if there are too few electrons."""

    structure: torch.Tensor
    """Fraction of the pixels around which more than noise is left."""
    power: torch.Tensor
    """Power of the residual at one pixel, over that of the assumed noise."""
    bright: torch.Tensor
    """The same where it is bright, over where it is dim: 1 if variance follows intensity."""
    bright_error: torch.Tensor
    """Standard error of this ratio, relative."""
    lines: torch.Tensor
    """Relative standard deviation of the brightness of whole lines beyond noise; zero without."""


def residual_of(
    counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor, noise: NoiseModel
) -> Residual:
    """Compare ``counts - clean`` with ``noise``, in electrons, each ``(n, height, width)``."""
    shape = (clean.shape[-2], clean.shape[-1])
    transfer = None if noise.white else noise.transfer(shape, clean.device)
    mask = valid.to(clean)[:, None]
    residual = torch.where(valid, counts.to(clean) - clean, 0)[:, None]
    means = [windowed_mean(residual, mask, width) for width in WINDOWS]
    numbers = []
    for (width, wide), fine, coarse, usual in zip(
        pairwise(WINDOWS), means, means[1:], USUAL, strict=False
    ):
        power, area = detail_power(width, wide, transfer, clean)
        white, _ = detail_power(width, wide, None, clean)
        expected = windowed_mean(clean[:, None], mask, width)
        noisy = (expected - noise.read_out).clamp(min=0) * power + noise.read_out * white
        weight = mask * (expected * area > ENOUGH)
        region = REGION + 2 * width
        # Beside gaps fewer pixels are averaged, so that more noise is left.
        shown = windowed_mean(mask, torch.ones_like(mask), width)
        relative = (fine - coarse).square() * shown / (noisy.clamp(min=LEAST * power) * usual)
        local = gaussian_mean(relative, weight, region)
        seen = gaussian_mean(weight, torch.ones_like(weight), region)
        independent = seen * 4 * math.pi * region**2 / (1 + 2 * math.pi * max(wide, 0.5) ** 2)
        error = ((2 + 1 / (expected * area).clamp(min=1)) / independent).sqrt()
        use = (weight > 0) & (seen > KNOWN)
        numbers.append(
            [_numbers(*image) for image in zip(local, error, expected, use, strict=True)]
        )
    table = torch.tensor(numbers, dtype=torch.float64, device="cpu")  # (scales, n, 4)
    structure = table[..., 0].nan_to_num().amax(0) / valid.double().mean((-2, -1)).cpu()
    lines = beyond_noise(residual[:, 0], clean, valid, noise).double().cpu()
    return Residual(structure, table[1, :, 1], table[0, :, 2], table[0, :, 3], lines)


def excess_of(images: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """By how much the sum of ``clean`` exceeds that of the ``images``, relative to the former; zero
    if that is chance. Shapes ``(n, height, width)``.

    Examples
    --------
    >>> flat = torch.full((1, 64, 64), 5.0)
    >>> noisy = torch.poisson(flat, generator=torch.Generator().manual_seed(0))
    >>> everywhere = torch.ones_like(flat, dtype=torch.bool)
    >>> [round(float(excess_of(noisy, x, everywhere)), 2) for x in (flat, 1.1 * flat)]
    [0.0, 0.08]
    """
    difference = torch.where(valid, clean - images, 0).double()
    squares = F.avg_pool2d(difference[:, None], BLOCK, ceil_mode=True, divisor_override=1)
    total, chance = difference.sum(), squares.square().sum().sqrt()
    relative = total / torch.where(valid, clean, 0).double().abs().sum().clamp(min=1e-300)
    return torch.where(total.abs() > CHANCE * chance, relative, 0.0)


def _numbers(
    local: torch.Tensor,
    error: torch.Tensor,
    expected: torch.Tensor,
    use: torch.Tensor,
) -> tuple[float, float, float, float]:
    """Fraction of the image that stands out, median power, that of bright pixels over dim ones and
    its relative error (of the finest details).
    """
    if int(use.sum()) < FEWEST:
        return math.nan, math.nan, math.nan, math.nan
    level = median = power = local[use].median()
    typical = float(expected[use].square().sum() / expected[use].sum())
    bright, dim = use & (expected > BRIGHT * typical), use & (expected < DIM * typical)
    ratio = uncertain = math.nan
    if min(int(bright.sum()), int(dim.sum())) >= FEWEST:
        ratio = float(local[bright].median() / local[dim].median().clamp(min=LEAST))
        uncertain = math.sqrt(2 * TOGETHER * (1 / float(bright.sum()) + 1 / float(dim.sum())))
        if not SATURATED < ratio < 1 / SATURATED:  # not all structure: noise follows another law
            levels = expected[dim].median(), expected[bright].median()
            exponent = math.log(max(ratio, LEAST)) / math.log(float(levels[1] / levels[0]))
            law = local[dim].median() * (expected / levels[0]).clamp(min=LEAST) ** exponent
            level = torch.where(use, law, median).clamp(min=float(median))
            if ratio > 1:  # dim places have less than was assumed, and say nothing of the others
                power = local[use & ~dim].median()
                level = level.clamp(max=max(float(median), 1.0))
    above = local > level * (1 + STANDS_OUT * error).clamp(min=STRONGER)
    return float((above & use).double().mean()), float(power), ratio, uncertain
