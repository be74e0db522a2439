"""Basis pursuit for spectra: ISTA and FISTA (paper, eqs. 8-13)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import relu

from arpes_ml_plugins.continuation.factored import Factored
from arpes_ml_plugins.optim.proximal import soft_threshold

__all__ = ["IstaResult", "ista"]

CHECK_EVERY = 50  # iterations


@dataclass(frozen=True)
class IstaResult:
    """``b`` spectra of ``n`` weights."""

    spectrum: torch.Tensor
    converged: torch.Tensor  # (b,) bool


def ista(
    kernel: torch.Tensor | Factored,
    data: torch.Tensor,
    sparsity: float,
    *,
    accelerated: bool = True,
    nonnegative: bool = True,
    iterations: int = 10000,
    tolerance: float = 1e-6,
) -> IstaResult:
    """Minimise ``|g - K a|^2 / 2 + sparsity * |a|_1``.

    Parameters
    ----------
    kernel
        ``(m, n)``, or one for each data set.
    data
        ``(b, m)``.
    accelerated
        Nesterov's momentum (FISTA, Beck and Teboulle 2009) instead of the plain iteration, eq. 13.
    nonnegative
        Keep the weights at zero or above.
    tolerance
        Stop where a step, over the length of a step, is smaller than this times the data's pull
        ``K^T g``: a test on the optimality condition, eq. 9, that slow steps cannot fool.
    """
    whole = Factored.of(kernel)
    pull = whole.pull(data)
    # One step length for all with one kernel; otherwise each has its own, ``(b, 1)``.
    step = whole.svd(0.0)[1][..., :1] ** -2

    def slope(x: torch.Tensor) -> torch.Tensor:
        return whole.pull(whole.data(x)) - pull

    def prox(x: torch.Tensor) -> torch.Tensor:
        return relu(x - step * sparsity) if nonnegative else soft_threshold(x, step * sparsity)

    result = torch.zeros_like(pull)
    converged = torch.zeros(len(data), dtype=torch.bool, device=data.device)
    left = torch.arange(len(data), device=data.device)  # each stops by itself
    spectrum = ahead = torch.zeros_like(pull)
    inertia = 1.0
    limit = tolerance * pull.norm(dim=-1)
    for iteration in range(1, iterations + 1):
        following = prox(ahead - step * slope(ahead))
        after = (1 + (1 + 4 * inertia**2) ** 0.5) / 2 if accelerated else 1.0
        ahead = following + (inertia - 1) / after * (following - spectrum)
        inertia, spectrum = after, following
        if iteration % CHECK_EVERY == 0:
            at_rest = prox(spectrum - step * slope(spectrum))
            done = ((at_rest - spectrum) / step).norm(dim=-1) < limit
            result[left[done]], converged[left[done]] = spectrum[done], True
            left, spectrum, ahead, pull, limit = (
                part[~done] for part in (left, spectrum, ahead, pull, limit)
            )
            whole = whole.take(~done)
            step = step if step.ndim == 1 else step[~done]
            if len(left) == 0:
                break
    result[left] = spectrum
    return IstaResult(result, converged)
