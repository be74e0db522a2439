"""Which images of an array belong together: the axis along which neighbours resemble each other."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError

__all__ = ["choose_series", "sampled"]

SHORTEST = 4  # images; fewer are taken each by itself
BLOCKS = 8  # an image is compared in as many blocks along either axis
PAIRS = 32  # of neighbours that are compared


def choose_series(
    data: xr.DataArray, dims: tuple[Hashable, Hashable], series: Hashable | None
) -> tuple[Hashable, ...]:
    """The dimension along which images are denoised together, or none: a tuple of one or zero.

    ``"auto"`` takes the scanned axis along which neighbouring images differ least; of lazy data,
    whose values are not looked at, the longest.
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
    if data.chunks is not None or len(candidates) == 1:
        return (max(candidates, key=lambda dim: data.sizes[dim]),)
    return (min(candidates, key=lambda dim: _roughness(data, dims, dim)),)


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


def _roughness(data: xr.DataArray, dims: tuple[Hashable, Hashable], dim: Hashable) -> float:
    """Mean square difference of neighbouring images, smoothed against noise."""
    others = [d for d in data.dims if d not in dims and d != dim]
    line = data.isel({d: data.sizes[d] // 2 for d in others})
    first = np.linspace(0, data.sizes[dim] - 2, min(PAIRS, data.sizes[dim] - 1)).astype(int)
    size = {d: max(1, data.sizes[d] // BLOCKS) for d in dims}

    def blocks(index: np.ndarray) -> np.ndarray:
        picked = line.isel({dim: index}).astype(np.float64)
        coarse = picked.drop_vars(picked.coords).coarsen(size, boundary="trim").mean()
        return coarse.transpose(dim, *dims).values

    squares = (blocks(first + 1) - blocks(first)) ** 2
    return float(np.nanmean(squares)) if np.isfinite(squares).any() else np.inf
