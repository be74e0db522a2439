"""Credible intervals around solutions."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from arpes_ml_plugins.continuation.problem import cell_widths

__all__ = ["grounded", "stretched"]

SMALL = 0.02  # of the largest density: less may always be nothing
DIP = 0.6  # of the mean within the resolution: a gap that is not resolved looks like this


def stretched(
    density: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, factor: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """An interval ``(b, n)`` around a solution, wider by a factor ``(b,)``; never below zero."""
    wider = (density + factor[:, None] * (end - density) for end in (lower, upper))
    below, above = wider
    return below.clamp(min=0), above


def grounded(
    lower: torch.Tensor, density: torch.Tensor, resolution: torch.Tensor, omega: torch.Tensor
) -> torch.Tensor:
    """Lower ends ``(b, n)`` for positive spectra: zero where the data do not exclude zero.

    Weight that a solution puts into a hard gap or a tail comes from its neighbours within the
    resolution, or from the default model.

    Parameters
    ----------
    density, resolution
        Of the solution, ``(b, n)``, the latter in units of frequency.
    omega
        Ascending, ``(n,)``.
    """
    first = torch.searchsorted(omega, (omega - resolution).contiguous())
    last = torch.searchsorted(omega, (omega + resolution).contiguous(), right=True)
    widths = cell_widths(omega).expand_as(density)
    weight, width = (pad(part.cumsum(-1), (1, 0)) for part in (density * widths, widths))
    mean = (weight.gather(-1, last) - weight.gather(-1, first)) / (
        width.gather(-1, last) - width.gather(-1, first)
    )
    small = SMALL * density.amax(-1, keepdim=True)
    return torch.where((density < small) | (density < DIP * mean), 0.0, lower)
