"""White noise of the read-out beside the noise of electrons behind clouds of charge.

The noise of electrons grows with the intensity, and falls with the frequency; that of the read-out
does neither. A line of the variance of pixels against their mean contains both, so that a pedestal
and the noise of the read-out cannot be told from it. At the highest frequencies, where clouds leave
hardly any power, the variance ``R`` of the read-out is left, the same everywhere, and where the
line has the variance ``R`` there are no electrons. What the power has beyond ``R`` is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.denoising.noise_blocks import Blocks, quantile
from arpes_ml_plugins.denoising.noise_fit import Fit, fitted, frequencies
from arpes_ml_plugins.denoising.noise_line import Line

__all__ = ["ReadOut", "beside_clouds"]

CLASSES, FEWEST = 6, 8  # of blocks by their brightness, and blocks of each
UNEVEN = 0.2  # relative: then the smooth intensity is that of a bright band beside the block
RANGE = 1.5  # brightest over darkest class that separates both kinds of noise
SIMULATED = 4  # images of white noise behind the comparison
FINE = 1.0  # of the Nyquist frequency: beyond, clouds leave little
BLURRED = 0.6  # of the variance of electrons at these frequencies: more may be white
SURE = 6.0  # standard errors of that share
SAME = 0.2  # relative deviation of the classes from a line
LEAST, MOST = 0.2, 1.2  # of the variance of the darkest class: that of the read-out


@dataclass(frozen=True)
class ReadOut:
    """White noise beside that of electrons."""

    variance: torch.Tensor
    level: torch.Tensor
    """Mean of pixels without electrons: the pedestal."""
    fit: Fit
    """Spectrum of the noise of electrons."""


def beside_clouds(images: torch.Tensor, valid: torch.Tensor, line: Line) -> ReadOut | None:
    """Separate the two kinds of noise that follow ``line``; None if that shows no two kinds."""
    classes = _classes(images + line.shift, valid)
    if classes is None or not bool(classes.level[-1] > RANGE * classes.level[0]):
        return None
    level, power = classes.level, classes.power / line.gain
    alone = _alone(level, power[:, _is_fine(power)].mean(1), classes.error)
    if alone is None:
        return None
    weight = ((level - alone) / level.square())[:, None, None]
    share = ((power - alone) * weight).sum(0) / ((level - alone)[:, None, None] * weight).sum(0)
    return ReadOut(
        alone * line.gain, alone - line.shift, fitted(share.clamp(min=0) * line.gain, zeros=True)
    )


@dataclass(frozen=True)
class _Classes:
    """Blocks of even brightness, from the darkest to the brightest."""

    level: torch.Tensor  # (classes,)
    power: torch.Tensor
    """Against frequency, ``(classes, rows, columns)``; ``level`` for white noise of gain 1."""
    error: torch.Tensor
    """Of the power at high frequencies, relative."""


def _classes(images: torch.Tensor, valid: torch.Tensor) -> _Classes | None:
    """None if there are too few blocks."""
    blocks = Blocks.of(images, valid, torch.zeros_like(images.sum()))
    own = blocks.mean(images)
    even = (own / blocks.level - 1).abs() < UNEVEN
    blocks = replace(blocks, chosen=blocks.chosen[even], level=own[even])
    groups = blocks.level.argsort().tensor_split(CLASSES)
    if min(map(len, groups)) < FEWEST:
        return None
    generator = torch.Generator().manual_seed(0)
    white = torch.stack([blocks.white(None, generator) for _ in range(SIMULATED)])
    ours = blocks.power(images - blocks.bright)
    level = torch.stack([blocks.level[group].mean() for group in groups])
    each = torch.stack([torch.stack([quantile(one[g]) for one in white]) for g in groups])
    ratio = torch.stack([quantile(ours[g]) for g in groups]) / each.mean(1)
    fine = each[:, :, _is_fine(ratio)].mean(2)
    return _Classes(level, ratio * level[:, None, None], (fine / fine.mean(1, keepdim=True)).std())


def _is_fine(power: torch.Tensor) -> torch.Tensor:
    """Mask of the frequencies at which clouds leave little."""
    f = frequencies(power.shape[-1]).to(power)
    return torch.hypot(*torch.meshgrid(f, f, indexing="ij")) > FINE


def _alone(level: torch.Tensor, fine: torch.Tensor, error: torch.Tensor) -> torch.Tensor | None:
    """The level that white noise has alone, if that of electrons is surely another."""
    constant, slope, its_error = _line(level, fine, error)
    off = ((constant + slope * level) / fine - 1).square().mean().sqrt()
    alone = constant / (1 - slope)  # where all of the variance is at all frequencies
    surely = (slope < BLURRED) & (1 - slope > SURE * its_error) & (off < SAME)
    within = (alone > LEAST * level[0]) & (alone < MOST * level[0])
    return alone if bool(surely & within) else None


def _line(
    x: torch.Tensor, y: torch.Tensor, error: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Constant and slope of the line through ``y``, and the error of the slope if all ``y`` have
    this relative ``error``.
    """
    design = torch.stack([torch.ones_like(x), x], 1) / y[:, None]
    inverse = torch.linalg.pinv(design)
    constant, slope = inverse @ torch.ones_like(y)
    return constant, slope, inverse[1].norm() * error
