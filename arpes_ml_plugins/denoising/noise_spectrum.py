"""The noise's own spectrum, where structure does not reach: a low quantile over many small blocks.

In most blocks of an image there is little structure at most frequencies, so that a low quantile of
their power is the noise's, however sharp the bands are in the others. It is compared with the same
quantile of simulated white noise of the same brightness, which takes care of windows, weights and
few counts alike. The ratio, against frequency, is the gain times the squared transfer function of
whatever has correlated the noise: a charge cloud, a phosphor, an interpolation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA
from arpes_ml_plugins.denoising.cosines import cosines
from arpes_ml_plugins.denoising.counts_network import gaussian_mean

__all__ = ["NoiseSpectrum", "noise_spectrum", "shifted_gain"]

SMOOTH = 4.0  # pixels, over which the intensity is averaged
BLOCK, SMALL_BLOCK = 16, 8  # pixels
LARGE_ENOUGH = 48  # pixels along an axis, for the larger block
QUIET = 0.3  # quantile over the blocks
DARK = 0.05  # of the mean intensity: blocks with darker pixels are not used
COMPLETE = 0.8  # of the pixels of a block
FEWEST, MOST = 4, 1500  # blocks that are used
MOST_COUNTS = 1e12  # per pixel that are drawn: data without noise have no end of them
TINY = 1e-4  # of the mean intensity: keeps quotients finite
SIMULATED = 4  # images of white noise behind the comparison
WEAKEST = 3e-3  # of the largest power: weaker ones are rounding and leakage
LOWEST = 1  # groups of modes along either axis that structure spoils
FIT_ROUNDS = 20
LEAST_SPREAD = 0.05  # of the logarithm of the power
GRID = 200  # frequencies of the correlation's integral
CLASSES = 6  # of brightness
DROPPED = 3  # classes at most that sharp structure may spoil
MISFIT = 8.0  # chi^2 per degree of freedom of a line that does not fit
RANGE = 1.01  # largest over smallest mean of the classes needed to separate shift and gain
SURE = 4.0  # standard deviations of a significant shift
LARGEST_SHIFT = 20.0  # times the mean intensity
MATTERS = 0.05  # of the mean intensity: a smaller shift is left alone


@dataclass(frozen=True)
class NoiseSpectrum:
    """Noise of a stack of images from one detector."""

    gain: torch.Tensor
    """Noise power at frequency zero over the mean intensity."""
    gain_error: torch.Tensor
    row_correlation: torch.Tensor
    """Correlation of the noise of neighbours along the first axis."""
    column_correlation: torch.Tensor
    correlation_error: torch.Tensor
    mean: torch.Tensor  # (blocks,)
    ratio: torch.Tensor
    """Noise of each block, over what the mean over all says: ``(blocks,)``."""
    power: torch.Tensor
    """Noise power over the mean intensity, against frequency: ``(rows, columns)``, from 0 to the
    Nyquist frequency."""
    model: torch.Tensor
    """The smooth function that is fitted to it."""

    @property
    def frequencies(self) -> torch.Tensor:
        """Frequencies of ``power`` along either axis, in units of the Nyquist frequency."""
        return _frequencies(len(self.power)).to(self.power)

    @property
    def mean_power(self) -> torch.Tensor:
        """Mean of the fitted power over all trusted frequencies: the gain of white noise."""
        return self.model[_trusted(self.model)].mean()

    @property
    def block(self) -> int:
        """Side of the blocks in pixels."""
        return 2 * len(self.power)

    def along_axes(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """Measured and fitted power along each axis, at frequency zero of the other one.

        In units of the power at frequency zero of both. Measured values are medians over the other
        axis, after division by the model's dependence on it.
        """
        off = torch.where(_trusted(self.model), self.power / self.model, torch.nan)
        fitted = self.model[:, 0] / self.gain, self.model[0] / self.gain
        return tuple(
            (ratio.nanmedian(1).values * curve, curve)
            for ratio, curve in zip((off, off.mT), fitted, strict=True)
        )


def noise_spectrum(images: torch.Tensor, valid: torch.Tensor) -> NoiseSpectrum:
    """Measure a stack; ``images`` (float64) and ``valid`` have shape ``(n, height, width)``."""
    size = BLOCK if min(images.shape[-2:]) >= LARGE_ENOUGH else SMALL_BLOCK
    mask = valid.to(images)
    smooth = gaussian_mean(torch.where(valid, images, 0)[:, None], mask[:, None], SMOOTH)[:, 0]
    smooth = smooth.clamp(min=0)
    mean = (smooth * mask).sum() / mask.sum()
    chosen = _chosen(smooth, mask, mean, size)
    kept = _cut(mask, size)[chosen]
    bright = _cut(smooth, size)[chosen] + TINY * mean + torch.finfo(mean.dtype).tiny
    level = bright.mean((-2, -1))
    ours = _power((_cut(images, size)[chosen] - bright) * kept, level)
    generator = torch.Generator().manual_seed(0)

    def white(gain: torch.Tensor | None) -> torch.Tensor:
        drawn = [_white(bright, gain, generator) * kept for _ in range(SIMULATED)]
        return torch.cat([_power(noise, level) for noise in drawn])

    def compared(drawn: torch.Tensor) -> torch.Tensor:
        return _quantile(ours) / _quantile(drawn).clamp(min=torch.finfo(mean.dtype).tiny)

    first = _fitted(compared(white(None))).gain  # Gaussian: no gain is known so far
    drawn = white(first)
    measured = compared(drawn)
    fit = _fitted(measured)
    trusted = _trusted(fit.model).to(ours)
    own = (ours / fit.model * trusted).sum((-2, -1))
    expected = (drawn * trusted).sum((-2, -1)).reshape(SIMULATED, -1).mean(0)
    return NoiseSpectrum(
        gain=fit.gain,
        gain_error=fit.gain * fit.spread,
        row_correlation=_neighbours(fit.terms[1:3]),
        column_correlation=_neighbours(fit.terms[3:5]),
        correlation_error=fit.spread,
        mean=level,
        ratio=own / expected.clamp(min=torch.finfo(expected.dtype).tiny),
        power=measured,
        model=fit.model,
    )


def shifted_gain(spectrum: NoiseSpectrum) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and shift such that the variance is ``gain * (mean + shift)``.

    Read-out noise and a subtracted constant give a positive shift, a pedestal a negative one. A
    shift that is no more than chance, or does not matter, is zero.
    """
    unshifted = spectrum.gain, torch.zeros_like(spectrum.gain)
    order = spectrum.mean.argsort()
    groups = [g for g in order.tensor_split(CLASSES) if len(g) >= FEWEST]
    if len(groups) < 3:
        return unshifted
    means = torch.stack([spectrum.mean[g].median() for g in groups])
    if means.max() < RANGE * means.min().clamp(min=1e-300):
        return unshifted
    quiet = torch.stack([torch.quantile(spectrum.ratio[g], QUIET) for g in groups])
    scale = torch.quantile(spectrum.ratio, QUIET)
    variance = spectrum.gain * quiet / scale * means
    error = variance * torch.stack(
        [spectrum.ratio[g].std() / spectrum.ratio[g].mean() * (4 / len(g)) ** 0.5 for g in groups]
    )
    constant, slope, sigma = _line(means, variance, error)
    if constant.abs() < SURE * sigma or (slope <= 0 and constant < 0):
        return unshifted
    # Noise that does not grow with the intensity has an endless shift; this many means will do.
    slope = slope.clamp(min=constant / (LARGEST_SHIFT * means.mean()))
    shift = constant / slope
    if shift.abs() < MATTERS * spectrum.mean.mean():
        return unshifted
    return slope, shift


def _line(
    means: torch.Tensor, variance: torch.Tensor, error: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Constant and slope of a line, and the error of the constant. The brightest classes are left
    out if a line through all does not fit: structure that is sharp there adds to the variance.
    """
    fits: list[tuple[torch.Tensor, ...]] = []
    for number in range(len(means), max(3, len(means) - DROPPED) - 1, -1):
        x, y, e = means[:number], variance[:number], error[:number]
        design = torch.stack([torch.ones_like(x), x], 1) / e[:, None]
        inverse = torch.linalg.pinv(design.mT @ design)
        constant, slope = inverse @ design.mT @ (y / e)
        scatter = ((y - constant - slope * x) / e).square().sum() / (number - 2)
        if constant < 0 or not fits:  # only a pedestal is looked for in fewer classes
            fits.append((scatter, constant, slope, (inverse[0, 0] * scatter.clamp(min=1.0)).sqrt()))
        if scatter < MISFIT:
            break
    _, constant, slope, sigma = min(fits, key=lambda fit: float(fit[0]))
    return constant, slope, sigma


def _cut(values: torch.Tensor, size: int) -> torch.Tensor:
    """Half-overlapping blocks, ``(blocks, size, size)``."""
    step = size // 2
    return values.unfold(-2, size, step).unfold(-2, size, step).reshape(-1, size, size)


def _chosen(
    smooth: torch.Tensor, mask: torch.Tensor, mean: torch.Tensor, size: int
) -> torch.Tensor:
    """Indices of complete blocks that are bright enough, evenly spread; of any if they are few."""
    complete = _cut(mask, size).mean((-2, -1)) >= COMPLETE
    darkest = _cut(torch.where(mask > 0, smooth, torch.inf), size).amin((-2, -1))
    used = (complete & (darkest > DARK * mean)).nonzero()[:, 0]
    if len(used) < FEWEST:
        used = (_cut(mask, size).mean((-2, -1)) > 0).nonzero()[:, 0]
    return used[:: len(used) // MOST + 1]


def _white(
    bright: torch.Tensor, gain: torch.Tensor | None, generator: torch.Generator
) -> torch.Tensor:
    """Noise of gain 1 around zero: that of counts of ``gain`` each, or Gaussian."""
    if gain is None:
        drawn = torch.randn(bright.shape, generator=generator, dtype=bright.dtype, device="cpu")
        return drawn.to(bright.device) * bright.sqrt()
    expected = torch.nan_to_num(bright / gain).cpu().clamp(max=MOST_COUNTS)
    drawn = torch.poisson(expected, generator=generator) - expected
    return drawn.to(bright.device) * gain.sqrt()


def _power(blocks: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Power of groups of 2 x 2 modes (DCT) over ``level``, ``(blocks, size / 2, size / 2)``."""
    size = blocks.shape[-1]
    matrix, window = (part.to(blocks) for part in _transform(size))
    modes = matrix @ ((blocks - blocks.mean((-2, -1), keepdim=True)) * window) @ matrix.mT
    half = size // 2
    return modes.square().reshape(-1, half, 2, half, 2).mean((2, 4)) / level[:, None, None]


def _quantile(power: torch.Tensor) -> torch.Tensor:
    """Over the blocks."""
    rank = round(QUIET * (len(power) - 1)) + 1
    return power.flatten(1).mT.contiguous().kthvalue(rank, -1).values.reshape(power.shape[1:])


@lru_cache
def _transform(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine transform and a window that fades towards the edges of a block."""
    one = torch.hann_window(size + 2, periodic=False, dtype=torch.float64, device="cpu")[1:-1]
    window = one[:, None] * one
    return cosines(size), window / window.square().mean().sqrt()


def _frequencies(groups: int) -> torch.Tensor:
    """Frequencies of groups of two modes, in units of the Nyquist frequency."""
    modes = 2 * torch.arange(groups, dtype=torch.float64, device="cpu") + 0.5
    return modes / (2 * groups)


def _design(groups: int) -> torch.Tensor:
    """Logarithm of the power: its value at zero, and a cosine series along each axis."""
    f = _frequencies(groups)
    rows, columns = torch.meshgrid(f, f, indexing="ij")
    terms = [torch.ones_like(rows)]
    terms += [1 - torch.cos(k * math.pi * axis) for axis in (rows, columns) for k in (1, 2)]
    return torch.stack(terms, -1)


@dataclass(frozen=True)
class _Fit:
    terms: torch.Tensor
    model: torch.Tensor  # power, as fitted
    spread: torch.Tensor
    """Standard deviation of the logarithm of the power at frequency zero."""

    @property
    def gain(self) -> torch.Tensor:
        return self.terms[0].exp()


def _fitted(ratio: torch.Tensor) -> _Fit:
    """Give no weight to what stands out (structure at low frequencies, the lattice of a mesh)."""
    design = _design(len(ratio)).to(ratio)
    usable = _trusted(ratio)
    if int(usable.sum()) < 3 * design.shape[-1]:
        usable = torch.ones_like(usable)
    logs = ratio.clamp(min=torch.finfo(ratio.dtype).tiny).log()
    flat, weight = design.flatten(0, 1), usable.to(ratio)
    for _ in range(FIT_ROUNDS):
        weighted = flat * weight.flatten()[:, None]
        inverse = torch.linalg.pinv(weighted.mT @ flat)
        terms = inverse @ weighted.mT @ logs.flatten()
        off = logs - design @ terms
        spread = (MAD_TO_SIGMA * off[usable].abs().median()).clamp(min=LEAST_SPREAD)
        weight = usable / (1 + (off / (2 * spread)).square())
    return _Fit(terms, (design @ terms).exp(), spread * inverse[0, 0].sqrt())


def _trusted(power: torch.Tensor) -> torch.Tensor:
    """Mask of the frequencies that neither structure nor rounding dominates."""
    trusted = power > WEAKEST * power.max()
    trusted[: LOWEST + 1, : LOWEST + 1] = False
    return trusted


def _neighbours(terms: torch.Tensor) -> torch.Tensor:
    """Correlation of neighbours from the spectrum along one axis."""
    f = torch.linspace(0, 1, GRID, dtype=terms.dtype, device=terms.device)
    spectrum = sum(t * (1 - torch.cos((k + 1) * math.pi * f)) for k, t in enumerate(terms)).exp()
    return (spectrum * torch.cos(math.pi * f)).mean() / spectrum.mean()
