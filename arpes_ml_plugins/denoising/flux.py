"""Images of a series for which the source was brighter, or which were exposed longer, than others.

The images before and after one show the same scene with more or fewer counts. They help the network
if they are brought to the counts of this one first. Intensity that changes smoothly along a series,
or once, is not that of the source: such images are left as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["irregular_flux", "mean_counts"]

WINDOW = 7  # images on either side that show whether the flux is irregular
FEWEST = 3  # of them, for which it is known
IRREGULAR = 0.1  # typical relative deviation of an image from the mean of the two beside it
SURE = 3.0  # times the deviation that counting explains


def mean_counts(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Counts per valid pixel of each of ``images (n, height, width)``."""
    total = torch.where(valid, images, 0).sum((1, 2), dtype=torch.float64)
    return total / valid.sum((1, 2)).clamp(min=1)


def irregular_flux(
    mean: torch.Tensor, pixels: torch.Tensor, places: torch.Tensor | None
) -> torch.Tensor:
    """Whether images around each one are brighter or darker than those beside them, ``(n,)`` bool.

    Parameters
    ----------
    mean, pixels
        Counts per pixel, and pixels, of each image ``(n,)``.
    places
        Indices of the images in the whole series, if they are parts of it.

    Examples
    --------
    >>> flux = torch.tensor([1.0, 2.0, 0.7, 1.5, 0.6, 1.8, 1.0], dtype=torch.float64)
    >>> irregular_flux(flux, torch.full((7,), 1e4), None).all()
    tensor(True)
    >>> irregular_flux(torch.linspace(1, 2, 7), torch.full((7,), 1e4), None).any()
    tensor(False)
    """
    if len(mean) < FEWEST + 2:
        return torch.zeros_like(mean, dtype=torch.bool)
    place = torch.arange(len(mean), device=mean.device) if places is None else places
    number = (mean * pixels).clamp(min=1)
    logarithm = number.log() - pixels.clamp(min=1).log()
    off = (logarithm[1:-1] - (logarithm[2:] + logarithm[:-2]) / 2).abs()
    chance = (1 / number[1:-1] + (1 / number[2:] + 1 / number[:-2]) / 4).sqrt()
    consecutive = place[2:] - place[:-2] == 2
    both = torch.where(consecutive, torch.stack([off, chance]), torch.nan)
    both = F.pad(both, (1, 1), value=torch.nan)  # the ends have one image beside them
    away = torch.arange(-WINDOW, WINDOW + 1, device=mean.device)
    beside = torch.arange(len(mean), device=mean.device)[:, None] + away
    inside = (beside >= 0) & (beside < len(mean))
    beside = beside.clamp(0, len(mean) - 1)
    inside &= place[beside] - place[:, None] == away
    around = torch.where(inside, both[:, beside], torch.nan)
    typical, chance = around.nanmedian(2).values
    enough = around[0].isfinite().sum(1) >= FEWEST
    return enough & (typical > IRREGULAR) & (typical > SURE * chance)
