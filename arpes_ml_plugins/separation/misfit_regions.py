"""Find regions of a map that no component explains, where single pixels show too little."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from arpes_ml_plugins.constants import MAD_TO_SIGMA

__all__ = ["misfit_region"]

SIDES = {1: (25,), 2: (5, 5)}  # pixels of a region, by the axes of the map
MEASURED = 0.5  # of the pixels of a region, at least
CERTAIN = 8.0  # standard deviations of regions
WORTH = 1.15  # times the usual chi^2: less is no other material
SHARE = 0.03  # of the regions: smaller spots are told of if their pixels show them


def misfit_region(chi2: torch.Tensor, freedom: int) -> tuple[float, float] | None:
    """The largest mean of ``chi2 (*space)`` per degree of ``freedom`` over a region and the usual
    one; None if few or none are far beyond chance and beyond others. Pixels without a value are
    NaN.
    """
    sides = SIDES.get(chi2.ndim)
    few = sides is None or any(n < 2 * s for n, s in zip(chi2.shape, sides, strict=True))
    if sides is None or few or freedom < 1:
        return None
    known = chi2.isfinite()
    pool = F.avg_pool1d if chi2.ndim == 1 else F.avg_pool2d
    filled = torch.stack([torch.where(known, chi2, 0.0), known.to(chi2)])[:, None]
    total, share = (part.flatten() for part in pool(filled, sides, 1))
    means = (total / share.clamp(min=1e-30))[share >= MEASURED]
    if not len(means):
        return None
    usual, largest = float(means.median()), float(means.max())
    own = MAD_TO_SIGMA * float((means - usual).abs().median())
    chance = usual * (2 / freedom / (sides[0] ** chi2.ndim)) ** 0.5
    limit = max(WORTH * usual, usual + CERTAIN * max(own, chance))
    if float((means > limit).float().mean()) < SHARE:
        return None
    return largest, usual
