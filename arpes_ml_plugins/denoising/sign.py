"""The sign of intensities: that of a current is negative, if it is one of electrons."""

from __future__ import annotations

import torch

__all__ = ["sign_of"]

OTHER = 0.1  # of the sum of the values: so much may have the other sign, by noise of the read-out
SKEWED = 0.15  # standard deviations of the mean beyond the median: few places are far from zero


def sign_of(images: torch.Tensor, valid: torch.Tensor) -> float:
    """-1 if the values are intensities with a negative sign, otherwise 1.

    Intensities are bright, far from zero, in few places, and dark in the others. A difference, or a
    logarithm of values below one, is not.

    Examples
    --------
    >>> current = -torch.arange(64.0).reshape(1, 8, 8) ** 2
    >>> sign_of(current, current <= 0), sign_of(-current, current <= 0)
    (-1.0, 1.0)
    """
    values = images[valid]
    if len(values) < 2:
        return 1.0
    above, below = values.clamp(min=0).sum(), -values.clamp(max=0).sum()
    skew = values.median() - values.mean()
    return -1.0 if bool((above < OTHER * below) & (skew > SKEWED * values.std())) else 1.0
