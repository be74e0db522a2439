"""Find out how narrow, and how wide, the data allow the narrow peaks of a spectrum to be.

A peak that is narrower than the data resolve comes out too wide and too low, by an amount that they
do not show. Therefore each narrow peak of a solution is replaced by narrower and wider ones of the
same weight. Those that explain the data as well, after small changes of the weights and places of
all peaks, are possible, and the credible interval has to contain them.

Two or three such peaks that are close together come out as one, with their common variance, which
the data may show well. Their chi^2 is that of one smooth peak: what is likely does not follow from
the data. Therefore each peak that is narrower than the resolution is replaced by two sharp ones,
too, and by three if it holds nearly all of the weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from arpes_ml_plugins.continuation.observation import Observation
from arpes_ml_plugins.continuation.peaks import (
    Peak,
    Range,
    changes,
    divided,
    ends,
    moved,
    peaks_of,
    sharp_changes,
)
from arpes_ml_plugins.continuation.problem import cell_widths

__all__ = ["Possible", "possible_widths"]

AT_END = 2.0
"""Widths of a narrow peak, or standard deviations of a wider one, within which omega ends: weight
from beyond it may be there."""
NARROW = 0.17
"""Largest width of a narrow peak, its area over its height, over the geometric mean of the
resolution and the range of the frequencies. Wider peaks are so common that the interval holds for
them as it is, whether the data show their width or not."""
MERGED = 0.5
"""Largest width over the resolution of a peak that may be two. Most of those that are wider are
smooth, and the interval would be twice as wide for these."""
ALONE, MERGED_ALONE = 0.9, 1.2
"""The same if the peak holds more than a part ``ALONE`` of the weight, and it may be three, too:
data that show hardly more than one peak determine little of its shape."""
SHARPEST = 0.2
"""Least standard deviation of each of the several, over that of the one. The interval would hold
narrower ones if it were several times as wide, for all smooth peaks too."""
SCALES = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0, 3.0)
"""Standard deviations that are tried, over that of the peak in the solution."""
AS_FOUND = SCALES.index(1.0)
MOST_MISFIT = 6.0  # chi^2 that a possible width may cost
QUANTILE = 1.645  # standard deviations of a weight or place to either end of its 90 % interval
ALIKE = 1e-9  # over the largest: changes of the data that are not independent
MOST_HEAVIER = 0.5  # of the weight of a peak: what it may gain


@dataclass(frozen=True)
class Possible:
    """Credible intervals ``(b, n)`` that hold peaks of all possible widths, and the part of the
    weight that is in peaks whose width is not determined, ``(b,)``.
    """

    lower: torch.Tensor
    upper: torch.Tensor
    part: torch.Tensor


def possible_widths(
    seen: Observation,
    weights: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
    resolution: torch.Tensor,
    parts: int = 1,
) -> Possible:
    """Widen the intervals of positive solutions ``(b, n)`` at peaks that may have other widths.

    Parameters
    ----------
    weights, lower, upper, resolution
        Of the solutions, ``(b, n)``; the ends of the interval are densities.
    parts
        Number of parts into which the cells of the user are divided. No peak is taken to be
        narrower than one of these cells.
    """
    omega, kernel = seen.problem.omega, seen.kernel()
    widths, span = cell_widths(omega), 2 * seen.problem.half_width
    residual = seen.data - kernel.data(weights)
    lower, upper, part = lower.clone(), upper.clone(), weights.new_zeros(len(weights))
    beyond = seen.problem.beyond()
    copies = 2 if seen.problem.symmetric else 1  # a peak and its mirror image look the same
    for item, spectrum in enumerate(weights):
        peaks = peaks_of(spectrum, widths, omega, even=seen.problem.even)
        trial = _Trial(kernel.rows(item), residual[item], omega, peaks)
        for number, peak in enumerate(peaks):
            at = int((omega - peak.place).abs().argmin())
            resolved = float(resolution[item, at]) / copies
            share = peak.weight / float(spectrum.sum())
            narrow = peak.width <= NARROW * math.sqrt(resolved * span)
            merged = (MERGED_ALONE if share > ALONE else MERGED) * resolved
            if not narrow and peak.width > merged:
                continue
            reach = AT_END * (peak.width if narrow else peak.deviation)
            if bool(beyond[(omega - peak.place).abs() < reach].any()):
                continue
            middle = abs(peak.place) < peak.deviation
            size = _Size(1 if middle else copies, parts * float(widths[at]))
            rest = (spectrum - peak.weights).clamp(min=0) / widths
            counts = (2, 3) if share > ALONE else (2,)
            possible = [each for count in counts for each in trial.several(number, size, count)]
            if possible:
                lower[item] = lower[item].minimum(rest)
            if narrow:
                found = trial.widths(number, size)
                part[item] += found.undetermined * share
                below, above = ends(peak, found, omega)
                lower[item] = lower[item].minimum(rest + below)
                upper[item] = upper[item].maximum(rest + above)
            for sharp, found in possible:
                upper[item] = upper[item].maximum(rest + ends(sharp, found, omega)[1])
    return Possible(lower, upper, part)


@dataclass(frozen=True)
class _Size:
    copies: int
    """Number of such peaks that change together."""
    cell: float  # width of the user's cells

    @property
    def narrowest(self) -> float:
        """Standard deviation of a peak that is as high as all of its weight in one cell."""
        return self.cell / math.sqrt(2 * math.pi)


class _Trial:
    """Other peaks in the place of those of one solution, against its data.

    Parameters
    ----------
    data
        From weights ``(..., n)`` to whitened data ``(..., m)``.
    residual
        Whitened data that the solution leaves, ``(m,)``.
    """

    def __init__(
        self,
        data: Callable[[torch.Tensor], torch.Tensor],
        residual: torch.Tensor,
        omega: torch.Tensor,
        peaks: list[Peak],
    ) -> None:
        self.data, self.residual, self.omega, self.peaks = data, residual, omega, peaks

    @cached_property
    def free(self) -> torch.Tensor:
        """Changes of the data with the weight and the place of each peak, ``(2 peaks, m)``."""
        rows = [row for each in self.peaks for row in changes(each, self.omega)]
        return self.data(torch.stack(rows))

    @cached_property
    def directions(self) -> tuple[torch.Tensor, torch.Tensor]:
        return _directions(self.free.mT)

    def widths(self, number: int, size: _Size) -> Range:
        """Widths of one of the peaks for which others of its weight explain the data as well."""
        peak, omega = self.peaks[number], self.omega
        directions, inverse = self.directions
        others = _with_widths(peak, omega)
        left = self.residual - size.copies * self.data(others - peak.weights)  # (scales, m)
        along = left @ directions
        chi2 = (left - along @ directions.mT).square().sum(-1)
        excess = (chi2 - chi2[AS_FOUND]).tolist()
        low, first = _last_possible(excess[AS_FOUND::-1], SCALES[AS_FOUND::-1])
        high, _ = _last_possible(excess[AS_FOUND:], SCALES[AS_FOUND:])
        own = inverse[2 * number : 2 * number + 2]
        errors = QUANTILE * own.norm(dim=-1) + (own @ along[AS_FOUND - first]).abs()
        heavier, shift = errors.tolist()
        least, most = (max(scale * peak.deviation, size.narrowest) for scale in (low, high))
        largest = min(peak.whole + heavier, (1 + MOST_HEAVIER) * peak.weight)
        shift = min(shift / peak.weight, 1.0) * peak.deviation
        return Range(least, most, shift + size.cell / 2, largest)

    def several(self, number: int, size: _Size, count: int) -> list[tuple[Peak, Range]]:
        """Sharp peaks in the place of one that explain the data as well; none if they do not.

        Weights and places of all are free, within their errors.
        """
        peak = self.peaks[number]
        sharp = divided(peak, self.omega, count)
        if sharp is None:
            return []
        others = torch.cat([self.free[: 2 * number], self.free[2 * number + 2 :]])
        free = self.data(sharp_changes(sharp, self.omega))
        directions, inverse = _directions(torch.cat([free, others]).mT)
        change = torch.stack([each.weights for each in sharp]).sum(0) - peak.weights
        left = self.residual - size.copies * self.data(change)
        along = left @ directions
        if _rest(left, directions) > _rest(self.residual, self.directions[0]) + MOST_MISFIT:
            return []
        own = inverse[: 2 * count].unflatten(0, (count, 2))
        least = max(size.narrowest, SHARPEST * peak.deviation)
        changed = zip(sharp, own @ along, own.norm(dim=-1), strict=True)
        return [_relaxed(each, size.cell, least, *sizes) for each, *sizes in changed]


def _relaxed(
    half: Peak, cell: float, least: float, change: torch.Tensor, error: torch.Tensor
) -> tuple[Peak, Range]:
    """One of two peaks where the data want it, and its possible widths.

    Parameters
    ----------
    change, error
        Of its weight, and of its place in units of weight, ``(2,)``.
    """
    heavier, by = change.tolist()
    more, shift = error.tolist()
    place = half.place + min(max(by / half.weight, -1.0), 1.0) * half.deviation
    shift = min(shift / half.weight, 1.0) * half.deviation
    largest = min(max(half.weight + heavier, 0.0) + more, half.whole)
    found = Range(least, max(half.deviation, least), shift + cell / 2, largest)
    return replace(half, place=place), found


def _rest(left: torch.Tensor, directions: torch.Tensor) -> float:
    """Squared length beside orthonormal ``directions``."""
    return float((left - directions @ (left @ directions)).square().sum())


def _directions(changes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal directions ``(m, r)`` of changes of the data ``(m, c)``, and the matrix from
    coordinates there to sizes of the changes, ``(c, r)``.
    """
    u, s, vt = torch.linalg.svd(changes, full_matrices=False)
    kept = s > ALIKE * s[0]
    return u[:, kept], vt[kept].mT / s[kept]


def _last_possible(excess: list[float], scales: Sequence[float]) -> tuple[float, int]:
    """The scale up to which chi^2 is not too large, and the number of the last one before it."""
    last = 0
    while last + 1 < len(scales) and excess[last + 1] < MOST_MISFIT:
        last += 1
    if last + 1 == len(scales):
        return scales[last], last
    room, rise = MOST_MISFIT - excess[last], excess[last + 1] - excess[last]
    return scales[last] + math.sqrt(room / rise) * (scales[last + 1] - scales[last]), last


def _with_widths(peak: Peak, omega: torch.Tensor) -> torch.Tensor:
    """The weights of a peak with all ``SCALES``, ``(scales, n)``; wider ones are sums of two."""
    steps = [math.sqrt(max(scale**2 - 1, 0.0)) * peak.deviation for scale in SCALES]
    scales = omega.new_tensor([min(scale, 1.0) for scale in SCALES])[:, None]
    step = omega.new_tensor(steps)[:, None]
    both = moved(peak, omega, scale=scales.repeat(2, 1), step=torch.cat([step, -step]))
    return both.unflatten(0, (2, -1)).mean(0)
