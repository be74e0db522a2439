"""The ends of a colour scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["colour_limits"]

BRIGHTEST = 99.8  # percentile of an image at the end of its colour scale


def colour_limits(image: ArrayLike) -> tuple[float, float]:
    """From zero, or the darkest pixels below it, to the brightest pixels, a few of which may be
    hot; from 0 to 1 if no pixel has another value than zero.
    """
    known = np.asarray(image)
    known = known[np.isfinite(known)]
    if not known.any():
        return 0.0, 1.0
    low, high = np.percentile(known, [100 - BRIGHTEST, BRIGHTEST])
    if not high > low:  # a few pixels are all that differ
        low, high = known.min(), known.max()
    return min(float(low), 0.0), max(float(high), 0.0)
