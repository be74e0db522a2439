"""Interpolation in a table."""

from __future__ import annotations

import torch

__all__ = ["interpolated"]


def interpolated(x: torch.Tensor, places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Interpolate between ``values`` at rising ``places``: beyond the last place by the line of the
    last two, below the first with its value.

    Examples
    --------
    >>> places, values = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 1.0, 4.0])
    >>> interpolated(torch.tensor([-1.0, 0.5, 3.0]), places, values)
    tensor([0.0000, 0.5000, 7.0000])
    """
    places, values = places.to(x), values.to(x)
    right = torch.searchsorted(places, x.contiguous()).clamp(1, len(places) - 1)
    low, high = places[right - 1], places[right]
    share = ((x - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)).clamp(min=0)
    return values[right - 1] + share * (values[right] - values[right - 1])
