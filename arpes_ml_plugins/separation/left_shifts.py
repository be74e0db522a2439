"""See whether a common shift of each pixel is left in its residual.

For data whose energies cannot be aligned, since their steps differ or since each component is an
image: if a pixel is shifted, the slope of its model along the energy is left. Energies of even and
of odd number, whose noise is independent, then show it alike.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.shift_scan import STARTS

__all__ = ["left_shifts"]

SIGNIFICANT = 5.0  # standard deviations of a covariance
MOST = 0.2  # of chi^2 beyond noise: shifts explain as much of it, and missing components less
LEAST = 0.15  # of a step: standard deviation of shifts that are worth a word


def left_shifts(
    residual: torch.Tensor,
    model: torch.Tensor,
    spectra: torch.Tensor,
    noise: torch.Tensor,
    energies: torch.Tensor,
) -> float | None:
    """Standard deviation of the shifts of pixels ``t`` in the unit of ``energies (e,)``; None if
    chance explains them, or if they explain little of what is left.

    ``residual`` and ``model`` are ``(e k, t)``, ``spectra`` ``(e k, n)`` and ``noise`` ``(e k,)``.
    """
    size, scale = len(energies), noise[:, None]
    slope = torch.gradient(model.unflatten(0, (size, -1)), spacing=(energies,), dim=0)[0]
    cubes = [x.unflatten(0, (size, -1)) for x in (residual / scale, spectra / scale, scale)]
    pulls, lengths = [], []
    for half in STARTS:
        rest, still, own = (x[half::2].flatten(0, 1) for x in cubes)
        turned = -slope[half::2].flatten(0, 1) / own
        basis = torch.linalg.qr(still)[0]
        turned = turned - basis @ (basis.mT @ turned)
        length = turned.square().sum(0)
        pull = (turned * rest).sum(0)
        pulls.append(pull - pull.sum() / length.sum().clamp(min=1e-30) * length)
        lengths.append(length)
    product = pulls[0] * pulls[1]
    weight = float((lengths[0] * lengths[1]).sum())
    if weight <= 0 or not float(product.sum()) > SIGNIFICANT * float(product.square().sum()) ** 0.5:
        return None
    variance = float(product.sum()) / weight
    excess = float((residual / scale).square().sum()) - residual.numel()
    if not variance * float((lengths[0] + lengths[1]).sum()) > MOST * excess:
        return None
    spread = variance**0.5
    return spread if spread > LEAST * float(energies.diff().abs().median()) else None
