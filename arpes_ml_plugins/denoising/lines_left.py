"""Brightness of whole lines of pixels that a clean image does not show.

If a beam fluctuates or drifts while lines are measured in turn, by less than single lines can tell,
a denoiser takes it for noise. The sums of the residual over all lines show how much there is of it.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA
from arpes_ml_plugins.denoising.noise_model import NoiseModel

__all__ = ["beyond_noise", "variance_left"]

FEWEST = 16  # lines
CHANCE = 4.0  # standard deviations of what noise alone leaves
CLIP = 3.0  # standard deviations; lines that a band fills are no fluctuation


def variance_left(residual: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Squared relative deviations of the sums of all rows, and of all columns: ``(2, n)``.

    Parameters
    ----------
    residual, clean, valid
        Shape ``(n, height, width)``.

    Examples
    --------
    >>> clean = torch.full((1, 32, 32), 5.0)
    >>> stripes = clean * torch.tensor([0.1, -0.1] * 16)[:, None]
    >>> variance_left(stripes, clean, clean > 0).sqrt()[:, 0].tolist()
    [0.10000000149011612, 0.0]
    """
    residual, clean = (torch.where(valid, x, 0) for x in (residual, clean))
    return torch.stack([_of_lines(residual.sum(k), clean.sum(k)) for k in (-1, -2)])


def beyond_noise(
    residual: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor, noise: NoiseModel
) -> torch.Tensor:
    """Relative standard deviation of the brightness of lines beyond ``noise``, of rows or columns,
    whichever is larger, ``(n,)``; zero if it is chance.
    """
    left = variance_left(residual, clean, valid)
    known = torch.where(valid, clean, 0)
    shape = (clean.shape[-2], clean.shape[-1])
    transfer = noise.transfer(shape, clean.device)
    shares = 1.0, 1.0
    if not noise.white:  # sums over a line have the noise of long wavelengths along it
        shares = float(transfer[:, 0].mean()), float(transfer[0].mean())
    beyond = []
    for axis, share, variance in zip((-1, -2), shares, left, strict=True):
        total = known.sum(axis)
        usual = share * total.sum(-1) / total.square().sum(-1).clamp(min=1e-12)
        chance = CHANCE * usual * (2 / total.shape[-1]) ** 0.5
        beyond.append(torch.where(variance > usual + chance, variance - usual, 0))
    return torch.stack(beyond).amax(0).sqrt()


def _of_lines(left: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """The same of lines, from the sums over each, ``(n, lines)``."""
    if total.shape[-1] < FEWEST:
        return torch.zeros_like(total[:, 0])
    standard = total.clamp(min=0).sqrt()
    relative = left / standard.clamp(min=torch.finfo(total.dtype).tiny)
    relative = torch.where(standard > 0, relative, torch.nan)
    limit = CLIP * MAD_TO_SIGMA * relative.abs().nanmedian(-1, keepdim=True).values
    squares = relative.clamp(-limit, limit).square().nan_to_num() * total
    return squares.sum(-1) / total.square().sum(-1).clamp(min=torch.finfo(total.dtype).tiny)
