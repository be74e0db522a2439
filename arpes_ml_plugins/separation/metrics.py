"""Score recovered sources and mixing matrices, after a match of order and scale."""

from __future__ import annotations

import torch

__all__ = ["match", "nmse", "separation_ratios", "spectral_angle"]


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
    chosen = alike[torch.arange(len(order), device="cpu"), torch.as_tensor(order, device="cpu")]
    return [int(i) for i in order], torch.where(chosen < 0, -1.0, 1.0).to(found.dtype)


def nmse(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Squared error over squared truth, over the last two dimensions (eq. 10).

    Examples
    --------
    >>> float(nmse(torch.tensor([[2.0]]), torch.tensor([[4.0]])))
    0.25
    """
    return (found - truth).square().sum((-2, -1)) / truth.square().sum((-2, -1))


def spectral_angle(found: torch.Tensor, truth: torch.Tensor) -> float:
    """SAD in dB: the mean over columns of minus ten times the logarithm of the angle; larger is
    better (eq. 15 of Carloni Gertosio et al. 2023).

    Examples
    --------
    >>> tilted = torch.tensor([[1.0, 0.0], [0.01, 1.0]], dtype=torch.float64)
    >>> round(spectral_angle(tilted[:, :1], torch.eye(2, 1, dtype=torch.float64)), 2)
    20.0
    """
    one = found / found.norm(dim=0).clamp(min=1e-30)
    other = truth / truth.norm(dim=0).clamp(min=1e-30)
    # By the chord: the arc cosine of nearly 1 has no digits left.
    angle = 2 * torch.arcsin(((one - other).norm(dim=0) / 2).clamp(max=1))
    return float((-10 * torch.log10(angle.clamp(min=1e-15))).mean())


def separation_ratios(
    found: torch.Tensor, truth: torch.Tensor, noise: torch.Tensor
) -> dict[str, torch.Tensor]:
    """SDR, SIR, SNR and SAR in dB, one per source, in the order of the truth.

    A found source is split by orthogonal projections onto its true source, onto all true sources,
    and onto these and the noise: target, interference, noise, and the rest, artefacts (Vincent,
    Gribonval and Févotte 2006, instantaneous mixtures).

    Parameters
    ----------
    found, truth
        Sources ``(n, t)`` that belong together.
    noise
        That of the data ``(m, t)``.

    Examples
    --------
    >>> truth = torch.eye(2, 4, dtype=torch.float64)
    >>> noise = torch.tensor([[0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    >>> ratios = separation_ratios(truth + 0.1 * noise, truth, noise)
    >>> [round(float(ratios[name][0])) for name in ("SDR", "SNR")]
    [20, 20]
    """
    size = truth.square().sum(1).clamp(min=1e-300)
    target = ((found * truth).sum(1) / size)[:, None] * truth
    of_sources = _projected(found, truth)
    of_all = _projected(found, torch.cat([truth, noise]))
    parts = {
        "SDR": (target, found - target),
        "SIR": (target, of_sources - target),
        "SNR": (of_sources, of_all - of_sources),
        "SAR": (of_all, found - of_all),
    }
    return {
        name: 10 * torch.log10(one.square().sum(1) / other.square().sum(1).clamp(min=1e-300))
        for name, (one, other) in parts.items()
    }


def _projected(rows: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Rows projected onto the span of the rows of ``basis``."""
    gram, pull = basis @ basis.mT, basis @ rows.mT
    return (torch.linalg.pinv(gram, hermitian=True) @ pull).mT @ basis
