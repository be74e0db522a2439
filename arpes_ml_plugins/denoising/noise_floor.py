"""Variance over mean of white noise, from the finest structure of images alone.

At the highest frequencies of whole images the scene has hardly any power, and that of white noise
gives the gain precisely, at any number of counts per pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean

__all__ = ["first_gain", "floor_gain", "variance_over_mean"]

SMOOTH = 4.0  # pixels; what it removes lies below all frequencies that are looked at
FLOOR = 0.02  # of the mean: darker pixels get no larger weight
CORNER = 0.7  # of the Nyquist frequency, in both directions: noise, if anything is
STEPS = (0.6, 0.5, 0.4, 0.3)  # the corner grows while its power stays the same
CONSISTENT = 2.5  # standard deviations
MEDIAN_OF_SQUARE = 0.455  # of a standard normal variable


def first_gain(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Median of squared second differences over their Poisson variance.

    Hot pixels do not spoil it as long as most pixels have none beside them. With few counts it is
    too small or too large by a factor of some; that only costs another look.
    """
    one = images.new_tensor([1.0, -2.0, 1.0])
    kernel = (one[:, None] * one[None, :])[None, None]
    values = torch.where(valid, images, 0)[:, None]
    whole = F.max_pool2d((~valid).to(images)[:, None], len(one), 1) == 0
    mean = F.conv2d(values, kernel.square())
    used = whole & (mean > 0)
    if not used.any():
        return variance_over_mean(images, valid)
    ratio = F.conv2d(values, kernel).square()[used] / mean[used]
    return (ratio.median() / MEDIAN_OF_SQUARE).clamp(min=torch.finfo(images.dtype).tiny)


def floor_gain(images: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and its error, from the power at the highest frequencies."""
    power, norm = _whitened_power(images, valid)
    return _floor(power, norm, float(len(images) * valid.double().mean()))


def variance_over_mean(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Of the fine structure of a stack, whatever it is; the gain if the noise is white."""
    power, norm = _whitened_power(images, valid)
    gain, _ = _floor(power, norm, float(len(images)))
    return gain.abs().clamp(min=torch.finfo(gain.dtype).tiny)


def _whitened_power(images: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Power spectrum (DCT) of the fine structure over its Poisson deviation, and its norm.

    Both are means over the stack. The norm is what the power of each mode would be with a gain
    of 1. The weights come from a smooth image, so that they do not follow the noise.
    """
    mask = valid.to(images)
    images = torch.where(valid, images, 0)
    smooth = gaussian_mean(images[:, None], mask[:, None], SMOOTH)[:, 0]
    mean = (smooth.clamp(min=0) * mask).sum((-2, -1), keepdim=True) / mask.sum(
        (-2, -1), keepdim=True
    ).clamp(min=1)
    tiny = torch.finfo(images.dtype).tiny
    weight = mask / (smooth.clamp(min=0) + FLOOR * mean).clamp(min=tiny).sqrt()
    residual = (images - smooth) * weight
    mirrored = torch.cat([residual, residual.flip(-1)], -1)
    mirrored = torch.cat([mirrored, mirrored.flip(-2)], -2)
    height, width = images.shape[-2:]
    modes = torch.fft.rfft2(mirrored)[..., :height, :width]
    power = modes.abs().square() / (4 * height * width)
    return power.mean(0), (weight.square() * images).mean()


def _frequencies(power: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = power.shape[-2:]
    rows = torch.arange(height, device="cpu").to(power)[:, None] / height
    columns = torch.arange(width, device="cpu").to(power)[None, :] / width
    return rows, columns


def _floor(
    power: torch.Tensor, norm: torch.Tensor, images: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and its error; ``images`` is how many complete ones the data amount to.

    Starts with the corner of highest frequencies and grows as long as what is added has the same
    power: the more modes, the smaller the error.
    """
    rows, columns = _frequencies(power)
    lower = torch.minimum(rows, columns)
    inside = lower >= CORNER

    def count(modes: torch.Tensor) -> torch.Tensor:
        return modes.sum().to(power)  # a quotient of integers has torch's default precision

    mean = power[inside].mean()
    for edge in STEPS:
        shell = (lower >= edge) & ~inside
        # The power of a mode is chi-square with one degree of freedom.
        spread = (2 / images * (1 / count(shell) + 1 / count(inside))).sqrt()
        if (power[shell].mean() - mean).abs() > CONSISTENT * spread * mean:
            break
        inside = inside | shell
        mean = power[inside].mean()
    gain = mean / norm
    return gain, gain.abs() * (2 / images / count(inside)).sqrt()
