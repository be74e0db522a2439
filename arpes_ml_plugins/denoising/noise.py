"""Estimate the noise of an image: its strength and correlation, and whether values are counts.

Images are divided by scales that were multiplied to their counts, and by the brightness of a beam
that fluctuates. Then the noise is measured
(:mod:`~arpes_ml_plugins.denoising.noise_measured`), its gain found
(:mod:`~arpes_ml_plugins.denoising.noise_gain`), and its kind told from both
(:mod:`~arpes_ml_plugins.denoising.noise_kind`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.constants import DIFFERENCE, NEGATIVE
from arpes_ml_plugins.denoising.gain_scales import Scaling, find_scaling, relative_scales
from arpes_ml_plugins.denoising.irregular import Lines, clipped, uneven
from arpes_ml_plugins.denoising.line_factors import line_factors
from arpes_ml_plugins.denoising.neighbourhoods import highest_around
from arpes_ml_plugins.denoising.noise_clouds import too_smooth
from arpes_ml_plugins.denoising.noise_gain import CURVED, Gain, gain_of
from arpes_ml_plugins.denoising.noise_kind import KINDS, beside_steps, kind_of, step_of
from arpes_ml_plugins.denoising.noise_measured import FEWEST, Measured, measure
from arpes_ml_plugins.denoising.noise_spectrum import noise_spectrum
from arpes_ml_plugins.denoising.noise_zero import (
    ENOUGH_STILL,
    constant_explains,
    level_of,
    of_read_out,
    overshot,
    read_out_explains,
    still_places,
)

__all__ = [
    "KINDS",
    "NoiseEstimate",
    "estimate",
]

UNCERTAIN = 0.1  # relative error of the gain, because there may be a shift, that is told
VERY = 1.5  # times that for correlated noise, whose gain is never known that well
CUT = 5  # pixels, side of the square around one that is cut off, whose noise may be so too
COUNTED = 16  # electrons per pixel: fewer are counted by their noise, which is known to 3 %
ROUNDING, LEAST = 1e-5, 1e-300  # relative and absolute; less noise than that is rounding


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
    pedestal: torch.Tensor
    """Mean of pixels without electrons, if it was told from white noise of the read-out beside
    correlated noise; negative: minus the constant that was subtracted. Otherwise 0."""
    curvature: torch.Tensor
    """Above zero, the variance is ``gain * x * (1 + curvature * x / gain)`` for the mean ``x`` with
    the shift; below, ``gain * x * exp(curvature * x / gain)``; zero unless noise is white."""
    uncertain: torch.Tensor
    """Whether the gain could be another, because a shift is too large or missing."""
    structured: torch.Tensor
    """Whether the gain could be another, because fine structure may pass for correlated noise, or
    dark places have less of it for their intensity than bright ones."""
    row_correlation: torch.Tensor
    """Correlation of the noise of neighbours along the first axis of the images; that of electrons
    if noise of the read-out, which is white, was told from it."""
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
    scene = _scene(images, valid, recorded, several)
    computed = recorded is not None
    measured = measure(scene.images, valid, scene.seen, scene.step, computed=computed)
    pedestal = torch.zeros_like(scene.base)
    if bool(measured.pedestal > 0):
        scene = scene.above(pedestal + measured.pedestal)
        measured = measure(scene.images, valid, scene.seen, scene.step, computed=computed)
        pedestal = pedestal if measured.read_out is None else scene.base
    gain = gain_of(scene.images, measured, scene.step, computed=computed)
    gain, below = _beside_read_out(gain, scene, measured, computed)
    mean = scene.images[measured.good].mean()
    quietest = (ROUNDING**2 * mean.abs()).clamp(min=LEAST)
    kind = _kind(gain, scene, measured, mean, below, quietest)
    # Counts are multiples of one electron; where the noise agrees, the step is the better number.
    counted = kind == KINDS.index("counts")
    served = ~counted & (kind < KINDS.index("local"))
    uncertain, structured = (served & unsure for unsure in _unsure(gain, measured))
    beside = (scene.base != 0) & (kind <= KINDS.index("scaled counts"))
    kind = torch.where(beside, KINDS.index("offset"), kind)
    value = torch.where(counted, scene.step, gain.value)
    error = (gain.error.square() + gain.doubt.square() + gain.structure.square()).sqrt()
    error = torch.where(counted, gain.error, error)
    void = (kind == KINDS.index("negative")) | (value <= quietest)
    value, error = (x.masked_fill(void, torch.nan) for x in (value, error))
    rows, columns = uneven(scene.whole, measured.good)
    row_correlation, column_correlation = _correlations(measured, mean)
    none = torch.full_like(value, torch.nan)
    return NoiseEstimate(
        gain=value,
        gain_error=error,
        step=scene.step,
        shift=gain.shift - scene.base,
        pedestal=torch.where(gain.shift > 0, -gain.shift, pedestal)
        if measured.subtracted
        else pedestal,
        shift_error=gain.shift_error,
        curvature=gain.curvature,
        uncertain=uncertain,
        structured=structured,
        row_correlation=row_correlation,
        column_correlation=column_correlation,
        hot=measured.hot.sum().to(value) / valid.sum(),
        missing=1 - valid.to(value).mean(),
        negative=scene.negative,
        counts=(mean + gain.shift) / value,
        deviation=none,
        unit=none,
        kind=kind,
        rows=rows,
        columns=columns,
        clipped=clipped(scene.values),
        used=measured.good,
        scaling=scene.scaling,
    )


@dataclass(frozen=True)
class _Scene:
    images: torch.Tensor
    """Without the scales and the fluctuations of the beam, above ``base``."""
    whole: torch.Tensor
    """The same with the fluctuations."""
    seen: torch.Tensor
    """Mask of the pixels that may show the noise."""
    base: torch.Tensor
    """The pedestal that places without noise show, or the lowest value if there is no intensity."""
    values: torch.Tensor
    """What the detector recorded."""
    step: torch.Tensor
    """All values are multiples of it; NaN if there is no such number."""
    scaling: Scaling

    @property
    def negative(self) -> torch.Tensor:
        """Fraction of the values that are below zero."""
        return (self.values < 0).to(self.images).mean()

    def above(self, pedestal: torch.Tensor) -> _Scene:
        """The same without this pedestal."""
        images, whole, base = (self.images - pedestal, self.whole - pedestal, self.base + pedestal)
        return replace(self, images=images, whole=whole, base=base)


def _scene(
    images: torch.Tensor, valid: torch.Tensor, recorded: torch.Tensor | None, several: bool
) -> _Scene:
    images = images.double() if images.device.type != "mps" else images
    scaling = Scaling() if recorded is not None else find_scaling(images, valid, several=several)
    scales = relative_scales(images, valid, scaling)
    images = images if scales is None else images / scales
    still = valid & still_places(images)
    still &= still.sum() < (1 - ENOUGH_STILL) * valid.sum()  # otherwise there is no noise anywhere
    base = level_of(images, still, valid)
    if images[valid].mean() <= 0:  # no intensity to compare the noise with
        base = images[valid].min()
    beside = False  # whether counts lie beside a pedestal that is unknown
    if bool(base == 0) and recorded is None:
        base, beside = _pedestal_of_counts(images, valid)
    whole, seen = images - base, valid & ~still
    dull = _near_ceiling(images, valid)
    seen = seen & ~dull if (seen & ~dull).sum() > ENOUGH_STILL * valid.sum() else seen
    if recorded is not None:
        values = recorded.to(whole)
        return _Scene(whole, whole, seen, base, values, step_of(values), scaling)
    rows, columns = (bool(lines.jitter > 0) for lines in uneven(whole, seen))
    images = whole / line_factors(whole, seen, rows=rows, columns=columns).values
    step = base.new_tensor(torch.nan) if beside else step_of(images[seen])
    return _Scene(images, whole, seen, base, images[valid] + base, step, scaling)


def _pedestal_of_counts(images: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """A pedestal below counts that is no multiple of an electron, and whether there is another.

    Of those that are possible, it is the one above which the noise is that of counts; zero if there
    is none, or if there are too many electrons to tell.
    """
    values = images[valid]
    none = torch.zeros_like(values.sum())
    if not bool((values > 0).all() and step_of(values).isfinite()):  # zeros lie on no pedestal
        return none, False
    step, part = beside_steps(values)
    if not bool(part > 0):
        return none, False
    above = (values.mean() - part) / step
    electrons = above * noise_spectrum(images - part, valid).gain / step
    if not bool(electrons < COUNTED):
        return none, True
    steps = torch.minimum(above - electrons, (values.min() - part) / step)
    return part + step * steps.round().clamp(min=0), False


def _near_ceiling(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mask of the pixels at which the detector saturates, and of those around: their noise is cut
    off.
    """
    values = images[valid]
    if not bool(clipped(values) > 0):
        return torch.zeros_like(valid)
    return highest_around((valid & (images == values.max())).to(images), CUT) > 0


def _beside_read_out(
    gain: Gain, scene: _Scene, measured: Measured, computed: bool
) -> tuple[Gain, torch.Tensor]:
    """The gain beside that of read-out noise, and whether values below zero are not explained."""
    explains = constant_explains if measured.subtracted else read_out_explains
    below = (scene.negative > NEGATIVE) & ~explains(scene.values, gain.value, gain.shift)
    if bool(below & measured.correlated & (gain.shift <= 0) & (scene.base >= 0)):
        below = below & ~overshot(scene.images, measured.good)
    few = below & (scene.negative < DIFFERENCE) & (gain.shift <= 0) & (scene.base >= 0)
    if computed or measured.curve is not None or not bool(few):
        return gain, below
    seen = scene.images[measured.good]
    value, shift = of_read_out(seen, gain.value, seen.mean())
    if bool(measured.correlated) and too_smooth(measured.spectrum, value * shift):
        return gain, below
    return replace(gain, value=value, shift=shift), shift <= 0


def _kind(
    gain: Gain,
    scene: _Scene,
    measured: Measured,
    mean: torch.Tensor,
    below: torch.Tensor,
    quietest: torch.Tensor,
) -> torch.Tensor:
    """Index into :data:`KINDS`; noise below ``quietest`` is rounding."""
    step, known = scene.step, gain.error
    if measured.curve is not None:
        step = torch.full_like(step, torch.nan)
        # What curves upwards is known where it is bright, whatever the gain of the dark.
        known = torch.minimum(known, CURVED * gain.value)
    known = known * mean / (mean + gain.shift.clamp(min=0))
    enough = (gain.value > quietest) & (measured.good.sum() >= FEWEST)
    # Noise that grows from the lowest value, which many pixels have: those without counts.
    lowered = (scene.base < 0) & (gain.shift == 0) & (measured.highest is not None)
    return kind_of(
        gain=gain.value,
        error=torch.where(enough, known, torch.inf),
        doubt=gain.doubt,
        step=step,
        as_counts=gain.like_counts,
        negative=(below | (scene.base < 0)) & ~lowered,
        correlated=measured.correlated,
        offset=gain.shift != 0,
    )


def _unsure(gain: Gain, measured: Measured) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether the gain could be another because of a shift, and because of structure."""
    both = (gain.error.square() + gain.doubt.square()).sqrt()
    doubt = torch.where(gain.shift != 0, both, gain.doubt)
    most = torch.where(measured.correlated, VERY, 1) * UNCERTAIN * gain.value
    return doubt > most, gain.structure > UNCERTAIN * gain.value


def _correlations(measured: Measured, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlation of neighbours along both axes: of all noise, unless that of the read-out, which
    is white, was told from it.
    """
    spectrum, line = measured.spectrum, measured.line
    electrons = torch.ones_like(mean)  # their share of the variance of a pixel
    mixed = bool(measured.correlated) and measured.read_out is None and not measured.subtracted
    if mixed and line is not None and bool(line.shift > 0):
        electrons = mean / (mean + line.shift)
    return spectrum.row_correlation * electrons, spectrum.column_correlation * electrons
