"""Credible intervals around solutions."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from arpes_ml_plugins.continuation.problem import cell_widths

__all__ = ["displaced", "grounded", "opened", "reaching", "rescaled", "stretched"]

LEAST = 0.03  # of a solution: the least from it to each end of its interval
SMALL = 0.02  # of the largest density: less may always be nothing
TAIL = 0.05  # of the weight: the outermost may lie behind an edge,
NEAR = 0.5  # if its mean distance is below this part of the resolution
PEAKED, WIDENED = 4.0, 1.5  # height over the mean, and factor on the interval, if not resolved
STEPS = (-0.15, -0.075, 0.075, 0.15)
"""Of the resolution, by which structure may lie elsewhere. An interval that is a few per cent high
does not hold a slope, or a tail, that is so little out of place."""
QUANTILE = 1.645  # standard errors to either end of a 90 % interval
DIP = 0.8  # of the mean within the resolution: a gap that is not resolved looks like this


def stretched(
    density: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, factor: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """An interval ``(b, n)`` around a solution, wider by a factor ``(b,)``; never below zero."""
    wider = (density + factor[:, None] * (end - density) for end in (lower, upper))
    below, above = wider
    return below.clamp(min=0), above


def reaching(
    density: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """An interval ``(b, n)`` that contains a positive solution, and more than its last digits.

    At errors of 1e-8 they depend on the choice of the regularisation and on the frequencies.
    """
    return lower.minimum((1 - LEAST) * density), upper.maximum((1 + LEAST) * density)


def rescaled(
    density: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, error: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """An interval ``(b, n)`` of positive spectra of one norm, for norms with a relative standard
    error ``(b,)``: an independent error that is proportional to the spectrum.
    """
    scatter = QUANTILE * error[:, None] * density
    below, above = (torch.hypot(end - density, scatter) for end in (lower, upper))
    return (density - below).clamp(min=0), density + above


def displaced(
    density: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
    resolution: torch.Tensor,
    omega: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """An interval ``(b, n)`` that contains a solution moved by ``STEPS`` of its resolution."""
    width = omega.diff()
    for step in STEPS:
        place = (omega + step * resolution).clamp(omega[0], omega[-1])
        above = torch.searchsorted(omega, place).clamp(1, len(omega) - 1)
        share = (omega[above] - place) / width[above - 1]
        moved = density.gather(-1, above).lerp(density.gather(-1, above - 1), share)
        lower, upper = lower.minimum(moved), upper.maximum(moved)
    return lower, upper


def opened(
    density: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
    resolution: torch.Tensor,
    omega: torch.Tensor,
    where: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """An interval ``(b, n)`` with room for all weight within the resolution in a narrower peak, and
    so for none beside it.

    Parameters
    ----------
    where
        Frequencies that the data do not resolve, ``(b, n)`` bool; others stay as they are.
    """
    widths = cell_widths(omega).expand_as(density)
    peak = PEAKED * _mean_around(density * widths, widths, resolution / 2, omega)
    above = torch.maximum(density + WIDENED * (upper - density), peak)
    return torch.where(where, 0.0, lower), torch.where(where, above, upper)


def grounded(
    lower: torch.Tensor,
    density: torch.Tensor,
    resolution: torch.Tensor,
    omega: torch.Tensor,
    *,
    even: bool = False,
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
    even
        Whether the first frequency is the middle of an even spectrum.
    """
    widths = cell_widths(omega).expand_as(density)
    weights = density * widths
    small = density < SMALL * density.amax(-1, keepdim=True)
    dip = density < DIP * _mean_around(weights, widths, resolution, omega)
    below = _in_tail(weights, resolution, omega)
    above = _in_tail(weights.flip(-1), resolution.flip(-1), -omega.flip(-1)).flip(-1)
    below = below & (not even)
    return torch.where(small | dip | below | above, 0.0, lower)


def _mean_around(
    weights: torch.Tensor, widths: torch.Tensor, resolution: torch.Tensor, omega: torch.Tensor
) -> torch.Tensor:
    """Mean density within the resolution on both sides of each frequency, ``(b, n)``."""
    first = torch.searchsorted(omega, (omega - resolution).contiguous())
    last = torch.searchsorted(omega, (omega + resolution).contiguous(), right=True)
    weight, width = (
        total.gather(-1, last) - total.gather(-1, first)
        for total in (pad(part.cumsum(-1), (1, 0)) for part in (weights, widths))
    )
    return weight / width


def _in_tail(weights: torch.Tensor, resolution: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
    """Whether what lies below each frequency is little, and near it, ``(b, n)`` bool."""
    outside = weights.cumsum(-1)
    distance = omega - (weights * omega).cumsum(-1) / outside.clamp(min=1e-300)
    return (outside < TAIL * outside[:, -1:]) & (distance < NEAR * resolution)
