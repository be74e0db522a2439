"""The error of values that were rounded to steps which are coarser than their noise.

Noise of half a step or more makes the mean of rounded values right. With less, all pixels of a dark
place are rounded to the same side: by up to half a step, whatever the number of pixels.
"""

from __future__ import annotations

import math

import torch

__all__ = ["rounding_error"]

UNIFORM = 12**-0.5  # standard deviation of what rounding does to a value without noise, in steps


def rounding_error(variance: torch.Tensor, step: float) -> torch.Tensor:
    """Error that rounding leaves of the mean of values with this ``variance``, that of rounding
    included.

    The first term of the Fourier series of the mean against the true value falls like this [1]_.

    References
    ----------
    .. [1] B. Widrow, I. Kollar, *Quantization Noise*, Cambridge University Press (2008).

    Examples
    --------
    >>> rounding_error(torch.tensor([0.0, 0.12, 0.33]), 1.0)
    tensor([0.2887, 0.1400, 0.0022])
    """
    before = (variance / step**2 - UNIFORM**2).clamp(min=0)
    return UNIFORM * step * (-2 * math.pi**2 * before).exp()
