"""The noise's own spectrum behind clouds of charge.

If each electron is a blob, noise and structure lie at the same low frequencies, and a comparison
with white noise misleads: the modes of a block mix, and more blocks contain structure where the
noise is. Here the noise is compared with simulated clouds, whose spectrum comes from the comparison
before, and in those blocks alone that have the least power at the lowest frequencies, which are
then left out of the fit.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from arpes_ml_plugins.constants import NEGATIVE
from arpes_ml_plugins.denoising.noise_blocks import Blocks, quantile, smoothed, white_noise
from arpes_ml_plugins.denoising.noise_fit import Fit, fitted, trusted
from arpes_ml_plugins.denoising.noise_line import Line
from arpes_ml_plugins.denoising.noise_spectrum import NoiseSpectrum

__all__ = [
    "agreed_gain",
    "behind_clouds",
    "brighter_is_noisier",
    "gain_of_pixels",
    "read_out_variance",
    "too_smooth",
]

ROUNDS = 2  # of simulation and comparison in turn
SIMULATED = 3  # images of clouds behind each comparison
QUIETEST, FEWEST = 0.3, 24  # fraction and number of blocks with the least structure
ELECTRONS = 5.0  # of the darkest blocks
UNEVEN = 0.4  # relative: then the smooth intensity is that of a bright band beside the block
HIDDEN = 0.3  # of the noise of the read-out: power of electrons that is left out of the fit
LARGEST = 4.0  # times the gain: all power beyond is that of structure
MIDDLE = 0.5  # quantile over these blocks
APART = 0.2  # logarithm of the ratio of two gains of correlated noise, if they agree
SPECTRUM, LINE = 0.1, 0.08  # relative errors of these gains that their own errors lack
RAISED = 2.0  # times: structure hardly raises the gain of the spectrum more, in its quiet blocks
FARTHEST = 0.8  # relative: the better of both gains is known better than this
DARK = 2.0  # standard deviations of the read-out noise
NO_FLOOR = 0.1  # of the white noise that is assumed: so little there shows that it is none
QUARTERS = 0.25, 0.75
ALIKE = 2.0  # times: these quantiles of the noise of blocks that differ by chance or a little
QUIETER = 0.5  # of the noise of these blocks: then the line follows other places than they do


def behind_clouds(
    images: torch.Tensor,
    valid: torch.Tensor,
    spectrum: NoiseSpectrum,
    gain: torch.Tensor | None = None,
    read_out: torch.Tensor | float = 0.0,
) -> NoiseSpectrum:
    """Measure a stack again, whose noise is correlated as ``spectrum`` says.

    ``gain`` is another estimate of its gain, in case structure has raised that of ``spectrum``, and
    ``read_out`` the variance of white noise beside that of the electrons, which is not part of the
    result.
    """
    least = spectrum.gain if gain is None else torch.minimum(gain, spectrum.gain)
    blocks = Blocks.of(images, valid, least * ELECTRONS)
    if read_out > 0:
        blocks = _brighter(blocks, read_out / (least * spectrum.fit.pixel_share))
    ours = blocks.power(images - blocks.bright)
    even = (blocks.mean(images) / blocks.level - 1).abs() < UNEVEN
    quiet = _structure(ours, spectrum.fit).masked_fill(~even, torch.inf).argsort()
    quiet = quiet[: max(FEWEST, round(QUIETEST * len(ours)))]
    middle = quantile(ours[quiet], MIDDLE)
    blocks = replace(blocks, chosen=blocks.chosen[quiet], level=blocks.level[quiet])
    generator = torch.Generator().manual_seed(0)
    fit = spectrum.fit
    beside = read_out / blocks.level.median()
    for _ in range(ROUNDS):
        drawn = torch.cat([_clouds(blocks, fit, read_out, generator) for _ in range(SIMULATED)])
        ratio = middle / quantile(drawn, MIDDLE).clamp(min=torch.finfo(drawn.dtype).tiny)
        power = ratio * (fit.model + beside) - beside
        power = torch.where(power > HIDDEN * beside, power, 0)
        if read_out > 0:  # few blocks are left, so that structure may be in all of them
            power = power.clamp(max=LARGEST * least)
        fit = fitted(power, zeros=bool(read_out > 0))
    return replace(spectrum, fit=fit, power=power)


def _brighter(blocks: Blocks, level: torch.Tensor) -> Blocks:
    """The blocks in which electrons have more noise than the read-out, or the brightest ones."""
    order = blocks.level.argsort(descending=True)
    chosen = order[: max(FEWEST, int((blocks.level > level).sum()))]
    return replace(blocks, chosen=blocks.chosen[chosen], level=blocks.level[chosen])


def _structure(power: torch.Tensor, fit: Fit) -> torch.Tensor:
    """Rank blocks by their power at the lowest frequencies.

    Half of the rank is this power itself, because sharp structure has power at all frequencies; the
    other half is its ratio to the others, so that not only the places with the least noise are left
    if the gain is not the same everywhere.
    """
    others = (power / fit.model)[:, trusted(fit.model)].mean(1)
    return power[:, 0, 0] / others.clamp(min=torch.finfo(others.dtype).tiny).sqrt()


def _clouds(
    blocks: Blocks, fit: Fit, read_out: torch.Tensor | float, generator: torch.Generator
) -> torch.Tensor:
    """Power of simulated noise, correlated as ``fit`` says, and of that of the read-out."""
    white = white_noise(blocks.bright, fit.gain, generator)
    transfer = fit.transfer(white.shape).sqrt()
    noise = torch.fft.irfft2(torch.fft.rfft2(white) * transfer, s=white.shape[-2:])
    noise = noise * fit.gain.sqrt()
    if read_out > 0:
        flat = torch.full_like(noise, float(read_out))
        noise = noise + white_noise(flat, None, generator)
    return blocks.power(noise - smoothed(noise, blocks.mask))  # as the intensity, from the values


def gain_of_pixels(spectrum: NoiseSpectrum, line: Line) -> torch.Tensor:
    """Gain at long wavelengths from the variance of pixels, which have a share of that noise."""
    return line.gain / spectrum.fit.pixel_share


def brighter_is_noisier(spectrum: NoiseSpectrum, line: Line) -> bool:
    """Whether bright places have more noise for their intensity than the ``line`` says, all alike.

    The darkest places are not part of ``spectrum``. Structure would add to the noise of some blocks
    far more than to that of others.
    """
    low, high = (torch.quantile(spectrum.ratio, level) for level in QUARTERS)
    darker = gain_of_pixels(spectrum, line) < QUIETER * low * spectrum.gain
    return bool((high < ALIKE * low) & darker)


def agreed_gain(
    spectrum: NoiseSpectrum, line: Line
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gain of correlated noise, its error, and that because spectrum and line disagree.

    A line through the variances of pixels has the gain times their share of the noise at long
    wavelengths. Fine structure raises both gains, but that of the spectrum more.
    """
    first, second = spectrum.gain, gain_of_pixels(spectrum, line)
    second = second.clamp(min=torch.finfo(second.dtype).tiny)
    apart = (first / second).log()
    beyond = (apart - APART).clamp(min=0)
    of_first = (spectrum.gain_error / first).square() + SPECTRUM**2 + beyond.square()
    of_second = (line.gain_error / line.gain).square() + LINE**2
    error = 1 / (1 / of_first + 1 / of_second)
    gain = torch.maximum(second * (apart * error / of_first).exp(), first / RAISED)
    far = torch.maximum((first - gain).abs(), (second - gain).abs()).clamp(max=FARTHEST * gain)
    return gain, error.sqrt() * gain, torch.where(apart.abs() > APART, far, 0)


def too_smooth(spectrum: NoiseSpectrum, read_out: torch.Tensor) -> bool:
    """Whether the finest noise is far less than white noise of the variance ``read_out`` would be.

    Something was then subtracted from an image that had been smoothed, or was interpolated.
    """
    floor = spectrum.finest * spectrum.mean.median()
    return bool(floor < NO_FLOOR * read_out)


def read_out_variance(values: torch.Tensor, line: Line) -> torch.Tensor:
    """Variance of white noise beside that of electrons, if some dark values are below zero, as they
    must be, or none are dark.
    """
    variance = line.gain * line.shift.clamp(min=0)
    below, dark = ((values < limit).to(values).mean() for limit in (0, DARK * variance.sqrt()))
    return torch.where((below > NEGATIVE) | (dark < NEGATIVE), variance, 0)
