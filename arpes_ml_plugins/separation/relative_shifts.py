"""See whether components shift against each other, beside the shifts that they have in common.

If one component of a pixel is shifted against the others, the slope of its spectrum is left in the
residual. Channels of even and of odd number, whose noise is independent, then show it alike.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.shift_scan import STARTS, slope
from arpes_ml_plugins.separation.shifted_design import designs, pieces

__all__ = ["relative_shifts"]

SIGNIFICANT = 4.0  # standard deviations of a covariance
LEAST = 0.15  # channels: standard deviation of shifts that are worth undoing


def relative_shifts(
    pixels: torch.Tensor,
    noise: torch.Tensor,
    spectra: torch.Tensor,
    maps: torch.Tensor,
    channels: torch.Tensor,
) -> torch.Tensor:
    """Standard deviations ``(n,)``, in channels, of shifts of each component against the others of
    the same pixel; 0 where chance explains them.

    ``pixels (m, t)`` with ``noise (m,)`` are explained by ``maps (n, t)`` of ``spectra (m, n)``
    that are moved up by ``channels (t,)``.
    """
    halves = [_pulls(pixels, noise, spectra, maps, channels, half) for half in STARTS]
    (one, size), (other, length) = halves
    product = one * other
    variance = product.sum(1) / (size * length).sum(1).clamp(min=1e-30)
    chance = product.square().sum(1).sqrt() / (size * length).sum(1).clamp(min=1e-30)
    shown = (variance > SIGNIFICANT * chance) & (variance > LEAST**2)
    return torch.where(shown, variance.clamp(min=0).sqrt(), 0.0)


def _pulls(
    pixels: torch.Tensor,
    noise: torch.Tensor,
    spectra: torch.Tensor,
    maps: torch.Tensor,
    channels: torch.Tensor,
    half: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far every second channel pulls each component from its mean energy, and the squared
    length of the slope that shows it, beside all spectra and a common shift; both ``(n, t)``.
    """
    rows, slopes = slice(half, None, 2), slope(spectra, 1.0)
    scale, pulls, sizes = noise[rows, None], [], []
    for some in pieces(pixels.shape[1]):
        moves = channels[some].expand(len(maps), -1)
        weight = maps[:, some].mT[:, None]
        still = designs(spectra, moves)[:, rows] / scale  # (t, m, n)
        turned = -designs(slopes, moves)[:, rows] / scale * weight
        basis = torch.linalg.qr(torch.cat([still, turned.sum(2, keepdim=True)], 2))[0]
        own = turned - basis @ (basis.mT @ turned)
        data = (pixels[rows, some] / scale).mT[..., None]
        pulls.append((own.mT @ data)[..., 0].mT)
        sizes.append(own.square().sum(1).mT)
    pull, size = torch.cat(pulls, 1), torch.cat(sizes, 1)
    mean = pull.sum(1, keepdim=True) / size.sum(1, keepdim=True).clamp(min=1e-30)
    return pull - mean * size, size
