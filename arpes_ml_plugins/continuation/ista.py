"""Basis pursuit for spectra: ISTA and FISTA (paper, eqs. 8-13)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import relu

from arpes_ml_plugins.optim.proximal import soft_threshold

__all__ = ["IstaResult", "ista"]

CHECK_EVERY = 50  # iterations


@dataclass(frozen=True)
class IstaResult:
    """``b`` spectra of ``n`` weights."""

    spectrum: torch.Tensor
    converged: torch.Tensor  # (b,) bool


def ista(
    kernel: torch.Tensor,
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
        ``(m, n)``.
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
    pull = data @ kernel
    step = 1 / torch.linalg.matrix_norm(kernel, 2).square()
    m, n = kernel.shape
    # The square of the kernel is worked out where that is less work than the kernel twice.
    gram = kernel.mT @ kernel if n <= 2 * m else None

    def slope(x: torch.Tensor) -> torch.Tensor:
        return (x @ gram if gram is not None else x @ kernel.mT @ kernel) - pull

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
            done = (at_rest - spectrum).norm(dim=-1) / step < limit
            result[left[done]], converged[left[done]] = spectrum[done], True
            left, spectrum, ahead, pull, limit = (
                part[~done] for part in (left, spectrum, ahead, pull, limit)
            )
            if len(left) == 0:
                break
    result[left] = spectrum
    return IstaResult(result, converged)
