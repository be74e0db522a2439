"""Tell a detector that saturates by its noise, which then grows less than the intensity.

If counts ``n`` are shown as ``x = n / (1 + n / K)``, the variance is ``gain * x * (1 - x / K)**3``:
it falls behind the intensity where values are large. Spectra of bright places then have other
shapes than those of dark places, and all are distorted. Nothing else shows that if each place holds
one material, since any three spectra explain three materials.

The gain is found with ``K``, so that a small loss looks like a smaller gain. Of raw counts it is
known, and a few per cent of loss show.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.value_noise import Classes

__all__ = ["NEAREST", "Saturation", "saturation"]

GROUPS = 16  # of levels
FEWEST, FEWEST_GROUPS = 40, 6  # values of a group, and groups
SYSTEMATIC = 0.05  # of the variance: error of every group
SCATTER = 3.0  # squared errors of a variance, over its square divided by the number of values
NEAREST, FURTHEST, TRIED = 1.02, 60.0, 200  # K over the highest level
BETTER = 12.0  # by which chi squared is less than that of a line
EXPLAINS, PART = 3.0, 0.3  # chi squared per group, or over that of the line, at most
SURE, FEWER = 25.0, 2.0  # chi squared: 5 standard deviations; what one parameter less is worth
FALLEN = 0.7  # variance over intensity at the highest level, over that in the dark, at most


@dataclass(frozen=True)
class Saturation:
    """Values are ``n / (1 + n / largest)`` of counts ``n``, as their noise shows."""

    largest: float
    """Value that is never exceeded."""
    fallen: float
    """Variance over intensity at the highest level, over that in the dark."""


def saturation(classes: Classes, gain: float | None = None) -> Saturation | None:
    """None if the noise of classes of values agrees with ``gain * intensity + read noise``.

    ``gain``: of raw counts, where it is known.
    """
    level, variance, number = _grouped(classes)
    if len(level) < FEWEST_GROUPS:
        return None
    error = variance * (SCATTER / number + SYSTEMATIC**2).sqrt()
    line = _line_misfit(level, variance, error)
    largest, free, fallen = _bent(level, variance, error, None)
    enough = max(EXPLAINS * len(level), PART * line)
    if fallen <= FALLEN and line - free >= BETTER and free <= enough:
        return Saturation(largest, fallen)
    if gain is None:
        return None
    straight = float(((gain * level - variance) / error).square().sum())
    largest, misfit, fallen = _bent(level, variance, error, gain)
    # Noise that is not that of counts has another gain, or follows a line.
    agrees = misfit <= min(line, free, EXPLAINS * len(level)) + FEWER
    if straight - misfit < SURE or not agrees:
        return None
    return Saturation(largest, fallen)


def _bent(
    level: torch.Tensor, variance: torch.Tensor, error: torch.Tensor, gain: float | None
) -> tuple[float, float, float]:
    """Largest value of the response that fits best, chi squared, and what variance over intensity
    falls to.
    """
    tried = torch.logspace(0, 1, TRIED, base=FURTHEST / NEAREST, dtype=level.dtype, device="cpu")
    largest = level.max() * NEAREST * tried.to(level)
    shapes = level * (1 - level / largest[:, None]) ** 3 / error
    wanted = variance / error
    free = (shapes @ wanted) / shapes.square().sum(1)
    gains = free if gain is None else torch.full_like(free, gain)
    misfits = (gains[:, None] * shapes - wanted).square().sum(1)
    best = int(misfits.argmin())
    fallen = float((1 - level.max() / largest[best]) ** 3)
    return float(largest[best]), float(misfits[best]), fallen


def _grouped(classes: Classes) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean level and variance of groups of similar level, and how many values they have."""
    above = classes.level > 0
    level, variance, number = (x[above] for x in (classes.level, classes.variance, classes.number))
    if not len(level):
        return level, variance, number
    group = (level / level.max() * GROUPS).long().clamp(max=GROUPS - 1)
    weight = torch.nn.functional.one_hot(group, GROUPS).to(level) * number[:, None]
    total = weight.sum(0)
    there = total >= FEWEST
    sums = [(x @ weight)[there] / total[there] for x in (level, variance)]
    return sums[0], sums[1].clamp(min=1e-300), total[there]


def _line_misfit(level: torch.Tensor, variance: torch.Tensor, error: torch.Tensor) -> float:
    """Chi squared of the best line, whose parameters may not be negative."""
    from scipy.optimize import nnls

    unit, square = level.max(), variance.max()
    columns = torch.stack([level / unit, torch.ones_like(level)], 1) / (error / square)[:, None]
    _, left = nnls(columns.cpu().numpy(), (variance / error).cpu().numpy())
    return float(left) ** 2
