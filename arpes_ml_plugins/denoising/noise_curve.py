"""Variance that does not follow the intensity by a line: it grows faster, or falls behind.

Two curves are fitted to classes of brightness, each with a gain in the dark and a curvature. Each
must explain the classes where a line with any shift fails, and the noise must be far from that of
counts: structure that the prediction of pixels misses adds hardly a few per cent of the intensity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.denoising.noise_levels import Levels

__all__ = ["Curve", "curve_of"]

SYSTEMATIC = 0.05  # of the variance: error of every class
FEWEST = 4  # classes
GROWS, FALLS = (-2.0, 3.0, 120), (-1.5, 1.0, 80)  # logarithms of curvature times highest mean
MORE, BETTER = 25.0, 12.0  # by which chi squared is less than the line's, if noise grows or falls
EXPLAINS = 3.0  # chi squared per class, at most
PART = 0.3  # or this part of the line's, if noise falls behind: no curve is exact there
FLUCTUATES = 0.005  # relative variance, at least: structure that was missed leaves less
TWICE = 2.0  # noise of the brightest over that of counts with the gain of the dark, at least
FALLEN = 0.35  # minus its logarithm, at least


@dataclass(frozen=True)
class Curve:
    """The variance is ``gain * mean * (1 + curvature * mean / gain)``, or, if the curvature is
    negative, ``gain * mean * exp(curvature * mean / gain)``.
    """

    gain: torch.Tensor
    gain_error: torch.Tensor
    curvature: torch.Tensor


def curve_of(levels: Levels) -> Curve | None:
    """Fit both curves; None if the noise agrees with a line as well."""
    some = levels.mean > 0
    mean, variance = levels.mean[some], levels.variance[some]
    if len(mean) < FEWEST:
        return None
    error = (
        levels.variance_error[some].clamp(min=0)
        + (SYSTEMATIC * variance).square()
        + 2 * variance.square() / levels.number[some]
    ).sqrt()
    error = error.clamp(min=1e-6 * variance.max())
    line = _line_misfit(mean, variance, error)
    enough, top = EXPLAINS * len(mean), mean.max()
    powers = torch.logspace(*GROWS, dtype=mean.dtype).to(mean) / top
    misfit, gain, its_error, best = _fitted(mean, variance, error, 1 + powers[:, None] * mean)
    power, explained = powers[best], bool((line - misfit > MORE) & (misfit < enough))
    if explained and gain * power > FLUCTUATES and 1 + power * top > TWICE:
        return Curve(gain, its_error, gain * power)
    powers = torch.logspace(*FALLS, dtype=mean.dtype).to(mean) / top
    misfit, gain, its_error, best = _fitted(mean, variance, error, (-powers[:, None] * mean).exp())
    power, enough = powers[best], max(enough, PART * float(line))
    explained = bool((line - misfit > BETTER) & (misfit < enough))
    return Curve(gain, its_error, -gain * power) if explained and power * top > FALLEN else None


def _line_misfit(mean: torch.Tensor, variance: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """Chi squared of the best line."""
    lines = torch.stack([torch.ones_like(mean), mean], 1) / error[:, None]
    wanted = (variance / error)[:, None]
    solution = torch.linalg.lstsq(lines, wanted).solution
    return (lines @ solution - wanted).square().sum()


def _fitted(
    mean: torch.Tensor, variance: torch.Tensor, error: torch.Tensor, shapes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Least chi squared over ``shapes`` of variance over mean, ``(tried, classes)``: itself, the
    factor of the shape, its error, and the number of the shape.
    """
    weight = (mean / error).square()
    ratio = variance / mean
    norm = (shapes.square() * weight).sum(1)
    gain = (shapes * ratio * weight).sum(1) / norm
    misfit = ((ratio - gain[:, None] * shapes).square() * weight).sum(1)
    best = misfit.argmin()
    return misfit[best], gain[best], norm[best].rsqrt(), best
