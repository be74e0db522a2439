"""Tell whether pixels without a component show it: what a blind separation rests on.

Spectra and maps can be mixed without any change of the data. A separation with sparse maps chooses
the mixture in which most values of the maps are zero. That choice is more than an assumption if
many values are zero within their noise, and hardly any are a little above it: pixels are pure, and
no other mixture has as many zeros. Maps that fall smoothly towards zero have no such values. The
same holds for changes from pixel to pixel, as wavelet details show them: a component that is
everywhere is told from one that ends somewhere.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.least_squares import least_squares
from arpes_ml_plugins.separation.polish import polish_on_pixels
from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["CERTAIN", "possible_share", "purest", "share_inside", "shown_pure", "zeros_of_pixels"]

SWEEPS, LAST_SWEEPS = 300, 30
ENOUGH = 10_000  # pixels for the first of these
THERE = 5.0  # standard errors of a component that a pixel holds
MOST = 20_000  # details of a scale that are looked at
ZERO = 2.0  # errors on either side of zero, at most
BESIDE = (2.5, 6.5)  # errors: values that are small but not zero, in as wide a range
SHARE = 0.01  # of the strongest component: error of its spectrum
FEWEST = 8  # pixels
CERTAIN = 3.0  # errors below zero that a value may seem to be
STRONG = 0.05  # of a spectrum's largest value: what is less says nothing of its share in another
SHARP, SHARP_DETAILS = 8.0, 5.0  # times as many zeros as values beside, of pixels and of details


def shown_pure(data: Whitened, spectra: torch.Tensor) -> torch.Tensor:
    """Which of ``spectra (k, n)`` pixels or details show without the others, ``(n,)`` bool.

    Every other component has to be zero where there is more of this one than of any third.
    """
    pairs = zeros_of_pixels(data.even, spectra)
    if data.sparse is not data.pixels:
        uneven, details = data.unevenness, data.sparse.unflatten(1, (data.scales, -1))
        some = slice(None, None, max(1, len(uneven) // MOST))
        for scale, noise in enumerate(data.scale_noise):
            columns = details[:, scale, some].to(spectra)
            pairs |= _zeros(columns, noise * uneven[some], spectra, SHARP_DETAILS, signed=True)
    return pairs.all(0)


def zeros_of_pixels(
    even: torch.Tensor, spectra: torch.Tensor, sharp: float = SHARP
) -> torch.Tensor:
    """Whether many pixels ``(k, t)`` of unit noise hold nothing of one component and most of
    another: ``(n, n)`` bool, the former first. ``sharp``: times as many as hold a little of it.
    """
    return _zeros(even, even.new_ones(1), spectra, sharp)


def _zeros(
    columns: torch.Tensor,
    noise: torch.Tensor,
    spectra: torch.Tensor,
    sharp: float,
    *,
    signed: bool = False,
) -> torch.Tensor:
    """Whether many columns ``(k, T)`` hold nothing of one component and most of another:
    ``(n, n)`` bool, the former first.
    """
    maps, error = least_squares(columns, spectra)
    error = error * noise
    size = maps.abs() if signed else maps
    pairs = torch.eye(len(maps), dtype=torch.bool, device=maps.device)
    for absent in range(len(maps)):
        others = size.clone()
        others[absent] = -float("inf")
        most, strongest = others.max(0)
        ratio = size[absent] / (error[absent].square() + (SHARE * most).square()).sqrt()
        zero = ratio.abs() < ZERO
        beside = (ratio > BESIDE[0]) & (ratio < BESIDE[1])
        for own in range(len(maps)):
            if own == absent:
                continue
            there = (strongest == own) & (size[own] > THERE * error[own])
            zeros, small = int((there & zero).sum()), int((there & beside).sum())
            # Values of details lie on either side of zero.
            limit = sharp * small / 2 if signed else sharp * small
            pairs[absent, own] = zeros >= max(FEWEST, limit)
    return pairs


def purest(data: Whitened, found: torch.Tensor) -> torch.Tensor:
    """``found``, or the mixture of these spectra ``(k, n)`` that pixels show, if they show all.

    A factorisation ends at any of the mixtures that explain the data.
    """
    if bool(shown_pure(data, found).all()):
        return found
    some = data.pixels[:, :: max(1, data.pixels.shape[1] // ENOUGH)]
    polished = polish_on_pixels(some, found, data.nonnegative, SWEEPS)
    if some.shape[1] < data.pixels.shape[1]:
        polished = polish_on_pixels(data.pixels, polished, data.nonnegative, LAST_SWEEPS)
    return polished if bool(shown_pure(data, polished).all()) else found


def possible_share(
    spectra: torch.Tensor, errors: torch.Tensor, maps: torch.Tensor, map_errors: torch.Tensor
) -> torch.Tensor:
    """How much of any other each spectrum of ``(m, n)`` may hold in addition, or hold too much of,
    ``(n,)``: with all others as they are, neither maps ``(n, t)`` nor spectra get negative.
    """
    share = maps.new_zeros(len(maps))
    for own in range(len(maps)):
        there = maps[own] > THERE * map_errors[own]
        for other in range(len(maps)):
            if other == own or not bool(there.any()):
                continue
            spare = (maps[other] + CERTAIN * map_errors[other])[there] / maps[own, there]
            more = float(spare.min().clamp(min=0))
            less = share_inside(spectra, errors, own, other)
            share[own] = max(float(share[own]), more / (1 + more), less)
    return share


def share_inside(spectra: torch.Tensor, errors: torch.Tensor, own: int, other: int) -> float:
    """How much of ``other`` can be subtracted from ``own`` of ``spectra (m, n)`` until a value is
    negative beyond its error.
    """
    strong = spectra[:, other] > STRONG * spectra[:, other].max()
    inside = (spectra[:, own] + CERTAIN * errors[:, own])[strong] / spectra[strong, other]
    return float(inside.min().clamp(min=0))
