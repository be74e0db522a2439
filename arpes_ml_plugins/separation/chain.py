"""From whitened data to spectra and maps: estimate, check, refine, match, solve for the maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.palm import palm_path
from arpes_ml_plugins.separation.refine import least_squares, nonnegative_sources, refine
from arpes_ml_plugins.separation.subspace import Match, match_families, signal_space
from arpes_ml_plugins.separation.unrolled import UnrolledSeparation, project_columns
from arpes_ml_plugins.separation.whitened import Whitened, strongest_columns

__all__ = ["Separated", "learned_spectra", "maps_of", "palm_spectra", "polish", "uncertainty"]

DIVERGED = 0.1  # relative misfit above that of least squares
WORSE = 1.2  # misfit with the spectra of a library, over that of least squares
PATH = 8  # values of the penalty
STEEPEST = 30.0  # of the path's first penalty, over its last
SPLITS = 4
SPLIT_SWEEPS = 10


@dataclass(frozen=True)
class Separated:
    """Spectra of the whitened channels, length 1, and what is to be said of them."""

    spectra: torch.Tensor  # (k, n)
    match: Match | None
    fallback: bool
    """The network diverged, and something else has taken its place."""


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
    spectra = fallback if diverged else mixing[0] / weights[:, None]
    spectra = _unit(spectra)
    if not refined:
        return Separated(spectra, None, diverged)
    spectra = polish(data, spectra)
    if families is None:
        return Separated(spectra, None, diverged)
    space = signal_space(data.pixels)
    match = match_families(space, families, spectra)
    # A family that is not exact can ask for negative maps; then the data alone decide. Where they
    # hold more than these components, least squares would mix the rest into the spectra.
    more = space.directions.shape[1] > len(families)
    exact = more or _misfit(data, match.spectra) <= WORSE * _misfit(data, spectra)
    return Separated(match.spectra if exact else spectra, match, diverged)


def _misfit(data: Whitened, spectra: torch.Tensor) -> float:
    return float((data.pixels - spectra @ maps_of(data, spectra)).square().mean())


def palm_spectra(
    data: Whitened, start: torch.Tensor, *, sparsity: float, iterations: int, refined: bool
) -> Separated:
    """PALM on a path of falling penalties, the last ``sparsity`` standard deviations of noise."""
    chosen = strongest_columns(data.sparse, data.sparse_noise)
    level = sparsity * float(data.sparse_noise[chosen].median())
    path = level * STEEPEST ** torch.linspace(1, 0, PATH, dtype=start.dtype)
    begin = project_columns(_unit(start))[None]
    found = palm_path(data.sparse[None][..., chosen], begin, path, iterations=iterations)[-1]
    lost = found.mixing[0].norm(dim=0) < 1e-6
    spectra = _unit(torch.where(lost, start, found.mixing[0]))
    return Separated(polish(data, spectra) if refined else spectra, None, bool(lost.any()))


def polish(data: Whitened, spectra: torch.Tensor, sweeps: int = 30) -> torch.Tensor:
    """Alternating least squares, on the sparse coefficients and then on the pixels."""
    if data.sparse is not data.pixels:
        chosen = strongest_columns(data.sparse, data.sparse_noise)
        spread = data.sparse_noise[chosen][None, None]
        found, _ = refine(data.sparse[None][..., chosen], spectra[None], spread, sweeps=sweeps)
        spectra = _kept(found[0], spectra)
    chosen = strongest_columns(data.pixels, data.pixels.new_ones(data.pixels.shape[1]))
    one = spectra.new_ones(1)
    found, _ = refine(
        data.pixels[None][..., chosen],
        spectra[None],
        one,
        sweeps=sweeps,
        nonnegative=data.nonnegative,
    )
    return _kept(found[0], spectra)


def maps_of(data: Whitened, spectra: torch.Tensor) -> torch.Tensor:
    """Sources ``(n, t)`` of all pixels by least squares, non-negative where the data are."""
    if data.nonnegative:
        return nonnegative_sources(data.pixels, spectra)
    return least_squares(data.pixels, spectra)[0]


def uncertainty(
    data: Whitened, spectra: torch.Tensor, families: list[torch.Tensor] | None, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard errors of spectra ``(k, n)`` and maps ``(n, t)``.

    The data are split in halves, pixel by pixel, and each half gives its own spectra; half their
    difference is the error of the whole. Maps have the noise of their pixel beside it.
    """
    generator = torch.Generator().manual_seed(seed)
    total = data.pixels.shape[1]
    noise = least_squares(data.pixels[:, :1], spectra)[1]
    of_spectra, of_maps = torch.zeros_like(spectra), noise.square().expand(-1, total).clone()
    if total < 4 * spectra.shape[1]:
        return torch.full_like(spectra, float("nan")), of_maps.sqrt()
    for _ in range(SPLITS):
        order = torch.randperm(total, generator=generator).to(data.pixels.device)
        halves = [_of_half(data, half, spectra, families) for half in order.chunk(2)]
        of_spectra += ((halves[0] - halves[1]) / 2).square() / SPLITS
        maps = [least_squares(data.pixels, half)[0] for half in halves]
        of_maps += ((maps[0] - maps[1]) / 2).square() / SPLITS
    return of_spectra.sqrt(), of_maps.sqrt()


def _of_half(
    data: Whitened,
    chosen: torch.Tensor,
    spectra: torch.Tensor,
    families: list[torch.Tensor] | None,
) -> torch.Tensor:
    pixels = data.pixels[:, chosen]
    if families is not None:
        return match_families(signal_space(pixels), families, spectra).spectra
    found, _ = refine(
        pixels[None][..., strongest_columns(pixels, pixels.new_ones(pixels.shape[1]))],
        spectra[None],
        pixels.new_ones(1),
        sweeps=SPLIT_SWEEPS,
        nonnegative=data.nonnegative,
    )
    return _kept(found[0], spectra)


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


def _unit(spectra: torch.Tensor) -> torch.Tensor:
    return spectra / spectra.norm(dim=0).clamp(min=1e-12)


def _kept(found: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Columns that an empty source has erased stay as they were."""
    lost = ~torch.isfinite(found).all(0) | (found.norm(dim=0) < 0.5)
    return torch.where(lost, before, found)
