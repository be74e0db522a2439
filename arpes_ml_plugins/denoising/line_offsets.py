"""Constants that were added to single lines of pixels: a read-out whose zero wanders from row to
row, or a background that was subtracted from each EDC or MDC with the noise of its own few pixels.

Without them an image shows bands without stripes. They are added again after denoising, so that
nothing is lost even if what looked like a constant was a flat band.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA
from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.irregular import part_means
from arpes_ml_plugins.denoising.line_factors import AROUND
from arpes_ml_plugins.denoising.streams import normal

__all__ = ["LineOffsets", "line_offsets"]

PARTS = 8  # of a line, of which a flat band fills less than half
MEDIAN = 1.25  # standard error of a median, over that of a mean


@dataclass(frozen=True)
class LineOffsets:
    """Constants of rows, columns or both, less those of the lines around them."""

    values: torch.Tensor
    """``(n, height, width)``."""
    errors: tuple[torch.Tensor, ...]
    """Standard errors of rows, ``(n, height, 1)``, and of columns, ``(n, 1, width)``."""

    def chosen(self, own: torch.Tensor) -> LineOffsets:
        """Those of some of the images."""
        return LineOffsets(self.values[own], tuple(error[own] for error in self.errors))

    def spread(self, other: torch.Tensor) -> torch.Tensor:
        """Standard deviation of pixels with the ``other`` one and with these errors."""
        return (other.square() + sum(error.square() for error in self.errors)).sqrt()

    def drawn(self, draws: int, generator: torch.Generator) -> torch.Tensor:
        """Errors drawn at random, ``(draws, n, height, width)``."""
        return sum(error * normal(error, generator, (draws, *error.shape)) for error in self.errors)  # type: ignore[return-value]


def line_offsets(
    images: torch.Tensor, valid: torch.Tensor, *, rows: bool, columns: bool
) -> LineOffsets | None:
    """Find the constant of each row, or column; None if they were added to neither.

    Parameters
    ----------
    images, valid
        Shape ``(n, height, width)``.
    rows, columns
        To which of both constants were added.

    Examples
    --------
    >>> stripes = torch.tensor([0.0, 2.0] * 8)[:, None] + torch.arange(16.0)
    >>> found = line_offsets(stripes[None], torch.ones(1, 16, 16).bool(), rows=True, columns=False)
    >>> round(float(found.values[0, 9, 0] - found.values[0, 8, 0]), 1)
    2.0
    """
    if not (rows or columns):
        return None
    offsets, errors = torch.zeros_like(images), []
    if rows:
        values, error = _of_rows(images, valid)
        offsets = offsets + values
        errors.append(error)
    if columns:
        values, error = _of_rows((images - offsets).mT, valid.mT)
        offsets = offsets + values.mT
        errors.append(error.mT)
    return LineOffsets(offsets, tuple(errors))


def _of_rows(images: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    means = part_means(images, valid, parts=PARTS, fewest=1)
    seen = means.isfinite().to(means)
    around = gaussian_mean(means.nan_to_num()[..., None], seen[..., None], AROUND)[..., 0]
    apart = means - around
    offsets = apart.nanmedian(0).values
    spread = MAD_TO_SIGMA * (apart - offsets).abs().nanmedian(0).values
    error = MEDIAN * spread / seen.sum(0).clamp(min=1).sqrt()
    known = offsets.isfinite()
    error = gaussian_mean(
        error.nan_to_num()[:, None, :, None], known.to(error)[:, None, :, None], AROUND
    )[:, 0]
    return offsets.nan_to_num()[..., None], error
