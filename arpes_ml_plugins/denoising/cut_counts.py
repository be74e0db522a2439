"""Counts of which a constant was subtracted, and negative values were then set to zero.

The lowest value then stands for several numbers of electrons. If the constant was no whole number,
the step from it to the next value differs from all others. If it was, too many pixels have it: for
``n`` pixels with none, one and two steps above it, ``2 n_0 n_2 / n_1**2`` is 1 for a Poisson
distribution, and more if ``n_0`` is too large. Structure within a square makes it larger too, and
``3/2 n_1 n_3 / n_2**2`` as much.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.denoising.cut_off import both, pairs
from arpes_ml_plugins.denoising.noise_blocks import blocks_of

__all__ = ["cut_counts"]

BLOCK = 8  # pixels, side of the squares that are looked at
AT_FLOOR = 0.15, 0.8  # fraction of a square that has the lowest value
FEWEST = 32  # squares; of few, chance would choose those with the most
TOGETHER = 1.12  # neighbours that both have the lowest value, over those of independent ones
LEVELS = 4  # lowest values that are looked at
ENOUGH = 0.02  # of the pixels have each of them
UNEVEN, EVEN = 0.02, 1e-3  # relative difference of steps
LIKE_COUNTS = 2.0  # noise over that of counts with this step; cut off, dark ones seem to have more
SMOOTH = 1.6  # the same of the next levels: more is left by lines, and cut off counts have 1.2
TOO_MANY = 2.3  # of the lowest value: more are left where two electrons or more were cut off


def cut_counts(images: torch.Tensor, valid: torch.Tensor, gain: torch.Tensor) -> bool:
    """Whether ``images (n, height, width)``, whose noise has this ``gain``, are such counts.

    Examples
    --------
    >>> electrons = torch.poisson(torch.full((1, 64, 64), 4.0), torch.Generator().manual_seed(0))
    >>> everywhere = torch.ones_like(electrons, dtype=torch.bool)
    >>> [cut_counts((electrons - x).clamp(min=0), everywhere, torch.tensor(1.0)) for x in (0, 3)]
    [False, True]
    """
    if not valid.any() or min(images.shape[-2:]) < BLOCK:
        return False
    lowest = images[valid].min()
    squares = blocks_of(torch.where(valid, images - lowest, torch.nan), BLOCK, BLOCK)
    squares = squares[squares.isfinite().all(-1).all(-1)].cpu().double()
    share = (squares == 0).double().mean((-2, -1))
    squares = squares[(share > AT_FLOOR[0]) & (share < AT_FLOOR[1])]
    if len(squares) < FEWEST:
        return False
    floor = squares == 0
    independent = 2 * BLOCK * (BLOCK - 1) * pairs(floor)
    if both(floor).sum() > TOGETHER * independent.sum():
        return False  # an edge, beyond which there is nothing
    squares = squares.flatten(1)
    levels, number = squares.unique(return_counts=True)
    levels, number = levels[:LEVELS], number[:LEVELS]
    if len(levels) < LEVELS or number[: LEVELS - 1].min() < ENOUGH * squares.numel():
        return False
    first, step, other = levels.diff()
    if (step - other).abs() > EVEN * step:
        return False
    if (first - step).abs() > UNEVEN * step:
        return bool(first < step)
    none, one, two, three = ((squares == level).sum(1).double() for level in levels)
    excess = 2 * (none * two).sum() / (one * (one - 1)).sum()
    structure = 3 / 2 * (one * three).sum() / (two * (two - 1)).sum().clamp(min=1)
    smooth = (structure < SMOOTH) & (excess > TOO_MANY * structure.clamp(min=1))
    return bool((gain < LIKE_COUNTS * step) & smooth)
