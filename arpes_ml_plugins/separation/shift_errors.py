"""Standard errors of shifts: of the noise of every value, and of what pooled pixels differ by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch

from arpes_ml_plugins.separation.shift_exchange import certain, displacements, exchanges, smoothness
from arpes_ml_plugins.separation.shift_scan import WIDTHS, Scan, moved

__all__ = ["energy_errors", "shift_errors"]

Pool: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

PIECE = 8_000  # pixels at a time
SMALL = 0.1  # channels, of a numerical derivative
RANK = 1e-7
UNKNOWN = 0.015  # channels: errors of the interpolation
NOISE, LEAST = 1.0, 0.1  # times the information in noise: taken off, and left at least
CENTRE = 0.008  # channels: what is left of them in all pixels of a spectrum


def shift_errors(
    scan: Scan,
    spectra: torch.Tensor,
    shift: torch.Tensor,
    widths: torch.Tensor,
    pool: Pool | None = None,
    least: torch.Tensor | None = None,
    *,
    level: bool = True,
) -> torch.Tensor:
    """``(t,)``, of shifts found with spectra ``(m, n)`` and with neighbours as far as ``widths``.

    The estimate is where the derivative of the pooled score is zero. Its error is the noise of that
    derivative over the curvature, and what the noise does to the spectra.

    Parameters
    ----------
    pool
        From curvature and noise of each pixel, ``(t,)`` each, to variances of shifts for which
        neighbours were asked in another way than as far as ``widths``.
    least
        Variance ``(t,)`` that noise of the spectra adds at least.
    level
        Whether those shifts were taken that bend least.
    """
    spectra = torch.linalg.qr(spectra / scan.noise[:, None])[0] * scan.noise[:, None]
    bend, noise, maps = _of_all_pixels(scan, spectra, shift)
    excess = float(noise.sum() / bend.sum().clamp(min=1e-30))
    variance = (pool or partial(_pooled, scan, widths))(bend, noise)
    moves, known = exchanges(scan, spectra, maps, widths)
    if level:
        sure = certain(known, scan, spectra, maps, widths)
        shared = _levelled_variance(scan, shift, moves, excess * known, sure, moves)
    else:
        shared = _variance(excess * known, known, moves)
    variance += shared if least is None else torch.maximum(shared, least)
    largest = max(float(scan.candidates[-1]), abs(scan.step))
    return (variance + (UNKNOWN * scan.step) ** 2).sqrt().clamp(max=largest)


def energy_errors(
    scan: Scan,
    spectra: torch.Tensor,
    shift: torch.Tensor,
    widths: torch.Tensor,
) -> torch.Tensor:
    """``(n,)``: errors of the energies of spectra ``(m, n)`` that were found together with shifts
    whose mean is zero, because the shifts were not known.
    """
    unit = torch.linalg.qr(spectra / scan.noise[:, None])[0] * scan.noise[:, None]
    bend, noise, maps = _of_all_pixels(scan, unit, shift)
    excess = float(noise.sum() / bend.sum().clamp(min=1e-30))
    moves, known = exchanges(scan, unit, maps, widths)
    sure = certain(known, scan, unit, maps, widths)
    along = displacements(scan, spectra, unit, maps, widths).mT
    variance = _levelled_variance(scan, shift, moves, excess * known, sure, along)
    return (variance + (CENTRE * scan.step) ** 2).sqrt()


def _levelled_variance(
    scan: Scan,
    shift: torch.Tensor,
    moves: torch.Tensor,
    known: torch.Tensor,
    sure: torch.Tensor,
    directions: torch.Tensor,
) -> torch.Tensor:
    """Of ``directions (k, t)``, if data and smoothness determine them together."""
    smooth = smoothness(scan, shift, moves)
    return _variance(known + smooth.scatter, sure + smooth.known, directions)


def _variance(known: torch.Tensor, certain: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Of ``directions (k, t)``, if only a part of the information ``known (k, k)`` on their
    coefficients is ``certain``: the other is of noise, which bends nothing but disturbs.
    """
    values, vectors = torch.linalg.eigh(certain)
    sure = values > RANK * values[-1]  # all but a shift of everything
    along = vectors[:, sure].mT @ directions / values[sure][:, None]
    strength, noise = torch.linalg.eigh(known)
    disturbed = noise.mT @ (vectors[:, sure] @ along)
    return strength.clamp(min=0) @ disturbed.square()


def _of_all_pixels(
    scan: Scan, spectra: torch.Tensor, shift: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """What :func:`_information` returns of the pixels that count, zero for the others."""
    parts = [
        _information(scan, spectra, shift, piece)
        for piece in torch.arange(len(shift), device=shift.device).split(PIECE)
    ]
    return tuple(torch.cat(part, -1) * scan.used for part in zip(*parts, strict=True))


def _information(
    scan: Scan,
    spectra: torch.Tensor,
    shift: torch.Tensor,
    piece: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Curvature of half the score of some pixels, variance of its derivative, and their maps."""
    n, channels, noise = spectra.shape[1], shift[piece] / scan.step, scan.noise[:, None]
    if bool((channels == channels[0]).all()):  # as where nothing shifts: all pixels have one basis
        channels = channels[:1]
    every, number = spectra.repeat(1, len(channels)), channels.repeat_interleave(n)

    def basis(more: float, some: slice = scan.inner) -> torch.Tensor:  # (t or 1, m, n)
        shifted = moved(every, number + more).unflatten(1, (-1, n)) / noise[..., None]
        return shifted.permute(1, 0, 2)[:, some]

    there = basis(0.0)
    unit, triangle = torch.linalg.qr(there)
    maps = torch.linalg.solve_triangular(
        triangle, unit.mT @ scan.scaled[scan.inner, piece].mT[..., None], upper=True
    )
    slope = (basis(SMALL) - basis(-SMALL)) @ maps / (2 * SMALL * scan.step)
    slope = (slope - unit @ (unit.mT @ slope))[..., 0].mT  # (m, t)
    model = (basis(0.0, slice(None)) @ maps)[..., 0].mT * noise
    variance = scan.variance(model)[scan.inner]
    return slope.square().sum(0), (slope.square() * variance).sum(0), maps[..., 0].mT


def _pooled(
    scan: Scan, widths: torch.Tensor, bend: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Variances of shifts from the noise, if neighbours as far as ``widths`` are pooled."""
    variance = torch.zeros_like(bend)
    for number in widths.unique().tolist():
        once = scan.smoothed(bend[None], WIDTHS[number])[0]
        squares = scan.pooled_variance(noise[None], WIDTHS[number])[0]
        found = squares / once.square().clamp(min=1e-30)
        variance = torch.where(widths == number, found, variance)
    return variance
