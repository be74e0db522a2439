"""The zero of the values: a pedestal that places without noise show, and values below zero."""

from __future__ import annotations

import torch

from arpes_ml_plugins.constants import DIFFERENCE, NEGATIVE
from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.neighbourhoods import highest_around

__all__ = [
    "ENOUGH_STILL",
    "constant_explains",
    "dark_explains",
    "level_of",
    "of_read_out",
    "overshot",
    "read_out_explains",
    "still_places",
]

STILL = 7  # pixels, side of a square that has no noise at all
ENOUGH_STILL = 0.005  # of the pixels, that show a pedestal
FARTHEST = 2.0  # times a constant that was subtracted
MUCH_BELOW = 3.0  # times the square that is expected of negative values
READ_OUT = 0.3  # of the mean: a larger shift would not be that of read-out noise
BESIDE = 3.0  # pixels, width of means in which an interpolation leaves nothing below zero
LEFT = 0.003  # of the intensity, below zero in such means


def still_places(images: torch.Tensor) -> torch.Tensor:
    """Mask of squares filled with one value above zero: a pedestal outside the detector."""
    highest, lowest = (sign * highest_around(sign * images, STILL) for sign in (1, -1))
    still = (highest == lowest) & (images > 0)
    return highest_around(still.to(images), STILL) > 0


def level_of(images: torch.Tensor, still: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The pedestal, if places without noise show one: their value, or 0."""
    level = images[still].median() if still.any() else images.new_zeros(())
    same = (still & (images == level)).sum() > ENOUGH_STILL * valid.sum()
    darkest = (images >= level)[valid].all()
    return torch.where(same & darkest, level, 0)


def read_out_explains(
    values: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    """Whether negative values are what read-out noise, or a constant, leaves in the dark."""
    below = values[values < 0]
    if not len(below):
        return values.new_ones((), dtype=torch.bool)
    allowed = gain * shift + shift.square()
    return (shift > 0) & (below.square().mean() < MUCH_BELOW * allowed)


def constant_explains(
    values: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    """Whether values are not below those of no electrons, whose ``shift`` is not known exactly, and
    not so often below zero as a difference is.
    """
    too_low = (values < -FARTHEST * shift).to(values).mean() > NEGATIVE
    return ~too_low & ((values < 0).to(values).mean() < DIFFERENCE)


def dark_explains(values: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Whether negative values are what read-out noise alone leaves where it is dark."""
    below = values[values < 0]
    little = (shift > 0) & (shift < READ_OUT * values.mean())
    return little & (below.square().mean() < MUCH_BELOW * gain * shift)


def of_read_out(
    values: torch.Tensor, gain: torch.Tensor, mean: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and shift with read-out noise, as negative values show it where it is dark. No shift if
    it would be so large that something else must have made them negative.
    """
    variance = values[values < 0].square().mean()
    without = gain - variance / mean
    shift = variance / without
    found = (without > 0) & (shift < READ_OUT * mean)
    return torch.where(found, without, gain), torch.where(found, shift, 0.0)


def overshot(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Whether values below zero are those beside bright ones, as an interpolation leaves them.

    Means over a few pixels are then positive everywhere. Where something was subtracted, those of
    dark places are below zero as often as above.
    """
    known = torch.where(valid, images, 0)[:, None]
    means = gaussian_mean(known, valid[:, None].to(images), BESIDE)
    return -means.clamp(max=0).sum() < LEFT * means.clamp(min=0).sum()
