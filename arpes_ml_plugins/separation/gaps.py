"""Fill in missing values and single hot voxels from all other values."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import median_filter

from arpes_ml_plugins.separation.least_squares import weighted_sources

__all__ = ["HOT", "filled", "hot_values", "measured_share"]

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
    are more than ``most`` of all values. ``noise`` is that of channels ``(m,)`` or of every value.
    """
    values = torch.where(valid, cube, 0).cpu().numpy()
    spatial = tuple(3 if size > 2 else 1 for size in cube.shape[1:])
    # Of five and nine values the median; where neither axis has as many, nothing can stick out.
    if all(size == 1 for size in spatial) or len(cube) < 5:
        return torch.zeros_like(valid)
    above = HOT * (noise if noise.ndim > 1 else noise.reshape(-1, *[1] * len(spatial)))
    lowest = torch.where(valid, cube, torch.inf).amin(tuple(range(1, cube.ndim)), keepdim=True)
    if not bool((valid & (cube > lowest + above) & (cube > TIMES * lowest.clamp(min=0))).any()):
        return torch.zeros_like(valid)  # as nearly always, and medians take long
    around = np.maximum(
        median_filter(values, (1, *spatial)), median_filter(values, (5, *[1] * len(spatial)))
    )
    limit = torch.from_numpy(around).to(cube)
    hot = valid & (cube > limit + above) & (cube > TIMES * limit.clamp(min=0))
    if bool(hot.any()) and not bool(valid.all()):  # zeros in gaps are no surroundings
        at = hot.nonzero()
        around = torch.maximum(
            _median_around(cube, valid, at, (1, *spatial)),
            _median_around(cube, valid, at, (5, *[1] * len(spatial))),
        )
        found = cube[hot]
        hot[hot.clone()] = (found > around + above.expand_as(cube)[hot]) & (
            found > TIMES * around.clamp(min=0)
        )
    return hot if float(hot.float().mean()) <= most else torch.zeros_like(valid)


def measured_share(seen: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Of what shows each channel of each component, how much was measured, ``(m, n)``.

    ``seen (m, t)``: values that were not filled in. A pixel shows a spectrum by the square of its
    map ``(n, t)``.
    """
    weight = maps.square()
    return seen.to(maps) @ weight.mT / weight.sum(1).clamp(min=1e-300)


def _median_around(
    cube: torch.Tensor, valid: torch.Tensor, at: torch.Tensor, size: tuple[int, ...]
) -> torch.Tensor:
    """Of the ``valid`` values in a window around each position ``at (h, ndim)``, its own included;
    infinite, if it is alone. An even number has the higher one of its two in the middle.
    """
    reach = [torch.arange(s, device=at.device) - s // 2 for s in size]
    window = at[:, None] + torch.cartesian_prod(*reach)
    last = torch.tensor(cube.shape, device=at.device) - 1
    inside = ((window >= 0) & (window <= last)).all(-1)
    place = window.clamp(min=0).minimum(last).unbind(-1)
    used = inside & valid[place]
    ordered = torch.where(used, cube[place], float("inf")).sort(1).values
    number = used.sum(1, keepdim=True)
    median = ordered.gather(1, (number // 2).clamp(max=ordered.shape[1] - 1))[:, 0]
    return torch.where(number[:, 0] > 1, median, float("inf"))


def filled(
    flat: torch.Tensor, valid: torch.Tensor, noise: torch.Tensor, components: int
) -> torch.Tensor:
    """Values ``(m, t)``, with those that are not ``valid`` from the strongest directions.

    Expectation and maximisation for probabilistic principal components [1]_: missing values follow
    from the directions and the measured values of their pixel, the directions from the filled data.
    Directions are trusted as far as their strength exceeds the noise. Otherwise one of the spare
    directions may be a single channel, in which any value that was filled in explains itself.

    References
    ----------
    .. [1] M. E. Tipping and C. M. Bishop, J. R. Stat. Soc. B 61, 611 (1999).
    """
    scale = noise.clamp(min=1e-3 * float(noise.mean()) or 1.0)[:, None]
    scaled = flat / scale
    known = valid.to(scaled)
    brightness = (scaled * known).sum(0) / known.sum(0).clamp(min=1)
    typical = (scaled * known).sum(1) / (brightness * known).sum(1).clamp(min=1e-30)
    current = torch.where(valid, scaled, typical[:, None] * brightness)
    rank = min(components + SPARE, len(flat) - 1)
    for _ in range(ROUNDS):
        strength, directions = torch.linalg.eigh(current @ current.mT / current.shape[1])
        # Filled values hold no noise.
        rest = strength[:-rank].mean() / known.mean().clamp(min=1e-3)
        rest = rest.clamp(min=1e-12 * float(strength[-1]) or 1e-300)
        precision = rest / (strength[-rank:] - rest).clamp(min=1e-9 * rest)
        scores = _expected(scaled, known, directions[:, -rank:], precision)
        again = torch.where(valid, scaled, directions[:, -rank:] @ scores)
        change, size = (again - current).norm(), again[~valid].norm()
        current = again
        if change <= SETTLED * size:
            break
    return torch.where(valid, flat, current * scale)


def _expected(
    data: torch.Tensor, known: torch.Tensor, directions: torch.Tensor, precision: torch.Tensor
) -> torch.Tensor:
    """Scores ``(rank, t)`` of pixels, given what is ``known`` (1 or 0) of their ``data (m, t)``.

    The expectation that scores are zero, with ``precision (rank,)``, counts as further data.
    """
    more = len(precision), data.shape[1]
    everything = torch.cat([data * known, data.new_zeros(more)])
    weights = torch.cat([known, known.new_ones(more)])
    return weighted_sources(everything, weights, torch.cat([directions, precision.sqrt().diag()]))[
        0
    ]
