"""chi^2 per degree of freedom of pixels, also where counts are near zero.

``(y - m)^2 / v`` needs the expected variance ``v`` of each value. That of a dark channel is known
from the model no better than to its own size, so that its inverse says nothing. The sums of both
over all channels of a pixel are known much better, and chi^2 is their ratio: squared residuals over
what they are expected to be, both with one weight per channel. Neither needs a lower bound on the
variances, which would bias it.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.least_squares import solve_gram
from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = ["active_leverage", "chi2_of_counts", "weighted_leverage"]


def chi2_of_counts(
    residual: torch.Tensor,
    model: torch.Tensor,
    seen: torch.Tensor,
    leverage: torch.Tensor,
    noise: ValueNoise,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Of each pixel ``(t,)``; 1 where there are no counts and none are expected.

    Parameters
    ----------
    residual, model
        ``(m, t)``.
    seen
        ``(m, t)`` bool; other values are left out.
    leverage
        ``(m, t)``: share of the variance of each value that the fit has taken.
    weight
        ``(m,)``, of channels; those of a fit by plain least squares, since only with these the
        leverage is what the fit has taken of any noise. Default: one over their variance.
    """
    residual, model = (torch.where(seen, part, 0.0) for part in (residual, model))
    weight = 1 / noise.of_channels if weight is None else weight
    weight = torch.where(seen, weight[:, None], 0.0)
    free = weight * (1 - leverage).clamp(min=0)
    # Of counts, the data have the expected sum, and where chance has raised it, the residual too;
    # models that must not be negative are too large. Read noise hides it: then the model is better.
    by_read = free.sum(0) * noise.read
    by_counts = (free * noise.variance(model)).sum(0) - by_read
    share = 1 - by_read / (by_read + by_counts).clamp(min=1e-300)
    expected = by_read + noise.gain * (free * (model + share * residual)).sum(0)
    count = (free * noise.gain * noise.one_count).sum(0)
    expected = (expected.clamp(min=0) + count).clamp(min=1e-300)
    # The mean of a ratio is larger than that of means, by the read noise of the denominator.
    scatter = (share * noise.gain / expected).square() * noise.read * free.square().sum(0)
    return ((weight * residual.square()).sum(0) + count) / expected / (1 + scatter)


def active_leverage(spectra: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Leverage ``(m, t)`` of plain least squares with ``spectra (m, n)``, non-negative or not.

    Components whose map ``(n, t)`` is zero in a pixel were not fitted there.
    """
    result = spectra.new_zeros(len(spectra), maps.shape[1])
    bits = torch.ones(len(maps), dtype=torch.int64, device=maps.device).cumsum(0) - 1
    numbers, kind = torch.unique(((maps != 0).long() << bits[:, None]).sum(0), return_inverse=True)
    for number, pattern in enumerate(numbers):
        active = (pattern >> bits) & 1 == 1
        if not bool(active.any()):
            continue
        some = spectra[:, active]
        inverse = solve_gram(some.mT @ some, some.mT)
        result[:, kind == number] = (some * inverse.mT).sum(1, keepdim=True)
    return result


def weighted_leverage(
    weights: torch.Tensor, mixing: torch.Tensor, maps: torch.Tensor
) -> torch.Tensor:
    """The same of weighted least squares, every value with its own weight ``(m, t)``."""
    n = mixing.shape[1]
    products = (mixing[:, :, None] * mixing[:, None]).flatten(1)  # (m, n n)
    active = (maps != 0).mT
    both = active[:, :, None] & active[:, None]
    unit = torch.eye(n, dtype=mixing.dtype, device=mixing.device)
    gram = torch.where(both, (weights.mT @ products).unflatten(1, (n, n)), 0.0)
    # An inactive component gets the size of the others, which keeps the system solvable.
    size = gram.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-30)
    idle = torch.where(active[:, :, None], 0.0, size[:, None, None] * unit)
    inverse = torch.where(both, solve_gram(gram + idle, unit.expand_as(gram)), 0.0)
    return weights * (products @ inverse.flatten(1).mT)
