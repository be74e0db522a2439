"""Peaks of spectra: found from valley to valley, moved, divided, and what densities they reach."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from torch.nn.functional import pad

__all__ = [
    "Peaks",
    "Ranges",
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
class _Rows:
    """Tensors with one row for each peak."""

    def take(self, which: torch.Tensor) -> Self:
        """Some of the peaks, by a mask or by their numbers."""
        names = (each.name for each in fields(self))
        return type(self)(*(getattr(self, name)[which] for name in names))

    def and_then(self, other: Self) -> Self:
        """Those of another as well."""
        names = (each.name for each in fields(self))
        return type(self)(*(torch.cat([getattr(self, n), getattr(other, n)]) for n in names))


@dataclass(frozen=True)
class Peaks(_Rows):
    """Peaks of several spectra, ``(...,)`` each."""

    owner: torch.Tensor  # number of the spectrum
    weights: torch.Tensor  # (..., n): without what lies below the peak
    weight: torch.Tensor
    place: torch.Tensor
    deviation: torch.Tensor
    width: torch.Tensor  # area over height
    whole: torch.Tensor  # weight with what lies below and beside it, from valley to valley
    sign: torch.Tensor  # -1 for those that are negative, whose weights are reversed in sign


@dataclass(frozen=True)
class Ranges(_Rows):
    """Possible standard deviations of peaks, by how much they may be elsewhere, and their largest
    weights, ``(...,)`` each.
    """

    least: torch.Tensor
    most: torch.Tensor
    shift: torch.Tensor
    weight: torch.Tensor

    @property
    def undetermined(self) -> torch.Tensor:
        """Whether the widths may be anything, for what is to be said of them."""
        return self.most > UNDETERMINED * self.least


def peaks_of(
    spectra: torch.Tensor,
    widths: torch.Tensor,
    omega: torch.Tensor,
    *,
    even: bool,
    signed: bool = False,
) -> Peaks:
    """Peaks of spectra ``(b, n)``, from valley to valley, one spectrum after the other.

    If they are ``signed``, those of their negative part come after those of the positive one.
    """
    total, largest = spectra.abs().sum(-1), (spectra / widths).abs().amax(-1)
    found = _peaks_of(spectra.clamp(min=0), widths, omega, largest, even=even)
    if signed:
        below = _peaks_of((-spectra).clamp(min=0), widths, omega, largest, even=even)
        found = found.and_then(replace(below, sign=-below.sign))
        found = found.take(found.owner.argsort(stable=True))
    return found.take(found.weight >= LEAST_WEIGHT * total[found.owner])


def _peaks_of(
    spectra: torch.Tensor,
    widths: torch.Tensor,
    omega: torch.Tensor,
    largest: torch.Tensor,
    *,
    even: bool,
) -> Peaks:
    """Peaks of positive spectra that stand out of the ``largest`` densities of whole ones."""
    density = spectra / widths
    least = (PROMINENT * largest).tolist()
    found = [(item, *each) for item, row in enumerate(density) for each in _tops(row, least[item])]
    numbers = torch.tensor(found, dtype=spectra.dtype, device="cpu").reshape(-1, 5).to(spectra)
    owner, top, start, end = numbers[:, :4].long().mT
    height, own, cells = (
        numbers[:, 4],
        density[owner],
        torch.arange(len(omega), device=owner.device),
    )
    between = (cells >= start[:, None]) & (cells < end[:, None])
    above = own - (own.gather(1, top[:, None]) - height[:, None])
    low, before = above < FAINT * height[:, None], cells < top[:, None]
    start = torch.where(low & before, cells + 1, start[:, None]).amax(-1)
    end = torch.where(low & ~before, cells, end[:, None]).amin(-1)
    whole = (spectra[owner] * between).sum(-1)
    weights = above * widths * ((cells >= start[:, None]) & (cells < end[:, None]))
    weight = weights.sum(-1)
    place = (weights * omega).sum(-1) / weight
    if even:
        place = torch.where(top == 0, 0.0, place)
    variance = (weights * (omega - place[:, None]).square()).sum(-1) / weight
    deviation = variance.maximum(widths[top].square() / 12).sqrt()
    sign = torch.ones_like(weight)
    return Peaks(owner, weights, weight, place, deviation, weight / height, whole, sign)


def _tops(density: torch.Tensor, least: float) -> list[tuple[float, ...]]:
    """Number of the highest cell, those of the valleys around it, and prominence of each peak."""
    from scipy.signal import find_peaks

    values = pad(density, (1, 1)).cpu().numpy()
    tops, found = find_peaks(values, prominence=max(least, np.finfo(float).tiny))
    tops = (tops - 1).tolist()
    if not tops:
        return []
    valleys = [a + int(values[a + 1 : b + 1].argmin()) for a, b in pairwise(tops)]
    limits = [0, *valleys], [*valleys, len(density)]
    return list(zip(tops, *limits, found["prominences"].tolist(), strict=True))


def changes(peaks: Peaks, omega: torch.Tensor) -> torch.Tensor:
    """Changes of weights ``(p, 2, n)`` if a peak has more weight, and if it is moved: by 1, and by
    its standard deviation over its weight.
    """
    step = STEP * peaks.deviation[:, None]
    ahead, behind = moved(peaks, omega, step=torch.cat([step, -step], 1)).unbind(1)
    both = torch.stack([peaks.weights, (ahead - behind) / (2 * STEP)], 1)
    return both / peaks.weight[:, None, None]


def moved(
    peaks: Peaks, omega: torch.Tensor, *, step: torch.Tensor, scale: torch.Tensor | float = 1.0
) -> torch.Tensor:
    """The weights of peaks ``scale`` times as wide, moved by ``step``, ``(p, s)``: ``(p, s, n)``.

    Each weight is shared between two frequencies, so that its mean frequency is exact.
    """
    there = peaks.weights > 0
    most = int(there.sum(-1).amax()) if len(there) else 0
    cells = there.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[:, None, :most]
    place = peaks.place[:, None, None]
    if isinstance(scale, torch.Tensor):
        scale = scale[..., None]
    target = place + scale * (omega[cells] - place) + step[..., None]
    target = target.clamp(float(omega[0]), float(omega[-1]))
    above = torch.searchsorted(omega, target).clamp(1, len(omega) - 1)
    share = (omega[above] - target) / (omega[above] - omega[above - 1])
    sizes = peaks.weights[:, None].gather(-1, cells)
    result = target.new_zeros(*target.shape[:-1], len(omega))
    result.scatter_add_(-1, above - 1, share * sizes)
    return result.scatter_add_(-1, above, (1 - share) * sizes)


def divided(peaks: Peaks, omega: torch.Tensor, count: int) -> tuple[Peaks, torch.Tensor]:
    """``count`` peaks in the place of each, as sharp as the frequencies allow, with its first
    ``2 count`` moments (Gauss quadrature), ``(p, count)``; and where there are such, ``(p,)``:
    not if one of them would hold next to nothing or lie beyond the frequencies.
    """
    steps, shares = _quadrature(peaks, omega, count)
    places = peaks.place[:, None] + steps * peaks.deviation[:, None]
    inside = ((places > omega[0]) & (places < omega[-1])).all(-1)
    weight = shares * peaks.weight[:, None]
    part = (peaks.deviation / count)[:, None].expand_as(places)
    sharp = Peaks(
        peaks.owner[:, None].expand_as(places),
        weight[..., None] * _sharp(places, omega),
        weight,
        places,
        part,
        math.sqrt(2 * math.pi) * part,
        peaks.weight[:, None].expand_as(places),
        peaks.sign[:, None].expand_as(places),
    )
    return sharp, inside & (shares.amin(-1) >= LEAST_SHARE)


def sharp_changes(peaks: Peaks, omega: torch.Tensor) -> torch.Tensor:
    """:func:`changes` of several peaks ``(p, count)`` that are as sharp as the frequencies allow,
    ``(p, count, 2, n)``.
    """
    step = STEP * peaks.deviation
    at, ahead, behind = _sharp(torch.stack([peaks.place + by for by in (0, step, -step)]), omega)
    return torch.stack([at, (ahead - behind) / (2 * STEP)], -2)


def _sharp(places: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
    """Unit weight at places ``(...,)``, each on the two frequencies next to it, ``(..., n)``."""
    places = places.clamp(float(omega[0]), float(omega[-1]))
    above = torch.searchsorted(omega, places).clamp(1, len(omega) - 1)
    share = (omega[above] - places) / (omega[above] - omega[above - 1])
    result = places.new_zeros(*places.shape, len(omega))
    result.scatter_(-1, above[..., None] - 1, share[..., None])
    return result.scatter_(-1, above[..., None], 1 - share[..., None])


def _quadrature(peaks: Peaks, omega: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places, in standard deviations from that of the peak, and shares of its weight,
    ``(p, count)``.

    From the Jacobi matrix of the peak (Golub and Welsch, Math. Comp. 23, 221 (1969)). The moments
    of peaks with long tails are limited.
    """
    at = (omega - peaks.place[:, None]) / peaks.deviation[:, None]
    now = (peaks.weights / peaks.weight[:, None]).sqrt()
    matrix = now.new_zeros(len(now), count, count)
    before, beside = torch.zeros_like(now), now.new_zeros(len(now), 1)
    for row in range(count):
        if row:  # the mean is zero, also of a peak of which only one half is there
            skew = (at * now.square()).sum(-1)
            matrix[:, row, row] = skew.clamp(-MOST_SKEWED, MOST_SKEWED)
        before, now = now, (at - matrix[:, row, row, None]) * now - beside * before
        beside = now.norm(dim=-1, keepdim=True)
        now = now / beside.clamp(min=1e-30)
        if row + 1 < count:
            limited = beside[:, 0].clamp(max=MOST_TAILED)
            matrix[:, row, row + 1] = matrix[:, row + 1, row] = limited
    places, vectors = torch.linalg.eigh(matrix)
    return places, vectors[:, 0].square()


def ends(peaks: Peaks, found: Ranges, omega: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Smallest and largest density ``(..., n)`` of Gaussians of all possible widths and places."""
    distance = (omega - peaks.place[..., None]).abs()
    least, most, shift = (part[..., None] for part in (found.least, found.most, found.shift))
    near, far = (distance - shift).clamp(min=0), distance + shift
    lowest = _gaussian(far, least).minimum(_gaussian(far, most))
    # At a fixed distance the Gaussian whose standard deviation is the distance is the largest.
    largest = _gaussian(near, near.clamp(least, most))
    return peaks.weight[..., None] * lowest, found.weight[..., None] * largest


def _gaussian(distance: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    return (-(distance / deviation).square() / 2).exp() / (math.sqrt(2 * math.pi) * deviation)
