"""How many components of whitened data are more than noise, by the fall of the eigenvalues."""

from __future__ import annotations

import torch

__all__ = ["standing_out"]

BULK = 1.2  # eigenvalues of noise fall by less over two places
WEAK = 10.0


def standing_out(pixels: torch.Tensor, count: int, weak: float = WEAK) -> int:
    """How many of the first ``count`` principal components of whitened ``pixels (k, t)`` are more
    than the noise, whose eigenvalues follow each other closely. At least one.

    ``weak``: times the largest eigenvalue of white noise, above which there is no noise.
    """
    channels, number = pixels.shape
    if min(channels, number) < count + 4:
        return count
    values = torch.linalg.eigvalsh(pixels @ pixels.mT / number).flip(0)
    limit = weak * (1 + (channels / number) ** 0.5) ** 2

    def of_noise(place: int) -> bool:
        own, next_, last = (float(values[place + k]) for k in (0, 2, 4))
        return own < limit and own < BULK * next_ and next_ < BULK * last

    while count > 1 and of_noise(count - 1):
        count -= 1
    return count
