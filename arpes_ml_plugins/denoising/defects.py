"""Find defects: hot pixels, traces of cosmic rays, and dead or far too bright lines."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.neighbourhoods import highest_of, sum_around
from arpes_ml_plugins.denoising.streaks import streaks
from arpes_ml_plugins.denoising.tracks import far_above, isolated

__all__ = ["bright_lines", "dead_lines", "hot_pixels", "like_spots"]

AGREEING = 2  # a band seen from one of its pixels has two neighbours as bright; so has a pair
DEAD = 0.05  # of its neighbours: a line darker than this is no signal
REACH = 3  # lines on either side that a dead one is compared with
ENOUGH = 30.0  # counts that a dead line must lack
STUCK = 100.0  # times its neighbours: brighter than a line of 0.8 pixels, which lights them by 1 %
BRIGHTER, LIT = 4.0, 0.02  # times its neighbours, and how much of its height these have at most
USUAL = 0.9  # of the lines at least are not stuck
NEAR, AROUND = 3, 7  # pixels, sides of the squares around a hot one that are compared
BRIGHT = 5.0  # standard deviations
TOGETHER = 3  # pixels


def hot_pixels(images: torch.Tensor, valid: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Mask of pixels far brighter than all but one of their eight neighbours, tracks and streaks.

    A band so steep that it jumps over pixels is neither.

    Parameters
    ----------
    images
        Shape ``(n, height, width)``.
    valid
        Same shape; False pixels are neither hot nor compared with.
    gain
        Variance over mean, ``(n, 1, 1)``: differences are measured in units of the noise.
    """
    counts = images / gain
    rows, columns = images.shape[-2:]
    # Mirrored: a band continues beyond the edge, so a pixel on it keeps two neighbours as bright.
    padded = F.pad(counts.masked_fill(~valid, -torch.inf)[:, None], (1, 1, 1, 1), "reflect")[:, 0]
    around = [
        padded[:, i : i + rows, j : j + columns]
        for i in range(3)
        for j in range(3)
        if (i, j) != (1, 1)
    ]
    first, *_, last = highest_of(around, AGREEING)
    # At the edge of the data there may be no second neighbour to compare with.
    rival = torch.where(last.isinf(), first, last)
    single = valid & ~rival.isinf() & far_above(counts, rival)
    return isolated(counts, valid, single) | streaks(counts, valid)


def like_spots(counts: torch.Tensor, valid: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
    """Mask of pixels that were left out as hot, but have bright neighbours, as spots have, or some
    that were left out too.

    Parameters
    ----------
    counts
        Shape ``(n, height, width)``.
    valid, used
        Masks of all pixels with data, and of those without defects; same shape.

    Examples
    --------
    >>> counts = torch.full((1, 9, 9), 4.0)
    >>> counts[0, 2, 2] = counts[0, 6, 6] = 500
    >>> counts[0, 6, 7] = counts[0, 7, 6] = 60
    >>> like_spots(counts, counts > 0, counts < 500).nonzero().tolist()
    [[0, 6, 6]]
    """
    left = valid & ~used
    whole = left.all(-1, keepdim=True) | left.all(-2, keepdim=True)
    seen, ones = torch.where(used, counts, 0), used.to(counts)
    total, number = sum_around(seen, NEAR), sum_around(ones, NEAR)
    beyond, pixels = sum_around(seen, AROUND) - total, sum_around(ones, AROUND) - number
    expected = beyond / pixels.clamp(min=1) * number
    bright = total - expected > BRIGHT * (expected.clamp(min=0) + 1).sqrt()
    left = left & ~whole
    return left & ((bright & (number > 0)) | (sum_around(left.to(counts), NEAR) > TOGETHER - 0.5))


def bright_lines(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mask of rows or columns so much brighter than those beside them, and than nearly all others,
    that a channel is stuck: a spectrum is not so sharp, and lights the lines beside.

    Examples
    --------
    >>> counts = torch.full((1, 20, 20), 4.0)
    >>> counts[0, 7], counts[0, :, 3] = 65535, 12
    >>> bright_lines(counts, counts > 0).any(-1).nonzero()[:, 1].tolist()
    [7]
    """
    return valid & (_bright_rows(images, valid) | _bright_rows(images.mT, valid.mT).mT)


def _bright_rows(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    values = torch.where(valid, images.abs(), torch.nan)
    level, mean = values.nanmedian(-1).values, values.nanmean(-1)
    typical = mean.nanquantile(USUAL, -1, keepdim=True)  # others may be dead
    known = F.pad(mean, (2, 2), value=torch.nan)
    rows = mean.shape[-1]
    second, first, after, next_one = (known[..., k : k + rows] for k in (0, 1, 3, 4))
    nearest, around = torch.stack([first, after]), torch.stack([second, next_one])
    beside = nearest.nan_to_num(0).amax(0)
    lit = (nearest - around).nanmean(0) / (level - around.nanmean(0))
    stuck = level > STUCK * torch.maximum(beside, typical)
    stuck |= (level > BRIGHTER * beside) & (lit < LIT) & (typical > 0)
    few = stuck.to(mean).mean(-1, keepdim=True) < 1 - USUAL
    return (stuck & few & (beside > 0))[..., None]


def dead_lines(images: torch.Tensor, valid: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Mask of whole rows or columns that lack the counts which the lines beside them have."""
    return _dead_rows(images, valid, gain) | _dead_rows(images.mT, valid.mT, gain).mT


def _dead_rows(images: torch.Tensor, valid: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    total = torch.where(valid, images, 0).sum(-1) / gain[..., 0]
    length = total.shape[-1]
    if length < 2 * REACH + 1:
        return torch.zeros_like(valid)
    beside = []
    for side in (-1, 1):
        shifted = torch.stack([total.roll(side * step, -1) for step in range(1, REACH + 1)])
        beside.append(shifted.median(0).values)
    expected = torch.minimum(*beside)
    dead = (total < DEAD * expected) & (expected > ENOUGH)
    dead[..., :REACH] = dead[..., -REACH:] = False
    return dead[..., None] & valid
