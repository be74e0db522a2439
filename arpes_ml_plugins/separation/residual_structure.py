"""Whether residuals that are too large have a structure along the channels, or are larger noise.

A component that is missing, or spectra that are wrong, leave residuals of few shapes. Noise that is
larger than estimated, in all pixels or in some (different dwell times), leaves any.
"""

from __future__ import annotations

import torch

__all__ = ["has_no_structure"]

MOST = 50_000  # pixels
ROUNDING = 1e-12  # of the squares of the strongest channel
LEAST = 8  # channels, and as many times more pixels
OF_NOISE = 1.3  # times the variance that noise may have in a direction by chance


def has_no_structure(residual: torch.Tensor) -> bool:
    """Whether residuals ``(m, t)``, NaN where there are no values, are independent from channel to
    channel. False if there are too few to tell.

    A shape that is left in any of the pixels has a variance that independent noise hardly reaches.
    Where some pixels have more noise than others, it is as if there were fewer of them.
    """
    left = residual[:, :: max(1, residual.shape[1] // MOST)]
    left = left[left.isfinite().any(1)]
    left = left[:, left.isfinite().all(0)]
    if not left.numel():
        return False
    power = left.square().mean(1)
    used = power > ROUNDING * power.amax()
    left = left[used] / power[used, None].sqrt()
    each = left.square().sum(0)
    channels = len(left)
    pixels = float(each.sum().square() / each.square().sum().clamp(min=1e-300))
    if channels < LEAST or pixels < LEAST * channels:
        return False
    largest = torch.linalg.eigvalsh(left @ left.mT / left.shape[1])[-1]
    return bool(largest < OF_NOISE * (1 + (channels / pixels) ** 0.5) ** 2)
