"""Scales that differ from image to image, or from line to line: found once, and applied everywhere.

Numbers say how to find the scales of an image in its own values, so that lazy data need no pass of
their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from arpes_ml_plugins.labelled.apply import ImageBatch

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.gain_scales import Scaling

__all__ = ["MEASURED", "RATIOS", "SCALING", "scales_of", "scaling_from", "scaling_numbers"]

SCALING = ("scale_kind", "scale_unit", "scale_ratio", "scale_read_out", "scale_curve")
"""Names of the numbers, in the order of the fields of ``Scaling``."""
RATIOS = ("image_scale", "energy_scale", "momentum_scale")
"""Names of the ratios of largest and smallest scale, as users see them."""
MEASURED = "scale_measured"
"""Name of the number that is 1 if scales come from the noise and are not exact."""


def scaling_numbers(scaling: Scaling) -> dict[str, float]:
    """All numbers that a noise estimate contains about ``scaling``."""
    from arpes_ml_plugins.denoising.gain_scales import KINDS

    fields = (scaling.kind, scaling.unit, scaling.ratio, scaling.read_out, scaling.curve)
    ratios = dict.fromkeys(RATIOS, 1.0)
    measured = float(KINDS[scaling.kind].startswith("noise"))
    if scaling.kind:
        where = ("images", "rows", "columns").index(KINDS[scaling.kind].split()[-1])
        ratios[RATIOS[where]] = scaling.ratio
    return dict(zip(SCALING, map(float, fields), strict=True)) | ratios | {MEASURED: measured}


def scaling_from(numbers: Mapping[str, float]) -> Scaling:
    """The ``Scaling`` that a noise estimate describes by its ``numbers``."""
    from arpes_ml_plugins.denoising.gain_scales import Scaling

    kind, *others = (numbers[name] for name in SCALING)
    return Scaling(int(kind), *others)


def scales_of(batch: ImageBatch, numbers: Mapping[str, float]) -> torch.Tensor | None:
    """What to divide the images of ``batch`` by, ``(n, height or 1, width or 1)``, if anything."""
    from arpes_ml_plugins.denoising.gain_scales import relative_scales

    return relative_scales(batch.images, batch.valid, scaling_from(numbers))
