"""Shifts that spectra can take over from pixels: what the data hardly determine.

If a spectrum moves, the pixels that hold it can move back. Only pixels of several components show
the difference; components that share no pixel have no common zero. Of shifts that explain the data
equally well, those are taken whose slope changes least from pixel to pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA
from arpes_ml_plugins.separation.shift_scan import WIDTHS, Scan, moved, slope

__all__ = ["certain", "displacements", "exchanges", "levelled", "smoothness"]

ROUNDS = 20
DRAWS = 4
CERTAIN = 1.3  # times the information in noise alone
REACHES = (1, 2, 4)  # pixels: the wider, the less noise, and the more true curvature
TOGETHER = 4.0  # pixels: bends that are not independent
LEAST = 0.05  # channels: differences of neighbours that do not matter


def exchanges(
    scan: Scan, spectra: torch.Tensor, maps: torch.Tensor, widths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How shifts change ``(n n, t)`` with changes of the spectra, and what is known of these.

    Spectrum j may change by the derivative of spectrum i, times a number. The data determine these
    numbers with an information ``(n n, n n)``, shifts eliminated. ``spectra / scan.noise`` are
    orthogonal and of length 1.
    """
    moves, known = _raw(scan, spectra, maps, widths)
    return _centred(scan, moves), known


def displacements(
    scan: Scan,
    spectra: torch.Tensor,
    unit: torch.Tensor,
    maps: torch.Tensor,
    widths: torch.Tensor,
) -> torch.Tensor:
    """Energies ``(n, n n)`` that ``spectra`` (in the span of ``unit``) move by with the changes of
    :func:`exchanges`, if the mean shift stays zero.
    """
    n, noise = len(maps), scan.noise[:, None]
    moves, _ = _raw(scan, unit, maps, widths)
    change = _change(scan, unit)
    turn = (unit / noise).mT @ (spectra / noise)
    own = change @ turn  # derivatives of the spectra themselves
    along = own.mT @ change / own.square().sum(0).clamp(min=1e-30)[:, None]
    each = (along[:, :, None] * turn.mT[:, None]).reshape(n, n * n)
    return each + moves[:, scan.used].mean(1)


def _centred(scan: Scan, moves: torch.Tensor) -> torch.Tensor:
    return (moves - moves[:, scan.used].mean(1, keepdim=True)) * scan.used


def _change(scan: Scan, spectra: torch.Tensor) -> torch.Tensor:
    """Derivatives of spectra, outside their span."""
    change, unit = (x / scan.noise[:, None] for x in (slope(spectra, scan.step), spectra))
    return change - unit @ (unit.mT @ change)


def _raw(
    scan: Scan, spectra: torch.Tensor, maps: torch.Tensor, widths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`exchanges`, of shifts that are not relative to their mean."""
    change = _change(scan, spectra)
    metric = change.mT @ change
    turned = metric @ maps
    each = (turned[:, None] * maps[None]).flatten(0, 1)
    bend = (turned * maps).sum(0)
    near, total = torch.zeros_like(each), torch.zeros_like(bend)
    for index in widths.unique().tolist():
        chosen, width = widths == index, WIDTHS[index]
        near = torch.where(chosen, scan.smoothed(each, width), near)
        total = torch.where(chosen, scan.smoothed(bend[None], width)[0], total)
    moves = near / total.clamp(min=1e-30)
    known = torch.kron(metric, maps @ maps.mT) - each @ moves.mT
    return -moves, (known + known.mT) / 2


def levelled(
    scan: Scan, spectra: torch.Tensor, shift: torch.Tensor, widths: torch.Tensor
) -> torch.Tensor:
    """The shifts ``(t,)`` that explain the data about as well and bend least between pixels."""
    if spectra.shape[1] < 2:
        return shift
    unit = torch.linalg.qr(spectra / scan.noise[:, None])[0]
    straight = moved(scan.scaled * scan.noise[:, None], -shift / scan.step) / scan.noise[:, None]
    maps = (unit.mT @ straight) * scan.used
    moves, known = exchanges(scan, unit * scan.noise[:, None], maps, widths)
    # How far from the spectra those are that explain these shifts best.
    change = _change(scan, unit * scan.noise[:, None])
    away = torch.linalg.pinv(known, hermitian=True) @ (change.mT @ straight @ maps.mT).flatten()
    known = certain(known, scan, unit * scan.noise[:, None], maps, widths)
    amount = moves.new_zeros(len(moves))
    for _ in range(ROUNDS):
        smooth = smoothness(scan, shift + amount @ moves, moves)
        matrix = known + smooth.bound
        ridge = (
            1e-9
            * matrix.diagonal().mean()
            * torch.eye(len(matrix), device="cpu", dtype=matrix.dtype).to(matrix)
        )
        amount = amount - torch.linalg.solve(matrix + ridge, known @ (amount - away) + smooth.pull)
    result = shift + amount @ moves
    return result - result[scan.used].mean()


@dataclass(frozen=True)
class Smoothness:
    """What neighbours say of changes ``(k,)`` of the shifts, if these bend as little as possible.

    The sum of all bends grows by ``pull @ change``, and by ``change @ known @ change / 2``. This is
    less than ``change @ bound @ change / 2``, however large the change is.
    """

    pull: torch.Tensor
    known: torch.Tensor  # (k, k)
    bound: torch.Tensor
    scatter: torch.Tensor
    """``(k, k)``: how far ``pull`` is from zero by chance, as true shifts bend, too."""


def smoothness(scan: Scan, shift: torch.Tensor, moves: torch.Tensor) -> Smoothness:
    """Of shifts ``(t,)`` that may change by ``moves (k, t)``.

    Bends of neighbouring pixels are those of one true shift and of one pooled noise: only those
    that are far apart pull by chance.
    """
    pulls = torch.zeros_like(moves)
    known, bound = (moves.new_zeros(len(moves), len(moves)) for _ in range(2))
    images = torch.cat([shift[None], moves])
    for axis in range(len(scan.shape)):
        for reach in REACHES:
            if scan.shape[axis] <= 2 * reach:
                continue
            bends, place = _bends(scan, images, axis, reach)
            left, steps = bends[0], bends[1:]
            typical = MAD_TO_SIGMA * left.abs().median() + LEAST * abs(scan.step)
            # The sum of sizes, not of squares: there may be steps, at borders of grains.
            size = typical.square() + left.square()
            weight = 1 / (typical * size.sqrt()) / len(REACHES)
            bound += (steps * weight) @ steps.mT
            known += (steps * weight * typical.square() / size) @ steps.mT
            pulls[:, place] += steps * weight * left
    near = scan.smoothed(pulls, TOGETHER / math.sqrt(2))
    alike = scan.alike(TOGETHER / math.sqrt(2))
    scatter = alike * near @ near.mT
    # Energies of the spectra against each other were fitted to as many independent pulls.
    weight = pulls.square().sum(0)
    regions = float(weight.sum().square() / weight.square().sum().clamp(min=1e-300)) / alike
    scatter *= max(regions, 1) / max(regions - math.isqrt(len(moves)) + 1, 1)
    return Smoothness(pulls.sum(1), known, bound, scatter)


def _bends(
    scan: Scan, images: torch.Tensor, axis: int, reach: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Second differences of images ``(k, t)`` between pixels that are ``reach`` apart, ``(k, p)``,
    and the pixels ``(p,)`` in their middle.

    These are zero on a ramp, so that a step between two grains does not hide in its slope.
    """
    size = scan.shape[axis] - 2 * reach
    used = scan.used.reshape(scan.shape)
    place = torch.arange(scan.used.numel(), device=used.device).reshape(scan.shape)
    inside = [used.narrow(axis, k * reach, size) for k in range(3)]
    every = inside[0] & inside[1] & inside[2]
    left, middle, right = (images[:, place.narrow(axis, k * reach, size)[every]] for k in range(3))
    return left - 2 * middle + right, place.narrow(axis, reach, size)[every]


def certain(
    known: torch.Tensor,
    scan: Scan,
    spectra: torch.Tensor,
    maps: torch.Tensor,
    widths: torch.Tensor,
    times: float = CERTAIN,
    least: float = 0.0,
) -> torch.Tensor:
    """The part of the information ``known`` that is not of the noise of the maps.

    Noise makes pixels of one component look like mixtures. How much, more noise of the same
    strength shows: ``times`` that is taken off, and ``least`` of it left.
    """
    draw = torch.Generator().manual_seed(0)
    more = torch.zeros_like(known)
    root = _noise_of_maps(scan, spectra, maps)
    for _ in range(DRAWS):
        random = torch.randn(maps.shape, generator=draw, device="cpu", dtype=torch.float64).to(maps)
        random = (root @ random.mT[..., None])[..., 0].mT * scan.used
        more += (exchanges(scan, spectra, maps + random, widths)[1] - known) / DRAWS
    values, vectors = torch.linalg.eigh(more)
    size = values.clamp(min=max(1e-6 * float(values[-1]), 1e-30)).sqrt()
    root, inverse = vectors * size, (vectors / size).mT
    ratio, turned = torch.linalg.eigh(inverse @ known @ inverse.mT)
    back = root @ turned
    return (back * (ratio - times).clamp(min=least)) @ back.mT


def _noise_of_maps(scan: Scan, spectra: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Roots ``(t, n, n)`` of the covariances of maps: where lines are, counts have more noise."""
    scaled = spectra / scan.noise[:, None]
    products = (scaled[:, :, None] * scaled[:, None]).flatten(1)
    covariance = (scan.variance(spectra @ maps).mT @ products).unflatten(1, (len(maps), -1))
    return torch.linalg.cholesky_ex(covariance)[0]
