"""Find the mesh in front of a detector in the data themselves, and its transmission.

A mesh multiplies the intensity by a periodic transmission, in bright and dark places alike. Its
lattice shows as sharp peaks in the spectrum of the residual to a smooth image. The phases of two
peaks, with slow distortions, are the lattice's coordinates; the transmission is a Fourier series in
them, fitted by weighted least squares while the image behind the mesh is estimated in turn.

Periodic structure of the sample has sharp peaks too. A pattern is taken for a mesh only if its
depth relative to the intensity is the same in all parts of the image, bright and dark
(:func:`_uniform`), and if its narrow parts are dark (:func:`_shadow_like`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.lattice import lattice, phase_of
from arpes_ml_plugins.denoising.streams import normal

__all__ = ["Mesh", "estimate_mesh"]

SMALLEST = 64  # pixels
SMOOTH = 9.0  # pixels; what it removes has longer periods
STRUCTURE = 0.05  # relative variance by bands: more counts than its inverse add little
CLIP = 3.0  # standard deviations
ORDER = 6  # harmonics
HIGHEST = 0.9  # cycles per pixel; above 0.5 they appear as lower ones
RESOLVED = 3.0  # periods along the image, by which two frequencies must differ
SIGNIFICANT = 9.0  # (amplitude / deviation)^2, two degrees of freedom: 1 % by chance
LEAST = 0.2  # transmission
DEEPEST = 0.7  # a mesh that takes more of the mean is none
SHADOWS = 1.25  # what the brightest places exceed the mean by, over what the darkest lack
SHADOWS_OF_WIRES = 0.9  # the same in one direction: a standing wave is a cosine, for which it is 1
SHADOWS_ALONG = 0.75  # the same, of wires that run along an axis, as flat bands do
ALONG = 0.7  # periods by which such wires shift from one edge of the image to the other
ROUNDS = 3
FEW = 10.0  # counts per pixel that all rounds but the last work with
PARTS = 4  # along either side, in which the depth is compared
LEVELS = 3  # of brightness in each
TOLERANCE = 0.2  # relative, of the depth of a part
TOLD = 0.25  # largest error of a part's depth that is used
DEVIATIONS = 3.0
EXCEPTIONS = 0.18  # fraction of the parts, as bands of the mesh's own period cause them
ENOUGH = 8  # parts
SURE = 8.0  # standard deviations of the depth


@dataclass(frozen=True)
class Mesh:
    """Transmission of a mesh; ones, and a depth of 0, if there is no significant mesh."""

    flat: torch.Tensor
    """``(height, width)``, of mean 1."""
    frequencies: torch.Tensor
    """``(0, 1 or 2, 2)`` in cycles per pixel, along rows and columns. Without a mesh: of a
    periodic pattern that may be one, if there is any."""
    depth: float = 0.0
    """Largest less smallest transmission, over the largest."""

    @property
    def found(self) -> bool:
        return self.depth > 0


Smoother = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Function from counts and their mask, ``(1, height, width)``, to the expectation."""


def estimate_mesh(images: torch.Tensor, valid: torch.Tensor, smoother: Smoother) -> Mesh:
    """Estimate the mesh that all ``images`` were seen through.

    Parameters
    ----------
    images
        Shape ``(n, height, width)``, in electrons: the variance is the mean.
    valid
        Same shape.
    smoother
        Denoiser of the image behind the mesh. Called only if there is a lattice.
    """
    total, mask = _summed(images, valid)
    none = Mesh(torch.ones_like(total), total.new_zeros(0, 2))
    if min(total.shape) < SMALLEST or not bool(mask.any()) or not bool(total[mask].mean() > 0):
        return none
    residual, weight = _residual(total, mask)
    frequencies = lattice(residual, weight)
    if not frequencies:
        return none
    none = replace(none, frequencies=torch.stack(frequencies[:1]))
    fit = _fit(total, mask, residual, weight, None, frequencies)
    if fit is None:
        return none
    for step in range(ROUNDS):
        few = FEW if step < ROUNDS - 1 else math.inf
        counts, share = _thinned(torch.where(mask, total / fit.flat, 0), few)
        clean = smoother(counts[None], mask[None])[0] / share
        residual, weight = _residual(total, mask, clean)
        again = _fit(total, mask, residual, weight, clean, lattice(residual, weight))
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
    frequencies: list[torch.Tensor],
) -> Mesh | None:
    """The transmission that a lattice in ``residual`` has, if it is a mesh's."""
    if not frequencies:
        return None
    phases = torch.stack([phase_of(residual, weight, frequency) for frequency in frequencies])
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


def _orders(frequencies: list[torch.Tensor], shape: torch.Size) -> list[tuple[int, ...]]:
    """Harmonics that pixels can resolve, low ones first; one of each pair of opposite ones."""
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
    """Thin to ``mean`` counts per pixel, so that a denoiser reproduces less of the mesh."""
    now = float(counts.mean())
    if now <= mean:
        return counts, 1.0
    share = mean / now
    generator = torch.Generator().manual_seed(0)
    noise = normal(counts, generator)
    deviation = (share * (1 - share) * counts.clamp(min=0)).sqrt()
    return (share * counts + deviation * noise).clamp(min=0), share


def _shadow_like(flat: torch.Tensor, frequencies: list[torch.Tensor], shape: torch.Size) -> bool:
    """Whether narrow places are dark rather than bright, and none of them too dark."""
    lack, excess = 1 - float(flat.min()), float(flat.max()) - 1
    if lack > DEEPEST or excess <= 0:
        return False
    shift = min(float(abs(f) * n) for f, n in zip(frequencies[0], shape, strict=True))
    if len(frequencies) > 1:
        return excess < SHADOWS * lack
    return excess < (SHADOWS_ALONG if shift < ALONG else SHADOWS_OF_WIRES) * lack


def _averaged(
    total: torch.Tensor, mask: torch.Tensor, frequencies: list[torch.Tensor]
) -> torch.Tensor:
    """The data averaged over one period in each direction of the lattice."""
    known = mask.to(total)
    values, weights = total * known, known
    for frequency in frequencies:
        period = frequency / frequency.square().sum()
        values, weights = (_along(x, period) for x in (values, weights))
    return values / weights.clamp(min=1e-3)


def _along(values: torch.Tensor, period: torch.Tensor) -> torch.Tensor:
    """Mean along a vector of pixels, centred (zeros beyond the edges)."""
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
            torch.zeros(int(labels.max()) + 1, device="cpu")
            .to(x)
            .index_add_(0, labels[mask], x[mask])
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
    share = torch.linspace(0, 1, 2 * LEVELS + 1, device="cpu")[1:-1].to(clean)
    brightness = torch.bucketize(clean, torch.quantile(clean[mask], share))
    both = torch.zeros_like(place)
    share = torch.linspace(0, 1, LEVELS + 1, device="cpu")[1:-1].to(clean)
    for number in range(PARTS**2):
        inside = (place == number) & mask
        if inside.any():
            level = torch.bucketize(clean, torch.quantile(clean[inside], share))
            both = torch.where(inside, number * LEVELS + level, both)
    return [torch.zeros_like(place), place, brightness, both]
