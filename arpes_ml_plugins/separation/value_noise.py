"""Estimate the noise of each value: the variance of counts is proportional to the intensity.

Second differences of neighbouring pixels, and residuals of a regression of one channel on all
others, do not depend on the components, so that a wrong separation does not raise the noise. They
are grouped in classes of equal intensity; a line through their variances is ``gain * intensity +
read noise``. The former are better if pixels are in order, the latter if they are not. If one
number per channel explains them better, it is used instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.whiten import strips

__all__ = ["ValueNoise", "value_noise"]

CLASSES = 24  # of intensity
FEWEST = 60  # differences in a class
ENOUGH = 4  # pixels per channel for the regression
IN_ORDER = 1.4  # times what other channels leave: more in differences is signal
CLIP = 3.0  # standard deviations, beyond which a difference is an edge
KEPT = 0.9733  # variance of a normal distribution that is clipped there
ROUNDS = 8
BETTER = 0.002  # nats per difference
LEAST = 0.02  # of the mean intensity: variance is not taken from less


@dataclass(frozen=True)
class ValueNoise:
    """``variance = gain * intensity + read``."""

    gain: float
    read: float
    least: float

    def variance(self, model: torch.Tensor) -> torch.Tensor:
        return self.gain * model.clamp(min=self.least) + self.read


def value_noise(
    cube: torch.Tensor, valid: torch.Tensor, channel_noise: torch.Tensor
) -> ValueNoise | None:
    """The noise of values ``(m, *space)``, or None if ``channel_noise`` ``(m,)`` is as good.

    Also None if there are too few pixels for an estimate.
    """
    cube, valid = strips(cube, valid)
    scale = float(cube[valid].mean())
    axes = [_differences(cube, valid, axis) for axis in range(1, cube.ndim)]
    fitted = [(_line(*part[:2]), part) for part in axes if len(part[0]) >= CLASSES * FEWEST]
    along = [(line, part) for line, part in fitted if line is not None]
    rest = _unexplained(cube, valid)
    # Along edges and gradients only one axis is right; where pixels are in no order, none is.
    best = min(along, key=lambda found: found[0][0] * scale + found[0][1], default=None)
    if len(rest[0]) >= CLASSES * FEWEST:
        most = IN_ORDER * float(rest[0].mean())
        if best is None or best[0][0] * scale + best[0][1] > most:
            line = _line(*rest[:2])
            best = None if line is None else (line, rest)
    if best is None:
        return None
    (gain, read), (square, mean, channel) = best
    # To fewer digits than rounding in sums reaches, so that a replay is the same to the last bit.
    found = ValueNoise(*(float(f"{number:.5g}") for number in (gain, read, LEAST * scale)))
    by_value = found.variance(mean)
    by_channel = channel_noise[channel].square().clamp(min=1e-12 * float(by_value.mean()))
    inside = square <= CLIP**2 * torch.maximum(by_value, by_channel)  # no edges
    likely = [
        float((-(variance.log() + square / variance) / 2)[inside].mean())
        for variance in (by_value, by_channel)
    ]
    return found if likely[0] > likely[1] + BETTER and gain > 0 else None


def _differences(
    cube: torch.Tensor, valid: torch.Tensor, axis: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A sixth of the squared second differences along an axis, the mean of each three values, and
    their channel; first differences would hold gradients.
    """
    size = cube.shape[axis] - 2
    if size < 1:
        return cube.new_empty(0), cube.new_empty(0), torch.empty(0, dtype=torch.int64, device="cpu")
    left, middle, right = (cube.narrow(axis, start, size) for start in range(3))
    whole = [valid.narrow(axis, start, size) for start in range(3)]
    inside = whole[0] & whole[1] & whole[2]
    channel = torch.arange(len(cube), device=cube.device)
    channel = channel.reshape(-1, *[1] * (cube.ndim - 1)).expand_as(left)
    square, mean = (left - 2 * middle + right).square() / 6, (left + middle + right) / 3
    return square[inside], mean[inside], channel[inside]


def _unexplained(
    cube: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same from residuals of each channel on all others, for pixels in any order."""
    flat = cube.flatten(1)[:, valid.all(0).flatten()]
    alive = (flat.amax(1) > flat.amin(1)) if flat.numel() else valid.flatten(1).any(1)
    flat, pixels = flat[alive], flat.shape[1]
    nothing = cube.new_empty(0), cube.new_empty(0), torch.empty(0, dtype=torch.int64, device="cpu")
    if len(flat) < 2 or pixels < ENOUGH * len(flat):
        return nothing
    centred = flat - flat.mean(1, keepdim=True)
    scale = centred.square().mean(1, keepdim=True).sqrt()
    covariance = torch.cov(centred / scale)
    if float(torch.linalg.eigvalsh(covariance)[0]) < 1e-12 * len(flat):  # no noise
        return nothing
    precision = torch.linalg.inv(covariance)
    rest = (precision @ (centred / scale)) / precision.diagonal()[:, None] * scale
    square = rest.square() * pixels / (pixels - len(flat))
    channel = alive.nonzero().expand_as(flat)
    return square.flatten(), (flat - rest).flatten(), channel.flatten()


def _line(square: torch.Tensor, mean: torch.Tensor) -> tuple[float, float] | None:
    """Gain and read noise from variances in classes of intensity."""
    edges = torch.quantile(_some(mean), torch.linspace(0, 1, CLASSES + 1, device="cpu").to(mean))
    number = torch.bucketize(mean, edges[1:-1])
    rows = []
    for k in range(CLASSES):
        inside = number == k
        if int(inside.sum()) >= FEWEST:
            rows.append((float(mean[inside].mean()), _clipped(square[inside])))
    levels, variances = (
        torch.tensor(rows, dtype=torch.float64, device="cpu").mT if rows else (None, None)
    )
    if levels is None or variances is None or len(levels) < 3:
        return None
    weight = 1 / variances.clamp(min=1e-9 * float(variances.max()))
    design = torch.stack([levels, torch.ones_like(levels)], 1) * weight[:, None]
    gain, read = torch.linalg.lstsq(design, (variances * weight)[:, None]).solution[:, 0].tolist()
    if read < 0:  # then counts alone
        gain = float((variances * levels * weight**2).sum() / (levels * weight).square().sum())
        read = 0.0
    return gain, read


def _clipped(square: torch.Tensor) -> float:
    """Mean of squares without those of edges."""
    variance = float(square.mean())
    for _ in range(ROUNDS):
        kept = square[square <= CLIP**2 * variance]
        new = float(kept.mean()) / KEPT if len(kept) else variance
        if abs(new - variance) <= 1e-3 * variance:
            break
        variance = new
    return variance


def _some(values: torch.Tensor) -> torch.Tensor:
    """Evenly spaced values, enough for quantiles."""
    return values[:: max(1, len(values) // 100_000)]
