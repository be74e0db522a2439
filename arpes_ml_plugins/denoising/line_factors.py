"""Brightness of single lines of pixels, of a beam that fluctuates while they are measured in turn.

Divided by it, an image shows bands without stripes. It is multiplied with it again after denoising,
so that nothing is lost even if what looked like a fluctuation was a flat band. How far the parts of
a line disagree on its brightness shows the error of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.irregular import SECOND_DIFFERENCE, part_means
from arpes_ml_plugins.denoising.streams import normal

__all__ = ["AROUND", "LineFactors", "line_factors"]

AROUND = 4.0  # lines, over which brightness changes because of the scene
DARK = 1e-3  # of the mean brightness
PARTS = 8  # of a line
LARGEST = 0.5  # relative error


@dataclass(frozen=True)
class LineFactors:
    """Brightness of rows, columns or both, over that of the lines around them."""

    values: torch.Tensor
    """``(n, height, width)``; 1 where neither fluctuates."""
    errors: tuple[torch.Tensor, ...] = ()
    """Relative standard errors of rows, ``(n, height, 1)``, and of columns, ``(n, 1, width)``."""

    def chosen(self, own: torch.Tensor) -> LineFactors:
        """Those of some of the images."""
        return LineFactors(self.values[own], tuple(error[own] for error in self.errors))

    def spread(self, other: torch.Tensor, intensity: torch.Tensor) -> torch.Tensor:
        """Standard deviation of pixels of this ``intensity`` with the ``other`` one and with these
        errors.
        """
        relative = sum(error.square() for error in self.errors)
        return (other.square() + relative * intensity.square()).sqrt()

    def drawn(self, draws: int, generator: torch.Generator) -> torch.Tensor:
        """Relative errors drawn at random, ``(draws, n, height, width)``."""
        return sum(error * normal(error, generator, (draws, *error.shape)) for error in self.errors)  # type: ignore[return-value]


def line_factors(
    images: torch.Tensor, valid: torch.Tensor, *, rows: bool, columns: bool
) -> LineFactors:
    """Brightness of each row, or column, over that of the lines around it.

    Parameters
    ----------
    images, valid
        Shape ``(n, height, width)``; zero is no intensity.
    rows, columns
        Which of both fluctuate. If none do, all factors are 1.

    Examples
    --------
    >>> stripes = torch.tensor([100.0, 120.0] * 8)[:, None].expand(1, 16, 16)
    >>> found = line_factors(stripes, torch.ones(1, 16, 16).bool(), rows=True, columns=False)
    >>> round(float(found.values[0, 9, 0] / found.values[0, 8, 0]), 2)
    1.2
    """
    factors, errors = torch.ones_like(images), []
    if rows:
        values = _of_rows(images, valid)
        factors = factors * values
        errors.append(_error(images / values, valid))
    if columns:
        values = _of_rows(images.mT, valid.mT)
        factors = factors * values.mT
        errors.append(_error(images.mT / values, valid.mT).mT)
    return LineFactors(factors, tuple(errors))


def _of_rows(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    number = valid.sum(-1).to(images)
    mean = torch.where(valid, images, 0).sum(-1) / number.clamp(min=1)
    floor = DARK * mean.mean(-1, keepdim=True)
    logarithm = mean.clamp(min=floor.clamp(min=torch.finfo(mean.dtype).tiny)).log()
    seen = (number > 0).to(mean)
    around = gaussian_mean(logarithm[:, None, :, None], seen[:, None, :, None], AROUND)[:, 0]
    return ((logarithm - around[..., 0]) * seen).exp()[..., None]


def _error(even: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Relative error of the brightness of each row of images without stripes, ``(n, rows, 1)``.

    The parts of a row are compared with those of the rows beside it; what all parts have in common
    is in the factor.
    """
    means = part_means(even, valid, parts=PARTS, fewest=1)
    means = F.pad(means, (1, 1), value=math.nan)
    above, here, below = means[..., :-2], means[..., 1:-1], means[..., 2:]
    apart = here - (above + below) / 2
    known = apart.isfinite().to(apart)
    number = known.sum(0)
    square = apart.nan_to_num().square().sum(0) / SECOND_DIFFERENCE
    relative = square * number / (number - 1).clamp(min=1) / here.nansum(0).square()
    known = ((number > 1) & relative.isfinite()).to(relative)
    relative = torch.where(known > 0, relative, 0)
    smooth = gaussian_mean(relative[:, None, :, None], known[:, None, :, None], AROUND)[:, 0]
    return smooth.sqrt().clamp(max=LARGEST)
