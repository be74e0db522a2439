"""The noise of each channel, measured in the data themselves."""

from __future__ import annotations

import torch

__all__ = ["channel_noise"]

MAD_TO_SIGMA = 1.4826
ENOUGH = 4  # pixels a channel for the regression


def channel_noise(cube: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the noise of every channel; 0 where a channel does not change.

    Two estimates, of which the smaller is taken, since each only errs upwards: differences of
    neighbouring pixels (median absolute deviation) contain edges; what a channel has in addition
    to all others (residual variance of a regression on them, one over the diagonal of the inverse
    covariance) contains narrow lines. The second needs no order among the pixels.

    Parameters
    ----------
    cube
        ``(m, *space)``.
    valid
        Pixels to use, ``(*space)``.
    """
    flat = cube.flatten(1)[:, valid.flatten()]
    noise = flat.std(1, unbiased=False)
    alive = noise > 1e-12 * flat.abs().amax(1).clamp(min=1e-300)
    noise = torch.where(alive, noise, 0.0)
    for estimate in (_differences(cube, valid), _regression(flat, alive)):
        if estimate is not None:
            usable = alive & (estimate > 1e-6 * noise)
            noise = torch.where(usable, torch.minimum(noise, estimate), noise)
    return noise


def _differences(cube: torch.Tensor, valid: torch.Tensor) -> torch.Tensor | None:
    found = []
    for axis in range(valid.ndim):
        size = valid.shape[axis]
        if size < 2:
            continue
        step = cube.narrow(axis + 1, 1, size - 1) - cube.narrow(axis + 1, 0, size - 1)
        both = valid.narrow(axis, 1, size - 1) & valid.narrow(axis, 0, size - 1)
        found.append(step.flatten(1)[:, both.flatten()])
    together = torch.cat(found, 1) if found else cube.new_zeros(len(cube), 0)
    if together.shape[1] < 8:
        return None
    centre = together.median(1, keepdim=True).values
    return (together - centre).abs().median(1).values * (MAD_TO_SIGMA / 2**0.5)


def _regression(flat: torch.Tensor, alive: torch.Tensor) -> torch.Tensor | None:
    channels, pixels = int(alive.sum()), flat.shape[1]
    if channels < 2 or pixels < ENOUGH * channels:
        return None
    scale = flat[alive].std(1, keepdim=True)
    covariance = torch.cov(flat[alive] / scale)
    values, vectors = torch.linalg.eigh(covariance)
    if values[0] < 1e-12 * values[-1]:  # no noise, or channels made from others
        return None
    precision = (vectors.square() / values).sum(1)
    own = (pixels / (pixels - channels) / precision).sqrt()
    result = flat.new_full((len(flat),), float("inf"))
    result[alive] = own * scale[:, 0]
    return result
