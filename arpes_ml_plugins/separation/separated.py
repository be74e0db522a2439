"""Spectra from a solver, the maps that belong to them, and the errors of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.clusters import cluster_means
from arpes_ml_plugins.separation.leaks import without_leaks
from arpes_ml_plugins.separation.least_squares import least_squares, nonnegative_sources
from arpes_ml_plugins.separation.library_errors import as_high, library_variance
from arpes_ml_plugins.separation.matching import NEIGHBOURS, Match, match_families, mixture_space
from arpes_ml_plugins.separation.polish import polish_on_pixels
from arpes_ml_plugins.separation.whiten import Whitened, telling_columns

__all__ = ["Separated", "Uncertainty", "held", "known_exactly", "maps_of", "uncertainty"]

MOST_HALVED = 10_000  # pixels that are split in halves, to know the error of more
SPLITS = 6
ALIKE = 4.0  # splits that the mean over all channels counts as, in the error of each
SPLIT_SWEEPS = 10
TURNED = 1.5  # angle between spectra and truth, over the distance of data and library
FLOOR = 1e-2  # of the mean squared error of a spectrum: no value is exact


@dataclass(frozen=True)
class Separated:
    """Spectra of the whitened channels, of length 1, and how they were found."""

    spectra: torch.Tensor  # (k, n)
    sources: torch.Tensor | None = None
    """``(n, t)``: an algorithm's own sources; if None, maps follow by least squares."""
    match: Match | None = None
    """Intersections of the library with the signal space; of the first components only."""
    families: tuple[torch.Tensor, ...] = ()
    """What the match was made with; empty if the spectra come from the data alone."""
    off: torch.Tensor | None = None
    """Distance of each spectrum from its family, a sine; only if it comes from the data alone."""
    neighbours: int = NEIGHBOURS
    fixed: torch.Tensor | None = None
    """``(n,)`` bool: spectra that were known exactly."""
    pure: bool = False
    """Whether pixels show the spectra that come from the data without the others."""
    mended: bool = False
    """Whether leaks were taken out of spectra that were polished on pixels."""
    labels: torch.Tensor | None = None
    """``(t,)``: the component that each pixel is grouped with, of clusters."""
    notes: tuple[str, ...] = ()
    """What the user should know."""


def known_exactly(families: Sequence[torch.Tensor], spectra: torch.Tensor) -> torch.Tensor:
    """Which of ``spectra (k, n)`` are fixed: those of the first families of one spectrum."""
    fixed = torch.zeros(spectra.shape[1], dtype=torch.bool, device=spectra.device)
    fixed[: len(families)] = torch.tensor([len(family) == 1 for family in families], device="cpu")
    return fixed


def held(spectra: torch.Tensor, families: Sequence[torch.Tensor]) -> torch.Tensor:
    """``spectra`` with those that are known exactly in their place."""
    result = spectra.clone()
    for i, family in enumerate(families):
        if len(family) == 1:
            result[:, i] = family[0]
    return result


def maps_of(data: Whitened, spectra: torch.Tensor) -> torch.Tensor:
    """Sources ``(n, t)`` of all pixels by least squares, non-negative where the data are."""
    if data.nonnegative:
        return nonnegative_sources(data.pixels, spectra)
    return least_squares(data.pixels, spectra)[0]


@dataclass(frozen=True)
class Uncertainty:
    """Errors of spectra, from halves of the pixels."""

    stderr: torch.Tensor
    """``(k, n)``: of each value."""
    halves: torch.Tensor
    """``(splits, 2, k, n)``: spectra of the halves, which show the errors of maps as well."""
    share: float
    """Pixels in both halves, over all that the spectra were found from; times what their noise has
    in common, which halves do not show."""


def uncertainty(data: Whitened, found: Separated, seed: int) -> Uncertainty:
    """Errors of spectra.

    The data are split in halves, pixel by pixel, and each half gives its own spectra; half their
    difference is the error of the whole. Noise that neighbours share is alike in both halves: the
    error is larger as that of a mean is.
    """
    together = data.neighbours.together
    spectra, total, noise = found.spectra, data.pixels.shape[1], data.noise[data.kept]
    generator = torch.Generator().manual_seed(seed)
    variance = torch.zeros_like(spectra)
    if total < 4 * spectra.shape[1]:
        none = spectra.new_zeros(0, 2, *spectra.shape)
        return Uncertainty(torch.full_like(spectra, float("nan")), none, 1.0)
    used = _telling(data, found)
    pool = used[:: max(1, len(used) // MOST_HALVED)]
    part, splits = len(pool) / len(used), []
    share = part * together
    pixels = data.pixels[:, pool]
    even = data.even[:, pool] if found.families or found.mended else pixels
    for _ in range(SPLITS):
        order = torch.randperm(len(pool), generator=generator, device="cpu").to(pool.device)
        halves = [
            as_high(
                _of_half(data, pixels[:, half], even[:, half], pool[half], found), spectra, noise
            )
            for half in order.chunk(2)
        ]
        variance += ((halves[0] - halves[1]) / 2).square() * share / SPLITS
        if part == 1:  # of a part, the mean of its halves has more noise than the spectra
            variance += ((halves[0] + halves[1]) / 2 - spectra).square() / SPLITS
        splits.append(torch.stack(halves))
    # A few splits leave the variance of one channel uncertain by half. Whitened channels have about
    # the same.
    if not found.families:
        mean = variance.mean(0, keepdim=True)
        variance = (SPLITS * variance + ALIKE * mean) / (SPLITS + ALIKE)
    if found.families and found.match is not None:
        known = slice(len(found.families))
        space = mixture_space(data.pixels, data.even, found.families, spectra.shape[1], together)
        by_noise, by_sampling = library_variance(
            space, noise, spectra, found.match, found.families, found.neighbours, generator
        )
        # Halves choose the same spectra at an edge; draws do not know that noise is not white. The
        # larger of the two would be too large on average, as few splits and draws scatter.
        by_halves = variance[:, known]
        by_noise = torch.where(by_noise > 0, by_noise, by_halves)
        variance[:, known] = (by_halves + by_noise) / 2 + by_sampling
    elif found.match is not None and not found.pure:
        known = slice(len(found.match.distance))
        variance[:, known] += _of_mismatch(spectra, found.match)
    if found.fixed is not None:
        variance[:, found.fixed] = 0
    least = FLOOR * variance.mean(0, keepdim=True)
    return Uncertainty(torch.maximum(variance, least).sqrt(), torch.stack(splits), share)


def _telling(data: Whitened, found: Separated) -> torch.Tensor:
    """Pixels that halves are drawn from: those that alternating least squares looks at."""
    pixels = data.pixels
    if found.families or found.labels is not None:  # these look at all
        return torch.arange(pixels.shape[1], device=pixels.device)
    return telling_columns(pixels, pixels.new_ones(pixels.shape[1]))


def _of_mismatch(spectra: torch.Tensor, match: Match) -> torch.Tensor:
    """Variance of spectra that come from the data, whose families do not quite meet these.

    As far as they are apart, beyond noise, the spectra may be turned towards each other.
    """
    excess = (match.distance.square() - match.expected.square()).clamp(min=0)
    power = spectra.square()
    others = (power.sum(1, keepdim=True) - power) / max(spectra.shape[1] - 1, 1)
    return others[:, : len(excess)] * excess * TURNED**2


def _of_half(
    data: Whitened,
    pixels: torch.Tensor,
    even: torch.Tensor,
    chosen: torch.Tensor,
    found: Separated,
) -> torch.Tensor:
    """The spectra of the ``chosen`` pixels ``(k, t)``, from those of all."""
    spectra, fixed = found.spectra, found.fixed
    if found.labels is not None:
        return cluster_means(pixels, found.labels[chosen], spectra)
    if found.families:
        count = len(found.families)
        families, near = list(found.families), spectra[:, :count]
        together = (1 + data.neighbours.together) / 2  # every second pixel shares less
        space = mixture_space(pixels, even, found.families, spectra.shape[1], together)
        own = match_families(space, families, near, found.neighbours)
        if count == spectra.shape[1]:
            return own.spectra
        spectra = torch.cat([own.spectra, spectra[:, count:]], 1)
        fixed = torch.arange(spectra.shape[1], device=spectra.device) < count
    spectra = polish_on_pixels(pixels, spectra, data.nonnegative, SPLIT_SWEEPS, fixed)
    return without_leaks(even, spectra, data.nonnegative) if found.mended else spectra
