"""How many channels apart noise is independent, and whether neighbouring pixels share it.

Data that were interpolated to more channels, or smoothed, have noise that neighbouring channels
share, and so do detectors whose image is blurred. Tests that find something in one half of the
channels and confirm it in the other would confirm noise. Pixels of maps that were smoothed or
interpolated share it with their neighbours, and differ from these by less than their noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

__all__ = ["INDEPENDENT", "Neighbours", "independent_every", "of_neighbours"]

MOST, LEFT = 8, 12  # channels, or pixels; and as many channels must be left
SHARED = 0.1  # correlation of noise that is not independent
FEWEST = 300  # differences
ENOUGH, RUN = 1_000_000, 64  # values, and pixels in a row of which they are
ROUNDING = 1e-6  # of the mean
SIGNAL = 6.0  # times the mean of all that are less: smoothing does not bring more
FEW_CHANNELS = 8  # of fewer, none may hold noise alone
NOISE_ALONE = 4  # one direction of four, those of the least variance, holds no signal
MOST_CHANNELS = 256  # that this is asked of
SURE, UNLIKE = 3.0, 0.15  # standard errors; scatter over the mean, of correlations of noise
STEPS = 1.0, -3.0, 3.0, -1.0  # difference without gradients


def independent_every(pixels: torch.Tensor, noise: torch.Tensor) -> int:
    """Smallest distance of channels from which on the noise of ``pixels (m, t)`` is independent.

    From differences of pixels in a row, without the directions in which these are no noise, each
    as important as another. ``noise`` is that of each channel, ``(m,)``.
    """
    scaled = _in_runs(pixels) / noise[:, None, None]
    length = scaled.shape[2] - len(STEPS) + 1
    most = min(MOST, len(scaled) // LEFT)
    if scaled.shape[1] * length < FEWEST or most < 2:
        return 1
    rest = torch.stack([one * scaled[..., k : k + length] for k, one in enumerate(STEPS)]).sum(0)
    rest = rest.flatten(1) / sum(one**2 for one in STEPS) ** 0.5
    count = rest.shape[1]
    values, vectors = torch.linalg.eigh(rest @ rest.mT / count)
    real = values > ROUNDING * values.mean()  # interpolated channels have directions of no noise
    values, vectors = values[real], vectors[:, real]
    rest = vectors @ (vectors.mT @ rest)
    means = values.cumsum(0) / torch.arange(1, len(values) + 1, device="cpu").to(values)
    signal = vectors[:, (values > SIGNAL * means).cummax(0).values]
    rest = rest - signal @ (signal.mT @ rest)
    rest = rest / rest.norm(dim=0).clamp(min=1e-30)
    shared = [float((rest[k:] * rest[:-k]).sum()) / count for k in range(1, most)]
    last = max((k for k, one in enumerate(shared, 1) if one > SHARED), default=0)
    return min(last + 2, most) if last else 1  # one further: a little is shared there, too


def _in_runs(pixels: torch.Tensor) -> torch.Tensor:
    """All pixels, or evenly spaced runs of them if they are many, ``(m, runs, length)``."""
    enough = ENOUGH // len(pixels)
    if pixels.shape[1] <= max(enough, RUN):
        return pixels[:, None]
    runs = pixels[:, : pixels.shape[1] // RUN * RUN].unflatten(1, (-1, RUN))
    return runs[:, :: max(1, math.ceil(runs.shape[1] * RUN / enough))]


@dataclass(frozen=True)
class Neighbours:
    """How much pixels share of their noise."""

    correlation: float = 0.0
    """Of pixels next to each other, along the axis where it is largest; 0 if it is that of
    independent ones, or if there are too few to tell."""
    alike: float = 1.0
    """Number of pixels that show as much of the noise as an independent one."""
    together: float = 1.0
    """Variance of a mean over many pixels, in the unit of that of independent ones."""


INDEPENDENT = Neighbours()


def of_neighbours(cube: torch.Tensor, valid: torch.Tensor) -> Neighbours:
    """Measure what pixels share, with the mixtures of channels that vary least: these hold no
    signal, unless that is of as many shapes as there are channels. Noise has the same correlation
    in all of them. The shapes are ``(m, *space)`` and ``(*space)``.
    """
    images, used = _some(cube[:: math.ceil(len(cube) / MOST_CHANNELS)], valid)
    if len(images) < FEW_CHANNELS or int(used.sum()) < FEWEST:
        return INDEPENDENT
    centre = images.flatten(1).sum(1) / used.sum()
    images = torch.where(used, images - centre[:, None, None, None], 0.0)
    step = images.diff(dim=-1)[:, used[..., 1:] & used[..., :-1]].square().mean(1).sqrt()
    changing = step > 0
    scaled = images[changing] / step[changing, None, None, None]
    flat = scaled.flatten(1)
    values, vectors = torch.linalg.eigh(flat @ flat.mT)
    real = values > ROUNDING * values.mean()
    if int(real.sum()) < FEW_CHANNELS:
        return INDEPENDENT
    noise = vectors[:, real][:, : int(real.sum()) // NOISE_ALONE]
    mixed = (noise.mT @ flat).unflatten(1, used.shape)
    along = [_correlations(mixed, used, axis) for axis in (-2, -1)]
    alike = math.prod(1 + 2 * sum(one**2 for one in shared) for shared in along)
    together = math.prod(1 + 2 * sum(shared) for shared in along)
    return Neighbours(max((shared[0] for shared in along if shared), default=0.0), alike, together)


def _some(cube: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Evenly spaced images ``(m, n, height, width)``, 0 where nothing is valid, and their mask."""
    images, used = (_as_images(x) for x in (cube, valid.expand_as(cube)))
    most = max(1, ENOUGH // max(1, images[:, 0].numel()))
    images, used = (x[:, :: math.ceil(x.shape[1] / most)] for x in (images, used))
    return torch.where(used, images, 0).double(), used[0]


def _as_images(cube: torch.Tensor) -> torch.Tensor:
    """The last two axes, or runs along the only one, of ``(m, *space)``."""
    if cube.ndim == 2:
        return _in_runs(cube)[:, :, None]
    return cube[:, None] if cube.ndim == 3 else cube.flatten(1, -3)


def _correlations(images: torch.Tensor, valid: torch.Tensor, axis: int) -> list[float]:
    """Of pixels 1, 2, ... apart along an axis of ``(r, n, height, width)``, where both are valid;
    as far as they share noise.
    """
    shared: list[float] = []
    for apart in range(1, min(valid.shape[axis], MOST)):
        length = valid.shape[axis] - apart
        first, second = (images.narrow(axis, start, length) for start in (0, apart))
        both = valid.narrow(axis, 0, length) & valid.narrow(axis, apart, length)
        pairs = int(both.sum())
        if pairs < FEWEST:
            break
        power = (first.square() + second.square())[:, both].sum(1) / 2
        each = (first * second)[:, both].sum(1) / power
        one, chance = float(each.mean()), SURE / (pairs * len(each)) ** 0.5
        scatter = float(each.std(correction=0)) - SURE * (1 + sum(shared)) / pairs**0.5
        if not one >= max(SHARED, chance) or (not shared and scatter > UNLIKE * one):
            break
        shared.append(one)
    return shared
