"""Estimate the noise of an image: its strength and correlation, and whether values are counts.

The noise's own spectrum (:mod:`~arpes_ml_plugins.denoising.noise_spectrum`) gives the gain at long
wavelengths and the correlation of neighbours. If they are correlated, it is measured again, against
simulated clouds (:mod:`~arpes_ml_plugins.denoising.noise_clouds`). How the variance follows the
brightness (:mod:`~arpes_ml_plugins.denoising.noise_levels`) gives a shift, the gain of white noise,
and another estimate of that of correlated noise; white noise that follows no line has a curvature
(:mod:`~arpes_ml_plugins.denoising.noise_curve`). If noise is white and there is no shift, its power
at the highest frequencies of whole images (:mod:`~arpes_ml_plugins.denoising.noise_floor`) gives
its gain more precisely. White noise is never stronger than the differences of neighbouring pixels
say (:mod:`~arpes_ml_plugins.denoising.pair_gain`), whatever else passes for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.constants import DIFFERENCE, NEGATIVE
from arpes_ml_plugins.denoising.defects import dead_lines, hot_pixels
from arpes_ml_plugins.denoising.gain_scales import Scaling, find_scaling, relative_scales
from arpes_ml_plugins.denoising.irregular import Lines, clipped, uneven
from arpes_ml_plugins.denoising.line_factors import line_factors
from arpes_ml_plugins.denoising.noise_clouds import (
    agreed_gain,
    behind_clouds,
    brighter_is_noisier,
    gain_of_pixels,
    read_out_variance,
)
from arpes_ml_plugins.denoising.noise_curve import Curve, curve_of
from arpes_ml_plugins.denoising.noise_floor import first_gain, floor_gain
from arpes_ml_plugins.denoising.noise_kind import KINDS, QUIETEST, SAME, kind_of, step_of
from arpes_ml_plugins.denoising.noise_levels import Cloud, Levels, noise_levels, residuals
from arpes_ml_plugins.denoising.noise_line import Line, fitted_line
from arpes_ml_plugins.denoising.noise_spectrum import NoiseSpectrum, noise_spectrum, shifted_gain
from arpes_ml_plugins.denoising.noise_zero import (
    ENOUGH_STILL,
    level_of,
    of_read_out,
    read_out_explains,
    still_places,
)
from arpes_ml_plugins.denoising.pair_gain import largest_gain
from arpes_ml_plugins.denoising.response import as_counts

__all__ = [
    "KINDS",
    "NoiseEstimate",
    "estimate",
]


WHITE = 0.02  # correlation of neighbours that white noise may seem to have
AS_WHITE = 0.04  # the same against simulated clouds, in blocks with little structure
WHITE_COUNTS = 0.08  # the same of whole numbers with about the noise of counts
BEYOND = 1.5  # standard deviations beyond that; those of correlations are rather too large
FEWEST = 64  # pixels that an estimate needs
ROUNDS = 2  # of finding hot pixels and the gain in turn
PEDESTALS = 3  # times that a shift is looked for
MATTERS = 0.05  # of the mean intensity: a smaller shift of correlated noise is left alone
SETTLED = 1.0  # standard errors that it may still change
AGREES = 0.12  # relative difference of two estimates of one gain
FLUCTUATES = 1.6  # times the gain of the dark: then the source does, beyond any structure
NEGLIGIBLE = 0.05  # relative error of the gain, because there may be a shift, that is left out
UNCERTAIN = 0.1  # the same, from which it is said that the shift is uncertain
VERY = 1.5  # times that for correlated noise, whose gain is never known that well
CURVED = 0.1  # relative error of the noise, at most, if it follows a curve
ROUNDING, LEAST = 1e-5, 1e-300  # relative and absolute; less noise than that is rounding
QUIET_PART, AS_QUIET = 0.05, 1.2  # fraction of blocks of counts, and their noise in steps
TOO_LARGE = 0.3  # relative: then a gain is too large for the differences of neighbours
ABOUT_COUNTS = 1.7  # steps, that these differences may be for the noise of counts
ABOUT = 0.5  # relative: then whole numbers may be counts, if their noise is white


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
    shift_error: torch.Tensor
    """Standard deviation of a shift that is not zero."""
    curvature: torch.Tensor
    """Above zero, the variance is ``gain * x * (1 + curvature * x / gain)`` for the mean ``x`` with
    the shift; below, ``gain * x * exp(curvature * x / gain)``; zero unless noise is white."""
    uncertain: torch.Tensor
    """Whether the gain could be another, because a shift is too large or missing."""
    structured: torch.Tensor
    """Whether the gain could be another, because fine structure may pass for correlated noise, or
    dark places have less of it for their intensity than bright ones."""
    row_correlation: torch.Tensor
    """Correlation of the noise of neighbours along the first axis of the images."""
    column_correlation: torch.Tensor
    hot: torch.Tensor
    """Fraction of valid pixels that are hot."""
    missing: torch.Tensor
    negative: torch.Tensor
    counts: torch.Tensor
    """Mean counts per pixel: intensity over gain."""
    deviation: torch.Tensor
    """Standard deviation of a typical pixel, if the noise is ``"local"``; otherwise NaN."""
    unit: torch.Tensor
    """Gain of the values above the pedestal that is then added to them; otherwise NaN."""
    kind: torch.Tensor
    """Index into :data:`KINDS`."""
    rows: Lines
    columns: Lines
    clipped: torch.Tensor
    """Fraction of valid pixels at which the detector saturates."""
    used: torch.Tensor
    """Mask of the pixels that show the noise, ``(n, height, width)``."""
    scaling: Scaling
    """Scales by which the images were divided before all this was estimated."""


def estimate(
    images: torch.Tensor,
    valid: torch.Tensor,
    recorded: torch.Tensor | None = None,
    *,
    several: bool = True,
) -> NoiseEstimate:
    """Diagnose a stack; ``images`` and ``valid`` have shape ``(n, height, width)``.

    ``recorded`` are the values of the detector, if ``images`` were computed from them; they are
    used for the step and the fraction of negative values. ``several``: whether ``images`` are
    images of their own, and not parts of one.
    """
    images = images.double() if images.device.type != "mps" else images
    scaling = Scaling() if recorded is not None else find_scaling(images, valid, several=several)
    scales = relative_scales(images, valid, scaling)
    images = images if scales is None else images / scales
    still = valid & still_places(images)
    still &= still.sum() < (1 - ENOUGH_STILL) * valid.sum()  # otherwise there is no noise anywhere
    base = level_of(images, still, valid)
    if images[valid].mean() <= 0:  # no intensity to compare the noise with
        base = images[valid].min()
    images = whole = images - base
    seen = valid & ~still
    alone = recorded is None
    if alone:  # a beam that fluctuates is no noise of pixels
        rows, columns = (bool(lines.jitter > 0) for lines in uneven(images, seen))
        images = images / line_factors(images, seen, rows=rows, columns=columns)
    pixels = valid.sum()
    values = images[valid] + base if recorded is None else recorded.to(images)
    step = step_of(images[seen] if recorded is None else values)
    floor = _floor_of(images[seen])
    measured = _measured(images, valid, seen, step, floor, alone)
    spectrum, good, hot, line = measured.spectrum, measured.good, measured.hot, measured.line
    correlated = measured.correlated
    above = images if line is None else images + line.shift
    gain, error, doubt, shift, structure = _gain(above, measured)
    if not alone:  # differences are evened over some pixels, so that only blocks show the shift
        gain, shift = shifted_gain(spectrum)
        error = spectrum.gain_error / spectrum.gain * gain
        if not bool(shift != 0) and not bool(correlated):
            gain, error = _sharpened(above, good, gain, error, AGREES)
    shift_error = torch.zeros_like(gain) if line is None else line.shift_error
    quiet = measured.as_counts
    if alone and measured.curve is None and not bool(correlated):
        most = largest_gain(above, good, step)
        if bool(most * (1 + TOO_LARGE) < gain):  # structure passed for noise
            gain, error, structure = most, CURVED * most, TOO_LARGE * most
            doubt = torch.zeros_like(gain)
            quiet = quiet | (most < ABOUT_COUNTS * step)
    curve, curvature = measured.curve, torch.zeros_like(gain)
    if curve is not None:
        gain, error, curvature = curve.gain, curve.gain_error, curve.curvature
        doubt = shift = shift_error = structure = torch.zeros_like(gain)
        counts = as_counts(images / gain, float(curvature))
        hot = hot_pixels(counts, valid, _expanded(torch.ones_like(gain), images))
    negative = (values < 0).to(images).mean()
    mean = images[good].mean()
    below = (negative > NEGATIVE) & ~read_out_explains(values, gain, shift)
    if (
        alone
        and curve is None
        and bool(below & (negative < DIFFERENCE) & (shift <= 0) & (base >= 0))
    ):
        gain, shift = of_read_out(images[good], gain, mean)
        below = shift <= 0
    quietest = (ROUNDING**2 * mean.abs()).clamp(min=LEAST)
    enough = (gain > quietest) & (good.sum() >= FEWEST)
    # Noise that grows from the lowest value, which many pixels have: those without counts.
    lowered = (base < 0) & (shift == 0) & (floor is not None)
    # What curves upwards is known where it is bright, whatever the gain of the dark.
    known = error if curve is None else torch.minimum(error, CURVED * gain)
    kind = kind_of(
        gain=gain,
        error=torch.where(enough, known * mean / (mean + shift.clamp(min=0)), torch.inf),
        doubt=doubt,
        step=step if curve is None else torch.full_like(step, torch.nan),
        as_counts=quiet,
        negative=(below | (base < 0)) & ~lowered,
        correlated=correlated,
        offset=shift != 0,
    )
    # Counts are multiples of one electron; where the noise agrees, the step is the better number.
    counted = kind == KINDS.index("counts")
    uneven_rows, uneven_columns = uneven(whole, good)
    unsure = torch.where(shift != 0, (error.square() + doubt.square()).sqrt(), doubt)
    served = ~counted & (kind < KINDS.index("local"))
    uncertain = (unsure > torch.where(correlated, VERY, 1) * UNCERTAIN * gain) & served
    structured = (structure > UNCERTAIN * gain) & served
    gain = torch.where(counted, step, gain)
    beside = (base != 0) & (kind <= KINDS.index("scaled counts"))
    kind = torch.where(beside, KINDS.index("offset"), kind)
    electrons = torch.ones_like(mean)  # their share of the variance of a pixel
    if bool(correlated) and line is not None and bool(line.shift > 0):
        electrons = mean / (mean + line.shift)
    void = (kind == KINDS.index("negative")) | (gain <= quietest)
    whole_error = (error.square() + doubt.square() + structure.square()).sqrt()
    error = torch.where(counted, error, whole_error)
    gain, error = (x.masked_fill(void, torch.nan) for x in (gain, error))
    return NoiseEstimate(
        gain=gain,
        gain_error=error,
        step=step,
        shift=shift - base,
        shift_error=shift_error,
        curvature=curvature,
        uncertain=uncertain,
        structured=structured,
        row_correlation=spectrum.row_correlation * electrons,
        column_correlation=spectrum.column_correlation * electrons,
        hot=hot.sum().to(images) / pixels,
        missing=1 - valid.to(images).mean(),
        negative=negative,
        counts=(mean + shift) / gain,
        deviation=torch.full_like(gain, torch.nan),
        unit=torch.full_like(gain, torch.nan),
        kind=kind,
        rows=uneven_rows,
        columns=uneven_columns,
        clipped=clipped(values),
        used=good,
        scaling=scaling,
    )


@dataclass(frozen=True)
class _Measured:
    spectrum: NoiseSpectrum
    good: torch.Tensor
    """Mask of the pixels that show the noise."""
    hot: torch.Tensor
    line: Line | None
    curve: Curve | None
    """What white noise follows, if that is no line."""
    correlated: torch.Tensor
    as_counts: torch.Tensor
    """Whether the quietest places have the noise of counts."""
    bright: bool
    """Whether bright places have more correlated noise for their intensity than dark ones."""


def _measured(
    images: torch.Tensor,
    valid: torch.Tensor,
    seen: torch.Tensor,
    step: torch.Tensor,
    highest: torch.Tensor | None,
    alone: bool,
) -> _Measured:
    """Measure the spectrum of the noise and how its variance follows the mean.

    A pedestal hides how the noise follows the intensity, so that all is measured again without it.
    """
    shift = images.new_zeros(())
    for _ in range(PEDESTALS):
        above = images + shift
        good = seen & ~hot_pixels(above, valid, _expanded(first_gain(above, seen), images))
        for _ in range(ROUNDS):  # hot pixels depend on the gain, and they bias it
            spectrum = noise_spectrum(above, good)
            wide = _expanded(spectrum.gain, images)
            hot = hot_pixels(above, valid, wide)
            better = seen & ~hot & ~dead_lines(above, valid, wide)
            if torch.equal(better, good):
                break
            good = better
        correlated, as_counts = _correlated(spectrum, step)
        behind = spectrum if bool(correlated) else None
        levels, line = _line(images, good, step, highest, behind) if alone else (None, None)
        if line is None or bool((line.shift - shift).abs() <= SETTLED * line.shift_error):
            break
        shift = line.shift
    bright = bool(correlated) and line is not None and brighter_is_noisier(spectrum, line)
    if bool(correlated) and not bright:
        other = None if line is None else gain_of_pixels(spectrum, line)
        beside = 0.0 if line is None else read_out_variance(images[good], line)
        again = behind_clouds(images + shift.clamp(max=0), good, spectrum, other, beside)
        if max(again.fit.correlation) > AS_WHITE:
            spectrum = again
        elif not beside > 0:  # sharp structure passed for correlated noise
            correlated = torch.zeros_like(correlated)
            levels, line = _line(images, good, step, highest, None) if alone else (None, None)
    curve = None if levels is None or bool(correlated) else curve_of(levels)
    return _Measured(spectrum, good, hot, line, curve, correlated, as_counts, bright)


def _floor_of(values: torch.Tensor) -> torch.Tensor | None:
    """The lowest value, if many have it: no pedestal is higher. None if it is a tail of noise."""
    lowest = values.min()
    return lowest if (values == lowest).sum() >= FEWEST else None


def _line(
    images: torch.Tensor,
    valid: torch.Tensor,
    step: torch.Tensor,
    highest: torch.Tensor | None,
    behind: NoiseSpectrum | None,
) -> tuple[Levels | None, Line | None]:
    """Variance against mean, ``behind`` clouds with this spectrum; None if pixels are too few.

    All classes of brightness, and the line through them without what it cannot explain.
    """
    below_zero = (images[valid] < 0).to(images).mean() > NEGATIVE
    both, cloud = (0.0, 0.0), None
    if behind is not None:
        both = float(behind.row_correlation), float(behind.column_correlation)
        cloud = Cloud(behind.fit.area, torch.where(below_zero, 0, behind.gain))
    largest: tuple[torch.Tensor, torch.Tensor] | None = None
    line = whole = None
    found = residuals(images, valid, both)
    for _ in range(ROUNDS):  # the second without what the first cannot explain
        levels = None if found is None else noise_levels(found, largest, cloud)
        line = None if levels is None else fitted_line(levels, step, highest, bool(below_zero))
        if line is None:
            return None, None
        whole = whole or levels
        largest = line.gain, line.shift
    return whole, line


def _correlated(spectrum: NoiseSpectrum, step: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether the noise is not white, and whether its quietest places have that of counts."""
    # Sharp structure at high counts passes for noise, but hardly everywhere.
    quiet_part = torch.quantile(spectrum.ratio, QUIET_PART) * spectrum.gain
    as_counts = (quiet_part > QUIETEST * step) & (quiet_part < AS_QUIET * step)
    whole = as_counts | ((spectrum.gain - step).abs() < ABOUT * step)
    limit = torch.where(whole, WHITE_COUNTS, WHITE) + BEYOND * spectrum.correlation_error
    correlated = (spectrum.row_correlation > limit) | (spectrum.column_correlation > limit)
    return correlated, as_counts


def _gain(
    above: torch.Tensor, measured: _Measured
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gain, its error, that because there may be a pedestal or none, the shift, and the error of
    the gain because fine structure may pass for noise, or dark places have less than bright ones.

    ``above`` are the images with the shift added.
    """
    spectrum, line, valid = measured.spectrum, measured.line, measured.good
    gain, error = spectrum.gain, spectrum.gain_error
    none = torch.zeros_like(gain)
    if line is None:
        if not bool(measured.correlated):
            gain, error = _sharpened(above, valid, gain, error, AGREES)
        return gain, error, none, none, none
    shift = line.shift
    if measured.bright:
        return gain, error, none, none, gain - gain_of_pixels(spectrum, line)
    if bool(measured.correlated):
        gain, error, structure = agreed_gain(spectrum, line)
        doubt = line.doubt / line.gain * gain
        # Noise of the read-out is white: at long wavelengths it is less beside that of electrons.
        shift = torch.where(shift > 0, line.gain / gain * shift, shift)
        matters = shift.abs() > MATTERS * (above[valid] - line.shift).mean().abs()
        return gain, error, doubt, torch.where(matters, shift, 0), structure
    fluctuates = gain > FLUCTUATES * line.gain
    undecided = line.doubt > NEGLIGIBLE * line.gain
    if not bool(shift != 0) and bool(fluctuates | undecided):
        # Then the noise is right at least where the image is about as bright as on average.
        gain, error = _sharpened(above, valid, gain, error, AGREES)
        apart = torch.maximum((gain - line.gain).abs(), (gain - line.other).abs() / 2)
        doubt = torch.where(undecided, apart, (gain - line.gain).abs())
        return gain, error, doubt, none, none
    gain, error = line.gain, line.gain_error
    if not bool(shift != 0):
        gain, error = _sharpened(above, valid, gain, error)
    doubt = torch.where(line.doubt > NEGLIGIBLE * gain, line.doubt, 0)
    return gain, error, doubt, shift, none


def _expanded(gain: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    safe = gain.clamp(min=torch.finfo(images.dtype).tiny)
    return safe.expand(len(images))[:, None, None]


def _sharpened(
    images: torch.Tensor,
    valid: torch.Tensor,
    gain: torch.Tensor,
    error: torch.Tensor,
    nearly: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The power at the highest frequencies of all, if it agrees: more modes, a smaller error."""
    finer, its_error = floor_gain(images, valid)
    agrees = (finer - gain).abs() < torch.maximum(SAME * error, nearly * gain)
    return torch.where(agrees, finer, gain), torch.where(agrees, its_error, error)
