"""Choose the axis of a series, along which neighbouring images resemble each other."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError
from arpes_ml_plugins.labelled.axes import plays

__all__ = ["RUN", "SHORTEST", "WINDOW", "choose_series", "one_of", "runs", "sampled", "windows"]

SHORTEST = 4
"""Images along an axis; with fewer each image is taken by itself."""
GOLDEN = (math.sqrt(5) - 1) / 2
WINDOW = "window of the noise estimate"
"""Dimension of what :func:`windows` returns."""
RUN = "run of a series"
"""Dimension of what :func:`runs` returns."""


def one_of(batch: Sequence[Hashable]) -> str:
    """What a parameter that names a dimension may be, for an error."""
    if not batch:
        return "leave it out, because there is only one image"
    return f"expected 'auto', None or one of {', '.join(map(repr, batch))}"


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
            raise AxisError(f"series={series!r} is not a batch dimension; {one_of(batch)}")
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


def windows(
    data: xr.DataArray,
    dims: tuple[Hashable, Hashable],
    side: int,
    pixels: int,
    kept: tuple[Hashable, ...] = (),
) -> xr.DataArray:
    """Windows of at most ``side`` pixels a side, of about ``pixels`` in all, along ``WINDOW``.

    They are spread evenly over the images and over places in the images, and have no coordinates.
    All of ``kept`` is kept in each.
    """
    bare = data.drop_vars(data.coords)
    batch = [dim for dim in data.dims if dim not in (*dims, *kept)]
    shape = [data.sizes[dim] for dim in batch]
    images = math.prod(shape)
    sides = [min(side, data.sizes[dim]) for dim in dims]
    number = max(1, pixels // math.prod([*sides, *(data.sizes[dim] for dim in kept)]))
    along = [
        min(data.sizes[dim] // size, math.isqrt(number) + 1)
        for dim, size in zip(dims, sides, strict=True)
    ]
    places = math.prod(along)
    number = min(number, places * images)
    # Neighbouring images are cut in places that are not neighbours.
    stride = next(s for s in range(places // 2 + 1, places + 2) if math.gcd(s, places) == 1)
    cut = []
    for k in range(number):
        image = np.unravel_index(k * images // number, shape) if batch else ()
        chosen: dict[Hashable, Any] = {dim: int(at) for dim, at in zip(batch, image, strict=True)}
        place = np.unravel_index(k * stride % places, along)
        for dim, size, at, most in zip(dims, sides, place, along, strict=True):
            start = round(at * (data.sizes[dim] - size) / max(most - 1, 1))
            chosen[dim] = slice(start, start + size)
        cut.append(bare.isel(chosen))
    return xr.concat(cut, WINDOW)


def runs(
    data: xr.DataArray,
    dims: tuple[Hashable, Hashable],
    series: Hashable,
    length: int,
    number: int,
) -> xr.DataArray:
    """``number`` runs along ``RUN``, each of ``length`` images that follow each other in a series.

    They are spread evenly over all series and over places in these, do not overlap, and have no
    coordinates. Of a small data set, all series are returned, each as a run.
    """
    bare = data.drop_vars(data.coords)
    others = [dim for dim in data.dims if dim not in (series, *dims)]
    shape = [data.sizes[dim] for dim in others]
    many, images = math.prod(shape), data.sizes[series]
    if many * images <= number * length:
        return bare.stack({RUN: others}, create_index=False) if others else bare.expand_dims(RUN)
    length = min(length, images)
    number = min(number, many * (images // length))
    cut = []
    for k in range(number):
        which = k * many // number
        inside = [j for j in range(number) if j * many // number == which]
        # Neighbouring series are cut in places that are not neighbours.
        place = inside.index(k) / (len(inside) - 1) if len(inside) > 1 else k * GOLDEN % 1
        start = math.floor(place * (images - length) + 0.5)
        other = np.unravel_index(which, shape) if others else ()
        at: dict[Hashable, Any] = {dim: int(i) for dim, i in zip(others, other, strict=True)}
        cut.append(bare.isel({**at, series: slice(start, start + length)}))
    return xr.concat(cut, RUN)


def _ordered(data: xr.DataArray, dim: Hashable) -> bool:
    """Whether the coordinate is one along which something may vary smoothly."""
    if dim not in data.coords:
        return True
    values = data.coords[dim].values
    if values.dtype.kind not in "iufmM":
        return False
    steps = np.diff(values.astype(np.float64))
    return bool((steps > 0).all() or (steps < 0).all())
