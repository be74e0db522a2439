"""Find a structure in the residual that many pixels share and single ones hardly show.

Lines that become broader where a sample is bright, a background of its own, or one component more
leave little in each value, and chi^2 of all values is hardly above that of noise. But what they
leave is alike in many pixels, as a principal component that stands out. Noise with random signs
shows how strong the first of noise is, and those that follow show whether the noise of neighbouring
channels or pixels is shared: then all of the first ones are strong.
"""

from __future__ import annotations

import torch

__all__ = ["left_structure"]

DRAWS = 4  # of random signs
ABOVE, FALL, PLACES = 1.1, 1.5, 4  # times noise; times the component this number of places behind
SMALL = 0.05  # root of squares over those of the model: spectra about 3 degrees off
FEWEST = 30  # pixels


def left_structure(residual: torch.Tensor, model: torch.Tensor) -> float | None:
    """Strength of the first principal component of ``residual (k, t)`` over that of the ``model``,
    both over their noise; None if it may be noise, or is small.
    """
    channels, pixels = residual.shape
    if channels <= PLACES or pixels < FEWEST:
        return None
    values = torch.linalg.eigvalsh(residual @ residual.mT).flip(0)
    beyond = float(values[0] - values[PLACES])
    share = (max(beyond, 0.0) / float(model.square().sum().clamp(min=1e-300))) ** 0.5
    if share < SMALL or values[0] < FALL * values[PLACES]:
        return None
    draw = torch.Generator(device="cpu").manual_seed(0)
    for _ in range(DRAWS):
        signs = torch.randint(0, 2, residual.shape, generator=draw, device="cpu") * 2 - 1
        mixed = residual * signs.to(residual)
        if values[0] < ABOVE * torch.linalg.eigvalsh(mixed @ mixed.mT)[-1]:
            return None
    return share
