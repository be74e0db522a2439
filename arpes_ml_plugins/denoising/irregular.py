"""Find defects that are not noise of single pixels: uneven lines, and saturation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import torch
import torch.nn.functional as F

from arpes_ml_plugins.constants import MAD_TO_SIGMA

__all__ = ["SECOND_DIFFERENCE", "Lines", "clipped", "part_means", "uneven"]

PARTS = 4  # of a line, that are compared with each other
FEWEST_LINES, FEWEST_PIXELS = 24, 4
AGREE = 0.3  # excess of parts that deviate to the same side, of chance 0
BEYOND = 4.0  # standard deviations of chance, too
LARGEST_SWING = 1.9  # relative; at 2 every second row is empty
TAKES_TURNS = 0.7  # excess of rows that are brighter, then darker in turn
NEAR = 2  # pixels on either side, whose mean shows how bright a place is
DARK = 1e-3  # of the mean brightness
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
    baseline: torch.Tensor
    """Standard deviation of constants that were added to the rows, as far as neighbours differ; 0
    if bright parts of a row differ by more than dim ones."""


def uneven(images: torch.Tensor, valid: torch.Tensor) -> tuple[Lines, Lines]:
    """Differences between rows, and between columns."""
    return _uneven_rows(images, valid), _uneven_rows(images.mT, valid.mT)


def _uneven_rows(images: torch.Tensor, valid: torch.Tensor) -> Lines:
    """Compare each row with those beside it, in four parts from left to right.

    A beam or an exposure that fluctuates moves all four parts to the same side, in proportion to
    their brightness, and a constant that was added by as much; noise and bands do not, or in a few
    rows only.
    """
    nothing = images.new_zeros(())
    even = Lines(nothing, nothing, nothing)
    if images.shape[-2] < FEWEST_LINES or images.shape[-1] < PARTS * FEWEST_PIXELS:
        return even
    steps, around = _steps(part_means(images, valid))
    usable = steps.isfinite().all(0) & (steps != 0).any(0)
    if usable.sum() < FEWEST_LINES:
        return even
    sides = steps[:, usable].sign()
    pairs = [(sides[i] * sides[j]).mean() for i, j in combinations(range(PARTS), 2)]
    agreed = torch.stack(pairs).median()
    if agreed < max(AGREE, BEYOND * float(usable.sum()) ** -0.5):
        return even
    share = (torch.sin(math.pi / 2 * agreed) / SECOND_DIFFERENCE).sqrt()  # of the lines
    if _added(images, valid):
        apart = MAD_TO_SIGMA * steps[:, usable].abs().median()
        return Lines(nothing, nothing, baseline=apart * share)
    steps = torch.where(around > 0, steps / around, torch.nan)
    spread = MAD_TO_SIGMA * steps[:, usable].abs().nanmedian()
    turns = (-1.0) ** torch.arange(steps.shape[-1], device=steps.device)
    swing = (steps * turns)[:, usable]
    alternates = swing.sign().nanmean().abs() > TAKES_TURNS
    apart = swing.nanmedian().abs().clamp(max=LARGEST_SWING)  # relative to the mean of both
    return Lines(
        jitter=spread * share,
        alternation=torch.where(alternates, apart / (1 - apart / 2), nothing),
        baseline=nothing,
    )


def part_means(
    images: torch.Tensor, valid: torch.Tensor, *, parts: int = PARTS, fewest: int = FEWEST_PIXELS
) -> torch.Tensor:
    """Mean of each part of each row, NaN where too few pixels are left: ``(parts, n, rows)``."""
    values = torch.where(valid, images, 0).tensor_split(parts, -1)
    pixels = [mask.sum(-1) for mask in valid.tensor_split(parts, -1)]
    enough = [count.to(images).where(count >= fewest, math.nan) for count in pixels]
    return torch.stack([v.sum(-1) / n for v, n in zip(values, enough, strict=True)])


def _steps(means: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Excess brightness of a row over those beside it, and the mean of the three."""
    above, here, below = means[..., :-2], means[..., 1:-1], means[..., 2:]
    return here - (above + below) / 2, (here + above + below) / 3


def _added(images: torch.Tensor, valid: torch.Tensor) -> bool:
    """Whether most rows differ from those beside them by a constant rather than by a factor: dim
    pixels by as much as bright ones.
    """
    steps, around = _by_brightness(images, valid)
    usable = steps.isfinite().all(0)
    steps, around = steps[:, usable], around[:, usable]
    around = around.clamp(min=float(DARK * around.abs().mean()))
    constant = (steps / around).sum(0) / (1 / around).sum(0)  # counts have the variance of around
    factor = steps.sum(0) / around.sum(0)
    added, multiplied = (
        ((steps - model).square() / around).sum(0) for model in (constant, factor * around)
    )
    return bool((added < multiplied).double().mean() > 1 / 2)


def _by_brightness(images: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Excess of the pixels of a row over those beside it, and the brightness of these: means over
    the dimmest to the brightest part of the row, ``(4, n, rows)``.
    """
    above, here, below = (images[..., k : images.shape[-2] - 2 + k, :] for k in range(3))
    known = valid[..., :-2, :] & valid[..., 1:-1, :] & valid[..., 2:, :]
    beside = (above + below) / 2
    smooth = F.avg_pool2d(beside, (1, 2 * NEAR + 1), 1, (0, NEAR), count_include_pad=False)
    order = smooth.where(known, torch.inf).argsort(-1)
    sorted_parts = [
        x.where(known, torch.nan).gather(-1, order).tensor_split(PARTS, -1)
        for x in (here - beside, smooth)
    ]
    steps, around = (torch.stack([part.nanmean(-1) for part in parts]) for parts in sorted_parts)
    return steps, around


def clipped(values: torch.Tensor) -> torch.Tensor:
    """Fraction of ``values`` at which the detector saturates; 0 if it does not.

    A ratio of a difference to a sum of few counts is often at 1, and at -1.
    """
    highest = values.max()
    if values.min() == -highest:
        return torch.zeros_like(highest)
    at_top = (values == highest).sum()
    below = values[values < highest]
    second = (values == below.max()).sum() if len(below) else at_top
    ceiling = (at_top >= CEILING) & (at_top > CROWDED * second)
    return torch.where(ceiling, at_top / len(values), 0.0)
