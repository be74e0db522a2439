"""Begin again where a separation misses what its number of components could explain.

The space of the strongest principal components explains data best. What a factorisation leaves
beyond that is a few times the number of values of its spectra if it spans this space, and more by
orders of magnitude if a component is missing. Sparse coefficients may lack one that the pixels
show: where the maps of grains add up to a constant, as on a surface that is covered, every edge is
a difference of two spectra, and all edges hold one dimension less.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.blind_start import blind_start
from arpes_ml_plugins.separation.least_squares import least_squares, nonnegative_sources
from arpes_ml_plugins.separation.polish import MANY_SWEEPS, polish_on_pixels
from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["misses", "restarted"]

FAR = 10.0  # chi^2 beyond that of the principal components, per value of the spectra
CHANCE = 5.0  # standard deviations of chi^2
SIGMAS = 3.0  # standard errors of a map, from which another value is no longer noise


def misses(data: Whitened, *sets: torch.Tensor) -> bool:
    """Whether any of the sets of spectra ``(k, n)`` explains much less than as many principal
    components.
    """
    power = data.pixels @ data.pixels.mT
    best = torch.linalg.eigvalsh(power)[: -sets[0].shape[1]].sum()
    bases = (torch.linalg.qr(spectra)[0] for spectra in sets)
    left = (power.trace() - (basis.mT @ power @ basis).trace() for basis in bases)
    return any(bool(each - best > FAR * sets[0].numel()) for each in left)


def restarted(
    data: Whitened,
    found: torch.Tensor,
    begun: torch.Tensor,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """``found``, or the spectra ``(k, n)`` from another start if these are better.

    Parameters
    ----------
    begun
        Spectra that ``found`` was polished from. If they miss a component, the polish has begun
        anywhere, and may have ended anywhere.
    start
        The other start; default that of :func:`blind_start`. It is polished on pixels alone.
    """
    if not misses(data, begun, found):
        return found
    if start is None:
        start = blind_start(data.pixels, found.shape[1], nonnegative=data.nonnegative, seed=0)
    other = polish_on_pixels(data.pixels, start, data.nonnegative, MANY_SWEEPS)
    return _better(data, found, other)


def _better(data: Whitened, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of two sets of spectra, the one that fits better; by chance alone, that of sparser maps."""
    fit, sparsity = zip(*(_judged(data, spectra) for spectra in (one, other)), strict=True)
    values = one.shape[1] * data.pixels.shape[1]
    if abs(fit[0] - fit[1]) > one.numel() + CHANCE * (2 * values) ** 0.5:
        return one if fit[0] < fit[1] else other
    return one if sparsity[0] <= sparsity[1] else other


def _judged(data: Whitened, spectra: torch.Tensor) -> tuple[float, float]:
    """chi^2 with one more for every value of the maps that is fitted, which does not depend on how
    many values non-negative maps have at zero; and the penalty that reweighting minimises.
    """
    maps, error = least_squares(data.pixels, spectra)
    if data.nonnegative:
        maps = nonnegative_sources(data.pixels, spectra)
    left = (data.pixels - spectra @ maps).square().sum() + (maps != 0).sum()
    return float(left), float((maps.abs() / (SIGMAS * error)).log1p().sum())
