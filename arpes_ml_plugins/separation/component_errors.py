"""Standard errors of shifts of single components."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from arpes_ml_plugins.separation.shift_scan import WIDTHS, Scan
from arpes_ml_plugins.separation.shifted_design import designs, pieces

__all__ = ["component_errors"]

SMALL = 0.1  # channels, of a numerical derivative
UNKNOWN = 0.03  # channels: errors of the interpolation
LEAST = 1e-9  # of the information: below it, nothing is known


def component_errors(
    scan: Scan, spectra: torch.Tensor, shift: torch.Tensor, widths: torch.Tensor
) -> torch.Tensor:
    """``(n, t)``, of shifts found with spectra ``(m, n)`` and neighbours as far as ``widths``.

    From the information of each pixel on the shifts of all of its components, the maps eliminated,
    and the noise of every value. That of neighbours is added as in the search, and what neighbours
    that do not shift alike leave.
    """
    n, total = shift.shape
    parts = [
        _information(scan, spectra, shift[:, some], scan.scaled[:, some]) for some in pieces(total)
    ]
    bend, noise = (torch.cat(part) * scan.used[:, None, None] for part in zip(*parts, strict=True))
    result = torch.zeros_like(shift)
    for number in widths.unique().tolist():
        width = WIDTHS[number]
        once = _of_matrices(partial(scan.smoothed, width=width), bend)
        squares = _of_matrices(partial(scan.pooled_variance, width=width), noise)
        size = once.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-30)
        unit = torch.eye(n, dtype=bend.dtype, device=bend.device)
        inverse = torch.linalg.inv(once + LEAST * size[:, None, None] * unit)
        variance = (inverse @ squares @ inverse).diagonal(dim1=1, dim2=2).mT
        weight = bend.diagonal(dim1=1, dim2=2).mT + 1e-30
        variance = variance + _smoothing_bias(scan, shift, weight, width).square()
        result = torch.where(widths == number, variance, result)
    largest = max(float(scan.candidates[-1]), abs(scan.step))
    return (result + (UNKNOWN * scan.step) ** 2).sqrt().clamp(max=largest)


def _smoothing_bias(
    scan: Scan, shift: torch.Tensor, weight: torch.Tensor, width: float
) -> torch.Tensor:
    """What pooling pixels that differ costs shifts ``(n, t)``: with means over neighbours K, which
    are taken twice, the second time of what is left, ``(1 - K)^2`` of the shift.
    """
    left = shift
    if width == 0:
        return torch.zeros_like(shift)
    for _ in range(2):
        means = scan.smoothed(left * weight, width) / scan.smoothed(weight, width).clamp(min=1e-30)
        left = left - means
    return left


def _of_matrices(
    pooled: Callable[[torch.Tensor], torch.Tensor], each: torch.Tensor
) -> torch.Tensor:
    """What ``pooled`` makes of images ``(k, t)``, of matrices ``(t, n, n)``."""
    return pooled(each.flatten(1).mT.contiguous()).mT.unflatten(1, each.shape[1:])


def _information(
    scan: Scan,
    spectra: torch.Tensor,
    shift: torch.Tensor,
    data: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Information of pixels on shifts, and the variance of the derivatives it comes from,
    ``(t, n, n)``.
    """
    noise, channels = scan.noise[:, None], shift / scan.step
    there = designs(spectra, channels) / noise
    unit, triangle = torch.linalg.qr(there)
    maps = torch.linalg.solve_triangular(triangle, unit.mT @ data.mT[..., None], upper=True)
    maps = maps[..., 0].clamp(min=0)  # (t, n)
    slope = designs(spectra, channels + SMALL) - designs(spectra, channels - SMALL)
    slope = slope / noise / (2 * SMALL * scan.step) * maps[:, None]
    slope = slope - unit @ (unit.mT @ slope)
    model = (there @ maps[..., None])[..., 0].mT * noise
    weighted = slope * scan.variance(model).mT[..., None]
    return slope.mT @ slope, slope.mT @ weighted
