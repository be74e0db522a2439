"""Find out how narrow, and how wide, the data allow the narrow peaks of a spectrum to be.

A peak that is narrower than the data resolve comes out too wide and too low, by an amount that they
do not show. Therefore each narrow peak of a solution is replaced by narrower and wider ones of the
same weight. Those that explain the data as well, after small changes of the weights and places of
all peaks, are possible, and the credible interval has to contain them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch.nn.functional import pad

from arpes_ml_plugins.continuation.observation import Observation
from arpes_ml_plugins.continuation.problem import cell_widths

__all__ = ["Possible", "possible_widths"]

PROMINENT = 0.03  # of the largest density: what stands out less is no peak
LEAST_WEIGHT = 0.03  # of the spectrum
FAINT = 0.02  # of the height of a peak, where it ends
AT_END = 2.0  # widths of a peak, within which omega ends: weight from beyond it may be there
NARROW = 0.17
"""Largest width of a narrow peak, its area over its height, over the geometric mean of the
resolution and the range of the frequencies. Wider peaks are so common that the interval holds for
them as it is, whether the data show their width or not."""
SCALES = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0, 3.0)
"""Standard deviations that are tried, over that of the peak in the solution."""
AS_FOUND = SCALES.index(1.0)
MOST_MISFIT = 6.0  # chi^2 that a possible width may cost
UNDETERMINED = 2.0  # largest over smallest possible width
STEP = 0.3  # standard deviations of a peak, for the derivative of the data by its place
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


@dataclass(frozen=True)
class _Peak:
    weights: torch.Tensor  # (n,): without what lies below the peak
    weight: float
    place: float
    deviation: float
    width: float  # area over height
    whole: float  # weight with what lies below and beside it, from valley to valley


@dataclass(frozen=True)
class _Range:
    """Possible standard deviations of a peak, by how much it may be elsewhere, and its largest
    weight.
    """

    least: float
    most: float
    shift: float
    weight: float


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
        peaks = _peaks(spectrum, widths, omega, even=seen.problem.even)
        total = float(spectrum.sum())
        for number, peak in enumerate(peaks):
            at = int((omega - peak.place).abs().argmin())
            resolved = float(resolution[item, at]) / copies
            if peak.width > NARROW * math.sqrt(resolved * span):
                continue
            if bool(beyond[(omega - peak.place).abs() < AT_END * peak.width].any()):
                continue
            alone = abs(peak.place) < peak.deviation
            trial = _Trial(kernel.rows(item), residual[item], omega, 1 if alone else copies)
            found = trial.widths(peaks, number, parts * float(widths[at]))
            if found.most > UNDETERMINED * found.least:
                part[item] += peak.weight / total
            rest = (spectrum - peak.weights).clamp(min=0) / widths
            below, above = _ends(peak, found, omega)
            lower[item] = lower[item].minimum(rest + below)
            upper[item] = upper[item].maximum(rest + above)
    return Possible(lower, upper, part)


def _peaks(
    spectrum: torch.Tensor, widths: torch.Tensor, omega: torch.Tensor, *, even: bool
) -> list[_Peak]:
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
        peaks.append(_Peak(part, weight, place, deviation, weight / height, whole))
    return peaks


@dataclass(frozen=True)
class _Trial:
    """Other widths of peaks, against the data of one spectrum."""

    data: Callable[[torch.Tensor], torch.Tensor]
    """From weights ``(..., n)`` to whitened data ``(..., m)``."""
    residual: torch.Tensor  # (m,): whitened data that the solution leaves
    omega: torch.Tensor
    copies: int
    """Number of such peaks that change together."""

    def widths(self, peaks: list[_Peak], number: int, cell: float) -> _Range:
        """Widths of one of the ``peaks`` for which others of its weight explain the data as well.

        Parameters
        ----------
        cell
            Width of the user's cells.
        """
        peak, omega = peaks[number], self.omega
        free = self.data(torch.stack([row for each in peaks for row in _changes(each, omega)]))
        directions, inverse = _directions(free.mT)
        others = torch.stack([_with_width(peak, scale, omega) for scale in SCALES])
        left = self.residual - self.copies * self.data(others - peak.weights)  # (scales, m)
        along = left @ directions
        chi2 = (left - along @ directions.mT).square().sum(-1)
        excess = (chi2 - chi2[AS_FOUND]).tolist()
        low, first = _last_possible(excess[AS_FOUND::-1], SCALES[AS_FOUND::-1])
        high, _ = _last_possible(excess[AS_FOUND:], SCALES[AS_FOUND:])
        own = inverse[2 * number : 2 * number + 2]
        errors = QUANTILE * own.norm(dim=-1) + (own @ along[AS_FOUND - first]).abs()
        heavier, shift = errors.tolist()
        narrowest = cell / math.sqrt(2 * math.pi)  # as high as all of its weight in one cell
        least, most = (max(scale * peak.deviation, narrowest) for scale in (low, high))
        largest = min(peak.whole + heavier, (1 + MOST_HEAVIER) * peak.weight)
        shift = min(shift / peak.weight, 1.0) * peak.deviation
        return _Range(least, most, shift + cell / 2, largest)


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


def _changes(peak: _Peak, omega: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Changes of weights ``(n,)`` if a peak has more weight, and if it is moved: by 1, and by its
    standard deviation over its weight.
    """
    step = STEP * peak.deviation
    ahead, behind = (_moved(peak, omega, step=way) for way in (step, -step))
    return peak.weights / peak.weight, (ahead - behind) / (2 * STEP * peak.weight)


def _with_width(peak: _Peak, scale: float, omega: torch.Tensor) -> torch.Tensor:
    """The weights of a peak ``scale`` times as wide, ``(n,)``."""
    if scale <= 1:
        return _moved(peak, omega, scale=scale)
    step = math.sqrt(scale**2 - 1) * peak.deviation
    return (_moved(peak, omega, step=step) + _moved(peak, omega, step=-step)) / 2


def _moved(
    peak: _Peak, omega: torch.Tensor, *, scale: float = 1.0, step: float = 0.0
) -> torch.Tensor:
    """The weights of a peak ``scale`` times as wide, moved by ``step``, ``(n,)``.

    Each weight is shared between two frequencies, so that its mean frequency is exact.
    """
    there = peak.weights > 0
    sizes, target = peak.weights[there], peak.place + scale * (omega[there] - peak.place) + step
    target = target.clamp(float(omega[0]), float(omega[-1]))
    above = torch.searchsorted(omega, target).clamp(1, len(omega) - 1)
    share = (omega[above] - target) / (omega[above] - omega[above - 1])
    moved = torch.zeros_like(peak.weights).index_add(0, above - 1, share * sizes)
    return moved.index_add(0, above, (1 - share) * sizes)


def _ends(peak: _Peak, found: _Range, omega: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Smallest and largest density, ``(n,)``, of Gaussians of all possible widths and places."""
    distance = (omega - peak.place).abs()
    near, far = (distance - found.shift).clamp(min=0), distance + found.shift
    ends = torch.stack([_gaussian(far, width) for width in (found.least, found.most)])
    # At a fixed distance the Gaussian whose standard deviation is the distance is the largest.
    largest = _gaussian(near, near.clamp(found.least, found.most))
    return peak.weight * ends.amin(0), found.weight * largest


def _gaussian(distance: torch.Tensor, deviation: torch.Tensor | float) -> torch.Tensor:
    return (-(distance / deviation).square() / 2).exp() / (math.sqrt(2 * math.pi) * deviation)
