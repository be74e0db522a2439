"""Find the mesh in front of a detector in the data themselves, and its transmission.

A mesh multiplies the intensity by a periodic transmission, in bright and dark places alike. Its
lattice shows as sharp peaks in the spectrum of the residual to a smooth image. The phases of two
peaks, with slow distortions, are the lattice's coordinates; the transmission is a Fourier series in
them, fitted by weighted least squares while the image behind the mesh is estimated in turn.

Periodic structure of the sample has sharp peaks too. It is no mesh unless its depth, relative to
the intensity, is the same in all parts of the image, bright and dark (:func:`_uniform`), and unless
the narrow places are the dark ones (:func:`_shadow_like`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.counts_network import gaussian_mean

__all__ = ["Mesh", "estimate_mesh"]

SHORTEST, LONGEST = 3.9, 32.0  # pixels, periods looked for
FEWEST_PERIODS = 7.0  # along the shorter side of the image
SMALLEST = 64  # pixels
SMOOTH = 9.0  # pixels; what it removes has longer periods
STRUCTURE = 0.05  # relative variance by bands: more counts than its inverse add little
CLIP = 3.0  # standard deviations
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
ORDER = 6  # harmonics
HIGHEST = 0.9  # cycles per pixel; above 0.5 they appear as lower ones
RESOLVED = 3.0  # periods along the image, by which two frequencies must differ
SIGNIFICANT = 9.0  # (amplitude / deviation)^2, two degrees of freedom: 1 % by chance
LEAST = 0.2  # transmission
DEEPEST = 0.7  # a mesh that takes more of the mean is none
SHADOWS = 1.25  # what the brightest places exceed the mean by, over what the darkest lack
SHADOWS_ALONG = 0.75  # the same, of wires that run along an axis, as flat bands do
ALONG = 0.7  # periods by which such wires shift from one rim of the image to the other
ROUNDS = 3
FEW = 10.0  # counts per pixel that all rounds but the last work with
PARTS = 4  # along either side, in which the depth is compared
LEVELS = 3  # of brightness in each
TOLERANCE = 0.2  # relative, of the depth of a part
TOLD = 0.25  # largest error of a part's depth that is looked at
DEVIATIONS = 3.0
EXCEPTIONS = 0.18  # fraction of the parts, as bands of the mesh's own period cause them
ENOUGH = 8  # parts
SURE = 8.0  # standard deviations of the depth


@dataclass(frozen=True)
class Mesh:
    """Transmission of a mesh; ones, and no lattice, if there is none."""

    flat: torch.Tensor
    """``(height, width)``, of mean 1."""
    frequencies: torch.Tensor
    """``(0, 1 or 2, 2)`` in cycles per pixel, along rows and columns."""
    depth: float = 0.0
    """Largest less smallest transmission, over the largest."""

    @property
    def found(self) -> bool:
        return len(self.frequencies) > 0


Smoother = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From counts and their mask, ``(1, height, width)``, to the expectation."""


def estimate_mesh(
    images: torch.Tensor, valid: torch.Tensor, smoother: Smoother | None = None
) -> Mesh:
    """Estimate the mesh that all ``images`` were seen through.

    Parameters
    ----------
    images
        Shape ``(n, height, width)``, in electrons: the variance is the mean.
    valid
        Same shape.
    smoother
        Denoiser of the image behind the mesh; a Gaussian filter by default. Called only if there
        is a lattice.
    """
    total, mask = _summed(images, valid)
    none = Mesh(torch.ones_like(total), total.new_zeros(0, 2))
    if min(total.shape) < SMALLEST or not bool(mask.any()):
        return none
    fit = _fit(total, mask, *_residual(total, mask), None)
    if fit is None:
        return none
    for step in range(ROUNDS):
        few = FEW if step < ROUNDS - 1 else math.inf
        counts, share = _thinned(torch.where(mask, total / fit.flat, 0), few)
        clean = (smoother or _gaussian)(counts[None], mask[None])[0] / share
        again = _fit(total, mask, *_residual(total, mask, clean), clean)
        if again is None:
            break
        fit = again
    divided = torch.where(mask, total / fit.flat, 0)
    behind = _averaged(divided, mask, list(fit.frequencies))
    return fit if _uniform(total, mask, behind, fit.flat) else none


def _fit(
    total: torch.Tensor,
    mask: torch.Tensor,
    residual: torch.Tensor,
    weight: torch.Tensor,
    clean: torch.Tensor | None,
) -> Mesh | None:
    """The lattice that ``residual`` shows, and the transmission, if it is a mesh's."""
    frequencies = _lattice(residual, weight)
    if not frequencies:
        return None
    phases = torch.stack([_phase(residual, weight, frequency) for frequency in frequencies])
    waves = _series(phases, _orders(frequencies, total.shape))
    behind = _averaged(total, mask, frequencies) if clean is None else clean
    flat = _transmission(total, mask, behind, waves)
    if not _shadow_like(flat[mask], frequencies, total.shape):
        return None
    lowest, highest = float(flat.min()), float(flat.max())
    return Mesh(flat, torch.stack(frequencies), 1 - lowest / highest)


def _summed(images: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All images together; pixels that some of them lack are scaled, those that most lack left."""
    seen = valid.sum(0)
    total = torch.where(valid, images, 0).sum(0) * (len(images) / seen.clamp(min=1))
    return total, seen * 2 > len(images)


def _gaussian(counts: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return gaussian_mean(counts[:, None], valid.to(counts)[:, None], 2.0)[:, 0]


def _residual(
    total: torch.Tensor, mask: torch.Tensor, smooth: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Whose Fourier coefficients are those of the transmission, and the weights that it has.

    The best estimate from ``y = s (1 + m)`` of variance ``s + STRUCTURE s^2``.
    """
    known = mask.to(total)
    if smooth is None:
        smooth = gaussian_mean((total * known)[None, None], known[None, None], SMOOTH)[0, 0]
    smooth = smooth.clamp(min=1e-3 * float(total[mask].mean().abs()) + 1e-12)
    deviation = (smooth + STRUCTURE * smooth.square()).sqrt()
    standard = ((total - smooth) / deviation).clamp(-CLIP, CLIP) * known
    weight = known * smooth / deviation
    return standard * weight, weight.square()


def _lattice(residual: torch.Tensor, weight: torch.Tensor) -> list[torch.Tensor]:
    """Frequencies of one or two coherent peaks in different directions, the strongest first."""
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
    return max(1 / LONGEST, FEWEST_PERIODS / min(shape)) < float(frequency.norm()) < 1 / SHORTEST


def _peaks(residual: torch.Tensor) -> list[torch.Tensor]:
    """Frequencies whose power stands out of that around them, the clearest first."""
    height, width = residual.shape
    window = _hann(height, residual)[:, None] * _hann(width, residual)
    power = torch.fft.fft2(residual * window).abs().square()
    power = power + 1e-9 * power.mean() + torch.finfo(power.dtype).tiny
    logarithm = power.log()[None, None]
    inner, outer = (2 * reach + 1 for reach in (NEAR, AROUND))
    wide, near = (_box(logarithm, size) * size**2 for size in (outer, inner))
    around = ((wide - near) / (outer**2 - inner**2) + EULER).exp()[0, 0]
    ratio = power / around
    rows, columns = (
        torch.fft.fftfreq(n, device=residual.device, dtype=residual.dtype) for n in (height, width)
    )
    radius = torch.hypot(rows[:, None], columns[None])
    padded = F.pad(ratio[None, None], (NEAR,) * 4, mode="circular")
    summit = ratio == F.max_pool2d(padded, inner, 1)[0, 0]
    lowest = max(1 / LONGEST, FEWEST_PERIODS / min(height, width))
    half = (columns[None] > 0) | ((columns[None] == 0) & (rows[:, None] > 0))
    chosen = summit & half & (ratio > PEAK) & (radius > lowest) & (radius < 1 / SHORTEST)
    places = chosen.nonzero()[ratio[chosen].argsort(descending=True)][:CANDIDATES]
    return [torch.stack([rows[i], columns[j]]) for i, j in places]


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
    fifths = torch.quantile(size[used], torch.tensor([0.2, 0.8]).to(size)) / size[used].median()
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


def _wave(like: torch.Tensor, frequency: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Its factors along rows, ``(height, 1)``, and along columns, ``(1, width)``."""
    height, width = like.shape
    r, c = (torch.arange(n, dtype=like.dtype, device=like.device) for n in (height, width))
    rows, columns = (
        torch.exp(-2j * math.pi * f * x) for f, x in zip(frequency, (r, c), strict=True)
    )
    return rows[:, None], columns[None]


def _hann(size: int, like: torch.Tensor) -> torch.Tensor:
    return torch.hann_window(size, periodic=False, dtype=like.dtype, device=like.device)


def _box(values: torch.Tensor, size: int) -> torch.Tensor:
    """Mean over ``size x size``, periodically."""
    for dim in (-2, -1):
        half = size // 2
        padded = torch.cat(
            [
                values.narrow(dim, values.shape[dim] - half, half),
                values,
                values.narrow(dim, 0, half),
            ],
            dim,
        )
        total = F.pad(padded.cumsum(dim), (1, 0) if dim == -1 else (0, 0, 1, 0))
        n = values.shape[dim]
        values = (total.narrow(dim, size, n) - total.narrow(dim, 0, n)) / size
    return values


def _waves(residual: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Fourier coefficients at all pairs of the given frequencies."""
    height, width = residual.shape
    r, c = (torch.arange(n, dtype=residual.dtype, device=residual.device) for n in (height, width))
    left = torch.exp(-2j * math.pi * rows[:, None] * r)
    right = torch.exp(-2j * math.pi * c[:, None] * columns)
    return left @ residual.to(left) @ right


def _refined(residual: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
    """The maximum near ``frequency``, found by looking ever closer."""
    steps = torch.linspace(-1, 1, 9, dtype=residual.dtype, device=residual.device)
    bins = torch.tensor([1 / n for n in residual.shape], dtype=residual.dtype)
    for _ in range(ZOOMS):
        rows, columns = (frequency[k] + steps * bins[k] for k in (0, 1))
        best = int(_waves(residual, rows, columns).abs().argmax())
        frequency = torch.stack([rows[best // len(steps)], columns[best % len(steps)]])
        bins = bins / 3
    return frequency


def _coordinates(shape: torch.Size, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r, c = (torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in shape)
    return torch.broadcast_tensors(r[:, None], c[None])


def _tiled(values: torch.Tensor, tiles: int) -> torch.Tensor:
    """Sums over tiles of an image, ``(tiles, tiles)``; complex values too."""
    if values.is_complex():
        return torch.complex(_tiled(values.real, tiles), _tiled(values.imag, tiles))
    rows, columns = (
        F.one_hot(torch.arange(n, device=values.device) * tiles // n, tiles).to(values)
        for n in values.shape
    )
    return rows.mT @ values @ columns


def _phase(residual: torch.Tensor, weight: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
    """Phase of one direction of the lattice at every pixel, with slow distortions."""
    height, width = residual.shape
    r, c = (torch.arange(n, dtype=residual.dtype, device=residual.device) for n in (height, width))
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


def _orders(frequencies: list[torch.Tensor], shape: torch.Size) -> list[tuple[int, ...]]:
    """Harmonics that pixels can tell apart, low ones first; one of each pair of opposite ones."""
    span = range(-ORDER, ORDER + 1)
    pairs: list[tuple[int, ...]]
    pairs = [(i, j) for i in span for j in span] if len(frequencies) == 2 else [(i,) for i in span]
    pairs = [n for n in pairs if next((k for k in n if k), 0) > 0 and sum(map(abs, n)) <= ORDER]
    pairs.sort(key=lambda n: sum(map(abs, n)))
    near = RESOLVED / min(shape)
    kept: list[tuple[int, ...]] = []
    seen = [torch.zeros_like(frequencies[0])]
    for orders in pairs:
        total = torch.stack([n * f for n, f in zip(orders, frequencies, strict=True)]).sum(0)
        # Pixels see a frequency only up to whole numbers, and a cosine not its sign.
        images = [total - other for other in (*seen, -total)] + [total + other for other in seen]
        if float(total.norm()) < HIGHEST and all(
            float((x - x.round()).norm()) > near for x in images
        ):
            kept.append(orders)
            seen.append(total)
    return kept


def _series(phases: torch.Tensor, orders: list[tuple[int, ...]]) -> torch.Tensor:
    """Cosines and sines of all harmonics, ``(1 + 2 orders, pixels)``."""
    flat = phases.flatten(1)
    numbers = torch.tensor(orders, dtype=flat.dtype, device=flat.device)
    angles = numbers @ flat
    return torch.cat([torch.ones_like(flat[:1]), angles.cos(), angles.sin()])


def _transmission(
    total: torch.Tensor, mask: torch.Tensor, clean: torch.Tensor, waves: torch.Tensor
) -> torch.Tensor:
    """Weighted least squares of ``total = clean * flat``; only significant harmonics are kept."""
    known = mask.flatten().to(total)
    clean = (clean.flatten() * known).clamp(min=0)
    relative = 1 / (1 + STRUCTURE / 5 * clean)
    data = total.flatten() * known * relative
    normal = (waves * (clean * relative)) @ waves.T
    normal = normal + 1e-9 * normal.diagonal().mean() * torch.eye(
        len(normal), dtype=normal.dtype, device=normal.device
    )
    inverse = torch.linalg.inv(normal)
    solved = inverse @ (waves @ data)
    variance = inverse.diagonal()
    half = len(solved) // 2
    cosines, sines = solved[1 : half + 1], solved[half + 1 :]
    strength = cosines.square() / variance[1 : half + 1] + sines.square() / variance[half + 1 :]
    kept = torch.cat([strength.new_ones(1, dtype=torch.bool), *[strength > SIGNIFICANT] * 2])
    kept = kept.nonzero()[:, 0]
    some = torch.linalg.solve(normal[kept][:, kept], (waves @ data)[kept])
    flat = (some / some[0]) @ waves[kept]
    return flat.clamp(min=LEAST).reshape(total.shape)


def _thinned(counts: torch.Tensor, mean: float) -> tuple[torch.Tensor, float]:
    """As with ``mean`` counts per pixel: a denoiser then sees less of what is left of the mesh."""
    now = float(counts.mean())
    if now <= mean:
        return counts, 1.0
    share = mean / now
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(counts.shape, generator=generator, dtype=counts.dtype).to(counts.device)
    deviation = (share * (1 - share) * counts.clamp(min=0)).sqrt()
    return (share * counts + deviation * noise).clamp(min=0), share


def _shadow_like(flat: torch.Tensor, frequencies: list[torch.Tensor], shape: torch.Size) -> bool:
    """Whether narrow places are dark rather than bright, and none of them too dark."""
    lack, excess = 1 - float(flat.min()), float(flat.max()) - 1
    if lack > DEEPEST or excess <= 0:
        return False
    shift = min(float(abs(f) * n) for f, n in zip(frequencies[0], shape, strict=True))
    along = len(frequencies) == 1 and shift < ALONG
    return excess < (SHADOWS_ALONG if along else SHADOWS) * lack


def _averaged(
    total: torch.Tensor, mask: torch.Tensor, frequencies: list[torch.Tensor]
) -> torch.Tensor:
    """The data averaged over one period in each direction of the lattice."""
    known = mask.to(total)
    values, weights = total * known, known
    for frequency in frequencies:
        period = frequency / frequency.square().sum()
        values, weights = (_along(x, period) for x in (values, weights))
        if len(frequencies) == 1:
            break
    return values / weights.clamp(min=1e-3)


def _along(values: torch.Tensor, period: torch.Tensor) -> torch.Tensor:
    """Mean along a vector of pixels, centred (zeros beyond the rim)."""
    reach = math.ceil(float(period.norm()) / 2) + 1
    padded = F.pad(values, (reach,) * 4)
    height, width = padded.shape
    rows = torch.fft.fftfreq(height, device=values.device, dtype=values.dtype)[:, None]
    columns = torch.fft.rfftfreq(width, device=values.device, dtype=values.dtype)[None]
    response = torch.sinc(rows * period[0] + columns * period[1])
    smooth = torch.fft.irfft2(torch.fft.rfft2(padded) * response, s=(height, width))
    return smooth[reach:-reach, reach:-reach]


def _uniform(
    total: torch.Tensor, mask: torch.Tensor, clean: torch.Tensor, flat: torch.Tensor
) -> bool:
    """Whether the depth relative to the intensity is the same in all parts, bright and dark."""
    clean = clean.clamp(min=0)
    relative = mask / (1 + STRUCTURE * clean)
    shape = relative * (flat - 1)  # the estimator of the depth is a sum with these weights
    strength = shape * (flat - 1) * clean
    score = shape * (total - clean)
    noise = (shape * (total - clean * flat)).square()
    depths, errors = [], []
    for labels in _parts(clean, mask):
        sums = [
            torch.zeros(int(labels.max()) + 1).to(x).index_add_(0, labels[mask], x[mask])
            for x in (score, strength, noise)
        ]
        depths.append(sums[0] / sums[1].clamp(min=1e-12))
        errors.append(sums[2].sqrt() / sums[1].clamp(min=1e-12))
    if depths[0][0] < SURE * errors[0][0]:
        return False
    depth, error = torch.cat(depths[1:]), torch.cat(errors[1:])
    told = (error < TOLD) & (error > 0)
    off = (depth - 1).abs() > TOLERANCE + DEVIATIONS * error
    first = len(depths[1])
    levels = slice(first, first + len(depths[2]))
    return int(told.sum()) >= ENOUGH and all(
        float(off[part][told[part]].double().mean().nan_to_num()) < EXCEPTIONS
        for part in (slice(None), levels)
    )


def _parts(clean: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """Labels of the pixels: all as one part, by place, by brightness, and by both."""
    rows, columns = (torch.arange(n, device=clean.device) * PARTS // n for n in clean.shape)
    place = rows[:, None] * PARTS + columns[None]
    share = torch.linspace(0, 1, 2 * LEVELS + 1)[1:-1].to(clean)
    brightness = torch.bucketize(clean, torch.quantile(clean[mask], share))
    both = torch.zeros_like(place)
    for number in range(PARTS**2):
        inside = (place == number) & mask
        if inside.any():
            share = torch.linspace(0, 1, LEVELS + 1)[1:-1].to(clean)
            level = torch.bucketize(clean, torch.quantile(clean[inside], share))
            both = torch.where(inside, number * LEVELS + level, both)
    return [torch.zeros_like(place), place, brightness, both]
