"""Values that stand for no measured intensity, but mark missing data."""

from __future__ import annotations

import math

import torch

from arpes_ml_plugins.denoising.neighbourhoods import highest_around, sum_around

__all__ = ["mark_of"]

FEWEST = 16  # pixels
FAR = 10.0  # times the largest of all other values; saturated bands are not so far above
GAP = 1.5  # times the next step: the lowest of counts less a constant is not so far below
MORE = 3.0  # times the pixels that would be empty by chance
INSIDE = 7  # marked neighbours of eight
HALF, STRAY = 0.5, 0.002  # marked pixels that are inside, at least, and others there, at most
RIM = 3  # pixels from zeros, beyond which intensities are compared with those beside them
ALONE = 7, 9  # pixels, sides of two squares: between them nothing but zeros lies around a spot
USUAL = 2.0  # times the median intensity: the most that an electron among zeros brings
STEEP = 0.5  # of the intensity there: what is darker beside zeros falls off towards them


def mark_of(images: torch.Tensor, valid: torch.Tensor) -> float:
    """The value of ``images (n, height, width)`` that marks missing data; NaN if none does.

    It is the only negative one, or by far the largest in whole regions; or zero, in whole regions
    beside which the intensity ends, if other values are no counts: these were filtered or moved
    before the zeros were set, and what is missing then looks like the sharpest edge of all.

    Examples
    --------
    >>> counts = torch.arange(256.0).reshape(1, 16, 16)
    >>> counts[:, :4] = -999
    >>> mark_of(counts, torch.ones_like(counts, dtype=torch.bool))
    -999.0
    """
    mark = _extreme(images, valid)
    return 0.0 if math.isnan(mark) and _ends_at_zeros(images, valid) else mark


def _extreme(images: torch.Tensor, valid: torch.Tensor) -> float:
    """The lowest or highest value, if it is a mark."""
    values = images[valid]
    if len(values) < 2 * FEWEST:
        return math.nan
    lowest, highest = values.min(), values.max()
    value = lowest if lowest < 0 else highest
    others = values[values != value]
    if len(values) - len(others) < FEWEST or len(others) < FEWEST:
        return math.nan
    marked = valid & (images == value)
    if lowest < 0:
        levels = others.unique()[:2]
        if levels[0] < 0 or len(levels) < 2:
            return math.nan
        step = levels.diff()[0]
        apart = levels[0] - lowest > GAP * step
        return float(value) if apart or not _may_be_empty(images, valid, marked, step) else math.nan
    if highest < FAR * others.max():
        return math.nan
    return float(value) if _in_regions(valid, marked) else math.nan


def _ends_at_zeros(images: torch.Tensor, valid: torch.Tensor) -> bool:
    """Whether zeros fill whole regions of ``images`` that are no counts, and end abruptly."""
    zeros = valid & (images == 0)
    known = valid & ~zeros
    values = images[known]
    if min(int(zeros.sum()), len(values)) < FEWEST or not _in_regions(valid, zeros):
        return False
    if _electrons(known & (images.abs() <= USUAL * values.abs().median())):
        return False
    inside = zeros & (_around(zeros.float()) > INSIDE - 0.5)
    if (zeros & ~_within(inside, 1)).sum() > STRAY * len(values):
        return False  # it is dark, and some of these were measured
    if len(values.unique()) <= HALF * len(values):
        return False
    beside, near = (_within(zeros, distance) & known for distance in (1, RIM))
    further = _within(zeros, 2 * RIM) & known & ~near
    if int(further.sum()) < int(beside.sum()):
        return False  # spots among zeros
    return bool(images[beside].abs().mean() > STEEP * images[further].abs().mean())


def _electrons(known: torch.Tensor) -> bool:
    """Whether zeros lie around single spots of usual height: electrons in the dark, where nothing
    was marked. Brighter ones are hot pixels.
    """
    small, large = (sum_around(known.float(), side) for side in ALONE)
    return bool((known & (large - small < 0.5)).any())


def _within(marked: torch.Tensor, distance: int) -> torch.Tensor:
    """Pixels so close to those that are ``marked``."""
    return highest_around(marked.float(), 2 * distance + 1) > 0


def _may_be_empty(
    images: torch.Tensor, valid: torch.Tensor, marked: torch.Tensor, step: torch.Tensor
) -> bool:
    """Whether counts less a constant have this lowest value, where no electron was seen."""
    if _in_regions(valid, marked):
        return False
    known = valid & ~marked
    total, number = (_around(torch.where(known, x, 0)) for x in (images, torch.ones_like(images)))
    use = valid & (number > 0.5)
    expected = (total / number.clamp(min=1) - images[marked][0]) / step
    return bool((use & marked).sum() < MORE * (-expected[use]).exp().sum())


def _in_regions(valid: torch.Tensor, marked: torch.Tensor) -> bool:
    """Whether most ``marked`` pixels are among others, and hardly any other is among them."""
    inside = _around(marked.float()) > INSIDE - 0.5
    most = (inside & marked).sum() > HALF * marked.sum()
    return bool(most & ((inside & valid & ~marked).sum() < STRAY * (inside & marked).sum()))


def _around(values: torch.Tensor) -> torch.Tensor:
    """Sum over the eight neighbours of each pixel."""
    return sum_around(values, 3) - values
