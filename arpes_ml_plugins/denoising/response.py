"""Values whose noise does not follow that of counts, as numbers whose noise does.

Where a source fluctuates, or pixels differ in sensitivity, the variance grows faster than the
intensity; where a detector saturates, or values are logarithms, it falls behind. With ``x`` in
electrons of the dark, the variance is ``x (1 + k x)``, or ``x exp(k x)`` for ``k < 0``. The
transformation ``f(x) = (1/2 * integral of dx / sqrt(variance))**2`` gives numbers whose variance is
their mean to first order: for ``k = 0`` those of ``x`` itself. Its inverse takes account of the
second order, by which the mean of ``f`` is not ``f`` of the mean.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from arpes_ml_plugins.denoising.interpolated import interpolated

__all__ = ["as_counts", "from_counts"]

POINTS = 4096
STRONGEST, WEAKEST = 8.0, 3.5  # of the square roots that are tabulated, for either sign of k


def as_counts(x: torch.Tensor, curvature: float, *, mean: bool = False) -> torch.Tensor:
    """Transform ``x`` with the curvature ``k``.

    Values below zero become zero if there is a curvature. Without one they stay: noise of the
    read-out on both sides of zero would have a mean above zero. If ``x`` is the ``mean`` of values,
    this is the mean of what they become.

    Examples
    --------
    >>> as_counts(torch.tensor([0.0, 1.0, 20.0]), 0.2)
    tensor([ 0.0000,  0.9396, 10.4204])
    """
    if not curvature:
        return x
    x = x.clamp(min=0)
    place, transformed, second = _table(curvature > 0)
    known = transformed / abs(curvature)
    return interpolated(x * abs(curvature), place, _means(known, second) if mean else known)


def from_counts(counts: torch.Tensor, curvature: float, *, mean: bool = True) -> torch.Tensor:
    """The inverse of :func:`as_counts`: by default the mean of values that become these ``counts``
    on average.
    """
    if not curvature:
        return counts
    place, transformed, second = _table(curvature > 0)
    known = transformed / abs(curvature)
    return interpolated(counts, _means(known, second) if mean else known, place) / abs(curvature)


def _means(transformed: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Means of transformed values, which rise with the values."""
    return (transformed + second).cummax(0).values


@lru_cache
def _table(grows: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``|k| x``, ``|k| f(x)``, and by how much the mean of ``f(x)`` exceeds ``f`` of the mean."""
    root = torch.linspace(
        0, STRONGEST if grows else WEAKEST, POINTS, dtype=torch.float64, device="cpu"
    )
    if grows:
        place, transformed = root.sinh().square(), root.square()
        noise, slope = place * (1 + place), 1 + 2 * place
    else:
        place = root.square()
        growth = (place / 2).exp()
        area = torch.cumulative_trapezoid(growth, root)
        transformed = torch.cat([area.new_zeros(1), area]).square()
        noise, slope = place * (-place).exp(), (-place).exp() * (1 - place)
    ratio = (transformed / noise.clamp(min=1e-300)).sqrt()
    ratio[0] = 1.0
    return place, transformed, (1 - ratio * slope) / 4
