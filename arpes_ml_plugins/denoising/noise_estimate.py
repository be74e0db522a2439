"""Estimate the noise of a stack: by a law if it follows the intensity, else from place to place."""

from __future__ import annotations

from dataclasses import replace

import torch

from arpes_ml_plugins.constants import NEGATIVE
from arpes_ml_plugins.denoising import noise
from arpes_ml_plugins.denoising.derivative import second_derivative
from arpes_ml_plugins.denoising.gain_scales import Scaling
from arpes_ml_plugins.denoising.irregular import Lines, uneven
from arpes_ml_plugins.denoising.line_offsets import line_offsets
from arpes_ml_plugins.denoising.noise import KINDS, NoiseEstimate
from arpes_ml_plugins.denoising.noise_map import local_noise, pedestal
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.noise_zero import dark_explains

__all__ = ["estimate"]

CORRELATED = 0.1  # of neighbours: less is chance
UNCORRELATED = "counts", "scaled counts", "offset"
ROUNDED = 1e-6  # of the mean intensity, also in single precision
ROUNDING, QUIET = 1e-9, 0.1  # of the mean intensity: noise of a pixel that is neither
# rounding nor that of few counts


def estimate(
    images: torch.Tensor,
    valid: torch.Tensor,
    recorded: torch.Tensor | None = None,
    *,
    several: bool = True,
) -> NoiseEstimate:
    """Diagnose a stack, as :func:`noise.estimate` does, also if the noise follows no law."""
    images = _without_rounding(images, valid)
    if recorded is not None or not valid.any():
        return noise.estimate(images, valid, recorded, several=several)
    lines = uneven(images, valid)
    found = _with_lines(images, valid, several, lines)
    if bool(found.shift < 0) and any(bool(x.jitter + x.baseline > 0) for x in lines):
        above = uneven(images + found.shift, valid)  # a beam does not move the pedestal
        if any(
            bool((a.baseline > 0) != (b.baseline > 0)) for a, b in zip(above, lines, strict=True)
        ):
            return _with_lines(images, valid, several, above)
    return found


def _without_rounding(images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Zeros for what sums and transforms have left just below zero: nothing was subtracted."""
    least = -ROUNDED * images[valid].abs().mean()
    return torch.where((images < 0) & (images > least), 0, images)


def _with_lines(
    images: torch.Tensor, valid: torch.Tensor, several: bool, lines: tuple[Lines, Lines]
) -> NoiseEstimate:
    """The estimate if constants were added to the rows or columns as ``lines`` say."""
    rows, columns = (bool(x.baseline > 0) for x in lines)
    offsets = line_offsets(images, valid, rows=rows, columns=columns)
    found = _estimate(images if offsets is None else images - offsets.values, valid, several)
    return replace(
        found,
        rows=replace(found.rows, baseline=lines[0].baseline),
        columns=replace(found.columns, baseline=lines[1].baseline),
    )


def _estimate(images: torch.Tensor, valid: torch.Tensor, several: bool) -> NoiseEstimate:
    """The estimate of images whose lines have one zero."""
    found = noise.estimate(images, valid, several=several)
    images, kind = images.to(found.gain), KINDS[int(found.kind)]
    signed = bool(found.negative > NEGATIVE)
    if signed and second_derivative(images, valid):
        none = torch.full_like(found.gain, torch.nan)
        number = torch.full_like(found.kind, KINDS.index("derivative"))
        return replace(found, kind=number, gain=none, gain_error=none, counts=none)
    if kind == "negative" or (kind == "unknown" and signed):
        return _local(found, images, valid)
    if kind == "offset" and signed and not found.scaling.kind:
        if bool(dark_explains(images[valid], found.gain, found.shift)):
            return found
        return _local(found, images, valid, found.gain * (images + found.shift))
    if kind == "unknown":  # not because there are few counts, if there is hardly any noise
        share = local_noise(images, found.used).deviation / images[valid].mean()
        little = bool((share > ROUNDING) & (share < QUIET))
        return _local(found, images, valid) if little else found
    return found


def _local(
    found: NoiseEstimate, images: torch.Tensor, valid: torch.Tensor, law: torch.Tensor | None = None
) -> NoiseEstimate:
    """The estimate with noise known from place to place; ``found`` if it follows ``law``."""
    local = local_noise(images, found.used, law=law)
    if not bool(local.deviation > 0):
        return found
    rows, columns = _correlation(found, images, valid, local.unit)
    if max(rows, columns) > CORRELATED:
        local = local_noise(images, found.used, (float(rows), float(columns)))
        if not bool(local.deviation > 0):  # too small to look beyond the correlation
            return found
    else:
        rows, columns = torch.zeros_like(rows), torch.zeros_like(columns)
    none, no = torch.full_like(found.gain, torch.nan), torch.zeros_like(found.uncertain)
    return replace(
        found,
        kind=torch.full_like(found.kind, KINDS.index("local")),
        gain=none,
        gain_error=none,
        counts=none,
        curvature=torch.zeros_like(none),
        pedestal=torch.zeros_like(none),
        uncertain=no,
        structured=no,
        row_correlation=rows,
        column_correlation=columns,
        deviation=local.deviation,
        unit=local.unit,
        scaling=Scaling(),
    )


def _correlation(
    found: NoiseEstimate, images: torch.Tensor, valid: torch.Tensor, unit: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlation of neighbours along both axes.

    Above its pedestal the noise is that of counts, so that this can be measured once more. Either
    measurement may miss it: the larger one counts, unless it is no more than chance.
    """
    above = pedestal(images, valid, NoiseModel(float(unit)))
    again = found if above is None else noise.estimate(images + above, valid)
    again = found if KINDS[int(again.kind)] in UNCORRELATED else again
    rows = torch.maximum(found.row_correlation, again.row_correlation)
    return rows, torch.maximum(found.column_correlation, again.column_correlation)
