"""Whole numbers that were divided, each image or each line of pixels by a number of its own.

The values of a line are then multiples of a step, which is exact: one over what it was divided by
(its maximum, its sum, an exposure). Nothing else that is done to counts leaves such steps.
"""

from __future__ import annotations

import math

import torch

__all__ = ["FEWEST_LEVELS", "steps_of_lines"]

FEWEST_LEVELS = 4  # different values of a line that show a step; all fewer may have one by chance
DIVISORS = 12  # upper limit on the smallest difference of two values, in steps
REFINEMENTS = 8  # the larger a multiple, the better it determines the step
OFF = 0.04  # steps: the largest deviation from a multiple
ROUNDED = 1.5  # relative errors of a number of single precision, of a value and in the division
MOST_PIXELS = 4_000_000  # sorted at a time


def steps_of_lines(
    values: torch.Tensor, valid: torch.Tensor, *, fewest: int = FEWEST_LEVELS
) -> torch.Tensor:
    """The number of which all values of each line are multiples; NaN if there is none.

    Parameters
    ----------
    values, valid
        Shape ``(lines, pixels)``. Steps are found up to a common divisor: if all values of a line
        are even, its step is 2.
    fewest
        Number of different values above zero that a line must have.

    Examples
    --------
    >>> counts = torch.tensor([[0.0, 3.0, 2.0, 7.0, 5.0, 1.0], [4.0, 1.0, 0.0, 9.0, 2.0, 6.0]])
    >>> highest = counts.amax(1, keepdim=True)
    >>> steps = steps_of_lines((counts / highest).double(), torch.ones(2, 6).bool())
    >>> (1 / steps).round()
    tensor([7., 9.], dtype=torch.float64)
    """
    lines = max(1, MOST_PIXELS // max(values.shape[1], 1))
    parts = zip(values.split(lines), valid.split(lines), strict=True)
    return torch.cat([_steps(*part, fewest) for part in parts])


def _steps(values: torch.Tensor, valid: torch.Tensor, fewest: int) -> torch.Tensor:
    values = torch.where(valid, values.double().abs(), 0)
    ordered = values.sort(1).values.contiguous()
    highest = ordered[:, -1:]
    rounding = ROUNDED * torch.finfo(torch.float32).eps * ordered
    gaps = ordered.diff(dim=1, prepend=torch.zeros_like(highest))
    apart = gaps > 2 * rounding + torch.finfo(values.dtype).tiny
    smallest = torch.where(apart, gaps, math.inf).amin(1, keepdim=True)
    places = torch.linspace(0, 1, REFINEMENTS, dtype=torch.float64, device="cpu")
    steps = torch.full_like(highest, math.nan)
    for divisor in range(1, DIVISORS + 1):
        step = smallest / divisor
        for place in places.tolist():  # from the smallest value above zero to the largest
            target = torch.exp(_between(smallest, highest, place))
            level = _nearest(ordered, target)
            step = level / (level / step).round().clamp(min=1)
        multiples = ordered / step
        off = (multiples - multiples.round()).abs()
        fits = (off <= torch.clamp(2 * rounding / step, min=1e-6)) & (2 * rounding / step < OFF)
        found = fits.all(1, keepdim=True) & steps.isnan() & smallest.isfinite()
        steps = torch.where(found, step, steps)
    enough = apart.sum(1, keepdim=True) >= fewest
    return torch.where(enough, steps, math.nan)[:, 0]


def _between(low: torch.Tensor, high: torch.Tensor, place: float) -> torch.Tensor:
    """Logarithm of a number between both."""
    tiny = torch.finfo(low.dtype).tiny
    return (1 - place) * low.clamp(min=tiny).log() + place * high.clamp(min=tiny).log()


def _nearest(ordered: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The value of each line at or above ``target``."""
    place = torch.searchsorted(ordered, target * (1 - 1e-6)).clamp(max=ordered.shape[1] - 1)
    return ordered.gather(1, place)
