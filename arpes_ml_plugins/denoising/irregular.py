"""Find defects that are not noise of single pixels: uneven lines, and saturation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA

__all__ = ["Lines", "clipped", "uneven_lines"]

PARTS = 4  # of a line, that are compared with each other
FEWEST_LINES, FEWEST_PIXELS = 24, 4
AGREE = 0.3  # excess of parts that deviate to the same side, of chance 0
BEYOND = 4.0  # standard deviations of chance, too
LARGEST_SWING = 1.9  # relative; at 2 every second row is empty
TAKES_TURNS = 0.7  # excess of rows that are brighter, then darker in turn
SECOND_DIFFERENCE = 1.5  # variance of a value less the mean of its neighbours, over its own
CEILING = 10  # pixels that share the highest value
CROWDED = 3.0  # times as many as have the second highest


@dataclass(frozen=True)
class Lines:
    """Differences of brightness between rows beyond noise and structure."""

    jitter: torch.Tensor
    """Relative standard deviation; 0 if there is none to be seen."""
    alternation: torch.Tensor
    """By how much every second row is brighter than the others, relative; 0 if they do not take
    turns."""


def uneven_lines(images: torch.Tensor, valid: torch.Tensor) -> Lines:
    """Compare each row with those beside it, in four parts from left to right.

    A beam or an exposure that fluctuates moves all four parts to the same side; noise and bands do
    not, or in a few rows only.
    """
    nothing = images.new_zeros(())
    if images.shape[-2] < FEWEST_LINES or images.shape[-1] < PARTS * FEWEST_PIXELS:
        return Lines(nothing, nothing)
    steps = _steps(_part_means(images, valid))
    usable = steps.isfinite().all(0)
    if usable.sum() < FEWEST_LINES:
        return Lines(nothing, nothing)
    sides = steps[:, usable].sign()
    pairs = [(sides[i] * sides[j]).mean() for i, j in combinations(range(PARTS), 2)]
    agreed = torch.stack(pairs).median()
    if agreed < max(AGREE, BEYOND * float(usable.sum()) ** -0.5):
        return Lines(nothing, nothing)
    spread = MAD_TO_SIGMA * steps[:, usable].abs().median()
    turns = (-1.0) ** torch.arange(steps.shape[-1], device=steps.device)
    swing = (steps * turns)[:, usable]
    alternates = swing.sign().mean().abs() > TAKES_TURNS
    apart = swing.median().abs().clamp(max=LARGEST_SWING)  # relative to the mean of both
    return Lines(
        jitter=spread * (torch.sin(math.pi / 2 * agreed) / SECOND_DIFFERENCE).sqrt(),
        alternation=torch.where(alternates, apart / (1 - apart / 2), nothing),
    )


def _part_means(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean of each part of each row, NaN where too few pixels are left: ``(4, n, rows)``."""
    values = torch.where(valid, images, 0).tensor_split(PARTS, -1)
    pixels = [mask.sum(-1) for mask in valid.tensor_split(PARTS, -1)]
    enough = [count.double().where(count >= FEWEST_PIXELS, math.nan) for count in pixels]
    return torch.stack([v.sum(-1) / n for v, n in zip(values, enough, strict=True)])


def _steps(means: torch.Tensor) -> torch.Tensor:
    """Excess brightness of a row over those beside it, relative to the three."""
    above, here, below = means[..., :-2], means[..., 1:-1], means[..., 2:]
    return (here - (above + below) / 2) / (here + above + below) * 3


def clipped(values: torch.Tensor) -> torch.Tensor:
    """Fraction of ``values`` at which the detector saturates; 0 if it does not."""
    highest = values.max()
    at_top = (values == highest).sum()
    below = values[values < highest]
    second = (values == below.max()).sum() if len(below) else at_top
    ceiling = (at_top >= CEILING) & (at_top > CROWDED * second)
    return torch.where(ceiling, at_top / len(values), 0.0)
