"""Polish spectra by alternating least squares, on sparse coefficients and on pixels."""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.least_squares import refine
from arpes_ml_plugins.separation.whiten import Whitened, telling_columns

__all__ = ["MANY_SWEEPS", "polish", "polish_on_pixels", "upright"]

MANY_SWEEPS = 100  # for components without a family


def polish(
    data: Whitened, spectra: torch.Tensor, sweeps: int = 30, fixed: torch.Tensor | None = None
) -> torch.Tensor:
    """Alternating least squares, on the sparse coefficients and then on the pixels.

    Smooth maps have no details, so the pixels come last.
    """
    if data.sparse is not data.pixels:
        chosen = telling_columns(data.sparse, data.sparse_noise)
        spread = data.sparse_noise[chosen][None, None]
        found, _ = refine(
            data.sparse[:, chosen].to(spectra)[None],
            spectra[None],
            spread,
            sweeps=sweeps,
            fixed=fixed,
        )
        spectra = _kept(found[0], spectra)
    return polish_on_pixels(data.pixels, spectra, data.nonnegative, sweeps, fixed)


def polish_on_pixels(
    pixels: torch.Tensor,
    spectra: torch.Tensor,
    nonnegative: bool,
    sweeps: int,
    fixed: torch.Tensor | None = None,
) -> torch.Tensor:
    """The last part of :func:`polish`, on pixels ``(k, t)`` alone."""
    chosen = telling_columns(pixels, pixels.new_ones(pixels.shape[1]))
    found, _ = refine(
        pixels[None][..., chosen],
        spectra[None],
        spectra.new_ones(1),
        sweeps=sweeps,
        nonnegative=nonnegative,
        fixed=fixed,
    )
    return _kept(found[0], spectra)


def upright(data: Whitened, spectra: torch.Tensor) -> torch.Tensor:
    """With the sign for which the sum of the map is positive, as counts are."""
    maps = torch.linalg.pinv(spectra) @ data.pixels.mean(1)
    return spectra * torch.where(maps < 0, -1.0, 1.0).to(spectra)


def _kept(found: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Keep the columns that an empty source has set to zero."""
    lost = ~torch.isfinite(found).all(0) | (found.norm(dim=0) < 0.5)
    return torch.where(lost, before, found)
