"""Principal component pursuit by plain gradient descent (eq. 5 of Huang et al. 2024), for study.

``U Uᵀ + g ∘ g - h ∘ h`` is fitted to a symmetric matrix without any penalty. Gradient descent from
a small start is biased towards a ``U Uᵀ`` of small nuclear norm and a sparse rest: with the step
sizes ``η_a`` of U and ``η_s`` of g and h it finds what principal component pursuit finds with
``λ = η_a / η_s`` (You et al., NeurIPS 2020).
"""

from __future__ import annotations

import torch

__all__ = ["descend", "gradients", "objective"]


def objective(
    factor: torch.Tensor, plus: torch.Tensor, minus: torch.Tensor, image: torch.Tensor
) -> torch.Tensor:
    """A quarter of the squared residual of eq. 5 (the scale of eq. S9)."""
    return (factor @ factor.mT + plus.square() - minus.square() - image).square().sum() / 4


def gradients(
    factor: torch.Tensor, plus: torch.Tensor, minus: torch.Tensor, image: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradient of :func:`objective` with respect to U, g and h (eq. 6)."""
    residual = factor @ factor.mT + plus.square() - minus.square() - image
    return (residual + residual.mT) @ factor / 2, residual * plus, -residual * minus


def descend(
    image: torch.Tensor,
    *,
    ratio: float,
    rank: int,
    step: float,
    iterations: int,
    start: float = 1e-4,
    seed: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Low-rank and sparse part of a symmetric ``image`` after gradient descent on eq. 5.

    Parameters
    ----------
    image
        Shape ``(n, n)``, symmetric.
    ratio
        ``η_a / η_s``, which takes the role of λ.
    rank
        Columns of U: at least the rank that is expected.
    step
        ``η_a``.
    start
        Standard deviation of the first U, g and h. The smaller, the stronger the bias.
    """
    generator = torch.Generator().manual_seed(seed)

    def small(*shape: int) -> torch.Tensor:
        return start * torch.randn(*shape, generator=generator, dtype=image.dtype).to(image.device)

    size = len(image)
    factor, plus, minus = small(size, rank), small(size, size), small(size, size)
    for _ in range(iterations):
        of_factor, of_plus, of_minus = gradients(factor, plus, minus, image)
        factor = factor - step * of_factor
        plus = plus - step / ratio * of_plus
        minus = minus - step / ratio * of_minus
    return factor @ factor.mT, plus.square() - minus.square()
