"""Whether residuals that are too large have a structure along the channels, or are larger noise.

A component that is missing, or spectra that are wrong, leave residuals of few shapes. Noise that is
larger than estimated, in all pixels or in some (different dwell times), leaves any.
"""

from __future__ import annotations

import torch

__all__ = ["is_larger_noise"]

MOST = 20_000  # pixels
LEAST = 8  # channels, and as many times more pixels
OF_NOISE = 1.2  # times the variance that noise may have in a direction by chance
PART = 0.2  # of the excess, that structure explains at most


def is_larger_noise(residual: torch.Tensor, chi2: float) -> bool:
    """Whether residuals ``(m, t)``, NaN where there are no values, are too large by ``chi2`` per
    degree of freedom because there is more noise. False if there are too few to tell.

    Every pixel has the same weight, and every channel: neither is a sign of structure. What noise
    that is independent from channel to channel hardly reaches in one direction is structure.
    """
    left = residual[:, :: max(1, residual.shape[1] // MOST)]
    left = left[(left.isfinite() & (left != 0)).any(1)]
    left = left[:, left.isfinite().all(0)]
    channels, pixels = left.shape
    if channels < LEAST or pixels < LEAST * channels:
        return False
    left = left / left.norm(dim=0).clamp(min=torch.finfo(left.dtype).tiny)
    left = left / left.square().mean(1, keepdim=True).sqrt()
    values = torch.linalg.eigvalsh(left @ left.mT / pixels)
    chance = OF_NOISE * (1 + (channels / pixels) ** 0.5) ** 2
    structure = float((values - 1)[values > chance].sum()) / channels
    return structure < PART * (1 - 1 / chi2)
