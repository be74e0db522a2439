"""Spectra that a solver found, the maps that belong to them, and the errors of both."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.least_squares import least_squares, nonnegative_sources
from arpes_ml_plugins.separation.matching import NEIGHBOURS, Match, match_families, signal_space
from arpes_ml_plugins.separation.polish import polish_on_pixels
from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["Separated", "maps_of", "uncertainty"]

SPLITS = 4
SPLIT_SWEEPS = 10


@dataclass(frozen=True)
class Separated:
    """Spectra of the whitened channels, length 1, and what is known about them."""

    spectra: torch.Tensor  # (k, n)
    sources: torch.Tensor | None = None
    """``(n, t)``: an algorithm's own sources; without them the maps follow by least squares."""
    match: Match | None = None
    """Where the library meets the data; of the first components, if there are free ones."""
    families: tuple[torch.Tensor, ...] = ()
    """What the match was made with; empty if the data alone decided."""
    off: torch.Tensor | None = None
    """How far each spectrum is from its family, as a sine; only if the data alone decided."""
    neighbours: int = NEIGHBOURS
    notes: tuple[str, ...] = ()
    """What the user should know."""


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
    return polish_on_pixels(pixels, spectra, data.nonnegative, SPLIT_SWEEPS, fixed)
