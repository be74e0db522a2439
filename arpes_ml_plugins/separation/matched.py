"""Combine prior knowledge of spectra with the data, and find free components in addition."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch

from arpes_ml_plugins.separation.few_counts import few_counts_notes
from arpes_ml_plugins.separation.gmca import gmca
from arpes_ml_plugins.separation.least_squares import least_squares
from arpes_ml_plugins.separation.manifolds import LocalSimplex
from arpes_ml_plugins.separation.matching import (
    NEIGHBOURS,
    SLIGHT,
    TOLERATED,
    Match,
    match_families,
    mixture_space,
)
from arpes_ml_plugins.separation.metrics import match
from arpes_ml_plugins.separation.polish import MANY_SWEEPS, polish, upright
from arpes_ml_plugins.separation.purity import shown_pure
from arpes_ml_plugins.separation.separated import Separated, held, known_exactly, maps_of
from arpes_ml_plugins.separation.whiten import Whitened, thinned

__all__ = ["matched"]

WORSE = 1.2  # misfit with the spectra of a library, over noise and over that of least squares
MOST_CHOICES = 100  # of free components among blind ones
ENOUGH_PIXELS = 20_000  # to choose by
CLEARLY = 10.0  # times further from the data: a wrong family beside a right one
WANDERED = 2.5  # times as far from the families as the data are: another mixture of the spectra
SIGNIFICANT = 5.0  # standard deviations of a misfit
SINGULAR = -60.0  # logarithm of a determinant: the same spectrum twice


def matched(
    data: Whitened,
    spectra: torch.Tensor,
    families: Sequence[torch.Tensor],
    notes: tuple[str, ...] = (),
    *,
    neighbours: int = NEIGHBOURS,
    blind: torch.Tensor | None = None,
    trusted: bool = True,
    refined: bool = True,
) -> Separated:
    """Take spectra from where the signal space meets the families of the first components.

    The others are free and follow by alternating least squares. If least squares without families
    explain the data much better, the families are not exact, and the spectra come from the data
    alone; but if the data contain more components than these, least squares would mix the rest into
    the spectra, and the families are kept. They are kept, too, if spectra of the data alone are
    much further from the families than the data are: these are mixtures.

    Parameters
    ----------
    blind
        Spectra ``(k, n)`` of a blind separation, among which free components may be.
    trusted
        Whether to choose those near ``spectra`` among spectra that are about equally close to the
        signal space; a wrong estimate is worse than none.
    """
    even = replace(data, pixels=data.even)
    count, together = spectra.shape[1], data.neighbours.together
    space = mixture_space(data.pixels, even.pixels, families, count, together)
    near = spectra[:, : len(families)] if trusted else None
    found = match_families(space, list(families), near, neighbours)
    joined = _with_free(data, found.spectra, spectra, blind, refined)
    fixed, spectra = known_exactly(families, spectra), held(spectra, families)
    seen = _seen_in_total(data, joined) | ~fixed  # fixed spectra are put into the space
    found = replace(found, present=found.present & seen[: len(families)])
    more = space.directions.shape[1] > spectra.shape[1]
    wrong = _wrong(found, fixed)
    if not more and bool(wrong.any()):
        other = _from_pure_pixels(data, even, joined, wrong)
        if other is not None:
            notes += few_counts_notes(data, other, ~wrong | fixed)
            off = _off(other, families)
            return Separated(other, match=found, off=off, fixed=fixed, pure=True, notes=notes)
    misfit = _misfit(even, joined)
    if not more and misfit > WORSE:
        alone = _alone(data, (joined, spectra), families, fixed)
        least = _misfit(even, alone)
        if misfit > WORSE * least:
            partly = _without_the_wrong(data, joined, alone, found, fixed)
            if partly is not None and _misfit(even, partly) <= WORSE * least:
                alone = partly
            off = _off(alone, families)
            if float(off.max()) <= max(WANDERED * float(found.distance.max()), SLIGHT):
                notes += few_counts_notes(data, alone, fixed)
                return Separated(alone, match=found, off=off, fixed=fixed, notes=notes)
    known = torch.arange(joined.shape[1], device=joined.device) < len(families)
    return Separated(
        joined,
        match=found,
        families=tuple(families),
        neighbours=neighbours,
        fixed=fixed,
        notes=notes + few_counts_notes(data, joined, known),
    )


def _seen_in_total(data: Whitened, spectra: torch.Tensor) -> torch.Tensor:
    """Which of ``spectra (m, n)`` the sum of all pixels holds, for certain, ``(n,)`` bool."""
    total = data.pixels.mean(1)
    inverse = torch.linalg.pinv(spectra)
    error = inverse.norm(dim=1) * (data.neighbours.together / data.pixels.shape[1]) ** 0.5
    return inverse @ total > SIGNIFICANT * error


def _wrong(found: Match, fixed: torch.Tensor) -> torch.Tensor:
    """Components whose family does not hold their spectrum, ``(n,)`` bool."""
    limit = (TOLERATED * found.expected).clamp(min=SLIGHT)
    wrong = torch.zeros_like(fixed)
    wrong[: len(limit)] = found.present & (found.distance > limit)
    return wrong & ~fixed


def _from_pure_pixels(
    data: Whitened, even: Whitened, joined: torch.Tensor, wrong: torch.Tensor
) -> torch.Tensor | None:
    """Spectra with those that are ``wrong`` from the data, if pixels show these without the others
    and the data are explained as well.
    """
    other = polish(data, joined, MANY_SWEEPS, ~wrong)
    if not bool(shown_pure(data, other)[wrong].all()):
        return None
    chance = (2 / data.pixels.numel()) ** 0.5
    worse = _misfit(even, other) > (1 + SIGNIFICANT * chance) * _misfit(even, joined)
    return None if worse else other


def _alone(
    data: Whitened,
    starts: tuple[torch.Tensor, ...],
    families: Sequence[torch.Tensor],
    fixed: torch.Tensor,
) -> torch.Tensor:
    """Spectra of the data alone, from any of ``starts``.

    Many mixtures of the spectra may explain the data as well; of those reached, the closest to the
    families is taken.
    """
    found = [polish(data, start, fixed=fixed) for start in starts]
    even = replace(data, pixels=data.even)
    misfits = [_misfit(even, spectra) for spectra in found]
    good = [s for s, m in zip(found, misfits, strict=True) if m <= WORSE * min(misfits)]
    return min(good, key=lambda spectra: float(_off(spectra, families).square().sum()))


def _without_the_wrong(
    data: Whitened,
    joined: torch.Tensor,
    alone: torch.Tensor,
    found: Match,
    fixed: torch.Tensor,
) -> torch.Tensor | None:
    """Spectra of the families that meet the data, and for the others those of the data beside
    them; None if there is no such difference between the families.
    """
    limit = torch.maximum(TOLERATED * found.expected, found.distance.max() / CLEARLY)
    right = torch.zeros(joined.shape[1], dtype=torch.bool, device=joined.device)
    right[: len(limit)] = found.present & (found.distance <= limit)
    if not bool(right.any()) or bool(right.all()):
        return None
    right |= fixed
    order, signs = match(alone, joined)
    start = torch.where(right, joined, alone[:, order] * signs)
    return polish(data, start, MANY_SWEEPS, right)


def _with_free(
    data: Whitened,
    known: torch.Tensor,
    spectra: torch.Tensor,
    blind: torch.Tensor | None,
    refined: bool,
) -> torch.Tensor:
    """``known`` columns, and as many others as ``spectra`` has more.

    ``spectra`` may lack a weak component or have a known one twice; ``blind`` ones may be mixtures;
    those found across the known ones lack everything similar to these. The most likely set is
    polished together with the known ones.
    """
    count = spectra.shape[1] - known.shape[1]
    if count == 0:
        return known
    found = [spectra[:, -count:], _across(data, known, count)]
    if blind is not None:
        columns = itertools.combinations(range(blind.shape[1]), count)
        found += [blind[:, list(some)] for some in itertools.islice(columns, MOST_CHOICES)]
    joined = min(
        (torch.cat([known, free], 1) for free in found), key=lambda one: _improbability(data, one)
    )
    if not refined:
        return joined
    fixed = torch.arange(joined.shape[1], device=joined.device) < known.shape[1]
    return polish(data, joined, MANY_SWEEPS, fixed)


def _across(data: Whitened, known: torch.Tensor, count: int) -> torch.Tensor:
    """Components of the residual across the known spectra, which may hide weak ones."""
    basis, _ = torch.linalg.qr(known)
    sparse = thinned(data)
    left = (sparse - basis @ (basis.mT @ sparse)).float()
    return upright(data, gmca(left, count, data.scales).to(known))


def _improbability(data: Whitened, spectra: torch.Tensor) -> float:
    """Minus the logarithm of the likelihood of spectra of length 1, up to a constant.

    For sources with a Cauchy distribution as wide as the noise, sparse in any map, integrated over
    the noise (Laplace): half the misfit, ``log(1 + s^2)``, and half the logarithm of the
    determinant of ``A^T A``, without which nearly equal spectra would be likely.
    """
    pixels = data.pixels[:, :: max(1, data.pixels.shape[1] // ENOUGH_PIXELS)]
    volume = torch.linalg.slogdet(spectra.mT @ spectra).logabsdet
    if not bool(volume > SINGULAR):
        return float("inf")
    sources = least_squares(pixels, spectra)[0]
    misfit = (pixels - spectra @ sources).square().sum()
    prior = torch.log1p(sources.square()).sum()
    return float(0.5 * misfit + prior + 0.5 * pixels.shape[1] * volume)


def _misfit(data: Whitened, spectra: torch.Tensor) -> float:
    return float((data.pixels - spectra @ maps_of(data, spectra)).square().mean())


def _off(spectra: torch.Tensor, families: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sine of the angle between the first spectra and their families, ``(n,)``."""
    rows = spectra.mT[: len(families), None]
    return torch.cat(
        [LocalSimplex(family).distance(row) for family, row in zip(families, rows, strict=True)]
    )
