"""Estimate the noise of an image: its strength and correlation, and whether values are counts.

The noise's own spectrum (:mod:`~arpes_ml_plugins.denoising.noise_spectrum`) gives the gain at long
wavelengths, the correlation of neighbours and a shift. If the noise is white, its power at the
highest frequencies of whole images, where the scene has none, gives the gain more precisely, at any
number of counts per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.counts_network import gaussian_mean
from arpes_ml_plugins.denoising.defects import dead_lines, hot_pixels
from arpes_ml_plugins.denoising.irregular import Lines, clipped, uneven_lines
from arpes_ml_plugins.denoising.noise_spectrum import noise_spectrum, shifted_gain

__all__ = [
    "KINDS",
    "NoiseEstimate",
    "estimate",
    "variance_over_mean",
]

KINDS = ("counts", "scaled counts", "correlated", "offset", "negative", "unknown")
"""Verdicts, by number. "scaled counts": white noise of variance proportional to the intensity, with
another gain than the step of the values; "correlated": not white; "offset": variance and intensity
are not proportional; "negative": something was subtracted; "unknown": too few data to decide."""

SMOOTH = 4.0  # pixels; what it removes lies below all frequencies that are looked at
FLOOR = 0.02  # of the mean: darker pixels get no larger weight
CORNER = 0.7  # of the Nyquist frequency, in both directions: noise, if anything is
STEPS = (0.6, 0.5, 0.4, 0.3)  # the corner grows while its power stays the same
CONSISTENT = 2.5  # standard deviations
WHITE = 0.02  # correlation of neighbours that white noise may seem to have
WHITE_COUNTS = 0.08  # the same of whole numbers with about the noise of counts
SURE = 3.0  # standard deviations beyond that
BEYOND = 1.5  # the same for correlations, whose errors are rather too large
MEDIAN_OF_SQUARE = 0.455  # of a standard normal variable
FEWEST = 64  # pixels that an estimate needs
STILL = 7  # pixels, side of a square that has no noise at all
ENOUGH_STILL = 0.005  # of the pixels, that show a pedestal
ROUNDS = 2  # of finding hot pixels and the gain in turn
DARKEST_PART = 0.02  # of the pixels
AGREES = 0.12  # relative difference of two estimates of one gain
UNSURE = 0.2  # relative error of the gain beyond which nothing is said
VERY_UNSURE = 0.5  # the same of correlated noise, which is modelled with less care
DIFFERENCE = 0.15  # of the values: if more are negative, something was subtracted
READ_OUT = 0.3  # of the mean: a larger shift would not be that of read-out noise
NEGATIVE = 1e-3  # fraction of negative values that indicates a subtraction
ROUNDING, LEAST = 1e-5, 1e-300  # relative and absolute; less noise than that is rounding
REFINEMENTS = 16
LARGEST_WHOLE = 2.0**53  # beyond, all floating-point numbers are whole
LATTICE = 1e-3  # deviation from multiples of the step, in steps
QUIETEST = 0.35  # steps: whole electrons have no less, and an estimate is never that far off
QUIET_PART, AS_QUIET = 0.05, 1.2  # fraction of blocks of counts, and their noise in steps
SAME = 3.0  # standard deviations within which the gain equals the step
ABOUT = 0.5  # relative: then whole numbers may be counts, if their noise is white
LIKE_COUNTS = 0.3  # relative: whole numbers with nearly the noise of counts are counts


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise of a stack of images from one detector; all entries but ``used`` are numbers."""

    gain: torch.Tensor
    """Variance over mean, at long wavelengths; NaN if it cannot be estimated."""
    gain_error: torch.Tensor
    """Standard deviation of ``gain``."""
    step: torch.Tensor
    """All values are multiples of it; NaN if there is no such number."""
    shift: torch.Tensor
    """The variance is ``gain * (mean + shift)``: above zero for noise of the read-out or where a
    constant was subtracted, below zero for a pedestal."""
    row_correlation: torch.Tensor
    """Correlation of the noise of neighbours along the first axis of the images."""
    column_correlation: torch.Tensor
    hot: torch.Tensor
    """Fraction of valid pixels that are hot."""
    missing: torch.Tensor
    negative: torch.Tensor
    counts: torch.Tensor
    """Mean counts per pixel: intensity over gain."""
    kind: torch.Tensor
    """Index into :data:`KINDS`."""
    rows: Lines
    columns: Lines
    clipped: torch.Tensor
    """Fraction of valid pixels at which the detector saturates."""
    used: torch.Tensor
    """Mask of the pixels that show the noise, ``(n, height, width)``."""


def estimate(
    images: torch.Tensor, valid: torch.Tensor, recorded: torch.Tensor | None = None
) -> NoiseEstimate:
    """Diagnose a stack; ``images`` and ``valid`` have shape ``(n, height, width)``.

    ``recorded`` are the values of the detector, if ``images`` were computed from them; they are
    used for the step and the fraction of negative values.
    """
    images = images.double() if images.device.type != "mps" else images
    still = valid & _still(images)
    still &= still.sum() < (1 - ENOUGH_STILL) * valid.sum()  # otherwise there is no noise anywhere
    base = _level(images, still, valid)
    if images[valid].mean() <= 0:  # no intensity to compare the noise with
        base = images[valid].min()
    images = images - base
    seen = valid & ~still
    good = seen & ~hot_pixels(images, valid, _expanded(_first_gain(images, seen), images))
    for _ in range(ROUNDS):  # hot pixels depend on the gain, and they bias it
        spectrum = noise_spectrum(images, good)
        wide = _expanded(spectrum.gain, images)
        hot = hot_pixels(images, valid, wide)
        again = seen & ~hot & ~dead_lines(images, valid, wide)
        if torch.equal(again, good):
            break
        good = again
    gain, shift = shifted_gain(spectrum)
    gain, shift = _dark_enough(images, good, spectrum.gain, gain, shift)
    if recorded is None and shift < 0:  # a pedestal hides how the noise follows the intensity
        spectrum = noise_spectrum(images + shift, good)
        gain, more = shifted_gain(spectrum)
        shift = shift + more
    rows, columns = spectrum.row_correlation, spectrum.column_correlation
    pixels = valid.sum()
    values = images[valid] + base if recorded is None else recorded.to(images)
    negative = (values < 0).to(images).mean()
    step = _step(images[good] if recorded is None else values)
    mean = images[good].mean()
    some = (negative > NEGATIVE) & (negative < DIFFERENCE)
    if recorded is None and bool(some & (shift <= 0) & (base >= 0)):
        gain, shift = _of_read_out(images[good], gain, mean)
    # Sharp structure at high counts passes for noise, but hardly everywhere.
    quiet_part = torch.quantile(spectrum.ratio, QUIET_PART) * spectrum.gain
    as_counts = (quiet_part > QUIETEST * step) & (quiet_part < AS_QUIET * step)
    whole = as_counts | ((gain - step).abs() < ABOUT * step)
    limit = torch.where(whole, WHITE_COUNTS, WHITE) + BEYOND * spectrum.correlation_error
    correlated = (rows > limit) | (columns > limit)
    error = spectrum.gain_error / spectrum.gain * gain
    if not bool(correlated) and not bool(shift != 0):
        gain, error = _sharpened(images, good, gain, error)
    quietest = (ROUNDING**2 * mean.abs()).clamp(min=LEAST)
    kind = _kind(
        gain=gain,
        error=torch.where((gain > quietest) & (good.sum() >= FEWEST), error, torch.inf),
        step=step,
        as_counts=as_counts,
        negative=(negative > NEGATIVE) & (shift <= 0) | (base < 0),
        correlated=correlated,
        offset=shift != 0,
    )
    # Counts are multiples of one electron; where the noise agrees, the step is the better number.
    gain = torch.where(kind == KINDS.index("counts"), step, gain)
    beside = (base > 0) & (kind <= KINDS.index("scaled counts"))
    kind = torch.where(beside, KINDS.index("offset"), kind)
    void = (kind == KINDS.index("negative")) | (gain <= quietest)
    gain, error = (x.masked_fill(void, torch.nan) for x in (gain, error))
    return NoiseEstimate(
        gain=gain,
        gain_error=error,
        step=step,
        shift=shift - base,
        row_correlation=rows,
        column_correlation=columns,
        hot=hot.sum().to(images) / pixels,
        missing=1 - valid.to(images).mean(),
        negative=negative,
        counts=(mean + shift) / gain,
        kind=kind,
        rows=uneven_lines(images, good),
        columns=uneven_lines(images.mT, good.mT),
        clipped=clipped(values),
        used=good,
    )


def _still(images: torch.Tensor) -> torch.Tensor:
    """Mask of squares filled with one value above zero: a pedestal outside the detector."""
    values = images[:, None]
    radius = STILL // 2
    highest, lowest = (
        sign * F.max_pool2d(sign * values, STILL, stride=1, padding=radius) for sign in (1, -1)
    )
    still = ((highest == lowest) & (values > 0)).to(images)
    return F.max_pool2d(still, STILL, stride=1, padding=radius)[:, 0] > 0


def _level(images: torch.Tensor, still: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The pedestal, if places without noise show one: their value, or 0."""
    level = images[still].median() if still.any() else images.new_zeros(())
    same = (still & (images == level)).sum() > ENOUGH_STILL * valid.sum()
    darkest = (images >= level)[valid].all()
    return torch.where(same & darkest, level, 0)


def _of_read_out(
    values: torch.Tensor, gain: torch.Tensor, mean: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and shift with read-out noise, as negative values show it where it is dark. No shift if
    it would be so large that something else must have made them negative.
    """
    variance = values[values < 0].square().mean()
    without = gain - variance / mean
    shift = variance / without
    found = (without > 0) & (shift < READ_OUT * mean)
    return torch.where(found, without, gain), torch.where(found, shift, 0.0)


def _expanded(gain: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    safe = gain.clamp(min=torch.finfo(images.dtype).tiny)
    return safe.expand(len(images))[:, None, None]


def _dark_enough(
    images: torch.Tensor,
    valid: torch.Tensor,
    plain: torch.Tensor,
    gain: torch.Tensor,
    shift: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and shift, if a pedestal is no higher than the darkest part of the image; or just so."""
    if shift >= 0:  # no pedestal
        return gain, shift
    mask = valid.to(images)[:, None]
    smooth = gaussian_mean(torch.where(valid, images, 0)[:, None], mask, SMOOTH)[:, 0]
    some = smooth[valid][:: max(1, int(valid.sum()) // 100_000)]
    darkest, mean = torch.quantile(some, DARKEST_PART), images[valid].mean()
    if shift >= -darkest or darkest <= 0:
        return gain, shift
    return plain * mean / (mean - darkest).clamp(min=DARKEST_PART * mean), -darkest


def _sharpened(
    images: torch.Tensor, valid: torch.Tensor, gain: torch.Tensor, error: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The power at the highest frequencies of all, if it agrees: more modes, a smaller error."""
    power, norm = _whitened_power(images, valid)
    finer, its_error = _floor(power, norm, float(len(images) * valid.double().mean()))
    agrees = (finer - gain).abs() < torch.maximum(SAME * error, AGREES * gain)
    return torch.where(agrees, finer, gain), torch.where(agrees, its_error, error)


def _first_gain(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Median of squared second differences over their Poisson variance.

    Hot pixels do not spoil it as long as most pixels have none beside them. With few counts it is
    too small or too large by a factor of some; that only costs another look.
    """
    one = images.new_tensor([1.0, -2.0, 1.0])
    kernel = (one[:, None] * one[None, :])[None, None]
    values = torch.where(valid, images, 0)[:, None]
    whole = F.max_pool2d((~valid).to(images)[:, None], len(one), 1) == 0
    mean = F.conv2d(values, kernel.square())
    used = whole & (mean > 0)
    if not used.any():
        return variance_over_mean(images, valid)
    ratio = F.conv2d(values, kernel).square()[used] / mean[used]
    return (ratio.median() / MEDIAN_OF_SQUARE).clamp(min=torch.finfo(images.dtype).tiny)


def variance_over_mean(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Of the fine structure of a stack, whatever it is; the gain if the noise is white."""
    power, norm = _whitened_power(images, valid)
    gain, _ = _floor(power, norm, float(len(images)))
    return gain.abs().clamp(min=torch.finfo(gain.dtype).tiny)


def _whitened_power(images: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Power spectrum (DCT) of the fine structure over its Poisson deviation, and its norm.

    Both are means over the stack. The norm is what the power of each mode would be with a gain
    of 1. The weights come from a smooth image, so that they do not follow the noise.
    """
    mask = valid.to(images)
    images = torch.where(valid, images, 0)
    smooth = gaussian_mean(images[:, None], mask[:, None], SMOOTH)[:, 0]
    mean = (smooth.clamp(min=0) * mask).sum((-2, -1), keepdim=True) / mask.sum(
        (-2, -1), keepdim=True
    ).clamp(min=1)
    tiny = torch.finfo(images.dtype).tiny
    weight = mask / (smooth.clamp(min=0) + FLOOR * mean).clamp(min=tiny).sqrt()
    residual = (images - smooth) * weight
    mirrored = torch.cat([residual, residual.flip(-1)], -1)
    mirrored = torch.cat([mirrored, mirrored.flip(-2)], -2)
    height, width = images.shape[-2:]
    modes = torch.fft.rfft2(mirrored)[..., :height, :width]
    power = modes.abs().square() / (4 * height * width)
    return power.mean(0), (weight.square() * images).mean()


def _frequencies(power: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = power.shape[-2:]
    rows = torch.arange(height, device="cpu").to(power)[:, None] / height
    columns = torch.arange(width, device="cpu").to(power)[None, :] / width
    return rows, columns


def _floor(
    power: torch.Tensor, norm: torch.Tensor, images: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and its error; ``images`` is how many complete ones the data amount to.

    Starts with the corner of highest frequencies and grows as long as what is added has the same
    power: the more modes, the smaller the error.
    """
    rows, columns = _frequencies(power)
    lower = torch.minimum(rows, columns)
    inside = lower >= CORNER

    def count(modes: torch.Tensor) -> torch.Tensor:
        return modes.sum().to(power)  # a quotient of integers has torch's default precision

    mean = power[inside].mean()
    for edge in STEPS:
        shell = (lower >= edge) & ~inside
        # The power of a mode is chi-square with one degree of freedom.
        spread = (2 / images * (1 / count(shell) + 1 / count(inside))).sqrt()
        if (power[shell].mean() - mean).abs() > CONSISTENT * spread * mean:
            break
        inside = inside | shell
        mean = power[inside].mean()
    gain = mean / norm
    return gain, gain.abs() * (2 / images / count(inside)).sqrt()


def _step(values: torch.Tensor) -> torch.Tensor:
    """The number of which all values are multiples, NaN if there is none."""
    none = values.new_tensor(torch.nan)
    levels = values.abs().unique()
    levels = levels[levels > 0]
    if len(levels) == 0:
        return none
    if bool((levels == levels.round()).all()) and float(levels[-1]) < LARGEST_WHOLE:
        return values.new_tensor(float(np.gcd.reduce(levels.cpu().numpy().astype(np.int64))))
    if len(levels) > len(values) / 2:
        return none
    gaps = levels.diff(prepend=levels.new_zeros(1))
    step = gaps[gaps > LATTICE * levels[0]].min()
    for place in torch.linspace(0, len(levels) - 1, REFINEMENTS, device="cpu").long().unique():
        level = levels[place]  # the larger a multiple, the better it determines the step
        step = level / (level / step).round().clamp(min=1)
    multiples = levels / step
    off = (multiples - multiples.round()).abs()
    largest = torch.finfo(torch.float32).eps * multiples  # the values may have been float32
    return step if bool((off <= LATTICE + 2 * largest).all()) else none


def _kind(
    *,
    gain: torch.Tensor,
    error: torch.Tensor,
    step: torch.Tensor,
    as_counts: torch.Tensor,
    negative: torch.Tensor,
    correlated: torch.Tensor,
    offset: torch.Tensor,
) -> torch.Tensor:
    """The kind of noise; if several apply, the most restrictive one."""
    kind = torch.full_like(gain, KINDS.index("scaled counts"), dtype=torch.int64)
    quiet = gain < QUIETEST * step - SURE * error
    near = (gain - step).abs() <= torch.maximum(SAME * error, LIKE_COUNTS * step)
    near = near | ((gain > step) & as_counts)
    for name, applies in (
        ("counts", near | ((gain > QUIETEST * step) & (gain < step))),
        ("offset", offset | quiet),
        ("correlated", correlated),
        ("unknown", ~(error < torch.where(correlated, VERY_UNSURE, UNSURE) * gain)),
        ("negative", negative),
    ):
        kind = torch.where(applies, KINDS.index(name), kind)
    return kind
