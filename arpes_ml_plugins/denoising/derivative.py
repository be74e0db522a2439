"""Recognise a second derivative: it has next to nothing at long wavelengths along one axis."""

from __future__ import annotations

import torch

__all__ = ["second_derivative"]

LONGEST = 0.025  # power of the mean and of one period per image, over the largest
STEEP = 0.08  # power of one period over that of three: 1/81, if it follows the fourth power
COMPLETE = 0.95  # of the pixels
FEWEST = 32  # pixels along the axis
WHITE = 0.8, 1.25  # power of the highest third of the frequencies over that of the middle one


def second_derivative(images: torch.Tensor, valid: torch.Tensor) -> bool:
    """Whether images ``(n, height, width)`` are second derivatives along one of their axes.

    A first derivative, a difference or a background that was subtracted leaves more at long
    wavelengths. A moving average that was subtracted leaves as little, but white noise: that of a
    derivative is not.

    Examples
    --------
    >>> peaks = torch.exp(-((torch.arange(64.0) - 30) / 4) ** 2).expand(1, 64, 64)
    >>> everywhere = torch.ones_like(peaks, dtype=torch.bool)
    >>> curvature = peaks.diff(n=2, dim=-1)
    >>> second_derivative(peaks, everywhere), second_derivative(curvature, everywhere[..., 2:])
    (False, True)
    """
    if valid.double().mean() < COMPLETE:
        return False
    values = torch.where(valid, images, 0).double()
    return any(_vanishes(values, axis) for axis in (-2, -1))


def _vanishes(values: torch.Tensor, axis: int) -> bool:
    """Whether the power along ``axis`` rises steeply from nothing."""
    if values.shape[axis] < FEWEST:
        return False
    lines = values.movedim(axis, -1)
    modes = _power(lines)
    noise = _power(lines.diff(n=2, dim=-2))  # neighbouring lines share their structure
    third = len(modes) // 3
    middle, highest = noise[third : 2 * third].mean(), noise[2 * third :].mean()
    if WHITE[0] * middle < highest < WHITE[1] * middle:
        return False
    largest = modes.max()
    steep = modes[1] < STEEP * modes[3]
    return bool((largest > 0) & (modes[:2].mean() < LONGEST * largest) & steep)


def _power(lines: torch.Tensor) -> torch.Tensor:
    """Mean power of the lines ``(..., pixels)`` at each frequency."""
    return torch.fft.rfft(lines).abs().square().flatten(0, -2).mean(0)
