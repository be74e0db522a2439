r"""Principal component pursuit: a matrix as low-rank plus sparse.

Equation numbers are those of Huang, Liu, Qian and Weng (2024) and its supplement; this is eq. S1:

.. math:: \min_{L,S} |L|_* + \lambda |S|_1 \quad \text{subject to} \quad L + S = I
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from arpes_ml_plugins.optim.proximal import singular_value_threshold, soft_threshold

__all__ = ["SOLVERS", "PcpResult", "principal_component_pursuit"]

SOLVERS = ("alm", "admm")
PENALTY_GROWTH = 1.3
PENALTY_LIMIT = 1e7  # relative to the first penalty: keeps 1 / mu away from rounding


@dataclass(frozen=True)
class PcpResult:
    """Decomposition of every image of a batch, and how the iteration ended.

    ``residual`` is the relative violation of the constraint, ``|I - L - S|_F / |I|_F``.
    """

    low_rank: torch.Tensor  # (batch, m, n)
    sparse: torch.Tensor  # (batch, m, n)
    iterations: torch.Tensor  # (batch,)
    residual: torch.Tensor  # (batch,)
    converged: torch.Tensor  # (batch,)


def principal_component_pursuit(
    images: torch.Tensor,
    *,
    sparsity: float | None = None,
    solver: str = "alm",
    tolerance: float = 1e-5,
    iterations: int = 500,
) -> PcpResult:
    """Solve eq. S1 for every image.

    Both solvers alternate the same three steps, eqs. S3, S6 and S7. ``admm`` keeps the penalty
    ``mu = m n / (4 |I|_1)`` fixed, as in the paper; ``alm`` (inexact augmented Lagrangian) raises
    it by 1.3 per iteration from ``1.25 / |I|_2``, which always ends but may stop short of the
    exact optimum.

    Parameters
    ----------
    images
        Shape ``(batch, m, n)``, any real floating type; worked on in float64.
    sparsity
        Weight lambda of the l1 norm; ``None`` means ``1 / sqrt(max(m, n))``. A larger value puts
        less into the sparse part.
    """
    # MPS has neither float64 nor eigendecompositions.
    data = (images.cpu() if images.device.type == "mps" else images).double()
    unit = data.abs().amax((-2, -1), keepdim=True)
    unit = torch.where(unit > 0, unit, 1)
    data = data / unit
    height, width = data.shape[-2:]
    weight = 1 / math.sqrt(max(height, width)) if sparsity is None else sparsity
    norm = torch.linalg.matrix_norm(data)
    penalty, dual, growth = _start(data, weight, solver)
    limit = penalty * PENALTY_LIMIT

    low_rank, sparse = torch.zeros_like(data), torch.zeros_like(data)
    count = torch.zeros(len(data), dtype=torch.int64, device=data.device)
    residual = torch.where(norm > 0, 1.0, 0.0).to(norm)
    active = norm > 0
    for _ in range(iterations):
        if not active.any():
            break
        mu = penalty[active, None, None]
        target = data[active] - dual[active] / mu
        new_low = singular_value_threshold(target - sparse[active], 1 / penalty[active])  # S3
        new_sparse = soft_threshold(target - new_low, weight / mu)  # S6
        violation = new_low + new_sparse - data[active]
        change = penalty[active] * torch.linalg.matrix_norm(new_sparse - sparse[active])
        dual[active] += mu * violation  # S7
        low_rank[active], sparse[active] = new_low, new_sparse
        residual[active] = torch.linalg.matrix_norm(violation) / norm[active]
        count[active] += 1
        # Boyd et al. 2010, section 3.3.1: primal and dual residual; the growing penalty of "alm"
        # scales the dual one out of meaning, so that there the constraint alone decides.
        stationary = change <= tolerance * norm[active] * penalty[active] if growth == 1 else True
        done = (residual[active] <= tolerance) & stationary
        penalty[active] = torch.minimum(penalty[active] * growth, limit[active])
        active = active.index_put((active.nonzero()[:, 0],), ~done)
    return PcpResult(low_rank * unit, sparse * unit, count, residual, ~active)


def _start(
    data: torch.Tensor, weight: float, solver: str
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """First penalty mu and multiplier of each image, and the growth of mu per iteration."""
    tiny = torch.finfo(data.dtype).tiny
    if solver == "admm":
        penalty = data[0].numel() / (4 * data.abs().sum((-2, -1)).clamp(min=tiny))
        return penalty, torch.zeros_like(data), 1.0
    spectral = torch.linalg.matrix_norm(data, ord=2).clamp(min=tiny)
    # The dual norm of the objective: -I / J is the feasible multiplier nearest to the optimum
    # along I, and spares the first iterations (sign as in eq. S2).
    dual_norm = torch.maximum(spectral, data.abs().amax((-2, -1)) / weight)
    return 1.25 / spectral, -data / dual_norm[:, None, None], PENALTY_GROWTH
