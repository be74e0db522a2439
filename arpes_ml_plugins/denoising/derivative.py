"""Recognise a second derivative: it has next to nothing at long wavelengths along one axis."""

from __future__ import annotations

import torch

__all__ = ["second_derivative"]

LONGEST = 0.025  # power of the mean and of one period per image, over the largest
STEEP = 0.08  # power of one period over that of three: 1/81, if it follows the fourth power
COMPLETE = 0.95  # of the pixels
FEWEST = 32  # pixels along the axis


def second_derivative(images: torch.Tensor, valid: torch.Tensor) -> bool:
    """Whether images ``(n, height, width)`` are second derivatives along one of their axes.

    A first derivative, a difference or a background that was subtracted leaves more at long
    wavelengths.

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
    modes = torch.fft.rfft(values.movedim(axis, -1)).abs().square().flatten(0, -2).mean(0)
    largest = modes.max()
    steep = modes[1] < STEEP * modes[3]
    return bool((largest > 0) & (modes[:2].mean() < LONGEST * largest) & steep)
