"""Recognise raw counts in maps of too few pixels to measure the noise."""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.whiten import channel_noise

__all__ = ["are_raw_counts"]

AGREES = (0.2, 1.5)
"""Variance over mean of raw counts: few pixels show their noise too small, seldom too large."""


def are_raw_counts(cube: torch.Tensor, valid: torch.Tensor) -> bool:
    """Whether values ``(m, *space)`` are whole numbers whose noise is roughly that of counts.

    Examples
    --------
    >>> rate = 5 + 3 * torch.rand(12, 16, generator=torch.Generator().manual_seed(0))
    >>> counts = torch.poisson(rate, generator=torch.Generator().manual_seed(1)).double()
    >>> everywhere = torch.ones_like(counts, dtype=torch.bool)
    >>> are_raw_counts(counts, everywhere), are_raw_counts(20 * counts, everywhere)
    (True, False)
    """
    values = cube[valid]
    if not len(values) or bool((values < 0).any() | (values != values.round()).any()):
        return False
    variance = channel_noise(torch.where(valid, cube, 0), valid.all(0)).square().sum()
    mean = (cube * valid).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)
    return AGREES[0] < float(variance / mean.sum().clamp(min=1e-300)) < AGREES[1]
