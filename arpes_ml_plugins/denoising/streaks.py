"""Find straight streaks: what a cosmic ray leaves that passes along a detector, and lines of pixels
that are stuck over a part of their length.

Whatever came through the lens is as wide as its resolution, and lights the pixels beside it; a
streak does not.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from arpes_ml_plugins.denoising.tracks import NEIGHBOURS, far_above

__all__ = ["LIT", "streaks"]

SIGNIFICANCE = 3.5  # standard deviations of one pixel; many together must agree
SHORTEST = 10  # pixels
LIT = 0.035  # of the height of a line, beside it
SHARED = 0.15, 0.6  # of the height: what a line between two pixels gives the dimmer one
SOME = 0.3  # of a streak, whose height varies
MOST = 0.8  # of the pixels of a group that are on a line, and of its length with one pixel
BROKEN = 0.7  # of its length that is bright at least
THICK = 2.2  # pixels per pixel of its length: a diagonal one may have two in each line
STRAIGHT = 1.2  # pixels off a straight line
APART = 2  # pixels, at which a streak is compared with what is around
MARGIN = 4


def streaks(counts: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mask of straight groups of pixels, longer than tracks, that light no pixel beside them.

    Parameters
    ----------
    counts
        Images in units of their gain, ``(n, height, width)``.
    valid
        Same shape; False pixels belong to no streak.

    Examples
    --------
    >>> counts = torch.full((1, 40, 40), 4.0)
    >>> counts[0, 12, 8:30] = 300
    >>> int(streaks(counts, counts > 0).sum())
    22
    """
    if min(counts.shape[-2:]) <= 2 * APART:
        return torch.zeros_like(valid)
    low = counts.float().masked_fill(~valid, -torch.inf)
    thin = valid & (_above_rows(low) | _above_rows(low.mT).mT)
    if not thin.any():
        return thin
    mask, values = thin.cpu().numpy(), low.cpu().numpy()
    groups, _ = ndimage.label(ndimage.binary_dilation(mask, NEIGHBOURS), NEIGHBOURS)
    groups *= mask
    sizes, found = np.bincount(groups.ravel()), np.zeros_like(mask)
    for label, place in enumerate(ndimage.find_objects(groups), 1):
        if place is not None and sizes[label] >= SHORTEST * BROKEN:
            image = place[0].start
            around = tuple(slice(max(s.start - MARGIN, 0), s.stop + MARGIN) for s in place[1:])
            group = groups[image][around] == label
            line = _straight(group)
            if _ends_inside(line, mask.shape[-2:], around) and _alone(values[image][around], line):
                found[image][around] |= line
    return torch.from_numpy(found).to(valid.device)


def _above_rows(counts: torch.Tensor) -> torch.Tensor:
    """Whether pixels are far above those of the rows around, beyond the next ones."""
    rows = counts.shape[-2]
    near = F.pad(counts, (0, 0, APART, APART), value=-torch.inf)
    other = torch.maximum(near[..., :rows, :], near[..., 2 * APART :, :])
    return ~other.isinf() & far_above(counts, other, SIGNIFICANCE)


def _straight(group: np.ndarray) -> np.ndarray:
    """The pixels of a group on a straight line; none if too many are not, or if it is no line."""
    places = np.argwhere(group)
    near = np.ones(len(places), dtype=bool)
    for _ in range(2):  # without others that are close
        if near.sum() < SHORTEST * BROKEN:
            return np.zeros_like(group)
        apart = places - places[near].mean(0)
        across = np.linalg.svd(apart[near], full_matrices=False)[2][1]
        near = np.abs(apart @ across) < STRAIGHT
    length = np.ptp(places[near], axis=0).max() + 1
    line = np.zeros_like(group)
    if near.mean() > MOST and length >= SHORTEST and BROKEN < near.sum() / length < THICK:
        line[tuple(places[near].T)] = True
    return line


def _ends_inside(line: np.ndarray, shape: tuple[int, ...], around: tuple[slice, ...]) -> bool:
    """Whether a line does not cross the whole image."""
    places = np.argwhere(line)
    if not len(places):
        return False
    axis = int(np.ptp(places, axis=0).argmax())
    ends = places[:, axis] + around[axis].start
    return not (ends.min() == 0 and ends.max() == shape[axis] - 1)


def _alone(values: np.ndarray, line: np.ndarray) -> bool:
    """Whether the pixels beside a line are as dark as those around, except for its own corners."""
    known = np.isfinite(values)
    near, far = (ndimage.binary_dilation(line, np.ones((3, 3)), n) for n in (1, 3))
    beside, around = values[near & ~line & known], values[far & ~near & known]
    if not (beside.size and around.size):
        return False
    level = around.mean()
    height = values[line].mean() - level
    if beside.mean() - level > LIT * height:
        return False
    second = _second(values - level, line)
    shared = (second > SHARED[0]) & (second < SHARED[1])
    return shared.mean() < SOME and (second >= SHARED[1]).mean() < MOST


def _second(heights: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Height of the brighter pixel beside the brightest one of a line, over that of the latter, in
    each row or column that the line passes.
    """
    rows, columns = np.ptp(np.argwhere(line), axis=0)
    along, seen = (heights, line) if rows < columns else (heights.T, line.T)
    passed = np.flatnonzero(seen.any(0))
    first = np.where(seen, along, -np.inf).argmax(0)[passed]
    padded = np.pad(along, ((1, 1), (0, 0)), constant_values=-np.inf)
    beside = np.maximum(padded[first, passed], padded[first + 2, passed])
    return beside / along[first, passed]
