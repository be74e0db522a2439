"""The step of an evenly spaced axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["even_step"]

EVEN = 1e-3  # relative deviation of a step from their mean


def even_step(places: NDArray[np.floating]) -> float | None:
    """Mean step between the places, negative if they descend; None if steps differ or are zero."""
    steps = np.diff(places)
    mean = float(steps.mean()) if steps.size else 0.0
    even = mean != 0 and np.abs(steps - mean).max() <= EVEN * abs(mean)
    return mean if even else None
