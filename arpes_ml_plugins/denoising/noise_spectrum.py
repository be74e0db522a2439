"""The noise's own spectrum, where structure does not reach: a low quantile over many small blocks.

In most blocks of an image there is little structure at most frequencies, so that a low quantile of
their power is the noise's, however sharp the bands are in the others. It is compared with the same
quantile of simulated white noise of the same brightness, which takes care of windows, weights and
few counts alike. The ratio, against frequency, is the gain times the squared transfer function of
whatever has correlated the noise: a charge cloud, a phosphor, an interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.denoising.noise_blocks import FEWEST, QUIET, Blocks, quantile
from arpes_ml_plugins.denoising.noise_fit import Fit, fitted, frequencies, trusted

__all__ = ["MATTERS", "NoiseSpectrum", "noise_spectrum", "shifted_gain"]

SIMULATED = 4  # images of white noise behind the comparison
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

    fit: Fit
    """Smooth function that is fitted to ``power``."""
    mean: torch.Tensor  # (blocks,)
    ratio: torch.Tensor
    """Noise of each block, over what the mean over all says: ``(blocks,)``."""
    power: torch.Tensor
    """Noise power over the mean intensity, against frequency: ``(rows, columns)``, from 0 to the
    Nyquist frequency."""

    @property
    def gain(self) -> torch.Tensor:
        """Noise power at frequency zero over the mean intensity."""
        return self.fit.gain

    @property
    def gain_error(self) -> torch.Tensor:
        return self.fit.gain * self.fit.spread

    @property
    def row_correlation(self) -> torch.Tensor:
        """Correlation of the noise of neighbours along the first axis."""
        return self.fit.correlation[0]

    @property
    def column_correlation(self) -> torch.Tensor:
        return self.fit.correlation[1]

    @property
    def correlation_error(self) -> torch.Tensor:
        return self.fit.spread

    @property
    def model(self) -> torch.Tensor:
        """The fitted function at the frequencies of ``power``."""
        return self.fit.model

    @property
    def frequencies(self) -> torch.Tensor:
        """Frequencies of ``power`` along either axis, in units of the Nyquist frequency."""
        return frequencies(len(self.power)).to(self.power)

    @property
    def mean_power(self) -> torch.Tensor:
        """Mean of the fitted power over all trusted frequencies: the gain of white noise."""
        return self.model[trusted(self.model)].mean()

    @property
    def finest(self) -> torch.Tensor:
        """Mean power at frequencies beyond the Nyquist frequency of either axis, along both."""
        rows, columns = torch.meshgrid(self.frequencies, self.frequencies, indexing="ij")
        return self.power[torch.hypot(rows, columns) > 1].mean()

    @property
    def block(self) -> int:
        """Side of the blocks in pixels."""
        return 2 * len(self.power)

    def along_axes(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """Measured and fitted power along each axis, at frequency zero of the other one.

        In units of the power at frequency zero of both. Measured values are medians over the other
        axis, after division by the model's dependence on it.
        """
        off = torch.where(trusted(self.model), self.power / self.model, torch.nan)
        fitted = self.model[:, 0] / self.gain, self.model[0] / self.gain
        return tuple(
            (ratio.nanmedian(1).values * curve, curve)
            for ratio, curve in zip((off, off.mT), fitted, strict=True)
        )


def noise_spectrum(images: torch.Tensor, valid: torch.Tensor) -> NoiseSpectrum:
    """Measure a stack; ``images`` (float64) and ``valid`` have shape ``(n, height, width)``."""
    blocks = Blocks.of(images, valid)
    ours = blocks.power(images - blocks.bright)
    quiet = quantile(ours)
    generator = torch.Generator().manual_seed(0)

    def white(gain: torch.Tensor | None) -> torch.Tensor:
        return torch.cat([blocks.white(gain, generator) for _ in range(SIMULATED)])

    def compared(drawn: torch.Tensor) -> torch.Tensor:
        # Around a mean of nothing, as in a derivative, there is no noise to compare with.
        return (quiet / quantile(drawn).clamp(min=torch.finfo(quiet.dtype).tiny)).nan_to_num(0)

    first = fitted(compared(white(None))).gain  # Gaussian: no gain is known so far
    drawn = white(first)
    power = compared(drawn)
    fit = fitted(power)
    used = trusted(fit.model).to(ours)
    own = (ours / fit.model * used).sum((-2, -1))
    expected = (drawn * used).sum((-2, -1)).reshape(SIMULATED, -1).mean(0)
    ratio = own / expected.clamp(min=torch.finfo(expected.dtype).tiny)
    return NoiseSpectrum(fit, blocks.level, ratio, power)


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
