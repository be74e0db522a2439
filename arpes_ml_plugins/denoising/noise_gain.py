"""The gain of an image's noise, and its shift, from what was measured of it.

If the noise is correlated, its gain at long wavelengths is that of simulated clouds and of the line
of variance against mean. If it is white and there is no shift, its power at the highest frequencies
of whole images (:mod:`~arpes_ml_plugins.denoising.noise_floor`) gives it more precisely. White
noise is never stronger than the differences of neighbouring pixels say
(:mod:`~arpes_ml_plugins.denoising.pair_gain`), whatever else passes for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.denoising.noise_clouds import agreed_gain, gain_of_pixels
from arpes_ml_plugins.denoising.noise_curve import Curve
from arpes_ml_plugins.denoising.noise_floor import floor_gain
from arpes_ml_plugins.denoising.noise_kind import SAME
from arpes_ml_plugins.denoising.noise_line import Line
from arpes_ml_plugins.denoising.noise_measured import Measured
from arpes_ml_plugins.denoising.noise_spectrum import MATTERS, shifted_gain
from arpes_ml_plugins.denoising.pair_gain import largest_gain

__all__ = ["CURVED", "Gain", "gain_of"]

AGREES = 0.12  # relative difference of two estimates of one gain
FLUCTUATES = 1.6  # times the gain of the dark: then the source does, beyond any structure
NEGLIGIBLE = 0.05  # relative error of the gain, because there may be a shift, that is left out
CURVED = 0.1  # relative error of the noise, at most, if it follows a curve
TOO_LARGE = 0.3  # relative: then a gain is too large for the differences of neighbours
ABOUT_COUNTS = 1.7  # steps, that these differences may be for the noise of counts


@dataclass(frozen=True)
class Gain:
    """The variance is ``value * (mean + shift)``, but for the curvature; all are numbers."""

    value: torch.Tensor
    error: torch.Tensor
    """Standard deviation of ``value``."""
    shift: torch.Tensor
    shift_error: torch.Tensor
    curvature: torch.Tensor
    """As in :class:`~arpes_ml_plugins.denoising.noise_curve.Curve`; 0 if there is none."""
    doubt: torch.Tensor
    """Error of ``value`` because there may be a shift, or none."""
    structure: torch.Tensor
    """Error of ``value`` because fine structure may pass for noise, or dark places have less of it
    for their intensity than bright ones."""
    like_counts: torch.Tensor
    """Whether the quietest places have the noise of counts."""


def gain_of(
    images: torch.Tensor, measured: Measured, step: torch.Tensor, *, computed: bool
) -> Gain:
    """Choose among the estimates of what was measured of ``images``, ``(n, height, width)``.

    ``step`` and ``computed`` as in :func:`~arpes_ml_plugins.denoising.noise_measured.measure`.
    """
    if measured.curve is not None:
        return _of_curve(measured.curve, measured)
    if computed:
        return _of_computed(images, measured)
    if measured.line is None:
        return _limited(_without_line(images, measured), images, measured, step)
    above = images + measured.line.shift
    gain = _of_line(above, measured, measured.line, step)
    return _limited(gain, above, measured, step)


def _of_curve(curve: Curve, measured: Measured) -> Gain:
    plain = _plain(curve.gain, curve.gain_error, measured)
    none = torch.zeros_like(curve.gain)
    return replace(plain, shift_error=none, curvature=curve.curvature)


def _of_computed(images: torch.Tensor, measured: Measured) -> Gain:
    """Differences are evened over some pixels, so that only blocks of pixels show a shift."""
    spectrum = measured.spectrum
    value, shift = shifted_gain(spectrum)
    error = spectrum.gain_error / spectrum.gain * value
    if not bool(shift != 0) and not bool(measured.correlated):
        value, error = _sharpened(images, measured.good, value, error, AGREES)
    return replace(_plain(value, error, measured), shift=shift)


def _without_line(images: torch.Tensor, measured: Measured) -> Gain:
    value, error = measured.spectrum.gain, measured.spectrum.gain_error
    if not bool(measured.correlated):
        value, error = _sharpened(images, measured.good, value, error, AGREES)
    return _plain(value, error, measured)


def _of_line(above: torch.Tensor, measured: Measured, line: Line, step: torch.Tensor) -> Gain:
    """The gain where the variance follows a line; ``above`` are the images with its shift added."""
    if measured.bright:
        value = measured.spectrum.gain
        plain = _plain(value, measured.spectrum.gain_error, measured)
        return replace(plain, structure=value - gain_of_pixels(measured.spectrum, line))
    if bool(measured.correlated):
        return _of_clouds(above, measured, line)
    return _of_white(above, measured, line, step)


def _of_clouds(above: torch.Tensor, measured: Measured, line: Line) -> Gain:
    value, error, structure = agreed_gain(measured.spectrum, line)
    # Noise of the read-out is white: at long wavelengths it is less beside that of electrons.
    white = (line.shift > 0) & (not measured.subtracted)
    shift = torch.where(white, line.gain / value * line.shift, line.shift)
    if measured.read_out is not None:
        shift = measured.read_out.variance / value
    least = MATTERS * (above[measured.good] - line.shift).mean().abs()
    matters = (line.shift.abs() > least) | (measured.read_out is not None)
    return replace(
        _plain(value, error, measured),
        shift=torch.where(matters, shift, 0),
        doubt=line.doubt / line.gain * value,
        structure=structure,
    )


def _of_white(above: torch.Tensor, measured: Measured, line: Line, step: torch.Tensor) -> Gain:
    value, error = measured.spectrum.gain, measured.spectrum.gain_error
    shifted = bool(line.shift != 0)
    fluctuates = value > FLUCTUATES * line.gain
    if bool(measured.like_counts & ((line.gain - step).abs() < SAME * line.gain_error)):
        fluctuates = torch.zeros_like(fluctuates)  # structure passed for noise
    undecided = line.doubt > NEGLIGIBLE * line.gain
    if not shifted and bool(fluctuates | undecided):
        # Then the noise is right at least where the image is about as bright as on average.
        value, error = _sharpened(above, measured.good, value, error, AGREES)
        apart = torch.maximum((value - line.gain).abs(), (value - line.other).abs() / 2)
        doubt = torch.where(undecided, apart, (value - line.gain).abs())
        return replace(_plain(value, error, measured), doubt=doubt)
    value, error = line.gain, line.gain_error
    if not shifted:
        value, error = _sharpened(above, measured.good, value, error)
    doubt = torch.where(line.doubt > NEGLIGIBLE * value, line.doubt, 0)
    return replace(_plain(value, error, measured), shift=line.shift, doubt=doubt)


def _limited(gain: Gain, above: torch.Tensor, measured: Measured, step: torch.Tensor) -> Gain:
    """The gain, or the largest that differences of neighbours allow if the noise is white."""
    if bool(measured.correlated):
        return gain
    most = largest_gain(above, measured.good, step)
    if not bool(most * (1 + TOO_LARGE) < gain.value):
        return gain
    return replace(  # structure passed for noise
        gain,
        value=most,
        error=CURVED * most,
        doubt=torch.zeros_like(most),
        structure=TOO_LARGE * most,
        like_counts=gain.like_counts | (most < ABOUT_COUNTS * step),
    )


def _plain(value: torch.Tensor, error: torch.Tensor, measured: Measured) -> Gain:
    """A gain without shift, curvature or doubt."""
    none = torch.zeros_like(value)
    unused = none if measured.line is None else measured.line.shift_error
    return Gain(value, error, none, unused, none, none, none, measured.like_counts)


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
