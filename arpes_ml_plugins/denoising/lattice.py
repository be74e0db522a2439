"""The lattice of a periodic pattern: two peaks of a spectrum, and their phases at every pixel.

A peak belongs to a pattern of the whole image if its tiles agree: in strength, and in phase with
their neighbours. Phases may be distorted slowly, as polynomials of the position.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.neighbourhoods import highest_around, sum_around

__all__ = ["lattice", "phase_of"]

SHORTEST, LONGEST = 2.6, 32.0  # pixels, periods looked for
FEWEST_PERIODS = 7.0  # along the shorter side of the image
NEAR, AROUND = 2, 9  # bins on either side: what belongs to a peak, what it is compared with
EULER = 0.5772  # mean of minus the logarithm of an exponential variable
PEAK = 14.0  # times the power around; 11 is the largest of 30 000 frequencies of noise
CANDIDATES = 12
APART = 0.35  # sine of the angle between two directions of a lattice
ZOOMS = 4
TILES = 6  # along either side, for the coherence of a peak and for slow distortions
FEWEST_TILES = 14  # that show the peak
VISIBLE = 1.5  # power of a tile over its variance, if the amplitude is the median one
COHERENT = 0.35  # cosine of the difference in phase of tiles side by side
ALIKE = (0.5, 1.9)  # lower and upper fifth of the tiles' amplitudes over their median
DEGREES = (1, 2, 3)  # of the polynomials of the phase
WORTH = 6.0  # gain in power by a further degree, in units of noise
BETTER = 1.02  # the same, relative
WEAKER = 0.05  # strength of the second direction over that of the first


def lattice(residual: torch.Tensor, weight: torch.Tensor) -> list[torch.Tensor]:
    """Frequencies of one or two coherent peaks in different directions, the strongest first.

    Parameters
    ----------
    residual
        Shape ``(height, width)``; its Fourier coefficients are those of the pattern.
    weight
        Variance of a pixel of it.

    Returns
    -------
    list of torch.Tensor
        None to two frequencies, ``(2,)`` each, in cycles per pixel along rows and columns.
    """
    candidates = _checked(residual, weight, _peaks(residual))
    if not candidates:
        return []
    strength, first = candidates[0]
    across = torch.stack([-first[1], first[0]])  # most meshes are square
    others = [other for _, other in candidates[1:] if _apart(first, other)]
    others = [*others, *(other / n for other in others for n in (2, 3)), across]
    seconds = _checked(residual, weight, [x for x in others if _in_range(x, residual.shape)])
    seconds = [(s, f) for s, f in seconds if _apart(first, f) and s > WEAKER * strength]
    return [first, seconds[0][1]] if seconds else [first]


def _checked(
    residual: torch.Tensor, weight: torch.Tensor, peaks: list[torch.Tensor]
) -> list[tuple[float, torch.Tensor]]:
    """Strengths and refined frequencies of the coherent ones of ``peaks``, the strongest first."""
    refined = [_refined(residual, peak) for peak in peaks]
    rated = [(_coherent(residual, weight, frequency), frequency) for frequency in refined]
    return sorted([x for x in rated if x[0] > 0], key=lambda x: -x[0])


def _apart(one: torch.Tensor, other: torch.Tensor) -> bool:
    cross = (one[0] * other[1] - one[1] * other[0]).abs()
    return float(cross / (one.norm() * other.norm())) > APART


def _in_range(frequency: torch.Tensor, shape: torch.Size) -> bool:
    return _lowest(shape) < float(frequency.norm()) < 1 / SHORTEST


def _lowest(shape: torch.Size) -> float:
    """Frequency, above which the image holds periods enough."""
    return max(1 / LONGEST, FEWEST_PERIODS / min(shape))


def _peaks(residual: torch.Tensor) -> list[torch.Tensor]:
    """Frequencies whose power stands out of that around them, the clearest first."""
    height, width = residual.shape
    window = _hann(height, residual)[:, None] * _hann(width, residual)
    power = torch.fft.fft2(residual * window).abs().square()
    power = power + 1e-9 * power.mean() + torch.finfo(power.dtype).tiny
    logarithm = power.log()
    inner, outer = (2 * reach + 1 for reach in (NEAR, AROUND))
    wide, near = (_around(logarithm, size, sum_around) for size in (outer, inner))
    around = ((wide - near) / (outer**2 - inner**2) + EULER).exp()
    ratio = power / around
    rows, columns = (
        torch.fft.fftfreq(n, device=residual.device, dtype=residual.dtype) for n in (height, width)
    )
    radius = torch.hypot(rows[:, None], columns[None])
    summit = ratio == _around(ratio, inner, highest_around)
    half = (columns[None] > 0) | ((columns[None] == 0) & (rows[:, None] > 0))
    chosen = (
        summit
        & half
        & (ratio > PEAK)
        & (radius > _lowest(residual.shape))
        & (radius < 1 / SHORTEST)
    )
    places = chosen.nonzero()[ratio[chosen].argsort(descending=True)][:CANDIDATES]
    return [torch.stack([rows[i], columns[j]]) for i, j in places]


def _around(
    values: torch.Tensor, side: int, function: Callable[[torch.Tensor, int], torch.Tensor]
) -> torch.Tensor:
    """``function`` of the square around each of ``values (height, width)``, which are periodic."""
    reach = side // 2
    padded = F.pad(values[None, None], (reach,) * 4, mode="circular")[0, 0]
    return function(padded, side)[reach:-reach, reach:-reach]


def _hann(size: int, like: torch.Tensor) -> torch.Tensor:
    return torch.hann_window(size, periodic=False, dtype=like.dtype, device=like.device)


def _refined(residual: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
    """The maximum near ``frequency``, found by looking ever closer."""
    steps = torch.linspace(-1, 1, 9, dtype=residual.dtype, device=residual.device)
    bins = torch.tensor(
        [1 / n for n in residual.shape], dtype=residual.dtype, device=residual.device
    )
    for _ in range(ZOOMS):
        rows, columns = (frequency[k] + steps * bins[k] for k in (0, 1))
        best = int(_waves(residual, rows, columns).abs().argmax())
        frequency = torch.stack([rows[best // len(steps)], columns[best % len(steps)]])
        bins = bins / 3
    return frequency


def _waves(residual: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Fourier coefficients at all pairs of the given frequencies."""
    r, c = _pixels(residual)
    left = torch.exp(-2j * math.pi * rows[:, None] * r)
    right = torch.exp(-2j * math.pi * c[:, None] * columns)
    return left @ residual.to(left) @ right


def _coherent(residual: torch.Tensor, weight: torch.Tensor, frequency: torch.Tensor) -> float:
    """Median power over variance of the tiles of an image, if they agree; zero otherwise."""
    across, along = _wave(residual, frequency)
    variance = _tiled(weight, TILES)
    amplitude = _tiled(residual * across * along, TILES) / variance.clamp(min=1e-12)
    size = amplitude.abs()
    typical = size[variance > 0.1 * variance.median()].median()
    used = typical.square() * variance > VISIBLE
    if int(used.sum()) < FEWEST_TILES:
        return 0.0
    fifths = (
        torch.quantile(size[used], torch.tensor([0.2, 0.8], device="cpu").to(size))
        / size[used].median()
    )
    direction = torch.where(used, amplitude / size.clamp(min=1e-12), 0)
    pairs = torch.cat(
        [
            (direction[1:] * direction[:-1].conj()).flatten(),
            (direction[:, 1:] * direction[:, :-1].conj()).flatten(),
        ]
    )
    pairs = pairs[pairs.abs() > 0]
    if len(pairs) == 0 or float(pairs.real.mean()) < COHERENT:
        return 0.0
    if float(fifths[0]) < ALIKE[0] or float(fifths[1]) > ALIKE[1]:
        return 0.0
    return float((size.square() * variance).median())


def _pixels(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of the rows, ``(height,)``, and of the columns, ``(width,)``."""
    height, width = like.shape
    return tuple(  # type: ignore[return-value]
        torch.arange(n, dtype=like.dtype, device=like.device) for n in (height, width)
    )


def _wave(like: torch.Tensor, frequency: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Its factors along rows, ``(height, 1)``, and along columns, ``(1, width)``."""
    rows, columns = (
        torch.exp(-2j * math.pi * f * x) for f, x in zip(frequency, _pixels(like), strict=True)
    )
    return rows[:, None], columns[None]


def _tiled(values: torch.Tensor, tiles: int) -> torch.Tensor:
    """Sums over tiles of an image, ``(tiles, tiles)``; complex values too."""
    if values.is_complex():
        return torch.complex(_tiled(values.real, tiles), _tiled(values.imag, tiles))
    rows, columns = (
        F.one_hot(torch.arange(n, device=values.device) * tiles // n, tiles).to(values)
        for n in values.shape
    )
    return rows.mT @ values @ columns


def phase_of(residual: torch.Tensor, weight: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
    """Phase of one direction of the lattice at every pixel, with slow distortions."""
    r, c = _pixels(residual)
    phase = 2 * math.pi * (frequency[0] * r[:, None] + frequency[1] * c[None])
    across, along = _coordinates(residual.shape, residual)
    shares = _tiled(torch.ones_like(residual), TILES)
    noise = weight.sum()  # variance of the coefficient of all
    for degree in DEGREES:
        powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        terms = torch.stack([across**i * along**j for i, j in powers])
        for _ in range(2):
            local = _tiled(residual * torch.exp(-1j * phase), TILES)
            centre = local.sum()
            angle = (local * centre.conj()).angle() + centre.angle()
            design = torch.stack([_tiled(term, TILES) / shares for term in terms], -1)
            importance = local.abs().flatten()[:, None]
            solved = torch.linalg.lstsq(
                design.flatten(0, 1) * importance, angle.flatten()[:, None] * importance
            ).solution[:, 0]
            changed = phase + torch.einsum("k,krc->rc", solved, terms)
            before, after = (
                (residual * torch.exp(-1j * tried)).sum().abs().square()
                for tried in (phase, changed)
            )
            if after > before + WORTH * noise and after > BETTER * before:
                phase = changed
    return phase + (residual * torch.exp(-1j * phase)).sum().angle()


def _coordinates(shape: torch.Size, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r, c = (torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in shape)
    return torch.broadcast_tensors(r[:, None], c[None])
