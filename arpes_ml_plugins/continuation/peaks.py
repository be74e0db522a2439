"""Peaks of spectra: found from valley to valley, moved, divided, and what densities they reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import pad

__all__ = [
    "Peak",
    "Range",
    "changes",
    "divided",
    "ends",
    "moved",
    "peaks_of",
    "sharp_changes",
]

PROMINENT = 0.03  # of the largest density: what stands out less is no peak
LEAST_WEIGHT = 0.03  # of the spectrum
FAINT = 0.02  # of the height of a peak, where it ends
STEP = 0.3  # standard deviations of a peak, for the derivative of the data by its place
UNDETERMINED = 2.0  # largest over smallest possible width
MOST_SKEWED, MOST_TAILED = 2.0, 2.0
"""Of the elements of the Jacobi matrix of a peak, on and beside its diagonal: the second on it is
the third moment over the cube of the standard deviation."""
LEAST_SHARE = 0.02  # of the weight of a peak, in each of those that it is divided into


@dataclass(frozen=True)
class Peak:
    """One peak of a spectrum."""

    weights: torch.Tensor  # (n,): without what lies below the peak
    weight: float
    place: float
    deviation: float
    width: float  # area over height
    whole: float  # weight with what lies below and beside it, from valley to valley


@dataclass(frozen=True)
class Range:
    """Possible standard deviations of a peak, by how much it may be elsewhere, and its largest
    weight.
    """

    least: float
    most: float
    shift: float
    weight: float

    @property
    def undetermined(self) -> bool:
        """Whether the width may be anything, for what is to be said of it."""
        return self.most > UNDETERMINED * self.least


def peaks_of(
    spectrum: torch.Tensor, widths: torch.Tensor, omega: torch.Tensor, *, even: bool
) -> list[Peak]:
    """Peaks of one spectrum ``(n,)``, from valley to valley."""
    from scipy.signal import find_peaks

    density = spectrum / widths
    values = pad(density, (1, 1)).cpu().numpy()
    tops, found = find_peaks(values, prominence=PROMINENT * values.max())
    tops = (tops - 1).tolist()
    valleys = [a + int(density[a:b].argmin()) for a, b in pairwise(tops)]
    peaks = []
    for top, start, end, height in zip(
        tops, [0, *valleys], [*valleys, len(omega)], found["prominences"].tolist(), strict=True
    ):
        above = density - (density[top] - height)
        low, whole = above < FAINT * height, float(spectrum[start:end].sum())
        start = max([start, *(low[start:top].nonzero()[-1:, 0] + start + 1).tolist()])
        end = min([end, *(low[top:end].nonzero()[:1, 0] + top).tolist()])
        part = torch.zeros_like(density)
        part[start:end] = above[start:end] * widths[start:end]
        weight = float(part.sum())
        if weight < LEAST_WEIGHT * float(spectrum.sum()):
            continue
        place = 0.0 if even and top == 0 else float((part * omega).sum()) / weight
        variance = float((part * (omega - place).square()).sum()) / weight
        deviation = math.sqrt(max(variance, float(widths[top]) ** 2 / 12))
        peaks.append(Peak(part, weight, place, deviation, weight / height, whole))
    return peaks


def changes(peak: Peak, omega: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Changes of weights ``(n,)`` if a peak has more weight, and if it is moved: by 1, and by its
    standard deviation over its weight.
    """
    step = STEP * peak.deviation
    ahead, behind = moved(peak, omega, step=omega.new_tensor([[step], [-step]]))
    return peak.weights / peak.weight, (ahead - behind) / (2 * STEP * peak.weight)


def moved(
    peak: Peak,
    omega: torch.Tensor,
    *,
    scale: torch.Tensor | float = 1.0,
    step: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """The weights of a peak ``scale`` times as wide, moved by ``step``, ``(n,)``.

    Each weight is shared between two frequencies, so that its mean frequency is exact. For tensors
    ``(s, 1)`` of scales or steps the result is ``(s, n)``.
    """
    there = peak.weights > 0
    sizes, target = peak.weights[there], peak.place + scale * (omega[there] - peak.place) + step
    target = target.clamp(float(omega[0]), float(omega[-1]))
    above = torch.searchsorted(omega, target).clamp(1, len(omega) - 1)
    share = (omega[above] - target) / (omega[above] - omega[above - 1])
    result = target.new_zeros(*target.shape[:-1], len(omega))
    result.scatter_add_(-1, above - 1, share * sizes)
    return result.scatter_add_(-1, above, (1 - share) * sizes)


def divided(peak: Peak, omega: torch.Tensor, count: int) -> list[Peak] | None:
    """``count`` peaks, as sharp as the frequencies allow, with the first ``2 count`` moments of one
    (Gauss quadrature); None if there are none, or one of them would lie beyond the frequencies.
    """
    steps, shares = _quadrature(peak, omega, count)
    places = [peak.place + step * peak.deviation for step in steps]
    inside = float(omega[0]) < min(places) and max(places) < float(omega[-1])
    if min(shares) < LEAST_SHARE or not inside:
        return None
    part = peak.deviation / count
    width = math.sqrt(2 * math.pi) * part
    found = zip(_sharp(omega.new_tensor(places), omega), shares, places, strict=True)
    return [
        Peak(share * peak.weight * row, share * peak.weight, place, part, width, peak.weight)
        for row, share, place in found
    ]


def sharp_changes(peaks: list[Peak], omega: torch.Tensor) -> torch.Tensor:
    """:func:`changes` of several peaks that are as sharp as the frequencies allow,
    ``(2 peaks, n)``.
    """
    places = omega.new_tensor([[peak.place] for peak in peaks])
    step = omega.new_tensor([[STEP * peak.deviation] for peak in peaks])
    rows = _sharp(torch.cat([places, places - step, places + step], 1), omega)
    return torch.stack([rows[:, 0], (rows[:, 2] - rows[:, 1]) / (2 * STEP)], 1).flatten(0, 1)


def _sharp(places: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
    """Unit weight at places ``(...,)``, each on the two frequencies next to it, ``(..., n)``."""
    places = places.clamp(float(omega[0]), float(omega[-1]))
    above = torch.searchsorted(omega, places).clamp(1, len(omega) - 1)
    share = (omega[above] - places) / (omega[above] - omega[above - 1])
    result = places.new_zeros(*places.shape, len(omega))
    result.scatter_(-1, above[..., None] - 1, share[..., None])
    return result.scatter_(-1, above[..., None], 1 - share[..., None])


def _quadrature(peak: Peak, omega: torch.Tensor, count: int) -> tuple[list[float], list[float]]:
    """Places, in standard deviations from that of the peak, and shares of its weight.

    From the Jacobi matrix of the peak (Golub and Welsch, Math. Comp. 23, 221 (1969)). The moments
    of peaks with long tails are limited.
    """
    there = peak.weights > 0
    at = ((omega[there] - peak.place) / peak.deviation).cpu().numpy()
    now = (peak.weights[there] / peak.weight).sqrt().cpu().numpy()
    matrix, before, beside = np.zeros((count, count)), 0 * now, 0.0
    for row in range(count):
        if row:  # the mean is zero, also of a peak of which only one half is there
            matrix[row, row] = np.clip(at * now @ now, -MOST_SKEWED, MOST_SKEWED)
        before, now = now, at * now - matrix[row, row] * now - beside * before
        beside = float(np.linalg.norm(now))
        now = now / max(beside, 1e-30)
        if row + 1 < count:
            matrix[row, row + 1] = matrix[row + 1, row] = min(beside, MOST_TAILED)
    places, vectors = np.linalg.eigh(matrix)
    return places.tolist(), np.square(vectors[0]).tolist()


def ends(peak: Peak, found: Range, omega: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Smallest and largest density, ``(n,)``, of Gaussians of all possible widths and places."""
    distance = (omega - peak.place).abs()
    near, far = (distance - found.shift).clamp(min=0), distance + found.shift
    least = torch.stack([_gaussian(far, width) for width in (found.least, found.most)])
    # At a fixed distance the Gaussian whose standard deviation is the distance is the largest.
    largest = _gaussian(near, near.clamp(found.least, found.most))
    return peak.weight * least.amin(0), found.weight * largest


def _gaussian(distance: torch.Tensor, deviation: torch.Tensor | float) -> torch.Tensor:
    return (-(distance / deviation).square() / 2).exp() / (math.sqrt(2 * math.pi) * deviation)
