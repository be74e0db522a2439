"""From whitened data to spectra and maps: estimate, check, refine, match, solve for the maps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.blind import unit_columns
from arpes_ml_plugins.separation.gmca import gmca
from arpes_ml_plugins.separation.least_squares import least_squares, nonnegative_sources, refine
from arpes_ml_plugins.separation.lpalm import UnrolledSeparation, project_columns
from arpes_ml_plugins.separation.match import NEIGHBOURS, Match, match_families, signal_space
from arpes_ml_plugins.separation.palm import palm_path
from arpes_ml_plugins.separation.whitened import Whitened, strongest_columns, thinned

__all__ = [
    "MANY_SWEEPS",
    "Separated",
    "learned_spectra",
    "maps_of",
    "matched",
    "palm_spectra",
    "polish",
    "uncertainty",
    "upright",
]

DIVERGED_NOTE = "the iteration diverged; alternating least squares was used instead"
DIVERGED = 0.1  # relative misfit above that of least squares
WORSE = 1.2  # misfit with the spectra of a library, over noise and over that of least squares
PATH = 8  # values of the penalty
STEEPEST = 30.0  # of the path's first penalty, over its last
MANY_SWEEPS = 100  # for components that nothing is known of
MOST_CHOICES = 100  # of free components among blind ones
ENOUGH_PIXELS = 20_000  # to choose by
SINGULAR = -60.0  # logarithm of a determinant: the same spectrum twice
SPLITS = 4
SPLIT_SWEEPS = 10


@dataclass(frozen=True)
class Separated:
    """Spectra of the whitened channels, length 1, and what is to be said of them."""

    spectra: torch.Tensor  # (k, n)
    match: Match | None = None
    """Where the library meets the data; of the first components, if there are free ones."""
    families: tuple[torch.Tensor, ...] = ()
    """What the match was made with; empty where the data alone decided."""
    neighbours: int = NEIGHBOURS
    notes: tuple[str, ...] = ()
    """What the user should know."""


def learned_spectra(
    data: Whitened,
    network: UnrolledSeparation,
    *,
    pixels: int,
    weights: torch.Tensor,
    fallback: torch.Tensor,
    families: list[torch.Tensor] | None,
    refined: bool,
) -> Separated:
    """LPALM, then what makes it safe.

    Parameters
    ----------
    pixels
        That the network has learned on.
    weights
        ``(k,)``: what the network's own whitening differs by from that of the data.
    fallback
        Spectra ``(k, n)`` to go on from where the network diverges.
    families
        Of each component ``(samples, k)``, to match with the data.
    refined
        Else the spectra are those of the network.
    """
    own = data.sparse * weights[:, None]
    mixing, sources = network.separate(own[None], pixels)
    diverged = _diverged(own, mixing[0], sources[0])
    spectra = unit_columns(fallback if diverged else mixing[0] / weights[:, None])
    notes = (DIVERGED_NOTE,) if diverged else ()
    if not refined:
        return Separated(spectra, notes=notes)
    spectra = polish(data, spectra)
    if families is None:
        return Separated(spectra, notes=notes)
    return matched(data, spectra, families, notes, trusted=not diverged)


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
    """Take spectra where the signal space meets the families of the first components.

    The others are free: they follow by alternating least squares. Where these can explain the data
    much better, the families are not exact, and the data alone decide; but where the data hold
    more than these components, least squares would mix the rest into the spectra, and the families
    stay.

    Parameters
    ----------
    blind
        Spectra ``(k, n)`` of a blind separation, among which free components may be.
    trusted
        Among spectra about equally close to the signal space take those near ``spectra``; a wrong
        estimate is worse than none.
    """
    space = signal_space(data.pixels)
    near = spectra[:, : len(families)] if trusted else None
    match = match_families(space, list(families), near, neighbours)
    joined = _with_free(data, match.spectra, spectra, blind, refined)
    more = space.directions.shape[1] > spectra.shape[1]
    misfit = _misfit(data, joined)
    if not more and misfit > WORSE:
        alone = polish(data, joined if misfit < _misfit(data, spectra) else spectra)
        if misfit > WORSE * _misfit(data, alone):
            return Separated(alone, match, notes=notes)
    return Separated(joined, match, tuple(families), neighbours, notes)


def _with_free(
    data: Whitened,
    known: torch.Tensor,
    spectra: torch.Tensor,
    blind: torch.Tensor | None,
    refined: bool,
) -> torch.Tensor:
    """``known`` columns, and as many others as ``spectra`` has more.

    ``spectra`` may have lost a weak component, or have a known one twice; ``blind`` ones may be
    mixtures; what is found across the known ones lacks all that is like them. The likeliest is
    polished beside the known ones.
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
    """Components of what is left across the known spectra, so that strong ones hide nothing."""
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


def upright(data: Whitened, spectra: torch.Tensor) -> torch.Tensor:
    """With the sign that makes the sum of the map positive: counts are."""
    maps = torch.linalg.pinv(spectra) @ data.pixels.mean(1)
    return spectra * torch.where(maps < 0, -1.0, 1.0).to(spectra)


def _misfit(data: Whitened, spectra: torch.Tensor) -> float:
    return float((data.pixels - spectra @ maps_of(data, spectra)).square().mean())


def palm_spectra(
    data: Whitened, start: torch.Tensor, *, sparsity: float, iterations: int, refined: bool
) -> Separated:
    """PALM on a path of falling penalties, the last ``sparsity`` standard deviations of noise."""
    chosen = strongest_columns(data.sparse, data.sparse_noise)
    level = sparsity * float(data.sparse_noise[chosen].median())
    path = level * STEEPEST ** torch.linspace(1, 0, PATH, dtype=start.dtype)
    begin = project_columns(unit_columns(start))[None]
    found = palm_path(data.sparse[None][..., chosen], begin, path, iterations=iterations)[-1]
    lost = found.mixing[0].norm(dim=0) < 1e-6
    spectra = unit_columns(torch.where(lost, start, found.mixing[0]))
    notes = (DIVERGED_NOTE,) if bool(lost.any()) else ()
    return Separated(polish(data, spectra) if refined else spectra, notes=notes)


def polish(
    data: Whitened, spectra: torch.Tensor, sweeps: int = 30, fixed: torch.Tensor | None = None
) -> torch.Tensor:
    """Alternating least squares, on the sparse coefficients and then on the pixels.

    Smooth maps have no details, so the pixels have the last word.
    """
    if data.sparse is not data.pixels:
        chosen = strongest_columns(data.sparse, data.sparse_noise)
        spread = data.sparse_noise[chosen][None, None]
        found, _ = refine(
            data.sparse[None][..., chosen], spectra[None], spread, sweeps=sweeps, fixed=fixed
        )
        spectra = _kept(found[0], spectra)
    return _on_pixels(data.pixels, spectra, data.nonnegative, sweeps, fixed)


def _on_pixels(
    pixels: torch.Tensor,
    spectra: torch.Tensor,
    nonnegative: bool,
    sweeps: int,
    fixed: torch.Tensor | None = None,
) -> torch.Tensor:
    chosen = strongest_columns(pixels, pixels.new_ones(pixels.shape[1]))
    found, _ = refine(
        pixels[None][..., chosen],
        spectra[None],
        spectra.new_ones(1),
        sweeps=sweeps,
        nonnegative=nonnegative,
        fixed=fixed,
    )
    return _kept(found[0], spectra)


def maps_of(data: Whitened, spectra: torch.Tensor) -> torch.Tensor:
    """Sources ``(n, t)`` of all pixels by least squares, non-negative where the data are."""
    if data.nonnegative:
        return nonnegative_sources(data.pixels, spectra)
    return least_squares(data.pixels, spectra)[0]


def uncertainty(data: Whitened, found: Separated, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard errors of spectra ``(k, n)`` and maps ``(n, t)``.

    The data are split in halves, pixel by pixel, and each half gives its own spectra; half their
    difference is the error of the whole. Maps have the noise of their pixel beside it.
    """
    spectra, total = found.spectra, data.pixels.shape[1]
    generator = torch.Generator().manual_seed(seed)
    noise = least_squares(data.pixels[:, :1], spectra)[1]
    of_spectra, of_maps = torch.zeros_like(spectra), noise.square().expand(-1, total).clone()
    if total < 4 * spectra.shape[1]:
        return torch.full_like(spectra, float("nan")), of_maps.sqrt()
    for _ in range(SPLITS):
        order = torch.randperm(total, generator=generator).to(data.pixels.device)
        halves = [_of_half(data, half, found) for half in order.chunk(2)]
        of_spectra += ((halves[0] - halves[1]) / 2).square() / SPLITS
        maps = [least_squares(data.pixels, half)[0] for half in halves]
        of_maps += ((maps[0] - maps[1]) / 2).square() / SPLITS
    return of_spectra.sqrt(), of_maps.sqrt()


def _of_half(data: Whitened, chosen: torch.Tensor, found: Separated) -> torch.Tensor:
    """The spectra of some of the pixels, from those of all."""
    pixels, spectra, fixed = data.pixels[:, chosen], found.spectra, None
    if found.families:
        count = len(found.families)
        families, near = list(found.families), spectra[:, :count]
        own = match_families(signal_space(pixels), families, near, found.neighbours)
        if count == spectra.shape[1]:
            return own.spectra
        spectra = torch.cat([own.spectra, spectra[:, count:]], 1)
        fixed = torch.arange(spectra.shape[1], device=spectra.device) < count
    return _on_pixels(pixels, spectra, data.nonnegative, SPLIT_SWEEPS, fixed)


def _diverged(data: torch.Tensor, mixing: torch.Tensor, sources: torch.Tensor) -> bool:
    """Whether the network explains the data much worse than least squares with its spectra, or
    its spectra much worse than any could.
    """
    if not (torch.isfinite(mixing).all() and torch.isfinite(sources).all()):
        return True
    power = data.square().sum()
    values = torch.linalg.eigvalsh(data @ data.mT)
    best = values[: -mixing.shape[1]].clamp(min=0).sum() / power
    own = (data - mixing @ sources).square().sum() / power
    basis, _ = torch.linalg.qr(mixing)
    spanned = 1 - (basis.mT @ data).square().sum() / power
    return bool(own - best > DIVERGED) or bool(spanned - best > DIVERGED)


def _kept(found: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Columns that an empty source has erased stay as they were."""
    lost = ~torch.isfinite(found).all(0) | (found.norm(dim=0) < 0.5)
    return torch.where(lost, before, found)
