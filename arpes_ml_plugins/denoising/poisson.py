"""The Poisson distribution."""

from __future__ import annotations

import torch

__all__ = ["poisson_chances"]


def poisson_chances(number: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Probabilities of each ``number (k,)`` of electrons where ``(n,)`` are expected, ``(n, k)``.

    Examples
    --------
    >>> poisson_chances(torch.tensor([0.0, 1.0]), torch.tensor([0.0]))
    tensor([[1., 0.]])
    """
    expected = expected[:, None]
    return (torch.xlogy(number, expected) - expected - torch.lgamma(number + 1)).exp()
