"""Which images of an array belong together: the axis along which neighbours resemble each other."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError
from arpes_ml_plugins.labelled.axes import plays

__all__ = ["SHORTEST", "choose_series", "sampled"]

SHORTEST = 4
"""Images along an axis; with fewer each image is taken by itself."""


def choose_series(
    data: xr.DataArray, dims: tuple[Hashable, Hashable], series: Hashable | None
) -> tuple[Hashable, ...]:
    """The dimension along which images are denoised together, or none: a tuple of one or zero.

    ``"auto"`` takes the longest scanned axis whose coordinate is in order. Of axes of one length
    it takes one that is no momentum or angle: bands move from angle to angle, and stay from
    temperature to temperature. Values are not looked at, so that lazy data, chunks and noise
    cannot change the choice.
    """
    batch = [dim for dim in data.dims if dim not in dims]
    if series is None:
        return ()
    if series != "auto":
        if series not in batch:
            raise AxisError(
                f"series={series!r} is no dimension of the batch; expected 'auto', None or one of "
                f"{', '.join(map(repr, batch)) or '(there is only one image)'}"
            )
        return (series,)
    candidates = [dim for dim in batch if data.sizes[dim] >= SHORTEST and _ordered(data, dim)]
    if not candidates:
        return ()
    # The name comes last only so that the order of the dimensions does not matter.
    return (max(candidates, key=lambda d: (data.sizes[d], not plays(d, "momentum"), str(d))),)


def sampled(data: xr.DataArray, dims: tuple[Hashable, Hashable], images: int) -> xr.DataArray:
    """At most ``images`` images, evenly spread over the batch."""
    batch = [dim for dim in data.dims if dim not in dims]
    for place, dim in enumerate(batch):
        each = max(1, int(images ** (1 / (len(batch) - place))))
        kept = min(each, data.sizes[dim])
        data = data.isel({dim: np.linspace(0, data.sizes[dim] - 1, kept).round().astype(int)})
        images //= kept
    return data


def _ordered(data: xr.DataArray, dim: Hashable) -> bool:
    """Whether the coordinate is one along which something may vary smoothly."""
    if dim not in data.coords:
        return True
    values = data.coords[dim].values
    if values.dtype.kind not in "iufmM":
        return False
    steps = np.diff(values.astype(np.float64))
    return bool((steps > 0).all() or (steps < 0).all())
