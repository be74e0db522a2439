"""Tell that more components are asked for than stand out of the noise.

A separation returns as many as it is asked for. If the data hold fewer, the last is noise, or one
component split in two, with a status that finds nothing wrong with the fit.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.simulated import measured
from arpes_ml_plugins.separation.standing_out import standing_out
from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["excess_notes"]

DRAWS = 8  # simulations of data with one component less
CERTAIN = 3.0  # of their standard deviations
MOST_VALUES = 1_000_000  # of larger data the fall of the eigenvalues is enough


def excess_notes(data: Whitened, count: int) -> tuple[str, ...]:
    """Note on a blind separation into ``count`` components if fewer stand out of the noise."""
    there = _more_than_noise(data, standing_out(data.pixels, count))
    if there >= count:
        return ()
    holds = "1 component stands" if there == 1 else f"{there} components stand"
    return (
        f"no more than {holds} out of the noise, but {count} were asked for: one may be noise or a "
        f"part of another (maps that are proportional count once); see choose_components",
    )


def _more_than_noise(data: Whitened, count: int) -> int:
    """How many of the first ``count`` principal components are stronger than the next one of data
    that have those before it and noise. At least one.
    """
    pixels = data.pixels
    if pixels.numel() > MOST_VALUES:
        return count
    generator = torch.Generator(device="cpu").manual_seed(0)
    values, vectors = torch.linalg.eigh(pixels @ pixels.mT)
    while count > 1:
        before = vectors[:, 1 - count :]
        model = before @ (before.mT @ pixels)
        again = (measured(data, model, generator) for _ in range(DRAWS))
        noise = torch.stack([torch.linalg.eigvalsh(x @ x.mT)[-count] for x in again])
        if values[-count] > noise.mean() + CERTAIN * noise.std():
            break
        count -= 1
    return count
