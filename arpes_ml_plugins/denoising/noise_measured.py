"""Measure the noise of an image: its spectrum, and how its variance follows the brightness.

A pedestal hides how the noise follows the brightness, and hot pixels bias both, so that they are
looked for in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.constants import NEGATIVE
from arpes_ml_plugins.denoising.dark_counts import single_counts
from arpes_ml_plugins.denoising.defects import dead_lines, hot_pixels
from arpes_ml_plugins.denoising.noise_clouds import (
    behind_clouds,
    brighter_is_noisier,
    gain_of_pixels,
    read_out_variance,
    too_smooth,
)
from arpes_ml_plugins.denoising.noise_curve import Curve, curve_of
from arpes_ml_plugins.denoising.noise_floor import first_gain
from arpes_ml_plugins.denoising.noise_kind import QUIETEST
from arpes_ml_plugins.denoising.noise_levels import Cloud, Levels, noise_levels, residuals
from arpes_ml_plugins.denoising.noise_line import Line, fitted_line
from arpes_ml_plugins.denoising.noise_read_out import ReadOut, beside_clouds
from arpes_ml_plugins.denoising.noise_spectrum import NoiseSpectrum, noise_spectrum
from arpes_ml_plugins.denoising.response import as_counts

__all__ = ["FEWEST", "Measured", "measure"]

FEWEST = 64  # pixels that an estimate needs
WHITE = 0.02  # correlation of neighbours that white noise may seem to have
AS_WHITE = 0.04  # the same against simulated clouds, in blocks with little structure
WHITE_COUNTS = 0.08  # the same of whole numbers with about the noise of counts
BEYOND = 1.5  # standard deviations beyond that; those of correlations are rather too large
ROUNDS = 2  # of finding hot pixels and the gain in turn
PEDESTALS = 3  # times that a shift is looked for
SETTLED = 1.0  # standard errors that it may still change
QUIET_PART, AS_QUIET = 0.05, 1.2  # fraction of blocks of counts, and their noise in steps
FINEST, FALLS = 0.5, 1.2  # of a step: the least noise there; power at frequency zero over it
PIXELS = 4096  # of fewer, chance decides
ABOUT = 0.5  # relative: then whole numbers may be counts, if their noise is white


@dataclass(frozen=True)
class Measured:
    """What the pixels of a stack show of their noise."""

    spectrum: NoiseSpectrum
    good: torch.Tensor
    """Mask of the pixels that show the noise."""
    hot: torch.Tensor
    """Mask of the pixels that are hot."""
    line: Line | None
    """Variance against mean; None if there are too few pixels, or values were computed."""
    highest: torch.Tensor | None
    """No pedestal is higher; None if nothing shows that."""
    curve: Curve | None
    """What white noise follows, if that is no line."""
    correlated: torch.Tensor
    like_counts: torch.Tensor
    """Whether the quietest places have the noise of counts."""
    read_out: ReadOut | None
    """Its noise beside that of clouds of charge, if both were told apart."""
    subtracted: bool
    """Whether a shift of correlated noise is what was subtracted, and no noise of the read-out."""
    bright: bool
    """Whether bright places have more correlated noise for their intensity than dark ones."""

    @property
    def pedestal(self) -> torch.Tensor | float:
        """Below the intensity, if noise of the read-out shows one; otherwise 0."""
        if self.read_out is None or self.line is None or bool(self.line.shift >= 0):
            return 0.0
        return self.read_out.level


def measure(
    images: torch.Tensor,
    valid: torch.Tensor,
    seen: torch.Tensor,
    step: torch.Tensor,
    *,
    computed: bool,
) -> Measured:
    """Measure spectrum and variance; all but ``step`` have the shape ``(n, height, width)``.

    Parameters
    ----------
    seen
        Valid pixels that may show the noise.
    step
        Number of which all values are multiples, or NaN.
    computed
        Whether ``images`` were computed from several values each: then their variance does not
        follow their mean.
    """
    highest = _floor_of(images[seen])
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
        correlated, like_counts = _correlated(spectrum, step, above, good)
        behind = spectrum if bool(correlated) else None
        levels, line = _line(images, good, step, highest, behind) if not computed else (None, None)
        if line is None or bool((line.shift - shift).abs() <= SETTLED * line.shift_error):
            break
        shift = line.shift
    read_out, subtracted = None, False
    if line is not None and bool(correlated):
        subtracted = too_smooth(spectrum, line.gain * line.shift)
    if line is not None and bool(line.shift != 0) and not subtracted:
        read_out = beside_clouds(images, good, line)
    if read_out is not None:
        spectrum, correlated = replace(spectrum, fit=read_out.fit), torch.ones_like(correlated)
    bright = bool(correlated) and line is not None and brighter_is_noisier(spectrum, line)
    bright = bright and read_out is None
    if bool(correlated) and not bright:
        other = None if line is None else gain_of_pixels(spectrum, line)
        beside = 0.0 if line is None or subtracted else read_out_variance(images[good], line)
        beside = beside if read_out is None else read_out.variance
        again = behind_clouds(images + shift.clamp(max=0), good, spectrum, other, beside)
        if max(again.fit.correlation) > AS_WHITE:
            spectrum = again
        elif not beside > 0:  # sharp structure passed for correlated noise
            correlated = torch.zeros_like(correlated)
            levels, line = (
                _line(images, good, step, highest, None) if not computed else (None, None)
            )
    curve = None if levels is None or bool(correlated) else curve_of(levels)
    if curve is not None:
        counts = as_counts(images / curve.gain, float(curve.curvature))
        hot = hot_pixels(counts, valid, _expanded(torch.ones_like(curve.gain), images))
    return Measured(
        spectrum=spectrum,
        good=good,
        hot=hot,
        line=line,
        highest=highest,
        curve=curve,
        correlated=correlated,
        like_counts=like_counts,
        read_out=read_out,
        subtracted=subtracted and bool(correlated),
        bright=bright,
    )


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


def _correlated(
    spectrum: NoiseSpectrum, step: torch.Tensor, images: torch.Tensor, seen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether the noise is not white, and whether its quietest places have that of counts."""
    # Sharp structure at high counts passes for noise, but hardly everywhere.
    quiet_part = torch.quantile(spectrum.ratio, QUIET_PART) * spectrum.gain
    like_counts = (quiet_part > QUIETEST * step) & (quiet_part < AS_QUIET * step)
    whole = like_counts | ((spectrum.gain - step).abs() < ABOUT * step)
    limit = torch.where(whole, WHITE_COUNTS, WHITE) + BEYOND * spectrum.correlation_error
    correlated = (spectrum.row_correlation > limit) | (spectrum.column_correlation > limit)
    # Whole electrons have the noise of counts at the finest frequencies, too; behind a camera whose
    # values happen to have it on average, little is left there.
    finest = spectrum.finest
    behind = (finest < FINEST * step) & (spectrum.gain > FALLS * finest) & (seen.sum() >= PIXELS)
    correlated, like_counts = correlated | behind, like_counts & ~behind
    if bool(correlated | ~like_counts) and single_counts(images, seen, step):
        return torch.zeros_like(correlated), torch.ones_like(like_counts)
    return correlated, like_counts


def _expanded(gain: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    safe = gain.clamp(min=torch.finfo(images.dtype).tiny)
    return safe.expand(len(images))[:, None, None]
