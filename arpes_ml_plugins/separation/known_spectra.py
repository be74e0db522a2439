"""Maps of spectra that are known: weighted least squares, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.least_squares import weighted_sources
from arpes_ml_plugins.separation.value_noise import ValueNoise, value_noise
from arpes_ml_plugins.separation.whiten import NEGATIVE, NEGATIVE_SHARE, channel_noise

__all__ = ["Unmixed", "unmixed"]

FEWEST = 30  # pixels that the noise of every channel is measured from
ROUNDS = 2  # with variances from the model
AT_A_TIME = 20_000  # pixels


@dataclass(frozen=True)
class Unmixed:
    """Maps ``(n, t)`` and what they leave."""

    maps: torch.Tensor
    errors: torch.Tensor
    model: torch.Tensor  # (m, t)
    chi2: torch.Tensor  # (t,), per degree of freedom
    by_value: bool
    """Whether the noise is that of each value."""
    from_rest: bool
    """Whether the noise was taken from what is left, so that chi^2 is 1 on average."""


def unmixed(
    cube: torch.Tensor,
    valid: torch.Tensor,
    spectra: torch.Tensor,
    *,
    noise: torch.Tensor | None = None,
    nonnegative: bool | None = None,
) -> Unmixed:
    """Fit every pixel by known spectra.

    Parameters
    ----------
    cube, valid
        ``(m, *space)``; what is not valid has no weight.
    spectra
        ``(m, n)``.
    noise
        ``(m,)``; default measured, for every value if variances are in proportion to intensity.
    nonnegative
        Maps are; by default if data and spectra allow.
    """
    flat, known = cube.flatten(1), valid.flatten(1)
    complete = valid.all(0)
    values: ValueNoise | None = None
    from_rest = False
    if noise is None and int(complete.sum()) >= FEWEST:
        noise = channel_noise(cube, complete)
        values = value_noise(cube, valid, noise)
    elif noise is None:
        noise, from_rest = _from_rest(flat, known, spectra), True
    weights = torch.where(noise > 0, 1 / noise.square().clamp(min=1e-300), 0.0)
    if nonnegative is None:
        below = (flat < -NEGATIVE * noise[:, None]) & known
        nonnegative = bool((spectra >= 0).all()) and float(below.float().mean()) < NEGATIVE_SHARE
    n, total = spectra.shape[1], flat.shape[1]
    maps, errors = (flat.new_full((n, total), float("nan")) for _ in range(2))
    model, chi2 = torch.empty_like(flat), flat.new_full((total,), float("nan"))
    for start in range(0, total, AT_A_TIME):
        some = slice(start, start + AT_A_TIME)
        data, seen = flat[:, some], known[:, some] & (noise > 0)[:, None]
        each = weights[:, None].expand_as(data)
        for left in range(ROUNDS if values is not None else 0, -1, -1):
            weight = torch.where(seen, each, 0.0)
            found, error = weighted_sources(data, weight, spectra, nonnegative=nonnegative)
            fitted = spectra @ found
            if left and values is not None:
                each = 1 / values.variance(fitted)
        number = seen.sum(0)
        enough = number >= n
        maps[:, some] = torch.where(enough, found, float("nan"))
        errors[:, some] = torch.where(enough, error, float("nan"))
        model[:, some] = torch.where(enough, fitted, float("nan"))
        rest = (weight * (data - fitted).square()).sum(0) / (number - n).clamp(min=1)
        chi2[some] = torch.where(enough, rest, float("nan"))
    return Unmixed(maps, errors, model, chi2, values is not None, from_rest)


def _from_rest(flat: torch.Tensor, known: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """One noise for all channels ``(m,)``, from what plain least squares leaves."""
    weight = known.to(flat)
    maps, _ = weighted_sources(flat, weight, spectra)
    freedom = (known.sum(0) - spectra.shape[1]).clamp(min=0).sum().clamp(min=1)
    left = (weight * (flat - spectra @ maps).square()).sum() / freedom
    scale = float(flat.abs().max()) or 1.0
    return left.sqrt().clamp(min=1e-12 * scale).expand(len(flat))
