"""Fill in missing values and single hot voxels from all other values."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import median_filter

__all__ = ["HOT", "filled", "hot_values"]

HOT = 40.0  # standard deviations of the channel above all around it; counts scatter by ten
TIMES = 3.0  # as large as all around it
MOST_HOT = 1e-3  # of the values; more are signal
ROUNDS = 40
SETTLED = 1e-4  # relative change of what is filled in
SPARE = 2  # directions beside those of the components


def hot_values(
    cube: torch.Tensor, valid: torch.Tensor, noise: torch.Tensor, *, most: float = MOST_HOT
) -> torch.Tensor:
    """Values ``(m, *space)`` that stick out of both their image and their spectrum, bool.

    A bright grain sticks out of the image alone, a line out of the spectrum alone. None, if they
    are more than ``most`` of all values.
    """
    values = torch.where(valid, cube, 0).cpu().numpy()
    spatial = tuple(3 if size > 2 else 1 for size in cube.shape[1:])
    # Of five and nine values the median; where neither axis has as many, nothing can stick out.
    if all(size == 1 for size in spatial) or len(cube) < 5:
        return torch.zeros_like(valid)
    above = HOT * noise.reshape(-1, *[1] * len(spatial))
    lowest = torch.where(valid, cube, torch.inf).amin(tuple(range(1, cube.ndim)), keepdim=True)
    if not bool((valid & (cube > lowest + above) & (cube > TIMES * lowest.clamp(min=0))).any()):
        return torch.zeros_like(valid)  # as nearly always, and medians take long
    around = np.maximum(
        median_filter(values, (1, *spatial)), median_filter(values, (5, *[1] * len(spatial)))
    )
    limit = torch.from_numpy(around).to(cube)
    hot = valid & (cube > limit + above) & (cube > TIMES * limit.clamp(min=0))
    return hot if float(hot.float().mean()) <= most else torch.zeros_like(valid)


def filled(
    flat: torch.Tensor, valid: torch.Tensor, noise: torch.Tensor, components: int
) -> torch.Tensor:
    """Values ``(m, t)``, with those that are not ``valid`` from the strongest directions.

    Expectation and maximisation for principal components: missing values follow from the
    directions, and the directions from the filled data.
    """
    scale = noise.clamp(min=1e-3 * float(noise.mean()) or 1.0)[:, None]
    scaled = flat / scale
    known = valid.to(scaled)
    brightness = (scaled * known).sum(0) / known.sum(0).clamp(min=1)
    typical = (scaled * known).sum(1) / (brightness * known).sum(1).clamp(min=1e-30)
    current = torch.where(valid, scaled, typical[:, None] * brightness)
    rank = min(components + SPARE, len(flat) - 1)
    for _ in range(ROUNDS):
        directions = torch.linalg.eigh(current @ current.mT)[1][:, -rank:]
        again = torch.where(valid, scaled, directions @ (directions.mT @ current))
        change, size = (again - current).norm(), again[~valid].norm()
        current = again
        if change <= SETTLED * size:
            break
    return current * scale
