"""Peaks of spectra: found from valley to valley, moved, divided, and what densities they reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch.nn.functional import pad

__all__ = ["Peak", "Range", "changes", "ends", "halves", "moved", "peaks_of"]

PROMINENT = 0.03  # of the largest density: what stands out less is no peak
LEAST_WEIGHT = 0.03  # of the spectrum
FAINT = 0.02  # of the height of a peak, where it ends
STEP = 0.3  # standard deviations of a peak, for the derivative of the data by its place
UNDETERMINED = 2.0  # largest over smallest possible width
MOST_SKEWED = 2.0  # third moment over the cube of the standard deviation


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


def halves(peak: Peak, omega: torch.Tensor) -> tuple[Peak, Peak] | None:
    """Two peaks, as sharp as the frequencies allow, with the weight, mean, variance and third
    moment of one; None if one of them would lie beyond the frequencies.
    """
    skewed = float((peak.weights * (omega - peak.place) ** 3).sum()) / peak.weight
    skewed = min(max(skewed / peak.deviation**3, -MOST_SKEWED), MOST_SKEWED)
    found = []
    for side in (-1, 1):
        step = skewed / 2 + side * math.sqrt(1 + skewed**2 / 4)  # times -1: 1 over the other one
        place, share = peak.place + step * peak.deviation, 1 / (1 + step**2)
        if not float(omega[0]) < place < float(omega[-1]):
            return None
        sharp = share * moved(peak, omega, scale=0.0, step=place - peak.place)
        half = peak.deviation / 2
        found.append(
            Peak(
                sharp,
                share * peak.weight,
                place,
                half,
                math.sqrt(2 * math.pi) * half,
                peak.weight,
            )
        )
    return found[0], found[1]


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
