"""PALM: proximal alternating linearised minimisation for sparse separation, many at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.optim.proximal import soft_threshold
from arpes_ml_plugins.separation.lpalm import project_columns

__all__ = ["PalmResult", "palm", "palm_path"]

SMALLEST = 1e-12


@dataclass(frozen=True)
class PalmResult:
    """Mixing matrices ``(b, m, n)`` and sources ``(b, n, t)``."""

    mixing: torch.Tensor
    sources: torch.Tensor
    iterations: torch.Tensor  # (b,)
    converged: torch.Tensor  # (b,)


def palm(
    data: torch.Tensor,
    mixing: torch.Tensor,
    sparsity: torch.Tensor | float,
    *,
    sources: torch.Tensor | None = None,
    iterations: int = 20000,
    tolerance: float = 1e-7,
) -> PalmResult:
    """Minimise ``|X - A S|^2 / 2 + sparsity |S|_1`` with columns of ``A`` in the unit ball.

    Eqs. 2 and 6 of Fahes et al. (2022), from a given start.

    Parameters
    ----------
    data, mixing
        ``(b, m, t)`` and the start ``(b, m, n)``.
    sparsity
        One number, or one per data set.
    sources
        Start; default the pseudo-inverse of ``mixing`` times the data.
    tolerance
        Stop a data set where neither factor moves by more (Frobenius norm).
    """
    limit = torch.as_tensor(sparsity, dtype=data.dtype, device=data.device).expand(len(data))
    a = mixing.clone()
    s = torch.linalg.pinv(a) @ data if sources is None else sources.clone()
    done = torch.zeros(len(data), dtype=torch.bool, device=data.device)
    needed = torch.full((len(data),), iterations, device=data.device)
    left = torch.arange(len(data), device=data.device)
    x = data
    for iteration in range(1, iterations + 1):
        before_a, before_s = a[left], s[left]
        gram = before_a.mT @ before_a
        step = 1 / torch.linalg.eigvalsh(gram)[:, -1, None, None].clamp(min=SMALLEST)
        moved = before_s - step * (gram @ before_s - before_a.mT @ x)
        new_s = soft_threshold(moved, step * limit[left, None, None])
        cross = new_s @ new_s.mT
        step = 1 / torch.linalg.eigvalsh(cross)[:, -1, None, None].clamp(min=SMALLEST)
        new_a = project_columns(before_a - step * (before_a @ cross - x @ new_s.mT))
        a[left], s[left] = new_a, new_s
        still = ((new_s - before_s).norm(dim=(-2, -1)) < tolerance) & (
            (new_a - before_a).norm(dim=(-2, -1)) < tolerance
        )
        if still.any():
            needed[left[still]], done[left[still]] = iteration, True
            left = left[~still]
            if len(left) == 0:
                break
            x = data[left]
    return PalmResult(a, s, needed, done)


def palm_path(
    data: torch.Tensor,
    mixing: torch.Tensor,
    sparsities: torch.Tensor,
    *,
    iterations: int = 2000,
    tolerance: float = 1e-6,
) -> list[PalmResult]:
    """Solutions for decreasing ``sparsities``, each from the one before.

    Sources shrink less and less. The path makes the result depend less on the start: large values
    determine the strong sources first.
    """
    results: list[PalmResult] = []
    sources = None
    for sparsity in sparsities:
        found = palm(
            data, mixing, sparsity, sources=sources, iterations=iterations, tolerance=tolerance
        )
        mixing, sources = found.mixing, found.sources
        results.append(found)
    return results
