"""Variance against mean of each image, or each line of pixels, from second differences.

Second differences along both axes remove most of the scene. What remains of it, and correlations of
neighbours, change the variance by factors that images of one detector have in common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

__all__ = ["Dispersions", "dispersions", "of_rows"]

CLASSES = 6  # of brightness
FEWEST = 30  # differences of a class
OUTLIERS = 0.99  # quantile of the squares beyond which they are left out
OVERLAP = 3.0  # differences share pixels: their mean scatters more, by the root of this
SYSTEMATIC = 0.05  # of the variance
DARKEST = 0.02  # of the mean


@dataclass(frozen=True)
class Dispersions:
    """Of classes of brightness, ``(n, classes)``."""

    mean: torch.Tensor
    variance: torch.Tensor
    error: torch.Tensor
    """Standard deviation of ``variance``; infinite where there are too few pixels."""

    def chosen(self, classes: slice) -> Dispersions:
        return Dispersions(self.mean[:, classes], self.variance[:, classes], self.error[:, classes])


def dispersions(images: torch.Tensor, valid: torch.Tensor) -> Dispersions:
    """Sort the pixels of each image into classes; ``images`` have shape ``(n, height, width)``."""
    mean, square, used = _differences(images, valid)
    found = []
    for levels, squares, some in zip(mean, square, used, strict=True):
        order = levels[some].argsort()
        parts = (x[some][order].tensor_split(CLASSES) for x in (levels, squares))
        found.append([_class(*part) for part in zip(*parts, strict=True)])
    table = images.new_tensor(found)
    return Dispersions(*table.unbind(-1))


def of_rows(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Logarithm of variance over mean of each row, ``(n, height)``; NaN where there is nothing."""
    mean, square, used = _differences(images, valid)
    bright = DARKEST * torch.where(used, mean, 0).mean((-2, -1), keepdim=True)
    used = used & (mean > bright)
    ratio = torch.where(used, square / mean, math.nan)
    most = torch.nanquantile(ratio, OUTLIERS, -1, keepdim=True)
    kept = used & (ratio <= most)
    sums = (torch.where(kept, x, 0).sum(-1) for x in (square, mean))
    ratios = next(sums) / next(sums)
    enough = (kept.sum(-1) >= FEWEST / 2) & (ratios > 0)
    return F.pad(torch.where(enough, ratios.log(), math.nan), (1, 1), value=math.nan)


def _differences(
    images: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, squared difference with the variance of a pixel, and where they are known."""
    one = images.new_tensor([1.0, -2.0, 1.0])
    kernel = (one[:, None] * one[None, :])[None, None]
    values = torch.where(valid, images, 0)[:, None]
    whole = F.max_pool2d((~valid).to(images)[:, None], len(one), 1) == 0
    norm = kernel.square().sum()
    mean = F.conv2d(values, kernel.square()) / norm
    square = F.conv2d(values, kernel).square() / norm
    return mean[:, 0], square[:, 0], whole[:, 0] & (mean[:, 0] > 0)


def _class(levels: torch.Tensor, squares: torch.Tensor) -> tuple[float, float, float]:
    if len(levels) < FEWEST:
        return 1.0, 1.0, math.inf
    kept = squares <= squares.kthvalue(math.ceil(OUTLIERS * len(squares))).values
    mean, variance = float(levels[kept].mean()), float(squares[kept].mean())
    if not (mean > 0 and variance > 0):
        return 1.0, 1.0, math.inf
    drawn = OVERLAP * float(squares[kept].var()) / int(kept.sum())
    return mean, variance, math.sqrt(drawn + (SYSTEMATIC * variance) ** 2)
