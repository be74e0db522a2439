"""Tell that more components are asked for than stand out of the noise.

A separation returns as many as it is asked for. If the data hold fewer, the last is noise, or one
component split in two, with a status that finds nothing wrong with the fit.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["excess_notes"]

BULK = 1.2  # eigenvalues of noise fall by less over two places
WEAK = 10.0  # times the largest eigenvalue of white noise: what is stronger is no noise


def excess_notes(data: Whitened, count: int) -> tuple[str, ...]:
    """Note on a blind separation into ``count`` components if fewer stand out of the noise."""
    there = _standing_out(data.pixels, count)
    if there >= count:
        return ()
    holds = "1 component stands" if there == 1 else f"{there} components stand"
    return (
        f"no more than {holds} out of the noise, but {count} were asked for: one may be noise or a "
        f"part of another (maps that are proportional count once); see choose_components",
    )


def _standing_out(pixels: torch.Tensor, count: int) -> int:
    """How many of the first ``count`` principal components of whitened ``pixels (k, t)`` are more
    than the noise, whose eigenvalues follow each other closely. At least one.
    """
    channels, number = pixels.shape
    if min(channels, number) < count + 4:
        return count
    values = torch.linalg.eigvalsh(pixels @ pixels.mT / number).flip(0)
    limit = WEAK * (1 + (channels / number) ** 0.5) ** 2

    def of_noise(place: int) -> bool:
        own, next_, last = (float(values[place + k]) for k in (0, 2, 4))
        return own < limit and own < BULK * next_ and next_ < BULK * last

    while count > 1 and of_noise(count - 1):
        count -= 1
    return count
