"""Simulate data of a result, and separate them again: how far from the truth a result may be.

A parametric bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, Section 6.5).
At few counts spectra are off for two reasons: by chance, and because maps are noise where there is
nothing, which pulls spectra towards each other or apart. Data simulated from the result have both,
and their truth is known. The second reason does not show in halves of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from arpes_ml_plugins.separation.least_squares import (
    least_squares,
    nonnegative_sources,
    unit_columns,
)
from arpes_ml_plugins.separation.metrics import match
from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["angles", "expected_angles", "measured"]

EMPTY = (0.0, 2.0)  # standard errors below which maps are zero, in each of the simulations


def expected_angles(
    data: Whitened, spectra: torch.Tensor, again: Callable[[Whitened], torch.Tensor]
) -> torch.Tensor:
    """Angles ``(n,)`` in degrees between whitened ``spectra (k, n)`` and those of simulated data.

    The larger angle of two simulations. Maps are those of a fit, which hold noise where nothing is.
    Without their values near zero, errors are larger if pixels are pure, and smaller if they are
    mixtures.

    Parameters
    ----------
    again
        From simulated data to the spectra that are found in them.
    """
    maps, error = nonnegative_sources(data.pixels, spectra), least_squares(data.pixels, spectra)[1]
    generator = torch.Generator().manual_seed(0)
    found = []
    for limit in EMPTY:
        model = spectra @ torch.where(maps < limit * error, 0.0, maps)
        pixels = measured(data, model, generator)
        drawn = replace(data, pixels=pixels, sparse=pixels, scales=1, coarse=data.summed(pixels))
        found.append(angles(data, again(drawn), spectra))
    return torch.stack(found).amax(0)


def angles(data: Whitened, found: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """Angle of each of ``spectra (k, n)`` with that of ``found`` assigned to it, in degrees.

    Of spectra in the unit of the data, as they are shown.
    """
    one, other = (unit_columns(x * data.noise[data.kept][:, None]) for x in (found, spectra))
    order, signs = match(one, other)
    return torch.rad2deg(torch.arccos((one[:, order] * signs * other).sum(0).clamp(-1, 1)))


def measured(data: Whitened, model: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Whitened data with this expectation: counts, and read noise; of unit noise if not counts."""
    if data.by_value is None:
        return model + _normal(model, generator)
    noise, gain = data.noise[data.kept][:, None], data.by_value.gain
    expected = (model * noise / gain).clamp(min=0).cpu()
    values = gain * torch.poisson(expected, generator=generator).to(model)
    if data.by_value.read > 0:
        values = values + data.by_value.read**0.5 * _normal(model, generator)
    return values / noise


def _normal(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device="cpu").to(like)
