"""Recognise raw counts: whole multiples of a unit, with about the noise of counts."""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.complete import complete
from arpes_ml_plugins.separation.whiten import channel_noise

__all__ = ["units_per_count"]

AGREES = (0.2, 1.5)
"""Variance over mean of raw counts: few pixels show their noise too small, seldom too large."""
FEWEST = 4  # complete pixels
WHOLE = 1e-3  # deviation from whole multiples, by rounding
MOST = 1e6  # multiples


def units_per_count(cube: torch.Tensor, valid: torch.Tensor) -> float | None:
    """What one count adds to values ``(m, *space)`` that are whole multiples of it, and whose noise
    is roughly that of counts; None for all others.

    Examples
    --------
    >>> rate = 5 + 3 * torch.rand(12, 16, generator=torch.Generator().manual_seed(0))
    >>> counts = torch.poisson(rate, generator=torch.Generator().manual_seed(1)).double()
    >>> everywhere = torch.ones_like(counts, dtype=torch.bool)
    >>> units_per_count(counts, everywhere), units_per_count(20 * counts, everywhere)
    (1.0, 20.0)
    >>> units_per_count((20 * counts + counts.flip(1)).round(), everywhere)
    """
    whole = complete(valid)
    step = _step(cube[valid]) if int(whole.sum()) >= FEWEST else None
    if step is None:
        return None
    variance = channel_noise(torch.where(valid, cube, 0), whole).square().sum()
    mean = (cube * valid).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)
    ratio = float(variance / (step * mean.sum()).clamp(min=1e-300))
    return step if AGREES[0] < ratio < AGREES[1] else None


def _step(values: torch.Tensor) -> float | None:
    """The number of which all values are whole multiples, if there is one; None if some are below
    zero.
    """
    steps = values.unique().diff()
    if not len(steps) or bool((values < 0).any()):
        return None
    multiples = values / steps.min()
    whole = (multiples - multiples.round()).abs().max() < WHOLE
    return float(steps.min()) if bool(whole & (multiples.max() < MOST)) else None
