"""Find out how narrow, and how wide, the data allow the narrow peaks of a spectrum to be.

A peak that is narrower than the data resolve comes out too wide and too low, by an amount that they
do not show. Therefore each narrow peak of a solution is replaced by narrower and wider ones of the
same weight. Those that explain the data as well, after small changes of the weights and places of
all peaks, are possible, and the credible interval has to contain them.

Two or three such peaks that are close together come out as one, with their common variance, which
the data may show well. Their chi^2 is that of one smooth peak: what is likely does not follow from
the data. Therefore each peak that is narrower than the resolution is replaced by two sharp ones,
too, and by three if it holds nearly all of the weight.

Spectra of either sign have no such test: a narrower peak and small structure of both signs beside
it explain the same data. A peak that is no wider than a delta function would come out may be one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.continuation.factored import Factored, rowwise
from arpes_ml_plugins.continuation.observation import Observation
from arpes_ml_plugins.continuation.peaks import (
    Peaks,
    Ranges,
    changes,
    divided,
    ends,
    moved,
    peaks_of,
    sharp_changes,
)
from arpes_ml_plugins.continuation.problem import Problem, cell_widths

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
CERTAIN = 3.0  # standard errors of the weight of a peak
QUANTILE = 1.645  # standard deviations of a weight or place to either end of its 90 % interval
ALIKE = 1e-9  # over the largest: changes of the data that are not independent
MOST_HEAVIER = 0.5  # of the weight of a peak: what it may gain
AT_ONCE = 100  # spectra, which bounds the memory


@dataclass(frozen=True)
class Possible:
    """Credible intervals ``(b, n)`` that hold peaks of all possible widths, and the parts of the
    weight that are in peaks whose width is not determined, and in one at zero that the data do not
    tell from a delta function, ``(b,)`` each.
    """

    lower: torch.Tensor
    upper: torch.Tensor
    part: torch.Tensor
    at_zero: torch.Tensor


def possible_widths(
    seen: Observation,
    weights: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
    resolution: torch.Tensor,
    parts: int = 1,
) -> Possible:
    """Widen the intervals of solutions ``(b, n)`` at peaks that may have other widths.

    Parameters
    ----------
    weights, lower, upper, resolution
        Of the solutions, ``(b, n)``; the ends of the interval are densities.
    parts
        Number of parts into which the cells of the user are divided. No peak is taken to be
        narrower than one of these cells.
    """
    kernel = seen.kernel()
    residual = seen.data - kernel.data(weights)
    found = []
    for which in torch.arange(len(weights), device=weights.device).split(AT_ONCE):
        rows = (each[which] for each in (residual, weights, lower, upper, resolution))
        found.append(_possible(seen.problem, parts, kernel.take(which), *rows))
    return Possible(*(torch.cat(column) for column in zip(*found, strict=True)))


def _possible(
    problem: Problem,
    parts: int,
    kernel: Factored,
    residual: torch.Tensor,
    weights: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
    resolution: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """The fields of :class:`Possible` for a few spectra."""
    omega, widths = problem.omega, cell_widths(problem.omega)
    peaks = peaks_of(weights, widths, omega, even=problem.even, signed=problem.signed)
    away = (omega - peaks.place[:, None]).abs()
    at, owner = away.argmin(-1), peaks.owner
    copies = 2 if problem.symmetric else 1  # a peak and its mirror image look the same
    resolved = resolution[owner, at] / copies
    central = peaks.place.abs() < peaks.deviation
    together = torch.where(central, 1, copies)
    share = peaks.weight / weights.abs().sum(-1)[owner]
    alone = together * share > ALONE
    most = NARROW * (resolved * 2 * problem.half_width).sqrt()
    narrow = peaks.width <= (resolved if problem.signed else most)
    merged = peaks.width <= torch.where(alone, MERGED_ALONE, MERGED) * resolved
    reach = AT_END * torch.where(narrow, peaks.width, peaks.deviation)
    at_end = ((away < reach[:, None]) & problem.beyond()).any(-1)
    tried = (narrow | merged) & ~at_end
    trial = _Trial(kernel, residual, omega, peaks, together, parts * widths[at])
    narrow = narrow & (trial.certain() if problem.signed else tried)

    rest = (peaks.sign[:, None] * weights[owner] - peaks.weights) / widths
    rest = rest if problem.signed else rest.clamp(min=0)
    interval = _Interval(lower, upper)
    for count, where in ((2, tried), (3, tried & alone)):
        several, sharp, found = trial.several(where, count)
        above = ends(sharp, found, omega)[1].amax(1)
        interval.contain(peaks.take(several), rest[several], rest[several] + above)
    found = trial.widths(narrow)
    if problem.signed:
        found = replace(found, least=trial.narrowest[narrow])
    below, above = ends(peaks.take(narrow), found, omega)
    interval.contain(peaks.take(narrow), rest[narrow] + below, rest[narrow] + above)
    part = weights.new_zeros(len(weights))
    part = part.index_add(0, owner[narrow], found.undetermined * share[narrow])
    spike = central & (peaks.width < resolution[owner, at])
    at_zero = torch.zeros_like(part).index_add(0, owner, spike * share)
    return interval.lower, interval.upper, part, at_zero


@dataclass
class _Interval:
    """Ends ``(b, n)`` that are moved outwards."""

    lower: torch.Tensor
    upper: torch.Tensor

    def contain(self, peaks: Peaks, least: torch.Tensor, most: torch.Tensor) -> None:
        """Contain the densities ``(p, n)`` of spectra with other peaks; of negative ones reversed
        in sign.
        """
        up = peaks.sign[:, None] > 0
        owner = peaks.owner[:, None].expand_as(least)
        below, above = torch.where(up, least, -most), torch.where(up, most, -least)
        self.lower = self.lower.scatter_reduce(0, owner, below, "amin")
        self.upper = self.upper.scatter_reduce(0, owner, above, "amax")


class _Trial:
    """Other peaks in the place of those of solutions, against their data.

    Parameters
    ----------
    residual
        Whitened data that the solutions leave, ``(b, m)``.
    copies
        Numbers of such peaks that change together, ``(p,)``.
    cell
        Widths of the user's cells, ``(p,)``.
    """

    def __init__(
        self,
        kernel: Factored,
        residual: torch.Tensor,
        omega: torch.Tensor,
        peaks: Peaks,
        copies: torch.Tensor,
        cell: torch.Tensor,
    ) -> None:
        self.kernel, self.residual, self.omega = kernel, residual, omega
        self.peaks, self.copies, self.cell = peaks, copies, cell
        # Standard deviation of a peak that is as high as all of its weight in one cell.
        self.narrowest = cell / math.sqrt(2 * math.pi)
        numbers = torch.bincount(peaks.owner, minlength=len(residual))
        every = torch.arange(len(peaks.owner), device=peaks.owner.device)
        self.number = every - (numbers.cumsum(0) - numbers)[peaks.owner]  # within its spectrum
        most = int(numbers.amax().clamp(min=1))
        rows = kernel.data_of(changes(peaks, omega), peaks.owner)
        # Changes of the data with the weight and the place of each peak, (b, most, 2, m).
        self.free = residual.new_zeros(len(residual), most, 2, residual.shape[1])
        self.free[peaks.owner, self.number] = rows
        self.directions, inverse = _directions(self.free.flatten(1, 2).mT)
        self.inverse = inverse.unflatten(1, (most, 2))

    def certain(self) -> torch.Tensor:
        """Whether peaks have a weight beyond its error, ``(p,)`` bool; noise makes others."""
        error = self.inverse[self.peaks.owner, self.number, 0].norm(dim=-1)
        return self.peaks.weight > CERTAIN * error

    def widths(self, which: torch.Tensor) -> Ranges:
        """Widths of some peaks for which others of their weight explain the data as well."""
        peaks, narrowest = self.peaks.take(which), self.narrowest[which]
        directions = self.directions[peaks.owner]
        others = _with_widths(peaks, self.omega) - peaks.weights[:, None]
        left = self._left(which, others)  # (c, scales, m)
        along = left @ directions
        chi2 = (left - along @ directions.mT).square().sum(-1)
        excess = chi2 - chi2[:, AS_FOUND, None]
        low, down = _last_possible(excess[:, : AS_FOUND + 1].flip(-1), SCALES[AS_FOUND::-1])
        high, _ = _last_possible(excess[:, AS_FOUND:], SCALES[AS_FOUND:])
        own = self.inverse[peaks.owner, self.number[which]]  # (c, 2, r)
        first = along[torch.arange(len(own), device=own.device), AS_FOUND - down]
        errors = QUANTILE * own.norm(dim=-1) + (own @ first[..., None])[..., 0].abs()
        heavier, shift = errors.unbind(-1)
        least, most = ((scale * peaks.deviation).maximum(narrowest) for scale in (low, high))
        largest = (peaks.whole + heavier).minimum((1 + MOST_HEAVIER) * peaks.weight)
        shift = (shift / peaks.weight).clamp(max=1) * peaks.deviation
        return Ranges(least, most, shift + self.cell[which] / 2, largest)

    def several(self, which: torch.Tensor, count: int) -> tuple[torch.Tensor, Peaks, Ranges]:
        """Sharp peaks in the place of one that explain the data as well, and for which of the peaks
        there are such.

        Weights and places of all are free, within their errors.
        """
        sharp, there = divided(self.peaks.take(which), self.omega, count)
        sharp, which = sharp.take(there), torch.nonzero(which)[:, 0][there]
        owner = self.peaks.owner[which]
        others = self.free[owner].clone()
        others[torch.arange(len(owner), device=owner.device), self.number[which]] = 0
        free = self.kernel.data_of(sharp_changes(sharp, self.omega).flatten(1, 2), owner)
        directions, inverse = _directions(torch.cat([free, others.flatten(1, 2)], 1).mT)
        change = sharp.weights.sum(1) - self.peaks.weights[which]
        left = self._left(which, change[:, None])[:, 0]
        along = rowwise(left, directions)
        before = _rest(self.residual, self.directions)[owner]
        kept = _rest(left, directions) <= before + MOST_MISFIT
        own = inverse[:, : 2 * count].unflatten(1, (count, 2))
        sizes = (own @ along[:, None, :, None])[..., 0], own.norm(dim=-1)
        least = self.narrowest[which].maximum(SHARPEST * self.peaks.deviation[which])
        changed, found = _relaxed(sharp, self.cell[which, None], least[:, None], *sizes)
        return which[kept], changed.take(kept), found.take(kept)

    def _left(self, which: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Data left ``(c, s, m)`` after changes of the weights ``(c, s, n)`` of some peaks."""
        owner = self.peaks.owner[which]
        factor = (self.copies * self.peaks.sign)[which, None, None]
        return self.residual[owner][:, None] - factor * self.kernel.data_of(change, owner)


def _relaxed(
    sharp: Peaks, cell: torch.Tensor, least: torch.Tensor, change: torch.Tensor, error: torch.Tensor
) -> tuple[Peaks, Ranges]:
    """Sharp peaks ``(c, count)`` where the data want them, and their possible widths.

    Parameters
    ----------
    change, error
        Of their weights, and of their places in units of weight, ``(c, count, 2)``.
    """
    (heavier, by), (more, shift) = change.unbind(-1), error.unbind(-1)
    place = sharp.place + (by / sharp.weight).clamp(-1, 1) * sharp.deviation
    shift = (shift / sharp.weight).clamp(max=1) * sharp.deviation
    largest = ((sharp.weight + heavier).clamp(min=0) + more).minimum(sharp.whole)
    least = least.expand_as(place)
    found = Ranges(least, sharp.deviation.maximum(least), shift + cell / 2, largest)
    return replace(sharp, place=place), found


def _rest(left: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Squared lengths ``(c,)`` beside orthonormal ``directions``."""
    return (left - rowwise(rowwise(left, directions), directions.mT)).square().sum(-1)


def _directions(changes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal directions ``(c, m, r)`` of changes of the data ``(c, m, k)``, some of them
    zero, and the matrices from coordinates there to sizes of the changes, ``(c, k, r)``.
    """
    u, s, vt = torch.linalg.svd(changes, full_matrices=False)
    kept = s > ALIKE * s[:, :1]
    inverse = torch.where(kept, 1 / s, 0.0)
    return u * kept[:, None], vt.mT * inverse[:, None]


def _last_possible(
    excess: torch.Tensor, scales: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The scales up to which chi^2 is not too large, and the numbers of the last before them."""
    last = (excess[:, 1:] < MOST_MISFIT).cumprod(-1).sum(-1)
    after = (last + 1).clamp(max=len(scales) - 1)
    sizes = excess.new_tensor(scales)
    now, then = (excess.gather(1, each[:, None])[:, 0] for each in (last, after))
    part = ((MOST_MISFIT - now) / (then - now)).sqrt()
    return torch.where(
        after > last, sizes[last] + part * (sizes[after] - sizes[last]), sizes[last]
    ), last


def _with_widths(peaks: Peaks, omega: torch.Tensor) -> torch.Tensor:
    """The weights of peaks with all ``SCALES``, ``(p, scales, n)``; wider ones are sums of two."""
    scale = omega.new_tensor(SCALES).clamp(max=1.0).expand(len(peaks.place), -1)
    step = (omega.new_tensor(SCALES).square() - 1).clamp(min=0).sqrt() * peaks.deviation[:, None]
    both = moved(peaks, omega, scale=scale.repeat(1, 2), step=torch.cat([step, -step], 1))
    return both.unflatten(1, (2, -1)).mean(1)
