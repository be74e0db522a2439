"""Statistics of images that are robust against outliers."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from arpes_ml_plugins.constants import MAD_TO_SIGMA
from arpes_ml_plugins.denoising.neighbourhoods import highest_of

__all__ = ["median_spread", "trimmed_range"]

RANK = 3  # pixels of a 3 x 3 neighbourhood that must agree on an extreme value


def median_spread(residual: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each image by the median absolute value of its valid pixels.

    ``residual`` and ``mask`` (1 for valid pixels) have shape ``(n, height, width)``; the result
    ``(n, 1, 1)``.
    """
    absolute = residual.abs().masked_fill(mask == 0, torch.nan).flatten(-2)
    spread = MAD_TO_SIGMA * absolute.nanmedian(-1, keepdim=True).values[..., None]
    spread = torch.where(spread.isfinite(), spread, 0)  # an image without valid pixels
    return spread.clamp(min=torch.finfo(residual.dtype).eps)


def trimmed_range(images: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest and highest intensity that three neighbouring pixels reach, each ``(n, 1, 1)``.

    Single hot pixels, pairs of them and sentinels like -9999 do not count; anything as wide as
    the resolution of a detector does.
    """

    def highest(values: torch.Tensor) -> torch.Tensor:
        values = values.masked_fill(~valid, -torch.inf)
        rows, columns = values.shape[-2:]
        padded = F.pad(values, (1, 1, 1, 1), value=-torch.inf)
        shifts = [padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        top = (
            highest_of(shifts, RANK)[-1]
            .masked_fill(~valid, -torch.inf)
            .amax((-2, -1), keepdim=True)
        )
        # Too few valid neighbours anywhere: take the plain maximum.
        return torch.where(top.isinf(), values.amax((-2, -1), keepdim=True), top)

    return -highest(-images), highest(images)
