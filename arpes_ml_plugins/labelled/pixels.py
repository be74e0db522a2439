"""Apply an algorithm to all pixels of a large image in bands of rows, lazily chunk by chunk.

For algorithms to which a pixel and a few neighbours are enough, once something that all pixels have
in common is known. Neither bands nor chunks change the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.border import Cube, as_numpy, plain_torch, without_filling
from arpes_ml_plugins.labelled.devices import run_in_batches
from arpes_ml_plugins.labelled.forks import check_fork
from arpes_ml_plugins.labelled.magnitudes import check_magnitudes, narrowed
from arpes_ml_plugins.labelled.outputs import (
    Output,
    axes_of,
    check_names,
    dtype_of,
    labelled,
    new_dimension,
    result_dtype,
    room,
)
from arpes_ml_plugins.labelled.progress import ProgressOption, reporter

__all__ = ["map_pixels", "rows_of"]

BESIDE = 4
"""Neighbours on either side that algorithms may look at."""
BAND = 20_000
"""Pixels at a time, about as many as the cache of a processor holds."""

PixelAlgorithm = Callable[[Cube, Any], Mapping[str, Any]]


@dataclass(frozen=True)
class _Task:
    algorithm: PixelAlgorithm
    outputs: Mapping[str, Output]
    core: tuple[Hashable, ...]
    channels: int
    dtype: np.dtype
    """Of the data before pixels were masked."""
    method: str
    device: str
    progress: ProgressOption


def map_pixels(
    data: xr.DataArray,
    channels: Sequence[Hashable],
    algorithm: PixelAlgorithm,
    known: xr.DataArray,
    outputs: Mapping[str, Output],
    *,
    method: str,
    device: str,
    used: NDArray[np.bool_] | None = None,
    progress: ProgressOption = False,
) -> dict[str, xr.DataArray]:
    """Apply ``algorithm`` to bands of pixels of ``data``; lazily if ``data`` is backed by dask.

    Parameters
    ----------
    channels
        Dimensions that make up a spectrum, flattened in this order; all others are space.
    algorithm
        Function from a band of pixels ``(m, *space)``, missing values filled with zeros, and
        ``known`` to one tensor per output. It may look at :data:`BESIDE` neighbours of a pixel on
        either side.
    known
        What all pixels have in common: one object, lazy or not.
    outputs
        Name and kind of each output, all along space.
    used
        Pixels that the algorithm may see, along the dimensions of space in their order.
    """
    check_names(data, outputs)
    names = {dim: f"axis {number}" for number, dim in enumerate(data.dims)}
    space = [dim for dim in data.dims if dim not in channels]
    core = (*channels, *space)
    bare = xr.DataArray(data.variable.data, dims=list(names.values()))
    if used is not None:
        mask = xr.DataArray(used, dims=[names[dim] for dim in space])
        bare = bare.astype(result_dtype(data.dtype), copy=False).where(mask)
    depth: dict[str, int] = {}
    if data.chunks is not None:
        bare = bare.chunk({names[dim]: -1 for dim in channels})
        cut = [dim for dim in space if len(bare.chunksizes[names[dim]]) > 1]
        depth = {names[dim]: min(BESIDE, data.sizes[dim]) for dim in cut}
        bare = _widened(bare, depth) if depth else bare
        progress = False
    task = _Task(
        algorithm, dict(outputs), core, len(channels), data.dtype, method, device, progress
    )
    new = [output for output in map(new_dimension, outputs.values()) if output]
    raw = xr.apply_ufunc(
        partial(_on_block, task=task),
        bare.transpose(*(names[dim] for dim in (*space, *channels))),
        known,
        input_core_dims=[[names[dim] for dim in channels], []],
        output_core_dims=[_inner(output, task, names) for output in outputs.values()],
        dask="parallelized",
        dask_gufunc_kwargs={
            "output_sizes": {output.dim: output.size for output in new},
            "meta": tuple(np.empty(0, dtype_of(one, data.dtype)) for one in outputs.values()),
        },
    )
    results = {}
    for (name, output), array in zip(
        outputs.items(), raw if isinstance(raw, tuple) else (raw,), strict=True
    ):
        own = _trimmed(array, depth) if depth else array
        axes = [names.get(dim, dim) for dim in axes_of(output, core)]
        results[name] = labelled(own.transpose(*axes), output, data, names, core)
    return results


def rows_of(data: xr.DataArray, channels: Sequence[Hashable]) -> int:
    """Number of steps that :func:`map_pixels` reports."""
    return max(data.sizes[dim] for dim in data.dims if dim not in channels)


def _inner(output: Output, task: _Task, names: Mapping[Hashable, str]) -> list[Hashable]:
    """Dimensions of an output that are not space."""
    space = task.core[task.channels :]
    return [names.get(dim, dim) for dim in axes_of(output, task.core) if dim not in space]


def _widened(array: xr.DataArray, depth: Mapping[str, int]) -> xr.DataArray:
    """With the neighbours of each chunk, except at the ends of the array."""
    from dask.array.overlap import overlap

    axes = {array.get_axis_num(dim): size for dim, size in depth.items()}
    return xr.DataArray(overlap(array.data, axes, boundary="none"), dims=array.dims)


def _trimmed(array: xr.DataArray, depth: Mapping[str, int]) -> xr.DataArray:
    from dask.array.overlap import trim_internal

    axes = {array.get_axis_num(dim): size for dim, size in depth.items()}
    return xr.DataArray(trim_internal(array.data, axes, boundary="none"), dims=array.dims)


def _on_block(values: np.ndarray, known: np.ndarray, *, task: _Task) -> Any:
    """Numpy in, numpy out: one chunk, ``(*space, *channels)``; this runs in a thread of dask's."""
    outer = values.ndim - task.channels
    values = np.moveaxis(values, range(outer, values.ndim), range(task.channels))
    common = np.asarray(known).item()
    check_fork()
    sizes = dict(zip(task.core, values.shape, strict=True))
    filled = {name: room(output, 1, sizes, task.dtype)[0] for name, output in task.outputs.items()}
    shape = values.shape[task.channels :]
    along = int(np.argmax(shape)) - len(shape)  # negative: the same axis in all outputs
    rows = shape[along]
    with reporter(task.progress, task.method, rows) as report:

        def run(part: slice, device: str) -> None:
            start, stop = max(part.start - BESIDE, 0), min(part.stop + BESIDE, rows)
            band = _rows(values, along, slice(start, stop))
            if np.isinf(band).any():  # lazy data are only seen here
                raise DataError(
                    "the data contain infinite values; replace them by NaN before computing"
                )
            check_magnitudes(band)
            with plain_torch():
                found = task.algorithm(without_filling(band, task.channels, device), common)
                for name, value in found.items():
                    there = _rows(filled[name], along, part)
                    own = slice(part.start - start, part.stop - start)
                    inside = as_numpy(value).reshape(
                        *there.shape[: there.ndim - len(shape)], *band.shape[task.channels :]
                    )
                    there[...] = narrowed(_rows(inside, along, own), there.dtype)
            if report:
                report(part.stop - part.start, None)

        each = max(1, BAND * rows // max(math.prod(shape), 1))
        run_in_batches(rows, run, device=task.device, batch_size=each)
    results = []
    for array in filled.values():
        front = array.ndim - outer
        results.append(np.moveaxis(array, range(front), range(outer, array.ndim)))
    return results[0] if len(results) == 1 else tuple(results)


def _rows(array: np.ndarray, along: int, part: slice) -> np.ndarray:
    """A view of a part of one axis."""
    index: list[slice] = [slice(None)] * array.ndim
    index[along] = part
    return array[tuple(index)]
