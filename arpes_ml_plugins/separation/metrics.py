"""How well sources and mixing matrices are recovered, their order and scale put right first."""

from __future__ import annotations

import torch

__all__ = ["match", "nmse", "spectral_angle"]


def match(found: torch.Tensor, truth: torch.Tensor) -> tuple[list[int], torch.Tensor]:
    """Which found column is which true one: the assignment with the largest correlations.

    Parameters
    ----------
    found, truth
        Mixing matrices ``(m, n)``.

    Returns
    -------
    order, signs
        Column ``order[i]`` of ``found`` times ``signs[i]`` belongs to column ``i`` of ``truth``.

    Examples
    --------
    >>> order, signs = match(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(2))
    >>> order, signs.tolist()
    ([1, 0], [1.0, -1.0])
    """
    from scipy.optimize import linear_sum_assignment

    left = found / found.norm(dim=0).clamp(min=1e-30)
    right = truth / truth.norm(dim=0).clamp(min=1e-30)
    alike = right.mT @ left
    _, order = linear_sum_assignment(-alike.abs().cpu().numpy())
    chosen = alike[torch.arange(len(order)), torch.as_tensor(order)]
    return [int(i) for i in order], torch.where(chosen < 0, -1.0, 1.0).to(found.dtype)


def nmse(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Squared error over squared truth, over the last two dimensions (eq. 10).

    Examples
    --------
    >>> float(nmse(torch.tensor([[2.0]]), torch.tensor([[4.0]])))
    0.25
    """
    return (found - truth).square().sum((-2, -1)) / truth.square().sum((-2, -1))


def spectral_angle(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean squared angle between columns that belong together, in dB: larger is better."""
    cosine = (found * truth).sum(-2) / (found.norm(dim=-2) * truth.norm(dim=-2)).clamp(min=1e-30)
    angle = torch.arccos(cosine.clamp(-1, 1))
    return -10 * torch.log10(angle.square().mean(-1).clamp(min=1e-30))
