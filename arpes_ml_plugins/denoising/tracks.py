"""Find tracks and specks: small groups of pixels with a sharp outline, as cosmic rays leave them.

A band is longer than a track, and a spot of the sample falls off over more than one pixel.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from arpes_ml_plugins.denoising.neighbourhoods import highest_around

__all__ = ["far_above", "isolated"]

SIGNIFICANCE = 5.0  # standard deviations above what is around
BRIGHTER = 1.7  # times what is around: a sharp band may be several deviations brighter
LONGEST = 12  # pixels of a group
NEIGHBOURS = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])  # in one image
DASHES = 4  # groups one after another, or more, with more pixels than a track: a band
ALONE = 0.2  # of the pixels of groups that are in no band: with more, all are defects
WIDE = LONGEST + 1  # pixels; what is shorter is no background


def isolated(counts: torch.Tensor, valid: torch.Tensor, single: torch.Tensor) -> torch.Tensor:
    """Mask of ``single`` pixels, and of groups of at most :data:`LONGEST`, each far brighter than
    all around; without those that are pieces of a band.

    Parameters
    ----------
    counts
        Images in units of their gain, ``(n, height, width)``.
    valid
        Same shape; False pixels belong to no group.
    single
        Pixels that are brighter than their neighbours by themselves.
    """
    counts = counts.float()  # half the time
    bright = valid & far_above(counts, _background(counts, valid))
    if not bright.any():
        return single
    mask = bright.cpu().numpy()
    groups, number = ndimage.label(mask, NEIGHBOURS)
    short = mask & (np.bincount(groups.ravel()) <= LONGEST)[groups]
    dashes = torch.from_numpy(_dashes(mask, groups, short)).to(bright.device)
    small = torch.from_numpy(short).to(bright.device) & ~dashes
    outside = highest_around(counts.masked_fill(~valid | small, -torch.inf), 3)
    blurred = (small & ~far_above(counts, outside)).cpu().numpy()
    sharp = np.bincount(groups[blurred], minlength=number + 1) == 0
    tracks = small & torch.from_numpy(sharp[groups]).to(bright.device)
    return tracks | (single & ~dashes)


def _dashes(mask: np.ndarray, groups: np.ndarray, short: np.ndarray) -> np.ndarray:
    """Pieces of bands that are steeper than a pixel in each line: groups one after another.

    ``groups`` are those of ``mask``, of which ``short`` ones may be tracks. Where many of these are
    elsewhere, that some follow each other is chance.
    """
    bands, number = ndimage.label(ndimage.binary_dilation(mask, NEIGHBOURS), NEIGHBOURS)
    sizes = np.bincount(bands[mask], minlength=number + 1)
    _, first = np.unique(groups[mask], return_index=True)
    pieces = np.bincount(bands[mask][first], minlength=number + 1)
    dashes = mask & ((sizes > LONGEST) & (pieces >= DASHES))[bands]
    apart, every = (x.sum((-2, -1), keepdims=True) for x in (short & ~dashes, short))
    return dashes & (apart <= ALONE * every)


def _background(counts: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """What remains without all that is shorter than :data:`WIDE` along both axes."""
    filled = counts.masked_fill(~valid, torch.inf)
    along_rows, along_columns = ((1, WIDE), (WIDE, 1))
    return torch.maximum(*(_opened(filled, sides) for sides in (along_rows, along_columns)))


def _opened(counts: torch.Tensor, sides: tuple[int, int]) -> torch.Tensor:
    return highest_around(-highest_around(-counts, sides), sides)


def far_above(
    counts: torch.Tensor, other: torch.Tensor, significance: float = SIGNIFICANCE
) -> torch.Tensor:
    """Whether counts exceed others far beyond what noise does."""
    high, low = (2 * (x + 3 / 8).clamp(min=0).sqrt() for x in (counts, other))
    return (high - low > significance) & (counts + 3 / 8 > BRIGHTER * (other + 3 / 8))
