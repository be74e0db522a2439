"""The noise of each channel, measured in the data themselves."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA

__all__ = ["channel_noise"]

FEWEST_DIFFERENCES = 8
ENOUGH = 4  # pixels a channel for the regression


def channel_noise(cube: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the noise of every channel; 0 where a channel does not change.

    Several estimates, of which the smallest is taken, since each only errs upwards: differences of
    neighbouring pixels along each axis (median absolute deviation) contain edges; what a channel
    has in addition to all others (residual variance of a regression on them, one over the diagonal
    of the inverse covariance) contains narrow lines. The last needs no order among the pixels.

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
    for estimate in (*_differences(cube, valid), _regression(flat, alive)):
        usable = alive & (estimate > 1e-6 * noise)
        noise = torch.where(usable, torch.minimum(noise, estimate), noise)
    return noise


def _differences(cube: torch.Tensor, valid: torch.Tensor) -> Iterator[torch.Tensor]:
    """One estimate an axis: along a rim or a gradient only one of them is right."""
    for axis in range(valid.ndim):
        size = valid.shape[axis]
        if size < 2:
            continue
        step = cube.narrow(axis + 1, 1, size - 1) - cube.narrow(axis + 1, 0, size - 1)
        both = valid.narrow(axis, 1, size - 1) & valid.narrow(axis, 0, size - 1)
        found = step.flatten(1)[:, both.flatten()]
        if found.shape[1] < FEWEST_DIFFERENCES:
            continue
        centre = found.median(1, keepdim=True).values
        yield (found - centre).abs().median(1).values * (MAD_TO_SIGMA / 2**0.5)


def _regression(flat: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """On all other channels, or on evenly spaced ones where the pixels are few."""
    channels = alive.nonzero()[:, 0]
    groups = -(-ENOUGH * len(channels) // max(flat.shape[1], 1))
    result = flat.new_full((len(flat),), float("inf"))
    for group in (channels[i::groups] for i in range(groups)):
        result[group] = _own(flat[group])
    return result


def _own(flat: torch.Tensor) -> torch.Tensor:
    """Of every channel ``(m, t)``, what the others do not explain."""
    channels, pixels = flat.shape
    if channels < 2 or pixels < ENOUGH * channels:
        return flat.new_full((channels,), float("inf"))
    scale = flat.std(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat / scale[:, None]))
    if values[0] < 1e-12 * values[-1]:  # no noise, or channels made from others
        return flat.new_full((channels,), float("inf"))
    precision = (vectors.square() / values).sum(1)
    return (pixels / (pixels - channels) / precision).sqrt() * scale
