"""Noise of a labelled mixture, chi^2 of its pixels, and maps of pixels with missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.methods.separation_input import Setup

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.value_noise import ValueNoise
    from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["chi2_of_pixels", "noise_of_values", "solve_incomplete"]

PIECE = 50_000  # pixels at a time


def noise_of_values(cube: Cube, setup: Setup) -> ValueNoise | None:
    """Noise in proportion to intensity, if the data have it and no other is given."""
    from arpes_ml_plugins.separation.value_noise import value_noise

    if setup.noise is not None or setup.common_noise:
        return None
    return value_noise(cube.values, cube.valid)


def chi2_of_pixels(
    residual: torch.Tensor,
    spectra: torch.Tensor,
    maps: torch.Tensor,
    model: torch.Tensor,
    ready: Whitened,
) -> torch.Tensor:
    """Per degree of freedom of each pixel ``(t,)``, in pieces: less memory.

    Parameters
    ----------
    residual, model
        ``(m, t)``; NaN where there are no values.
    spectra, maps
        ``(m, n)``, ``(n, t)``: what was fitted.
    """
    import torch

    from arpes_ml_plugins.separation.goodness import active_leverage, chi2_of_counts

    kept, noise = ready.kept, ready.noise[ready.kept][:, None]
    scaled = spectra[kept] / noise
    pieces = []
    for start in range(0, maps.shape[1], PIECE):
        some = slice(start, start + PIECE)
        left, fitted = residual[kept, some], model[kept, some]
        seen = left.isfinite()
        if ready.by_value is None:
            fitted_here = (maps[:, some].nan_to_num() != 0).sum(0)
            freedom = (seen.sum(0) - fitted_here).clamp(min=1)
            pieces.append((left / noise).square().nansum(0) / freedom)
            continue
        leverage = active_leverage(scaled, maps[:, some].nan_to_num())
        pieces.append(chi2_of_counts(left, fitted, seen, leverage, ready.by_value))
    return torch.cat(pieces)


def solve_incomplete(
    maps: torch.Tensor,
    errors: torch.Tensor,
    cube: Cube,
    spectra: torch.Tensor,
    ready: Whitened,
) -> None:
    """Solve for maps of pixels with missing values, if they have as many others as there are
    components; in place, with the errors of the noise.
    """
    import torch

    from arpes_ml_plugins.separation.least_squares import weighted_sources

    usable = cube.valid.flatten(1) & ready.kept[:, None]
    enough = usable.sum(0) >= spectra.shape[1]
    chosen = (maps[0].isnan() & enough).nonzero()[:, 0]
    if len(chosen) == 0:
        return
    data, seen = cube.values.flatten(1)[:, chosen], usable[:, chosen]
    weights = torch.where(seen, 1 / ready.noise.square()[:, None], 0.0)
    found = weighted_sources(data, weights, spectra, nonnegative=ready.nonnegative)
    if ready.by_value is not None:
        model = (spectra @ found[0])[ready.kept]
        weights[ready.kept] = seen[ready.kept] / ready.by_value.cautious(model)
        found = weighted_sources(data, weights, spectra, nonnegative=ready.nonnegative)
    maps[:, chosen], errors[:, chosen] = found
