"""Find defects: hot pixels, tracks of cosmic rays, and dead lines."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.tracks import far_above, isolated

__all__ = ["dead_lines", "hot_pixels"]

AGREEING = 2  # a band seen from one of its pixels has two neighbours as bright; so has a pair
DEAD = 0.05  # of its neighbours: a line darker than this is no signal
REACH = 3  # lines on either side that a dead one is compared with
ENOUGH = 30.0  # counts that a dead line must lack


def hot_pixels(images: torch.Tensor, valid: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Mask of pixels far brighter than all but one of their eight neighbours, and of tracks.

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
    around = torch.stack(
        [
            padded[:, i : i + rows, j : j + columns]
            for i in range(3)
            for j in range(3)
            if (i, j) != (1, 1)
        ]
    )
    ranked = around.topk(AGREEING, dim=0).values
    # At the edge of the data there may be no second neighbour to compare with.
    rival = torch.where(ranked[-1].isinf(), ranked[0], ranked[-1])
    return isolated(counts, valid, valid & ~rival.isinf() & far_above(counts, rival))


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
