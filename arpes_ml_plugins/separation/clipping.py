"""Tell values that were cut off at a largest one, as by an analogue-digital converter.

Noise leaves fewer and fewer values towards the largest one. Values that are cut off pile up there:
as many are equal to it as would be spread over a standard deviation. One in a pixel says nothing,
and neither do any if it is 1 in all pixels: spectra may have been divided by their largest value.
"""

from __future__ import annotations

import torch

__all__ = ["clipped"]

FEWEST = 20  # values
PILED = 0.5  # of the values in one standard deviation below


def clipped(values: torch.Tensor, valid: torch.Tensor, noise: float) -> int:
    """How many values ``(m, *space)`` pile up at the largest one; 0 if no more than noise explains.

    Parameters
    ----------
    valid
        Which of the values are measured.
    noise
        Standard deviation of large values.

    Examples
    --------
    >>> counts = torch.poisson(
    ...     torch.full((20, 50), 100.0), generator=torch.Generator().manual_seed(0)
    ... )
    >>> everywhere = torch.ones_like(counts, dtype=torch.bool)
    >>> clipped(counts, everywhere, 10.0), clipped(counts.clamp(max=100), everywhere, 10.0)
    (0, 520)
    """
    largest = values[valid].max()
    top, below = valid & (values == largest), valid & (values < largest)
    everywhere = bool((top.any(0) | ~(valid & (values != 0)).any(0)).all())
    if not bool(below.any()) or (everywhere and float(largest) == 1):
        return 0
    next_one = values[below].max()
    beside = below & (values >= torch.minimum(largest - noise, next_one))
    number = top.sum()
    more = (top.sum(0) - 1).clamp(min=0).sum()
    return int(number) if int(more) >= FEWEST and int(more) > PILED * int(beside.sum()) else 0
