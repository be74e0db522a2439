"""Data of which each image, or each line of pixels, was divided by a number of its own.

Counts over their maximum, their sum, the flux or the time of the exposure have a gain that differs
from image to image (or line to line). The numbers come from the data: exactly if values are
multiples of a step (:mod:`~arpes_ml_plugins.denoising.exact_scales`), and otherwise from the noise,
which tells how many electrons there were: variance over mean of one image compared with another's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from arpes_ml_plugins.constants import NEGATIVE
from arpes_ml_plugins.denoising.dispersions import Dispersions, dispersions, of_rows
from arpes_ml_plugins.denoising.exact_scales import FEWEST_LEVELS, steps_of_lines
from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.noise_kind import step_of

__all__ = ["KINDS", "Scaling", "find_scaling", "relative_scales"]

KINDS = (
    "none",
    "images",
    "rows",
    "columns",
    "noise of images",
    "noise of rows",
    "noise of columns",
)
"""Where the scale differs, and that it is not exact but measured from the noise."""
MOST_LINES = 512  # lines in which steps are looked for
FEWEST_LINES = 16
NEARLY_ALL = 0.9  # of the lines, or images, have a step
COARSER = 1.5  # times the step of all values that the step of lines must be
DIFFER = 2e-3  # spread of the logarithms of the scales: smaller ones do not matter
SLOPE = (0.6, 2.5)  # of the logarithm of the noise against that of the step, if it is the scale
AROUND = 3.0  # lines, over which scales are smoothed
SMOOTHER = 0.5  # times the differences of brightness of lines: less is no chance
SURE, MAYBE = 4.0, 2.0  # standard errors of this slope
AS_COUNTS = 3.0  # factor by which noise may differ from that of counts
ENDS = (0.02, 0.98)  # quantiles of the scales, whose ratio is stated
SPREAD, RATIO = 0.12, 1.4  # of scales that are measured: spread of logarithms, largest / smallest
LARGEST_RATIO = 1000.0  # what differs by more has no noise at all
BETTER = 10.0  # by which chi squared must be less, per image
STRIP, STRIPS = 8, 64  # lines whose noise is compared with that of others, and how many of these
SMOOTH = 1.0  # strips, over which their scales are smoothed
BOTH = 0.7  # agreement of dim and bright places
DEGREE = 4  # of the polynomial of brightness that explains the noise otherwise
SCALES = 160  # tried
READ_OUT, CURVES = (-1.5, 2.5, 13), (-3.0, 0.0, 6)
"""Logarithms of the variance of read-out noise, in electrons, and of the relative variance of a
source that fluctuates."""
BELOW = (
    1.6  # times the variance of the read-out: mean square of negative values; its grid is coarse
)


@dataclass(frozen=True)
class Scaling:
    """How values come from those with a common gain: these times a scale."""

    kind: int = 0
    """Index into :data:`KINDS`."""
    unit: float = 1.0
    """Geometric mean of the scales."""
    ratio: float = 1.0
    """Largest over smallest scale."""
    read_out: float = 0.0
    """Variance in the dark, in electrons, with which scales are measured."""
    curve: float = 0.0
    """Relative variance of what is not noise of counts, with which scales are measured."""


def find_scaling(images: torch.Tensor, valid: torch.Tensor, *, several: bool = True) -> Scaling:
    """Look for scales in a stack; ``images`` and ``valid`` have shape ``(n, height, width)``.

    ``several``: whether they are images of their own, and not parts of one.
    """
    images, valid = images.cpu().double(), valid.cpu()
    several = several and len(images) > 1
    common = float(step_of(images[valid]))
    for kind in ("images", "rows", "columns")[not several :]:
        steps = _steps_of(images, valid, kind, common)
        if steps is not None:
            return _exact(images, valid, kind, steps)
    if math.isfinite(common):
        return Scaling()
    kinds = [kind for kind in KINDS[4:] if several or kind != "noise of images"]
    found = [_measured(images, valid, kind) for kind in kinds]
    return max(found, key=lambda pair: pair[0])[1]


def relative_scales(
    images: torch.Tensor, valid: torch.Tensor, scaling: Scaling
) -> torch.Tensor | None:
    """What to divide ``images`` by, ``(n, height or 1, width or 1)``; None if nothing.

    It depends on each image alone, so that a stack may be processed in parts.
    """
    kind = KINDS[scaling.kind]
    if kind == "none":
        return None
    own, valid = images.cpu().double(), valid.cpu()
    if kind.startswith("noise"):
        levels = dispersions(*_parts(own, valid, kind))
        scales = _scales(levels, scaling.read_out, scaling.curve)[0] / scaling.unit
        scales = scales.where(levels.error.isfinite().all(1), torch.nan)
        if kind == "noise of images":
            return _known(scales)[:, None, None].to(images)
        size = images.shape[-1 if kind == "noise of columns" else -2]
        lines = _of_lines(scales.unflatten(0, (len(images), -1)), size).to(images)
        return lines.mT if kind == "noise of columns" else lines
    lines, mask = _lines(own, valid, kind)
    steps = steps_of_lines(lines.flatten(0, 1), mask.flatten(0, 1), fewest=1)
    steps = (steps / scaling.unit).unflatten(0, lines.shape[:2])
    scales = torch.stack([_known(each) for each in steps])[..., None]
    if kind != "images":
        scales = _smoothest(lines, mask, scales)
    scales = scales.to(images)
    return scales.mT if kind == "columns" else scales


def _smoothest(lines: torch.Tensor, mask: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The scales themselves, or smooth ones, after which lines are far more like those beside them.

    Lines that were divided by their own sum are smoother as they are than the counts were: what
    is left is noise without that of the sum.
    """
    ones = torch.ones_like(scales)
    smooth = gaussian_mean(scales.log()[:, None], ones[:, None], AROUND)[:, 0].exp()
    sums = torch.where(mask, lines, 0).sum(-1, keepdim=True).clamp(min=0)
    tiny = torch.finfo(sums.dtype).tiny
    exact, other = (
        (sums / each + tiny).log().diff(n=2, dim=1).abs().median(1, keepdim=True).values
        for each in (scales, smooth)
    )
    return torch.where(other < SMOOTHER * exact, smooth, scales)


def _known(scales: torch.Tensor) -> torch.Tensor:
    """Scales without those that are missing, where there is nothing to scale."""
    there = scales.isfinite()
    typical = scales[there].log().mean().exp() if bool(there.any()) else scales.new_ones(())
    return torch.where(there, scales, typical)


def _lines(
    images: torch.Tensor, valid: torch.Tensor, kind: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """What may have a scale of its own: ``(n, lines, pixels)``."""
    if kind == "images":
        return images.flatten(1)[:, None], valid.flatten(1)[:, None]
    return (images.mT, valid.mT) if kind == "columns" else (images, valid)


def _steps_of(
    images: torch.Tensor, valid: torch.Tensor, kind: str, common: float
) -> torch.Tensor | None:
    """Logarithms of the steps of evenly spread lines, NaN for some; None if most have none of their
    own.
    """
    lines, mask = (x.flatten(0, 1) for x in _lines(images, valid, kind))
    some = _some(len(lines))
    lines, mask = lines[some], mask[some]
    steps = steps_of_lines(lines, mask)
    levels = torch.where(mask, lines, 0).sort(1).values.diff(dim=1) > 0
    there = steps.isfinite()
    fewest = 2 if kind == "images" else FEWEST_LINES
    if there.sum() < max(fewest, NEARLY_ALL * int((levels.sum(1) >= FEWEST_LEVELS).sum())):
        return None
    # A few lines are all even by chance, and images are not: one is enough.
    coarse = steps[there].max() if kind == "images" else steps[there].median()
    if math.isfinite(common) and coarse < COARSER * common:
        return None
    return steps.log()


def _some(lines: int) -> torch.Tensor:
    """Indices of those in which steps are looked for."""
    spread = torch.linspace(0, lines - 1, min(lines, MOST_LINES), device="cpu")
    return spread.round().long().unique()


def _exact(images: torch.Tensor, valid: torch.Tensor, kind: str, steps: torch.Tensor) -> Scaling:
    """Whether the noise agrees that the steps, in logarithms, are scales."""
    there = steps.isfinite()
    noise = _noise_of_lines(images, valid, kind)
    noise = noise[_some(len(noise))]
    logarithms = steps[there]
    if logarithms.std() < DIFFER or not _follows(noise[there], logarithms):
        return Scaling()
    low, high = torch.quantile(logarithms, logarithms.new_tensor(ENDS))
    return Scaling(KINDS.index(kind), float(logarithms.mean().exp()), float((high - low).exp()))


def _noise_of_lines(images: torch.Tensor, valid: torch.Tensor, kind: str) -> torch.Tensor:
    """Logarithm of variance over mean, for each line of :func:`_lines`."""
    if kind == "images":
        levels = dispersions(images, valid)
        weight = levels.error.isfinite().to(images)
        return ((levels.variance * weight).sum(1) / (levels.mean * weight).sum(1)).log()
    if kind == "columns":
        images, valid = images.mT, valid.mT
    return of_rows(images, valid).flatten()


def _follows(noise: torch.Tensor, steps: torch.Tensor) -> bool:
    """Whether noise grows with the step, as that of whole numbers does which were divided.

    If it is about that of counts of one step each, it is enough that it may.
    """
    known = noise.isfinite()
    if known.sum() < 2:
        return False
    x, y = (part[known] - part[known].mean() for part in (steps, noise))
    norm = x.square().sum()
    slope = (x * y).sum() / norm
    left = (y - slope * x).square().sum() / max(int(known.sum()) - 2, 1)
    error = (left / norm).sqrt()
    if (noise - steps)[known].median().abs() < math.log(AS_COUNTS):
        return bool((slope + MAYBE * error > SLOPE[0]) & (slope - MAYBE * error < SLOPE[1]))
    return bool((slope > SLOPE[0]) & (slope < SLOPE[1]) & (slope > SURE * error))


def _parts(
    images: torch.Tensor, valid: torch.Tensor, kind: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is compared: images, or strips of lines, ``(parts, height, width)``."""
    if kind == "noise of images":
        return images, valid
    if kind == "noise of columns":
        images, valid = images.mT, valid.mT
    starts = _starts(images.shape[1])
    cut = [torch.stack([x[:, s : s + STRIP + 2] for s in starts], 1) for x in (images, valid)]
    return cut[0].flatten(0, 1), cut[1].flatten(0, 1)


def _starts(size: int) -> list[int]:
    """First lines of the strips; second differences lose a line on either side."""
    number = max(size // STRIP, 1)
    last = max(size - STRIP - 2, 0)
    return [round(k * last / max(number - 1, 1)) for k in range(number)]


def _of_lines(scales: torch.Tensor, size: int) -> torch.Tensor:
    """Scales ``(n, size, 1)`` of lines, from those of their strips, ``(n, strips)``."""
    known = scales.isfinite()
    logarithm = torch.where(known, scales, 1).log()[:, None, :, None]
    mask = known.to(scales)[:, None, :, None]
    smooth = gaussian_mean(logarithm, mask, SMOOTH)
    smooth = torch.where(gaussian_mean(mask, torch.ones_like(mask), SMOOTH) > 1e-3, smooth, 0)
    lines = F.interpolate(smooth[..., 0], size=size, mode="linear", align_corners=False)
    return lines[:, 0, :, None].exp()


def _measured(images: torch.Tensor, valid: torch.Tensor, kind: str) -> tuple[float, Scaling]:
    """Scales of images, or of lines, from their noise, if nothing else explains how it differs; and
    by how much chi squared is better per image.
    """
    nothing = 0.0, Scaling()
    parts, mask = _parts(images, valid, kind)
    some = torch.linspace(0, len(parts) - 1, min(len(parts), STRIPS), device="cpu").round().long()
    levels = dispersions(parts[some], mask[some])
    known = (levels.error.isfinite() & (levels.error > 0)).all(1)  # some may hold no noise
    if known.sum() < 2:
        return nothing
    levels = Dispersions(levels.mean[known], levels.variance[known], levels.error[known])
    otherwise = _of_brightness(levels)
    if otherwise < BETTER * len(levels.mean):
        return nothing
    constants = [0.0, *torch.logspace(*READ_OUT, dtype=torch.float64, device="cpu").tolist()]
    curves = [0.0, *torch.logspace(*CURVES, dtype=torch.float64, device="cpu").tolist()]
    tried = [(float(_scales(levels, a, b)[1].sum()), a, b) for a in constants for b in curves]
    misfit, read_out, curve = min(tried)
    scales = _scales(levels, read_out, curve)[0].log()
    low, high = scales.min(), scales.max()
    if scales.std() < SPREAD or not RATIO < (high - low).exp() < LARGEST_RATIO:
        return nothing
    better = (otherwise - misfit) / len(scales)
    if better < BETTER:
        return nothing
    half = levels.mean.shape[1] // 2
    dim, bright = (
        _scales(levels.chosen(part), read_out, curve)[0].log()
        for part in (slice(0, half), slice(half, None))
    )
    dim, bright = dim - dim.mean(), bright - bright.mean()
    if 2 * (dim * bright).sum() < BOTH * (dim.square() + bright.square()).sum():
        return nothing
    unit, ratio = float(scales.mean().exp()), float((high - low).exp())
    scaling = Scaling(KINDS.index(kind), unit, ratio, read_out, curve)
    return (better, scaling) if _explains_negative(images, valid, scaling) else nothing


def _explains_negative(images: torch.Tensor, valid: torch.Tensor, scaling: Scaling) -> bool:
    """Whether negative values are as large as the read-out noise with which scales were measured.

    A filter, such as a notch or a polynomial, carries noise from bright lines into dark ones. These
    seem to be scaled, but are further below zero.
    """
    scales = relative_scales(images, valid, scaling)
    values = images if scales is None else images / scales
    below = values[valid & (values < 0)] / scaling.unit
    few = len(below) <= NEGATIVE * int(valid.sum())
    return few or bool(below.square().mean() < BELOW * scaling.read_out)


def _scales(
    levels: Dispersions, read_out: float, curve: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best scale of each image and its chi squared, ``(n,)``.

    With a scale s the variance is ``s * mean + s**2 * read_out + curve * mean**2``.
    """
    mean, variance, error = levels.mean, levels.variance, levels.error
    ratio = (variance / mean).log()
    middle = ratio.mean(1, keepdim=True)
    grid = torch.linspace(-4.0, 1.5, SCALES, dtype=mean.dtype, device="cpu").to(mean)
    scales = (middle + grid).exp()[..., None]
    expected = scales * mean[:, None] + scales.square() * read_out + curve * mean[:, None].square()
    # In logarithms, so that an expectation that is too large costs as much as one too small.
    off = (expected / variance[:, None]).log() * (variance / error)[:, None]
    misfit = off.square().sum(-1)
    best = misfit.argmin(1, keepdim=True)
    fine = _vertex(misfit, best) * (grid[1] - grid[0])
    lowest = misfit.gather(1, best)[:, 0]
    return (scales[..., 0].gather(1, best)[:, 0].log() + fine).exp(), lowest


def _vertex(misfit: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """Place of the lowest point of a parabola through three, in steps from the middle one."""
    inside = best.clamp(1, misfit.shape[1] - 2)
    low, middle, high = (misfit.gather(1, inside + k)[:, 0] for k in (-1, 0, 1))
    bend = low - 2 * middle + high
    place = torch.where(bend > 0, (low - high) / (2 * bend), 0)
    return torch.where(inside[:, 0] == best[:, 0], place.clamp(-0.5, 0.5), 0)


def _of_brightness(levels: Dispersions) -> float:
    """Chi squared if variance over mean is a smooth function of the mean, or the variance a line of
    any shift, the same everywhere.
    """
    design = torch.stack([torch.ones_like(levels.mean), levels.mean], -1) / levels.error[..., None]
    line = _left(design.flatten(0, 1), (levels.variance / levels.error).flatten())
    mean, off = levels.mean.log().flatten(), (levels.variance / levels.mean).log().flatten()
    weight = (levels.variance / levels.error).flatten()
    mean = (mean - mean.mean()) / mean.std().clamp(min=1e-9)
    powers = torch.stack([mean**k for k in range(DEGREE + 1)], 1) * weight[:, None]
    return min(line, _left(powers, off * weight))


def _left(design: torch.Tensor, wanted: torch.Tensor) -> float:
    """Squares that the best linear combination of the columns leaves."""
    solution = torch.linalg.lstsq(design, wanted[:, None], driver="gelsd").solution
    return float((design @ solution - wanted[:, None]).square().sum())
